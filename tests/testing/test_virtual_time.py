"""Virtual time for the tests of users: an hour passes at once on both backends, and a deadlock is an error."""

from __future__ import annotations

import time
from typing import Literal

import anyio
import pytest

from sfjobs.testing import Deadlock, run_in_virtual_time, virtual_time
from sfjobs.testing.clock import LoopClock

Backend = Literal["asyncio", "trio"]
BACKENDS: list[Backend] = ["asyncio", "trio"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_hour_passes_at_once(backend: Backend) -> None:
    async def sleep(seconds: float) -> float:
        began = anyio.current_time()
        await anyio.sleep(seconds)
        return anyio.current_time() - began

    wall = time.monotonic()
    assert run_in_virtual_time(sleep, 36_000.0, backend=backend) == pytest.approx(36_000)
    assert time.monotonic() - wall < 600


@pytest.mark.parametrize("backend", BACKENDS)
def test_its_parameters_are_those_of_the_fixture_of_anyio(backend: Backend) -> None:
    name, options = virtual_time(backend)
    anyio.run(anyio.sleep, 36_000, backend=name, backend_options=options)


def test_a_program_that_would_wait_for_ever_ends() -> None:
    with pytest.raises(Deadlock, match="no timer is set"):
        run_in_virtual_time(anyio.sleep_forever)


def test_an_error_comes_out() -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run_in_virtual_time(fail)


def test_the_time_of_a_platform_goes_on_from_loop_to_loop() -> None:
    clock = LoopClock()
    seen = [clock()]

    async def look() -> None:
        seen.append(clock())
        await anyio.sleep(1000)
        seen.append(clock())

    for backend in (*BACKENDS, *BACKENDS):
        run_in_virtual_time(look, backend=backend)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(4000, abs=60)
