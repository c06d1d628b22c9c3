"""The scheduler: fair to accounts, woken by events, correct in every race. ``test_job_queue`` has the rules of the order."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from sfjobs.models import JobStatus
from sfjobs.platform.execution.executor import WorkerLost, WorkFailed
from tests.platform.stand_ins import Bench, new_job, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]


async def submit(bench: Bench, number: int = 0, *, target: str = "simulon_gaussian") -> str:
    (record,) = await bench.scheduler.submit([new_job(bench.account, number, target=target)])
    return record.id


def place_of(bench: Bench, job_id: str) -> int | None:
    record = bench.store.job(job_id)
    assert record is not None
    return bench.scheduler.position(record)


async def test_a_job_runs_and_completes(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job_id = await submit(bench)
        bench.executor.finish((await bench.executor.started()).job_id)
        job = await bench.store.ended(job_id)
    assert (job.status, job.meta) == (JobStatus.COMPLETED, {"sampler": "scripted"})


async def test_jobs_run_in_the_order_they_came(tmp_path: Path) -> None:
    order = []
    async with open_bench(tmp_path) as bench:
        ids = [await submit(bench, number) for number in range(4)]
        for _ in ids:
            work = await bench.executor.started()
            order.append(work.job_id)
            bench.executor.finish(work.job_id)
        await bench.store.ended(ids[-1])
    assert order == ids


async def test_a_newcomer_is_not_behind_the_jobs_of_another_account(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        other = bench.store.ensure_account("another")
        many = await bench.scheduler.submit([new_job(bench.account, number) for number in range(100)])
        first = await bench.executor.started()
        (newcomer,) = await bench.scheduler.submit([new_job(other, 100)])
        while (position := bench.scheduler.position(newcomer)) is None:
            await anyio.lowlevel.checkpoint()
        bench.executor.finish(first.job_id)
        second = await bench.executor.started()
    assert (position, first.job_id, second.job_id) == (1, many[0].id, newcomer.id)


async def test_accounts_take_turns(tmp_path: Path) -> None:
    order = ""
    async with open_bench(tmp_path) as bench:
        accounts = {bench.store.ensure_account(name): name for name in "ab"}
        owners = {}
        for number, account in enumerate([account for account in accounts for _ in range(5)]):
            (record,) = await bench.scheduler.submit([new_job(account, number)])
            owners[record.id] = accounts[account]
        for _ in owners:
            work = await bench.executor.started()
            order += owners[work.job_id]
            await anyio.sleep(0.01)
            bench.executor.finish(work.job_id)
        await bench.store.ended(work.job_id)
    assert sorted(order) == list("aaaaabbbbb")
    assert order[:2] == "ab"


async def test_no_more_jobs_run_than_there_are_slots(tmp_path: Path) -> None:
    async with open_bench(tmp_path, slots=2) as bench:
        for number in range(5):
            await submit(bench, number)
        await bench.executor.started()
        await bench.executor.started()
        assert len(bench.scheduler.running) == 2


async def test_the_work_has_what_the_job_said(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job_id = await submit(bench)
        work = await bench.executor.started()
    expected = new_job(bench.account)
    assert (work.job_id, work.shots, work.seed, work.circuit) == (
        job_id,
        expected.shots,
        expected.seed,
        expected.circuit,
    )


async def test_a_failed_job_says_why(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job_id = await submit(bench)
        await bench.executor.started()
        bench.executor.fail(job_id, WorkFailed("simulation-limit", "too many photons"))
        job = await bench.store.ended(job_id)
    assert (job.status, job.meta) == (
        JobStatus.FAILED,
        {"error-code": "simulation-limit", "error-detail": "too many photons"},
    )


async def test_a_job_whose_worker_was_lost_runs_again(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job_id = await submit(bench)
        await bench.executor.started()
        bench.executor.fail(job_id, WorkerLost("worker 1 ended with status -9"))
        again = await bench.executor.started()
        bench.executor.finish(job_id)
        job = await bench.store.ended(job_id)
    assert (again.attempt, job.status) == (2, JobStatus.COMPLETED)


async def test_a_job_that_kills_its_workers_fails(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job_id = await submit(bench)
        for _ in range(3):
            await bench.executor.started()
            bench.executor.fail(job_id, WorkerLost("worker 1 ended with status -9"))
        job = await bench.store.ended(job_id)
    assert (job.status, job.meta["error-code"]) == (JobStatus.FAILED, "worker-lost")


async def test_a_waiting_job_is_cancelled_at_once_and_never_runs(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        first, second, third = [await submit(bench, number) for number in range(3)]
        await bench.executor.started()
        cancelled = await bench.scheduler.cancel(bench.account, second)
        bench.executor.finish(first)
        after = await bench.executor.started()
    assert cancelled is not None
    assert (cancelled.status, after.job_id) == (JobStatus.CANCELLED, third)


async def test_cancelling_a_running_job_stops_its_work(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job_id = await submit(bench)
        await bench.executor.started()
        asked = await bench.scheduler.cancel(bench.account, job_id)
        job = await bench.store.ended(job_id)
        assert asked is not None
        assert (asked.status, job.status, bench.executor.stopped) == (
            JobStatus.CANCEL_PENDING,
            JobStatus.CANCELLED,
            [job_id],
        )


async def test_a_slot_is_free_again_after_a_cancellation(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        first, second = [await submit(bench, number) for number in range(2)]
        await bench.executor.started()
        await bench.scheduler.cancel(bench.account, first)
        assert (await bench.executor.started()).job_id == second


async def test_a_worker_lost_while_a_cancellation_comes_ends_cancelled(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job_id = await submit(bench)
        await bench.executor.started()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.scheduler.cancel, bench.account, job_id)
            bench.executor.fail(job_id, WorkerLost("worker 1 ended with status -9"))
        with anyio.fail_after(30):
            while (record := bench.store.job(job_id)) is None or not record.status.is_final:
                await anyio.lowlevel.checkpoint()
    assert record.status == JobStatus.CANCELLED


async def test_a_job_that_has_ended_cannot_be_cancelled(tmp_path: Path) -> None:
    async with open_bench(tmp_path, automatic=True) as bench:
        job_id = await submit(bench)
        await bench.store.ended(job_id)
        assert await bench.scheduler.cancel(bench.account, job_id) is None


async def test_jobs_for_never_wait_without_taking_a_slot(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        never = await submit(bench, 0, target="never")
        job_id = await submit(bench, 1)
        assert (await bench.executor.started()).job_id == job_id
        waiting = bench.store.job(never)
        assert waiting is not None
        assert (waiting.status, waiting.started) == (JobStatus.QUEUED, None)


async def test_jobs_for_an_offline_device_wait_for_a_start_that_finds_it_online(tmp_path: Path) -> None:
    async with open_bench(tmp_path, offline="X8_01") as bench:
        waiting = await submit(bench, 0, target="X8_01")
        other = await submit(bench, 1)
        assert (await bench.executor.started()).job_id == other
    async with open_bench(tmp_path) as bench:
        assert (await bench.executor.started()).job_id == waiting


async def test_jobs_for_never_can_be_cancelled(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job_id = await submit(bench, target="never")
        cancelled = await bench.scheduler.cancel(bench.account, job_id)
    assert cancelled is not None
    assert cancelled.status == JobStatus.CANCELLED


async def test_jobs_for_always_fails_fail(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job = await bench.store.ended(await submit(bench, target="always_fails"))
    assert (job.status, set(job.meta)) == (JobStatus.FAILED, {"error-code", "error-detail"})


async def test_a_job_for_a_target_that_is_gone_waits(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        gone = await submit(bench, 0, target="retired_device")
        await submit(bench, 1)
        await bench.executor.started()
        job = bench.store.job(gone)
        assert job is not None
        assert job.status == JobStatus.QUEUED


async def test_the_position_counts_those_before_in_the_queue(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        running, *waiting = [await submit(bench, number) for number in range(4)]
        await bench.executor.started()
        await bench.scheduler.cancel(bench.account, waiting[0])
        records = [record for job_id in [running, *waiting] if (record := bench.store.job(job_id)) is not None]
        with anyio.fail_after(30):
            while bench.scheduler.position(records[-1]) is None:  # it may be queued only now
                await anyio.lowlevel.checkpoint()
        assert [bench.scheduler.position(record) for record in records] == [None, None, 1, 2]


async def test_a_stop_puts_running_jobs_back_and_a_start_runs_them(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job_id = await submit(bench)
        await bench.executor.started()
    async with open_bench(tmp_path) as bench:
        work = await bench.executor.started()
    assert (work.job_id, work.attempt) == (job_id, 1)


async def test_a_stop_keeps_the_order_of_waiting_jobs(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        ids = [await submit(bench, number) for number in range(3)]
        await bench.executor.started()
    order = []
    async with open_bench(tmp_path) as bench:
        for _ in ids:
            work = await bench.executor.started()
            order.append(work.job_id)
            bench.executor.finish(work.job_id)
        await bench.store.ended(ids[-1])
    assert order == ids


async def test_draining_returns_when_nothing_runs_and_leaves_the_queue_as_it_is(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        first, *waiting = [await submit(bench, number) for number in range(4)]
        await bench.executor.started()
        while not all(place_of(bench, job_id) for job_id in waiting):
            await anyio.lowlevel.checkpoint()
        drained: list[str] = []

        async def drain() -> None:
            await bench.scheduler.drain()
            drained.append("now")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain)
            while not bench.scheduler.is_draining:
                await anyio.lowlevel.checkpoint()
            assert drained == []
            bench.executor.finish(first)
        records = [record for job_id in waiting if (record := bench.store.job(job_id)) is not None]
        assert [(record.started, bench.scheduler.position(record)) for record in records] == [
            (None, 1),
            (None, 2),
            (None, 3),
        ]


async def test_a_job_that_waits_for_a_worker_has_not_started(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.executor.workers = anyio.Event()
        job_id = await submit(bench)
        while not bench.executor.claims:
            await anyio.lowlevel.checkpoint()
        before = bench.store.job(job_id)
        assert (place_of(bench, job_id), bench.scheduler.running) == (1, ())
        bench.executor.workers.set()
        await bench.executor.started()
        after = bench.store.job(job_id)
    assert before is not None
    assert after is not None
    assert (before.started, before.attempt, after.attempt) == (None, 0, 1)


async def test_a_drain_that_comes_while_a_job_waits_for_a_worker_does_not_start_it(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.executor.workers = anyio.Event()
        job_id = await submit(bench)
        while not bench.executor.claims:
            await anyio.lowlevel.checkpoint()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.scheduler.drain)
            while not bench.scheduler.is_draining:
                await anyio.lowlevel.checkpoint()
        bench.executor.workers.set()
        job = bench.store.job(job_id)
    assert job is not None
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 0)
