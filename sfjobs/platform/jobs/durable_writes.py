"""Writes of the scheduler to the store, repeated while the store cannot be written, for instance on a full disk."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio
import anyio.lowlevel

T = TypeVar("T")
_RETRY_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


class NotWritten(Exception):
    """The platform stops before a change of a job could be written."""


class DurableWrites:
    """Repeats writes until they succeed or the platform stops. ``problem`` is why they fail now, None while they succeed."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self._stopping = anyio.Event()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """Repeat no more writes. What is not written then is repaired by the next start."""
        self._stopping.set()

    async def repeat(self, write: Callable[[], Awaitable[T]]) -> T:
        """
        Repeat a write until it succeeds: otherwise the change of the job would be lost.

        Raises:
            NotWritten: the platform stops.
            Exception: the write itself is wrong, and would fail in the same way again.
        """
        while True:
            try:
                value = await write()
            except sqlite3.OperationalError as error:
                if self.is_stopping:
                    await anyio.lowlevel.checkpoint()  # raises in a task that is cancelled
                    raise NotWritten(str(error)) from error
                self._note(str(error))
            else:
                self._note(None)
                return value
            with anyio.move_on_after(_RETRY_SECONDS):
                await self._stopping.wait()

    def _note(self, problem: str | None) -> None:
        if problem is not None and self.problem is None:
            message = (
                "the store cannot be written, and jobs wait: %s; it is tried again every %g s."
                " Free space on the disk of the data folder, or make it writable"
            )
            _log.error(message, problem, _RETRY_SECONDS)
        elif problem is None and self.problem is not None:
            _log.warning("the store can be written again")
        self.problem = problem
