"""
Results on their way: of many jobs, a few at a time, and beside whatever else is going on. They come over connections of their
own, so that no poll waits for them.
"""

from __future__ import annotations

from collections import deque

from anyio.abc import TaskGroup

from ..errors import SFJobsError
from ..models import JobStatus
from .job import Job

AT_ONCE = 32
"""Results fetched at the same time for one group of jobs."""


class ResultPrefetcher:
    """Fetches, in tasks of ``group``, the results of the jobs it is handed. ``errors`` is what went wrong with some of them."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._left: deque[Job] = deque()
        self._working = 0
        self._bugs: list[Exception] = []
        self.errors: dict[Job, SFJobsError] = {}

    def begin(self, job: Job) -> None:
        """Returns at once, and does nothing for a job without a result, or with one that is at hand."""
        if job.status != JobStatus.COMPLETED or job.has_result:
            return
        self._left.append(job)
        if self._working < AT_ONCE:
            self._working += 1
            self._group.start_soon(self._work)

    def raise_for_bugs(self) -> None:
        """What no download should raise, to be raised outside the group, which would wrap it in one of its own."""
        if self._bugs:
            raise self._bugs[0]

    async def _work(self) -> None:
        while self._left:
            job = self._left.popleft()
            try:
                await job.bring_result()
            except SFJobsError as error:
                self.errors[job] = error
            except Exception as error:  # noqa: BLE001 - see raise_for_bugs
                self._bugs.append(error)
        self._working -= 1
