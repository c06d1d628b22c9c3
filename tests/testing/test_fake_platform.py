"""``FakePlatform`` in memory, in virtual time: jobs end when told or after their time, and give the results that are set."""

from __future__ import annotations

import threading
import time

import anyio
import numpy as np
import pytest

import sfjobs
from sfjobs.testing import FakeJob, FakePlatform, VirtualClock
from tests.testing.conftest import PROGRAM

TARGET = "simulon_gaussian"


@pytest.mark.parametrize("feed", [True, False])
async def test_a_job_ends_after_its_run_time(feed: bool) -> None:
    platform = FakePlatform(run_time=3600, feed=feed)
    async with platform.connection() as connection:
        began = anyio.current_time()
        job = await connection.create_job(TARGET, PROGRAM, shots=3)
        assert job.status == "queued"
        result = await job
        # Polls of an old job are about half a minute apart.
        assert 3600 <= anyio.current_time() - began < (3601 if feed else 3660)
        assert job.running_time == 3600
        assert (result.samples.tolist(), result.samples.dtype) == ([[0, 0]] * 3, np.int64)


async def test_a_job_ends_when_the_test_says_so() -> None:
    platform = FakePlatform(run_time=None)
    async with platform.connection() as connection, anyio.create_task_group() as group:
        jobs = [await connection.create_job(TARGET, PROGRAM, shots=1, name=name) for name in "abc"]
        complete, failed, cancelled = platform.jobs
        assert [job.name for job in platform.jobs] == ["a", "b", "c"]
        assert platform.job(jobs[1].id) is failed

        async def end_them() -> None:
            await anyio.sleep(60)
            complete.start()
            complete.complete([[7, 8]])
            failed.fail("too hot", code="laser")
            cancelled.cancel()

        group.start_soon(end_them)
        assert await sfjobs.wait_all(jobs) == ["complete", "failed", "cancelled"]
    assert jobs[0].result.samples.tolist() == [[7, 8]]
    assert jobs[1].meta == {"error-code": "laser", "error-detail": "too hot"}
    with pytest.raises(ValueError, match="has ended, it is complete"):
        complete.fail()


async def test_results_are_arrays_lists_of_arrays_or_functions_of_the_job() -> None:
    async def result_of(source: object) -> sfjobs.Result:
        platform = FakePlatform(result=source)  # type: ignore[arg-type]  # each is one of its kinds
        async with platform.connection() as connection:
            return await (await connection.create_job(TARGET, PROGRAM, shots=2))

    def of_job(job: FakeJob) -> list[list[int]]:
        return [[job.shots, job.modes]] * job.shots

    assert (await result_of([[1.5, 2.5]])).samples.tolist() == [[1.5, 2.5]]
    assert (await result_of(np.ones((4, 2), np.uint8))).samples.shape == (4, 2)
    assert [output.tolist() for output in (await result_of([np.array([1]), np.array([2, 3])])).outputs] == [[1], [2, 3]]
    assert (await result_of(of_job)).samples.tolist() == [[2, 2], [2, 2]]


async def test_a_cancelled_job_is_pending_for_the_cancel_time() -> None:
    platform = FakePlatform(run_time=None, cancel_time=5)
    async with platform.connection() as connection:
        job = await connection.create_job(TARGET, PROGRAM, shots=1)
        assert await job.cancel() == "cancel_pending"
        assert platform.jobs[0].status == "cancel_pending"
        began = anyio.current_time()
        assert await job.wait() == "cancelled"
        assert anyio.current_time() - began == pytest.approx(5, abs=1)


async def test_a_virtual_clock_moves_the_platform_alone() -> None:
    clock = VirtualClock()
    platform = FakePlatform(run_time=3600, clock=clock)
    async with platform.connection() as connection:
        job = await connection.create_job(TARGET, PROGRAM, shots=1)
        with pytest.raises(sfjobs.WaitTimeoutError):
            await job.wait(timeout=7200)
        clock.advance(3599)
        await job.refresh()
        assert job.status == "queued"
        async with anyio.create_task_group() as group:
            group.start_soon(job.wait)
            await anyio.sleep(1)
            clock.advance(1)
        assert (job.status, job.running_time) == ("complete", 3600)
    with pytest.raises(ValueError, match="backward"):
        clock.advance(-1)


async def test_it_lists_pages_devices_and_programs() -> None:
    platform = FakePlatform()
    added = platform.add_job(name="elsewhere", run_time=10)
    async with platform.connection() as connection:
        submitted = [job async for job in connection.create_jobs(TARGET, [PROGRAM] * 249, shots=1)]
        listed = [job.id async for job in connection.list_jobs()]
        assert listed == [job.id for job in reversed(platform.jobs)]
        assert {*listed} == {added.id, *(job.id for job in submitted if isinstance(job, sfjobs.Job))}
        assert [job.id async for job in connection.list_jobs(ids=[added.id, "none"])] == [added.id]
        assert [device.target for device in await connection.list_devices()] == ["simulon_gaussian", "X8_01", "X12_01"]
        assert (await connection.get_device("X8_01")).specification is not None
        assert await connection.get_job_circuit(listed[0]) == platform.jobs[-1].program
        with pytest.raises(sfjobs.NotFoundError):
            await connection.create_job("X9_01", PROGRAM, shots=1)
    sent = {request.headers["content-type"] for request in platform.requests.matching("POST", "/jobs")}
    assert sent == {"application/json", "application/jobs+json"}
    assert FakePlatform().settings().journal == "off"


async def test_expired_tokens_are_fetched_anew() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        await connection.ping()
        platform.expire_tokens()
        await connection.ping()
    assert platform.requests.count("POST", "/auth/*") == 2


async def test_a_wrong_key_is_refused() -> None:
    async with FakePlatform().connection(api_key="wrong") as connection:
        with pytest.raises(sfjobs.AuthenticationError):
            await connection.ping()


async def test_latency_passes_in_the_time_of_the_event_loop() -> None:
    platform = FakePlatform(latency=2)
    async with platform.connection() as connection:
        await connection.ping()
        began = anyio.current_time()
        await connection.ping()
        assert anyio.current_time() - began == pytest.approx(2)


@pytest.mark.real_time
@pytest.mark.parametrize("feed", [True, False])
def test_blocking_connections_in_several_threads_share_a_platform(feed: bool) -> None:
    platform = FakePlatform(run_time=None, feed=feed)
    statuses: list[str] = []

    def wait() -> None:
        with platform.blocking_connection() as connection:
            job = connection.create_job(TARGET, PROGRAM, shots=1)
            statuses.append(job.wait(timeout=60).value)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(platform.jobs) < 4:
        time.sleep(0.01)
    for job in platform.jobs:
        job.complete()
    for thread in threads:
        thread.join(60)
    assert statuses == ["complete"] * 4


@pytest.mark.real_time
def test_time_goes_on_from_one_event_loop_to_the_next() -> None:
    platform = FakePlatform(run_time=0.2)

    async def submit() -> str:
        async with platform.connection() as connection:
            return (await connection.create_job(TARGET, PROGRAM, shots=1)).id

    async def wait(job_id: str) -> str:
        async with platform.connection() as connection:
            return await sfjobs.Job(job_id, "queued", connection).wait(timeout=60)

    for first, second in (("asyncio", "trio"), ("trio", "asyncio")):
        job_id = anyio.run(submit, backend=first)
        assert anyio.run(wait, job_id, backend=second) == "complete"
