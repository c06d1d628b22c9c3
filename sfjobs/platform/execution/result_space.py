"""
Whether results can be stored. After a failure, no job starts until a small file can be written and synced in their folder: each
job would run in vain.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from .executor import retry_delay

_PROBE: Final = ".probe"
_PROBE_BYTES: Final = 64 << 10
_MARGIN_BYTES: Final = 1 << 20
_FRESH_SECONDS: Final = 2.0
_log = logging.getLogger(__name__)


class ResultSpace:
    """The disk of a folder of results. ``problem`` is why nothing can be stored there, None if it can as far as is known."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = anyio.Lock()
        self._probing = threading.Lock()  # a probe that hangs holds one thread and not more
        self._probed = -_FRESH_SECONDS
        self.problem: str | None = None

    def report(self, problem: str) -> None:
        """Note that a result could not be stored."""
        if self.problem is None:
            message = (
                "a result cannot be stored, and jobs wait until there is room again: %s;"
                " free space on the disk of the data folder, or make it writable"
            )
            _log.error(message, problem)
        self.problem = problem

    async def wait_writable(self) -> None:
        """Return when results can be stored: at once, unless a failure was reported; then after a probe."""
        async with self._lock:
            failures = 0
            while self.problem is not None:
                await self.check(fresh_seconds=0.0)
                if self.problem is not None:
                    failures += 1
                    await anyio.sleep(retry_delay(failures))

    async def check(self, *, fresh_seconds: float = _FRESH_SECONDS) -> str | None:
        """Probe the folder, unless it was probed within these seconds, and return the problem."""
        if time.monotonic() - self._probed >= fresh_seconds:
            problem = await anyio.to_thread.run_sync(self._probe, abandon_on_cancel=True)
            self._probed = time.monotonic()
            if problem is not None:
                self.report(problem)
            elif self.problem is not None:
                self.problem = None
                _log.warning("results can be stored again")
        return self.problem

    def has_room(self, size: int) -> bool:
        """Return whether the disk has room for ``size`` more bytes, as far as it says."""
        try:
            return shutil.disk_usage(self._folder).free >= size + _MARGIN_BYTES
        except OSError:
            return False

    def _probe(self) -> str | None:
        if not self._probing.acquire(blocking=False):
            return "the disk does not respond"
        path = self._folder / _PROBE
        try:
            try:
                with path.open("wb") as file:
                    file.write(bytes(_PROBE_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                path.unlink(missing_ok=True)
        except OSError as error:
            return error.strerror or type(error).__name__
        finally:
            self._probing.release()
        return None
