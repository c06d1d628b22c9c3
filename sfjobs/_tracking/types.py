"""
The nouns of the poller: how the platform is asked (``StatusSource``) and what it said (``StatusReport``), what is asked about
(``JobHandle``, ``TrackedJob``), how often (``PollInterval``) and what a waiter waits for (``Waiter``). No I/O and no tasks here.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

import anyio

from .._protocol.wire import Known
from ..errors import SFJobsError
from ..models import Cursor, JobSnapshot, JobStatus

Outcome: TypeAlias = JobSnapshot | SFJobsError


def in_words(error: SFJobsError) -> str:
    """An error as one line. The error itself would keep alive the frames that it went through."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


@dataclass(frozen=True, slots=True)
class StatusReport:
    """
    What the platform said of some jobs; those that it left out are left out. All that changed up to ``cursor``, a place in the
    platform's change feed, is in it.
    """

    snapshots: Mapping[str, JobSnapshot]
    cursor: Cursor | None = None


class StatusSource(Protocol):
    """
    One way to ask: at most ``batch`` ids a call. Where nothing has changed, the snapshot that is ``known`` comes back itself.
    """

    @property
    def batch(self) -> int: ...

    async def ask(self, ids: Sequence[str], known: Known) -> StatusReport: ...


class NoListError(Exception):
    """The platform shows no list of jobs: each has to be asked about by itself. Never leaves the poller."""


class JobHandle(Protocol):
    """
    What the poller needs of a job handle. Times and place are facts about the job, so they outlive any waiter, and so does the
    ``trouble`` with the last question.
    """

    first_seen: float | None
    asked_at: float | None
    cursor: Cursor | None
    trouble: str | None

    @property
    def id(self) -> str: ...

    @property
    def snapshot(self) -> JobSnapshot: ...

    def take(self, snapshot: JobSnapshot, at: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PollInterval:
    """
    A job is asked about again after a tenth of the time it has been watched, within bounds in seconds, plus up to a tenth of
    jitter: you hear within 10 % of how long you have waited, and questions grow with the logarithm of time.
    """

    share: float = 0.1
    least: float = 0.5
    most: float = 30.0
    jitter: float = 0.1

    def interval(self, watched: float, draw: Callable[[], float] = random.random) -> float:
        """Seconds until the next question about a job watched for ``watched`` seconds."""
        return min(max(self.share * watched, self.least), self.most) * (1 + self.jitter * draw())


@dataclass(slots=True, eq=False)
class TrackedJob:
    """
    One job that somebody waits for. ``entry`` is its place in the agenda, None while it has none. What is known of it holds up
    to ``cursor``, and the change feed has been listened to for it from ``listened_from`` on, None when it is not.
    """

    job_id: str
    since: float
    due: float
    entry: int | None = None
    waiters: list[Waiter] = field(default_factory=list)
    snapshot: JobSnapshot | None = None
    cursor: Cursor | None = None
    listened_from: Cursor | None = None
    misses: int = 0
    failing_since: float | None = None
    trouble: str | None = None

    @property
    def is_wanted(self) -> bool:
        return any(waiter.is_waiting for waiter in self.waiters)

    @property
    def is_covered(self) -> bool:
        """Whether the change feed tells all that is not known of it yet."""
        return self.listened_from is not None and self.cursor is not None and self.cursor.covers(self.listened_from)


@dataclass(frozen=True, slots=True, kw_only=True)
class PollOutlook:
    """
    What is ahead for one job: ``due`` is when the next question about it is, in the loop's time, minus infinity while one is
    under way, None when nobody waits for it; ``trouble`` is what went wrong with the last question, None when it was answered,
    and ``failing_since`` when the first was not answered of those since the last answer. With ``is_told`` the platform tells of
    the job by itself, and the question only verifies that.
    """

    due: float | None = None
    trouble: str | None = None
    failing_since: float | None = None
    is_told: bool = False


class Waiter:
    """
    What one waiter waits for: some jobs, their outcomes as they come, and where it can be woken. ``news`` are the ids of
    outcomes in the order of their coming, for whoever takes them one by one; ``passed_over`` are watches that came up while
    nobody waited. With ``wants_changes``, ``changes`` has each subject that has changed since they were last taken, with the
    status that it had then and when it was last heard of. ``on_outcome`` is told each outcome at once, and must not raise.
    """

    def __init__(self, subjects: Iterable[JobHandle], *, wants_changes: bool = False) -> None:
        self.subjects: dict[str, tuple[JobHandle, ...]] = {}
        for subject in subjects:
            self.subjects[subject.id] = (*self.subjects.get(subject.id, ()), subject)
        self.pending = set(self.subjects)
        self.outcomes: dict[str, Outcome] = {}
        self.news: deque[str] = deque()
        self.wants_changes = wants_changes
        self.changes: dict[JobHandle, tuple[JobStatus, datetime]] = {}
        self.on_outcome: Callable[[str, Outcome], None] | None = None
        self.passed_over: list[TrackedJob] = []
        self.need = 0
        self.deadline = float("inf")
        self.is_waiting = False
        self.error: Exception | None = None
        self.wake = anyio.Event()

    @property
    def is_settled(self) -> bool:
        return len(self.outcomes) >= self.need or self.error is not None or bool(self.changes)

    def settle(self, job_id: str, outcome: Outcome) -> None:
        if job_id in self.pending:
            self.pending.discard(job_id)
            self.outcomes[job_id] = outcome
            self.news.append(job_id)
            if self.on_outcome is not None:
                self.on_outcome(job_id, outcome)
            if self.is_settled:
                self.wake.set()

    def note(self, subject: JobHandle, before: JobSnapshot) -> None:
        """``subject`` knows more than ``before``."""
        if self.wants_changes and subject.snapshot.is_news_after(before):
            status = self.changes[subject][0] if subject in self.changes else before.status
            self.changes[subject] = status, datetime.now(UTC)
            self.wake.set()

    def fail(self, error: Exception) -> None:
        self.error = self.error or error
        self.wake.set()
