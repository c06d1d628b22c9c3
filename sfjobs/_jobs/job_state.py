"""What is known of one job. ``Job`` shows it to the caller; the poller applies snapshots to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, cast

import anyio

from .._http.masking import masked_json
from .._tracking.outages import retry_until_available
from .._tracking.types import JobHandle, in_words
from ..errors import SFJobsError
from ..models import JobOutlook, JobSnapshot, JobStatus, JSONValue
from .session import Session

if TYPE_CHECKING:
    from ..results import Result

T = TypeVar("T")


class JobState(JobHandle):
    """The state of one handle: what is known of the job, and its result."""

    __slots__ = ("result", "session")

    def __init__(self, snapshot: JobSnapshot, session: Session) -> None:
        super().__init__(snapshot)
        self.session = session
        self.result: Result | None = None

    def copy(self) -> JobState:
        """Return the state of another handle of this job, which knows the same."""
        copied = JobState(self.snapshot, self.session)
        copied.first_seen, copied.asked_at = self.first_seen, self.asked_at
        copied.cursor, copied.trouble, copied.result = self.cursor, self.trouble, self.result
        return copied

    @property
    def status(self) -> JobStatus:
        return self.snapshot.status

    @property
    def has_result(self) -> bool:
        return self.result is not None

    @property
    def quoted(self) -> JobSnapshot:
        """The snapshot for an error, which shows no secret that the platform repeats."""
        meta = cast("Mapping[str, JSONValue]", masked_json(self.snapshot.meta, self.session.secrets))
        return replace(self.snapshot, meta=meta)

    async def poll(self) -> None:
        """Request the job and apply the response, here and to all waiters."""
        try:
            snapshot = await self.session.api.job(self.id)
        except SFJobsError as error:
            self.trouble = in_words(error)
            raise
        self.apply(snapshot, anyio.current_time())
        self.cursor = snapshot.cursor
        self.session.poller.apply(snapshot)

    async def wait_until_final(self) -> None:
        """Return once the job has ended. Raises the error that ended the polling of this job."""
        poller = self.session.poller
        waiter = poller.join([self])
        try:
            outcomes = await poller.wait_for(waiter)
        finally:
            poller.leave(waiter)
        outcome = outcomes[self.id]
        if isinstance(outcome, SFJobsError):
            self.trouble = in_words(outcome)
            raise outcome

    async def retry(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what ``call`` returns. Transient errors are noted, and retried without a limit."""

        def note(error: SFJobsError) -> None:
            self.trouble = in_words(error)

        return await retry_until_available(call, note, self.session.poller.interval)

    def why(self) -> JobOutlook:
        """Return why the job is not done yet, from what this state, the poller and the rate limiter know."""
        snapshot, poll, now = self.snapshot, self.session.poller.outlook(self.id), _loop_time()
        limit = None if now is None else self.session.api.rate_limit
        position, reason = snapshot.meta.get("queue_position"), snapshot.meta.get("queue_reason")
        return JobOutlook(
            job_id=snapshot.id,
            status=snapshot.status,
            started_at=snapshot.started_at,
            queue_position=position if isinstance(position, int) and not isinstance(position, bool) else None,
            queue_reason=reason if isinstance(reason, str) and reason else None,
            age=_seconds(self.first_seen, now),
            last_check=_seconds(self.asked_at, now),
            last_error=poll.trouble or self.trouble,
            next_check=_seconds(now, poll.due),
            is_told=poll.is_told,
            failing_for=_seconds(poll.failing_since, now),
            resting_for=None if limit is None else _seconds(now, limit.paused_until),
            rate=None if limit is None else limit.rate,
        )


def _loop_time() -> float | None:
    """Return the event loop's time, None where no event loop runs."""
    try:
        return anyio.current_time()
    except RuntimeError:
        return None


def _seconds(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(end - start, 0.0)
