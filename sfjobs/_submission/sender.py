"""
How programs become jobs within one step of ``dispatch``: singly or in batches, which ones together, what becomes of each, and
what ends the step for all of them.
"""

from __future__ import annotations

import copy
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio
import anyio.lowlevel

from .._http.api import PlatformAPI
from .._http.retry import Retry, may_repeat
from .._http.transport import CONNECTIONS
from .._jobs.job import Job
from .._tracking.poller import Poller
from ..config import Settings
from ..errors import (
    AuthenticationError,
    ConnectionClosedError,
    JournalError,
    RateLimitedError,
    RequestFailedError,
    ResponseError,
    SFJobsError,
    SubmissionUnknownError,
)
from ..models import JobSnapshot
from .programs import ProgramLike
from .submitter import LARGEST_BATCH, Outcome, SubmissionRequest, Submitter
from .types import FAST_SOURCE_SECONDS, Refusal, Submission
from .window import Window

logger = logging.getLogger("sfjobs")

WIDTH = CONNECTIONS["bulk"]
"""Submissions under way together."""

BURST = 4 * WIDTH
"""Programs submitted within one step: enough to keep all connections busy, few enough to be done soon."""

BATCH_WIDTH = 3
BATCH_BURST = 8 * LARGEST_BATCH
"""The same for batches: while the platform works on one, the next is made, and more than that only make it hold more."""


class Connection(Protocol):
    """What is needed of the connection."""

    @property
    def settings(self) -> Settings: ...

    @property
    def api(self) -> PlatformAPI: ...

    @property
    def poller(self) -> Poller: ...

    async def program_text(self, target: str, program: ProgramLike, *, shots: int | None = None) -> str: ...


@dataclass(slots=True, eq=False)
class PendingProgram:
    """
    The place of one program. ``order`` is made once, when its turn comes to be sent. ``outcome`` is None until there is one; an
    exception is raised when its turn comes.
    """

    index: int
    submission: Submission
    order: SubmissionRequest | None = None
    outcome: Job | Refusal | Exception | None = None


class BatchSender:
    """
    Sends the programs of one stream. ``settle`` hears what became of each; whoever hears nothing is to be sent another time.
    ``halted`` says that nothing more is to be sent in this step, ``trouble`` why when it is for the caller to know.
    """

    def __init__(
        self,
        connection: Connection,
        submitter: Submitter,
        window: Window,
        settle: Callable[[PendingProgram, Job | Exception], None],
        *,
        target: str,
        shots: int | None,
    ) -> None:
        self._connection = connection
        self._submitter = submitter
        self._window = window
        self._settle = settle
        self._target = target
        self._shots = shots
        self._retry = Retry(attempts=connection.settings.retries)
        self._under_way: set[anyio.CancelScope] = set()
        self._is_hurried = False
        self.halted = False
        self.trouble: Exception | None = None

    @property
    def most(self) -> int:
        """How many programs may go together."""
        return self._submitter.largest_batch

    @property
    def width(self) -> int:
        """How many sendings are worth having under way together."""
        return WIDTH if self.most == 1 else BATCH_WIDTH

    @property
    def appetite(self) -> int:
        """How many programs are worth having at hand before any is sent."""
        return max(self.most, WIDTH)

    @property
    def burst(self) -> int:
        """How many programs make a step."""
        return BURST if self.most == 1 else BATCH_BURST

    def begin(self) -> None:
        """Begins a step."""
        self.halted = self._is_hurried = False

    def hurry(self) -> None:
        """What is under way gets the time for one more try: the transport begins no pause that would not fit."""
        self._is_hurried = bool(self._under_way)
        for scope in self._under_way:
            scope.deadline = anyio.current_time() + self._connection.settings.attempt_timeout

    async def load(self, todo: deque[PendingProgram]) -> list[PendingProgram]:
        """
        What goes out together: one, or as much of what is there as a batch holds. Programs that turn out to be none are settled
        on the way, and those that are long in the making, as a compiler's are, keep nobody waiting.
        """
        load: list[PendingProgram] = []
        size, most = 0, self._submitter.largest_batch
        started = anyio.current_time()
        while todo and len(load) < most and not self.halted:
            slot = todo.popleft()
            order = slot.order or await self._order(slot)
            if order is None:
                continue
            size += len(order.body)
            if load and (len(load) >= order.batch_limit or size > self._submitter.largest_body):
                todo.appendleft(slot)
                break
            load.append(slot)
            most = min(most, order.batch_limit)
            if not isinstance(slot.submission.program, str) and anyio.current_time() - started > FAST_SOURCE_SECONDS:
                break
        return load

    async def _order(self, slot: PendingProgram) -> SubmissionRequest | None:
        generation = self._window.generation
        submission = slot.submission
        target = submission.target or self._target
        shots = self._shots if submission.shots is None else submission.shots
        try:
            text = await self._connection.program_text(target, submission.program, shots=shots)
            slot.order = self._submitter.order(target, text, shots, submission.name)
        except (SFJobsError, ConnectionClosedError) as error:
            self._take_failure([slot], error, generation)
        except Exception as error:  # noqa: BLE001 - whatever the code of a caller's program object raises
            self._settle(slot, error)
        return slot.order

    async def send(self, load: Sequence[PendingProgram]) -> None:
        while load and not self.halted:
            generation = self._window.generation
            try:
                outcomes = await self._submit([slot.order for slot in load if slot.order is not None])
            except (SFJobsError, ConnectionClosedError) as error:
                self._take_failure(load, error, generation)
                return
            except Exception as error:  # noqa: BLE001 - a bug must not leave a task group around it
                for slot in load:
                    self._settle(slot, error)
                return
            load = self._take_outcomes(load, outcomes, generation)
            if load:
                await anyio.sleep(self._pause(load))

    async def _submit(self, orders: Sequence[SubmissionRequest]) -> Sequence[Outcome]:
        await anyio.lowlevel.checkpoint_if_cancelled()
        with anyio.CancelScope() as scope:  # the transport shields it while a request is under way
            self._under_way.add(scope)
            try:
                if len(orders) == 1:
                    return [await self._submitter.submit(orders[0], shield=scope)]
                return await self._submitter.submit_all(orders, shield=scope)
            finally:
                self._under_way.discard(scope)
        return [
            self._submitter.unknown(order, "the call was cancelled before the platform answered") for order in orders
        ]

    def _take_outcomes(
        self, load: Sequence[PendingProgram], outcomes: Sequence[Outcome], generation: int
    ) -> Sequence[PendingProgram]:
        """Takes in what became of each, by itself. Those that are to be sent again after a pause."""
        again, taken = [], 0
        limit: RateLimitedError | None = None
        for slot, outcome in zip(load, outcomes, strict=True):
            if isinstance(outcome, JobSnapshot):
                self._settle(slot, Job.of(outcome, self._connection))
                taken += 1
            elif isinstance(outcome, RateLimitedError):
                limit = outcome
            elif outcome is not None and self._may_go_again(slot, outcome):
                again.append(slot)
            elif outcome is not None:
                self._take_failure([slot], outcome, generation)
        if taken:
            self._window.widen(generation, taken)
        if limit is not None:
            self._take_failure(load, limit, generation)
        return again

    def _may_go_again(self, slot: PendingProgram, error: RequestFailedError) -> bool:
        """What the transport decides about an answer, decided about one item of it."""
        if slot.order is None:
            return False
        slot.order.tries += 1
        error.attempts = slot.order.tries
        is_last = slot.order.tries % self._retry.attempts == 0
        return not is_last and may_repeat(error, idempotent=self._submitter.honours_keys)

    def _pause(self, load: Sequence[PendingProgram]) -> float:
        tries = max(slot.order.tries for slot in load if slot.order is not None)
        return self._retry.pause(tries % self._retry.attempts) or 0.0

    def _take_failure(self, slots: Sequence[PendingProgram], error: Exception, generation: int) -> None:
        """An error that means the same to each of these."""
        if isinstance(error, RateLimitedError):
            self.halted = True
            rest = self._window.narrow(generation, anyio.current_time(), error.retry_after)
            logger.info("a window of %d from now on, the next try in %.1f s: %s", self._window.size, rest, error)
        elif _lets_nothing_through(error):
            self.halted, self.trouble = True, error
        elif not self._is_left_to_the_next_step(error):
            # The frames in its traceback would live as long as the refusal.
            error = error.with_traceback(None)
            for slot in slots:
                self._settle(slot, error if len(slots) == 1 else copy.copy(error))

    def _is_left_to_the_next_step(self, error: Exception) -> bool:
        """Whether only the hurry of a cancelled step ended the tries, and the next step can go on with the same key."""
        if not self._is_hurried or not self._submitter.honours_keys or not isinstance(error, RequestFailedError):
            return False
        return isinstance(error, SubmissionUnknownError) or may_repeat(error, idempotent=True)


def _lets_nothing_through(error: Exception) -> bool:
    """Whether the next submission would fail the same way, and this one surely did not arrive."""
    if isinstance(error, RequestFailedError) and not error.sent:
        return True
    if isinstance(error, ResponseError) and error.status_code == 503:
        return True
    return isinstance(error, AuthenticationError | ConnectionClosedError | JournalError)
