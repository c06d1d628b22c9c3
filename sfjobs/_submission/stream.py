"""The stream of jobs that ``Connection.create_jobs`` returns: reads the programs, drives the pipeline, yields the outcomes."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import Self

import anyio

from .._jobs.job import Job
from .._util.closing import Closeable
from .pipeline import SubmissionPipeline
from .types import FAST_SOURCE_SECONDS, YIELD_EVERY, End, Program, Programs, Refusal


class JobStream(Closeable):
    """
    What ``create_jobs`` iterates over: jobs in the order of their programs, with a Refusal in the place of each that there is
    not.

    May be abandoned, cancelled and gone on with at any step, and shared between tasks. Nothing runs between steps.
    """

    def __init__(self, submissions: SubmissionPipeline, programs: Programs) -> None:
        self._submissions = submissions
        self._source = _iterator(programs)
        self._turn = anyio.Lock()
        self._in_a_row = 0

    @property
    def submissions(self) -> SubmissionPipeline:
        """What is under way, for the blocking twin, which brings the programs itself."""
        return self._submissions

    @property
    def submitted(self) -> list[Job]:
        """The jobs that the platform has and that were not handed out yet, in order; also after closing."""
        return self._submissions.submitted

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Job | Refusal:
        # A lock that nobody holds costs a turn of the loop all the same: as much as the submission of a job.
        if self._in_a_row < YIELD_EVERY and self._submissions.is_ready and not self._turn.locked():
            self._in_a_row += 1
            return self._submissions.take()
        self._in_a_row = 0
        async with self._turn:
            while not self._submissions.is_ready:
                if self._submissions.is_over:
                    raise StopAsyncIteration
                await self._submissions.advance(self._pull)
            return self._submissions.take()

    async def aclose(self) -> None:
        """Submits nothing more. The jobs go on; ``submitted`` has those that were not handed out. Safe to call twice."""
        self._submissions.cut()

    async def _pull(self, most: int) -> bool:
        if isinstance(self._source, AsyncIterator):
            most = 1  # while it is waited for, nothing that has been put in may wait as well
        started, pulled = anyio.current_time(), 0
        while pulled < most and anyio.current_time() - started <= FAST_SOURCE_SECONDS:
            try:
                program = await anext(self._source) if isinstance(self._source, AsyncIterator) else next(self._source)
            except (StopIteration, StopAsyncIteration):
                self._submissions.put(End())
                return False
            except Exception as error:  # noqa: BLE001 - raised when the jobs before it have been handed out
                self._submissions.put(End(error))
                return False
            self._submissions.put(program)
            pulled += 1
        return anyio.current_time() - started < FAST_SOURCE_SECONDS * pulled


def _iterator(programs: Programs) -> Iterator[Program] | AsyncIterator[Program]:
    if isinstance(programs, AsyncIterable):
        return aiter(programs)
    if isinstance(programs, str):
        raise TypeError("many programs are an iterable or an async iterable of programs, not one text: see create_job")
    return iter(programs)
