"""Paused targets and running limits: what the scheduler, the devices, and the records of waiting jobs show."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import pytest

from sfjobs.platform.limits import Limits
from sfjobs.platform.records import Pause
from tests.platform.stand_ins import PROGRAM, Bench, new_job, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

TARGET = "X8_01"


@pytest.fixture(autouse=True)
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfjobs.platform.jobs.scheduler._PAUSES_INTERVAL_SECONDS", 0.01)


def now() -> int:
    return time.time_ns() // 1000


async def noticed(bench: Bench, *, paused: bool) -> None:
    with anyio.fail_after(30):
        while bench.scheduler.targets.runs(TARGET) is paused:  # noqa: ASYNC110
            await anyio.sleep(0.005)


async def meta_of(bench: Bench, job_id: str) -> dict[str, object]:
    async with bench.client() as client:
        with anyio.fail_after(30):
            while True:
                meta = (await client.get(f"/jobs/{job_id}")).json()["meta"]
                if "queue_position" in meta:
                    return dict(meta)
                await anyio.sleep(0.005)


async def test_jobs_of_a_paused_target_wait_until_it_is_resumed(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.store.pause(Pause(TARGET, "calibration", now()))
        await noticed(bench, paused=True)
        (waiting,) = await bench.scheduler.submit([new_job(bench.account, 0, target=TARGET)])
        (other,) = await bench.scheduler.submit([new_job(bench.account, 1)])
        assert (await bench.executor.started()).job_id == other.id
        meta = await meta_of(bench, waiting.id)
        assert meta == {"queue_position": 1, "queue_reason": "X8_01 is paused: calibration"}
        bench.executor.finish(other.id)
        await bench.store.ended(other.id)
        bench.store.resume(TARGET)
        assert (await bench.executor.started()).job_id == waiting.id


async def test_a_pause_ends_by_itself(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.store.pause(Pause(TARGET, "", now(), now() + 300_000))
        await noticed(bench, paused=True)
        (waiting,) = await bench.scheduler.submit([new_job(bench.account, 0, target=TARGET)])
        assert (await bench.executor.started()).job_id == waiting.id
        job = bench.store.job(waiting.id)
        assert job is not None
        assert job.started is not None
        assert job.started >= bench.store.pauses()[0].until


async def test_a_job_that_runs_goes_on(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        (running,) = await bench.scheduler.submit([new_job(bench.account, 0, target=TARGET)])
        await bench.executor.started()
        bench.store.pause(Pause(TARGET, "", now()))
        await noticed(bench, paused=True)
        bench.executor.finish(running.id)
        assert (await bench.store.ended(running.id)).result is not None


async def test_a_restart_keeps_a_pause(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.store.pause(Pause(TARGET, "", now()))
        await noticed(bench, paused=True)
        (waiting,) = await bench.scheduler.submit([new_job(bench.account, 0, target=TARGET)])
        await meta_of(bench, waiting.id)
    async with open_bench(tmp_path) as bench:
        assert not bench.scheduler.running
        await meta_of(bench, waiting.id)


async def test_a_paused_device_is_offline_and_says_why_and_until_when(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        until = 4_102_444_800_000_000  # 2100-01-01
        bench.store.pause(Pause(TARGET, "calibration", 0, until))
        await noticed(bench, paused=True)
        async with bench.client() as client:
            listed = {device["target"]: device for device in (await client.get("/devices")).json()["data"]}
            single = (await client.get(f"/devices/{TARGET}")).json()
        assert single == listed[TARGET]
        assert single["status"] == "offline"
        assert single["pause"] == {
            "reason": "calibration",
            "since": "1970-01-01T00:00:00.000000Z",
            "until": "2100-01-01T00:00:00.000000Z",
        }
        assert listed["X12_01"]["status"] == "online"
        assert "pause" not in listed["X12_01"]


async def test_jobs_beyond_the_running_limit_say_so(tmp_path: Path) -> None:
    async with open_bench(tmp_path, slots=3, limits=Limits(running=1)) as bench:
        jobs = await bench.scheduler.submit([new_job(bench.account, number) for number in range(2)])
        other = bench.store.ensure_account("another")
        (theirs,) = await bench.scheduler.submit([new_job(other, 9)])
        started = {(await bench.executor.started()).job_id for _ in range(2)}
        assert started == {jobs[0].id, theirs.id}
        meta = await meta_of(bench, jobs[1].id)
        assert "1 jobs of the account run" in str(meta["queue_reason"])
        bench.executor.finish(jobs[0].id)
        assert (await bench.executor.started()).job_id == jobs[1].id


async def test_priorities_hold_within_an_account_and_over_a_restart(tmp_path: Path) -> None:
    def job(number: int, priority: int) -> object:
        from dataclasses import replace

        return replace(new_job(bench.account, number), priority=priority)

    async with open_bench(tmp_path) as bench:
        blocking = (await bench.scheduler.submit([new_job(bench.account, 0)]))[0].id
        await bench.executor.started()
        records = await bench.scheduler.submit([job(1, -1), job(2, 0), job(3, 5)])  # type: ignore[list-item]
        for record in records:
            await meta_of(bench, record.id)
    order = []
    async with open_bench(tmp_path) as bench:
        for _ in range(4):
            work = await bench.executor.started()
            order.append(work.job_id)
            bench.executor.finish(work.job_id)
        await bench.store.ended(order[-1])
    low, normal, high = (record.id for record in records)
    assert order == [high, blocking, normal, low]


@pytest.mark.parametrize(
    ("given", "status"), [(100, 201), (None, 201), (101, 400), (-101, 400), (True, 400), (1.0, 400), ("1", 400)]
)
async def test_the_priority_of_a_submission_is_checked_and_stored(tmp_path: Path, given: object, status: int) -> None:
    async with open_bench(tmp_path) as bench, bench.client() as client:
        response = await client.post("/jobs", json={"circuit": PROGRAM, "priority": given})
        assert response.status_code == status
        if status == 201:
            job = bench.store.job(response.json()["id"])
            assert job is not None
            assert job.priority == (given or 0)
        else:
            assert "priority" in response.json()["meta"]


async def test_use_survives_a_restart(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        other = bench.store.ensure_account("another")
        (first,) = await bench.scheduler.submit([new_job(bench.account, 0)])
        await bench.executor.started()
        await anyio.sleep(0.05)
        bench.executor.finish(first.id)
        await bench.store.ended(first.id)
        bench.store.pause(Pause("simulon_gaussian", "", now()))
        with anyio.fail_after(30):
            while bench.scheduler.targets.runs("simulon_gaussian"):  # noqa: ASYNC110
                await anyio.sleep(0.005)
        records = await bench.scheduler.submit([new_job(bench.account, 1), new_job(other, 2)])
        for record in records:
            with anyio.fail_after(30):
                while bench.scheduler.position(record) is None:  # noqa: ASYNC110
                    await anyio.sleep(0.005)
    async with open_bench(tmp_path) as bench:
        bench.store.resume("simulon_gaussian")
        assert (await bench.executor.started()).job_id == records[1].id
