"""What goes wrong with one job ends that job alone, and trouble of the platform ends none: jobs wait, uncounted."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from sfjobs.models import JobStatus
from sfjobs.platform.execution.executor import Outcome, PlatformTrouble, Run, WorkerLost, WorkFailed, retry_delay
from sfjobs.platform.records import JobRecord, ResultFile
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.stand_ins import Bench, ScriptedExecutor, new_job, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

FULL = "the platform could not store the result, 8 bytes: No space left on device"


@pytest.fixture(autouse=True)
def _retries_are_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfjobs.platform.execution.executor.FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setattr("sfjobs.platform.jobs.durable_writes._RETRY_SECONDS", 0.01)


async def submit(bench: Bench, number: int = 0) -> str:
    (record,) = await bench.scheduler.submit([new_job(bench.account, number)])
    return record.id


def stored(bench: Bench, job_id: str) -> JobRecord:
    record = bench.store.job(job_id)
    assert record is not None
    return record


async def until_waiting(bench: Bench, job_id: str) -> JobRecord:
    with anyio.fail_after(30):
        while (record := stored(bench, job_id)).started is not None or job_id in bench.scheduler.running:
            await anyio.lowlevel.checkpoint()
    return record


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# trouble of the platform


def test_the_waits_grow_from_one_to_sixty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [retry_delay(failures) for failures in (0, 1, 2, 3, 7, 8, 10_000)] == [0, 1, 2, 4, 60, 60, 60]


async def test_trouble_of_the_platform_counts_no_attempt_however_often_it_comes(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job_id = await submit(bench)
        for _ in range(12):
            assert (await bench.executor.started()).attempt == 1
            bench.executor.fail(job_id, PlatformTrouble("worker 1 ended before it began"))
        await bench.executor.started()
        bench.executor.finish(job_id)
        job = await bench.store.ended(job_id)
    assert (job.status, job.attempt, job.lost, dict(job.meta)) == (JobStatus.COMPLETED, 1, 0, {"sampler": "scripted"})


async def test_a_job_whose_result_has_no_room_waits_for_room_and_others_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_bench(tmp_path) as bench:
        bench.executor.free_bytes = 0
        large, *small = [await submit(bench, number) for number in range(4)]
        await bench.executor.started()
        bench.executor.fail(large, PlatformTrouble(FULL, bytes_needed=8))
        for job_id in small:
            assert (await bench.executor.started()).job_id == job_id
            bench.executor.finish(job_id)
            await bench.store.ended(job_id)
        waiting = stored(bench, large)
        bench.executor.free_bytes = 1 << 20
        assert (await bench.executor.started()).job_id == large
        bench.executor.finish(large)
        job = await bench.store.ended(large)
    assert (waiting.status, waiting.attempt, waiting.started) == (JobStatus.QUEUED, 0, None)
    assert job.status == JobStatus.COMPLETED
    assert any(large in record.getMessage() and "No space left" in record.getMessage() for record in caplog.records)


async def test_a_job_that_waits_for_the_platform_says_so(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench, bench.client() as client:
        bench.executor.free_bytes = 0
        first, second = await submit(bench, 0), await submit(bench, 1)
        await bench.executor.started()
        running = (await client.get(f"/jobs/{first}")).json()["meta"]
        bench.executor.fail(first, PlatformTrouble(FULL, bytes_needed=8))
        await until_waiting(bench, first)
        await bench.executor.started()
        set_back = (await client.get(f"/jobs/{first}")).json()["meta"]
        third = await submit(bench, 2)
        bench.executor.worker_problem = "fork: no /secret/path"
        with anyio.fail_after(30):
            while bench.scheduler.position(stored(bench, third)) is None:
                await anyio.lowlevel.checkpoint()
        waiting = (await client.get(f"/jobs/{third}")).json()["meta"]
        bench.executor.finish(second)
    assert running == {}
    assert "no room for its result" in set_back["queue_reason"]
    assert waiting == {"queue_position": 1, "queue_reason": "the platform cannot start a worker now, and tries again"}


async def test_a_job_that_waits_for_the_platform_can_be_cancelled(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.executor.free_bytes = 0
        first, second = await submit(bench, 0), await submit(bench, 1)
        await bench.executor.started()
        bench.executor.fail(first, PlatformTrouble(FULL, bytes_needed=8))
        await until_waiting(bench, first)
        cancelled = await bench.scheduler.cancel(bench.account, first)
        bench.executor.free_bytes = 1 << 20
        assert (await bench.executor.started()).job_id == second
        bench.executor.finish(second)
        await bench.store.ended(second)
    assert cancelled is not None
    assert cancelled.status == JobStatus.CANCELLED


async def test_a_cancellation_that_comes_with_trouble_of_the_platform_is_kept(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job_id = await submit(bench)
        await bench.executor.started()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.scheduler.cancel, bench.account, job_id)
            bench.executor.fail(job_id, PlatformTrouble("worker 1 ended before it began"))
        with anyio.fail_after(30):
            while not stored(bench, job_id).status.is_final:
                await anyio.lowlevel.checkpoint()
        assert stored(bench, job_id).status == JobStatus.CANCELLED


async def test_a_slot_that_waits_for_a_worker_keeps_no_job_from_the_others(tmp_path: Path) -> None:
    """A job was bound to the slot that could start no worker, and waited while the other slot ran later ones."""

    class HalfBroken(ScriptedExecutor):
        broken = True

        @asynccontextmanager
        async def acquire_slot(self) -> AsyncIterator[Run]:
            if self.broken:
                self.broken = False
                await anyio.sleep_forever()
            async with super().acquire_slot() as run:
                yield run

    async with open_bench(tmp_path, slots=2, automatic=True, executor=HalfBroken) as bench:
        ids = [await submit(bench, number) for number in range(3)]
        for job_id in ids:
            await bench.store.ended(job_id)


async def test_an_unreadable_store_is_trouble_of_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    circuit, reads = SQLiteStore.circuit, 0

    def failing(store: SQLiteStore, job_id: str) -> str:
        nonlocal reads
        reads += 1
        if reads <= 5:
            raise sqlite3.OperationalError("disk I/O error")
        return circuit(store, job_id)

    monkeypatch.setattr(SQLiteStore, "circuit", failing)
    async with open_bench(tmp_path, automatic=True) as bench:
        job = await bench.store.ended(await submit(bench))
    assert (job.status, job.attempt) == (JobStatus.COMPLETED, 1)


# one job's own


def remove_circuit(bench: Bench, job_id: str) -> None:
    bench.store._database.write_blocking(lambda db: db.execute("DELETE FROM circuits WHERE job = ?", (job_id,)))


async def test_a_job_without_its_circuit_fails_alone_and_the_platform_starts_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The platform ended, and ended again at each start."""
    async with open_bench(tmp_path) as bench:
        running, damaged, after = [await submit(bench, number) for number in range(3)]
        await bench.executor.started()
        remove_circuit(bench, damaged)
        bench.executor.finish(running)
        assert (await bench.executor.started()).job_id == after
        bench.executor.finish(after)
        await bench.store.ended(after)
        job = await bench.store.ended(damaged)
        last = await submit(bench, 3)
        await bench.executor.started()
        remove_circuit(bench, last)
    async with open_bench(tmp_path, automatic=True) as bench:
        assert (await bench.store.ended(last)).meta["error-code"] == "internal-error"
        await bench.store.ended(await submit(bench, 4))
    assert (job.status, job.meta["error-code"]) == (JobStatus.FAILED, "internal-error")
    assert [damaged in message or last in message for message in errors(caplog)] == [True, True]


@pytest.mark.parametrize("error", [OSError(2, "no file"), LookupError("x"), AssertionError(), RecursionError()])
async def test_an_exception_of_the_executor_fails_one_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    class Stumbling(ScriptedExecutor):
        async def _run(self, work: Any) -> Outcome:
            if work.job_id.endswith("0"):
                raise error
            return await super()._run(work)

    async with open_bench(tmp_path, slots=2, executor=Stumbling) as bench:
        beside, first, second = await submit(bench, 1), await submit(bench, 0), await submit(bench, 2)
        job = await bench.store.ended(first)
        bench.executor.finish((await bench.executor.started()).job_id)
        bench.executor.finish((await bench.executor.started()).job_id)
        others = [(await bench.store.ended(job_id)).status for job_id in (beside, second)]
    assert (job.meta["error-code"], others) == ("internal-error", [JobStatus.COMPLETED] * 2)
    assert "no file" not in str(job.meta)
    assert [first in message for message in errors(caplog)] == [True]


@pytest.mark.parametrize("meta", [{"x": object()}, {"x": {1, 2}}, {"x": "\ud800"}, {"x": b""}])
async def test_a_result_that_cannot_be_recorded_fails_its_job(tmp_path: Path, meta: dict[str, Any]) -> None:
    result = ResultFile(name="x", size=1, digest="", npy_offset=0, npy_size=1, npy_digest="")

    class Odd(ScriptedExecutor):
        async def _run(self, work: Any) -> Outcome:
            return Outcome(result=result, meta=meta)

    async with open_bench(tmp_path, executor=Odd) as bench:
        job = await bench.store.ended(await submit(bench))
    assert job.status == (JobStatus.COMPLETED if meta == {"x": "\ud800"} else JobStatus.FAILED)


@pytest.mark.parametrize("change", ["start", "complete", "fail", "requeue"])
async def test_a_change_that_cannot_be_written_at_all_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    """It was tried for ever in the slot of the job, or ended the platform."""
    original = getattr(SQLiteStore, change)

    async def failing(store: SQLiteStore, job_id: str, *arguments: Any) -> Any:
        if job_id.endswith("0"):
            raise sqlite3.IntegrityError("CHECK constraint failed")
        return await original(store, job_id, *arguments)

    monkeypatch.setattr(SQLiteStore, change, failing)
    async with open_bench(tmp_path) as bench:
        first, second = await submit(bench, 0), await submit(bench, 1)
        if change != "start":
            await bench.executor.started()
            if change == "complete":
                bench.executor.finish(first)
            else:
                lost = change == "requeue"
                bench.executor.fail(first, WorkerLost("status -9") if lost else WorkFailed("code", "detail"))
        assert (await bench.executor.started()).job_id == second
        bench.executor.finish(second)
        assert (await bench.store.ended(second)).status == JobStatus.COMPLETED
    assert any(first in message for message in errors(caplog))


async def test_a_job_that_cannot_be_queued_keeps_no_other_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    enqueue = SQLiteStore.enqueue

    async def failing(store: SQLiteStore, job_ids: list[str]) -> list[JobRecord]:
        if any(job_id.endswith("0") for job_id in job_ids):
            raise sqlite3.IntegrityError("CHECK constraint failed")
        return await enqueue(store, job_ids)

    monkeypatch.setattr(SQLiteStore, "enqueue", failing)
    async with open_bench(tmp_path, automatic=True) as bench:
        records = await bench.scheduler.submit([new_job(bench.account, number) for number in range(3)])
        for record in records[1:]:
            assert (await bench.store.ended(record.id)).status == JobStatus.COMPLETED
        assert stored(bench, records[0].id).status == JobStatus.OPEN
    assert [records[0].id in message for message in errors(caplog)] == [True]


# writes on a full disk


async def test_a_full_disk_is_one_error_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    complete, tries = SQLiteStore.complete, 0

    async def full_for_now(*arguments: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries <= 6:
            raise sqlite3.OperationalError("database or disk is full")
        return await complete(*arguments)

    monkeypatch.setattr(SQLiteStore, "complete", full_for_now)
    async with open_bench(tmp_path, automatic=True) as bench:
        assert (await bench.store.ended(await submit(bench))).attempt == 1
        assert bench.scheduler.store_problem is None
    assert ["disk is full" in message for message in errors(caplog)] == [True]


# stops


async def test_a_stop_puts_running_jobs_back_before_their_work_has_stopped(tmp_path: Path) -> None:
    """The work of a killed process can take long to stop, and by then the platform may have been killed."""
    stopping = anyio.Event()

    class Slow(ScriptedExecutor):
        async def _run(self, work: Any) -> Outcome:
            try:
                return await super()._run(work)
            finally:
                with anyio.CancelScope(shield=True):
                    await stopping.wait()

    async with open_bench(tmp_path, slots=3, executor=Slow) as bench:
        ids = [await submit(bench, number) for number in range(3)]
        for _ in ids:
            await bench.executor.started()
        with anyio.fail_after(30):
            await bench.scheduler.put_back_running()
        left = [(stored(bench, job_id).status, stored(bench, job_id).attempt) for job_id in ids]
        stopping.set()
    assert left == [(JobStatus.QUEUED, 0)] * 3
    async with open_bench(tmp_path, slots=3) as bench:
        assert [stored(bench, job_id).attempt for job_id in ids] == [0, 0, 0]


async def test_a_drain_does_not_wait_for_a_worker_that_cannot_start(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.executor.workers = anyio.Event()
        job_id = await submit(bench)
        while not bench.executor.claims:
            await anyio.lowlevel.checkpoint()
        with anyio.fail_after(30):
            await bench.scheduler.drain()
        assert (stored(bench, job_id).status, stored(bench, job_id).attempt) == (JobStatus.QUEUED, 0)


async def test_a_cancelled_job_ends_cancelled_although_the_platform_stops(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        job_id = await submit(bench)
        await bench.executor.started()
        await bench.store.request_cancel(bench.account, job_id)
        await bench.scheduler.put_back_running()
    async with open_bench(tmp_path) as bench:
        assert stored(bench, job_id).status == JobStatus.CANCELLED
