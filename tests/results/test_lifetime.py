"""Only the caller keeps a result alive."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
import weakref
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import sfjobs
from sfjobs import Connection, Job
from tests.support.fake_platform import FakePlatform, npz
from tests.support.paths import ROOT
from tests.support.raw_server import Peer, Script, raw_server

SAMPLES = np.random.default_rng(8).integers(0, 256, (10_000, 80), np.uint8)  # 0.8 MB
COUNT = 20
MOST_GROWTH = 5_000_000
LARGE = 200 << 20
MOST_GROWTH_OF_A_MAP = 32 << 20


@pytest.fixture
def platform() -> FakePlatform:
    platform = FakePlatform()
    platform.offers_ranges = True
    platform.result = npz(SAMPLES)
    return platform


@pytest.fixture
def _no_collector() -> Iterator[None]:
    """Switch the garbage collector off: objects that are freed without it are freed at once and in no cycle."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def by_waiting(connection: Connection, job_id: str) -> Job:
    job = await connection.get_job(job_id)
    await job.wait()
    return job


async def by_awaiting(connection: Connection, job_id: str) -> Job:
    job = await connection.get_job(job_id)
    await job
    return job


async def by_fetching(connection: Connection, job_id: str) -> Job:
    job = Job(job_id, "complete", connection)
    await job.fetch_result()
    return job


async def by_waiting_for_all(connection: Connection, job_id: str) -> Job:
    job = Job(job_id, "open", connection)
    await sfjobs.wait_all([job])
    return job


async def by_the_first(connection: Connection, job_id: str) -> Job:
    async for job in sfjobs.as_completed([Job(job_id, "open", connection)]):
        return job
    raise AssertionError


WAYS: list[Callable[[Connection, str], Awaitable[Job]]] = [
    by_waiting,
    by_awaiting,
    by_fetching,
    by_waiting_for_all,
    by_the_first,
]


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_result_is_freed_with_its_job(
    platform: FakePlatform, way: Callable[[Connection, str], Awaitable[Job]]
) -> None:
    platform.add(id="a", ends_at=0.0)
    async with platform.connection() as connection:
        job = await way(connection, "a")
        arrays = [weakref.ref(job.result.raw), weakref.ref(job.result.samples)]
        assert all(array() is not None for array in arrays)
        del job
        assert all(array() is None for array in arrays)


@pytest.mark.usefixtures("_no_collector")
async def test_samples_stay_valid_without_their_job(platform: FakePlatform) -> None:
    platform.add(id="a", ends_at=0.0)
    async with platform.connection() as connection:
        job = await by_fetching(connection, "a")
        result, samples = weakref.ref(job.result), job.result.samples
        del job
        assert result() is None
        np.testing.assert_array_equal(samples, SAMPLES)


@pytest.mark.usefixtures("_no_collector")
async def test_a_stream_holds_no_reference_to_its_result(platform: FakePlatform) -> None:
    platform.add(id="a", ends_at=0.0)
    async with platform.connection() as connection, connection.open_result("a") as stream:
        samples = weakref.ref(await stream.array())
        assert samples() is None


@pytest.mark.usefixtures("_no_collector")
async def test_the_callers_array_is_not_referenced(platform: FakePlatform) -> None:
    platform.add(id="a", ends_at=0.0)
    async with platform.connection() as connection:
        array = np.zeros_like(SAMPLES)
        await Job("a", "complete", connection).fetch_result(into=array)
        kept = weakref.ref(array)
        del array
        assert kept() is None


@pytest.mark.real_time
async def test_receiving_makes_no_wider_copy(platform: FakePlatform) -> None:
    platform.add(id="a", ends_at=0.0)
    array = np.zeros_like(SAMPLES)
    async with platform.connection() as connection:
        job = await by_fetching(connection, "a")  # modules that are loaded once are not counted
        await job.fetch_result(into=array)
        strided = np.zeros((*SAMPLES.shape, 2), np.uint8)[..., 0]  # filled by a copy
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            await job.fetch_result(into=array)
            await job.fetch_result(into=strided)
            await job.fetch_result(mmap=True)
            async with connection.open_result("a") as stream:
                await stream.array()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak - before < 4 * SAMPLES.nbytes


@pytest.mark.usefixtures("_no_collector")
async def test_results_that_are_dropped_are_freed(platform: FakePlatform) -> None:
    for number in range(COUNT + 1):
        platform.add(id=str(number), ends_at=0.0)
    async with platform.connection() as connection:
        await by_fetching(connection, str(COUNT))  # modules that are loaded once are not counted
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for number in range(COUNT):
                await by_waiting(connection, str(number))
            after, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert after - before < MOST_GROWTH / COUNT
    assert peak - before < MOST_GROWTH  # of 16 MB


@pytest.mark.real_time
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("into", [None, "mapped.npz"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_large_result_on_its_way_to_a_map_takes_little_memory(backend: str, into: str | None, tmp_path: Path) -> None:
    """In a process of its own, whose peak of resident memory is measured."""
    code = f"""
import anyio
from tests.results.test_lifetime import growth_of_a_map
print(anyio.run(growth_of_a_map, {str(tmp_path)!r}, {into!r}, backend={backend!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MOST_GROWTH_OF_A_MAP


async def growth_of_a_map(folder: str, into: str | None) -> int:
    """Return by how many bytes this process grew while a result was received and mapped."""
    write_archive(Path(folder, "small.npz"), 1 << 20)
    write_archive(Path(folder, "large.npz"), LARGE)
    path = None if into is None else Path(folder, into)
    async with raw_server(serve_files(folder)) as server, Connection(server.url, access_token="t") as connection:
        await Job("small", "complete", connection).fetch_result(
            into=path, mmap=True
        )  # modules that are loaded once are not counted
        Path("/proc/self/clear_refs").write_text("5")  # noqa: ASYNC240 - resets the peak
        before = peak()
        result = await Job("large", "complete", connection).fetch_result(into=path, mmap=True)
        grown = peak() - before
        assert (result.raw.nbytes, int(result.raw[-1])) == (LARGE, 1)
    return grown


def write_archive(path: Path, size: int) -> None:
    """Write ``size`` bytes of samples, all 0 and the last 1, without holding them in memory."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (size,)}
    with zipfile.ZipFile(path, "w") as archive, archive.open("arr_0.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, header)  # type: ignore[arg-type]  # a file that is written to
        for _ in range(size >> 20):
            member.write(bytes((1 << 20) - 1) + b"\1")


def serve_files(folder: str) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            request = await peer.read_request()
            name = request.split(b"/")[2].decode()
            with Path(folder, f"{name}.npz").open("rb") as file:  # noqa: ASYNC230 - the server's own time
                size = os.fstat(file.fileno()).st_size
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                while piece := file.read(1 << 18):
                    await peer.send(piece)

    return script


def peak() -> int:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10
