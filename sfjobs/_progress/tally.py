"""How many of some jobs stand where. Pure: reads what the handles have last heard, asks nobody, and takes the time as told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from typing import NamedTuple, Protocol

from ..models import JobOutlook, JobSnapshot, JobStatus
from .eta import HISTORY, TimeEstimator


class Tracked(Protocol):
    """What is read of a job's handle; ``asked_at`` is when it last heard of the job, by the clock of ``Tally``'s ``now``."""

    asked_at: float | None

    @property
    def id(self) -> str: ...

    @property
    def snapshot(self) -> JobSnapshot: ...

    @property
    def has_result(self) -> bool: ...

    def why(self) -> JobOutlook: ...


class Phase(IntEnum):
    """How far all of them are together."""

    QUEUED = 0
    RUNNING = 1
    FETCHING = 2
    ENDED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """
    Where jobs stand at one moment. ``queued`` have not started, ``running`` have, and neither counts those that are being
    cancelled; of ``unheard`` nothing is known yet but their ids; the results of ``fetching`` are on their way. ``rate`` is in
    jobs a second and ``left`` in seconds, None while there is too little to tell by; ``elapsed`` is in seconds. ``trouble`` is
    what is being waited out, None when the last question was answered.
    """

    total: int
    complete: int = 0
    failed: int = 0
    cancelled: int = 0
    running: int = 0
    queued: int = 0
    cancelling: int = 0
    unheard: int = 0
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
    Looks at the same jobs again and again, at those only that have not ended, and with ``fetches`` at those whose results are
    on their way. What jobs did before the tally began tells how long they take, but not how fast they end now.
    """

    def __init__(self, jobs: Iterable[Tracked], now: float, *, fetches: bool = False) -> None:
        handles: dict[str, Tracked] = {}
        for job in jobs:
            if job.id not in handles or job.snapshot.status.is_final:
                handles[job.id] = job
        self._total = len(handles)
        # Of these nobody has heard since, so that they may have ended long ago.
        self._unheard: Sequence[Tracked] = list(handles.values())
        self._unfinished: Sequence[Tracked] = []
        self._unfetched: Sequence[Tracked] = []
        self._fetches = fetches
        self._has_begun = False
        self._complete = self._failed = self._cancelled = 0
        self._began = now
        self._pace = TimeEstimator(now)

    def look(self, now: float) -> Progress:
        """How they stand, with what is known ``now``."""
        lately, before = _sorted(self._unfinished), _sorted(self._unheard)
        self._unfinished, self._unheard = lately.unfinished, before.unfinished
        for ended in (before.ended, lately.ended):
            self._take(ended)
        self._welcome()
        self._unfetched = [job for job in self._unfetched if not job.has_result]
        running, cancelling = lately.running + before.running, lately.cancelling + before.cancelling
        self._pace.note(now, len(lately.ended))
        if not self._has_begun:
            # The time in the queue before the first one runs tells nothing about the pace, and few of the jobs not much.
            self._pace.restart(now)
            self._has_begun = len(self._unheard) <= self._total / 10 and bool(running or lately.ended)
        unheard = sum(job.asked_at is None for job in self._unheard)
        unfinished = len(self._unfinished) + len(self._unheard)
        can_tell = self._has_begun and unfinished > 0
        return Progress(
            total=self._total,
            complete=self._complete,
            failed=self._failed,
            cancelled=self._cancelled,
            running=running,
            queued=max(unfinished - unheard - running - cancelling, 0),
            cancelling=cancelling,
            unheard=unheard,
            fetching=len(self._unfetched),
            rate=self._pace.rate(now) if can_tell else None,
            left=self._pace.left(now, unfinished, running) if can_tell else None,
            elapsed=now - self._began,
            trouble=self._trouble(),
        )

    def _trouble(self) -> str | None:
        # They are asked about together, so one of them can speak for the others.
        one = next(chain(self._unfinished, self._unheard, self._unfetched), None)
        return None if one is None else one.why().last_error

    def _take(self, ended: Sequence[Tracked]) -> None:
        complete = [job for job in ended if job.snapshot.status is JobStatus.COMPLETED]
        failed = sum(job.snapshot.status is JobStatus.FAILED for job in ended)
        self._complete += len(complete)
        self._failed += failed
        self._cancelled += len(ended) - len(complete) - failed
        self._pace.remember(_durations(ended[-HISTORY:]))
        if self._fetches:
            self._unfetched = [*self._unfetched, *complete]

    def _welcome(self) -> None:
        """Those that were heard of and had not ended: whenever they do now, it is an ending of this wait."""
        heard = [job for job in self._unheard if job.asked_at is not None and job.asked_at >= self._began]
        if heard:
            self._unfinished = [*self._unfinished, *heard]
            self._unheard = [job for job in self._unheard if job.asked_at is None or job.asked_at < self._began]


class _Sorted(NamedTuple):
    unfinished: Sequence[Tracked]
    ended: Sequence[Tracked]
    running: int
    cancelling: int


def _sorted(jobs: Sequence[Tracked]) -> _Sorted:
    # Ten thousand jobs are walked through here at each look. Members of an enum hash and compare in Python; ``is`` does not.
    waiting, queued, cancel_pending = JobStatus.OPEN, JobStatus.QUEUED, JobStatus.CANCEL_PENDING
    complete, failed, cancelled = JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED
    ended: list[Tracked] = []
    running = cancelling = 0
    for job in jobs:
        snapshot = job.snapshot
        status = snapshot.status
        if status is queued or status is waiting:
            if snapshot.started_at is not None:
                running += 1
        elif status is complete or status is failed or status is cancelled:
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
