"""
How programs become jobs within one step of ``pipeline``: which go together, singly or in batches, the outcome of each, and which
errors end the step for all of them.
"""

from __future__ import annotations

import copy
import errno
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import anyio
import anyio.lowlevel

from .._http.retry import Retry, is_transient, may_retry
from .._http.transport import MAX_CONNECTIONS
from .._jobs.job import Job
from .._protocol.blackbird_template import Params
from ..errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionClosedError,
    JournalError,
    ProtocolError,
    RateLimitedError,
    RequestFailedError,
    ResponseError,
    SFJobsError,
    SubmissionUnknownError,
)
from ..models import JobSnapshot
from .capabilities import MAX_BATCH_SIZE
from .session import SubmissionSession
from .submitter import SubmissionReply, SubmissionRequest
from .types import FAST_SOURCE_SECONDS, Refusal, Submission
from .window import Window

logger = logging.getLogger("sfjobs")

MAX_CONCURRENT_SUBMISSIONS = MAX_CONNECTIONS["bulk"]

PROGRAMS_PER_STEP = 4 * MAX_CONCURRENT_SUBMISSIONS
"""Enough to keep all connections busy, and few enough to be done soon."""

CANCEL_SECONDS = 0.3
"""Time for the responses of requests in flight when a step is cancelled. A caller that cancels does not want to wait."""

MAX_CONCURRENT_BATCHES = 3
BATCHED_PROGRAMS_PER_STEP = 8 * MAX_BATCH_SIZE
"""While the platform works on one batch, the next is made. More batches would only make the platform hold more."""


_ABOUT_ALL_PROGRAMS = (
    AuthenticationError,
    ConfigurationError,
    ConnectionClosedError,
    JournalError,
    ImportError,
    MemoryError,
)
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


@dataclass(slots=True, eq=False)
class PendingProgram:
    """
    One program of a stream. ``request`` is made when the program is first sent, and ``outcome`` is None until it is known. An
    exception in its place is raised when its turn comes.
    """

    index: int
    submission: Submission
    request: SubmissionRequest | None = None
    outcome: Job | Refusal | Exception | None = None


class BatchSender:
    """
    Sends the programs of one stream, and calls ``settle`` with the outcome of each. A program without an outcome is sent again.

    ``is_halted``: nothing more is sent in this step. ``error``: why, if the caller has to know. ``quota``: the 429 of a quota
    that this step met.
    """

    def __init__(
        self,
        session: SubmissionSession,
        job_from: Callable[[JobSnapshot], Job],
        window: Window,
        settle: Callable[[PendingProgram, Job | Exception], None],
        *,
        target: str,
        shots: int | None,
        params: Params | None,
        priority: int | None,
    ) -> None:
        self._session = session
        self._job_from = job_from
        self._submitter = session.submitter
        self._capabilities = session.submitter.capabilities
        self._window = window
        self._settle = settle
        self._target = target
        self._shots = shots
        self._params = params
        self._priority = priority
        self._retry = Retry(attempts=session.settings.retries)
        self._in_flight: set[anyio.CancelScope] = set()
        self._is_cut_short = False
        self.is_halted = False
        self.error: Exception | None = None
        self.quota: RateLimitedError | None = None

    @property
    def batch_size(self) -> int:
        """How many programs may go in one request."""
        return self._capabilities.max_batch_size

    @property
    def max_concurrent(self) -> int:
        """How many requests are worth sending at a time."""
        most = MAX_CONCURRENT_SUBMISSIONS if self.batch_size == 1 else MAX_CONCURRENT_BATCHES
        return min(most, self._window.concurrency)

    @property
    def read_ahead(self) -> int:
        """How many programs are worth reading before any is sent."""
        return max(self.batch_size, MAX_CONCURRENT_SUBMISSIONS)

    @property
    def step_size(self) -> int:
        """How many programs one step submits."""
        return PROGRAMS_PER_STEP if self.batch_size == 1 else BATCHED_PROGRAMS_PER_STEP

    def begin_step(self) -> None:
        self.is_halted = self._is_cut_short = False

    def cut_short(self) -> None:
        """
        Leave requests in flight a moment for their responses. Those that have none then are in the journal; where the platform
        honours keys, the next step sends them again.
        """
        self._is_cut_short = bool(self._in_flight)
        for scope in self._in_flight:
            scope.deadline = anyio.current_time() + CANCEL_SECONDS

    async def load(self, unsent: deque[PendingProgram]) -> list[PendingProgram]:
        """
        Pop the programs of the next request: one, or as many as a batch holds. A program that is not valid is settled at once. If
        making one took long, as a compiler does, the batch is sent without more.
        """
        load: list[PendingProgram] = []
        size, most = 0, self.batch_size
        started = anyio.current_time()
        while unsent and len(load) < most and not self.is_halted:
            pending = unsent.popleft()
            request = pending.request or await self._make_request(pending)
            if request is None:
                continue
            size += len(request.intent.body)
            if load and (len(load) >= request.batch_limit or size > self._capabilities.max_batch_bytes):
                unsent.appendleft(pending)
                break
            load.append(pending)
            most = min(most, request.batch_limit)
            is_text = isinstance(pending.submission.program, str)
            if not is_text and anyio.current_time() - started > FAST_SOURCE_SECONDS:
                break
        return load

    async def _make_request(self, pending: PendingProgram) -> SubmissionRequest | None:
        generation = self._window.generation
        submission = pending.submission
        target = submission.target or self._target
        shots = self._shots if submission.shots is None else submission.shots
        try:
            params = self._params if submission.params is None else submission.params
            priority = self._priority if submission.priority is None else submission.priority
            pending.request = await self._session.prepare(
                target, submission.program, shots, submission.name, params, priority=priority
            )
        except Exception as error:  # noqa: BLE001 - a caller's program object may raise anything
            # A request for the device's specification says nothing of the program when it fails.
            is_own = not (isinstance(error, RequestFailedError) and is_transient(error))
            self._apply_failure([pending], error, generation, is_own=is_own)
        return pending.request

    async def send(self, load: Sequence[PendingProgram]) -> None:
        """Send these programs in one request, and again those that may be repeated."""
        while load and not self.is_halted:
            generation = self._window.generation
            try:
                replies = await self._submit([pending.request for pending in load if pending.request is not None])
            except Exception as error:  # noqa: BLE001 - a bug must not end the task group around it
                self._apply_failure(load, error, generation, is_own=isinstance(error, SFJobsError))
                return
            load = self._apply_replies(load, replies, generation)
            if load:
                await anyio.sleep(self._pause(load))

    async def _submit(self, requests: Sequence[SubmissionRequest]) -> Sequence[SubmissionReply]:
        await anyio.lowlevel.checkpoint_if_cancelled()
        with anyio.CancelScope() as scope:  # the transport shields it while a request is in flight
            self._in_flight.add(scope)
            try:
                if len(requests) == 1:
                    return [await self._submitter.submit(requests[0], shield=scope, before_sending=self._check_quota)]
                return await self._submitter.submit_batch(requests, shield=scope, before_sending=self._check_quota)
            finally:
                self._in_flight.discard(scope)
        reason = "the call was cancelled before the platform replied"
        return [self._submitter.unknown_error(request, reason) for request in requests]

    def _check_quota(self) -> None:
        """Raise the 429 that another request of this step has met: what has waited for its turn meanwhile would meet it, too."""
        if self.quota is not None:
            raise copy.copy(self.quota)

    def _apply_replies(
        self, load: Sequence[PendingProgram], replies: Sequence[SubmissionReply], generation: int
    ) -> Sequence[PendingProgram]:
        """Settle each program by its reply. Returns those to be sent again after a pause."""
        again, accepted = [], 0
        limit: RateLimitedError | None = None
        for pending, reply in zip(load, replies, strict=True):
            if isinstance(reply, JobSnapshot):
                self._settle(pending, self._job_from(reply))
                accepted += 1
            elif isinstance(reply, RateLimitedError):
                limit = reply
            elif reply is not None and self._may_retry(pending, reply):
                again.append(pending)
            elif reply is not None:
                self._apply_failure([pending], reply, generation, is_own=True)
        if accepted:
            self._window.widen(generation, accepted)
        if limit is not None:
            self._apply_failure(load, limit, generation, is_own=True)
        return again

    def _may_retry(self, pending: PendingProgram, error: RequestFailedError) -> bool:
        """Decide for one item of a response what the transport decides for a whole one."""
        request = pending.request
        if request is None:
            return False
        request.attempts += 1
        error.attempts = request.attempts
        is_last = request.attempts % self._retry.attempts == 0
        return not is_last and may_retry(error, idempotent=self._capabilities.honours_keys)

    def _pause(self, load: Sequence[PendingProgram]) -> float:
        attempts = max(pending.request.attempts for pending in load if pending.request is not None)
        return self._retry.pause(attempts % self._retry.attempts) or 0.0

    def _apply_failure(
        self, load: Sequence[PendingProgram], error: Exception, generation: int, *, is_own: bool
    ) -> None:
        """
        Apply an error that means the same for each of these programs. ``is_own``: it may be about these programs only. Any other,
        such as a bug or a setting that cannot be used, stops the stream: it would burn the programs of a large source one by one.
        """
        if isinstance(error, RateLimitedError) and error.is_quota:
            self.is_halted, self.quota = True, error
        elif isinstance(error, RateLimitedError):
            self.is_halted = True
            pause = self._window.narrow(generation, anyio.current_time(), error.retry_after)
            message = "at most %d unfinished jobs from now on, next submission in %.1f s: %s"
            logger.info(message, self._window.size, pause, error)
        elif not is_own or _would_repeat(error):
            self.is_halted, self.error = True, error
            if not isinstance(error, SFJobsError | ConnectionClosedError):
                self._settle_delivered(load, error)
        elif not isinstance(error, SFJobsError):  # of a program object, or a bug: its traceback is needed
            for pending in load:
                self._settle(pending, error)
        elif not self._is_left_to_the_next_step(error):
            # The frames in its traceback would live as long as the refusal.
            error = error.with_traceback(None)
            if is_lasting(error.__cause__):  # these programs are unknown, and no others are sent
                self.is_halted, self.error = True, error.__cause__
            for pending in load:
                self._settle(pending, error if len(load) == 1 else copy.copy(error))

    def _settle_delivered(self, load: Sequence[PendingProgram], error: Exception) -> None:
        """Send none of these again that the platform may have: a second job could come of it."""
        for pending in load:
            request = pending.request
            if request is not None and request.in_flight and not self._capabilities.honours_keys:
                self._settle(pending, self._submitter.unknown_error(request, f"{type(error).__name__}: {error}"))

    def _is_left_to_the_next_step(self, error: Exception) -> bool:
        """Return whether only the cancellation of this step ended the attempts, and the next can go on with the same key."""
        if not self._is_cut_short or not self._capabilities.honours_keys or not isinstance(error, RequestFailedError):
            return False
        return isinstance(error, SubmissionUnknownError) or may_retry(error, idempotent=True)


def is_lasting(error: BaseException | None) -> TypeGuard[ProtocolError]:
    """Return whether an error comes again until a setting is changed, such as that of a redirect."""
    return isinstance(error, ProtocolError) and error.is_lasting


def _would_repeat(error: Exception) -> bool:
    """Return whether the next submission would fail the same way, and this one did not arrive."""
    if isinstance(error, RequestFailedError) and not error.sent:
        return True
    if is_lasting(error):  # the platform knows the key of a program that it may have
        return True
    if isinstance(error, ResponseError) and error.status_code == 503:
        return True
    if isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES:
        return True
    return isinstance(error, _ABOUT_ALL_PROGRAMS)
