"""The state of one job of a ``FakePlatform``: its status at each time, and the record that clients get. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from ..models import JobStatus, JSONValue


class JobHost(Protocol):
    """The platform of a job, as the job uses it."""

    def now(self) -> float: ...
    def date(self, seconds: float) -> datetime: ...
    def change(self, job: ScriptedJob, apply: Callable[[], None]) -> None: ...
    def default_result(self) -> object: ...


class ScriptedJob:
    """
    One job. ``number`` is that of its latest change, as its platform counts them; ``status`` is the one that it took last. The
    methods are called with the lock of the platform.
    """

    def __init__(
        self,
        host: JobHost,
        id_: str,
        *,
        name: str | None,
        target: str,
        program: str,
        language: str,
        run_time: float | None,
    ) -> None:
        self.id = id_
        self.name = name
        self.target = target
        self.program = program
        self.language = language
        self.meta: dict[str, JSONValue] = {}
        self.host = host
        self.number = 0
        self.status = JobStatus.QUEUED
        self._created_at = host.now()
        self._started_at: float | None = None
        self._finished_at: float | None = None
        self._end: tuple[float, JobStatus] | None = None
        if run_time is not None:
            self.end_in(run_time, JobStatus.COMPLETED)

    @property
    def ends_at(self) -> float | None:
        """When it ends by itself, in seconds of the platform's clock, or None."""
        return None if self._end is None else self._end[0]

    def become(self, status: JobStatus, now: float) -> None:
        """Take a status at this time."""
        self.status = status
        if status not in (JobStatus.CANCEL_PENDING, JobStatus.CANCELLED) and self._started_at is None:
            self._started_at = now
        if status.is_final:
            self._finished_at, self._end = now, None

    def end_in(self, seconds: float, status: JobStatus) -> None:
        """Run, and end after so many seconds."""
        now = self.host.now()
        self._started_at = now if self._started_at is None else self._started_at
        self._end = (now + seconds, status)

    def cancel_in(self, seconds: float) -> None:
        """Take a client's request to cancel it."""
        now = self.host.now()
        self.become(JobStatus.CANCEL_PENDING if seconds > 0 else JobStatus.CANCELLED, now)
        self._end = (now + seconds, JobStatus.CANCELLED) if seconds > 0 else None

    def end_if_due(self, now: float) -> bool:
        """Take the status whose time has come. Return whether there was one."""
        if self._end is None or self._end[0] > now:
            return False
        self.become(self._end[1], self._end[0])
        return True

    def record(self) -> dict[str, object]:
        """Return the job as the protocol shows it."""
        running = None
        if self._finished_at is not None and self._started_at is not None:
            running = round(self._finished_at - self._started_at, 6)
        return {
            "id": self.id,
            "name": self.name,
            "status": self.status.value,
            "target": self.target,
            "language": self.language,
            "created_at": self._date(self._created_at),
            "started_at": self._date(self._started_at),
            "finished_at": self._date(self._finished_at),
            "running_time": running,
            "meta": dict(self.meta),
        }

    def _date(self, seconds: float | None) -> str | None:
        return None if seconds is None else self.host.date(seconds).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
