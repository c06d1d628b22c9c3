"""A platform without sockets and a client of it, for the tests of endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.platform import runners
from tests.platform.runners import Meeting
from tests.platform.stand_ins import Bench, open_bench


@pytest.fixture
def meeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meeting]:
    folder = tmp_path / "meeting"
    folder.mkdir()
    monkeypatch.setenv(runners.VARIABLE, str(folder))
    with Meeting(folder) as meeting:
        yield meeting


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path) as bench:
        yield bench


@pytest.fixture
async def client(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    async with bench.client() as client:
        yield client
