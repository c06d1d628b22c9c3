"""Many submissions with a window, blocking."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Self, TypeAlias

from .._jobs.job import Job as AsyncJob
from .._submission.pipeline import SubmissionPipeline
from .._submission.types import FAST_SOURCE_SECONDS, YIELD_EVERY, End, Program, Refusal
from ._closeable import Closeable

if TYPE_CHECKING:
    from .connection import Connection, Job

Programs: TypeAlias = Iterable[Program]


class JobStream(Closeable):
    """
    What ``create_jobs`` iterates over: jobs in the order of their programs, with a Refusal in the place of each that there is
    not. Programs are made in the thread that iterates, so that what makes them may use the connection itself.
    """

    def __init__(
        self,
        connection: Connection,
        view: Callable[[AsyncJob], Job],
        submissions: SubmissionPipeline,
        programs: Programs,
    ) -> None:
        if isinstance(programs, str):
            raise TypeError("many programs are an iterable of programs, not one text: see create_job")
        self._connection = connection
        self._view = view
        self._submissions = submissions
        self._source = iter(programs)
        self._turn = threading.Lock()
        self._is_prompt = False
        self._is_closed = False
        # These two outlive a call that Ctrl-C ends, in whatever moment.
        self._pulled: deque[Program | End] = deque()
        self._given: deque[AsyncJob | Refusal] = deque()

    @property
    def submitted(self) -> list[Job]:
        """The jobs that the platform has and that were not handed out yet, in order; also after closing."""
        given = [item for item in self._given if isinstance(item, AsyncJob)]
        return [self._view(job) for job in [*given, *self._submissions.submitted]]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Job | Refusal:
        with self._turn:
            if self._is_closed:
                raise StopIteration
            while not self._given:
                wanted = self._connection.call(self._step)
                if wanted is None:
                    raise StopIteration
                self._pull(wanted)
            item = self._given.popleft()
        return self._view(item) if isinstance(item, AsyncJob) else item

    def close(self) -> None:
        """Submits nothing more. The jobs go on; ``submitted`` has those that were not handed out. Safe to call twice."""
        self._is_closed = True
        self._connection.call(self._cut)

    async def _cut(self) -> None:
        self._submissions.close()

    async def _step(self) -> int | None:
        """Makes the next outcomes ready, or says how many programs are wanted before; None when there is nothing left."""
        submissions = self._submissions
        while self._pulled:
            submissions.put(self._pulled.popleft())
        while not submissions.is_ready:
            if submissions.is_done:
                return None
            if submissions.wanted and not submissions.has_unsent and (self._is_prompt or not submissions.has_next):
                return submissions.wanted
            await submissions.advance()
        self._given.extend(submissions.pop_ready(YIELD_EVERY))
        return 0

    def _pull(self, wanted: int) -> None:
        """Up to as many programs: fewer when making them takes its time, for then those that there are go first."""
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
        self._is_prompt = time.monotonic() - started < FAST_SOURCE_SECONDS * len(self._pulled)
