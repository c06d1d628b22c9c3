"""
The shared poller of a connection: which jobs are polled, and by which task.

Nothing runs in the background. Every caller brings a ``Waiter`` for the jobs it waits for, and one of them, the leader, polls the
jobs of all waiters inside its own task. When it is settled or cancelled, another takes over:

    waiter A   wait_for ──lead──poll──poll──done
    waiter B   wait_for ──────wait────────────lead──poll──cancelled
    waiter C   wait_for ────────────wait─────────────────lead──poll──done

So a cancelled waiter stops at once and disturbs no other, an abandoned connection leaves nothing running, and no error arrives
inside an exception group. State needs no lock: it changes only between awaits of one event loop.

Where the platform offers a change feed, the leader reads it as well, and polls only the jobs that the feed does not cover. The
stream is handed over with the leadership.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import anyio

from .._util.aio import plain_task_group
from ..models import JobSnapshot
from .change_feed import ChangeFeed
from .leadership import Leadership
from .outages import OutageMonitor
from .sweep import MAX_CONCURRENT_POLLS
from .types import JobHandle, Outcome, PollInterval, PollOutlook, StatusSource, Waiter
from .watchlist import JobTracker


class Poller:
    """The shared poller of one connection."""

    def __init__(
        self,
        source: StatusSource,
        feed: ChangeFeed,
        interval: PollInterval,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.interval = interval
        self._source = source
        self._feed = feed
        self._tracker = JobTracker(interval, draw)
        self._outages = OutageMonitor(interval)
        self._leadership = Leadership(source, feed, self._tracker, self._outages)

    @property
    def tracked(self) -> int:
        """The number of jobs with a waiter."""
        self._tracker.clear_abandoned()
        return len(self._tracker)

    @property
    def is_idle(self) -> bool:
        """Whether no job is tracked and no waiter waits or leads."""
        return not self.tracked and self._leadership.is_idle

    def join(self, handles: Iterable[JobHandle], *, wants_changes: bool = False) -> Waiter:
        """Return a new waiter for these jobs, to be passed to ``leave``, or in a finalizer to ``abandon``."""
        self._leadership.check_open()
        self._tracker.clear_abandoned()
        waiter, now = Waiter(handles, wants_changes=wants_changes), anyio.current_time()
        self._leadership.listener.catch_up(waiter, now)
        self._tracker.join(waiter, now, hold=self._feed.hold(now))
        return waiter

    async def wait_for(self, waiter: Waiter, need: int | None = None) -> Mapping[str, Outcome]:
        """
        Return the outcomes once ``need`` of the waiter's jobs (default: all) have one, or at a change for a waiter that wants
        changes. Transient errors are retried without a limit. Raises the error that ended all polling, a copy for each waiter.
        """
        waiter.need = len(waiter.handles) if need is None else min(need, len(waiter.handles))
        waiter.deadline = anyio.current_effective_deadline()
        await self._leadership.wait_for(waiter)
        if waiter.error is not None:
            raise _own_copy(waiter.error) from waiter.error
        return waiter.outcomes

    def leave(self, waiter: Waiter) -> None:
        """Stop polling the jobs that only this waiter waits for."""
        self._tracker.leave(waiter)

    def abandon(self, waiter: Waiter) -> None:
        """``leave`` at the next opportunity: safe in a finalizer, which may run in any thread and at any moment."""
        self._tracker.abandon(waiter)

    def apply(self, snapshot: JobSnapshot) -> None:
        """Apply a snapshot from another response, so that waiters skip a poll."""
        self._leadership.listener.note_offer(snapshot.cursor)
        if self._tracker.apply(snapshot, anyio.current_time()):
            self._leadership.interrupt()

    async def query_once(self, handles: Iterable[JobHandle]) -> None:
        """Poll these jobs at once, beside the leader. Raises the first error."""
        by_id: dict[str, list[JobHandle]] = {}
        for handle in handles:
            by_id.setdefault(handle.id, []).append(handle)
        ids = deque(by_id)

        async def work() -> None:
            while ids:
                batch = [ids.popleft() for _ in range(min(len(ids), self._source.batch_limit))]
                report = await self._source.query(batch, self._tracker.known)
                if report is None:  # the platform has no list
                    ids.extend(batch)
                    continue
                now = anyio.current_time()
                self._tracker.apply_report(batch, report, now)
                for job_id, snapshot in report.snapshots.items():
                    for handle in by_id.get(job_id, ()):
                        handle.apply(snapshot, now)

        async with plain_task_group() as group:
            for _ in range(MAX_CONCURRENT_POLLS):
                group.start_soon(work)
        self._leadership.interrupt()

    def outlook(self, job_id: str) -> PollOutlook:
        """Return when the job is polled next, and the error of its last poll."""
        return self._tracker.outlook(job_id, self._outages.paused_until)

    async def aclose(self) -> None:
        """Fail every waiter with ConnectionClosedError, at once."""
        await self._leadership.aclose()


def _own_copy(error: Exception) -> Exception:
    """Copy an error: one instance raised in five hundred tasks would collect all their frames in its traceback."""
    try:
        return copy.copy(error)
    except Exception:  # noqa: BLE001 - an exception of unknown type that cannot be copied is shared
        return error
