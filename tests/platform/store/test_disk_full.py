"""A full disk: jobs fail clearly or wait, no accepted job is lost, and the platform runs on, and stops."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from sfjobs.models import JobStatus
from sfjobs.platform.execution.executor import WorkFailed
from sfjobs.platform.limits import Limits
from sfjobs.platform.results import npz_file
from sfjobs.platform.results.folder import ResultFolder
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.execution.test_process_executor import executor, run, work
from tests.platform.stand_ins import PROGRAM, new_job, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]


def contents(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def full(*_: Any, **__: Any) -> Any:
    raise sqlite3.OperationalError("database or disk is full")


async def test_a_submission_that_cannot_be_written_is_a_503_that_has_done_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_bench(tmp_path) as bench, bench.client() as client:
        key = {"idempotency-key": "key"}
        with monkeypatch.context() as patch:
            patch.setattr(SQLiteStore, "add_jobs", full)
            batch = {"content-type": "application/jobs+json"}
            responses = [
                await client.post("/jobs", json={"circuit": PROGRAM}, headers=key),
                await client.post("/jobs", content=json.dumps([{"circuit": PROGRAM}]), headers=batch),
            ]
        listed = (await client.get("/jobs")).json()["data"]
        again = await client.post("/jobs", json={"circuit": PROGRAM}, headers=key)
    for response in responses:
        assert (response.status_code, response.json()["code"]) == (503, "store-unavailable")
        assert response.headers["retry-after"] == "10"
    assert (listed, again.status_code) == ([], 201)


async def test_the_end_of_a_job_is_written_as_soon_as_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfjobs.platform.jobs.durable_writes._RETRY_SECONDS", 0.01)
    tried = anyio.Event()

    async def full_for_now(*_: Any, **__: Any) -> Any:
        tried.set()
        raise sqlite3.OperationalError("database or disk is full")

    async with open_bench(tmp_path, automatic=True) as bench:
        with monkeypatch.context() as patch:
            patch.setattr(SQLiteStore, "complete", full_for_now)
            (job,) = await bench.scheduler.submit([new_job(bench.account)])
            await tried.wait()
        assert (await bench.store.ended(job.id)).status == JobStatus.COMPLETED


@pytest.mark.parametrize("change", ["enqueue", "start", "complete"])
async def test_a_stop_does_not_wait_for_room_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """It did, for ever: the end of the job was being written behind a shield."""
    tried = anyio.Event()

    async def full_for_ever(*_: Any, **__: Any) -> Any:
        tried.set()
        raise sqlite3.OperationalError("database or disk is full")

    with anyio.fail_after(30), monkeypatch.context() as patch:
        async with open_bench(tmp_path, automatic=True) as bench:
            patch.setattr(SQLiteStore, change, full_for_ever)
            (job,) = await bench.scheduler.submit([new_job(bench.account)])
            await tried.wait()
    async with open_bench(tmp_path, automatic=True) as bench:
        assert (await bench.store.ended(job.id)).status == JobStatus.COMPLETED


def test_a_result_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of it filled the disk, so that not even the failure could be stored."""

    def failing(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(npz_file.os, "fsync", failing)
    with pytest.raises(OSError, match="No space"):
        ResultFolder(tmp_path).write("result.npz", np.zeros(8))
    assert contents(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE")
async def test_a_job_whose_result_cannot_be_written_says_so_and_the_next_one_runs(tmp_path: Path) -> None:
    async with executor(tmp_path, "overflow") as processes:
        with pytest.raises(WorkFailed, match="could not store the result, 1048576 bytes: File too large") as caught:
            await run(processes, work())
        assert (caught.value.code, contents(tmp_path)) == ("result-not-stored", [])
        pids = processes.worker_pids
        with pytest.raises(WorkFailed):
            await run(processes, work(1))
        assert processes.worker_pids == pids


async def test_what_cannot_be_removed_does_not_end_the_platform(tmp_path: Path) -> None:
    (tmp_path / f"{work().result_name}.part").mkdir()
    async with executor(tmp_path, "spin", limits=Limits(time=0.05)) as processes:
        with pytest.raises(WorkFailed, match="longer"):
            await run(processes, work())
