"""
The SQLite file of the journal: created, opened, set aside when damaged, opened again when replaced. Used by the writer's thread
alone; other processes may have it open at the same time.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from . import file_locks, processes
from .location import JournalLocation
from .process_lock import ProcessLock
from .schema import VERSION, create, prune

logger = logging.getLogger("sfjobs")

BUSY_TIMEOUT_SECONDS = 30.0
"""How long to wait for another process that is writing."""

PRUNE_INTERVAL_SECONDS = 600.0
"""Old rows are deleted this often, not only on opening: a service that runs for months opens its journal once."""

_DAMAGED = "damaged"
_SUFFIXES = ("", "-wal", "-shm", "-journal")

Operation: TypeAlias = Callable[[sqlite3.Connection, ProcessLock], Any]


class JournalDatabase:
    """An SQLite file that is replaced after damage and that several processes write to."""

    def __init__(self, location: JournalLocation) -> None:
        self._location = location
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._path = location.path  # without symbolic links, as SQLite names its files
        self._pruned_at = float("-inf")
        self._is_noted = False  # this process, in this file

    def transact(self, operations: Sequence[Operation]) -> list[Any]:
        """
        Run the operations in one transaction, and return their values once it is on disk.

        A damaged file is set aside, and the transaction runs in a new one.

        Raises:
            sqlite3.Error, OSError: the file cannot be written.
        """
        try:
            return self._transact(operations)
        except sqlite3.DatabaseError as error:
            if _code(error) == sqlite3.SQLITE_BUSY:
                raise OSError(errno.EBUSY, self._busy()) from error
            if not _is_damage(error):
                raise
            self._set_aside(error)
            return self._transact(operations)

    def close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _transact(self, operations: Sequence[Operation]) -> list[Any]:
        connection, lock = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            if time.monotonic() - self._pruned_at > PRUNE_INTERVAL_SECONDS:
                prune(connection, time.time())
                self._pruned_at = time.monotonic()
            if not self._is_noted:
                processes.note(connection, lock.number)
            values = [operation(connection, lock) for operation in operations]
            connection.execute("COMMIT")
            self._is_noted = True
        except BaseException:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise
        return values

    def _open(self) -> tuple[sqlite3.Connection, ProcessLock]:
        # Rows written to a file that was deleted, or set aside by another process, would never be read.
        if self._connection is not None and self._identity != _identity(self._location.path):
            self.close()
        if self._connection is None:
            self._location.make()
            self._path = self._location.real_path
            # One process at a time: the first one creates the tables.
            with self._lock().exclusive(BUSY_TIMEOUT_SECONDS):
                self._identity, self._is_noted = _identity(self._path), False
                self._connection = _connect(self._path, is_on_a_network=self._location.is_on_a_network)
        return self._connection, self._lock()

    def _lock(self) -> ProcessLock:
        return ProcessLock.at(self._path.with_name(self._path.name + "-owners"))

    def _busy(self) -> str:
        holders = file_locks.holders(*(self._path.with_name(self._path.name + suffix) for suffix in _SUFFIXES))
        others = [str(holder) for holder in holders if holder != os.getpid()]
        who = f"process {', '.join(others)}" if others else "another process"
        return f"{self._path} has been locked by {who} for {BUSY_TIMEOUT_SECONDS:g} s"

    def _set_aside(self, error: sqlite3.Error) -> None:
        path = self._path
        self.close()
        with self._lock().exclusive(BUSY_TIMEOUT_SECONDS):
            if self._identity != _identity(path):
                return  # another process has done it
            aside = f"{path.name}.{_DAMAGED}-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S.%fZ')}"
            for suffix in _SUFFIXES:
                file = path.with_name(path.name + suffix)
                if file.exists():
                    file.rename(path.with_name(aside + suffix))
        logger.error(
            "the journal of submissions is damaged (%s): %s was set aside as %s, and a new one was created",
            error,
            path,
            aside,
        )


def damaged_files(location: JournalLocation) -> list[str]:
    """Return the files that were set aside as damaged, oldest first."""
    found = location.real_path.parent.glob(f"{location.real_path.name}.{_DAMAGED}-*")
    return sorted(str(path) for path in found if not path.name.endswith(_SUFFIXES[1:]))


def _connect(path: Path, *, is_on_a_network: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_SECONDS)
    try:
        # A write-ahead log needs memory that all its users share: two machines would damage the file (sqlite.org/wal.html).
        connection.execute(f"PRAGMA journal_mode = {'DELETE' if is_on_a_network else 'WAL'}")
        connection.execute("PRAGMA synchronous = FULL")
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise OSError(f"it was written by a later version of sfjobs (format {version})")
        create(connection, version)
    except BaseException:
        connection.close()
        raise
    return connection


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_damage(error: sqlite3.Error) -> bool:
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
