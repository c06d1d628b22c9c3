"""Little free space on the disk: no job starts, running ones end, and all go on when there is space again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest

from sfjobs.platform.jobs.disk_watch import DiskWatch
from tests.platform.stand_ins import PROGRAM, Bench, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

MINIMUM = 100


class Disk:
    """A disk whose free space is set by the test."""

    free = MINIMUM
    broken = False

    def __call__(self, _: Path) -> int:
        if self.broken:
            raise OSError("the disk does not answer")
        return self.free


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path, slots=2) as bench:
        yield bench


@pytest.fixture
def watch(bench: Bench, tmp_path: Path, disk: Disk) -> DiskWatch:
    return DiskWatch(bench.scheduler, tmp_path, MINIMUM, free=disk)


async def submit(client: httpx.AsyncClient) -> str:
    job_id: str = (await client.post("/jobs", json={"circuit": PROGRAM})).json()["id"]
    return job_id


async def test_no_job_starts_below_the_minimum_and_running_ones_end(
    bench: Bench, client: httpx.AsyncClient, watch: DiskWatch, disk: Disk
) -> None:
    running = await submit(client)
    assert (await bench.executor.started()).job_id == running
    disk.free = MINIMUM - 1
    await watch.check()
    assert watch.problem is not None
    waiting = await submit(client)
    bench.executor.finish(running)
    assert (await bench.store.ended(running)).status == "complete"
    await anyio.wait_all_tasks_blocked()
    assert bench.scheduler.running == ()
    shown = (await client.get(f"/jobs/{waiting}")).json()
    assert (shown["status"], shown["meta"]["queue_reason"]) == ("queued", "the platform's disk is nearly full")
    disk.free = MINIMUM
    await watch.check()
    assert "queue_reason" not in (await client.get(f"/jobs/{waiting}")).json()["meta"]
    assert watch.problem is None
    assert (await bench.executor.started()).job_id == waiting
    bench.executor.finish(waiting)
    assert (await bench.store.ended(waiting)).status == "complete"


async def test_a_platform_that_starts_below_the_minimum_starts_no_job(
    bench: Bench, client: httpx.AsyncClient, watch: DiskWatch, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.free = 0
    async with watch:
        await submit(client)
        await anyio.wait_all_tasks_blocked()
        assert bench.scheduler.running == ()
    for _ in range(3):
        await watch.check()
    assert caplog.text.count("no job starts") == 1


async def test_space_that_cannot_be_read_counts_as_enough(
    bench: Bench, client: httpx.AsyncClient, watch: DiskWatch, disk: Disk
) -> None:
    disk.broken = True
    await watch.check()
    job_id = await submit(client)
    assert (await bench.executor.started()).job_id == job_id


async def test_the_space_of_a_real_disk_is_read(bench: Bench, tmp_path: Path) -> None:
    watch = DiskWatch(bench.scheduler, tmp_path, 1 << 60)
    await watch.check()
    assert watch.problem is not None
