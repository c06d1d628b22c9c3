"""
The tables of the platform's database file, as numbered steps. Step n makes version n of version n - 1, and a new file takes all
of them, so a new and a migrated file have the same tables. ``migration`` runs the steps.

A released step is never changed: a change of the tables is a new step at the end. A step may also be a function, for a change
that SQL alone cannot make.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final, TypeAlias

Step: TypeAlias = tuple[str, ...] | Callable[[sqlite3.Connection], None]
"""SQL statements, one in each string, or a function. Neither may begin or end a transaction."""

_UNFINISHED: Final = "status IN ('open', 'queued', 'cancel_pending')"

# The earliest files of version 1 lack two of these, as the next step allows for.
_JOBS_ACCOUNTS_AND_KEYS: Final = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    "CREATE TABLE accounts (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL)",
    """
    CREATE TABLE api_keys (
        hash TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (id), created INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE jobs (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        account TEXT NOT NULL REFERENCES accounts (id),
        name TEXT, target TEXT NOT NULL, language TEXT NOT NULL, shots INTEGER NOT NULL, seed INTEGER NOT NULL,
        status TEXT NOT NULL, created INTEGER NOT NULL, started INTEGER, finished INTEGER,
        meta TEXT NOT NULL DEFAULT '{}', attempt INTEGER NOT NULL DEFAULT 0, change INTEGER NOT NULL, result TEXT
    )
    """,
    "CREATE TABLE circuits (job TEXT PRIMARY KEY REFERENCES jobs (id), circuit TEXT NOT NULL)",
    "CREATE INDEX jobs_newest ON jobs (account, sequence)",
    "CREATE INDEX jobs_of_status ON jobs (account, status, sequence)",
    "CREATE INDEX jobs_changed ON jobs (account, change)",
    f"CREATE INDEX jobs_unfinished ON jobs (sequence) WHERE {_UNFINISHED}",
    "INSERT INTO meta VALUES ('schema', 1), ('changes', 0)",
)

_NAMED_KEYS_AND_RERUNS: Final = (
    """
    CREATE TABLE IF NOT EXISTS idempotency_keys (
        account TEXT NOT NULL REFERENCES accounts (id), key TEXT NOT NULL, fingerprint TEXT NOT NULL,
        job TEXT NOT NULL, answer BLOB NOT NULL, created INTEGER NOT NULL, PRIMARY KEY (account, key)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS idempotency_keys_oldest ON idempotency_keys (created)",
    "CREATE UNIQUE INDEX IF NOT EXISTS jobs_id ON jobs (id)",
    "ALTER TABLE accounts ADD COLUMN unfinished INTEGER NOT NULL DEFAULT 0",
    f"UPDATE accounts SET unfinished = (SELECT count(*) FROM jobs WHERE account = accounts.id AND {_UNFINISHED})",  # noqa: S608 - a constant
    "ALTER TABLE jobs ADD COLUMN lost INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE jobs ADD COLUMN rerun TEXT",
    """
    CREATE TABLE keys (
        id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, account TEXT NOT NULL REFERENCES accounts (id),
        created INTEGER NOT NULL, used INTEGER, revoked INTEGER
    ) WITHOUT ROWID
    """,
    "CREATE UNIQUE INDEX keys_live ON keys (name) WHERE revoked IS NULL",
    # The newest key is in the file of the first start; the files of the older ones were deleted.
    """
    INSERT INTO keys
    SELECT lower(hex(randomblob(8))), hash, iif(rowid = (SELECT max(rowid) FROM api_keys), 'local', 'local-' || rowid),
        account, created, NULL, NULL
    FROM api_keys
    """,
    "DROP TABLE api_keys",
)

_RETENTION: Final = (
    # The bytes of a program, kept because SQLite would read all of a program to count them, and those of each account's programs
    # and results together.
    "ALTER TABLE jobs ADD COLUMN circuit_bytes INTEGER NOT NULL DEFAULT 0",
    "UPDATE jobs SET circuit_bytes = (SELECT length(CAST(circuit AS BLOB)) FROM circuits WHERE job = id)",
    "ALTER TABLE accounts ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0",
    """
    UPDATE accounts SET stored_bytes = (
        SELECT ifnull(sum(circuit_bytes + ifnull(json_extract(result, '$.size'), 0)), 0) FROM jobs WHERE account = accounts.id
    )
    """,
    # When the result of a complete job was deleted, and the jobs by the age of what they store.
    "ALTER TABLE jobs ADD COLUMN result_deleted INTEGER",
    "CREATE INDEX jobs_finished ON jobs (finished) WHERE finished IS NOT NULL",
    "CREATE INDEX jobs_with_result ON jobs (finished) WHERE result IS NOT NULL",
    # Deleted jobs, for the change feed, and for links to the next page after one of them.
    """
    CREATE TABLE deleted_jobs (
        account TEXT NOT NULL REFERENCES accounts (id), change INTEGER NOT NULL, id TEXT NOT NULL, sequence INTEGER NOT NULL,
        deleted INTEGER NOT NULL, PRIMARY KEY (account, change)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX deleted_jobs_id ON deleted_jobs (id)",
    "CREATE INDEX deleted_jobs_oldest ON deleted_jobs (deleted)",
    # Files of deleted results: they are deleted after the commit that deletes their rows, also if the platform ends in between.
    "CREATE TABLE deleted_results (name TEXT PRIMARY KEY) WITHOUT ROWID",
)

_PRIORITIES_AND_PAUSES: Final = (
    "ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0",
    "CREATE TABLE pauses (target TEXT PRIMARY KEY, reason TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER) WITHOUT ROWID",
)

STEPS: Final[tuple[Step, ...]] = (
    _JOBS_ACCOUNTS_AND_KEYS,
    _NAMED_KEYS_AND_RERUNS,
    (*_RETENTION, *_PRIORITIES_AND_PAUSES),
)

VERSION: Final = len(STEPS)
"""The version that this code reads and writes."""
