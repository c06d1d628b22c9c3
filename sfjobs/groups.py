"""
Waiting for many jobs as one: ``wait_all``, ``as_completed`` and ``first``. All jobs of one call belong to one connection,
whose poller asks about them together with whatever else is waited for there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

import anyio

from .errors import SFJobsError, WaitTimeoutError
from .job import Job
from .models import JobStatus
from .poller import Poller
from .progress import shown
from .tickets import Ticket

DOWNLOADS = 32
"""Results fetched at once for one group."""


async def wait_all(
    jobs: Iterable[Job], timeout: float | None = None, *, fetch_results: bool = True, progress: bool = False
) -> list[JobStatus]:
    """
    Waits until every job has ended; returns the final statuses in the order of ``jobs``.

    The results of those that completed are at hand then, unless ``fetch_results`` is False. A failed job raises nothing.
    With ``progress`` a line on stderr, or in a notebook's cell, says meanwhile how many have ended and when all will have.
    Raises WaitTimeoutError, whose ``done`` and ``pending`` are ids, after ``timeout`` seconds: the jobs go on. An error about
    one job, such as one that the platform does not know, is raised once all others have ended.
    """
    jobs = list(jobs)
    if progress and jobs:
        async with shown(jobs, fetches=fetch_results):
            return await wait_all(jobs, timeout, fetch_results=fetch_results)
    errors: list[SFJobsError] = []
    async with Completions(jobs, timeout, fetch_results=fetch_results) as completions:
        while (completion := await completions.advance()) is not None:
            if completion[1] is not None:
                errors.append(completion[1])
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
    async with Completions(jobs, timeout, fetch_results=fetch_results) as completions:
        return [await anext(completions) for _ in range(k)]


class Completions:
    """
    What ``as_completed`` iterates over. Between steps it holds no task, no scope and no request, only its place in the
    poller's table, which goes with it.
    """

    # Also for a finalizer that runs although the constructor failed.
    _ticket: Ticket | None = None
    _poller: Poller | None = None

    def __init__(self, jobs: Iterable[Job], timeout: float | None = None, *, fetch_results: bool = True) -> None:
        self._jobs = list(jobs)
        self._timeout = timeout
        self._fetch_results = fetch_results
        self._deadline: float | None = None
        self._ready: deque[tuple[Job, SFJobsError | None]] = deque()
        self._handed_out = 0
        self._done: set[str] = set()
        self._handles: dict[str, list[Job]] = {}
        for job in self._jobs:
            self._handles.setdefault(job.id, []).append(job)

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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

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
        with anyio.CancelScope(deadline=self._deadline) as scope:
            if self._handed_out < len(self._jobs):
                await self._fill()
        if scope.cancelled_caught:
            self._leave()
            raise self._too_late()
        if not self._ready:
            return None
        self._handed_out += 1
        return self._ready.popleft()

    def _leave(self) -> None:
        if self._poller is not None and self._ticket is not None:
            self._poller.leave(self._ticket)

    async def _fill(self) -> None:
        if self._ready:
            return
        if self._ticket is None or self._poller is None:
            self._poller = _one_poller(self._jobs)
            self._ticket = self._poller.join(self._jobs)
        ticket = self._ticket
        if not ticket.news:
            try:
                await self._poller.settle(ticket, len(ticket.outcomes) + 1)
            except Exception:
                self._leave()
                raise
        ended = [(job, ticket.outcomes[job_id]) for job_id in ticket.news for job in self._handles[job_id]]
        completed = [(job, outcome if isinstance(outcome, SFJobsError) else None) for job, outcome in ended]
        if self._fetch_results:
            completed = await _with_results(completed)
        # Only now, so that a step that is cancelled while results are on their way is made again as a whole.
        ticket.news.clear()
        self._done.update(job.id for job, _ in completed)
        self._ready.extend(completed)

    def _too_late(self) -> WaitTimeoutError:
        ids = dict.fromkeys(job.id for job in self._jobs)
        done = tuple(job_id for job_id in ids if job_id in self._done)
        pending = tuple(job_id for job_id in ids if job_id not in self._done)
        return WaitTimeoutError(
            f"after {self._timeout:g} s {len(done)} of {len(ids)} jobs have ended; the others go on",
            done=done,
            pending=pending,
        )


async def _with_results(ended: Sequence[tuple[Job, SFJobsError | None]]) -> list[tuple[Job, SFJobsError | None]]:
    """The same, with the results of completed jobs at hand, or the error that each one's download met."""
    errors: dict[Job, SFJobsError] = {}
    bugs: list[Exception] = []
    left = deque(
        job for job, error in ended if error is None and job.status == JobStatus.COMPLETED and not job.has_result
    )

    async def work() -> None:
        while left:
            job = left.popleft()
            try:
                await job.fetch_result()
            except SFJobsError as error:
                errors[job] = error
            except Exception as error:  # noqa: BLE001 - raised below, without a group around it
                bugs.append(error)

    if left:
        async with anyio.create_task_group() as downloads:
            for _ in range(min(DOWNLOADS, len(left))):
                downloads.start_soon(work)
    if bugs:
        raise bugs[0]
    return [(job, error or errors.get(job)) for job, error in ended]


def _one_poller(jobs: Sequence[Job]) -> Poller:
    pollers = {id(job.connection.poller): job.connection.poller for job in jobs}
    if len(pollers) > 1:
        raise ValueError("these jobs belong to several connections: wait for each connection's jobs by themselves")
    return next(iter(pollers.values()))
