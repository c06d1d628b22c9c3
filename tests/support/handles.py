"""A job handle as the poller sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sfjobs.models import Cursor, JobSnapshot, JobStatus


@dataclass(eq=False)
class Handle:
    id: str
    snapshot: JobSnapshot = field(init=False)
    first_seen: float | None = None
    asked_at: float | None = None
    cursor: Cursor | None = None
    trouble: str | None = None

    def __post_init__(self) -> None:
        self.snapshot = JobSnapshot(id=self.id, status=JobStatus.QUEUED)

    def apply(self, snapshot: JobSnapshot, at: float) -> None:
        self.asked_at = at
        assert not snapshot.is_behind(self.snapshot) or self.snapshot.status.is_final
        if not snapshot.is_behind(self.snapshot):
            self.snapshot = snapshot
