"""
Idempotency keys in the store: what was answered to a submission that carried one, written in the transaction that wrote the
job. Rows only; what a key means to a request is ``intake``'s business.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from ..records import Claim, JobRecord, KeptAnswer

KEPT_FOR: Final = 48 * 3600 * 1_000_000
"""Microseconds. The protocol promises 24 h."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS idempotency_keys (
    account TEXT NOT NULL REFERENCES accounts (id), key TEXT NOT NULL, fingerprint TEXT NOT NULL,
    job TEXT NOT NULL, answer BLOB NOT NULL, created INTEGER NOT NULL, PRIMARY KEY (account, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotency_keys_oldest ON idempotency_keys (created);
"""

_FORGOTTEN_AT_ONCE: Final = (
    10  # more than one for each that comes, so that they never pile up; few, so that no write is slow
)


def keep(db: sqlite3.Connection, claim: Claim, record: JobRecord) -> None:
    """Write down the first answer to a key, and forget a few that are older than ``KEPT_FOR``."""
    db.execute(
        "DELETE FROM idempotency_keys WHERE (account, key) IN"
        " (SELECT account, key FROM idempotency_keys WHERE created < ? ORDER BY created LIMIT ?)",
        (record.created - KEPT_FOR, _FORGOTTEN_AT_ONCE),
    )
    db.execute(
        "INSERT INTO idempotency_keys VALUES (?, ?, ?, ?, ?, ?)",
        (record.account, claim.key, claim.fingerprint, record.id, claim.answer(record), record.created),
    )


def kept_answer(row: sqlite3.Row) -> KeptAnswer:
    return KeptAnswer(fingerprint=row["fingerprint"], job_id=row["job"], body=row["answer"])
