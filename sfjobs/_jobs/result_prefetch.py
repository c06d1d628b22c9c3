"""Download of the results of many jobs, a few at a time, on connections of their own, so that no poll waits for them."""

from __future__ import annotations

from collections import deque

from anyio.abc import TaskGroup

from ..errors import SFJobsError
from ..models import JobStatus
from .job import Job, fetch_result_when_available

MAX_CONCURRENT_DOWNLOADS = 32
"""Results of one group of jobs that are downloaded at the same time."""


class ResultPrefetcher:
    """
    Downloads of results in the tasks of a task group.

    ``errors`` has the errors of single jobs.
    """

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._queue: deque[Job] = deque()
        self._workers = 0
        self._bugs: list[Exception] = []
        self.errors: dict[Job, SFJobsError] = {}

    def begin(self, job: Job) -> None:
        """Queue the download of a completed job's result, unless it has been fetched. Returns at once."""
        if job.status != JobStatus.COMPLETED or job.has_result:
            return
        self._queue.append(job)
        if self._workers < MAX_CONCURRENT_DOWNLOADS:
            self._workers += 1
            self._group.start_soon(self._work)

    def raise_for_bugs(self) -> None:
        """Raise an unexpected exception of a download. Call it outside the task group, which would wrap the exception."""
        if self._bugs:
            raise self._bugs[0]

    async def _work(self) -> None:
        while self._queue:
            job = self._queue.popleft()
            try:
                await fetch_result_when_available(job)
            except SFJobsError as error:
                self.errors[job] = error
            except Exception as error:  # noqa: BLE001 - see raise_for_bugs
                self._bugs.append(error)
        self._workers -= 1
