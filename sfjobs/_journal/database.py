"""
The journal's SQLite file: made, opened, found damaged and set aside, found replaced and opened anew. Used by one thread, the
writer's; other processes may have it open at the same time.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from .location import JournalLocation
from .process_lock import ProcessLock
from .schema import SCHEMA, VERSION, prune

logger = logging.getLogger("sfjobs")

PATIENCE = 30.0
"""Seconds to wait for another process that writes."""

PRUNED_EVERY = 600.0
"""Seconds. A service that runs for months opens its journal once."""

_DAMAGED = "damaged"
_BESIDE = ("", "-wal", "-shm", "-journal")

Operation: TypeAlias = Callable[[sqlite3.Connection, ProcessLock], Any]

_leases: dict[tuple[int, Path], ProcessLock] = {}


class JournalDatabase:
    """An SQLite file that comes back after damage, and of which several processes write."""

    def __init__(self, place: JournalLocation) -> None:
        self._place = place
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._pruned_at = float("-inf")

    def transact(self, operations: Sequence[Operation]) -> list[Any]:
        """
        What the operations return, in one transaction that is on disk by then. A file that turns out to be damaged is set
        aside, and the transaction made in a new one. Raises sqlite3.Error, OSError.
        """
        try:
            return self._transact(operations)
        except sqlite3.DatabaseError as error:
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
        connection, lease = self._opened()
        connection.execute("BEGIN IMMEDIATE")
        try:
            if time.monotonic() - self._pruned_at > PRUNED_EVERY:
                prune(connection, time.time())
                self._pruned_at = time.monotonic()
            values = [operation(connection, lease) for operation in operations]
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise
        return values

    def _opened(self) -> tuple[sqlite3.Connection, ProcessLock]:
        # A file that another process has set aside, or that somebody has deleted, would take rows that nobody ever reads.
        if self._connection is not None and self._identity != _identity(self._place.path):
            self.close()
        if self._connection is None:
            self._place.make()
            # Several at once would get in each other's way while the first of them makes the tables.
            with _lease(self._place.path).alone():
                self._identity = _identity(self._place.path)
                self._connection = _connect(self._place)
        return self._connection, _lease(self._place.path)

    def _set_aside(self, error: sqlite3.Error) -> None:
        path = self._place.path
        self.close()
        with _lease(path).alone():
            if self._identity != _identity(path):
                return  # another process was faster
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            for tail in _BESIDE:
                beside = path.with_name(path.name + tail)
                if beside.exists():
                    beside.rename(path.with_name(f"{path.name}.{_DAMAGED}-{stamp}{tail}"))
        logger.error(
            "the journal of submissions is damaged (%s): %s was set aside as %s.%s-%s, and a new one begun",
            error,
            path,
            path.name,
            _DAMAGED,
            stamp,
        )


def set_aside(place: JournalLocation) -> list[str]:
    """The files that were found damaged, oldest first."""
    found = place.path.parent.glob(f"{place.path.name}.{_DAMAGED}-*")
    return sorted(str(path) for path in found if not path.name.endswith(_BESIDE[1:]))


def _connect(place: JournalLocation) -> sqlite3.Connection:
    connection = sqlite3.connect(place.path, isolation_level=None, check_same_thread=False, timeout=PATIENCE)
    try:
        # A write-ahead log needs memory that all its users share: two machines would damage the file (sqlite.org/wal.html).
        connection.execute(f"PRAGMA journal_mode = {'DELETE' if place.is_on_a_network else 'WAL'}")
        connection.execute("PRAGMA synchronous = FULL")
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise OSError(f"it was written by a later version of sfjobs (format {version})")
        if version < VERSION:
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA}; PRAGMA user_version = {VERSION}; COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def _lease(path: Path) -> ProcessLock:
    holder = (os.getpid(), path)
    if holder not in _leases:
        _leases[holder] = ProcessLock(path.with_name(path.name + "-owners"))
    return _leases[holder]


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_damage(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
