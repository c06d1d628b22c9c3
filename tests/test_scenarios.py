"""
The scenarios of a job's life, each told once and run on asyncio and on trio: what the caller does, and what must come of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import httpx
import numpy as np
import pytest

import sfjobs
from sfjobs import Connection, Job, JobStatus, RemoteEngine
from tests.support.fake_platform import SAMPLES, FakeJob, FakePlatform

PROGRAM = "Sgate(0.5) | 0\nMeasureFock() | [0, 1]"
Scenario = Callable[[FakePlatform, Connection], Awaitable[None]]


async def submitted(platform: FakePlatform, connection: Connection, *, ends_in: float = 2.0) -> tuple[FakeJob, Job]:
    job = await connection.create_job("simulon_gaussian", PROGRAM, shots=3)
    platform.jobs[job.id].ends_at = anyio.current_time() + ends_in
    return platform.jobs[job.id], job


async def submit_and_await(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection)
    assert job.status == JobStatus.OPEN
    result = await job
    assert job.status == JobStatus.COMPLETED
    np.testing.assert_array_equal(result.samples, SAMPLES)
    assert job.result is result


async def wait_brings_the_result(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection)
    assert await job.wait(timeout=60) == JobStatus.COMPLETED
    np.testing.assert_array_equal(job.result.samples, SAMPLES)


async def wait_without_the_result(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection)
    assert await job.wait(fetch_result=False) == JobStatus.COMPLETED
    assert not job.has_result
    with pytest.raises(sfjobs.ResultUnavailableError, match="fetch_result"):
        _ = job.result
    assert await job.fetch_result() is await job.fetch_result()
    assert platform.count("GET", f"/jobs/{job.id}/result") == 1


async def wait_twice_asks_once(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection)
    await job.wait()
    asked = len(platform.requests)
    assert await job.wait() == JobStatus.COMPLETED
    assert len(platform.requests) == asked


async def wait_times_out_and_the_job_goes_on(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection, ends_in=10)
    with pytest.raises(sfjobs.WaitTimeoutError, match="it goes on") as caught:
        await job.wait(timeout=3)
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.job_id, caught.value.pending) == (job.id, (job.id,))
    assert await job.wait() == JobStatus.COMPLETED


async def job_fails(platform: FakePlatform, connection: Connection) -> None:
    fake, job = await submitted(platform, connection)
    fake.outcome, fake.meta = "failed", {"error-code": "simulation-limit", "error-detail": "too many photons"}
    assert await job.wait() == JobStatus.FAILED
    with pytest.raises(sfjobs.FailedJobError, match="too many photons") as caught:
        await job
    assert (caught.value.job_id, caught.value.status, caught.value.meta) == (job.id, JobStatus.FAILED, fake.meta)
    with pytest.raises(sfjobs.ResultUnavailableError, match="there will be no result"):
        _ = job.result


async def cancel(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection, ends_in=100)
    assert await job.cancel() == JobStatus.CANCEL_PENDING
    assert await job.wait() == JobStatus.CANCELLED
    with pytest.raises(sfjobs.CancelledJobError):
        await job
    with pytest.raises(sfjobs.InvalidJobOperationError, match="cancelled"):
        await job.cancel()


async def cancel_and_wait(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection, ends_in=100)
    assert await job.cancel(wait=True) == JobStatus.CANCELLED


async def cancel_by_id(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection, ends_in=100)
    assert await connection.cancel_job(job.id) == JobStatus.CANCEL_PENDING


async def cancel_too_late(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection, ends_in=0)
    with pytest.raises(sfjobs.InvalidJobOperationError, match="is complete"):
        await job.cancel()
    assert job.status == JobStatus.COMPLETED


async def cancelled_elsewhere(platform: FakePlatform, connection: Connection) -> None:
    fake, job = await submitted(platform, connection, ends_in=5)
    fake.outcome = "cancelled"
    with pytest.raises(sfjobs.CancelledJobError) as caught:
        await job
    assert caught.value.status == JobStatus.CANCELLED


async def cancel_is_seen_by_other_waiters_at_once(platform: FakePlatform, connection: Connection) -> None:
    fake, job = await submitted(platform, connection, ends_in=1000)
    async with anyio.create_task_group() as group:
        group.start_soon(job.wait)
        await anyio.sleep(400)
        fake.status = "cancelled"
        await Job(job.id, "open", connection).refresh()
        started = anyio.current_time()
    assert anyio.current_time() == started
    assert job.status == JobStatus.CANCELLED


async def unknown_status_word(platform: FakePlatform, connection: Connection) -> None:
    fake, job = await submitted(platform, connection, ends_in=10)
    fake.status = "paused"
    await job.refresh()
    assert job.status == "paused"
    assert repr(job.status) == "<JobStatus: paused>"
    assert not job.status.is_final
    assert await job.wait() == JobStatus.COMPLETED


async def result_of_an_unfinished_job(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection, ends_in=100)
    with pytest.raises(sfjobs.ResultUnavailableError, match="is open"):
        _ = job.result
    with pytest.raises(AttributeError):
        _ = job.result
    with pytest.raises(sfjobs.ResultUnavailableError, match="no result yet"):
        await job.fetch_result()
    with pytest.raises(sfjobs.ResultUnavailableError):
        await connection.get_job_result(job.id)


async def job_that_does_not_exist(platform: FakePlatform, connection: Connection) -> None:
    missing = "11111111-2222-4333-8444-555555555555"
    for call in (connection.get_job, connection.cancel_job, connection.get_job_result, connection.get_job_circuit):
        with pytest.raises(sfjobs.NotFoundError):
            await call(missing)  # type: ignore[operator]
    with pytest.raises(sfjobs.NotFoundError, match=missing):
        await Job(missing, "open", connection).wait()


async def platform_gone(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection)

    async def gone(request: httpx.Request) -> httpx.Response | None:
        raise httpx.ConnectError("connection refused")

    platform.trouble = gone
    with pytest.raises(sfjobs.TransportError, match="could not be reached"):
        await job.wait()
    with pytest.raises(sfjobs.TransportError):
        await job.refresh()


async def platform_back_in_time(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection)
    down_until = anyio.current_time() + 30

    async def gone(request: httpx.Request) -> httpx.Response | None:
        if anyio.current_time() < down_until:
            raise httpx.ConnectError("connection refused")
        return None

    platform.trouble = gone
    assert await job.wait() == JobStatus.COMPLETED


async def refresh_takes_over_status_and_result(platform: FakePlatform, connection: Connection) -> None:
    fake, job = await submitted(platform, connection, ends_in=1)
    fake.meta = {"queue_position": 3}
    await job.refresh()
    assert (job.status, job.meta) == (JobStatus.OPEN, {"queue_position": 3})
    await anyio.sleep(2)
    await job.refresh()
    assert job.status == JobStatus.COMPLETED
    np.testing.assert_array_equal(job.result.samples, SAMPLES)
    asked = len(platform.requests)
    await job.refresh()
    assert len(platform.requests) == asked


async def results_out_of_order_never_undo_an_end(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection)
    await job.wait()
    job.take(sfjobs.JobSnapshot(id=job.id, status=JobStatus.QUEUED), anyio.current_time())
    assert job.status == JobStatus.COMPLETED


async def closing_while_waiting(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection, ends_in=1000)
    async with anyio.create_task_group() as group:
        group.start_soon(expect_closed, job)
        await anyio.sleep(100)
        await connection.aclose()
    assert anyio.current_time() < 10_000


async def expect_closed(job: Job) -> None:
    with pytest.raises(sfjobs.ConnectionClosedError, match="closed"):
        await job.wait()


async def many_as_completed(platform: FakePlatform, connection: Connection) -> None:
    jobs = [(await submitted(platform, connection, ends_in=3 * n))[1] for n in (3, 1, 2)]
    order = [job async for job in sfjobs.as_completed(jobs)]
    assert order == [jobs[1], jobs[2], jobs[0]]
    assert all(job.has_result for job in jobs)


async def as_completed_abandoned(platform: FakePlatform, connection: Connection) -> None:
    jobs = [(await submitted(platform, connection, ends_in=3 * n))[1] for n in (1, 2)]
    async for job in sfjobs.as_completed(jobs):
        assert job is jobs[0]
        break
    assert connection.poller.is_idle


async def as_completed_out_of_time(platform: FakePlatform, connection: Connection) -> None:
    jobs = [(await submitted(platform, connection, ends_in=n))[1] for n in (1, 100)]
    seen = []
    with pytest.raises(sfjobs.WaitTimeoutError) as caught:
        async for job in sfjobs.as_completed(jobs, timeout=10):
            seen.append(job)
    assert seen == [jobs[0]]
    assert (caught.value.done, caught.value.pending) == ((jobs[0].id,), (jobs[1].id,))
    assert connection.poller.is_idle


async def all_with_one_failure_and_one_unknown(platform: FakePlatform, connection: Connection) -> None:
    jobs = [(await submitted(platform, connection, ends_in=n))[1] for n in (1, 2, 3)]
    platform.jobs[jobs[1].id].outcome = "failed"
    assert await sfjobs.wait_all(jobs) == ["complete", "failed", "complete"]
    with pytest.raises(sfjobs.NotFoundError):
        await sfjobs.wait_all([*jobs, Job("unknown", "open", connection)])


async def all_of_nothing(platform: FakePlatform, connection: Connection) -> None:
    assert await sfjobs.wait_all([]) == []
    assert [job async for job in sfjobs.as_completed([])] == []
    assert await sfjobs.first([], 0) == []


async def the_same_job_twice(platform: FakePlatform, connection: Connection) -> None:
    _, job = await submitted(platform, connection)
    twin = Job(job.id, "open", connection)
    assert await sfjobs.wait_all([job, twin, job]) == ["complete"] * 3
    assert job == twin
    assert len({job, twin}) == 1
    assert [j async for j in sfjobs.as_completed([job, twin])] == [job, twin]


async def first_of_many(platform: FakePlatform, connection: Connection) -> None:
    jobs = [(await submitted(platform, connection, ends_in=n))[1] for n in (500, 2, 500, 5)]
    assert await sfjobs.first(jobs, 2) == [jobs[1], jobs[3]]
    with pytest.raises(ValueError, match="first 5 of 4"):
        await sfjobs.first(jobs, 5)


async def engine_runs(platform: FakePlatform, connection: Connection) -> None:
    engine = RemoteEngine("simulon_gaussian", connection)

    async def finish(request: httpx.Request) -> httpx.Response | None:
        for job in platform.jobs.values():
            job.ends_at = min(job.ends_at, anyio.current_time() + 1)
        return None

    platform.trouble = finish
    result = await engine.run(PROGRAM, shots=3)
    np.testing.assert_array_equal(result.samples, SAMPLES)
    job = await engine.run_async(PROGRAM, shots=3, name="async")
    assert job.name == "async"
    platform.jobs[job.id].outcome = "failed"
    assert (await engine.device()).target == "simulon_gaussian"


async def engine_reports_a_failure(platform: FakePlatform, connection: Connection) -> None:
    async def fail(request: httpx.Request) -> httpx.Response | None:
        for job in platform.jobs.values():
            job.outcome, job.ends_at = "failed", 0
        return None

    platform.trouble = fail
    with pytest.raises(sfjobs.FailedJobError):
        await RemoteEngine("X8", connection).run(PROGRAM, shots=1)
    assert next(iter(platform.jobs.values())).target == "X8_01"


SCENARIOS: list[Scenario] = [
    submit_and_await,
    wait_brings_the_result,
    wait_without_the_result,
    wait_twice_asks_once,
    wait_times_out_and_the_job_goes_on,
    job_fails,
    cancel,
    cancel_and_wait,
    cancel_by_id,
    cancel_too_late,
    cancelled_elsewhere,
    cancel_is_seen_by_other_waiters_at_once,
    unknown_status_word,
    result_of_an_unfinished_job,
    job_that_does_not_exist,
    platform_gone,
    platform_back_in_time,
    refresh_takes_over_status_and_result,
    results_out_of_order_never_undo_an_end,
    closing_while_waiting,
    many_as_completed,
    as_completed_abandoned,
    as_completed_out_of_time,
    all_with_one_failure_and_one_unknown,
    all_of_nothing,
    the_same_job_twice,
    first_of_many,
    engine_runs,
    engine_reports_a_failure,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_scenario(scenario: Scenario) -> None:
    platform = FakePlatform(latency=0.01)
    async with platform.connection() as connection:
        await scenario(platform, connection)
        assert connection.poller.is_idle
    assert platform.in_flight == 0
