"""
Many jobs as one: ``wait_all``, ``as_completed``, ``first`` and ``cancel_all``. All jobs of one call belong to one connection,
whose poller asks about them together with whatever else is waited for there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Self

import anyio

from .._progress import shown
from .._tracking.poller import Poller
from .._tracking.types import Outcome, Waiter
from .._util.aio import Closeable, plain_task_group
from ..errors import SFJobsError, WaitTimeoutError
from ..models import JobStatus
from .cancellation import BulkCancellation
from .job import Job
from .result_prefetch import AT_ONCE, ResultPrefetcher

CHUNK = 4 * AT_ONCE
"""Results fetched in one step of an iteration: enough to keep all connections busy, few enough to be at hand soon."""


async def wait_all(
    jobs: Iterable[Job], timeout: float | None = None, *, fetch_results: bool = True, progress: bool = False
) -> list[JobStatus]:
    """
    Waits until every job has ended; returns the final statuses in the order of ``jobs``.

    The results of those that completed are at hand then, each fetched as its job completes, unless ``fetch_results`` is
    False. A failed job raises nothing. With ``progress`` a line on stderr, or in a notebook's cell, says meanwhile how many
    have ended and when all will have. Raises WaitTimeoutError, whose ``done`` and ``pending`` are ids, after ``timeout``
    seconds: the jobs go on. An error about one job, such as one that the platform does not know, is raised once all others
    have ended. A platform that cannot be reached is waited out, as ``Job.wait`` does.
    """
    jobs = list(jobs)
    if progress and jobs:
        async with shown(jobs, fetches=fetch_results):
            return await wait_all(jobs, timeout, fetch_results=fetch_results)
    errors: list[SFJobsError] = []
    with anyio.move_on_after(timeout) as scope:
        errors = await _settle_all(jobs, fetch_results=fetch_results)
    if scope.cancelled_caught:
        raise _too_late(jobs, timeout, done={job.id for job in jobs if _is_done(job, fetch_results)})
    if errors:
        raise errors[0]
    return [job.status for job in jobs]


def as_completed(jobs: Iterable[Job], timeout: float | None = None, *, fetch_results: bool = True) -> Completions:
    """
    Iterates over the jobs in the order of their ending.

    ``async for job in as_completed(jobs): ...``. Each completed job has its result at hand, unless ``fetch_results`` is
    False. ``timeout`` seconds, from the first step, bound all of it: then WaitTimeoutError, and the jobs go on. May be
    abandoned at any step.
    """
    return Completions(jobs, timeout, fetch_results=fetch_results)


async def first(
    jobs: Iterable[Job], k: int = 1, timeout: float | None = None, *, fetch_results: bool = True
) -> list[Job]:
    """Waits for the first ``k`` jobs to end, in the order of their ending. Raises ValueError for more than there are."""
    jobs = list(jobs)
    if not 0 <= k <= len(jobs):
        raise ValueError(f"cannot wait for the first {k} of {len(jobs)} jobs")
    async with Completions(jobs, timeout, fetch_results=fetch_results, most=k) as completions:
        return [await anext(completions) for _ in range(k)]


async def cancel_all(jobs: Iterable[Job], *, wait: bool = False, timeout: float | None = None) -> list[JobStatus]:
    """
    Asks the platform to cancel every job that has not ended; returns the statuses in the order of ``jobs``.

    Some may have been faster: they have their own end, and raise nothing. Without ``wait`` the others are ``cancel_pending``,
    or ``cancelled`` as far as is known; with it all have ended, whatever the weather, or WaitTimeoutError is raised after
    ``timeout`` seconds. An error about one job is raised once all others have been asked for, the first of several; one that
    each would meet, such as a platform that cannot be reached, at once. Cancelling again harms nothing.
    """
    jobs = list(jobs)
    if not jobs:
        return []
    _one_poller(jobs)
    cancellations = BulkCancellation(jobs, insists=wait)
    with anyio.move_on_after(timeout if wait else None):
        await cancellations.send()
        errors = [*cancellations.errors.values()]
        if wait:
            taken = [job for job in jobs if job.id not in cancellations.errors]
            errors += await _settle_all(taken, fetch_results=False)
        if errors:
            raise errors[0]
        return [job.status for job in jobs]
    raise _too_late(jobs, timeout, done={job.id for job in jobs if job.status.is_final})


class Completions(Closeable):
    """
    What ``as_completed`` iterates over; at most ``most`` jobs are looked at. Between steps it holds no task, no scope and no
    request, only its place in the poller's table, which goes with it.
    """

    # Also for a finalizer that runs although the constructor failed.
    _ticket: Waiter | None = None
    _poller: Poller | None = None

    def __init__(
        self,
        jobs: Iterable[Job],
        timeout: float | None = None,
        *,
        fetch_results: bool = True,
        most: int | None = None,
    ) -> None:
        self._jobs = list(jobs)
        self._most = len(self._jobs) if most is None else most
        self._timeout = timeout
        self._fetch_results = fetch_results
        self._deadline: float | None = None
        self._ready: deque[tuple[Job, SFJobsError | None]] = deque()
        self._handed_out = 0
        self._done: set[str] = set()
        self._handles = _handles(self._jobs)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Job:
        completion = await self.advance()
        if completion is None:
            raise StopAsyncIteration
        job, error = completion
        if error is not None:
            raise error
        return job

    async def aclose(self) -> None:
        """Stops asking about the jobs that are left."""
        self._leave()

    def __del__(self) -> None:
        if self._poller is not None and self._ticket is not None:
            self._poller.abandon(self._ticket)

    async def advance(self) -> tuple[Job, SFJobsError | None] | None:
        """The next job to end, with the error that ended the asking about it if that is how; None after the last one."""
        if self._deadline is None:
            self._deadline = float("inf") if self._timeout is None else anyio.current_time() + self._timeout
        if self._handed_out < self._most and not self._ready:
            if self._timeout is None:
                await self._fill()
            else:
                await self._fill_in_time(self._deadline)
        if not self._ready:
            return None
        self._handed_out += 1
        return self._ready.popleft()

    def _leave(self) -> None:
        if self._poller is not None and self._ticket is not None:
            self._poller.leave(self._ticket)

    async def _fill_in_time(self, deadline: float) -> None:
        with anyio.CancelScope(deadline=deadline) as scope:
            await self._fill()
        if scope.cancelled_caught:
            self._leave()
            raise _too_late(self._jobs, self._timeout, done=self._done)

    async def _fill(self) -> None:
        if self._ticket is None or self._poller is None:
            self._poller = _one_poller(self._jobs)
            self._ticket = self._poller.join(self._jobs)
        waiter = self._ticket
        if not waiter.news:
            try:
                await self._poller.wait_for(waiter, len(waiter.outcomes) + 1)
            except Exception:
                self._leave()
                raise
        taken = list(islice(waiter.news, min(CHUNK, self._most - self._handed_out)))
        ended = [(job, waiter.outcomes[job_id]) for job_id in taken for job in self._handles[job_id]]
        completed = [(job, outcome if isinstance(outcome, SFJobsError) else None) for job, outcome in ended]
        if self._fetch_results:
            completed = await _with_results(completed)
        # Only now, so that a step that is cancelled while results are on their way is made again as a whole.
        for _ in taken:
            waiter.news.popleft()
        self._done.update(job.id for job, _ in completed)
        self._ready.extend(completed)


async def _settle_all(jobs: Sequence[Job], *, fetch_results: bool) -> list[SFJobsError]:
    """Waits for all, and gives back what went wrong with some of them."""
    if not jobs:
        return []
    poller, handles = _one_poller(jobs), _handles(jobs)
    waiter = poller.join(jobs)
    try:
        async with plain_task_group() as group:
            downloads = ResultPrefetcher(group)

            def bring(job_id: str, outcome: Outcome) -> None:
                if fetch_results and not isinstance(outcome, SFJobsError):
                    for job in handles[job_id]:
                        downloads.begin(job)

            for job_id, outcome in waiter.outcomes.items():
                bring(job_id, outcome)
            waiter.on_outcome = bring
            await poller.wait_for(waiter)
    finally:
        waiter.on_outcome = None
        poller.leave(waiter)
    downloads.raise_for_bugs()
    return [
        *(error for error in waiter.outcomes.values() if isinstance(error, SFJobsError)),
        *downloads.errors.values(),
    ]


async def _with_results(ended: Sequence[tuple[Job, SFJobsError | None]]) -> list[tuple[Job, SFJobsError | None]]:
    """The same, with the results of completed jobs at hand, or the error that each one's download met."""
    if all(error is not None or job.has_result or job.status != JobStatus.COMPLETED for job, error in ended):
        return list(ended)
    async with plain_task_group() as group:
        downloads = ResultPrefetcher(group)
        for job, error in ended:
            if error is None:
                downloads.begin(job)
    downloads.raise_for_bugs()
    return [(job, error or downloads.errors.get(job)) for job, error in ended]


def _handles(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    handles: dict[str, list[Job]] = {}
    for job in jobs:
        handles.setdefault(job.id, []).append(job)
    return handles


def _is_done(job: Job, fetch_results: bool) -> bool:
    return job.status.is_final and not (fetch_results and job.status == JobStatus.COMPLETED and not job.has_result)


def _too_late(jobs: Sequence[Job], timeout: float | None, *, done: set[str]) -> WaitTimeoutError:
    ids = dict.fromkeys(job.id for job in jobs)
    troubles = (job.why().last_error for job in jobs if job.id not in done)
    trouble = next((f". The last question about one failed: {words}" for words in troubles if words), "")
    return WaitTimeoutError(
        f"after {timeout:g} s {len(done)} of {len(ids)} jobs have ended; the others go on{trouble}",
        done=tuple(job_id for job_id in ids if job_id in done),
        pending=tuple(job_id for job_id in ids if job_id not in done),
    )


def _one_poller(jobs: Sequence[Job]) -> Poller:
    pollers = {id(job.connection.poller): job.connection.poller for job in jobs}
    if len(pollers) > 1:
        raise ValueError("these jobs belong to several connections: wait for each connection's jobs by themselves")
    return next(iter(pollers.values()))
