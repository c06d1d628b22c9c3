"""
Delete jobs: one because its account asks for it, and old ones and their results by the platform's ``Retention``. All is done in
small steps with pauses, so that submissions and changes of jobs come between.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Self

import anyio
import anyio.to_thread

from ..limits import Retention
from ..records import DeletedJob
from ..results.interface import ResultStore
from ..store.interface import JobStore

MAX_SWEEP_INTERVAL_SECONDS: Final = 3600.0
MIN_SWEEP_INTERVAL_SECONDS: Final = 1.0
STEP_PAUSE_SECONDS: Final = 0.05

CLOCK_STEP_SECONDS: Final = 3600.0
"""A wall clock that goes on by this much more than the time that passed was set forward, or the machine slept."""
CLOCK_HOLD_SECONDS: Final = 24 * 3600.0
"""After such a step nothing is deleted by age for this time, in which a wrong clock can be set right."""

_log = logging.getLogger(__name__)


class Cleaner(anyio.AsyncContextManagerMixin):
    """
    Deletes jobs and results. Inside of it as an async context manager, what ``retention`` does not keep is deleted as well.
    ``clock`` returns seconds since 1970.
    """

    def __init__(
        self, store: JobStore, results: ResultStore, retention: Retention, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._results = results
        self._retention = retention
        self._clock = clock
        self._offset: float | None = None  # of the clock from the time that passes
        self._hold_until = 0.0

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._sweep_regularly)
            try:
                yield self
            finally:
                tasks.cancel_scope.cancel()

    async def delete(self, account: str, job_id: str) -> DeletedJob | None:
        """
        Delete a job that has ended, with its program and its result. None if the account has no such job or it has not ended.
        Durable when this returns, also if the file of the result could not be deleted yet.
        """
        deleted = await self._store.delete_job(account, job_id)
        if deleted is not None and deleted.result is not None:
            await self._delete_files([deleted.result])
        return deleted

    async def finish_deletions(self) -> None:
        """Delete the files of results that were deleted before the platform ended. Call it before the results are reconciled."""
        while (names := self._store.deleted_results()) and await self._delete_files(names):
            pass

    async def sweep(self) -> None:
        """Delete what is not kept any more, and the files of deleted results, and let the database shrink."""
        steps: list[Callable[[], Awaitable[int]]] = []
        if not self._is_clock_doubtful():
            for keep, delete in (
                (self._retention.jobs, self._store.delete_old_jobs),
                (self._retention.results, self._store.delete_old_results),
            ):
                if keep is not None:
                    steps.append(partial(delete, int((self._clock() - keep) * 1e6)))
        for step in (*steps, self._store.forget_deleted_jobs, self._store.shrink):
            while await step():
                await self._delete_files(self._store.deleted_results())
                await anyio.sleep(STEP_PAUSE_SECONDS)
        await self._delete_files(self._store.deleted_results())

    async def _sweep_regularly(self) -> None:
        kept = [seconds for seconds in (self._retention.results, self._retention.jobs) if seconds is not None]
        interval = max(MIN_SWEEP_INTERVAL_SECONDS, min([MAX_SWEEP_INTERVAL_SECONDS, *(keep / 20 for keep in kept)]))
        while True:
            try:
                await self.sweep()
            except (sqlite3.Error, OSError) as error:
                _log.error("old jobs and results could not be deleted, trying again in %.0f s: %s", interval, error)
            await anyio.sleep(interval)

    async def _delete_files(self, names: list[str]) -> int:
        """Delete the files of deleted results. Return how many are gone."""
        if not names:
            return 0
        gone = await anyio.to_thread.run_sync(partial(_delete_results, self._results, names))
        await self._store.forget_deleted_files(gone)
        return len(gone)

    def _is_clock_doubtful(self) -> bool:
        now = anyio.current_time()
        offset = self._clock() - now
        if self._offset is not None and offset - self._offset > CLOCK_STEP_SECONDS:
            self._hold_until = now + CLOCK_HOLD_SECONDS
            _log.warning(
                "the clock went forward by %.1f h: nothing is deleted by its age for the next %.0f h; set a wrong clock right",
                (offset - self._offset) / 3600,
                CLOCK_HOLD_SECONDS / 3600,
            )
        elif self._offset is not None and self._offset - offset > CLOCK_STEP_SECONDS:
            self._hold_until = 0.0  # it was set right
        self._offset = offset
        return now < self._hold_until


def _delete_results(results: ResultStore, names: list[str]) -> list[str]:
    """Delete the files. Return the names of those that are gone."""
    gone = []
    for name in names:
        try:
            results.delete(name)
        except OSError as error:
            _log.warning("the deleted result %s still takes space, trying again later: %s", name, error)
        else:
            gone.append(name)
    return gone
