"""The stream of jobs that ``Connection.create_jobs`` returns: reads the programs, drives the pipeline, yields the outcomes."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import Self

import anyio

from .._jobs.job import Job
from .._util.aio import Closeable
from .._util.handles import IDS_INSTEAD
from .pipeline import SubmissionPipeline
from .types import FAST_SOURCE_SECONDS, YIELD_EVERY, End, Program, Programs, Refusal


class JobStream(Closeable):
    """
    The iterator that ``create_jobs`` returns: jobs in the order of the programs, and a Refusal for each that was not submitted.

    It may be abandoned, cancelled and continued at any step, and shared between tasks. Nothing runs between steps.
    """

    __module__ = "sfjobs"
    _instead = IDS_INSTEAD

    def __init__(self, pipeline: SubmissionPipeline, programs: Programs) -> None:
        self._pipeline = pipeline
        self._source = _iterator(programs)
        self._lock = anyio.Lock()
        self._since_yield = 0

    @property
    def submitted(self) -> list[Job]:
        """The jobs that were submitted and not returned yet, in order; also after closing."""
        return self._pipeline.submitted

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Job | Refusal:
        # Even a free lock costs a turn of the event loop: as much as the submission of a job.
        if self._since_yield < YIELD_EVERY and self._pipeline.is_ready and not self._lock.locked():
            self._since_yield += 1
            return self._pipeline.pop()
        self._since_yield = 0
        async with self._lock:
            while not self._pipeline.is_ready:
                if self._pipeline.is_done:
                    raise StopAsyncIteration
                await self._pipeline.advance(self._pull)
            return self._pipeline.pop()

    async def aclose(self) -> None:
        """Submit nothing more. Jobs go on; ``submitted`` has those that were not returned. May be called twice."""
        self._pipeline.close()

    async def _pull(self, most: int) -> bool:
        if isinstance(self._source, AsyncIterator):
            most = 1  # while it is awaited, no program that was put may wait as well
        started, pulled = anyio.current_time(), 0
        while pulled < most and anyio.current_time() - started <= FAST_SOURCE_SECONDS:
            try:
                program = await anext(self._source) if isinstance(self._source, AsyncIterator) else next(self._source)
            except (StopIteration, StopAsyncIteration):
                self._pipeline.put(End())
                return False
            except Exception as error:  # noqa: BLE001 - raised after the jobs before it
                self._pipeline.put(End(error))
                return False
            self._pipeline.put(program)
            pulled += 1
        return anyio.current_time() - started < FAST_SOURCE_SECONDS * pulled


def pipeline_of(stream: JobStream) -> SubmissionPipeline:
    """Return the pipeline of ``stream``, for the blocking twin, which reads the programs in its own thread."""
    return stream._pipeline  # noqa: SLF001 - this module's own class


def _iterator(programs: Programs) -> Iterator[Program] | AsyncIterator[Program]:
    if isinstance(programs, AsyncIterable):
        return aiter(programs)
    if isinstance(programs, str):
        raise TypeError("many programs are an iterable or an async iterable of programs, not one text: see create_job")
    return iter(programs)
