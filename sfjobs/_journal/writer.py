"""
One thread that writes a journal and commits many writes together: those that arrive during one commit share the next one. The
waiters may be in any number of event loops, of asyncio or trio.
"""

from __future__ import annotations

import atexit
import logging
import queue
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

import anyio
import anyio.lowlevel

from ..errors import JournalError
from .database import JournalDatabase, Operation
from .location import JournalLocation

logger = logging.getLogger("sfjobs")

T = TypeVar("T")

MAX_WRITES_PER_COMMIT = 256
COMMIT_DELAY_SECONDS = 0.05
"""How long writes without a waiter wait for others to share their commit."""
EXIT_TIMEOUT_SECONDS = 5.0
"""How long the end of the process waits for writes."""


class Write:
    """One operation in the queue. ``notify`` is called in the writer's thread once it is on disk or has failed."""

    # Not a Future, whose locks cost 2 % of a submission.
    __slots__ = ("error", "has_waiter", "is_cancelled", "notify", "operation", "value")

    def __init__(self, operation: Operation, notify: Callable[[], object], *, has_waiter: bool) -> None:
        self.operation = operation
        self.notify = notify
        self.has_waiter = has_waiter
        self.is_cancelled = False
        self.value: Any = None
        self.error: Exception | None = None


class Writer:
    """
    The handle of the thread. The thread ends when this is no longer referenced and when the process ends, after the writes in the
    queue.
    """

    def __init__(self, location: JournalLocation) -> None:
        self._writes: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=_work, args=(location, self._writes), name="sfjobs-journal", daemon=True)
        self._thread.start()
        _writers[self._thread] = self._writes
        weakref.finalize(self, self._writes.put, None)

    async def run(self, operation: Callable[..., T]) -> T:
        """
        Run ``operation`` and return its value once it is on disk.

        After a cancellation it may have run or not. Later writes run after it.

        Raises:
            JournalError: it cannot be written.
        """
        call_soon, done = _call_soon(), anyio.Event()
        write = Write(operation, lambda: call_soon(done.set), has_waiter=True)
        self._put(write)
        try:
            await done.wait()
        except BaseException:
            write.is_cancelled = True
            raise
        if write.error is not None:
            raise write.error
        return cast("T", write.value)

    def put(self, operation: Operation) -> None:
        """Queue ``operation`` without waiting for it. Failures are logged."""
        write = Write(operation, lambda: _log_failure(write), has_waiter=False)
        try:
            self._put(write)
        except JournalError as error:
            write.error = error
            _log_failure(write)

    def _put(self, write: Write) -> None:
        if not self._thread.is_alive():
            raise JournalError("The journal of submissions is closed: the process is about to end.")
        self._writes.put(write)


_writers: weakref.WeakKeyDictionary[threading.Thread, queue.SimpleQueue[Write | None]] = weakref.WeakKeyDictionary()


@atexit.register
def _finish() -> None:
    for thread, writes in list(_writers.items()):
        if thread.is_alive():
            writes.put(None)
            thread.join(EXIT_TIMEOUT_SECONDS)


def _call_soon() -> Callable[[Callable[[], object]], object]:
    """Return a function that schedules a call in the current event loop from any thread, without waiting."""
    loop: Any = anyio.lowlevel.current_token().native_token
    call_soon: Callable[[Callable[[], object]], object] = (
        getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon
    )
    return call_soon


def _log_failure(write: Write) -> None:
    if write.error is not None:
        logger.error("the outcome of a submission was not written to the journal: %s", write.error)


def _work(location: JournalLocation, writes: queue.SimpleQueue[Write | None]) -> None:
    database = JournalDatabase(location)
    try:
        while (first := writes.get()) is not None:
            batch = _batch(first, writes)
            _commit(database, location, batch)
            for write in batch:
                try:
                    write.notify()
                except RuntimeError:
                    logger.debug("a write to the journal was awaited in an event loop that has ended")
            del first, batch, write  # their operations refer to the journal
    finally:
        database.close()


def _batch(first: Write, writes: queue.SimpleQueue[Write | None]) -> list[Write]:
    """Return the writes of the next commit. While none of them has a waiter, wait for more."""
    batch = [first]
    has_waiter = first.has_waiter
    deadline = time.monotonic() + COMMIT_DELAY_SECONDS
    while len(batch) < MAX_WRITES_PER_COMMIT:
        try:
            write = writes.get_nowait() if has_waiter else writes.get(timeout=max(deadline - time.monotonic(), 0.0))
        except queue.Empty:
            break
        if write is None:
            writes.put(None)  # for the caller
            break
        batch.append(write)
        has_waiter = has_waiter or write.has_waiter
    return batch


def _commit(database: JournalDatabase, location: JournalLocation, batch: list[Write]) -> None:
    batch = [write for write in batch if not write.is_cancelled]
    if not batch:
        return
    try:
        values = database.transact([write.operation for write in batch])
    except Exception as error:  # noqa: BLE001 - the waiter gets it
        if len(batch) > 1:
            for write in batch:  # the failure of one must not fail the others
                _commit(database, location, [write])
        elif isinstance(error, sqlite3.Error | OSError):
            consequence = "Nothing was sent." if batch[0].has_waiter else "`sfjobs recover` will find it out."
            batch[0].error = location.failure(error, consequence)
        else:
            batch[0].error = error
        return
    for write, value in zip(batch, values, strict=True):
        write.value = value
