"""
Scenarios of a job's life: the caller's calls and their outcomes. Each is written once and runs on asyncio, on trio and through
the blocking twin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import httpx
import numpy as np
import pytest

import sfjobs
from sfjobs import JobStatus
from sfjobs._client.connection import internals
from sfjobs._jobs.job import state_of
from sfjobs.sync import _view
from tests.support.fake_platform import SAMPLES, FakeJob, FakePlatform
from tests.support.worlds import AsyncWorld, BlockingWorld, World, driven

PROGRAM = "Sgate(0.5) | 0\nMeasureFock() | [0, 1]"
Scenario = Callable[[World], Awaitable[None]]


async def submitted(w: World, *, ends_in: float = 2.0) -> tuple[FakeJob, sfjobs.Job]:
    job = await w.connection.create_job("simulon_gaussian", PROGRAM, shots=3)
    w.platform.jobs[job.id].ends_at = w.now() + w.time(ends_in)
    return w.platform.jobs[job.id], job


async def submit_and_await(w: World) -> None:
    _, job = await submitted(w)
    assert job.status == JobStatus.OPEN
    result = await job
    assert job.status == JobStatus.COMPLETED
    np.testing.assert_array_equal(result.samples, SAMPLES)
    assert job.result is result


async def wait_fetches_the_result(w: World) -> None:
    _, job = await submitted(w)
    assert await job.wait(timeout=w.time(60)) == JobStatus.COMPLETED
    np.testing.assert_array_equal(job.result.samples, SAMPLES)


async def wait_without_the_result(w: World) -> None:
    _, job = await submitted(w)
    assert await job.wait(fetch_result=False) == JobStatus.COMPLETED
    assert not job.has_result
    with pytest.raises(sfjobs.ResultUnavailableError, match="fetch_result"):
        _ = job.result
    assert await job.fetch_result() is await job.fetch_result()
    assert w.platform.count("GET", f"/jobs/{job.id}/result") == 1


async def wait_twice_polls_once(w: World) -> None:
    _, job = await submitted(w)
    await job.wait()
    requests = len(w.platform.requests)
    assert await job.wait() == JobStatus.COMPLETED
    assert len(w.platform.requests) == requests


async def wait_times_out_and_the_job_goes_on(w: World) -> None:
    _, job = await submitted(w, ends_in=10)
    with pytest.raises(sfjobs.WaitTimeoutError, match="it goes on") as caught:
        await job.wait(timeout=w.time(3))
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.job_id, caught.value.pending) == (job.id, (job.id,))
    assert await job.wait() == JobStatus.COMPLETED


async def job_fails(w: World) -> None:
    fake, job = await submitted(w)
    fake.outcome, fake.meta = "failed", {"error-code": "simulation-limit", "error-detail": "too many photons"}
    assert await job.wait() == JobStatus.FAILED
    with pytest.raises(sfjobs.FailedJobError, match="too many photons") as caught:
        await job
    assert (caught.value.job_id, caught.value.status, caught.value.meta) == (job.id, JobStatus.FAILED, fake.meta)
    with pytest.raises(sfjobs.ResultUnavailableError, match="there will be no result"):
        _ = job.result


async def cancel(w: World) -> None:
    _, job = await submitted(w, ends_in=100)
    assert await job.cancel() == JobStatus.CANCEL_PENDING
    assert await job.wait() == JobStatus.CANCELLED
    with pytest.raises(sfjobs.CancelledJobError):
        await job
    with pytest.raises(sfjobs.InvalidJobOperationError, match="cancelled"):
        await job.cancel()


async def cancel_and_wait(w: World) -> None:
    _, job = await submitted(w, ends_in=100)
    assert await job.cancel(wait=True) == JobStatus.CANCELLED


async def cancel_by_id(w: World) -> None:
    _, job = await submitted(w, ends_in=100)
    assert await w.connection.cancel_job(job.id) == JobStatus.CANCEL_PENDING


async def cancel_too_late(w: World) -> None:
    _, job = await submitted(w, ends_in=0)
    with pytest.raises(sfjobs.InvalidJobOperationError, match="is complete"):
        await job.cancel()
    assert job.status == JobStatus.COMPLETED


async def cancelled_elsewhere(w: World) -> None:
    fake, job = await submitted(w, ends_in=5)
    fake.outcome = "cancelled"
    with pytest.raises(sfjobs.CancelledJobError) as caught:
        await job
    assert caught.value.status == JobStatus.CANCELLED


async def cancel_is_seen_by_other_waiters_at_once(w: World) -> None:
    fake, job = await submitted(w, ends_in=1000)
    async with anyio.create_task_group() as group:
        group.start_soon(job.wait)
        await w.sleep(400)
        fake.status = "cancelled"
        await w.job(job.id, "open").refresh()
        started = w.now()
    assert w.now() == started
    assert job.status == JobStatus.CANCELLED


async def unknown_status_word(w: World) -> None:
    fake, job = await submitted(w, ends_in=10)
    fake.status = "paused"
    await job.refresh()
    assert job.status == "paused"
    assert repr(job.status) == "<JobStatus: paused>"
    assert not job.status.is_final
    assert await job.wait() == JobStatus.COMPLETED


async def result_of_an_unfinished_job(w: World) -> None:
    _, job = await submitted(w, ends_in=100)
    with pytest.raises(sfjobs.ResultUnavailableError, match="is open"):
        _ = job.result
    with pytest.raises(AttributeError):
        _ = job.result
    with pytest.raises(sfjobs.ResultUnavailableError, match="no result yet"):
        await job.fetch_result()
    with pytest.raises(sfjobs.ResultUnavailableError):
        await w.connection.get_job_result(job.id)


async def job_that_does_not_exist(w: World) -> None:
    missing = "11111111-2222-4333-8444-555555555555"
    for call in (
        w.connection.get_job,
        w.connection.cancel_job,
        w.connection.get_job_result,
        w.connection.get_job_circuit,
    ):
        with pytest.raises(sfjobs.NotFoundError):
            await call(missing)  # type: ignore[operator]
    with pytest.raises(sfjobs.NotFoundError, match=missing):
        await w.job(missing, "open").wait()


async def platform_gone(w: World) -> None:
    _, job = await submitted(w)

    async def gone(request: httpx.Request) -> httpx.Response | None:
        raise httpx.ConnectError("connection refused")

    w.platform.trouble = gone
    with pytest.raises(sfjobs.WaitTimeoutError, match="could not be reached"):
        await job.wait(timeout=w.time(100))
    with pytest.raises(sfjobs.TransportError):
        await job.refresh()


async def platform_back_in_time(w: World) -> None:
    _, job = await submitted(w)
    down_until = w.now() + w.time(30)

    async def gone(request: httpx.Request) -> httpx.Response | None:
        if w.now() < down_until:
            raise httpx.ConnectError("connection refused")
        return None

    w.platform.trouble = gone
    assert await job.wait() == JobStatus.COMPLETED


async def refresh_updates_status_and_result(w: World) -> None:
    fake, job = await submitted(w, ends_in=1)
    fake.meta = {"queue_position": 3}
    await job.refresh()
    assert (job.status, job.meta) == (JobStatus.OPEN, {"queue_position": 3})
    await w.sleep(2)
    await job.refresh()
    assert job.status == JobStatus.COMPLETED
    np.testing.assert_array_equal(job.result.samples, SAMPLES)
    requests = len(w.platform.requests)
    await job.refresh()
    assert len(w.platform.requests) == requests


async def an_older_snapshot_never_replaces_a_final_one(w: World) -> None:
    _, job = await submitted(w)
    await job.wait()
    state_of(job).apply(sfjobs.JobSnapshot(id=job.id, status=JobStatus.QUEUED), w.now())
    assert job.status == JobStatus.COMPLETED


async def closing_while_waiting(w: World) -> None:
    _, job = await submitted(w, ends_in=1000)
    async with anyio.create_task_group() as group:
        group.start_soon(expect_closed, job)
        await w.sleep(100)
        await w.connection.aclose()
    assert w.now() < 10_000


async def expect_closed(job: sfjobs.Job) -> None:
    with pytest.raises(sfjobs.ConnectionClosedError, match="closed"):
        await job.wait()


async def many_as_completed(w: World) -> None:
    jobs = [
        (await submitted(w, ends_in=20 * n))[1] for n in (3, 1, 2)
    ]  # far apart, also for the clock of the blocking twin
    order = [job async for job in w.as_completed(jobs)]
    assert order == [jobs[1], jobs[2], jobs[0]]
    assert all(job.has_result for job in jobs)


async def as_completed_abandoned(w: World) -> None:
    jobs = [(await submitted(w, ends_in=3 * n))[1] for n in (1, 2)]
    async for job in w.as_completed(jobs):
        assert job is jobs[0]
        break


async def as_completed_times_out(w: World) -> None:
    jobs = [(await submitted(w, ends_in=n))[1] for n in (1, 100)]
    seen = []
    with pytest.raises(sfjobs.WaitTimeoutError) as caught:
        async for job in w.as_completed(jobs, timeout=w.time(10)):
            seen.append(job)
    assert seen == [jobs[0]]
    assert (caught.value.done, caught.value.pending) == ((jobs[0].id,), (jobs[1].id,))


async def all_with_one_failure_and_one_unknown(w: World) -> None:
    jobs = [(await submitted(w, ends_in=n))[1] for n in (1, 2, 3)]
    w.platform.jobs[jobs[1].id].outcome = "failed"
    assert await w.wait_all(jobs) == ["complete", "failed", "complete"]
    with pytest.raises(sfjobs.NotFoundError):
        await w.wait_all([*jobs, w.job("unknown", "open")])


async def all_of_no_jobs(w: World) -> None:
    assert await w.wait_all([]) == []
    assert [job async for job in w.as_completed([])] == []
    assert await w.first([], 0) == []


async def the_same_job_twice(w: World) -> None:
    _, job = await submitted(w)
    twin = w.job(job.id, "open")
    assert await w.wait_all([job, twin, job]) == ["complete"] * 3
    assert job == twin
    assert len({job, twin}) == 1
    assert [j async for j in w.as_completed([job, twin])] == [job, twin]


async def first_of_many(w: World) -> None:
    jobs = [(await submitted(w, ends_in=n))[1] for n in (500, 2, 500, 8)]
    assert await w.first(jobs, 2) == [jobs[1], jobs[3]]
    with pytest.raises(ValueError, match="first 5 of 4"):
        await w.first(jobs, 5)


async def engine_runs(w: World) -> None:
    engine = w.engine("simulon_gaussian")

    async def finish(request: httpx.Request) -> httpx.Response | None:
        for job in w.platform.jobs.values():
            job.ends_at = min(job.ends_at, w.now() + w.time(1))
        return None

    w.platform.trouble = finish
    result = await engine.run(PROGRAM, shots=3)
    np.testing.assert_array_equal(result.samples, SAMPLES)
    job = await engine.run_async(PROGRAM, shots=3, name="async")
    assert job.name == "async"
    w.platform.jobs[job.id].outcome = "failed"
    assert (await engine.device()).target == "simulon_gaussian"


async def engine_reports_a_failure(w: World) -> None:
    async def fail(request: httpx.Request) -> httpx.Response | None:
        for job in w.platform.jobs.values():
            job.outcome, job.ends_at = "failed", 0
        return None

    w.platform.trouble = fail
    with pytest.raises(sfjobs.FailedJobError):
        await w.engine("X8").run(PROGRAM, shots=1)
    assert next(iter(w.platform.jobs.values())).target == "X8_01"


SCENARIOS: list[Scenario] = [
    submit_and_await,
    wait_fetches_the_result,
    wait_without_the_result,
    wait_twice_polls_once,
    wait_times_out_and_the_job_goes_on,
    job_fails,
    cancel,
    cancel_and_wait,
    cancel_by_id,
    cancel_too_late,
    cancelled_elsewhere,
    unknown_status_word,
    result_of_an_unfinished_job,
    job_that_does_not_exist,
    platform_gone,
    platform_back_in_time,
    refresh_updates_status_and_result,
    many_as_completed,
    as_completed_abandoned,
    as_completed_times_out,
    all_with_one_failure_and_one_unknown,
    all_of_no_jobs,
    the_same_job_twice,
    first_of_many,
    engine_runs,
    engine_reports_a_failure,
]


# These need two tasks, or internals. The blocking twin has threads instead, which have tests of their own.
ASYNC_ONLY: list[Scenario] = [
    cancel_is_seen_by_other_waiters_at_once,
    an_older_snapshot_never_replaces_a_final_one,
    closing_while_waiting,
]


def name_of(scenario: Scenario) -> str:
    return scenario.__name__


@pytest.mark.parametrize("scenario", [*SCENARIOS, *ASYNC_ONLY], ids=name_of)
async def test_awaited(scenario: Scenario) -> None:
    platform = FakePlatform(latency=0.01)
    async with platform.connection() as connection:
        await scenario(AsyncWorld(platform, connection))
        assert internals(connection).poller.is_idle
    assert platform.in_flight == 0


@pytest.mark.parametrize("scenario", SCENARIOS, ids=name_of)
def test_blocking(scenario: Scenario) -> None:
    platform = FakePlatform()
    world = BlockingWorld(platform)
    with world.blocking:
        driven(scenario(world))
        assert internals(_view.unwrap(world.blocking)[0]).poller.is_idle
    assert platform.in_flight == 0
