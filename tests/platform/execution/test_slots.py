"""A slot whose worker cannot start: it tries again, ever more slowly, says so once, and keeps no job."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

import anyio
import pytest

from sfjobs.platform.execution.executor import PlatformTrouble
from sfjobs.platform.execution.slots import Slot, StartProblems
from sfjobs.platform.execution.worker_process import WorkerProcess

RIGHT, TROUBLE, BUG = "starts", "trouble", "bug"


class Worker:
    def __init__(self, number: int) -> None:
        self.pid = number
        self.has_exited = False
        self.has_begun = False

    async def kill(self) -> None:
        self.has_exited = True


class Starts:
    """Starts workers as the list says, the last entry for ever, and notes when."""

    def __init__(self, outcomes: Sequence[str]) -> None:
        self._outcomes = list(outcomes)
        self.times: list[float] = []

    async def __call__(self) -> WorkerProcess:
        self.times.append(anyio.current_time())
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if outcome == TROUBLE:
            raise PlatformTrouble("fork: Resource temporarily unavailable")
        if outcome == BUG:
            raise LookupError("what nobody has thought of")
        return cast("WorkerProcess", Worker(len(self.times)))

    @property
    def pauses(self) -> list[float]:
        return [round(later - earlier, 6) for earlier, later in zip(self.times, self.times[1:], strict=False)]


@pytest.mark.parametrize("kind", [TROUBLE, BUG])
async def test_starts_are_repeated_after_one_to_sixty_seconds_until_one_works(kind: str) -> None:
    start = Starts([kind] * 9 + [RIGHT])
    await Slot(start, StartProblems(1)).ready_worker()
    assert start.pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_the_log_has_one_error_for_all_slots_and_says_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    problems = StartProblems(3)
    slots = [Slot(Starts([TROUBLE] * 5 + [RIGHT]), problems) for _ in range(3)]
    async with anyio.create_task_group() as tasks:
        for slot in slots:
            tasks.start_soon(slot.prepare)
    assert [(record.levelname, "Resource temporarily" in record.getMessage()) for record in caplog.records] == [
        ("ERROR", True),
        ("WARNING", False),
    ]


async def test_there_is_no_problem_while_one_slot_has_a_worker() -> None:
    problems = StartProblems(2)
    broken, healthy = Slot(Starts([TROUBLE]), problems), Slot(Starts([TROUBLE, RIGHT]), problems)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(broken.prepare)
        tasks.start_soon(healthy.prepare)
        await anyio.sleep(0.5)
        both = problems.of_all
        await anyio.sleep(100)
        one = problems.of_all
        tasks.cancel_scope.cancel()
    assert (both, one) == ("fork: Resource temporarily unavailable", None)


async def test_the_first_worker_ends_the_wait_for_one() -> None:
    problems = StartProblems(2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Slot(Starts([TROUBLE]), problems).prepare)
        await anyio.sleep(0.5)
        tasks.start_soon(Slot(Starts([RIGHT]), problems).prepare)
        await problems.wait_first()
        tasks.cancel_scope.cancel()


async def test_when_all_have_tried_in_vain_the_wait_for_the_first_worker_says_why() -> None:
    problems = StartProblems(2)
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(Slot(Starts([TROUBLE]), problems).prepare)
        with pytest.raises(PlatformTrouble, match="Resource temporarily unavailable"):
            await problems.wait_first()
        tasks.cancel_scope.cancel()


async def test_a_worker_that_ends_before_its_first_job_is_not_replaced_in_a_loop() -> None:
    start = Starts([RIGHT])
    slot = Slot(start, StartProblems(1))
    for _ in range(6):
        await slot.ready_worker()
        cast("Worker", slot.worker).has_exited = True
    assert start.pauses == [1, 2, 4, 8, 16]


async def test_a_worker_that_has_run_jobs_is_replaced_at_once() -> None:
    start = Starts([RIGHT])
    slot = Slot(start, StartProblems(1))
    for _ in range(4):
        worker = await slot.ready_worker()
        worker.has_begun = True
        await slot.discard(worker)
    assert start.pauses == [0, 0, 0]
