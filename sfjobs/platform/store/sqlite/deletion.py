"""
Delete jobs and results from the tables. A result's file is deleted after the commit, by the caller, so its name is kept in a
table until then. Each function is one write, bounded by rows and by the bytes of the programs that it deletes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from ...records import DeletedJob
from .change_numbers import next_change

INCREMENTAL: Final = 2
"""SQLite's number for the mode in which free pages are given back in steps."""

MAX_ROWS: Final = 50
MAX_CIRCUIT_BYTES: Final = 2 << 20
"""Of one write, unless it is one program: SQLite reads all pages of what it deletes, and other writes wait for that."""

_FINAL: Final = "status IN ('complete', 'failed', 'cancelled')"
_COLUMNS: Final = "sequence, id, account, circuit_bytes, json_extract(result, '$.name'), json_extract(result, '$.size')"


def delete_job(db: sqlite3.Connection, account: str, job_id: str, now: int) -> list[DeletedJob]:
    """Delete a job of the account that has ended. Empty if there is no such job."""
    query = f"SELECT {_COLUMNS} FROM jobs WHERE id = ? AND account = ? AND {_FINAL}"  # noqa: S608 - constants
    return _delete(db, db.execute(query, (job_id, account)).fetchall(), now)


def delete_old_jobs(db: sqlite3.Connection, before: int, now: int) -> list[DeletedJob]:
    """Delete jobs that ended before that time, the oldest ones first. Empty when no such job is left."""
    condition = "finished IS NOT NULL AND finished < ? ORDER BY finished LIMIT ?"
    query = f"SELECT {_COLUMNS} FROM jobs INDEXED BY jobs_finished WHERE {condition}"  # noqa: S608 - constants
    return _delete(db, _within_bounds(db.execute(query, (before, MAX_ROWS)).fetchall()), now)


def delete_old_results(db: sqlite3.Connection, before: int, now: int) -> int:
    """Delete results of jobs that ended before that time, the oldest ones first. Return how many; 0 when none is left."""
    condition = "result IS NOT NULL AND finished < ? ORDER BY finished LIMIT ?"
    query = f"SELECT {_COLUMNS} FROM jobs INDEXED BY jobs_with_result WHERE {condition}"  # noqa: S608 - constants
    rows = db.execute(query, (before, MAX_ROWS)).fetchall()
    for sequence, _, account, _, name, size in rows:
        _release(db, account, size)
        _delete_file_later(db, name)
        db.execute("UPDATE jobs SET result = NULL, result_deleted = ? WHERE sequence = ?", (now, sequence))
    return len(rows)


def forget_deleted_jobs(db: sqlite3.Connection, before: int) -> int:
    """Delete the entries of jobs that were deleted before that time, up to a number. Return how many."""
    return db.execute(
        "DELETE FROM deleted_jobs WHERE (account, change) IN"
        " (SELECT account, change FROM deleted_jobs WHERE deleted < ? ORDER BY deleted LIMIT ?)",
        (before, 10 * MAX_ROWS),
    ).rowcount


def forget_deleted_files(db: sqlite3.Connection, names: Iterable[str]) -> None:
    """Note that the files of these deleted results are gone."""
    db.executemany("DELETE FROM deleted_results WHERE name = ?", [(name,) for name in names])


def free_pages(db: sqlite3.Connection, kept: int, most: int) -> int:
    """
    Give up to ``most`` free pages back, so that the file shrinks. Return how many are left to give beyond ``kept``, 0 for a file
    that cannot shrink.
    """
    if int(db.execute("PRAGMA auto_vacuum").fetchone()[0]) != INCREMENTAL:
        return 0
    surplus = int(db.execute("PRAGMA freelist_count").fetchone()[0]) - kept
    for _ in range(min(surplus, most)):
        # Page by page, since sqlite3 runs only the first step of this statement: of its steps each frees a page.
        db.execute("PRAGMA incremental_vacuum(1)")
    return max(surplus - most, 0)


def _within_bounds(rows: list[sqlite3.Row]) -> list[sqlite3.Row]:
    total = 0
    for index, row in enumerate(rows):
        total += row["circuit_bytes"]
        if total > MAX_CIRCUIT_BYTES:
            return rows[: max(index, 1)]
    return rows


def _delete(db: sqlite3.Connection, rows: list[sqlite3.Row], now: int) -> list[DeletedJob]:
    deleted: list[DeletedJob] = []
    for sequence, job_id, account, circuit_bytes, name, size in rows:
        _release(db, account, circuit_bytes + (size or 0))
        if name is not None:
            _delete_file_later(db, name)
        change = next_change(db, account)
        db.execute("DELETE FROM circuits WHERE job = ?", (job_id,))
        db.execute("DELETE FROM jobs WHERE sequence = ?", (sequence,))
        db.execute("INSERT INTO deleted_jobs VALUES (?, ?, ?, ?, ?)", (account, change, job_id, sequence, now))
        deleted.append(DeletedJob(job_id, account, change, name))
    return deleted


def _release(db: sqlite3.Connection, account: str, size: int) -> None:
    db.execute("UPDATE accounts SET stored_bytes = stored_bytes - ? WHERE id = ?", (size, account))


def _delete_file_later(db: sqlite3.Connection, name: str) -> None:
    db.execute("INSERT OR IGNORE INTO deleted_results VALUES (?)", (name,))
