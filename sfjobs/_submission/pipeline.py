"""
Between the source of many programs and the caller that gets their jobs: order, window, and the steps in which ``sender`` submits.
Never holds more programs than the window. Between two steps it holds no task, scope, request or place in the poller.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import TypeAlias

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from .._jobs.job import Job, state_of
from .._protocol.blackbird_template import Params
from .._util.aio import plain_task_group
from ..errors import ConnectionClosedError, SFJobsError
from ..models import JobSnapshot
from .sender import BatchSender, PendingProgram, is_lasting
from .session import SubmissionSession
from .submitter import SubmissionRequest
from .types import FAST_SOURCE_SECONDS, End, Program, Refusal, Submission
from .window import Window

logger = logging.getLogger("sfjobs")

Pull: TypeAlias = Callable[[int], Awaitable[bool]]
"""Puts up to so many programs, or the end of the source. Returns whether the source is fast enough to be read again at once."""

REFILL_DELAY_SECONDS = 0.1
"""How long a full window waits for a hundredth of it to be free: checking thousands of jobs is expensive."""

_FORGOTTEN = Submission("")


class SubmissionPipeline:
    """
    The programs of one stream. A driver ``put``s programs while some are ``wanted``, calls ``advance``, and ``pop``s outcomes.
    """

    def __init__(
        self,
        session: SubmissionSession,
        job_from: Callable[[JobSnapshot], Job],
        target: str,
        shots: int | None,
        window: int,
        *,
        params: Params | None = None,
        priority: int | None = None,
    ) -> None:
        self._poller = session.poller
        self._window = Window(window)
        self._sender = BatchSender(
            session, job_from, self._window, self._settle, target=target, shots=shots, params=params, priority=priority
        )
        self._pending: deque[PendingProgram] = deque()  # not popped yet, in order
        self._unsettled = 0  # of those, the number without an outcome
        self._unsent: deque[PendingProgram] = deque()  # of those, the ones that no task of this step has begun to send
        self._unfinished: list[Job] = []
        self._put = 0
        self._ended = False
        self._bug: Exception | None = None  # to be raised once the outcomes before it are popped
        self._is_closed = False
        self._pop_above = 0  # with more programs than this, outcomes are popped before the next step
        self._is_fast = False

    @property
    def submitted(self) -> list[Job]:
        """The jobs that were submitted and not popped, in order."""
        return [pending.outcome for pending in self._pending if isinstance(pending.outcome, Job)]

    @property
    def is_ready(self) -> bool:
        """Whether to ``pop`` the next outcome before anything else."""
        return self.has_next and not self._is_closed and (len(self._pending) > self._pop_above or self._ended)

    @property
    def is_done(self) -> bool:
        return self._is_closed or (self._ended and not self._pending)

    @property
    def wanted(self) -> int:
        """How many programs to put."""
        if self._ended:
            return 0
        room = self._room - self._unsettled
        # One ahead even of a full window: whether there is a next program must not wait for a job to end.
        least = 0 if self._pending else 1
        return max(least, min(room, self._window.widest - len(self._pending), self._sender.step_size - self._unsettled))

    @property
    def has_next(self) -> bool:
        return bool(self._pending) and self._pending[0].outcome is not None

    @property
    def has_unsent(self) -> bool:
        return self._unsettled > 0

    def put(self, program: Program | SubmissionRequest | End) -> None:
        """Add the next program, a request that was made before, or the end of the source."""
        if isinstance(program, End):
            self._ended = True
            if program.error is not None:
                self._pending.append(PendingProgram(self._put, _FORGOTTEN, outcome=program.error))
            return
        if isinstance(program, SubmissionRequest):
            pending = PendingProgram(self._put, _FORGOTTEN, program)
        else:
            submission = program if isinstance(program, Submission) else Submission(program)
            pending = PendingProgram(self._put, submission)
        self._pending.append(pending)
        self._unsent.append(pending)
        self._put += 1
        self._unsettled += 1

    def close(self) -> None:
        """Submit nothing more, and return no more outcomes."""
        self._is_closed = self._ended = self._sender.is_halted = True

    def pop(self) -> Job | Refusal:
        """Return the next outcome. Raises what the source of the programs raised."""
        outcome = self._pending.popleft().outcome
        assert outcome is not None, "there is a next one"
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def pop_ready(self, most: int) -> list[Job | Refusal]:
        """``pop`` at least once, and up to ``most`` times while outcomes are ready. An error of the source comes alone."""
        popped = [self.pop()]
        while len(popped) < most and self.is_ready and not isinstance(self._pending[0].outcome, Exception):
            popped.append(self.pop())
        return popped

    async def advance(self, pull: Pull | None = None) -> None:
        """
        Submit as many programs as the window has room for. Waits for room only when no outcome is ready. ``pull`` puts programs
        during the submissions.

        On cancellation it sends nothing more and finishes the requests in flight, because a job needs an id. Raises an error that
        no submission can succeed with, once all outcomes before it are popped. No program is lost: the next call goes on.
        """
        try:
            self._forget_finished()
            if self.has_next and (self._window.is_narrowed or self._bug is not None):
                return
            if self._bug is not None:
                bug, self._bug = self._bug, None
                raise bug
            await anyio.sleep_until(self._window.paused_until)
            if self._is_closed:
                return
            self._window.probe(anyio.current_time())
            if self._room > 0 and (self._unsettled or (pull is not None and self.wanted)):
                await self._send_all(pull)
            elif self._room <= 0 and not self._pending and pull is not None:
                self._is_fast = await pull(1)
            elif self._room <= 0 and not self.has_next:
                await self._wait_for_room()
        finally:
            self._pop_above = len(self._pending) // 2
            error, self._sender.error = self._sender.error, None
        if error is not None and not self.has_next:
            raise error
        # Any other error of this kind comes again with the next program, which is not settled yet.
        comes_again = isinstance(error, SFJobsError | ConnectionClosedError) and not is_lasting(error)
        self._bug = None if comes_again else error

    @property
    def _room(self) -> int:
        return self._window.size - len(self._unfinished)

    def _forget_finished(self) -> None:
        # While there is room for a whole step, checking thousands of jobs would cost more than the step.
        if self._room < self._sender.step_size:
            self._unfinished = [job for job in self._unfinished if not job.status.is_final]

    def _learn_quota(self) -> None:
        """Learn from the 429 of a quota at the end of a step, when it is known how many jobs the platform has accepted."""
        refusal, self._sender.quota = self._sender.quota, None
        now = anyio.current_time()
        if refusal is None:
            if self._window.is_narrowed:
                self._forget_finished()
            self._window.note_accepted(len(self._unfinished), now)
            return
        self._unfinished = [job for job in self._unfinished if not job.status.is_final]
        self._window.meet_quota(len(self._unfinished), now, refusal.retry_after)
        logger.info(
            "at most %d unfinished jobs from now on, next submission in %.1f s, or when one has ended: %s",
            self._window.size,
            self._window.probe_at - now,
            refusal,
        )

    async def _wait_for_room(self) -> None:
        """Wait until enough jobs have ended, or until it is time to try whether a quota is larger."""
        poller = self._poller
        waiter = poller.join(map(state_of, self._unfinished))
        try:
            with anyio.CancelScope(deadline=self._window.next_probe(len(self._unfinished))):
                await poller.wait_for(waiter, 1 - self._room)
            if (hundredth := self._window.size // 100) > 1:
                with anyio.move_on_after(REFILL_DELAY_SECONDS):
                    await poller.wait_for(waiter, hundredth - self._room)
        finally:
            poller.leave(waiter)
        # A job that the platform no longer knows has an outcome, too: an error, for the caller that waits for that job.
        self._unfinished = [job for job in self._unfinished if job.id not in waiter.outcomes]

    async def _send_all(self, pull: Pull | None) -> None:
        self._sender.begin_step()
        unsettled = (pending for pending in self._pending if pending.outcome is None)
        self._unsent = deque(islice(unsettled, min(self._room, self._sender.step_size)))
        async with plain_task_group() as group:
            workers = _Workers(self._sender, self._unsent, group)
            try:
                workers.start(len(self._unsent))
                if pull is not None:
                    await self._pull_all(pull, workers)
                await workers.finish()
            finally:
                # Without a cancellation nothing is in flight here.
                self._sender.cut_short()
                self._learn_quota()

    async def _pull_all(self, pull: Pull, workers: _Workers) -> None:
        sender = self._sender
        left = sender.step_size - len(self._unsent)
        yielded_at = anyio.current_time()
        while left > 0 and self.wanted and not sender.is_halted and (self._is_fast or not self._pending):
            put = self._put
            self._is_fast = await pull(min(left, self.wanted, sender.read_ahead))
            left -= self._put - put
            workers.start(self._put - put)
            if len(self._unsent) >= sender.read_ahead or anyio.current_time() - yielded_at > FAST_SOURCE_SECONDS:
                # A source that never waits would keep the workers from running.
                await anyio.lowlevel.checkpoint()
                yielded_at = anyio.current_time()

    def _settle(self, pending: PendingProgram, outcome: Job | Exception) -> None:
        self._unsettled -= 1
        pending.request = None
        if isinstance(outcome, Exception):
            pending.outcome = Refusal(pending.index, pending.submission.program, outcome)
            return
        pending.outcome = outcome
        pending.submission = _FORGOTTEN
        if not outcome.status.is_final:
            self._unfinished.append(outcome)


class _Workers:
    """The tasks that send the programs of one step."""

    def __init__(self, sender: BatchSender, unsent: deque[PendingProgram], group: TaskGroup) -> None:
        self._sender = sender
        self._unsent = unsent
        self._group = group
        self._running = 0
        self._idle = anyio.Event()

    def start(self, programs: int) -> None:
        """Start as many workers as this many more programs need."""
        sender = self._sender
        for _ in range(min(-(-programs // sender.batch_size), sender.max_concurrent - self._running)):
            self._running += 1
            self._group.start_soon(self._work)

    async def finish(self) -> None:
        if self._running:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def _work(self) -> None:
        sender = self._sender
        # Of all the workers that submit singly, few are needed once the platform offers batches.
        while self._unsent and not sender.is_halted and self._running <= sender.max_concurrent:
            await sender.send(await sender.load(self._unsent))
        self._running -= 1
        if not self._running:
            self._idle.set()
