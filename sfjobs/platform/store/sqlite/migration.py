"""
Make the tables of a new database file, or bring those of an earlier version up to this one: a backup beside the file first, then
the numbered steps of ``schema``, each in a transaction of its own. A file of a later version is refused before it is touched.

The caller holds the lock of the data directory, except for a file that ``needs_migration`` says is up to date.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ....errors import ConfigurationError
from . import schema
from .database import connect
from .deletion import INCREMENTAL
from .schema import Step

_log = logging.getLogger(__name__)


def needs_migration(path: Path) -> bool:
    """Return whether an earlier version wrote the file. Raises like ``migrate``."""
    return 0 < _readable_version(path, schema.VERSION) < schema.VERSION


def migrate(path: Path, steps: Sequence[Step] = schema.STEPS) -> None:
    """
    Create the file or bring it up to the version that the last of ``steps`` makes.

    Raises:
        ConfigurationError: a later version or another program wrote the file, or it cannot be read or migrated.
    """
    version = _readable_version(path, len(steps))
    if version == len(steps):
        return
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    if version == 0:
        with closing(sqlite3.connect(path, timeout=10)) as db:
            db.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")  # before the first page is written
            db.execute("PRAGMA journal_mode = WAL")
    with closing(connect(path)) as db:
        if version == 0:
            _run_steps(db, steps, 0, len(steps))  # one commit, and so one sync, for all
        else:
            _migrate_file(db, path, steps, version)


def make_shrinkable(path: Path) -> None:
    """
    Let the file shrink when rows are deleted: one of an earlier version is rewritten once. If that fails, as for lack of space,
    the next start tries again.
    """
    with closing(connect(path)) as db:
        if db.execute("PRAGMA auto_vacuum").fetchone()[0] == INCREMENTAL:
            return
        _log.warning("rewriting %s once, so that it can shrink", path)
        try:
            db.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            _log.warning("%s cannot shrink until the next start, since it could not be rewritten: %s", path, error)


def _migrate_file(db: sqlite3.Connection, path: Path, steps: Sequence[Step], version: int) -> None:
    _log.warning("migrating %s from schema %d to %d, after a backup", path, version, len(steps))
    try:
        backup = _back_up(db, path, version)
    except (sqlite3.Error, OSError) as error:
        message = f"{path} has schema {version} and must be migrated to {len(steps)}, but no backup could be written"
        raise ConfigurationError(
            f"{message} beside it: {error}\nNothing was changed. Make room for a copy of it, and start again."
        ) from error
    done = version
    try:
        for done in range(version, len(steps)):
            _run_steps(db, steps, done, done + 1)
    except sqlite3.Error as error:
        if done == version:
            backup.unlink()  # a copy of what still is there; one for each attempt would fill the disk
        message = f"{path} could not be migrated from schema {done} to {done + 1}: {error}"
        kept = "It is unchanged." if done == version else f"The file as it was is {backup}."
        raise ConfigurationError(f"{message}\n{kept}") from error
    _log.warning("migrated %s to schema %d; the file as it was is %s", path, len(steps), backup)


def _run_steps(db: sqlite3.Connection, steps: Sequence[Step], version: int, target: int) -> None:
    """Run the steps from ``version`` to ``target`` in one transaction, unless another process was first."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if _version(db) == version:
            for step in steps[version:target]:
                _run(db, step)
            db.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (target,))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _run(db: sqlite3.Connection, step: Step) -> None:
    if callable(step):
        step(db)
    else:
        for statement in step:
            db.execute(statement)


def _readable_version(path: Path, newest: int) -> int:
    """Return the version of the file, 0 for a missing or empty file. Raises ``ConfigurationError``."""
    if not path.exists() or path.stat().st_size == 0:
        return 0
    # Without a -wal file no process has the file open, and then SQLite would leave such files behind even if it only reads.
    mode = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?{mode}", uri=True, timeout=10)) as db:
            version = _version(db)
    except sqlite3.Error as error:
        raise ConfigurationError(f"{path} cannot be opened as the platform's database: {error}") from error
    if version is None:
        raise ConfigurationError(f"{path} is a database of another program: nothing was changed")
    if version > newest:
        message = f"{path} has schema {version}, of a newer sfjobs; this one reads up to schema {newest}"
        remedy = "Install the newer sfjobs again, or restore the backup that it left beside the file."
        raise ConfigurationError(f"{message}: nothing was changed\n{remedy}")
    return version


def _version(db: sqlite3.Connection) -> int | None:
    """Return the version of an open file, 0 without tables, None for tables of another program."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return 0
    row = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() if "meta" in tables else None
    return row[0] if row is not None and isinstance(row[0], int) and row[0] > 0 else None


def _back_up(db: sqlite3.Connection, path: Path, version: int) -> Path:
    """Copy the file, with what its -wal file holds, and return the copy, which is complete and durable."""
    unfinished = path.with_name(f"{path.name}.backup.part")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with closing(sqlite3.connect(unfinished)) as copy:
            db.backup(copy)
        _sync(unfinished)
        backup = _free_name(path, version)
        unfinished.rename(backup)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    if os.name != "nt":  # a folder cannot be opened there, and its entries are durable without this
        _sync(path.parent)
    return backup


def _free_name(path: Path, version: int) -> Path:
    base = f"{path.name}.schema-{version}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    names = (path.with_name(f"{base}{suffix}.backup") for suffix in ["", *(f"-{number}" for number in range(2, 100))])
    return next(name for name in names if not name.exists())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
