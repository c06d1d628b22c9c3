"""Download of the results of many jobs, a few at a time, on connections of their own, so that no poll waits for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from anyio.abc import TaskGroup

from .._util.aio import plain_task_group
from ..errors import SFJobsError
from ..models import JobStatus
from .job import Job, fetch_result_when_available

MAX_CONCURRENT_DOWNLOADS = 32
"""Results of one group of jobs that are downloaded at the same time."""


class ResultPrefetcher:
    """
    Downloads of results in the tasks of a task group, which raises an unexpected exception of a download.

    ``errors`` has the errors of single jobs.
    """

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._queue: deque[Job] = deque()
        self._workers = 0
        self.errors: dict[Job, SFJobsError] = {}

    def begin(self, job: Job) -> None:
        """Queue the download of a completed job's result, unless it has been fetched. Returns at once."""
        if job.status != JobStatus.COMPLETED or job.has_result:
            return
        self._queue.append(job)
        if self._workers < MAX_CONCURRENT_DOWNLOADS:
            self._workers += 1
            self._group.start_soon(self._work)

    async def _work(self) -> None:
        while self._queue:
            job = self._queue.popleft()
            try:
                await fetch_result_when_available(job)
            except SFJobsError as error:
                self.errors[job] = error
        self._workers -= 1


async def fetch_results(jobs: Iterable[Job]) -> dict[Job, SFJobsError]:
    """Fetch the results of completed jobs; return the errors of single jobs."""
    async with plain_task_group() as group:
        downloads = ResultPrefetcher(group)
        for job in jobs:
            downloads.begin(job)
    return downloads.errors
