"""
What happens to jobs, as it happens: what ``Connection.events`` iterates over. Between two steps it holds no task, no scope and
no request; what happened meanwhile is told once for each job, so that a slow consumer neither slows the poller nor piles up
events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Self, TypeVar

import anyio

from .._tracking.poller import Poller
from .._tracking.types import Waiter
from .._util.aio import Closeable
from ..errors import SFJobsError, WaitTimeoutError
from ..models import JobStatus
from .job import Job

JobT = TypeVar("JobT")


@dataclass(frozen=True, slots=True)
class JobEvent(Generic[JobT]):
    """
    ``job`` went from ``old`` to ``new``, or, with both ``queued``, has begun to run. ``at`` is the platform's time of it, None
    where it does not say, ``seen_at`` this machine's. Several changes between two steps are one event.
    """

    job: JobT
    old: JobStatus
    new: JobStatus
    at: datetime | None
    seen_at: datetime


class Events(Closeable):
    """
    Iterates over what happens to ``jobs`` until all of them have ended. May be abandoned, cancelled and gone on with at any
    step. Raises what ended the asking about one job in its turn, and goes on with the others after that.
    """

    # Also for a finalizer that runs although the constructor failed.
    _ticket: Waiter | None = None

    def __init__(self, poller: Poller, jobs: Iterable[Job], timeout: float | None = None) -> None:
        self._poller = poller
        self._jobs = dict.fromkeys(jobs)
        if any(job.connection.poller is not poller for job in self._jobs):
            raise ValueError("these jobs belong to another connection")
        self._timeout = timeout
        self._deadline: float | None = None
        self._ready: deque[JobEvent[Job] | SFJobsError] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JobEvent[Job]:
        if self._deadline is None:
            self._deadline = float("inf") if self._timeout is None else anyio.current_time() + self._timeout
        with anyio.CancelScope(deadline=self._deadline) as scope:
            await self._fill()
        if scope.cancelled_caught:
            await self.aclose()
            raise self._too_late()
        if not self._ready:
            raise StopAsyncIteration
        event = self._ready.popleft()
        if isinstance(event, SFJobsError):
            raise event
        return event

    async def aclose(self) -> None:
        """Stops asking about the jobs that are left."""
        if self._ticket is not None:
            self._poller.leave(self._ticket)

    def __del__(self) -> None:
        if self._ticket is not None:
            self._poller.abandon(self._ticket)

    async def _fill(self) -> None:
        if self._ticket is None:
            self._ticket = self._poller.join(self._jobs, wants_changes=True)
            self._ticket.news.clear()  # those had ended before
        waiter = self._ticket
        while not self._ready and (waiter.pending or waiter.changes or waiter.news):
            if not waiter.changes and not waiter.news:
                try:
                    await self._poller.wait_for(waiter, len(waiter.outcomes) + 1)
                except Exception:
                    await self.aclose()
                    raise
            self._take(waiter)

    def _take(self, waiter: Waiter) -> None:
        for subject, (old, seen_at) in waiter.changes.items():
            assert isinstance(subject, Job), "nothing else was joined"
            self._ready.append(JobEvent(subject, old, subject.status, _platform_time(subject), seen_at))
        waiter.changes.clear()
        while waiter.news:
            outcome = waiter.outcomes[waiter.news.popleft()]
            if isinstance(outcome, SFJobsError):
                self._ready.append(outcome)

    def _too_late(self) -> WaitTimeoutError:
        done = tuple(job.id for job in self._jobs if job.status.is_final)
        pending = tuple(job.id for job in self._jobs if not job.status.is_final)
        return WaitTimeoutError(
            f"after {self._timeout:g} s {len(done)} of {len(self._jobs)} jobs have ended; the others go on",
            done=done,
            pending=pending,
        )


def _platform_time(job: Job) -> datetime | None:
    if job.status.is_final:
        return job.finished_at
    if job.status == JobStatus.CANCEL_PENDING:
        return None
    return job.started_at or (job.created_at if job.status == JobStatus.OPEN else None)
