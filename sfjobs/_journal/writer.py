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
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar, cast

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


class Write(NamedTuple):
    """One operation in the queue. Its future ends in the writer's thread, once the operation is on disk or has failed."""

    operation: Operation
    future: Future[Any]
    has_waiter: bool


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

        def wake(_: Future[Any]) -> None:
            try:
                call_soon(done.set)
            except RuntimeError:
                logger.debug("a write to the journal was awaited in an event loop that has ended")

        future = self._put(operation, has_waiter=True)
        future.add_done_callback(wake)
        try:
            await done.wait()
        except BaseException:
            future.cancel()
            raise
        return cast("T", future.result())

    def put(self, operation: Operation) -> None:
        """Queue ``operation`` without waiting for it. Failures are logged."""
        try:
            self._put(operation, has_waiter=False).add_done_callback(_log_failure)
        except JournalError as error:
            _log(error)

    def _put(self, operation: Operation, *, has_waiter: bool) -> Future[Any]:
        if not self._thread.is_alive():
            raise JournalError("The journal of submissions is closed: the process is about to end.")
        write = Write(operation, Future(), has_waiter)
        self._writes.put(write)
        return write.future


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


def _log_failure(future: Future[Any]) -> None:
    if (error := future.exception()) is not None:
        _log(error)


def _log(error: BaseException) -> None:
    logger.error("the outcome of a submission was not written to the journal: %s", error)


def _work(location: JournalLocation, writes: queue.SimpleQueue[Write | None]) -> None:
    database = JournalDatabase(location)
    try:
        while (first := writes.get()) is not None:
            batch, is_last = _batch(first, writes)
            _commit(database, location, [write for write in batch if write.future.set_running_or_notify_cancel()])
            del first, batch
            if is_last:
                return
    finally:
        database.close()


def _batch(first: Write, writes: queue.SimpleQueue[Write | None]) -> tuple[list[Write], bool]:
    """Return the writes of the next commit, and whether they are the last. Without a waiter, more of them are awaited."""
    batch = [first]
    has_waiter = first.has_waiter
    deadline = time.monotonic() + COMMIT_DELAY_SECONDS
    while len(batch) < MAX_WRITES_PER_COMMIT:
        try:
            write = writes.get_nowait() if has_waiter else writes.get(timeout=max(deadline - time.monotonic(), 0.0))
        except queue.Empty:
            break
        if write is None:
            return batch, True
        batch.append(write)
        has_waiter = has_waiter or write.has_waiter
    return batch, False


def _commit(database: JournalDatabase, location: JournalLocation, batch: list[Write]) -> None:
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
            batch[0].future.set_exception(location.failure(error, consequence))
        else:
            batch[0].future.set_exception(error)
        return
    for write, value in zip(batch, values, strict=True):
        write.future.set_result(value)
