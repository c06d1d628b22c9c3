"""Waiting for many jobs: when their results are fetched, and how many at a time. In virtual time."""

from __future__ import annotations

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Connection, FailedJobError, Job, ResultCorruptError, WaitTimeoutError
from sfjobs._client.connection import internals
from sfjobs._jobs.result_prefetch import MAX_CONCURRENT_DOWNLOADS
from sfjobs._jobs.waiting import MAX_RESULTS_PER_STEP
from tests.support.feeding_platform import FeedingPlatform


class SlowResults:
    """Results that take ``seconds`` each; counts them, and notes when each was requested."""

    def __init__(self, platform: FeedingPlatform, seconds: float = 1.0) -> None:
        self._platform = platform
        self.seconds = seconds
        self.requested: dict[str, float] = {}
        self.under_way = 0
        self.most = 0
        self.corrupt: set[str] = set()
        platform.trouble = self.handle

    async def handle(self, request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("/result"):
            return None
        job_id = request.url.path.split("/")[2]
        self.requested[job_id] = anyio.current_time()
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await anyio.sleep(self.seconds)
        finally:
            self.under_way -= 1
        return httpx.Response(200, content=b"garbage") if job_id in self.corrupt else None


async def handles(platform: FeedingPlatform, connection: Connection) -> list[Job]:
    return [job async for job in connection.list_jobs()][::-1]


@pytest.mark.parametrize("offers_feed", [True, False])
async def test_each_result_is_fetched_while_the_other_jobs_are_still_waited_for(offers_feed: bool) -> None:
    platform = FeedingPlatform(latency=0.01, offers_feed=offers_feed)
    results = SlowResults(platform)
    ends = {platform.stage((2.0 + 3 * n, "complete")).id: 2.0 + 3 * n for n in range(10)}
    async with platform.connection() as connection:
        jobs = await handles(platform, connection)
        await sfjobs.wait_all(jobs)
    assert all(job.has_result for job in jobs)
    assert all(results.requested[job_id] - end < 3 for job_id, end in ends.items())


async def test_slow_downloads_do_not_delay_the_polls() -> None:
    platform = FeedingPlatform(latency=0.01, offers_feed=False)
    SlowResults(platform, seconds=500)
    for _ in range(200):
        platform.stage((1.0, "complete"))
    last = platform.stage((60.0, "complete"))
    async with platform.connection() as connection:
        jobs = await handles(platform, connection)
        seen: list[float] = []

        async def wait() -> None:
            [job] = [job for job in jobs if job.id == last.id]
            await job.wait(fetch_result=False)
            seen.append(anyio.current_time())

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            with anyio.move_on_after(100):
                await sfjobs.wait_all(jobs[:200])
        assert seen[0] < 60 + 7


async def test_results_are_fetched_a_few_at_a_time() -> None:
    platform = FeedingPlatform()
    results = SlowResults(platform)
    for _ in range(500):
        platform.stage((5.0, "complete"))
    async with platform.connection() as connection:
        await sfjobs.wait_all(await handles(platform, connection))
    assert results.most == MAX_CONCURRENT_DOWNLOADS


async def test_a_step_of_an_iteration_fetches_a_bounded_number_of_results() -> None:
    platform = FeedingPlatform()
    results = SlowResults(platform)
    for _ in range(1000):
        platform.stage((5.0, "complete"))
    async with platform.connection() as connection:
        async for job in sfjobs.as_completed(await handles(platform, connection)):
            assert job.has_result
            break
    assert len(results.requested) == MAX_RESULTS_PER_STEP


async def test_only_the_results_of_the_first_jobs_are_fetched() -> None:
    platform = FeedingPlatform()
    results = SlowResults(platform)
    for _ in range(1000):
        platform.stage((5.0, "complete"))
    async with platform.connection() as connection:
        assert len(await sfjobs.first(await handles(platform, connection), 3)) == 3
    assert len(results.requested) == 3


# httpx drops the innermost of its nested generators when an response is left half-way.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object ByteStream")
async def test_a_corrupt_result_is_raised_once_all_others_are_fetched() -> None:
    platform = FeedingPlatform()
    results = SlowResults(platform)
    bad = platform.stage((1.0, "complete"))
    results.corrupt.add(bad.id)
    for _ in range(50):
        platform.stage((9.0, "complete"))
    async with platform.connection() as connection:
        jobs = await handles(platform, connection)
        with pytest.raises(ResultCorruptError):
            await sfjobs.wait_all(jobs)
    assert [job.has_result for job in jobs] == [job.id != bad.id for job in jobs]


async def test_a_job_is_done_at_the_deadline_only_with_its_result() -> None:
    platform = FeedingPlatform()
    SlowResults(platform, seconds=10)
    for at in (1.0, 5.0, 100.0):
        platform.stage((at, "complete"))
    async with platform.connection() as connection:
        jobs = await handles(platform, connection)
        with pytest.raises(WaitTimeoutError) as caught:
            await sfjobs.wait_all(jobs, timeout=13)
        assert (caught.value.done, caught.value.pending) == ((jobs[0].id,), (jobs[1].id, jobs[2].id))
        assert internals(connection).poller.is_idle
        assert platform.in_flight == 0


async def test_no_result_of_a_failed_job_is_requested() -> None:
    platform = FeedingPlatform()
    results = SlowResults(platform)
    platform.stage((1.0, "failed"))
    async with platform.connection() as connection:
        [job] = await handles(platform, connection)
        await sfjobs.wait_all([job])
        with pytest.raises(FailedJobError):
            job.raise_for_status()
    assert not results.requested


async def test_two_handles_of_one_job_both_have_its_result() -> None:
    platform = FeedingPlatform()
    platform.stage((2.0, "complete"))
    async with platform.connection() as connection:
        [job] = await handles(platform, connection)
        other = Job(job.id, "open", connection)
        await sfjobs.wait_all([job, other])
        third = Job(job.id, "open", connection)
        await sfjobs.wait_all([job, third])
    assert job.has_result
    assert other.has_result
    assert third.has_result
