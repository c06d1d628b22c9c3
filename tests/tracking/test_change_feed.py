"""The change feed over HTTP: one stream for all jobs, and streams that are refused, cut, silent or garbled. In virtual time."""

from __future__ import annotations

import gc
import random
from collections.abc import Sequence

import anyio
import pytest

import sfjobs
from sfjobs import Connection, Job, JobStatus
from sfjobs._client.connection import internals
from sfjobs._tracking.change_feed import (
    FEED_MIN_BACKOFF_SECONDS,
    FEED_OPEN_HOLD_SECONDS,
    FEED_OPEN_TIMEOUT_SECONDS,
    FEED_READ_TIMEOUT_SECONDS,
)
from sfjobs._tracking.recent_changes import MAX_RECENT_CHANGES, RECENT_CHANGE_SECONDS
from sfjobs._tracking.watchlist import FEED_VERIFY_INTERVAL_SECONDS, FIRST_POLL_DELAY_SECONDS
from sfjobs.models import JobSnapshot
from tests.support.feeding_platform import FeedingPlatform, Script, Trouble

LATENCY = 0.02


def platform_with(ends: Sequence[float]) -> FeedingPlatform:
    platform = FeedingPlatform(latency=LATENCY)
    for end in ends:
        platform.stage((end, "complete"))
    return platform


async def handles(platform: FeedingPlatform, connection: Connection) -> list[Job]:
    """Return handles with a cursor, the oldest first. The requests for them are not counted."""
    jobs = [job async for job in connection.list_jobs()][::-1]
    platform.requests.clear()
    platform.times.clear()
    return jobs


async def wait_for(job: Job, seen: dict[str, float]) -> None:
    await job.wait(fetch_result=False)
    seen[job.id] = anyio.current_time()


async def wait_each(jobs: Sequence[Job]) -> dict[str, float]:
    """Wait in one task a job. Return when each saw the end of its job."""
    seen: dict[str, float] = {}
    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(wait_for, job, seen)
    return seen


def ends_of(platform: FeedingPlatform, ends: Sequence[float]) -> dict[str, float]:
    return dict(zip(platform.jobs, ends, strict=True))


@pytest.mark.parametrize("count", [1, 1000])
async def test_one_request_serves_any_number_of_waiters_whose_jobs_end_one_after_another(count: int) -> None:
    ends = [2 + 10 * n / count for n in range(count)]
    platform = platform_with(ends)
    async with platform.connection() as connection:
        seen = await wait_each(await handles(platform, connection))
    assert [request.url.path for request in platform.requests] == ["/jobs/changes"]
    late = [seen[job_id] - end for job_id, end in ends_of(platform, ends).items()]
    assert max(late) <= LATENCY / 2 + 1e-6
    assert platform.open_streams == 0


async def test_jobs_known_by_their_ids_only_are_polled_once() -> None:
    platform = platform_with([100.0] * 1000)
    async with platform.connection() as connection:
        await wait_each([Job(job_id, JobStatus.OPEN, connection) for job_id in platform.jobs])
    assert len(platform.polls) == 10
    assert len(platform.streams) == 1


async def test_a_job_that_ended_between_its_handle_and_the_wait_is_seen_at_once() -> None:
    platform = platform_with([5.0, 300.0])
    async with platform.connection() as connection:
        done, _ = await handles(platform, connection)
        await anyio.sleep(60)
        started = anyio.current_time()
        await done.wait(fetch_result=False)
        assert anyio.current_time() - started < FEED_OPEN_HOLD_SECONDS
        assert not platform.polls


async def test_a_job_that_is_submitted_and_awaited_while_the_stream_is_open_costs_no_poll() -> None:
    platform = platform_with([10_000.0])
    async with platform.connection() as connection, anyio.create_task_group() as group:
        [other] = await handles(platform, connection)
        group.start_soon(wait_for, other, {})
        await anyio.sleep(1)
        for _ in range(20):
            job = await connection.create_job("simulon_gaussian", "Vac | 0")
            platform.jobs[job.id].stages[0].at = anyio.current_time() + 0.5  # type: ignore[attr-defined]
            await anyio.sleep(2)  # it ends without a waiter
            started = anyio.current_time()
            assert await job.wait(fetch_result=False) == JobStatus.COMPLETED
            assert anyio.current_time() == started
        group.cancel_scope.cancel()
    assert not platform.polls
    assert len(platform.streams) == 1


async def test_a_job_whose_event_was_forgotten_is_polled() -> None:
    platform = platform_with([5.0, *[7.0] * (MAX_RECENT_CHANGES + 1), 10_000.0])
    async with platform.connection() as connection, anyio.create_task_group() as group:
        jobs = {job.id: job for job in await handles(platform, connection)}
        first, *_, last = platform.jobs
        group.start_soon(wait_for, jobs[last], {})
        await anyio.sleep(20)
        assert await jobs[first].wait(fetch_result=False) == JobStatus.COMPLETED
        assert len(platform.polls) == 1
        group.cancel_scope.cancel()


async def test_old_events_are_forgotten() -> None:
    """A connection that reads the events of an account all day kept a snapshot of each job, up to a thousand."""
    platform = platform_with([float(second) for second in range(1, 301)])
    async with platform.connection() as connection:
        jobs = await handles(platform, connection)
        gc.collect()
        before = sum(isinstance(found, JobSnapshot) for found in gc.get_objects())
        assert await jobs[-1].wait(fetch_result=False) == JobStatus.COMPLETED
        gc.collect()
        assert sum(isinstance(found, JobSnapshot) for found in gc.get_objects()) - before < 2 * RECENT_CHANGE_SECONDS


async def test_waiting_again_and_again_costs_no_polls() -> None:
    platform = platform_with([100.0])
    async with platform.connection() as connection:
        [job] = await handles(platform, connection)
        while not job.status.is_final:
            with anyio.move_on_after(0.7):
                await job.wait(fetch_result=False)
    assert not platform.polls


async def test_a_stream_that_was_not_read_for_long_is_opened_again_at_the_same_cursor() -> None:
    platform = platform_with([5.0, 8.0, 2000.0])
    async with platform.connection() as connection:
        jobs = await handles(platform, connection)
        with anyio.move_on_after(6):
            await sfjobs.wait_all(jobs, fetch_results=False)
        await anyio.sleep(1000)
        await jobs[1].wait(fetch_result=False)
        assert jobs[1].status == JobStatus.COMPLETED
    assert not platform.polls
    assert len(platform.streams) == 2
    assert platform.streams[1] != platform.streams[0]


async def test_a_cancelled_leader_costs_at_most_another_stream() -> None:
    platform = platform_with([100.0] * 50)
    async with platform.connection() as connection:
        jobs = await handles(platform, connection)
        seen: dict[str, float] = {}
        async with anyio.create_task_group() as group:
            for job in jobs[1:]:
                group.start_soon(wait_for, job, seen)
            for _ in range(5):
                await anyio.sleep(1)
                with anyio.move_on_after(0.5):
                    await jobs[0].wait()
    assert len(seen) == 49
    assert not platform.polls
    assert len(platform.streams) <= 6
    assert platform.open_streams == 0


async def test_a_platform_that_offers_no_feed_is_not_asked_for_one() -> None:
    platform = platform_with([5.0, 50.0])
    platform.offers_feed = False
    async with platform.connection() as connection:
        await wait_each(await handles(platform, connection))
    assert not platform.count("GET", "/jobs/changes")


async def test_a_lost_event_is_found_by_a_verifying_poll() -> None:
    """The stream stays open but has no event: the insurance against a feed that has lost one."""
    platform = platform_with([50.0])
    async with platform.connection() as connection:
        [job] = await handles(platform, connection)
        platform.script = lambda number: Script(trouble=None)
        platform.jobs[job.id].change = -1  # type: ignore[attr-defined]
        platform._change = lambda job, status: setattr(job, "status", status)  # type: ignore[assignment,method-assign]
        await job.wait(fetch_result=False)
        assert anyio.current_time() <= FEED_VERIFY_INTERVAL_SECONDS * 1.1 + 1
    assert len(platform.polls) == 1


# -- failures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["cut", "reset", "silence", "garbage"])
@pytest.mark.parametrize("after", [0.0, 0.3, 30.0])
async def test_list_polling_takes_over_at_once_and_the_stream_is_opened_again(trouble: Trouble, after: float) -> None:
    ends = [1.0 + n for n in range(100)]
    platform = platform_with(ends)
    platform.script = lambda number: Script(trouble=trouble, after=after) if number == 0 else Script()
    async with platform.connection() as connection:
        seen = await wait_each(await handles(platform, connection))
    late = {job_id: seen[job_id] - end for job_id, end in ends_of(platform, ends).items()}
    blind = FEED_READ_TIMEOUT_SECONDS if trouble == "silence" else 0.0
    assert max(late.values()) <= blind + 0.55 * 1.1 + 3 * LATENCY
    assert 1 <= len(platform.polls) <= 4
    assert len(platform.streams) == 2
    later = [job_id for job_id, end in ends_of(platform, ends).items() if end > after + blind + 3]
    assert max(late[job_id] for job_id in later) <= LATENCY / 2 + 1e-6, "the second stream covers the rest"


async def test_a_token_that_expires_costs_a_stream_and_no_poll() -> None:
    platform = platform_with([1.0 + n for n in range(100)])
    platform.script = lambda number: Script(trouble="bye", after=20)
    async with platform.connection() as connection:
        await wait_each(await handles(platform, connection))
    assert not platform.polls
    assert len(platform.streams) == 5


@pytest.mark.parametrize("status", [400, 404, 405, 429, 500, 501, 503])
async def test_a_stream_that_is_refused_leaves_list_polling(status: int) -> None:
    ends = [3.0, 90.0]
    platform = platform_with(ends)
    platform.script = lambda number: Script(status=status)
    async with platform.connection() as connection:
        seen = await wait_each(await handles(platform, connection))
    assert seen[next(iter(platform.jobs))] <= 3.0 + 0.6 + 3 * LATENCY
    assert 5 <= len(platform.streams) <= 8, "each backoff is twice as long as the one before"


async def test_a_proxy_that_buffers_the_stream_leaves_list_polling() -> None:
    ends = [0.5 + n / 10 for n in range(100)]
    platform = platform_with(ends)
    platform.script = lambda number: Script(buffered=True)
    async with platform.connection() as connection:
        seen = await wait_each(await handles(platform, connection))
    late = [seen[job_id] - end for job_id, end in ends_of(platform, ends).items()]
    assert max(late) <= FEED_OPEN_HOLD_SECONDS + 0.6 + 3 * LATENCY
    assert len(platform.streams) <= 1 + 10 / FEED_MIN_BACKOFF_SECONDS, (
        "leaders change with every poll, and each cancels its read of this stream"
    )


async def test_a_cursor_that_has_expired_leads_through_the_list_to_a_new_one() -> None:
    platform = platform_with([2.0, 30.0, 60.0])
    platform.script = lambda number: Script(trouble="cut", after=10) if number == 0 else Script()
    async with platform.connection() as connection:
        jobs = await handles(platform, connection)
        seen: dict[str, float] = {}
        async with anyio.create_task_group() as group:
            for job in jobs:
                group.start_soon(wait_for, job, seen)
            await anyio.sleep(9)
            platform.epoch, platform.oldest = "e2", 0
    assert len(seen) == 3
    assert len(platform.streams) == 2 or platform.streams[-1] is not None
    assert seen[list(platform.jobs)[-1]] <= 60.0 + LATENCY


async def test_an_expired_cursor_is_not_used_again() -> None:
    platform = platform_with([40.0, 60.0])
    async with platform.connection() as connection:
        jobs = await handles(platform, connection)
        platform.forget_changes()
        seen = await wait_each(jobs)
    assert max(seen.values()) <= 60.0 + LATENCY
    assert len(platform.streams) == 2
    assert len(platform.polls) <= 3


async def test_closing_the_connection_ends_the_stream_and_every_wait() -> None:
    platform = platform_with([1000.0] * 20)
    closed = 0

    async def wait(job: Job) -> None:
        nonlocal closed
        with pytest.raises(sfjobs.ConnectionClosedError):
            await job.wait()
        closed += 1

    connection = platform.connection()
    jobs = await handles(platform, connection)
    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(wait, job)
        await anyio.sleep(5)
        started = anyio.current_time()
        await connection.aclose()
    assert closed == 20
    assert anyio.current_time() == started
    assert platform.open_streams == 0


@pytest.mark.parametrize("moment", [0.0, FIRST_POLL_DELAY_SECONDS / 2, LATENCY * 0.9, LATENCY * 1.2, 0.5, 2.005, 2.015])
async def test_cancelling_all_waiters_at_any_moment_leaves_nothing(moment: float) -> None:
    platform = platform_with([2.0] * 100 + [9.0] * 100)
    async with platform.connection() as connection:
        jobs = await handles(platform, connection)
        with anyio.move_on_after(moment):
            await wait_each(jobs)
        assert internals(connection).poller.is_idle
        assert platform.in_flight == 0
    assert platform.open_streams == 0


@pytest.mark.parametrize("seed", range(60))
async def test_every_waiter_is_settled_in_time_and_no_status_goes_back_whatever_happens_to_the_streams(
    seed: int,
) -> None:
    draw = random.Random(seed)
    platform = FeedingPlatform(latency=draw.choice([0.0, 0.01, 0.3]))
    troubles: list[Trouble] = ["cut", "reset", "silence", "garbage", "bye"]

    def script(number: int) -> Script:
        kind = draw.random()
        if kind < 0.1:
            return Script(status=draw.choice([404, 410, 429, 500, 503]))
        if kind < 0.2:
            return Script(buffered=True)
        return Script(trouble=draw.choice(troubles), after=draw.choice([0.0, draw.uniform(0, 3), draw.uniform(0, 60)]))

    platform.script = script
    for _ in range(draw.randint(1, 150)):
        queued = draw.uniform(0, 60)
        platform.stage(
            (queued, "queued"), (queued + draw.uniform(0, 60), draw.choice(["complete", "failed"])), status="open"
        )
    ends = {job.id: job.stages[-1].at for job in platform.staged}
    late: dict[str, float] = {}
    stages = {JobStatus.OPEN: 0, JobStatus.QUEUED: 1}

    async def wait(job: Job, start: float, timeout: float | None) -> None:
        await anyio.sleep(start)
        started, before = anyio.current_time(), job.status
        with anyio.move_on_after(timeout):
            await job.wait(fetch_result=False)
            late[job.id] = anyio.current_time() - max(started, ends[job.id])
        assert stages.get(job.status, 2) >= stages.get(before, 2)

    async with platform.connection() as connection:
        jobs = await handles(platform, connection)
        if draw.random() < 0.5:
            jobs = [Job(job.id, JobStatus.OPEN, connection) for job in jobs]
        unbounded = [job for job in jobs if draw.random() < 0.8]
        async with anyio.create_task_group() as group:
            for job in jobs:
                timeout = None if job in unbounded else draw.uniform(0, 20)
                group.start_soon(wait, job, draw.choice([0.0, draw.uniform(0, 30)]), timeout)
        assert internals(connection).poller.is_idle
    assert {job.id for job in unbounded} <= late.keys()
    assert max(late.values()) <= FEED_READ_TIMEOUT_SECONDS + FEED_OPEN_TIMEOUT_SECONDS + 13.2 + 10 * platform.latency
    assert platform.open_streams == 0
    assert platform.in_flight == 0
