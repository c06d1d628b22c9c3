"""Cancellations on their way: of many jobs, a few at a time. ``groups`` waits for what comes of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import anyio

from .._util.aio import plain_task_group
from ..errors import AuthenticationError, RequestFailedError, SFJobsError
from .job import Job

AT_ONCE = 32
"""Cancellations sent at the same time for one group of jobs."""


class BulkCancellation:
    """
    Asks for the end of each of ``jobs`` that is not known to have ended; if need be until it comes through, with ``insists``.
    ``errors`` is what went wrong with some of them, by id.
    """

    def __init__(self, jobs: Iterable[Job], *, insists: bool) -> None:
        self._handles: dict[str, list[Job]] = {}
        for job in jobs:
            self._handles.setdefault(job.id, []).append(job)
        self._left = deque(
            job_id for job_id, same in self._handles.items() if not any(job.status.is_final for job in same)
        )
        self._insists = insists
        self._stopped_by: list[Exception] = []
        self.errors: dict[str, SFJobsError] = {}

    async def send(self) -> None:
        """Returns when each is asked for. Raises what each of them would meet."""
        async with plain_task_group() as group:
            for _ in range(min(len(self._left), AT_ONCE)):
                group.start_soon(self._work)
        if self._stopped_by:
            raise self._stopped_by[0]

    async def _work(self) -> None:
        while self._left:
            job, *others = self._handles[self._left.popleft()]
            try:
                await job.request_cancel(insists=self._insists)
            except SFJobsError as error:
                if _lets_nothing_through(error):
                    self._stop(error)
                self.errors[job.id] = error
            except Exception as error:  # noqa: BLE001 - raised outside the group, which would wrap it in one of its own
                self._stop(error)
            else:
                for other in others:
                    other.take(job.snapshot, anyio.current_time())

    def _stop(self, error: Exception) -> None:
        self._left.clear()
        self._stopped_by.append(error)


def _lets_nothing_through(error: SFJobsError) -> bool:
    """Whether every other cancellation would fail the same way."""
    return isinstance(error, AuthenticationError) or (isinstance(error, RequestFailedError) and not error.sent)
