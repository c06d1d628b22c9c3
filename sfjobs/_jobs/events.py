"""What ``Connection.events`` iterates over: the changes of jobs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from .._tracking.poller import Poller
from .._tracking.types import Waiter
from ..errors import SFJobsError
from ..models import JobStatus
from .iteration import JobIteration
from .job import Job, state_of
from .job_state import JobState

JobT = TypeVar("JobT")


@dataclass(frozen=True, slots=True)
class JobEvent(Generic[JobT]):
    """
    A change of a job from status ``old`` to ``new``; where both are ``queued``, the job has begun to run.

    ``at`` is the platform's time of the change, None where it reports none. ``seen_at`` is this machine's time. Several changes
    between two steps of the iteration are one event.
    """

    job: JobT
    old: JobStatus
    new: JobStatus
    at: datetime | None
    seen_at: datetime


class Events(JobIteration):
    """
    An iteration over the changes of jobs, until all have ended.

    An error that ends the polling of one job is raised in its turn; the next step continues with the others.
    """

    def __init__(self, poller: Poller, jobs: Iterable[Job], timeout: float | None = None) -> None:
        super().__init__(dict.fromkeys(jobs), timeout)
        self._poller: Poller = poller
        self._job_of = {state_of(job): job for job in self._jobs}
        if any(state.session.poller is not poller for state in self._job_of):
            raise ValueError("these jobs belong to another connection")
        self._ready: deque[JobEvent[Job] | SFJobsError] = deque()

    async def __anext__(self) -> JobEvent[Job]:
        await self._step()
        if not self._ready:
            raise StopAsyncIteration
        event = self._ready.popleft()
        if isinstance(event, SFJobsError):
            raise event
        return event

    async def _fill(self) -> None:
        waiter = self._waiter
        if waiter is None:
            waiter = self._waiter = self._poller.join(self._job_of, wants_changes=True)
            waiter.news.clear()  # these jobs had ended before
            self._done.update(waiter.outcomes)
        while not self._ready and (waiter.pending or waiter.changes or waiter.news):
            if not waiter.changes and not waiter.news:
                await self._wait_for_one(self._poller, waiter)
            self._collect(waiter)

    def _collect(self, waiter: Waiter) -> None:
        for state, (old, seen_at) in waiter.changes.items():
            assert isinstance(state, JobState), "no other handle was joined"
            self._ready.append(JobEvent(self._job_of[state], old, state.status, _platform_time(state), seen_at))
            if state.status.is_final:
                self._done.add(state.id)
        waiter.changes.clear()
        while waiter.news:
            outcome = waiter.outcomes[waiter.news.popleft()]
            if isinstance(outcome, SFJobsError):
                self._ready.append(outcome)


def _platform_time(state: JobState) -> datetime | None:
    snapshot = state.snapshot
    if snapshot.status.is_final:
        return snapshot.finished_at
    if snapshot.status == JobStatus.CANCEL_PENDING:
        return None
    return snapshot.started_at or (snapshot.created_at if snapshot.status == JobStatus.OPEN else None)
