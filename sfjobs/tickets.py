"""
The nouns of the poller: who asks (``Inquirer``), what is asked about (``Subject``, ``Watch``), how often (``Cadence``) and
what a waiter waits for (``Ticket``). No I/O and no tasks here; ``poller`` moves them.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import anyio

from .errors import SFJobsError
from .models import JobSnapshot

Outcome: TypeAlias = JobSnapshot | SFJobsError


def in_words(error: SFJobsError) -> str:
    """An error as one line. The error itself would keep alive the frames that it went through."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


class Inquirer(Protocol):
    """How the platform is asked: at most ``batch`` ids a request. Ids that the platform leaves out are left out."""

    @property
    def batch(self) -> int: ...

    async def ask(self, ids: Sequence[str]) -> Mapping[str, JobSnapshot]: ...

    async def ask_one(self, job_id: str) -> JobSnapshot: ...


class Subject(Protocol):
    """What the poller needs of a job handle. The two times are facts about the job, so they outlive any ticket."""

    first_seen: float | None
    asked_at: float | None

    @property
    def id(self) -> str: ...

    @property
    def snapshot(self) -> JobSnapshot: ...

    def take(self, snapshot: JobSnapshot, at: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """
    A job is asked about again after a tenth of the time it has been watched, within bounds in seconds, plus up to a tenth of
    jitter: you hear within 10 % of how long you have waited, and questions grow with the logarithm of time.
    """

    share: float = 0.1
    least: float = 0.5
    most: float = 30.0
    jitter: float = 0.1
    patience: float = 60.0

    def interval(self, watched: float, draw: Callable[[], float] = random.random) -> float:
        """Seconds until the next question about a job watched for ``watched`` seconds."""
        return min(max(self.share * watched, self.least), self.most) * (1 + self.jitter * draw())


@dataclass(slots=True, eq=False)
class Watch:
    """One job that somebody waits for. ``entry`` is its place in the agenda, None while it has none."""

    job_id: str
    since: float
    due: float
    entry: int | None = None
    tickets: list[Ticket] = field(default_factory=list)
    misses: int = 0
    failing_since: float | None = None
    trouble: str | None = None

    @property
    def is_wanted(self) -> bool:
        return any(ticket.is_waiting for ticket in self.tickets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """
    What is ahead for one job: ``due`` is when the next question about it is, in the loop's time, minus infinity while one is
    under way, None when nobody waits for it; ``trouble`` is what went wrong with the last question, None when it was answered.
    """

    due: float | None = None
    trouble: str | None = None


class Ticket:
    """
    What one waiter waits for: some jobs, their outcomes as they come, and where it can be woken. ``news`` are the ids of
    outcomes in the order of their coming, for whoever takes them one by one; ``passed_over`` are watches that came up while
    nobody waited.
    """

    def __init__(self, subjects: Iterable[Subject]) -> None:
        self.subjects: dict[str, list[Subject]] = {}
        for subject in subjects:
            self.subjects.setdefault(subject.id, []).append(subject)
        self.pending = set(self.subjects)
        self.outcomes: dict[str, Outcome] = {}
        self.news: deque[str] = deque()
        self.passed_over: list[Watch] = []
        self.need = 0
        self.deadline = float("inf")
        self.is_waiting = False
        self.error: Exception | None = None
        self.wake = anyio.Event()

    @property
    def is_settled(self) -> bool:
        return self.error is not None or len(self.outcomes) >= self.need

    def settle(self, job_id: str, outcome: Outcome) -> None:
        if job_id in self.pending:
            self.pending.discard(job_id)
            self.outcomes[job_id] = outcome
            self.news.append(job_id)
            if self.is_settled:
                self.wake.set()

    def fail(self, error: Exception) -> None:
        self.error = self.error or error
        self.wake.set()
