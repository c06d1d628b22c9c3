"""
Many submissions with a window: what ``Connection.create_jobs`` iterates over. Programs go in at one end, jobs come out at the
other in the same order, and in between there are never more of them than the window. Between two steps nothing is held: no
task, no scope, no request and no place in the poller.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Protocol, Self, TypeAlias

import anyio
import anyio.lowlevel

from .config import Settings
from .errors import (
    AuthenticationError,
    ConnectionClosedError,
    RateLimitedError,
    RequestFailedError,
    ResponseError,
    SFJobsError,
    SubmissionUnknownError,
)
from .job import Job
from .poller import Poller
from .programs import ProgramLike
from .transport import CONNECTIONS
from .window import Window

logger = logging.getLogger("sfjobs")

WIDTH = CONNECTIONS["bulk"]
"""Submissions under way together."""

BURST = 4 * WIDTH
"""Programs submitted within one step: enough to keep all connections busy, few enough to be done soon."""

PROMPT = 0.02
"""Seconds. A source that takes longer for a program is asked for the next one only when there is nothing else to do."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A program with options of its own: what is None is as ``create_jobs`` was told."""

    program: ProgramLike
    shots: int | None = None
    name: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    What ``create_jobs`` gives in the place of a job that there is not: ``error`` is what ``create_job`` would have raised for
    ``program``, the ``index``-th from 0. After a SubmissionUnknownError, a ProtocolError or a ServerError the platform may
    have the job all the same.
    """

    index: int
    program: ProgramLike
    error: Exception


@dataclass(frozen=True, slots=True)
class End:
    """The source has no more programs; with ``error``, because it broke: that is raised after the last job."""

    error: Exception | None = None


Program: TypeAlias = ProgramLike | Submission
Programs: TypeAlias = Iterable[Program] | AsyncIterable[Program]
Submit: TypeAlias = Callable[[str, str, int | None, str | None], Awaitable[Job]]
"""Submits one text: target, text, shots and name."""


class Submitter(Protocol):
    """What is needed of the connection."""

    @property
    def settings(self) -> Settings: ...

    @property
    def poller(self) -> Poller: ...

    async def program_text(self, target: str, program: ProgramLike, *, shots: int | None = None) -> str: ...


@dataclass(slots=True, eq=False)
class _Slot:
    """The place of one program. ``outcome`` is None until there is one; an exception is raised when its turn comes."""

    index: int
    submission: Submission
    outcome: Job | Refusal | Exception | None = None


class Submissions:
    """
    The programs between a source and whoever takes the jobs. Knows no source: a driver ``put``s programs in while some are
    ``wanted``, lets it ``advance``, and ``take``s what is ready.
    """

    def __init__(self, connection: Submitter, submit: Submit, target: str, shots: int | None, window: int) -> None:
        self._connection = connection
        self._submit = submit
        self._target = target
        self._shots = shots
        self._window = Window(window)
        self._slots: deque[_Slot] = deque()  # not handed out yet, in order
        self._waiting = 0  # of those, how many have no outcome
        self._unfinished: list[Job] = []
        self._taken_in = 0
        self._ended = False
        self._is_cut = False
        self._enough = 0  # with more slots than this, those that are ready are given before there is another look
        self._trouble: Exception | None = None
        self._halted = False
        self._is_prompt = False
        self._under_way: set[anyio.CancelScope] = set()

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
        room = self._room - self._waiting
        # One ahead even of a full window: whether there is a next program must not wait for a job to end.
        least = 0 if self._slots else 1
        return (
            0 if self._ended else max(least, min(room, self._window.widest - len(self._slots), BURST - self._waiting))
        )

    @property
    def has_next(self) -> bool:
        return bool(self._slots) and self._slots[0].outcome is not None

    @property
    def has_unsent(self) -> bool:
        return self._waiting > 0

    def put(self, program: Program | End) -> None:
        """Takes in the next program, or that there are no more."""
        if isinstance(program, End):
            self._ended = True
            if program.error is not None:
                self._slots.append(_Slot(self._taken_in, Submission(""), program.error))
            return
        submission = program if isinstance(program, Submission) else Submission(program)
        self._slots.append(_Slot(self._taken_in, submission))
        self._taken_in += 1
        self._waiting += 1

    def cut(self) -> None:
        """Nothing more is submitted, and nothing more handed out."""
        self._is_cut = self._ended = self._halted = True

    def take(self) -> Job | Refusal:
        """The next outcome. Raises what the source of the programs raised."""
        outcome = self._slots.popleft().outcome
        assert outcome is not None, "there is a next one"
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def advance(self, pull: Callable[[], Awaitable[bool]] | None = None) -> None:
        """
        Submits what the window has room for; waits for room only when there is nothing to hand out meanwhile. ``pull`` puts
        one program in, or ends the source, alongside the submissions, and says whether the next may be asked for at once.

        Cancelled, it sends nothing more and sees what is on its way to its end, for a job needs an id. Raises what lets no
        submission succeed now, unless there is something to hand out before it: no program is lost, the next call goes on.
        """
        try:
            self._unfinished = [job for job in self._unfinished if not job.status.is_final]
            if self.has_next and self._window.is_narrowed:
                return
            await anyio.sleep_until(self._window.rest_until)
            if self._room > 0 and (self._waiting or (pull is not None and self.wanted)):
                await self._send_all(pull)
            elif self._room <= 0 and not self._slots and pull is not None:
                self._is_prompt = await pull()
            elif self._room <= 0 and not self.has_next:
                await self._wait_for_room()
        finally:
            self._enough = len(self._slots) // 2
            trouble, self._trouble = self._trouble, None
        if trouble is not None and not self.has_next:
            raise trouble

    @property
    def _room(self) -> int:
        return self._window.size - len(self._unfinished)

    async def _wait_for_room(self) -> None:
        poller = self._connection.poller
        ticket = poller.join(self._unfinished)
        try:
            outcomes = await poller.settle(ticket, 1 - self._room)
        finally:
            poller.leave(ticket)
        # A job that the platform no longer knows has an outcome, too: an error, which is for whoever waits for that job.
        self._unfinished = [job for job in self._unfinished if job.id not in outcomes]

    async def _send_all(self, pull: Callable[[], Awaitable[bool]] | None) -> None:
        unsent = (slot for slot in self._slots if slot.outcome is None)
        todo = deque(islice(unsent, min(self._room, BURST)))
        pulls = BURST - len(todo)
        working, idle = 0, anyio.Event()
        self._halted = self._is_cut

        async def work() -> None:
            nonlocal working
            while todo and not self._halted:
                await self._send(todo.popleft())
            working -= 1
            if not working:
                idle.set()

        async with anyio.create_task_group() as group:
            try:
                for _ in range(min(WIDTH, len(todo))):
                    working += 1
                    group.start_soon(work)
                while pull is not None and pulls and self.wanted and not self._halted:
                    if self._slots and not self._is_prompt:
                        break
                    taken_in = self._taken_in
                    self._is_prompt = await pull()
                    pulls -= 1
                    if self._taken_in > taken_in:
                        todo.append(self._slots[-1])
                        if working < WIDTH:
                            working += 1
                            group.start_soon(work)
                if working:
                    idle = anyio.Event()
                    await idle.wait()
            finally:
                # When all is well nothing is under way here. Otherwise the transport begins no pause that would not fit.
                for scope in self._under_way:
                    scope.deadline = anyio.current_time() + self._connection.settings.attempt_timeout

    async def _send(self, slot: _Slot) -> None:
        generation = self._window.generation
        try:
            job = await self._create(slot.submission)
        except RateLimitedError as error:
            self._halted = True
            rest = self._window.narrow(generation, anyio.current_time(), error.retry_after)
            logger.info("a window of %d from now on, the next try in %.1f s: %s", self._window.size, rest, error)
        except (SFJobsError, ConnectionClosedError) as error:
            if _lets_nothing_through(error):
                self._halted, self._trouble = True, error
            else:
                # The frames in its traceback would live as long as the refusal.
                self._settle(slot, error.with_traceback(None))
        except Exception as error:  # noqa: BLE001 - whatever the code of a caller's program object raises
            self._settle(slot, error)
        else:
            self._settle(slot, job)
            self._window.widen(generation)

    async def _create(self, submission: Submission) -> Job:
        """One submission, by itself: the place where a platform's batches would be joined."""
        target = submission.target or self._target
        shots = self._shots if submission.shots is None else submission.shots
        text = await self._connection.program_text(target, submission.program, shots=shots)
        await anyio.lowlevel.checkpoint_if_cancelled()
        with anyio.CancelScope(shield=True) as scope:
            self._under_way.add(scope)
            try:
                return await self._submit(target, text, shots, submission.name)
            finally:
                self._under_way.discard(scope)
        raise SubmissionUnknownError(
            "the call was cancelled before the platform answered: it may or may not have the job. Look for it before "
            "submitting it again",
            method="POST",
            url=f"{self._connection.settings.url}/jobs",
            name=submission.name,
        )

    def _settle(self, slot: _Slot, outcome: Job | Exception) -> None:
        self._waiting -= 1
        if isinstance(outcome, Exception):
            slot.outcome = Refusal(slot.index, slot.submission.program, outcome)
            return
        slot.outcome = outcome
        if not outcome.status.is_final:
            self._unfinished.append(outcome)


class JobStream:
    """
    What ``create_jobs`` iterates over: jobs in the order of their programs, with a Refusal in the place of each that there is
    not.

    May be abandoned, cancelled and gone on with at any step, and shared between tasks. Nothing runs between steps.
    """

    def __init__(self, submissions: Submissions, programs: Programs) -> None:
        self._submissions = submissions
        self._source = _iterator(programs)
        self._turn = anyio.Lock()

    @property
    def submissions(self) -> Submissions:
        """What is under way, for the blocking twin, which brings the programs itself."""
        return self._submissions

    @property
    def submitted(self) -> list[Job]:
        """The jobs that the platform has and that were not handed out yet, in order; also after closing."""
        return self._submissions.submitted

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Job | Refusal:
        async with self._turn:
            while not self._submissions.is_ready:
                if self._submissions.is_over:
                    raise StopAsyncIteration
                await self._submissions.advance(self._pull)
            return self._submissions.take()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Submits nothing more. The jobs go on; ``submitted`` has those that were not handed out. Safe to call twice."""
        self._submissions.cut()

    async def _pull(self) -> bool:
        started = anyio.current_time()
        try:
            if isinstance(self._source, AsyncIterator):
                program = await anext(self._source)
            else:
                program = next(self._source)
        except (StopIteration, StopAsyncIteration):
            self._submissions.put(End())
            return False
        except Exception as error:  # noqa: BLE001 - raised when the jobs before it have been handed out
            self._submissions.put(End(error))
            return False
        self._submissions.put(program)
        is_prompt = anyio.current_time() - started < PROMPT
        # A source that never waits would keep those that submit from their turn.
        await anyio.lowlevel.checkpoint()
        return is_prompt


def _iterator(programs: Programs) -> Iterator[Program] | AsyncIterator[Program]:
    if isinstance(programs, AsyncIterable):
        return aiter(programs)
    if isinstance(programs, str):
        raise TypeError("many programs are an iterable or an async iterable of programs, not one text: see create_job")
    return iter(programs)


def _lets_nothing_through(error: Exception) -> bool:
    """Whether the next submission would fail the same way, and this one surely did not arrive."""
    if isinstance(error, RequestFailedError) and not error.sent:
        return True
    if isinstance(error, ResponseError) and error.status_code == 503:
        return True
    return isinstance(error, AuthenticationError | ConnectionClosedError)
