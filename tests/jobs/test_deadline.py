"""Waits whose timeout passes before the platform was polled: zero timeouts, and processes that were stopped."""

from __future__ import annotations

import time
from typing import Any

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Job, JobStatus
from sfjobs.errors import AuthenticationError, WaitTimeoutError
from tests.support.fake_platform import FakePlatform, refusal


def ended(platform: FakePlatform, connection: sfjobs.Connection, outcome: str = "complete") -> Job:
    """A job that has ended on the platform, and is open as far as its handle knows."""
    return Job(platform.add(ends_at=0, outcome=outcome).id, "open", connection)


@pytest.mark.parametrize("outcome", ["complete", "failed", "cancelled"])
async def test_a_timeout_of_zero_polls_once(outcome: str) -> None:
    platform = FakePlatform(latency=0.1)
    async with platform.connection() as connection:
        job = ended(platform, connection, outcome)
        assert await job.wait(timeout=0) == outcome
        assert job.has_result == (outcome == "complete")
    assert len(platform.polls) == 1


async def test_a_timeout_of_zero_says_open_only_of_a_job_that_is() -> None:
    platform = FakePlatform(latency=0.1)
    async with platform.connection() as connection:
        job = Job(platform.add().id, "open", connection)
        with pytest.raises(WaitTimeoutError, match="is queued after a wait of 0 s"):
            await job.wait(timeout=0)
    assert len(platform.polls) == 1


async def test_a_platform_of_version_0_2_0_is_asked_for_each_job() -> None:
    platform = FakePlatform()
    async with platform.connection(api_version="0.2.0") as connection:
        jobs = [ended(platform, connection, "failed") for _ in range(10)]
        assert await sfjobs.wait_all(jobs, timeout=0) == ["failed"] * 10


async def test_many_jobs_with_a_timeout_of_zero_share_requests() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        jobs = [ended(platform, connection) for _ in range(250)]
        assert await sfjobs.wait_all(jobs, timeout=0) == ["complete"] * 250
        assert all(job.has_result for job in jobs)
    assert len(platform.polls) == 3


async def test_the_error_of_many_jobs_names_those_that_are_open() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        jobs = [ended(platform, connection), Job(platform.add().id, "open", connection)]
        with pytest.raises(WaitTimeoutError) as caught:
            await sfjobs.wait_all(jobs, timeout=0)
    assert (caught.value.done, caught.value.pending) == ((jobs[0].id,), (jobs[1].id,))


async def test_an_iteration_with_a_timeout_of_zero_hands_out_what_has_ended() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        jobs = [ended(platform, connection), Job(platform.add().id, "open", connection)]
        completed = []
        with pytest.raises(WaitTimeoutError):
            async for job in sfjobs.as_completed(jobs, timeout=0):
                completed.append(job)
        assert completed == jobs[:1]


async def test_errors_that_stay_are_raised_and_others_end_the_wait_as_usual() -> None:
    platform = FakePlatform()

    async def respond(request: httpx.Request) -> httpx.Response | None:
        return response if request.url.path == "/jobs" else None

    platform.trouble = respond
    async with platform.connection() as connection:
        job = ended(platform, connection)
        response = refusal(503, "unavailable", "later")
        with pytest.raises(WaitTimeoutError):
            await job.wait(timeout=0)
        response = refusal(401, "unauthenticated", "no")
        with pytest.raises(AuthenticationError):
            await job.wait(timeout=0)


async def test_a_platform_that_hangs_bounds_the_last_poll() -> None:
    platform = FakePlatform(latency=1000)
    async with platform.connection() as connection:
        begin = anyio.current_time()
        with pytest.raises(WaitTimeoutError):
            await ended(platform, connection).wait(timeout=0)
        assert anyio.current_time() - begin <= 10


async def test_an_ordinary_timeout_sends_nothing_more() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        job = Job(platform.add().id, "open", connection)
        with pytest.raises(WaitTimeoutError):
            await job.wait(timeout=20)
        before = len(platform.requests)
        with pytest.raises(WaitTimeoutError):
            await job.wait(timeout=2)  # the next poll of a job of this age is later
    assert len(platform.requests) - before <= 1


@pytest.mark.real_time
@pytest.mark.parametrize("kind", ["wait", "wait_all", "first"])
async def test_a_process_that_was_stopped_beyond_the_timeout_polls_once(kind: str) -> None:
    platform = FakePlatform()
    async with platform.connection() as connection, anyio.create_task_group() as group:
        job = Job(platform.add(ends_at=anyio.current_time() + 1).id, "open", connection)

        async def stop() -> None:
            await anyio.sleep(0.3)
            time.sleep(2.7)  # noqa: ASYNC251 - no task of the event loop runs, as in a stopped process

        group.start_soon(stop)
        waits: dict[str, Any] = {
            "wait": lambda: job.wait(timeout=1.5),
            "wait_all": lambda: sfjobs.wait_all([job], timeout=1.5),
            "first": lambda: sfjobs.first([job], timeout=1.5),
        }
        await waits[kind]()
        assert job.status == JobStatus.COMPLETED
        assert job.has_result
