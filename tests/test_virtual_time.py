"""The virtual clock of the tests: an hour passes at once, on both backends."""

from __future__ import annotations

import time

import anyio
import pytest


async def test_an_hour_passes_at_once() -> None:
    started, wall = anyio.current_time(), time.monotonic()
    await anyio.sleep(3600)
    assert anyio.current_time() - started == pytest.approx(3600, abs=1)
    assert time.monotonic() - wall < 60


@pytest.mark.real_time
async def test_real_time_can_be_asked_for() -> None:
    started, wall = anyio.current_time(), time.monotonic()
    await anyio.sleep(0.05)
    assert anyio.current_time() - started == pytest.approx(time.monotonic() - wall, abs=0.04)
