"""
Rows of idempotency keys: the response to a submission with a key, written in the transaction that adds the job. What a key means
to a request is decided in ``jobs/acceptance``.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from ...records import IdempotencyKey, JobRecord, StoredResponse
from .database import Database

RETENTION_MICROSECONDS: Final = 48 * 3600 * 1_000_000
"""The protocol promises 24 h."""

_MAX_DELETED_EACH_TIME: Final = 10
"""More than one for each row that is added, so that old rows cannot pile up; few, so that no write is slow."""


def add_response(db: sqlite3.Connection, key: IdempotencyKey, record: JobRecord) -> None:
    """Add the first response to a key, and delete a few rows that are older than the retention time."""
    db.execute(
        "DELETE FROM idempotency_keys WHERE (account, key) IN"
        " (SELECT account, key FROM idempotency_keys WHERE created < ? ORDER BY created LIMIT ?)",
        (record.created - RETENTION_MICROSECONDS, _MAX_DELETED_EACH_TIME),
    )
    db.execute(
        "INSERT INTO idempotency_keys VALUES (?, ?, ?, ?, ?, ?)",
        (record.account, key.value, key.fingerprint, record.id, key.response_body(record), record.created),
    )


def stored_response(database: Database, account: str, key: str) -> StoredResponse | None:
    """Return the response to the account's submission with this key."""
    query = "SELECT fingerprint, job, answer FROM idempotency_keys WHERE account = ? AND key = ?"
    rows = database.read(query, (account, key))
    return StoredResponse(fingerprint=rows[0][0], job_id=rows[0][1], body=rows[0][2]) if rows else None
