"""
What the change feed has told lately. A job that is submitted, and waited for a moment later, need not be asked about: all that
was told in between, while nobody waited for it, is still here.
"""

from __future__ import annotations

from collections import OrderedDict

from ..models import Cursor, JobSnapshot

MOST = 1000
"""Jobs that are remembered, of which each takes a kilobyte."""

MOMENT = 30.0
"""
Seconds for which a job is remembered, unless there are more. A connection that lives for long would gather jobs otherwise, those
that others have submitted among them, until it has that many.
"""


class RecentChanges:
    """The newest snapshot of each job that was told of since ``floor``."""

    def __init__(self) -> None:
        self._snapshots: OrderedDict[str, tuple[float, JobSnapshot]] = OrderedDict()
        self._floor: Cursor | None = None

    def begin(self, floor: Cursor) -> None:
        """What was told before ``floor`` is not remembered."""
        self._snapshots.clear()
        self._floor = floor

    def note(self, snapshot: JobSnapshot, now: float) -> None:
        """The feed tells this."""
        self._snapshots.pop(snapshot.id, None)
        self._snapshots[snapshot.id] = (now, snapshot)
        while len(self._snapshots) > MOST or self._told_first() < now - MOMENT:
            self._floor = self._snapshots.popitem(last=False)[1][1].cursor

    def reaches(self, cursor: Cursor) -> bool:
        """Whether all that was told after ``cursor`` is remembered."""
        return self._floor is not None and cursor.covers(self._floor)

    def of(self, job_id: str) -> JobSnapshot | None:
        """What was told last of this job."""
        _, snapshot = self._snapshots.get(job_id, (0.0, None))
        return snapshot

    def _told_first(self) -> float:
        """When the one was told that was told longest ago. There is always one, the newest."""
        return next(iter(self._snapshots.values()))[0]
