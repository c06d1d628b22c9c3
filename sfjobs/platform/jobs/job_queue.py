"""
Which of the waiting jobs runs next: one of the account with the least use; of its jobs one with the highest priority; of these
the oldest. A target that is paused, or never runs, does not hold up jobs for other targets.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Final

from ..records import MAX_PRIORITY, QueuedJob
from .fair_share import FairShare

_SEQUENCE_BITS: Final = 48
_SEQUENCE_MASK: Final = (1 << _SEQUENCE_BITS) - 1


def _order(job: QueuedJob) -> int:
    """Return a number that is smaller for jobs that run earlier, among those of one account."""
    return (MAX_PRIORITY - job.priority) << _SEQUENCE_BITS | job.sequence


class JobQueue:
    """
    The waiting jobs, and those that have a slot. ``runs`` tells whether a target runs jobs now. ``running_limit`` is the number
    of slots that one account may have at the same time; None for no limit.
    """

    def __init__(self, share: FairShare, runs: Callable[[str], bool], *, running_limit: int | None = None) -> None:
        self._share = share
        self._runs = runs
        self._running_limit = running_limit
        self._jobs: dict[int, QueuedJob] = {}
        self._lines: dict[str, dict[str, _Line]] = {}  # by account and target, none of them empty

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: QueuedJob) -> None:
        """Let a job wait."""
        self._jobs[job.sequence] = job
        self._lines.setdefault(job.account, {}).setdefault(job.target, _Line()).add(_order(job))

    def remove(self, sequence: int) -> QueuedJob | None:
        """Take a job out of the queue. None if it does not wait."""
        if (job := self._jobs.pop(sequence, None)) is None:
            return None
        lines = self._lines[job.account]
        line = lines[job.target]
        line.remove(_order(job))
        if not line:
            del lines[job.target]
            if not lines:
                del self._lines[job.account]
        return job

    def has_next(self) -> bool:
        """Return whether a job may run now, if it gets a slot."""
        return any(
            self._may_start(account) and self._first(lines) is not None for account, lines in self._lines.items()
        )

    def start_next(self) -> QueuedJob | None:
        """Take out the job that runs next, and give it a slot. None if none may run."""
        candidates = [
            (self._rank(account), order & _SEQUENCE_MASK)
            for account, lines in self._lines.items()
            if self._may_start(account) and (order := self._first(lines)) is not None
        ]
        if not candidates:
            return None
        _, sequence = min(
            candidates
        )  # the oldest of accounts with the same use: a priority counts within its account alone
        job = self.remove(sequence)
        assert job is not None
        self._share.start(job.account, job.id, job.target)
        return job

    def position(self, sequence: int) -> int | None:
        """
        Return the place of a job, counted from 1: how many jobs start up to it, itself included, if the accounts go on taking
        turns. None if it does not wait. Where its target runs no jobs, its place among those of its account for this target.
        """
        if (job := self._jobs.get(sequence)) is None:
            return None
        lines = self._lines[job.account]
        if not self._runs(job.target):
            return lines[job.target].count_below(_order(job)) + 1
        own = 1 + sum(line.count_below(_order(job)) for target, line in lines.items() if self._runs(target))
        rank = self._rank(job.account)
        return own + sum(
            min(self._count(others), own if self._rank(account) < rank else own - 1)
            for account, others in self._lines.items()
            if account != job.account
        )

    def limit_reason(self, account: str) -> str | None:
        """Return why the jobs of an account wait although slots may be free, or None."""
        if self._may_start(account):
            return None
        return f"{self._running_limit} jobs of the account run, which is the most that may run at the same time"

    def _may_start(self, account: str) -> bool:
        return self._running_limit is None or self._share.count_running(account) < self._running_limit

    def _rank(self, account: str) -> tuple[float, int]:
        return self._share.use(account), self._share.count_running(account)

    def _first(self, lines: dict[str, _Line]) -> int | None:
        return min((line.first for target, line in lines.items() if self._runs(target)), default=None)

    def _count(self, lines: dict[str, _Line]) -> int:
        return sum(len(line) for target, line in lines.items() if self._runs(target))


class _Line:
    """Sorted numbers. Taking out the smallest and adding the largest, which are the usual cases, cost the same for any length."""

    __slots__ = ("_head", "_orders")

    def __init__(self) -> None:
        self._orders: list[int] = []
        self._head = 0  # those before it have been taken out

    def __len__(self) -> int:
        return len(self._orders) - self._head

    @property
    def first(self) -> int:
        return self._orders[self._head]

    def add(self, order: int) -> None:
        insort(self._orders, order, lo=self._head)

    def remove(self, order: int) -> None:
        index = bisect_left(self._orders, order, lo=self._head)
        if index > self._head:
            del self._orders[index]
            return
        self._head += 1
        if self._head > len(self._orders) // 2:
            del self._orders[: self._head]
            self._head = 0

    def count_below(self, order: int) -> int:
        return bisect_left(self._orders, order, lo=self._head) - self._head
