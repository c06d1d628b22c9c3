"""Start no job while the disk of the data directory has little space: neither results nor changes of jobs could be stored."""

from __future__ import annotations

import logging
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

import anyio
import anyio.to_thread

from .scheduler import Scheduler

CHECK_INTERVAL_SECONDS: Final = 2.0
_REASON: Final = "the platform's disk is nearly full"
_log = logging.getLogger(__name__)


class DiskWatch(anyio.AsyncContextManagerMixin):
    """
    Holds the scheduler while ``folder`` has less than ``minimum`` bytes of free space. Watches inside of it as an async context
    manager, where the first check is done before it is entered.
    """

    def __init__(
        self, scheduler: Scheduler, folder: Path, minimum: int, *, free: Callable[[Path], int] | None = None
    ) -> None:
        self._scheduler = scheduler
        self._folder = folder
        self._minimum = minimum
        self._free = free or _free_bytes
        self.problem: str | None = None
        """Why no job starts, for the operator; None while there is enough space."""

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        async with anyio.create_task_group() as tasks:
            if self._minimum:
                await self.check()
                tasks.start_soon(self._watch)
            try:
                yield self
            finally:
                tasks.cancel_scope.cancel()

    async def check(self) -> None:
        """Compare the free space with the minimum now. Space that cannot be read counts as enough: a job shows what is wrong."""
        try:
            free = await anyio.to_thread.run_sync(self._free, self._folder, abandon_on_cancel=True)
        except OSError as error:
            _log.warning("the free space of %s cannot be read: %s", self._folder, error)
            free = self._minimum
        if free < self._minimum:
            if self.problem is None:
                message = (
                    "no job starts: the disk of %s has %d MiB of free space, less than the %d MiB of --min-free-disk"
                )
                _log.error(message, self._folder, free >> 20, self._minimum >> 20)
            self.problem = f"less than {self._minimum >> 20} MiB of free space on the disk"
            self._scheduler.hold(_REASON)
        elif self.problem is not None:
            _log.warning("jobs start again: the disk of %s has %d MiB of free space", self._folder, free >> 20)
            self.problem = None
            self._scheduler.release()

    async def _watch(self) -> None:
        while True:
            await anyio.sleep(CHECK_INTERVAL_SECONDS)
            await self.check()


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
