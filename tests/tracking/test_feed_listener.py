"""
The poller with a change feed whose reads may be cancelled at any moment, as on the client's own connections. In virtual time,
without HTTP.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import anyio
import pytest

from sfjobs._protocol.wire import Known
from sfjobs._tracking.change_feed import FEED_READ_TIMEOUT_SECONDS, ChangeFeed
from sfjobs._tracking.feed_listener import FEED_READ_INTERVAL_SECONDS
from sfjobs._tracking.poller import Poller
from sfjobs._tracking.types import PollInterval
from sfjobs.errors import RateLimitedError, ResponseError
from sfjobs.models import JobSnapshot, JobStatus
from tests.support.feed_source import LATENCY, FeedSource, poller_for, wait_for, with_source
from tests.support.handles import Handle


async def test_waiters_that_come_and_go_share_one_stream_without_polls() -> None:
    source = FeedSource({f"job-{n}": 5.0 + n / 10 for n in range(500)})
    poller = poller_for(source)
    draw = random.Random(3)
    finished = 0

    async def with_short_timeouts() -> None:
        """Leaders that are cancelled all the time, as in a web service."""
        while len(source.ended) < 500:
            with anyio.move_on_after(draw.uniform(0, 0.3)):
                await wait_for(poller, [source.handle(draw.choice(list(source.ends)))])

    async def to_the_end(job_id: str) -> None:
        nonlocal finished
        await wait_for(poller, [source.handle(job_id)])
        assert anyio.current_time() <= source.ends[job_id] + FEED_READ_INTERVAL_SECONDS + 3 * LATENCY
        finished += 1

    async def work() -> None:
        async with anyio.create_task_group() as group:
            for job_id in source.ends:
                group.start_soon(to_the_end, job_id)
            for _ in range(5):
                group.start_soon(with_short_timeouts)

    await with_source(source, poller, work)
    assert finished == 500
    assert source.opened == [0]
    assert source.polls == 0
    assert poller.is_idle
    assert source.reading == 0


async def test_many_events_are_received_in_few_reads_and_a_single_one_at_once() -> None:
    source = FeedSource({f"job-{n}": 5.0 + n / 1000 for n in range(2000)} | {"alone": 60.0})
    poller = poller_for(source)

    async def work() -> None:
        waiter = poller.join([source.handle(job_id) for job_id in source.ends])
        await poller.wait_for(waiter)
        assert anyio.current_time() <= 60.0 + 1e-6
        poller.leave(waiter)

    await with_source(source, poller, work)
    assert source.reads <= 2 / (FEED_READ_INTERVAL_SECONDS + LATENCY) + 20


async def test_a_stream_that_falls_silent_is_lost_and_list_polling_takes_over() -> None:
    source = FeedSource({"early": 3.0, "late": 50.0})
    poller = poller_for(source)

    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(wait_for, poller, [source.handle("late")])
            await anyio.sleep(1)
            source.streams[0].is_dead = True
            await wait_for(poller, [source.handle("early")])
            assert (
                FEED_READ_TIMEOUT_SECONDS <= anyio.current_time() <= 1 + FEED_READ_TIMEOUT_SECONDS + 0.6 + 3 * LATENCY
            )

    await with_source(source, poller, work)
    assert anyio.current_time() <= 50 + 3 * LATENCY
    assert len(source.opened) == 2


async def test_a_stream_that_is_refused_leaves_list_polling() -> None:
    source = FeedSource({"a": 20.0})
    source.refusal = RateLimitedError("not now", status_code=429, retry_after=30.0)
    poller = poller_for(source)

    async def work() -> None:
        await wait_for(poller, [source.handle("a")])

    await with_source(source, poller, work)
    assert anyio.current_time() <= 20 + 2.2 + 3 * LATENCY
    assert source.opened == []


async def test_a_new_job_that_the_feed_does_not_cover_is_polled_beside_the_stream() -> None:
    source = FeedSource({"old": 300.0, "new": 3.0})
    poller = poller_for(source)

    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(wait_for, poller, [source.handle("old")])
            await anyio.sleep(10)
            await wait_for(poller, [Handle("new")])
            assert anyio.current_time() <= 10 + 0.6 + 3 * LATENCY
            group.cancel_scope.cancel()

    await with_source(source, poller, work)
    assert source.polls == 1
    assert source.opened == [0]


async def test_one_stream_covers_jobs_that_were_submitted_one_after_another() -> None:
    """Each handle has another cursor: the stream has to begin at the first of them."""
    source = FeedSource({"first": 1.0, "second": 2.0, "third": 30.0})
    poller = poller_for(source)

    async def work() -> None:
        handles = []
        for job_id in source.ends:
            handles.append(source.handle(job_id))
            await anyio.sleep(1.5)
        await wait_for(poller, handles)

    await with_source(source, poller, work)
    assert source.opened == [0]
    assert source.polls == 0


async def test_a_job_that_has_not_changed_while_others_did_is_not_polled() -> None:
    source = FeedSource({f"job-{n}": 2.0 + n for n in range(10)} | {"mine": 100.0})
    poller = poller_for(source)

    async def work() -> None:
        async with anyio.create_task_group() as group:
            mine = source.handle("mine")
            group.start_soon(wait_for, poller, [source.handle(f"job-{n}") for n in range(10)])
            await anyio.sleep(5)
            await wait_for(poller, [mine])

    await with_source(source, poller, work)
    assert source.polls == 0


async def test_a_wait_that_was_cancelled_before_the_first_poll_leaves_the_job_uncovered() -> None:
    source = FeedSource({"old": 300.0, "mine": 1.0})
    poller = poller_for(source)

    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(wait_for, poller, [source.handle("old")])
            await anyio.sleep(5)
            mine = Handle("mine")
            with anyio.move_on_after(0.005):
                await wait_for(poller, [mine])
            await wait_for(poller, [mine])
            assert anyio.current_time() < 7
            group.cancel_scope.cancel()

    await with_source(source, poller, work)


async def test_a_stream_that_died_between_two_waits_is_replaced() -> None:
    source = FeedSource({"a": 3.0, "b": 60.0})
    poller = poller_for(source)

    async def work() -> None:
        await wait_for(poller, [source.handle("a")])
        handle = source.handle("b")
        source.streams[0].is_dead = True
        await anyio.sleep_until(100)
        await wait_for(poller, [handle])
        assert anyio.current_time() < 101

    await with_source(source, poller, work)
    assert source.polls == 0
    assert source.opened == [0, 1]


@pytest.mark.parametrize("seed", range(150))
async def test_every_waiter_without_a_timeout_is_settled_whatever_happens_to_the_streams(seed: int) -> None:
    draw = random.Random(seed)
    source = FeedSource({f"job-{n}": draw.uniform(0, 60) for n in range(draw.randint(1, 80))})
    poller = poller_for(source, seed)
    delays: dict[str, float] = {}
    unbounded: set[str] = set()

    async def wait(job_id: str, start: float, timeout: float | None, is_bare: bool) -> None:
        await anyio.sleep(start)
        began = anyio.current_time()
        handle = Handle(job_id) if is_bare else source.handle(job_id)
        await anyio.sleep(draw.choice([0.0, draw.uniform(0, 5)]))
        with anyio.move_on_after(timeout):
            await wait_for(poller, [handle])
            assert handle.snapshot.status == JobStatus.COMPLETED
            delays[job_id] = anyio.current_time() - max(began, source.ends[job_id])

    async def disturb() -> None:
        while True:
            await anyio.sleep(draw.uniform(0.1, 15))
            stream = draw.choice(source.streams) if source.streams else None
            match draw.choice(["end", "die", "bye", "garbage", "refuse", "recover", "recover"]):
                case "end" if stream is not None:
                    stream.end()
                case "die" if stream is not None:
                    stream.is_dead = True
                case "bye" if stream is not None:
                    stream.put(b"event: bye\ndata: {}\n\n")
                case "garbage" if stream is not None:
                    stream.put(b"event: job\ndata: [\n\n")
                case "refuse":
                    source.refusal = ResponseError("no", status_code=draw.choice([404, 410, 500, 503]))
                case "recover":
                    source.refusal = None

    async def work() -> None:
        async with anyio.create_task_group() as disturbing:
            disturbing.start_soon(disturb)
            async with anyio.create_task_group() as group:
                for job_id in source.ends:
                    timeout = draw.choice([None, draw.uniform(0, 20)])
                    if timeout is None:
                        unbounded.add(job_id)
                    group.start_soon(wait, job_id, draw.uniform(0, 40), timeout, draw.random() < 0.3)
            disturbing.cancel_scope.cancel()

    await with_source(source, poller, work)
    assert unbounded <= delays.keys()
    assert max(delays.values(), default=0.0) <= 5 + FEED_READ_TIMEOUT_SECONDS + 10
    assert poller.is_idle
    assert source.reading == 0
    await poller.aclose()
    assert source.streams == []


async def test_a_bug_in_the_feed_reaches_every_waiter_without_an_exception_group() -> None:
    source = FeedSource({"a": 50.0, "b": 50.0})
    feed = ChangeFeed(source.open_stream)
    poller = Poller(source, feed, PollInterval(), draw=lambda: 0.5)

    async def broken(known: Known) -> Iterable[JobSnapshot]:
        raise ZeroDivisionError("a bug")

    async def wait(job_id: str) -> None:
        with pytest.raises(ZeroDivisionError):
            await wait_for(poller, [source.handle(job_id)])

    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(wait, "a")
            group.start_soon(wait, "b")
            await anyio.sleep(1)
            feed.read = broken  # type: ignore[method-assign]

    await with_source(source, poller, work)
    assert poller.is_idle
