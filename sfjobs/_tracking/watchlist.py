"""
What is watched: which waiters wait for which jobs, when each job is asked about next, and whom it concerns what the platform
says. No I/O, no tasks and no waiting: ``poller`` brings the reports and does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..errors import NotFoundError, SFJobsError
from ..models import Cursor, JobSnapshot
from .schedule import PollQueue
from .types import JobHandle, Outcome, PollInterval, PollOutlook, StatusReport, TrackedJob, Waiter, in_words

GATHER = 0.02
"""Seconds until a job that has just joined is first asked about, so that tasks started together share a request."""

MISSES = 3
"""A job that this many answers leave out is asked about by itself: a list may lag briefly behind a submission."""

VERIFY = 300.0
"""Seconds between two questions about a job that the change feed tells of: insurance against a feed that has lost something."""


class JobTracker:
    """The watched jobs of one connection."""

    def __init__(self, interval: PollInterval, draw: Callable[[], float]) -> None:
        self._interval = interval
        self._draw = draw
        self._watches: dict[str, TrackedJob] = {}
        self._listening_at: Cursor | None = None
        self.agenda = PollQueue()

    def __len__(self) -> int:
        return len(self._watches)

    # -- who waits --

    def join(self, waiter: Waiter, now: float, *, hold: float = 0.0) -> None:
        """
        Watches the waiter's jobs; those that have ended, as one of its subjects knows, have their outcome at once. Where the
        change feed is about to tell of a job, the first question about it is held back for ``hold`` seconds.
        """
        for job_id, same in waiter.subjects.items():
            final = next((subject.snapshot for subject in same if subject.snapshot.status.is_final), None)
            if final is not None:
                for subject in same:
                    subject.take(final, now)
                waiter.settle(job_id, final)
                continue
            watch = self._watches.get(job_id)
            if watch is None:
                watch = self._watches[job_id] = self._first_watch(job_id, same, now, hold)
            watch.waiters.append(waiter)
            waiter.passed_over.append(watch)

    def resume(self, waiter: Waiter) -> None:
        """Somebody waits on the waiter now."""
        for watch in waiter.passed_over:
            if self._watches.get(watch.job_id) is watch:
                self.agenda.resume(watch)
        waiter.passed_over.clear()

    def leave(self, waiter: Waiter) -> None:
        """Nobody asks any more about what only this waiter wanted."""
        for job_id in waiter.pending:
            watch = self._watches.get(job_id)
            if watch is not None and waiter in watch.waiters:
                watch.waiters.remove(waiter)
                for subject in waiter.subjects[job_id]:
                    subject.trouble = watch.trouble
                    if watch.is_covered:
                        subject.cursor = self._listening_at
                if not watch.waiters:
                    del self._watches[job_id]
                    self.agenda.drop(watch)
        waiter.pending.clear()

    def _first_watch(self, job_id: str, subjects: Sequence[JobHandle], now: float, hold: float) -> TrackedJob:
        since = min(now if subject.first_seen is None else subject.first_seen for subject in subjects)
        asked_at = max((subject.asked_at for subject in subjects if subject.asked_at is not None), default=None)
        due = now + GATHER
        if asked_at is not None:
            due = max(due, asked_at + self._interval.interval(asked_at - since, self._draw))
        best = max(subjects, key=lambda subject: (subject.cursor and subject.cursor.number) or -1)
        watch = TrackedJob(
            job_id, since, due, snapshot=best.snapshot, cursor=best.cursor, listened_from=self._listening_at
        )
        if watch.is_covered:
            watch.due = now + self._until_verified()
        elif watch.cursor is not None:
            watch.due = max(due, now + hold)
        return watch

    # -- what the platform said --

    def known(self, job_id: str) -> JobSnapshot | None:
        """What was last heard of a watched job."""
        watch = self._watches.get(job_id)
        return None if watch is None else watch.snapshot

    def take_report(self, ids: Sequence[str], report: StatusReport, now: float) -> list[str]:
        """An answer about these ids. Gives back those that were left out so often that each has to be asked about by itself."""
        return [job_id for job_id in ids if not self._take_one(job_id, report, now)]

    def hear(self, snapshot: JobSnapshot, now: float) -> bool:
        """News that nobody asked for: of the change feed, or of another request. Whether it is about a watched job."""
        watch = self._watches.get(snapshot.id)
        if watch is not None:
            self._deliver(watch, snapshot, snapshot.cursor, now)
        return watch is not None

    def _take_one(self, job_id: str, report: StatusReport, now: float) -> bool:
        watch = self._watches.get(job_id)
        if watch is None:
            return True
        watch.failing_since = None
        snapshot = report.snapshots.get(job_id)
        if snapshot is None:
            watch.misses += 1
            watch.trouble = f"the platform's answer left it out ({watch.misses} times in a row)"
            self._postpone(watch, now)
            return watch.misses < MISSES
        watch.misses = 0
        if snapshot is watch.snapshot:
            self._confirm(watch, report.cursor, now)
        else:
            self._deliver(watch, snapshot, report.cursor, now)
        if not snapshot.status.is_final:
            self._postpone(watch, now)
        return True

    def _confirm(self, watch: TrackedJob, cursor: Cursor | None, now: float) -> None:
        """The job is as it was, which is what most answers say of most jobs."""
        watch.trouble = watch.failing_since = None
        watch.cursor = cursor or watch.cursor
        for waiter in watch.waiters:
            for subject in waiter.subjects[watch.job_id]:
                subject.take(watch.snapshot or subject.snapshot, now)
                subject.cursor = watch.cursor

    def _deliver(self, watch: TrackedJob, snapshot: JobSnapshot, cursor: Cursor | None, now: float) -> None:
        watch.trouble = watch.failing_since = None
        if cursor is not None and not (watch.cursor is not None and watch.cursor.covers(cursor)):
            watch.cursor = cursor
        if watch.snapshot is None or not snapshot.is_behind(watch.snapshot):
            watch.snapshot = snapshot
        for waiter in watch.waiters:
            for subject in waiter.subjects[watch.job_id]:
                before = subject.snapshot
                subject.take(snapshot, now)
                subject.cursor = watch.cursor
                if subject.snapshot is not before:
                    waiter.note(subject, before)
        if snapshot.status.is_final:
            self._end(watch, snapshot)

    def _end(self, watch: TrackedJob, outcome: Outcome) -> None:
        del self._watches[watch.job_id]
        self.agenda.drop(watch)
        for waiter in watch.waiters:
            waiter.settle(watch.job_id, outcome)

    def _postpone(self, watch: TrackedJob, now: float) -> None:
        pause = self._until_verified() if watch.is_covered else self._interval.interval(now - watch.since, self._draw)
        self.agenda.put(watch, now + pause)

    def _until_verified(self) -> float:
        return VERIFY * (1 + self._interval.jitter * self._draw())

    # -- what went wrong --

    def note_transient(self, ids: Sequence[str], error: SFJobsError, now: float, *, due: float) -> None:
        """A question that was not answered is ``due`` again."""
        for job_id in ids:
            watch = self._watches.get(job_id)
            if watch is not None:
                self.agenda.put(watch, due)
                watch.trouble = in_words(error)
                watch.failing_since = now if watch.failing_since is None else watch.failing_since

    def note_permanent(self, job_id: str, error: SFJobsError, now: float) -> None:
        """
        The platform says no about this job, which is its outcome. That it does not know it has to be said several times: it may
        not know it yet.
        """
        watch = self._watches.get(job_id)
        if watch is None:
            return
        watch.trouble, watch.failing_since = in_words(error), None
        if isinstance(error, NotFoundError):
            watch.misses += 1
            if watch.misses < MISSES:
                self._postpone(watch, now)
                return
        self._end(watch, error)

    def fail(self, ids: Sequence[str], error: SFJobsError) -> None:
        """Everyone who waits for one of these jobs hears of ``error``."""
        for job_id in ids:
            watch = self._watches.get(job_id)
            if watch is None:
                continue
            watch.trouble = in_words(error)
            for waiter in watch.waiters:
                waiter.fail(error)

    def put_back(self, asked: Sequence[TrackedJob]) -> bool:
        """What was taken from the agenda and has not been asked about is due as before; whether there was any."""
        unanswered = [watch for watch in asked if watch.entry is None and self._watches.get(watch.job_id) is watch]
        for watch in unanswered:
            self.agenda.put(watch, watch.due)
        return bool(unanswered)

    # -- the change feed --

    def start_of_feed(self, offer: Cursor) -> Cursor:
        """From where the feed must be heard to tell all that is not known of the watched jobs; ``offer`` at the latest."""
        start = offer
        for watch in self._watches.values():
            if watch.cursor is not None and start.covers(watch.cursor):
                start = watch.cursor
        return start

    def listen(self, start: Cursor, now: float) -> None:
        """The feed is heard from ``start`` on: it tells of what is known up to there, the rest is asked about as before."""
        self._listening_at = start
        for watch in self._watches.values():
            watch.listened_from = start
        self._put_off({watch: now + self._until_verified() for watch in self._watches.values() if watch.is_covered})

    def heard_up_to(self, place: Cursor) -> None:
        """All that happened before this place has been told."""
        self._listening_at = place

    def stop_listening(self, now: float, *, is_expired: bool = False) -> None:
        """
        The feed is not heard any more: every job that it was to tell of is asked about now. If what is known of them
        ``is_expired``, no feed can go on from there.
        """
        self._listening_at = None
        self._put_off({watch: now for watch in self._watches.values() if watch.is_covered})
        for watch in self._watches.values():
            watch.listened_from = None
            watch.cursor = None if is_expired else watch.cursor

    def _put_off(self, dues: Mapping[TrackedJob, float]) -> None:
        for watch, due in dues.items():
            watch.due = due
        # One that has no place in the agenda is being asked about just now, or nobody waits for it.
        self.agenda.put_all([item for item in dues.items() if item[0].entry is not None])

    # -- for people --

    def outlook(self, job_id: str, resting_until: float) -> PollOutlook:
        """When the next question about this job is due, and what went wrong with the last one."""
        watch = self._watches.get(job_id)
        if watch is None:
            return PollOutlook()
        if not watch.is_wanted:
            return PollOutlook(trouble=watch.trouble, failing_since=watch.failing_since)
        is_under_way = watch.entry is None
        due = float("-inf") if is_under_way else max(watch.due, resting_until)
        return PollOutlook(due=due, trouble=watch.trouble, failing_since=watch.failing_since, is_told=watch.is_covered)
