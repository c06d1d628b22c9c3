"""Counts jobs by status. Pure: reads the snapshots of handles, sends no request, and gets the time as an argument."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from typing import NamedTuple, Protocol

from ..models import JobOutlook, JobSnapshot, JobStatus
from .eta import MAX_DURATIONS, TimeEstimator


class Tracked(Protocol):
    """What is read of a job handle. ``asked_at`` is the time of its last snapshot, by the clock of ``Tally.snapshot``."""

    asked_at: float | None

    @property
    def id(self) -> str: ...

    @property
    def snapshot(self) -> JobSnapshot: ...

    @property
    def has_result(self) -> bool: ...

    def why(self) -> JobOutlook: ...


class Phase(IntEnum):
    """The phases of a wait for many jobs."""

    QUEUED = 0
    RUNNING = 1
    FETCHING = 2
    ENDED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """
    The progress of many jobs at one moment. ``queued`` and ``running`` exclude jobs that are being cancelled; ``unpolled`` jobs
    are known by their ids only; ``fetching`` counts results. ``rate`` is in jobs per second and ``left`` in seconds, None without
    an estimate; ``elapsed`` is in seconds. ``trouble`` is the error of the last poll, None after a success.
    """

    total: int
    complete: int = 0
    failed: int = 0
    cancelled: int = 0
    running: int = 0
    queued: int = 0
    cancelling: int = 0
    unpolled: int = 0
    fetching: int = 0
    rate: float | None = None
    left: float | None = None
    elapsed: float = 0.0
    trouble: str | None = None

    @property
    def ended(self) -> int:
        return self.complete + self.failed + self.cancelled

    @property
    def phase(self) -> Phase:
        if self.ended == self.total:
            return Phase.FETCHING if self.fetching else Phase.ENDED
        return Phase.RUNNING if self.ended or self.running else Phase.QUEUED


class Tally:
    """
    Counts the same jobs again and again. A job that has ended is not looked at again, except with ``fetches`` until its result is
    there. Jobs that ended before the tally began show how long a job takes, but not the rate at which jobs end now.
    """

    def __init__(self, jobs: Iterable[Tracked], now: float, *, fetches: bool = False) -> None:
        handles: dict[str, Tracked] = {}
        for job in jobs:
            if job.id not in handles or job.snapshot.status.is_final:
                handles[job.id] = job
        self._total = len(handles)
        self._stale: Sequence[Tracked] = list(handles.values())  # not polled since the tally began
        self._unfinished: Sequence[Tracked] = []
        self._unfetched: Sequence[Tracked] = []
        self._fetches = fetches
        self._is_rated = False
        self._complete = self._failed = self._cancelled = 0
        self._began = now
        self._estimator = TimeEstimator(now)

    def snapshot(self, now: float) -> Progress:
        """Return the progress at the time ``now``."""
        polled, stale = _sorted(self._unfinished), _sorted(self._stale)
        self._add_ended(stale.ended)
        self._add_ended(polled.ended)
        # From here on an end of these is an end during this tally.
        fresh = {id(job) for job in stale.unfinished if job.asked_at is not None and job.asked_at >= self._began}
        self._unfinished, self._stale = polled.unfinished, stale.unfinished
        if fresh:
            self._unfinished = [*self._unfinished, *(job for job in self._stale if id(job) in fresh)]
            self._stale = [job for job in self._stale if id(job) not in fresh]
        self._unfetched = [job for job in self._unfetched if not job.has_result]
        running, cancelling = polled.running + stale.running, polled.cancelling + stale.cancelling
        self._estimator.add_endings(now, len(polled.ended))
        if not self._is_rated:
            # The time in the queue before the first job runs shows nothing of the rate, and few of the jobs not much.
            self._estimator.restart(now)
            self._is_rated = len(self._stale) <= self._total / 10 and bool(running or polled.ended)
        unpolled = sum(job.asked_at is None for job in self._stale)
        unfinished = len(self._unfinished) + len(self._stale)
        has_estimate = self._is_rated and unfinished > 0
        # They are polled together, so the error of one stands for all.
        one = next(chain(self._unfinished, self._stale, self._unfetched), None)
        return Progress(
            total=self._total,
            complete=self._complete,
            failed=self._failed,
            cancelled=self._cancelled,
            running=running,
            queued=max(unfinished - unpolled - running - cancelling, 0),
            cancelling=cancelling,
            unpolled=unpolled,
            fetching=len(self._unfetched),
            rate=self._estimator.rate(now) if has_estimate else None,
            left=self._estimator.left(now, unfinished, running) if has_estimate else None,
            elapsed=now - self._began,
            trouble=None if one is None else one.why().last_error,
        )

    def _add_ended(self, ended: Sequence[Tracked]) -> None:
        complete = [job for job in ended if job.snapshot.status is JobStatus.COMPLETED]
        failed = sum(job.snapshot.status is JobStatus.FAILED for job in ended)
        self._complete += len(complete)
        self._failed += failed
        self._cancelled += len(ended) - len(complete) - failed
        self._estimator.add_durations(_durations(ended[-MAX_DURATIONS:]))
        if self._fetches:
            self._unfetched = [*self._unfetched, *complete]


class _Sorted(NamedTuple):
    unfinished: Sequence[Tracked]
    ended: Sequence[Tracked]
    running: int
    cancelling: int


def _sorted(jobs: Sequence[Tracked]) -> _Sorted:
    # Runs over ten thousand jobs at each update. Members of an enum hash and compare in Python; ``is`` does not.
    cancel_pending = JobStatus.CANCEL_PENDING
    complete, failed, cancelled = JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED
    ended: list[Tracked] = []
    running = cancelling = 0
    for job in jobs:
        snapshot = job.snapshot
        status = snapshot.status
        if status is complete or status is failed or status is cancelled:
            ended.append(job)
        elif status is cancel_pending:
            cancelling += 1
        elif snapshot.started_at is not None:
            running += 1
    gone = {id(job) for job in ended}
    unfinished = [job for job in jobs if id(job) not in gone] if gone else jobs
    return _Sorted(unfinished, ended, running, cancelling)


def _durations(ended: Sequence[Tracked]) -> Iterator[float]:
    for job in ended:
        snapshot = job.snapshot
        if snapshot.started_at is not None and snapshot.finished_at is not None:
            yield max((snapshot.finished_at - snapshot.started_at).total_seconds(), 0.0)
        elif snapshot.running_time is not None:
            yield snapshot.running_time
