"""The changes of many jobs, blocking. Events carry the caller's own jobs, not copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, Self, TypeVar

from .._jobs.events import Events as AsyncEvents
from .._jobs.events import JobEvent
from .._jobs.job import Job as AsyncJob
from ._iteration import next_item
from ._portal import Portal
from ._view import Closeable, View

JobT = TypeVar("JobT")


class Events(Closeable, View[AsyncEvents], Generic[JobT]):
    """An iterator over the changes of jobs, until all of them have ended."""

    def __init__(self, events: AsyncEvents, portal: Portal, views: Mapping[AsyncJob, JobT]) -> None:
        super().__init__(events, portal)
        self._views = views

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> JobEvent[JobT]:
        for event in self._portal.call(next_item, self._async):
            return JobEvent(self._views[event.job], event.old, event.new, event.at, event.seen_at)
        raise StopIteration

    def close(self) -> None:
        """Stop polling the jobs that are left."""
        self._portal.call(self._async.aclose)
