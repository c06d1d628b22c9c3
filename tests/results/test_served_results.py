"""Results of a platform that runs programs, fetched in every way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from sfjobs import Connection, Settings
from sfjobs.platform.server.serving import Platform

pytestmark = pytest.mark.real_time

PROGRAM = """name demo
version 1.0
target simulon_gaussian (shots=20000)

S2gate(0.8, 0.0) | [0, 1]
MeasureFock() | [0, 1]
"""


@pytest.fixture
async def connection(platform: Platform, tmp_path: Path) -> AsyncIterator[Connection]:
    settings = Settings(url=platform.url, api_key=platform.api_key, result_cache=str(tmp_path / "kept"))
    async with Connection(settings=settings) as connection:
        yield connection


async def test_every_way_of_fetching_gives_the_same_samples(connection: Connection, tmp_path: Path) -> None:
    job = await connection.create_job("simulon_gaussian", PROGRAM)
    samples = (await job).raw
    array = np.zeros_like(samples)
    await job.fetch_result(into=array)
    found = [array, (await job.fetch_result(mmap=True)).raw]
    for name in ("r.npz", "r.npy"):
        found.append((await job.fetch_result(into=tmp_path / name)).raw)
        found.append((await job.fetch_result(into=tmp_path / name, mmap=True)).raw)
    async with connection.open_result(job.id) as stream:
        found.append(await stream.array())
    async with connection.open_result(job.id) as stream:
        assert b"".join([chunk async for chunk in stream]) == read(tmp_path / "r.npz")
    for one in found:
        np.testing.assert_array_equal(one, samples)


def read(path: Path) -> bytes:
    return path.read_bytes()
