"""The async iterations over jobs, ``Completions`` and ``Events``, as far as they are the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self

import anyio

from .._tracking.poller import Poller
from .._tracking.types import Waiter
from .._util.aio import Closeable
from .._util.handles import IDS_INSTEAD
from .deadline import LAST_POLL_SECONDS, Deadline
from .job import Job, state_of
from .job_errors import wait_all_timeout_error


class JobIteration(Closeable):
    """
    An iteration that waits for jobs. It may be abandoned or cancelled at any step.

    Between steps it holds no task, no cancel scope and no request, only its waiter in the poller. ``timeout`` counts from the
    first step.
    """

    _instead: ClassVar[str] = IDS_INSTEAD
    # On the class, because a finalizer runs even when the constructor failed.
    _poller: Poller | None = None
    _waiter: Waiter | None = None

    def __init__(self, jobs: Iterable[Job], timeout: float | None) -> None:
        self._jobs = list(jobs)
        self._timeout = timeout
        self._deadline: Deadline | None = None
        self._done: set[str] = set()  # ids of the jobs that are ready, for the error at the deadline

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        """Stop polling the jobs that are left."""
        self._leave()

    def __del__(self) -> None:
        if self._poller is not None and self._waiter is not None:
            self._poller.abandon(self._waiter)

    def _leave(self) -> None:
        if self._poller is not None and self._waiter is not None:
            self._poller.leave(self._waiter)

    async def _step(self) -> None:
        if self._timeout is None:
            await self._fill()
            return
        if self._deadline is None:
            self._deadline = Deadline(self._timeout)
        with self._deadline.scope():
            await self._fill()
            return
        if self._waiter is not None and await self._deadline.poll_unpolled(map(state_of, self._jobs)):
            with anyio.move_on_after(LAST_POLL_SECONDS):
                await self._fill()
                return
        self._leave()
        raise wait_all_timeout_error(map(state_of, self._jobs), self._timeout, done=self._done)

    async def _fill(self) -> None:
        """Wait until there is something to hand out."""
        raise NotImplementedError

    async def _wait_for_one(self, poller: Poller, waiter: Waiter) -> None:
        try:
            await poller.wait_for(waiter, len(waiter.outcomes) + 1)
        except Exception:
            self._leave()
            raise
