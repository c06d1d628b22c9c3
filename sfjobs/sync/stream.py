"""Many submissions with a bounded number of unfinished jobs, blocking."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, Self, TypeAlias, TypeVar

from .._jobs.job import Job as AsyncJob
from .._submission.stream import JobStream as AsyncJobStream
from .._submission.stream import pipeline_of
from .._submission.types import FAST_SOURCE_SECONDS, YIELD_EVERY, End, Program, Refusal
from ._portal import Portal
from ._view import Closeable, View

JobT = TypeVar("JobT")
Programs: TypeAlias = Iterable[Program]


class JobStream(Closeable, View[AsyncJobStream], Generic[JobT]):
    """
    An iterator over jobs in the order of their programs, with a Refusal in the place of a job that could not be submitted. The
    calling thread iterates over the programs, so that a generator of programs may use the connection itself.
    """

    def __init__(
        self, stream: AsyncJobStream, portal: Portal, programs: Programs, view: Callable[[AsyncJob], JobT]
    ) -> None:
        super().__init__(stream, portal)
        if isinstance(programs, str):
            raise TypeError("many programs are an iterable of programs, not one text: see create_job")
        self._pipeline = pipeline_of(stream)
        self._view = view
        self._source = iter(programs)
        self._lock = threading.Lock()
        self._is_fast = False
        self._is_closed = False
        # Both keep their items when Ctrl-C ends a call, at whatever point.
        self._pulled: deque[Program | End] = deque()
        self._ready: deque[AsyncJob | Refusal] = deque()

    @property
    def submitted(self) -> list[JobT]:
        """The jobs that were submitted and not returned yet, in order; also after closing."""
        ready = [item for item in self._ready if isinstance(item, AsyncJob)]
        return [self._view(job) for job in [*ready, *self._pipeline.submitted]]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> JobT | Refusal:
        with self._lock:
            if self._is_closed:
                raise StopIteration
            while not self._ready:
                wanted = self._portal.call(self._advance)
                if wanted is None:
                    raise StopIteration
                self._pull(wanted)
            item = self._ready.popleft()
        return self._view(item) if isinstance(item, AsyncJob) else item

    def close(self) -> None:
        """Submit nothing more. Jobs go on; ``submitted`` has those that were not returned. May be called twice."""
        self._is_closed = True
        self._portal.call(self._async.aclose)

    async def _advance(self) -> int | None:
        """Make outcomes ready and return 0, or return how many programs are needed first; None at the end."""
        pipeline = self._pipeline
        while self._pulled:
            pipeline.put(self._pulled.popleft())
        while not pipeline.is_ready:
            if pipeline.is_done:
                return None
            if pipeline.wanted and not pipeline.has_unsent and (self._is_fast or not pipeline.has_next):
                return pipeline.wanted
            await pipeline.advance()
        self._ready.extend(pipeline.pop_ready(YIELD_EVERY))
        return 0

    def _pull(self, wanted: int) -> None:
        """Get up to ``wanted`` programs from the source; fewer from a slow one, so that the first of them are sent meanwhile."""
        started = time.monotonic()
        while len(self._pulled) < wanted and not (self._pulled and time.monotonic() - started > FAST_SOURCE_SECONDS):
            try:
                self._pulled.append(next(self._source))
            except StopIteration:
                self._pulled.append(End())
                break
            except Exception as error:  # noqa: BLE001 - raised when the jobs before it have been handed out
                self._pulled.append(End(error))
                break
        self._is_fast = time.monotonic() - started < FAST_SOURCE_SECONDS * len(self._pulled)
