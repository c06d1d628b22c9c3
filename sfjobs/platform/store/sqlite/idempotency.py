"""
Rows of idempotency keys: the response to a submission with a key, written in the transaction that adds the job. What a key means
to a request is decided in ``jobs/acceptance``.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from ...records import IdempotencyKey, JobRecord

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
