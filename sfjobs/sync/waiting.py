"""Many jobs as one, blocking. The caller's own jobs come back, not copies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

from .._jobs import waiting as groups
from ..models import JobStatus
from ._closeable import Closeable
from ._iteration import next_of
from .connection import Connection, Job


def wait_all(
    jobs: Iterable[Job], timeout: float | None = None, *, fetch_results: bool = True, progress: bool = False
) -> list[JobStatus]:
    """Wait until every job has ended, and return the final statuses in the order of ``jobs``."""
    jobs = list(jobs)
    if not jobs:
        return []
    twins = [job.twin for job in jobs]
    return _one_connection(jobs).call(groups.wait_all, twins, timeout, fetch_results=fetch_results, progress=progress)


def as_completed(jobs: Iterable[Job], timeout: float | None = None, *, fetch_results: bool = True) -> Completions:
    """Iterate over the jobs in the order in which they end."""
    return Completions(jobs, timeout, fetch_results=fetch_results)


def first(jobs: Iterable[Job], k: int = 1, timeout: float | None = None, *, fetch_results: bool = True) -> list[Job]:
    """Wait until ``k`` jobs have ended, and return these in the order in which they ended."""
    jobs = list(jobs)
    if not 0 <= k <= len(jobs):
        raise ValueError(f"cannot wait for the first {k} of {len(jobs)} jobs")
    with Completions(jobs, timeout, fetch_results=fetch_results) as completions:
        return [next(completions) for _ in range(k)]


def cancel_all(jobs: Iterable[Job], *, wait: bool = False, timeout: float | None = None) -> list[JobStatus]:
    """Cancel every job that has not ended, and return the statuses in the order of ``jobs``."""
    jobs = list(jobs)
    if not jobs:
        return []
    return _one_connection(jobs).call(groups.cancel_all, [job.twin for job in jobs], wait=wait, timeout=timeout)


class Completions(Closeable):
    """What ``as_completed`` iterates over: the caller's own jobs, each as it ends."""

    def __init__(self, jobs: Iterable[Job], timeout: float | None = None, *, fetch_results: bool = True) -> None:
        views = list(jobs)
        self._views = {id(job.twin): job for job in views}
        self._connection = _one_connection(views) if views else None
        self._async = groups.Completions([job.twin for job in views], timeout, fetch_results=fetch_results)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Job:
        if self._connection is None:
            raise StopIteration
        for job in self._connection.call(next_of, self._async):
            return self._views[id(job)]
        raise StopIteration

    def close(self) -> None:
        """Stop polling the jobs that are left."""
        if self._connection is not None:
            self._connection.call(self._async.aclose)


def _one_connection(jobs: Sequence[Job]) -> Connection:
    if any(job.connection is not jobs[0].connection for job in jobs):
        raise ValueError("these jobs belong to several connections: wait for each connection's jobs by themselves")
    return jobs[0].connection
