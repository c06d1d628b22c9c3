"""
Client and platform against a model: seeded programs of submissions, waits, cancellations and trouble, in virtual time. A program
that fails is printed with its seed, without the steps that it fails without as well.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tests.support.model import Program, Stage, shrunk, written

PROGRAMS = int(os.environ.get("MODEL_PROGRAMS", "1000"))
"""On each backend, others on trio than on asyncio. `nox -s soak` plays more of them."""

PART = 100

# trio's word for a generator that is dropped half-way: httpx nests several and closes none of them.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object .*Stream")


async def failure_of(program: Program) -> BaseException | None:
    try:
        await Stage(program).play()
    except (Exception, ExceptionGroup) as error:  # noqa: BLE001 - whatever it is, it is the finding
        return error
    return None


async def test_a_failure_is_told_by_the_fewest_steps() -> None:
    async def fails(program: Program) -> bool:
        return ("end", 7, "failed") in program.steps and program.steps.count(("close",)) >= 2

    steps = (("submit",), ("close",), ("list",), ("end", 7, "failed"), ("close",), ("close",), ("submit",))
    program = await shrunk(replace(written(1), steps=steps), fails)
    assert program.steps == (("end", 7, "failed"), ("close",), ("close",))


async def test_a_program_is_the_same_whenever_it_is_written() -> None:
    assert [written(seed) for seed in range(50)] == [written(seed) for seed in range(50)]


@pytest.mark.parametrize("part", [range(n, min(n + PART, PROGRAMS)) for n in range(0, PROGRAMS, PART)], ids=str)
async def test_whatever_happens_is_what_the_model_allows(part: range, anyio_backend_name: str) -> None:
    for seed in part if anyio_backend_name == "asyncio" else range(part.start + PROGRAMS, part.stop + PROGRAMS):
        if await failure_of(written(seed)) is not None:

            async def fails(program: Program) -> bool:
                return await failure_of(program) is not None

            program = await shrunk(written(seed), fails)
            raise AssertionError(f"seed {seed} fails: {program}") from await failure_of(program)
