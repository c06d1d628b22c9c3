"""
Client and platform against a model: random programs of submissions, waits, cancellations and faults, in virtual time. A program
that fails is printed with its seed and only the steps that it needs to fail.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tests.support.model import Program, ProgramRun, program_of, shrunk

PROGRAMS = int(os.environ.get("MODEL_PROGRAMS", "1000"))
"""Programs on each backend, not the same ones. `nox -s soak` runs more of them."""

PART = 100

# trio warns of generators that are not closed: httpx nests several and closes none of them.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object .*Stream")


async def failure_of(program: Program) -> BaseException | None:
    try:
        await ProgramRun(program).run()
    except (Exception, ExceptionGroup) as error:  # noqa: BLE001 - any error is a failure
        return error
    return None


async def test_a_failing_program_is_reduced_to_the_fewest_steps() -> None:
    async def fails(program: Program) -> bool:
        return ("end", 7, "failed") in program.steps and program.steps.count(("close",)) >= 2

    steps = (("submit",), ("close",), ("list",), ("end", 7, "failed"), ("close",), ("close",), ("submit",))
    program = await shrunk(replace(program_of(1), steps=steps), fails)
    assert program.steps == (("end", 7, "failed"), ("close",), ("close",))


async def test_a_seed_has_one_program() -> None:
    assert [program_of(seed) for seed in range(50)] == [program_of(seed) for seed in range(50)]


@pytest.mark.parametrize("part", [range(n, min(n + PART, PROGRAMS)) for n in range(0, PROGRAMS, PART)], ids=str)
async def test_every_outcome_is_one_that_the_model_permits(part: range, anyio_backend_name: str) -> None:
    for seed in part if anyio_backend_name == "asyncio" else range(part.start + PROGRAMS, part.stop + PROGRAMS):
        if await failure_of(program_of(seed)) is not None:

            async def fails(program: Program) -> bool:
                return await failure_of(program) is not None

            program = await shrunk(program_of(seed), fails)
            raise AssertionError(f"seed {seed} fails: {program}") from await failure_of(program)
