"""
The latest events of the change feed. A job that is submitted, and waited for a moment later, needs no poll: events that came in
between, while it had no waiter, are still here.
"""

from __future__ import annotations

from collections import OrderedDict

from ..models import Cursor, JobSnapshot

MAX_RECENT_CHANGES = 1000
"""Jobs whose latest snapshot is kept. Each takes a kilobyte."""

RECENT_CHANGE_SECONDS = 30.0
"""
Time for which a snapshot is kept, unless there are too many. Without it a connection would collect the account's jobs, those of
other programs among them, up to ``MAX_RECENT_CHANGES``.
"""


class RecentChanges:
    """The latest snapshot of each job that has changed after ``_floor``."""

    def __init__(self) -> None:
        self._snapshots: OrderedDict[str, tuple[float, JobSnapshot]] = OrderedDict()
        self._floor: Cursor | None = None

    def restart(self, floor: Cursor) -> None:
        """Forget all snapshots. Those of events after ``floor`` will be added."""
        self._snapshots.clear()
        self._floor = floor

    def add(self, snapshot: JobSnapshot, now: float) -> None:
        """Keep the snapshot of an event."""
        self._snapshots.pop(snapshot.id, None)
        self._snapshots[snapshot.id] = (now, snapshot)
        while len(self._snapshots) > MAX_RECENT_CHANGES or self._oldest() < now - RECENT_CHANGE_SECONDS:
            self._floor = self._snapshots.popitem(last=False)[1][1].cursor

    def has_all_after(self, cursor: Cursor) -> bool:
        """Return whether no event after ``cursor`` has been forgotten."""
        return self._floor is not None and cursor.covers(self._floor)

    def get(self, job_id: str) -> JobSnapshot | None:
        """Return the latest snapshot of this job, None when it has none here."""
        _, snapshot = self._snapshots.get(job_id, (0.0, None))
        return snapshot

    def _oldest(self) -> float:
        """Time of the oldest snapshot kept."""
        return next(iter(self._snapshots.values()))[0]
