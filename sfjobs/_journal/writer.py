"""
One thread that writes a journal, in groups: what comes while one group is on its way to the disk makes the next, so that many
submissions share the wait for it. Whoever waits is in an event loop, asyncio's or trio's, and any number of them may be.
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

LARGEST_GROUP = 256
LINGER = 0.05
"""Seconds that writes which nobody waits for may wait for one to share its commit."""
LAST_WORDS = 5.0
"""Seconds that the end of the process waits for what is still to be written."""


class Write:
    """One operation on its way. ``tell`` is called in the writer's thread when it is on disk or has failed."""

    __slots__ = ("error", "is_urgent", "is_withdrawn", "operation", "tell", "value")

    def __init__(self, operation: Operation, tell: Callable[[], object], *, is_urgent: bool) -> None:
        self.operation = operation
        self.tell = tell
        self.is_urgent = is_urgent
        self.is_withdrawn = False
        self.value: Any = None
        self.error: Exception | None = None


class Writer:
    """
    The thread, as seen from the others. It ends when nobody holds this any more, and when the process ends, after what was
    put in by then.
    """

    def __init__(self, place: JournalLocation) -> None:
        self._writes: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=_work, args=(place, self._writes), name="sfjobs-journal", daemon=True)
        self._thread.start()
        _writers[self._thread] = self._writes
        weakref.finalize(self, self._writes.put, None)

    async def run(self, operation: Callable[..., T]) -> T:
        """
        What ``operation`` returns, once it is on disk. Cancelled, it may have been done or not; what is put in afterwards is
        done after it. Raises JournalError.
        """
        soon, done = _soon(), anyio.Event()
        write = Write(operation, lambda: soon(done.set), is_urgent=True)
        self._put(write)
        try:
            await done.wait()
        except BaseException:
            write.is_withdrawn = True
            raise
        if write.error is not None:
            raise write.error
        return cast("T", write.value)

    def put(self, operation: Operation) -> None:
        """Has it done soon, and waits for nothing and raises nothing; what goes wrong is in the log."""
        write = Write(operation, lambda: _report(write), is_urgent=False)
        try:
            self._put(write)
        except JournalError as error:
            write.error = error
            _report(write)

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
            thread.join(LAST_WORDS)


def _soon() -> Callable[[Callable[[], object]], object]:
    """Calls a function in the event loop of now, from any thread, without waiting for it."""
    native: Any = anyio.lowlevel.current_token().native_token
    soon: Callable[[Callable[[], object]], object] = (
        getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon
    )
    return soon


def _report(write: Write) -> None:
    if write.error is not None:
        logger.error("what became of a submission is not in the journal: %s", write.error)


def _work(place: JournalLocation, writes: queue.SimpleQueue[Write | None]) -> None:
    file = JournalDatabase(place)
    try:
        while (first := writes.get()) is not None:
            group, is_last = _rest_of_group(first, writes)
            _commit(file, place, group)
            for write in group:
                try:
                    write.tell()
                except RuntimeError:  # the event loop of whoever waited has ended
                    logger.debug("nobody waits for a write to the journal any more")
            del first, group
            if is_last:
                return
    finally:
        file.close()


def _rest_of_group(first: Write, writes: queue.SimpleQueue[Write | None]) -> tuple[list[Write], bool]:
    """What is there, once somebody waits for some of it; and whether it is the last."""
    group = [first]
    is_urgent = first.is_urgent
    until = time.monotonic() + LINGER
    while len(group) < LARGEST_GROUP:
        try:
            write = writes.get_nowait() if is_urgent else writes.get(timeout=max(until - time.monotonic(), 0.0))
        except queue.Empty:
            break
        if write is None:
            return group, True
        group.append(write)
        is_urgent = is_urgent or write.is_urgent
    return group, False


def _commit(file: JournalDatabase, place: JournalLocation, group: list[Write]) -> None:
    running = [write for write in group if not write.is_withdrawn]
    if not running:
        return
    try:
        values = file.transact([write.operation for write in running])
    except Exception as error:  # noqa: BLE001 - whoever waits gets it
        if len(running) > 1:
            for write in running:  # what is wrong with one must not be the others' loss
                _commit(file, place, [write])
        else:
            known = isinstance(error, sqlite3.Error | OSError)
            consequence = "Nothing was sent." if running[0].is_urgent else "`sfjobs recover` finds it out again."
            running[0].error = place.failure(error, consequence) if known else error
        return
    for write, value in zip(running, values, strict=True):
        write.value = value
