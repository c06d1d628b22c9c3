"""
Client and platform against a model: seeded programs of submissions, waits, cancellations and trouble, in virtual time. A program
that fails is printed with its seed, without the steps that it fails without as well.
"""

from __future__ import annotations

import os

import pytest

from tests.support.model import Program, Stage, shrunk, written

PROGRAMS = int(os.environ.get("MODEL_PROGRAMS", "2000"))
"""On each backend. `nox -s soak` plays more of them."""

PART = 100

# trio's word for a generator that is dropped half-way: httpx nests several and closes none of them.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object .*Stream")


async def failure_of(program: Program) -> BaseException | None:
    try:
        await Stage(program).play()
    except (Exception, ExceptionGroup) as error:  # noqa: BLE001 - whatever it is, it is the finding
        return error
    return None


@pytest.mark.parametrize("part", [range(n, min(n + PART, PROGRAMS)) for n in range(0, PROGRAMS, PART)], ids=str)
async def test_whatever_happens_is_what_the_model_allows(part: range) -> None:
    for seed in part:
        if await failure_of(written(seed)) is not None:

            async def fails(program: Program) -> bool:
                return await failure_of(program) is not None

            program = await shrunk(written(seed), fails)
            raise AssertionError(f"seed {seed} fails: {program}") from await failure_of(program)
