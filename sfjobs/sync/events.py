"""What happens to jobs, as it happens, blocking. The caller's own jobs come back, not copies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from .._jobs.events import JobEvent
from ._closeable import Closeable
from ._iteration import next_of

if TYPE_CHECKING:
    from .connection import Connection, Job


class Events(Closeable):
    """Iterates over what happens to jobs until all of them have ended."""

    def __init__(self, connection: Connection, jobs: Iterable[Job], timeout: float | None = None) -> None:
        self._connection = connection
        self._views = {job.twin: job for job in jobs}
        self._async = connection.twin.events(self._views, timeout)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> JobEvent[Job]:
        for event in self._connection.call(next_of, self._async):
            return JobEvent(self._views[event.job], event.old, event.new, event.at, event.seen_at)
        raise StopIteration

    def close(self) -> None:
        """Stop polling the jobs that are left."""
        self._connection.call(self._async.aclose)
