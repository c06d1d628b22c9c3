"""``wait_all``, ``as_completed``, ``first`` and ``cancel_all``: many jobs of one connection, polled together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from itertools import islice

import anyio

from .._progress import shown
from .._tracking.poller import Poller
from .._tracking.types import Outcome
from .._util.aio import plain_task_group
from ..errors import SFJobsError
from ..models import JobStatus
from .cancellation import request_cancel_all
from .deadline import LAST_POLL_SECONDS, Deadline
from .iteration import JobIteration
from .job import Job, state_of
from .job_errors import wait_all_timeout_error
from .result_prefetch import MAX_CONCURRENT_DOWNLOADS, ResultPrefetcher, fetch_results

MAX_RESULTS_PER_STEP = 4 * MAX_CONCURRENT_DOWNLOADS
"""Results fetched in one step of ``as_completed``: enough to use all connections, few enough for a short step."""


async def wait_all(
    jobs: Iterable[Job], timeout: float | None = None, *, fetch_results: bool = True, progress: bool = False
) -> list[JobStatus]:
    """
    Wait until every job has ended, and return the final statuses in the order of ``jobs``.

    The result of each completed job is fetched as soon as the job ends, unless ``fetch_results`` is False. Failed jobs raise
    nothing. Network failures, 429 and 5xx responses are retried until ``timeout`` (seconds), which cancels no job. With
    ``progress``, a line on stderr or in the notebook's cell shows how many jobs have ended, and when all will have.

    Raises:
        WaitTimeoutError: a job has not ended after ``timeout`` seconds; ``done`` and ``pending`` are job ids.
        AuthenticationError: the platform refuses the API key.
        ValueError: the jobs belong to several connections.

    An error about one job, such as NotFoundError, is raised once all others have ended.
    """
    jobs = list(jobs)
    errors: list[SFJobsError] = []
    async with shown(map(state_of, jobs), fetches=fetch_results) if progress and jobs else nullcontext():
        deadline = Deadline(timeout)
        with deadline.scope() as scope:
            errors = await _wait_until_final(jobs, fetch_results=fetch_results)
        if scope.cancelled_caught and await deadline.poll_unpolled(map(state_of, jobs)):
            ended = [job for job in jobs if job.status.is_final]
            with anyio.move_on_after(LAST_POLL_SECONDS):
                errors = await _wait_until_final(ended, fetch_results=fetch_results)
        done = {job.id for job in jobs if _is_done(job, fetch_results)}
        if scope.cancelled_caught and len(done) < len({job.id for job in jobs}):
            raise wait_all_timeout_error(map(state_of, jobs), timeout, done=done)
    if errors:
        raise errors[0]
    return [job.status for job in jobs]


def as_completed(jobs: Iterable[Job], timeout: float | None = None, *, fetch_results: bool = True) -> Completions:
    """
    Iterate over the jobs in the order in which they end.

        async for job in sfjobs.as_completed(jobs):
            print(job.status)

    The result of each completed job is fetched before the job is handed out, unless ``fetch_results`` is False. ``timeout``
    (seconds) counts from the first step. The iteration may be abandoned at any step; the jobs go on.

    Raises:
        WaitTimeoutError: a job has not ended after ``timeout`` seconds.
        AuthenticationError: the platform refuses the API key.
        ValueError: the jobs belong to several connections.

    An error about one job is raised in its turn; the next step continues with the others.
    """
    return Completions(jobs, timeout, fetch_results=fetch_results)


async def first(
    jobs: Iterable[Job], k: int = 1, timeout: float | None = None, *, fetch_results: bool = True
) -> list[Job]:
    """
    Wait until ``k`` jobs have ended, and return these in the order in which they ended.

    The other jobs go on. ``timeout`` is in seconds.

    Raises:
        ValueError: ``k`` is larger than the number of jobs.

    It also raises what ``as_completed`` raises.
    """
    jobs = list(jobs)
    if not 0 <= k <= len(jobs):
        raise ValueError(f"cannot wait for the first {k} of {len(jobs)} jobs")
    async with Completions(jobs, timeout, fetch_results=fetch_results, max_jobs=k) as completions:
        return [await anext(completions) for _ in range(k)]


async def cancel_all(jobs: Iterable[Job], *, wait: bool = False, timeout: float | None = None) -> list[JobStatus]:
    """
    Cancel every job that has not ended, and return the statuses in the order of ``jobs``.

    Jobs that end before their cancellation keep their final status, and raise nothing. Without ``wait`` the others are
    ``cancel_pending``, or ``cancelled`` where that is known. With ``wait`` all have ended; network failures, 429 and 5xx
    responses are then retried until ``timeout`` (seconds). Cancelling again is safe.

    Raises:
        WaitTimeoutError: with ``wait``, a job has not ended after ``timeout`` seconds.
        TransportError: without ``wait``, the platform cannot be reached.
        AuthenticationError: the platform refuses the API key.
        ValueError: the jobs belong to several connections.

    An error about one job is raised once the cancellations of all others are sent; of several errors, the first.
    """
    jobs = list(jobs)
    if not jobs:
        return []
    _one_poller(jobs)
    with anyio.move_on_after(timeout if wait else None):
        failed = await request_cancel_all(map(state_of, jobs), until_available=wait)
        errors = [*failed.values()]
        if wait:
            cancelled = [job for job in jobs if job.id not in failed]
            errors += await _wait_until_final(cancelled, fetch_results=False)
        if errors:
            raise errors[0]
        return [job.status for job in jobs]
    done = {job.id for job in jobs if job.status.is_final}
    raise wait_all_timeout_error(map(state_of, jobs), timeout, done=done)


class Completions(JobIteration):
    """An iteration over at most ``max_jobs`` jobs, in the order in which they end."""

    def __init__(
        self,
        jobs: Iterable[Job],
        timeout: float | None = None,
        *,
        fetch_results: bool = True,
        max_jobs: int | None = None,
    ) -> None:
        super().__init__(jobs, timeout)
        self._max_jobs = len(self._jobs) if max_jobs is None else max_jobs
        self._fetch_results = fetch_results
        self._ready: deque[tuple[Job, SFJobsError | None]] = deque()
        self._handed_out = 0
        self._handles = _handles(self._jobs)

    async def __anext__(self) -> Job:
        completion = await self.advance()
        if completion is None:
            raise StopAsyncIteration
        job, error = completion
        if error is not None:
            raise error
        return job

    async def advance(self) -> tuple[Job, SFJobsError | None] | None:
        """Return the next job, with the error that ended its polling or its download, if any; None after the last job."""
        if self._handed_out < self._max_jobs and not self._ready:
            await self._step()
        if not self._ready:
            return None
        self._handed_out += 1
        return self._ready.popleft()

    async def _fill(self) -> None:
        if self._waiter is None or self._poller is None:
            self._poller = _one_poller(self._jobs)
            self._waiter = self._poller.join(map(state_of, self._jobs))
        waiter = self._waiter
        if not waiter.news:
            await self._wait_for_one(self._poller, waiter)
        ids = list(islice(waiter.news, min(MAX_RESULTS_PER_STEP, self._max_jobs - self._handed_out)))
        ended = [(job, waiter.outcomes[job_id]) for job_id in ids for job in self._handles[job_id]]
        completed = [(job, outcome if isinstance(outcome, SFJobsError) else None) for job, outcome in ended]
        if self._fetch_results:
            completed = await _with_results(completed)
        # Only now, so that a step that is cancelled during a download is repeated as a whole.
        for _ in ids:
            waiter.news.popleft()
        self._done.update(job.id for job, _ in completed)
        self._ready.extend(completed)


async def _wait_until_final(jobs: Sequence[Job], *, fetch_results: bool) -> list[SFJobsError]:
    """Wait for all jobs, and return the errors of single jobs."""
    if not jobs:
        return []
    poller, handles = _one_poller(jobs), _handles(jobs)
    waiter = poller.join(map(state_of, jobs))
    try:
        async with plain_task_group() as group:
            downloads = ResultPrefetcher(group)

            def begin(job_id: str, outcome: Outcome) -> None:
                if fetch_results and not isinstance(outcome, SFJobsError):
                    for job in handles[job_id]:
                        downloads.begin(job)

            for job_id, outcome in waiter.outcomes.items():
                begin(job_id, outcome)
            waiter.on_outcome = begin
            await poller.wait_for(waiter)
    finally:
        waiter.on_outcome = None
        poller.leave(waiter)
    return [
        *(error for error in waiter.outcomes.values() if isinstance(error, SFJobsError)),
        *downloads.errors.values(),
    ]


async def _with_results(ended: Sequence[tuple[Job, SFJobsError | None]]) -> list[tuple[Job, SFJobsError | None]]:
    """Fetch the results of completed jobs; return the jobs, with the error of the poll or of the download."""
    if all(error is not None or _is_done(job, fetch_results=True) for job, error in ended):
        return list(ended)
    errors = await fetch_results(job for job, error in ended if error is None)
    return [(job, error or errors.get(job)) for job, error in ended]


def _handles(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    handles: dict[str, list[Job]] = {}
    for job in jobs:
        handles.setdefault(job.id, []).append(job)
    return handles


def _is_done(job: Job, fetch_results: bool) -> bool:
    return job.status.is_final and not (fetch_results and job.status == JobStatus.COMPLETED and not job.has_result)


def _one_poller(jobs: Sequence[Job]) -> Poller:
    pollers = {state_of(job).session.poller for job in jobs}
    if len(pollers) > 1:
        raise ValueError("these jobs belong to several connections: wait for each connection's jobs by themselves")
    return pollers.pop()
