"""Many jobs together, blocking. The caller's own jobs are returned, not copies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self

from .._jobs import waiting
from .._jobs.job import Job as AsyncJob
from .._util.handles import IDS_INSTEAD
from ..models import JobStatus
from ._iteration import next_item
from ._portal import Portal
from ._view import Closeable, unwrap
from .connection import Job


def wait_all(
    jobs: Iterable[Job], timeout: float | None = None, *, fetch_results: bool = True, progress: bool = False
) -> list[JobStatus]:
    """Wait until every job has ended, and return the final statuses in the order of ``jobs``."""
    twins, portal = _unwrap_all(list(jobs))
    if portal is None:
        return []
    return portal.call(waiting.wait_all, twins, timeout, fetch_results=fetch_results, progress=progress)


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
    twins, portal = _unwrap_all(list(jobs))
    return [] if portal is None else portal.call(waiting.cancel_all, twins, wait=wait, timeout=timeout)


class Completions(Closeable):
    """An iterator over jobs in the order in which they end."""

    _instead: ClassVar[str] = IDS_INSTEAD

    def __init__(self, jobs: Iterable[Job], timeout: float | None = None, *, fetch_results: bool = True) -> None:
        views = list(jobs)
        twins, self._portal = _unwrap_all(views)
        self._views = {id(twin): view for twin, view in zip(twins, views, strict=True)}
        self._async = waiting.Completions(twins, timeout, fetch_results=fetch_results)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Job:
        if self._portal is not None:
            for job in self._portal.call(next_item, self._async):
                return self._views[id(job)]
        raise StopIteration

    def close(self) -> None:
        """Stop polling the jobs that are left."""
        if self._portal is not None:
            self._portal.call(self._async.aclose)


def _unwrap_all(jobs: list[Job]) -> tuple[list[AsyncJob], Portal | None]:
    """Return the async twins of jobs and the portal of their connection, None without jobs."""
    twins = [unwrap(job)[0] for job in jobs]
    portals = {unwrap(job)[1] for job in jobs}
    if len(portals) > 1:
        raise ValueError("these jobs belong to several connections: wait for each connection's jobs by themselves")
    return twins, portals.pop() if portals else None
