"""
One sweep: polls every job that is due, a few requests at a time, and applies the responses and failures. ``leadership`` decides
when it begins.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio

from .._http.retry import is_transient
from .._util.aio import plain_task_group
from ..errors import AuthenticationError, ResponseError, SFJobsError
from ..models import Cursor
from .outages import OutageMonitor
from .types import StatusReport, StatusSource, TrackedJob, Waiter
from .watchlist import JobTracker

MAX_CONCURRENT_POLLS = 4
"""Requests of one sweep that are under way at a time."""


@dataclass(slots=True, eq=False)
class Sweeper:
    """Polls the due jobs of one connection. ``note_offer`` gets the cursor of each response."""

    source: StatusSource
    tracker: JobTracker
    outages: OutageMonitor
    note_offer: Callable[[Cursor | None], None]
    until: float = float("-inf")

    async def sweep(self, leader: Waiter) -> None:
        """Poll all jobs that are due, each request filled up with the jobs that are due next, until ``leader`` is settled."""
        self.tracker.clear_abandoned()
        queue, popped = self.tracker.queue, list[TrackedJob]()
        until = self.until = self.outages.begin_sweep(anyio.current_time())

        async def work() -> None:
            # Popped one by one: a leader may be settled by the first of a hundred requests.
            while not leader.is_settled and (batch := queue.pop_batch(until, self.source.batch_limit)):
                popped.extend(batch)
                ids = [job.job_id for job in batch]
                for job_id in await self._poll(ids, self.source.query(ids, self.tracker.known)):
                    await self._poll([job_id], self.source.query_single(job_id, self.tracker.known))

        try:
            if not queue.has_more_due(until, self.source.batch_limit):
                await work()
            else:
                async with plain_task_group() as group:
                    for _ in range(MAX_CONCURRENT_POLLS):
                        group.start_soon(work)
        finally:
            # The jobs that a settled leader has not polled do not wait for the next pause.
            if self.tracker.requeue(popped) or queue.next_due() < until:
                self.outages.end_sweep_early(anyio.current_time())

    async def _poll(self, ids: Sequence[str], response: Awaitable[StatusReport | None]) -> Sequence[str]:
        """Apply a response, or its error. Return the ids that have to be polled one by one."""
        try:
            report = await response
        except SFJobsError as error:
            if len(ids) > 1 and _is_about_one_job(error):
                return ids  # an error of one job does not concern the others
            self._note_failure(ids, error)
            return ()
        if report is None:
            return ()
        now = anyio.current_time()
        self.outages.note_response(now)
        self.note_offer(report.cursor)
        return self.tracker.apply_report(ids, report, now)

    def _note_failure(self, ids: Sequence[str], error: SFJobsError) -> None:
        """Retry after a transient error; any other ends the polling of the jobs that it is about."""
        now = anyio.current_time()
        is_passing = is_transient(error)
        if is_passing and (lasting := self.outages.lasting_error(error, now)) is not None:
            error, is_passing = lasting, False
        if is_passing:
            self.outages.note_failure(len(ids), error, now)
            self.tracker.note_transient(ids, error, now, due=max(now, self.until))
        elif _is_about_one_job(error):
            self.tracker.note_permanent(ids[0], error, now)
        else:
            self.tracker.fail(ids, error)


def _is_about_one_job(error: SFJobsError) -> bool:
    """Return whether the platform would respond to polls of other jobs."""
    return isinstance(error, ResponseError) and not isinstance(error, AuthenticationError) and not is_transient(error)
