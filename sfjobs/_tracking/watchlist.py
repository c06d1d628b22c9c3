"""
The tracked jobs: which waiters wait for which jobs, when each job is polled next, and which handles a snapshot is applied to. No
I/O, no tasks and no waiting; ``sweep`` and ``feed_listener`` bring the snapshots.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..errors import NotFoundError, ProtocolError, SFJobsError
from ..models import Cursor, JobSnapshot
from .schedule import PollQueue
from .types import JobHandle, Outcome, PollInterval, PollOutlook, StatusReport, TrackedJob, Waiter, in_words

FIRST_POLL_DELAY_SECONDS = 0.02
"""Time until the first poll of a job that has just joined, so that tasks started together share a request."""

MAX_MISSES = 3
"""Responses in a row without a job after which it is polled by itself: a list may lag briefly behind a submission."""

MAX_UNREADABLE = 5
MIN_UNREADABLE_SECONDS = 10.0
"""Polls of a job alone in a row whose response cannot be read, and their time span, after which its polling ends."""

FEED_VERIFY_INTERVAL_SECONDS = 300.0
"""Time between two polls of a job that the change feed covers: insurance against a feed that has lost an event."""


class JobTracker:
    """The tracked jobs of one connection."""

    def __init__(self, interval: PollInterval, draw: Callable[[], float]) -> None:
        self._interval = interval
        self._draw = draw
        self._jobs: dict[str, TrackedJob] = {}
        self._feed_cursor: Cursor | None = None
        self._abandoned: deque[Waiter] = deque()
        self.queue = PollQueue()

    def __len__(self) -> int:
        return len(self._jobs)

    # -- waiters --

    def join(self, waiter: Waiter, now: float, *, hold: float = 0.0) -> None:
        """
        Track the waiter's jobs. A job that has ended, as one of its handles knows, has its outcome at once. Where the change feed
        is about to cover a job, its first poll is delayed by ``hold`` seconds.
        """
        for job_id, handles in waiter.handles.items():
            final = next((handle.snapshot for handle in handles if handle.snapshot.status.is_final), None)
            if final is not None:
                for handle in handles:
                    handle.apply(final, now)
                waiter.settle(job_id, final)
                continue
            job = self._jobs.get(job_id)
            if job is None:
                job = self._jobs[job_id] = self._new_job(job_id, handles, now, hold)
            job.waiters.append(waiter)
            waiter.unqueued.append(job)

    def resume(self, waiter: Waiter) -> None:
        """Queue the waiter's jobs: its caller waits now."""
        for job in waiter.unqueued:
            if job.queue_entry is None and self._jobs.get(job.job_id) is job:
                self.queue.put(job, job.due)
        waiter.unqueued.clear()

    def leave(self, waiter: Waiter) -> None:
        """Stop tracking the jobs that only this waiter waits for."""
        for job in self._tracked(waiter.pending):
            if waiter in job.waiters:
                job.waiters.remove(waiter)
                for handle in waiter.handles[job.job_id]:
                    handle.trouble = job.trouble
                    if job.is_covered:
                        handle.cursor = self._feed_cursor
                if not job.waiters:
                    self._remove(job)
        waiter.pending.clear()

    def abandon(self, waiter: Waiter) -> None:
        """``leave`` later: safe in a finalizer, which may run in any thread and at any moment."""
        if waiter.pending:  # otherwise its jobs, and so their results, would be kept until then
            self._abandoned.append(waiter)

    def clear_abandoned(self) -> None:
        while self._abandoned:
            self.leave(self._abandoned.popleft())

    def _tracked(self, ids: Iterable[str]) -> Iterator[TrackedJob]:
        return (job for job_id in ids if (job := self._jobs.get(job_id)) is not None)

    def _new_job(self, job_id: str, handles: Sequence[JobHandle], now: float, hold: float) -> TrackedJob:
        first_seen = min(now if handle.first_seen is None else handle.first_seen for handle in handles)
        polled_at = max((handle.asked_at for handle in handles if handle.asked_at is not None), default=None)
        due = now + FIRST_POLL_DELAY_SECONDS
        if polled_at is not None:
            due = max(due, polled_at + self._interval.interval(polled_at - first_seen, self._draw))
        best = max(handles, key=lambda handle: (handle.cursor and handle.cursor.number) or -1)
        job = TrackedJob(
            job_id, first_seen, due, snapshot=best.snapshot, cursor=best.cursor, feed_start=self._feed_cursor
        )
        if job.is_covered:
            job.due = now + self._verify_interval()
        elif job.cursor is not None:
            job.due = max(due, now + hold)
        return job

    # -- snapshots --

    def known(self, job_id: str) -> JobSnapshot | None:
        """Return the latest snapshot of a tracked job."""
        job = self._jobs.get(job_id)
        return None if job is None else job.snapshot

    def apply_report(self, ids: Sequence[str], report: StatusReport, now: float) -> list[str]:
        """Apply the response to a poll of ``ids``. Return the ids that it left out so often that each is polled by itself."""
        return [job.job_id for job in self._tracked(ids) if not self._apply_polled(job, report, now)]

    def apply(self, snapshot: JobSnapshot, now: float) -> bool:
        """Apply a snapshot from the change feed or another request. Return whether its job is tracked."""
        job = self._jobs.get(snapshot.id)
        if job is not None:
            self._apply_to(job, snapshot, snapshot.cursor, now)
        return job is not None

    def _apply_polled(self, job: TrackedJob, report: StatusReport, now: float) -> bool:
        snapshot = report.snapshots.get(job.job_id)
        if snapshot is None and job.job_id in report.unreadable:
            return self._note_unreadable(job, report.unreadable[job.job_id], now)
        if snapshot is None:
            job.misses += 1
            job.trouble = f"the platform's answer left it out ({job.misses} times in a row)"
            job.failing_since = job.failing_since if job.unreadable else None
            self._postpone(job, now)
            return job.misses < MAX_MISSES
        job.misses = 0
        self._apply_to(job, snapshot, report.cursor, now)
        if job.job_id in self._jobs:
            self._postpone(job, now)
        return True

    def _note_unreadable(self, job: TrackedJob, error: ProtocolError | None, now: float) -> bool:
        """Note a record that cannot be read. Return False if it came in a list, so that the job has to be polled by itself."""
        job.cursor = None  # its present state is not known, so the change feed does not cover it
        if error is not None:
            if job.failing_since is None:
                job.failing_since, job.unreadable = now, 0
            job.trouble = in_words(error)
            job.unreadable += 1
            if job.unreadable >= MAX_UNREADABLE and now - job.failing_since >= MIN_UNREADABLE_SECONDS:
                self._end(job, error)
                return True
        self._postpone(job, now)
        return error is not None

    def _apply_to(self, job: TrackedJob, snapshot: JobSnapshot, cursor: Cursor | None, now: float) -> None:
        job.trouble = job.failing_since = None
        if cursor is not None and not (job.cursor is not None and job.cursor.covers(cursor)):
            job.cursor = cursor
        # Most responses change nothing of most jobs, and bring the very object that is known, which is never final.
        is_known = snapshot is job.snapshot
        if not is_known and (job.snapshot is None or not snapshot.is_behind(job.snapshot)):
            job.snapshot = snapshot
        for waiter in job.waiters:
            for handle in waiter.handles[job.job_id]:
                before = handle.snapshot
                handle.apply(snapshot, now)
                handle.cursor = job.cursor
                if handle.snapshot is not before:
                    waiter.note_change(handle, before)
        if not is_known and snapshot.status.is_final:
            self._end(job, snapshot)

    def _end(self, job: TrackedJob, outcome: Outcome) -> None:
        self._remove(job)
        # Its entry in the queue may stay for a while, and must not keep the handles and their results.
        waiters, job.waiters = job.waiters, []
        for waiter in waiters:
            waiter.settle(job.job_id, outcome)

    def _remove(self, job: TrackedJob) -> None:
        del self._jobs[job.job_id]
        job.queue_entry = None
        self.queue.discard_outdated(len(self._jobs))

    def _postpone(self, job: TrackedJob, now: float) -> None:
        age = now - job.first_seen
        pause = self._verify_interval() if job.is_covered else self._interval.interval(age, self._draw)
        self.queue.put(job, now + pause)

    def _verify_interval(self) -> float:
        return FEED_VERIFY_INTERVAL_SECONDS * (1 + self._interval.jitter * self._draw())

    def poll_soon(self, job_id: str | None, now: float) -> None:
        """Poll this job now: an event about it could not be read. Without an id, poll all jobs that the feed covers."""
        if job_id is None:
            self._reschedule_covered(lambda: now)
        for job in self._tracked([job_id] if job_id is not None else []):
            job.cursor = None  # the feed has passed a change that is not known
            if job.queue_entry is not None:
                self.queue.put(job, now)

    # -- failures --

    def note_transient(self, ids: Sequence[str], error: SFJobsError, now: float, *, due: float) -> None:
        """Poll these jobs again at ``due``: the last poll met a transient error."""
        for job in self._tracked(ids):
            self.queue.put(job, due)
            job.trouble = in_words(error)
            job.failing_since = now if job.failing_since is None else job.failing_since

    def note_permanent(self, job_id: str, error: SFJobsError, now: float) -> None:
        """
        End the polling of this job with ``error``. A 404 has to come ``MAX_MISSES`` times: the platform may not know a new job
        yet.
        """
        for job in self._tracked([job_id]):
            job.trouble, job.failing_since = in_words(error), None
            job.misses += isinstance(error, NotFoundError)
            if isinstance(error, NotFoundError) and job.misses < MAX_MISSES:
                self._postpone(job, now)
            else:
                self._end(job, error)

    def fail(self, ids: Sequence[str], error: SFJobsError) -> None:
        """Fail every waiter of these jobs."""
        for job in self._tracked(ids):
            job.trouble = in_words(error)
            for waiter in job.waiters:
                waiter.fail(error)

    def requeue(self, popped: Sequence[TrackedJob]) -> bool:
        """Put back the popped jobs that were not polled, due as before. Return whether there are any."""
        unpolled = [job for job in popped if job.queue_entry is None and self._jobs.get(job.job_id) is job]
        for job in unpolled:
            self.queue.put(job, job.due)
        return bool(unpolled)

    # -- the change feed --

    def feed_start(self, latest: Cursor) -> Cursor:
        """Return the cursor from which the feed has all that is not known of the tracked jobs, ``latest`` at the latest."""
        start = latest
        for job in self._jobs.values():
            if job.cursor is not None and start.covers(job.cursor):
                start = job.cursor
        return start

    def open_feed(self, start: Cursor, now: float) -> None:
        """Note that the feed is read from ``start`` on. Jobs that are known up to there are only verified by polls."""
        self._feed_cursor = start
        for job in self._jobs.values():
            job.feed_start = start
        self._reschedule_covered(lambda: now + self._verify_interval())

    def advance_feed(self, cursor: Cursor | None) -> None:
        """Note that the feed has been read up to ``cursor``."""
        self._feed_cursor = cursor

    def lose_feed(self, now: float, *, is_expired: bool = False) -> None:
        """
        Note that the feed is not read any more, and poll every job that it covered now. ``is_expired`` says that no feed can
        resume at the cursors that are known.
        """
        self._feed_cursor = None
        self._reschedule_covered(lambda: now)
        for job in self._jobs.values():
            job.feed_start = None
            job.cursor = None if is_expired else job.cursor

    def _reschedule_covered(self, due: Callable[[], float]) -> None:
        covered = [job for job in self._jobs.values() if job.is_covered]
        for job in covered:
            job.due = due()
        # A job without an entry is being polled just now, or no waiter waits for it.
        self.queue.put_all(job for job in covered if job.queue_entry is not None)

    # -- reports --

    def outlook(self, job_id: str, paused_until: float) -> PollOutlook:
        """Return when the job is polled next, and the error of its last poll."""
        job = self._jobs.get(job_id)
        if job is None:
            return PollOutlook()
        due = None
        if job.is_wanted:
            due = float("-inf") if job.queue_entry is None else max(job.due, paused_until)
        is_told = due is not None and job.is_covered
        return PollOutlook(due=due, trouble=job.trouble, failing_since=job.failing_since, is_told=is_told)
