"""
The values and interfaces of the poller: ``StatusSource`` and ``StatusReport`` for requests, ``JobHandle`` and ``TrackedJob`` for
jobs, ``PollInterval`` for times, ``Waiter`` for callers. No I/O and no tasks.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

import anyio

from .._protocol.wire import Known
from ..errors import ProtocolError, SFJobsError
from ..models import Cursor, JobSnapshot, JobStatus

logger = logging.getLogger("sfjobs")

Outcome: TypeAlias = JobSnapshot | SFJobsError
"""The final snapshot of a job, or the error that ended its polling."""


def in_words(error: SFJobsError) -> str:
    """Return an error as one line. The error itself would keep alive the frames of its traceback."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


@dataclass(frozen=True, slots=True)
class StatusReport:
    """
    The snapshots in one response; a job that the response left out is missing. They hold up to ``cursor``. ``unreadable`` has
    the jobs with a record that cannot be read: with the error of a poll of that job alone, None for a record in a list.
    """

    snapshots: Mapping[str, JobSnapshot]
    cursor: Cursor | None = None
    unreadable: Mapping[str, ProtocolError | None] = field(default_factory=dict)


class StatusSource(Protocol):
    """
    The polls: ``query`` for at most ``batch_limit`` jobs, ``query_single`` for one. ``known`` returns the latest snapshot of a
    job; the report has that very object where nothing has changed.
    """

    @property
    def batch_limit(self) -> int: ...

    async def query(self, ids: Sequence[str], known: Known) -> StatusReport | None: ...

    async def query_single(self, job_id: str, known: Known) -> StatusReport: ...


class JobHandle:
    """
    What is known of one job, kept from one wait to the next: its latest snapshot, and when and how the last poll ended.

    ``first_seen`` and ``asked_at`` are times of the event loop. ``cursor`` is the place in the change feed up to which the
    snapshot holds. ``trouble`` is the error of the last request about the job, None after a success.
    """

    __slots__ = ("asked_at", "cursor", "first_seen", "snapshot", "trouble")

    def __init__(self, snapshot: JobSnapshot) -> None:
        self.snapshot = snapshot
        self.first_seen: float | None = None
        self.asked_at: float | None = None
        self.cursor: Cursor | None = None
        self.trouble: str | None = None

    @property
    def id(self) -> str:
        return self.snapshot.id

    def apply(self, snapshot: JobSnapshot, at: float) -> None:
        """Apply a snapshot that was received ``at`` this time, unless it is older than the present one."""
        self.asked_at = at
        self.trouble = None
        if self.first_seen is None:
            self.first_seen = at
        if snapshot is self.snapshot or snapshot.is_behind(self.snapshot):
            return
        if snapshot.status != self.snapshot.status:
            logger.info("job %s: %s -> %s", self.id, self.snapshot.status.value, snapshot.status.value)
        self.snapshot = snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class PollInterval:
    """
    Time between two polls of one job, in seconds: ``share`` of the time since it was first seen, from ``least`` to ``most``, and
    up to ``jitter`` times as much on top. So a change is seen within 10 % of the time waited, and the number of polls grows
    with the logarithm of time.
    """

    share: float = 0.1
    least: float = 0.5
    most: float = 30.0
    jitter: float = 0.1

    def interval(self, age: float, draw: Callable[[], float] = random.random) -> float:
        """Return the seconds until the next poll of a job that was first seen ``age`` seconds ago."""
        return min(max(self.share * age, self.least), self.most) * (1 + self.jitter * draw())


@dataclass(slots=True, eq=False)
class TrackedJob:
    """
    A job with at least one waiter. ``queue_entry`` is its entry in the poll queue, None while it is being polled or has no
    waiter that waits. ``snapshot`` holds up to ``cursor``; the change feed is read for this job from ``feed_start`` on.
    """

    job_id: str
    first_seen: float
    due: float
    queue_entry: int | None = None
    waiters: list[Waiter] = field(default_factory=list)
    snapshot: JobSnapshot | None = None
    cursor: Cursor | None = None
    feed_start: Cursor | None = None
    misses: int = 0
    unreadable: int = 0
    failing_since: float | None = None
    trouble: str | None = None

    @property
    def is_wanted(self) -> bool:
        return any(waiter.is_waiting for waiter in self.waiters)

    @property
    def is_covered(self) -> bool:
        """Whether the change feed delivers every change after ``snapshot``."""
        return self.feed_start is not None and self.cursor is not None and self.cursor.covers(self.feed_start)


@dataclass(frozen=True, slots=True, kw_only=True)
class PollOutlook:
    """
    The next poll of one job. ``due`` is in the loop's time: minus infinity during a poll, None while no waiter waits. ``trouble``
    is the error of the last poll, None after a success, and ``failing_since`` the time of the first failure in a row. With
    ``is_told`` the change feed delivers the job's changes, and the poll only verifies them.
    """

    due: float | None = None
    trouble: str | None = None
    failing_since: float | None = None
    is_told: bool = False


class Waiter:
    """
    One caller that waits for jobs: their outcomes as they arrive, and an event that wakes the caller. ``news`` are the ids of new
    outcomes in order of arrival. With ``wants_changes``, ``changes`` has each changed handle, with its status before the first
    change and the time of the latest. ``on_outcome`` is called with each outcome and must not raise.
    """

    def __init__(self, handles: Iterable[JobHandle], *, wants_changes: bool = False) -> None:
        self.handles: dict[str, tuple[JobHandle, ...]] = {}
        for handle in handles:
            self.handles[handle.id] = (*self.handles.get(handle.id, ()), handle)
        self.pending = set(self.handles)
        self.outcomes: dict[str, Outcome] = {}
        self.news: deque[str] = deque()
        self.wants_changes = wants_changes
        self.changes: dict[JobHandle, tuple[JobStatus, datetime]] = {}
        self.on_outcome: Callable[[str, Outcome], None] | None = None
        self.unqueued: list[TrackedJob] = []  # to be queued when the caller waits
        self.need = 0
        self.deadline = float("inf")
        self.is_waiting = False
        self.error: Exception | None = None
        self.wake = anyio.Event()

    @property
    def is_settled(self) -> bool:
        return len(self.outcomes) >= self.need or self.error is not None or bool(self.changes)

    def settle(self, job_id: str, outcome: Outcome) -> None:
        """Note the outcome of a job."""
        if job_id in self.pending:
            self.pending.discard(job_id)
            self.outcomes[job_id] = outcome
            self.news.append(job_id)
            if self.on_outcome is not None:
                self.on_outcome(job_id, outcome)
            if self.is_settled:
                self.wake.set()

    def note_change(self, handle: JobHandle, before: JobSnapshot) -> None:
        """Note that the snapshot of ``handle`` is no longer ``before``."""
        if self.wants_changes and handle.snapshot.is_news_after(before):
            status = self.changes[handle][0] if handle in self.changes else before.status
            self.changes[handle] = status, datetime.now(UTC)
            self.wake.set()

    def fail(self, error: Exception) -> None:
        """Wake the caller with ``error``, unless it failed before."""
        self.error = self.error or error
        self.wake.set()
