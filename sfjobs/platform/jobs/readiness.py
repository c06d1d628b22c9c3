"""
Whether the platform can take and run jobs now, for ``/readyz``. Running jobs are not affected by the checks.

The checks write to the disk, and anyone may ask: their outcome is kept for two seconds, and only one check runs at a time.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import anyio

from ..store.interface import JobStore
from .scheduler import Scheduler

OK: Final = "ok"
_NOT_WRITABLE: Final = "not writable"
_NEARLY_FULL: Final = "nearly full: no job starts"
_NO_RESPONSE: Final = "no response"
_FRESH_SECONDS: Final = 2.0
_TIMEOUT_SECONDS: Final = 5.0


class Readiness:
    """The state of each part that jobs need, in fixed words: the reasons, which may name paths, are in the log."""

    def __init__(self, store: JobStore, scheduler: Scheduler) -> None:
        self._store = store
        self._scheduler = scheduler
        self._lock = anyio.Lock()
        self._checked = -_FRESH_SECONDS
        self._parts: dict[str, str] = {}

    @property
    def is_draining(self) -> bool:
        """Whether the platform stops, so that no job starts."""
        return self._scheduler.is_draining

    async def parts(self) -> dict[str, str]:
        """Return a word for ``disk`` (results), ``database`` (jobs) and ``workers``: ``ok``, or what is wrong."""
        parts = {"disk": _NO_RESPONSE, "database": _NO_RESPONSE}
        with anyio.move_on_after(_TIMEOUT_SECONDS):
            async with self._lock:
                if anyio.current_time() - self._checked >= _FRESH_SECONDS:
                    self._parts = await self._check(parts)
                    self._checked = anyio.current_time()
            parts = self._parts
        return {**parts, "workers": OK if self._scheduler.worker_problem is None else "cannot be started"}

    async def _check(self, parts: dict[str, str]) -> dict[str, str]:
        """Return the state of the disk and the database. ``parts`` has what is known when this is cancelled."""
        if await self._scheduler.storage_problem() is not None:
            parts["disk"] = _NOT_WRITABLE
        else:
            parts["disk"] = OK if self._scheduler.held is None else _NEARLY_FULL
        try:
            await self._store.check_writable()
        except sqlite3.Error:
            parts["database"] = _NOT_WRITABLE
        else:
            parts["database"] = OK if self._scheduler.store_problem is None else _NOT_WRITABLE
        return dict(parts)
