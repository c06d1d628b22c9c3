"""
Between the source of many programs and whoever takes their jobs: the order, the window, and the steps in which ``sending``
makes jobs of programs. There are never more programs in here than the window. Between two steps nothing is held: no task, no
scope, no request and no place in the poller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import TypeAlias

import anyio
import anyio.lowlevel

from .._jobs.job import Job
from .._util.aio import plain_task_group
from .sender import BatchSender, Connection, PendingProgram
from .submitter import SubmissionRequest, Submitter
from .types import FAST_SOURCE_SECONDS, End, Program, Refusal, Submission
from .window import Window

Pull: TypeAlias = Callable[[int], Awaitable[bool]]
"""Puts up to so many programs in, or ends the source; says whether the next one may be asked for at once."""

REFILL_DELAY = 0.1
"""Seconds that a full window waits for a hundredth of its places once there is one: a look at thousands of jobs has its price."""

_DONE_WITH = Submission("")


class SubmissionPipeline:
    """
    The programs between a source and whoever takes the jobs. Knows no source: a driver ``put``s programs in while some are
    ``wanted``, lets it ``advance``, and ``take``s what is ready.
    """

    def __init__(
        self, connection: Connection, submitter: Submitter, target: str, shots: int | None, window: int
    ) -> None:
        self._connection = connection
        self._window = Window(window)
        self._sender = BatchSender(connection, submitter, self._window, self._settle, target=target, shots=shots)
        self._slots: deque[PendingProgram] = deque()  # not handed out yet, in order
        self._waiting = 0  # of those, how many have no outcome
        self._todo: deque[PendingProgram] = deque()  # of those, whom nobody has begun to send in this step
        self._unfinished: list[Job] = []
        self._taken_in = 0
        self._ended = False
        self._is_cut = False
        self._enough = 0  # with more slots than this, those that are ready are given before there is another look
        self._is_prompt = False

    @property
    def submitted(self) -> list[Job]:
        """The jobs that the platform has taken and that have not been handed out, in order."""
        return [slot.outcome for slot in self._slots if isinstance(slot.outcome, Job)]

    @property
    def is_ready(self) -> bool:
        """Whether the next outcome is to be handed out before anything else is done."""
        return self.has_next and not self._is_cut and (len(self._slots) > self._enough or self._ended)

    @property
    def is_over(self) -> bool:
        return self._is_cut or (self._ended and not self._slots)

    @property
    def wanted(self) -> int:
        """How many programs there is room for."""
        if self._ended:
            return 0
        room = self._room - self._waiting
        # One ahead even of a full window: whether there is a next program must not wait for a job to end.
        least = 0 if self._slots else 1
        return max(least, min(room, self._window.widest - len(self._slots), self._sender.burst - self._waiting))

    @property
    def has_next(self) -> bool:
        return bool(self._slots) and self._slots[0].outcome is not None

    @property
    def has_unsent(self) -> bool:
        return self._waiting > 0

    def put(self, program: Program | SubmissionRequest | End) -> None:
        """Takes in the next program, one that was made ready before, or that there are no more."""
        if isinstance(program, End):
            self._ended = True
            if program.error is not None:
                self._slots.append(PendingProgram(self._taken_in, _DONE_WITH, outcome=program.error))
            return
        slot = _slot(self._taken_in, program)
        self._slots.append(slot)
        self._todo.append(slot)
        self._taken_in += 1
        self._waiting += 1

    def cut(self) -> None:
        """Nothing more is submitted, and nothing more handed out."""
        self._is_cut = self._ended = self._sender.halted = True

    def take(self) -> Job | Refusal:
        """The next outcome. Raises what the source of the programs raised."""
        outcome = self._slots.popleft().outcome
        assert outcome is not None, "there is a next one"
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def take_ready(self, most: int) -> list[Job | Refusal]:
        """``take`` at least once, and up to so often as outcomes are ready. What the source raised comes by itself."""
        taken = [self.take()]
        while len(taken) < most and self.is_ready and not isinstance(self._slots[0].outcome, Exception):
            taken.append(self.take())
        return taken

    async def advance(self, pull: Pull | None = None) -> None:
        """
        Submits what the window has room for; waits for room only when there is nothing to hand out meanwhile. ``pull`` puts
        programs in alongside the submissions.

        Cancelled, it sends nothing more and sees what is on its way to its end, for a job needs an id. Raises what lets no
        submission succeed now, unless there is something to hand out before it: no program is lost, the next call goes on.
        """
        try:
            self._let_go_of_finished()
            if self.has_next and self._window.is_narrowed:
                return
            await anyio.sleep_until(self._window.rest_until)
            if self._is_cut:
                return
            if self._room > 0 and (self._waiting or (pull is not None and self.wanted)):
                await self._send_all(pull)
            elif self._room <= 0 and not self._slots and pull is not None:
                self._is_prompt = await pull(1)
            elif self._room <= 0 and not self.has_next:
                await self._wait_for_room()
        finally:
            self._enough = len(self._slots) // 2
            trouble, self._sender.trouble = self._sender.trouble, None
        if trouble is not None and not self.has_next:
            raise trouble

    @property
    def _room(self) -> int:
        return self._window.size - len(self._unfinished)

    def _let_go_of_finished(self) -> None:
        # While there is room for a whole step, a look at thousands of jobs would cost more than the step.
        if self._room < self._sender.burst:
            self._unfinished = [job for job in self._unfinished if not job.status.is_final]

    async def _wait_for_room(self) -> None:
        poller = self._connection.poller
        waiter = poller.join(self._unfinished)
        try:
            await poller.wait_for(waiter, 1 - self._room)
            if (places := self._window.size // 100) > 1:
                with anyio.move_on_after(REFILL_DELAY):
                    await poller.wait_for(waiter, places - self._room)
        finally:
            poller.leave(waiter)
        # A job that the platform no longer knows has an outcome, too: an error, which is for whoever waits for that job.
        self._unfinished = [job for job in self._unfinished if job.id not in waiter.outcomes]

    async def _send_all(self, pull: Pull | None) -> None:
        sender = self._sender
        sender.begin()
        unsent = (slot for slot in self._slots if slot.outcome is None)
        self._todo = todo = deque(islice(unsent, min(self._room, sender.burst)))
        pulls = sender.burst - len(todo)
        working, idle = 0, anyio.Event()

        async def work() -> None:
            nonlocal working
            # Of all those that submit singly, few are needed when batches turn out to be on offer.
            while todo and not sender.halted and working <= sender.width:
                await sender.send(await sender.load(todo))
            working -= 1
            if not working:
                idle.set()

        async with plain_task_group() as group:

            def employ(programs: int) -> None:
                nonlocal working
                for _ in range(min(-(-programs // sender.most), sender.width - working)):
                    working += 1
                    group.start_soon(work)

            try:
                employ(len(todo))
                turn = anyio.current_time()
                while pull is not None and pulls > 0 and self.wanted and not sender.halted:
                    if self._slots and not self._is_prompt:
                        break
                    taken_in = self._taken_in
                    self._is_prompt = await pull(min(pulls, self.wanted, sender.appetite))
                    pulls -= self._taken_in - taken_in
                    employ(self._taken_in - taken_in)
                    if len(todo) >= sender.appetite or anyio.current_time() - turn > FAST_SOURCE_SECONDS:
                        # A source that never waits would keep those that submit from their turn.
                        await anyio.lowlevel.checkpoint()
                        turn = anyio.current_time()
                if working:
                    idle = anyio.Event()
                    await idle.wait()
            finally:
                # When all is well nothing is under way here.
                sender.hurry()

    def _settle(self, slot: PendingProgram, outcome: Job | Exception) -> None:
        self._waiting -= 1
        slot.order = None
        if isinstance(outcome, Exception):
            slot.outcome = Refusal(slot.index, slot.submission.program, outcome)
            return
        slot.outcome = outcome
        slot.submission = _DONE_WITH
        if not outcome.status.is_final:
            self._unfinished.append(outcome)


def _slot(index: int, program: Program | SubmissionRequest) -> PendingProgram:
    if isinstance(program, SubmissionRequest):
        return PendingProgram(index, Submission("", program.shots, program.name, program.target), program)
    return PendingProgram(index, program if isinstance(program, Submission) else Submission(program))
