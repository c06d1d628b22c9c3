"""``connection.events``: each change once, in order, with and without a change feed, wherever its streams are cut."""

from __future__ import annotations

import gc
import random
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import anyio
import pytest

import sfjobs
from sfjobs import Connection, Job, JobEvent, JobStatus, NotFoundError, WaitTimeoutError
from sfjobs._client.connection import internals
from tests.support.feeding_platform import FeedingPlatform, Script, Trouble

ORDER = [JobStatus.OPEN, JobStatus.QUEUED, JobStatus.CANCEL_PENDING, JobStatus.COMPLETED]


def platform_with(count: int, *, offers_feed: bool, queued: float = 5.0, apart: float = 1.0) -> FeedingPlatform:
    """Jobs that are queued one after another and complete in the same order, 20 s later."""
    platform = FeedingPlatform(latency=0.02, offers_feed=offers_feed)
    for number in range(count):
        at = queued + apart * number
        platform.stage((at, "queued"), (at + 20, "complete"), status="open")
    return platform


async def jobs_of(connection: Connection) -> list[Job]:
    return [job async for job in connection.list_jobs()][::-1]


def changes_of(events: list[JobEvent[Job]], job: Job) -> list[tuple[JobStatus, JobStatus]]:
    return [(event.old, event.new) for event in events if event.job is job]


@pytest.fixture(params=[True, False], ids=["feed", "list"])
def offers_feed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_each_change_of_each_job_is_an_event(offers_feed: bool) -> None:
    platform = platform_with(10, offers_feed=offers_feed)
    async with platform.connection() as connection:
        jobs = await jobs_of(connection)
        events = [event async for event in connection.events(jobs)]
    expected = [(JobStatus.OPEN, JobStatus.QUEUED), (JobStatus.QUEUED, JobStatus.COMPLETED)]
    assert all(changes_of(events, job) == expected for job in jobs)
    assert internals(connection).poller.is_idle


async def test_it_ends_with_the_last_job_and_has_no_events_of_jobs_that_had_ended() -> None:
    platform = platform_with(2, offers_feed=True)
    async with platform.connection() as connection:
        jobs = await jobs_of(connection)
        await sfjobs.wait_all(jobs, fetch_results=False)
        assert [event async for event in connection.events(jobs)] == []
        assert [event async for event in connection.events([])] == []


async def test_the_begin_of_a_run_is_an_event() -> None:
    platform = platform_with(1, offers_feed=True)
    async with platform.connection() as connection:
        [job] = await jobs_of(connection)
        async with connection.events([job]) as events:
            queued = await anext(events)
            platform.staged[0].started = True
            platform.touch(platform.staged[0])
            running = await anext(events)
    assert (queued.new, queued.at) == (JobStatus.QUEUED, None)
    assert (running.old, running.new) == (JobStatus.QUEUED, JobStatus.QUEUED)
    assert running.at == job.started_at is not None


async def test_times_are_of_the_platform_and_of_this_machine(offers_feed: bool) -> None:
    platform = platform_with(1, offers_feed=offers_feed)
    async with platform.connection() as connection:
        before = datetime.now(UTC)
        [*_, last] = [event async for event in connection.events(await jobs_of(connection))]
    assert last.at == last.job.finished_at == datetime(2026, 1, 27, 15, 15, 27, tzinfo=UTC)
    assert before <= last.seen_at <= datetime.now(UTC)


async def test_a_slow_consumer_gets_one_event_a_job_and_delays_no_other_waiter() -> None:
    platform = platform_with(50, offers_feed=True, queued=2.0, apart=0.1)
    async with platform.connection() as connection:
        jobs = await jobs_of(connection)
        events = connection.events(jobs)
        first = await anext(events)
        assert first.job is jobs[0]
        await sfjobs.wait_all(jobs, fetch_results=False)
        assert anyio.current_time() < 2 + 5 + 20 + 0.1
        assert internals(connection).poller.tracked == 0
        rest = [event async for event in events]
    assert len(rest) == 50
    assert {event.job for event in rest} == set(jobs)
    assert Counter(event.old for event in rest) == {first.new: 1, JobStatus.OPEN: 49}
    assert {event.new for event in rest} == {JobStatus.COMPLETED}


async def test_an_unknown_job_is_raised_in_its_turn_and_the_others_go_on(offers_feed: bool) -> None:
    platform = platform_with(1, offers_feed=offers_feed)
    async with platform.connection() as connection:
        [job] = await jobs_of(connection)
        unknown = Job("00000000-0000-0000-0000-00000000ffff", "open", connection)
        events = connection.events([job, unknown])
        with pytest.raises(NotFoundError):
            await anext(events)
        assert [event.new async for event in events] == [JobStatus.QUEUED, JobStatus.COMPLETED]


async def test_one_deadline_bounds_all_steps() -> None:
    platform = platform_with(3, offers_feed=True, apart=10)
    async with platform.connection() as connection:
        jobs = await jobs_of(connection)
        started, seen = anyio.current_time(), 0
        with pytest.raises(WaitTimeoutError) as caught:
            async for _ in connection.events(jobs, timeout=30):
                seen += 1
        assert anyio.current_time() - started == pytest.approx(30)
        assert (seen, caught.value.done) == (4, (jobs[0].id,))
        assert internals(connection).poller.is_idle


async def test_it_may_be_abandoned_at_any_step() -> None:
    platform = platform_with(3, offers_feed=True)
    async with platform.connection() as connection:
        async for _ in connection.events(await jobs_of(connection)):
            break
        gc.collect()
        assert internals(connection).poller.is_idle


async def test_a_cancelled_step_loses_nothing() -> None:
    platform = platform_with(20, offers_feed=True, apart=0.37)
    async with platform.connection() as connection:
        jobs = await jobs_of(connection)
        events, found = connection.events(jobs), []
        while True:
            with anyio.move_on_after(0.5):
                try:
                    found.append(await anext(events))
                except StopAsyncIteration:
                    break
    assert all(changes_of(found, job)[0][0] == JobStatus.OPEN for job in jobs)
    assert all(changes_of(found, job)[-1][1] == JobStatus.COMPLETED for job in jobs)
    assert all(_is_a_chain(changes_of(found, job)) for job in jobs)


async def test_jobs_of_another_connection_are_refused() -> None:
    platform = platform_with(1, offers_feed=True)
    async with platform.connection() as one, platform.connection() as another:
        with pytest.raises(ValueError, match="another connection"):
            one.events(await jobs_of(another))


def _is_a_chain(steps: list[tuple[JobStatus, JobStatus]]) -> bool:
    """No change is lost or doubled: each begins where the one before ended, and goes forward."""
    joined = all(after[0] == before[1] for before, after in pairwise(steps))
    return joined and all(ORDER.index(old) < ORDER.index(new) for old, new in steps)


@pytest.mark.parametrize("seed", range(100))
async def test_no_change_is_lost_or_doubled_wherever_the_feed_is_cut(seed: int) -> None:
    draw = random.Random(seed)
    platform = FeedingPlatform(latency=draw.choice([0.0, 0.02, 0.4]), offers_feed=draw.random() < 0.9)
    troubles: list[Trouble] = ["cut", "reset", "silence", "garbage", "bye"]

    def script(number: int) -> Script:
        if draw.random() < 0.15:
            return Script(status=draw.choice([410, 500, 503]))
        return Script(trouble=draw.choice(troubles), after=draw.uniform(0, 20), buffered=draw.random() < 0.05)

    platform.script = script
    for _ in range(draw.randint(1, 60)):
        queued = draw.uniform(0, 60)
        platform.stage((queued, "queued"), (queued + draw.uniform(0, 60), "complete"), status="open")
    found: list[JobEvent[Job]] = []
    async with platform.connection() as connection:
        jobs = await jobs_of(connection)
        before = {job: job.status for job in jobs if not job.status.is_final}
        events = connection.events(before)
        while True:
            with anyio.move_on_after(draw.choice([float("inf"), draw.uniform(0, 3)])):
                try:
                    found.append(await anext(events))
                except StopAsyncIteration:
                    break
                if draw.random() < 0.2:
                    await anyio.sleep(draw.uniform(0, 5))
        assert internals(connection).poller.is_idle
    for job, status in before.items():
        steps = changes_of(found, job)
        assert steps[0][0] == status
        assert steps[-1][1] == JobStatus.COMPLETED
        assert _is_a_chain(steps)
    assert platform.open_streams == 0
    assert platform.in_flight == 0
