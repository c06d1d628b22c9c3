"""``create_jobs`` that is cancelled, abandoned, closed or gets a 429, and the sizes of its window. In virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Job, Refusal
from sfjobs._client.connection import internals
from sfjobs._submission.sender import MAX_CONCURRENT_SUBMISSIONS
from sfjobs._submission.window import Window
from sfjobs.errors import SubmissionUnknownError
from tests.support.counter import Counter, Numbered, circuit, circuits, circuits_of
from tests.support.fake_platform import FakePlatform, refusal

pytestmark = pytest.mark.submits("singly", "in batches")


# -- cancelled and abandoned ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
async def test_a_step_cancelled_at_any_moment_loses_no_job_and_makes_none_twice(
    platform: FakePlatform, counter: Counter, seed: int
) -> None:
    draw = random.Random(seed)
    platform.latency = 0.02
    counter.duration = lambda: draw.uniform(0.1, 3)
    items: list[Job | Refusal] = []
    over = False
    async with platform.connection() as connection:
        stream = connection.create_jobs("simulon_gaussian", circuits(60), window=draw.choice([1, 5, 50]))
        while not over:
            with anyio.move_on_after(draw.uniform(0.001, 1)):
                while not over:
                    item = await anext(stream, None)
                    over = item is None
                    items += [item] if item is not None else []
            ids = [item.id for item in [*items, *stream.submitted] if isinstance(item, Job)]
            assert sorted(ids) == sorted(counter.accepted)
    assert circuits_of(platform, items) == circuits(60)


@pytest.mark.usefixtures("no_slow_start")
async def test_a_cancelled_step_sends_nothing_more(platform: FakePlatform, counter: Counter) -> None:
    async with platform.connection() as connection:
        await connection.ping()
        stream = connection.create_jobs("simulon_gaussian", circuits(200), window=200)
        with anyio.move_on_after(0.01):
            await anext(stream)
        assert counter.in_flight == 0
        assert len(stream.submitted) == len(counter.accepted) == MAX_CONCURRENT_SUBMISSIONS


async def test_a_cancelled_step_returns_soon_though_the_platform_is_slow(
    platform: FakePlatform, counter: Counter
) -> None:
    async with platform.connection() as connection:
        await connection.ping()
        counter.latency = 20.0
        stream = connection.create_jobs("simulon_gaussian", circuits(200), window=200)
        start = anyio.current_time()
        with anyio.move_on_after(1):
            await anext(stream)
        assert anyio.current_time() - start <= 1.5
        # What was in flight is unknown and not sent twice, since this platform honours no keys. ``recover`` looks for it.
        items = [item async for item in stream]
    unknown = [item for item in items if isinstance(item, Refusal)]
    assert unknown
    assert all(isinstance(item.error, SubmissionUnknownError) for item in unknown)
    assert (len(items), len(counter.accepted)) == (200, 200 - len(unknown))


async def test_a_closed_stream_has_the_jobs_that_were_not_returned(platform: FakePlatform, counter: Counter) -> None:
    async with platform.connection() as connection:
        async with connection.create_jobs("simulon_gaussian", circuits(30), window=10) as stream:
            taken = [await anext(stream) for _ in range(3)]
        assert circuits_of(platform, [*taken, *stream.submitted]) == circuits(10)
        assert [item async for item in stream] == []
    assert len(counter.accepted) == 10


async def test_a_stream_closed_during_a_step_keeps_its_jobs(platform: FakePlatform, counter: Counter) -> None:
    async def drain(stream: AsyncIterator[Job | Refusal]) -> None:
        assert [item async for item in stream] == []

    async with platform.connection() as connection:
        await connection.ping()
        stream = connection.create_jobs("simulon_gaussian", circuits(200), window=200)
        async with anyio.create_task_group() as group:
            group.start_soon(drain, stream)
            await anyio.sleep(0.01)
            await stream.aclose()
    assert sorted(job.id for job in stream.submitted) == sorted(counter.accepted)
    assert len(counter.accepted) == MAX_CONCURRENT_SUBMISSIONS


@pytest.mark.usefixtures("counter")
async def test_an_abandoned_stream_leaves_nothing_running(platform: FakePlatform) -> None:
    async with platform.connection() as connection:
        async for _ in connection.create_jobs("simulon_gaussian", Numbered(), window=5):
            break
        assert internals(connection).poller.is_idle
        sent = len(platform.requests)
        await anyio.sleep(3600)
        assert len(platform.requests) == sent


async def test_a_step_cancelled_while_it_waits_for_room_stops_polling(platform: FakePlatform, counter: Counter) -> None:
    counter.duration = lambda: float("inf")
    async with platform.connection() as connection:
        stream = connection.create_jobs("simulon_gaussian", Numbered(), window=2)
        with anyio.move_on_after(60):
            async for _ in stream:
                pass
        assert internals(connection).poller.is_idle


# -- an unreliable network -----------------------------------------------------------------------------------------------


class UnreliableNetwork:
    """Loses, refuses and delays requests and responses at random."""

    def __init__(self, counter: Counter, seed: int) -> None:
        self.counter = counter
        self.draw = random.Random(seed)
        self.counter.refuse = self.refuse

    def refuse(self, text: str) -> httpx.Response | None:
        chance = self.draw.random()
        if chance < 0.02:
            return refusal(409, "idempotency-key-in-use", "still at it")
        return refusal(self.draw.choice([500, 502, 503, 504]), "unavailable", "later") if chance < 0.05 else None

    async def handle(self, request: httpx.Request) -> httpx.Response | None:
        if request.method != "POST" or request.url.path != "/jobs":
            return None
        chance = self.draw.random()
        if chance < 0.05:
            raise httpx.ConnectError("no route")
        if chance < 0.1:
            raise httpx.WriteError("the connection broke")
        if chance < 0.15:
            return refusal(self.draw.choice([429, 500, 502, 503, 504]), "unavailable", "later")
        answer = await self.counter.handle(request)
        if chance < 0.3:
            raise httpx.ReadError("the connection broke")
        return answer


@pytest.mark.parametrize("seed", range(10))
async def test_an_unreliable_network_makes_each_job_once_where_keys_are_honoured(
    platform: FakePlatform, counter: Counter, seed: int
) -> None:
    platform.honours_keys = True
    draw = random.Random(seed)
    counter.duration = lambda: draw.uniform(0.1, 20)
    items: list[Job | Refusal] = []
    over = False
    async with platform.connection(retries=30, attempt_timeout=draw.choice([0.15, 0.5, 60])) as connection:
        await counter.show_offers(connection)
        platform.trouble = UnreliableNetwork(counter, seed).handle
        stream = connection.create_jobs("simulon_gaussian", circuits(150), window=draw.choice([5, 60, 150]))
        while not over:
            with anyio.move_on_after(draw.choice([0.05, 1, 20])):
                while not over:
                    item = await anext(stream, None)
                    over = item is None
                    items += [item] if item is not None else []
    assert circuits_of(platform, items) == circuits(150)
    assert sorted(counter.accepted) == sorted(item.id for item in items if isinstance(item, Job))


@pytest.mark.parametrize("seed", range(6))
async def test_an_unreliable_network_loses_no_job_and_makes_none_twice_where_keys_are_not_honoured(
    platform: FakePlatform, counter: Counter, seed: int
) -> None:
    platform.honours_keys = False
    async with platform.connection(retries=30) as connection:
        await counter.show_offers(connection)
        platform.trouble = UnreliableNetwork(counter, seed).handle
        items = [item async for item in connection.create_jobs("simulon_gaussian", circuits(150), window=60)]
    assert len(items) == 150
    assert len({job.circuit for job in platform.jobs.values()}) == len(platform.jobs)
    known = {item.id for item in items if isinstance(item, Job)}
    with_unknown_outcome = {item.program for item in items if isinstance(item, Refusal)}
    assert {platform.jobs[job_id].circuit for job_id in counter.accepted if job_id not in known} <= with_unknown_outcome
    assert {type(item.error) for item in items if isinstance(item, Refusal)} <= {
        sfjobs.SubmissionUnknownError,
        sfjobs.ServerError,
        sfjobs.ConflictError,
    }


# -- 429 -----------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_slow_start")
async def test_a_429_narrows_the_window_and_jobs_widen_it_again(platform: FakePlatform, counter: Counter) -> None:
    seen: list[int] = []
    refused_at: list[float] = []

    def refuse(text: str) -> httpx.Response | None:
        if text == circuit(40) and not refused_at:
            refused_at.append(anyio.current_time())
            return refusal(429, "quota", "slowly")
        if refused_at and anyio.current_time() > refused_at[0]:
            seen.append(counter.unfinished + 1)
        return None

    counter.refuse = refuse
    async with platform.connection(retries=1) as connection:
        items = [item async for item in connection.create_jobs("simulon_gaussian", circuits(300), window=40)]
    assert circuits_of(platform, items) == circuits(300)
    assert max(seen[:20]) == 20
    assert max(seen) == 40


@pytest.mark.parametrize("retries", [1, 5])
async def test_a_quota_is_respected_and_every_program_runs(
    platform: FakePlatform, counter: Counter, retries: int
) -> None:
    refused = 0

    def refuse(_: str) -> httpx.Response | None:
        nonlocal refused
        if counter.unfinished < 6:
            return None
        refused += 1
        return refusal(429, "quota", "at most 6 jobs at a time")

    counter.refuse = refuse
    async with platform.connection(retries=retries) as connection:
        items = [item async for item in connection.create_jobs("simulon_gaussian", circuits(120), window=64)]
    assert circuits_of(platform, items) == circuits(120)
    assert counter.most_unfinished == 6
    assert 0 < refused < 120 * retries


async def test_a_retry_after_beyond_the_transports_timeout_is_respected(
    platform: FakePlatform, counter: Counter
) -> None:
    def refuse(_: str) -> httpx.Response | None:
        if anyio.current_time() - start >= 600:
            return None
        return refusal(429, "too-many-requests", "later", **{"retry-after": "600"})

    counter.refuse = refuse
    async with platform.connection() as connection:
        start = anyio.current_time()
        await anext(connection.create_jobs("simulon_gaussian", circuits(5)))
    assert platform.count("POST", "/jobs") <= 10


# -- the sizes of a window -----------------------------------------------------------------------------------------------


def test_a_window_is_halved_once_for_requests_that_were_sent_together() -> None:
    window = Window(100)
    generation = window.generation
    for _ in range(32):
        window.narrow(generation, 0.0, None)
    assert window.size == 50


def test_a_window_is_never_below_one() -> None:
    window = Window(3)
    for _ in range(50):
        window.narrow(window.generation, 0.0, None)
    assert window.size == 1


def test_pauses_grow_to_their_bound_and_start_again_after_a_job() -> None:
    window = Window(8)
    pauses = [window.narrow(window.generation, 0.0, None) for _ in range(9)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    window.widen(window.generation)
    assert window.narrow(window.generation, 100.0, None) == 0.5


def test_a_retry_after_replaces_a_shorter_pause() -> None:
    window = Window(8)
    assert window.narrow(0, 10.0, 90.0) == 90.0
    assert window.narrow(0, 20.0, 30.0) == 80.0


def test_a_job_sent_before_the_narrowing_does_not_widen() -> None:
    window = Window(100)
    window.narrow(0, 0.0, None)
    for _ in range(32):
        window.widen(0)
    assert window.size == 50


def test_a_window_counts_each_job_of_a_batch() -> None:
    one, together = Window(100), Window(100)
    for window in (one, together):
        window.narrow(0, 0.0, None)
    for _ in range(30):
        one.widen(1)
    together.widen(1, 30)
    assert one.size == together.size == 57


def test_a_window_never_grows_beyond_its_initial_size() -> None:
    window = Window(10)
    for _ in range(100):
        window.widen(window.generation)
    assert window.size == 10
