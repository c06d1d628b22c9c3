"""
A slot for one worker process, which is replaced when it ends.

A worker that cannot start is trouble of the platform and not of a job: the slot tries again after 1 to 60 s, for as long as it
takes, and the log has one error for all slots.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio

from .executor import PlatformTrouble, retry_delay
from .worker_process import WorkerProcess

_log = logging.getLogger(__name__)


class StartProblems:
    """Which slots cannot start a worker, and why."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._reasons: dict[Slot, str] = {}
        self._ready: set[Slot] = set()
        self._first = anyio.Event()

    @property
    def of_all(self) -> str | None:
        """Why no slot can start a worker, None if one can or has not tried yet."""
        return next(iter(self._reasons.values())) if len(self._reasons) == self._slots else None

    async def wait_first(self) -> None:
        """Wait until one slot has a worker. Raises ``PlatformTrouble`` if each has tried to start one, and none could."""
        await self._first.wait()
        if not self._ready:
            raise PlatformTrouble(self.of_all or "no worker has started")

    def add(self, slot: Slot, reason: str) -> None:
        if self._reasons:
            _log.debug("a worker cannot be started: %s", reason)
        else:
            message = (
                "a worker cannot be started, and is tried again after 1 to 60 s; jobs wait for it in the queue: %s"
            )
            _log.error(message, reason)
        self._reasons[slot] = reason
        if len(self._reasons) == self._slots:
            self._first.set()

    def remove(self, slot: Slot) -> None:
        self._ready.add(slot)
        if self._reasons.pop(slot, None) is not None and not self._reasons:
            _log.warning("workers can be started again")
        self._first.set()


class Slot:
    """A place for one worker. ``start`` starts a worker or raises ``PlatformTrouble``."""

    def __init__(self, start: Callable[[], Awaitable[WorkerProcess]], problems: StartProblems) -> None:
        self._start = start
        self._problems = problems
        self._lock = anyio.Lock()
        self._failures = 0
        self.worker: WorkerProcess | None = None

    async def ready_worker(self) -> WorkerProcess:
        """Return the worker of this slot. If it has no worker, or the worker has ended, start one, as often as necessary."""
        async with self._lock:
            if self.worker is not None and self.worker.has_exited:
                _log.warning("worker %d ended while idle; another is started", self.worker.pid)
                await self.discard(self.worker)
            while self.worker is None:
                await anyio.sleep(retry_delay(self._failures))
                try:
                    self.worker = await self._start()
                except PlatformTrouble as error:
                    self._failures += 1
                    self._problems.add(self, error.detail)
                except Exception as error:  # noqa: BLE001 - whatever it is, jobs wait for it
                    self._failures += 1
                    _log.debug("a worker cannot be started", exc_info=True)
                    self._problems.add(self, f"{type(error).__name__}: {error}")
                else:
                    self._problems.remove(self)
            return self.worker

    async def prepare(self) -> None:
        """Start a worker in advance."""
        await self.ready_worker()

    async def discard(self, worker: WorkerProcess) -> None:
        """End this worker and empty the slot, unless it already has another worker."""
        if self.worker is worker:
            self.worker = None
            # A worker that starts and ends before it has begun a job must not be started in a loop.
            self._failures = 0 if worker.has_begun else self._failures + 1
        await worker.kill()
