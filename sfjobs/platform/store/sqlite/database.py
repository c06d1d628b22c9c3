"""
One SQLite file. All writes go through one thread that commits in groups; reads run inline on the caller's thread.

An awaited write returns after the commit of its group has reached the disk (WAL, ``synchronous=FULL``). Groups make that cheap:
one commit for each write allows about 1 200 writes a second, groups of 50 about 38 000. Reads are inline because a bounded query
takes some 10 us and a hop to a thread ten times that, so callers of ``read`` keep their queries bounded and indexed. The platform
runs on asyncio, as uvicorn does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Parameter: TypeAlias = str | bytes | int | float | None

_MAX_WRITES_IN_GROUP = 256
_MAX_IDLE_LOG_BYTES = 16 << 20  # to which the -wal file shrinks after a time of many writes
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Write:
    operation: Callable[[sqlite3.Connection], Any]
    outcome: Future[Any]


class Database:
    """An open database file. ``path`` is created with mode 0600; so are the files SQLite puts beside it."""

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._path = path
        writer = connect(path)
        try:
            self._reader = connect(path)
        except BaseException:
            writer.close()
            raise
        self._thread = threading.Thread(target=self._commit_groups, args=(writer,), name="sfjobs-store", daemon=True)
        self._thread.start()

    def read(self, query: str, parameters: Sequence[Parameter] = ()) -> list[sqlite3.Row]:
        """Return the rows of one bounded query at the newest committed state."""
        return self._reader.execute(query, parameters).fetchall()

    async def write(
        self, operation: Callable[[sqlite3.Connection], T], *, on_commit: Callable[[T], None] | None = None
    ) -> T:
        """
        Run ``operation`` on the writer thread and return its value once it is durable. It must be quick. An exception undoes its
        own changes only, and is raised here. An operation that is cancelled before it starts does not run. ``on_commit`` is
        called with the value as soon as it is durable, on any thread, also if this call was cancelled; it must not raise.
        """
        outcome = self._enqueue(operation)
        awaited = asyncio.wrap_future(outcome)
        if on_commit is not None:
            # After ``wrap_future``, so that the writing task continues before the tasks that the callback wakes.
            outcome.add_done_callback(partial(_call_on_commit, on_commit))
        return await awaited

    def write_blocking(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Do the same outside the event loop, for instance while the store is opened."""
        return self._enqueue(operation).result()

    async def checkpoint(self) -> None:
        """Move what was written from the -wal file into the file, and give free pages at its end back. Blocks no other write."""

        def run() -> None:
            with closing(connect(self._path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

        await asyncio.to_thread(run)

    def close(self) -> None:
        """Finish the pending writes and close the file. Idempotent."""
        if self._thread.is_alive():
            self._writes.put(None)
            self._thread.join()
        self._reader.close()

    def _enqueue(self, operation: Callable[[sqlite3.Connection], T]) -> Future[T]:
        outcome: Future[T] = Future()
        if not self._thread.is_alive():
            raise RuntimeError("the database is closed")
        self._writes.put(_Write(operation, outcome))
        return outcome

    def _commit_groups(self, connection: sqlite3.Connection) -> None:
        """Run until None is in the queue."""
        with closing(connection):
            write = self._writes.get()
            while write is not None:
                group = [write]
                with suppress(queue.Empty):
                    while len(group) < _MAX_WRITES_IN_GROUP and (write := self._writes.get_nowait()) is not None:
                        group.append(write)
                _commit(connection, group)
                if write is not None:
                    write = self._writes.get()


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection as durable as an answer promises. The caller begins and ends transactions."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {_MAX_IDLE_LOG_BYTES}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _call_on_commit(on_commit: Callable[[T], None], outcome: Future[T]) -> None:
    if not outcome.cancelled() and outcome.exception() is None:
        on_commit(outcome.result())


def _commit(connection: sqlite3.Connection, group: list[_Write]) -> None:
    running = [write for write in group if write.outcome.set_running_or_notify_cancel()]
    reports: list[Callable[[], None]] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        reports.extend(_attempt(connection, write) for write in running)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        _log.error("the database could not commit %d writes: %s", len(running), error)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        reports = [partial(write.outcome.set_exception, error) for write in running]
    for report in reports:
        report()


def _attempt(connection: sqlite3.Connection, write: _Write) -> Callable[[], None]:
    """Run one write in its own savepoint, so that its failure leaves the rest of the group alone. Return how to report it."""
    connection.execute("SAVEPOINT one")
    try:
        value = write.operation(connection)
    except Exception as error:  # raised where this write is awaited
        if not connection.in_transaction:
            raise sqlite3.OperationalError(f"the transaction was lost: {error}") from error
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return partial(write.outcome.set_exception, error)
    connection.execute("RELEASE one")
    return partial(write.outcome.set_result, value)
