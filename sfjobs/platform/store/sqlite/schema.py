"""The tables of the platform's database file, and the upgrade of a file that an earlier version wrote."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from ....errors import ConfigurationError

VERSION: Final = 2

TABLES: Final = """
CREATE TABLE IF NOT EXISTS idempotency_keys (
    account TEXT NOT NULL REFERENCES accounts (id), key TEXT NOT NULL, fingerprint TEXT NOT NULL,
    job TEXT NOT NULL, answer BLOB NOT NULL, created INTEGER NOT NULL, PRIMARY KEY (account, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotency_keys_oldest ON idempotency_keys (created);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, unfinished INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, account TEXT NOT NULL REFERENCES accounts (id),
    created INTEGER NOT NULL, used INTEGER, revoked INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES accounts (id),
    name TEXT, target TEXT NOT NULL, language TEXT NOT NULL, shots INTEGER NOT NULL, seed INTEGER NOT NULL,
    status TEXT NOT NULL, created INTEGER NOT NULL, started INTEGER, finished INTEGER,
    meta TEXT NOT NULL DEFAULT '{}', attempt INTEGER NOT NULL DEFAULT 0, change INTEGER NOT NULL, result TEXT,
    lost INTEGER NOT NULL DEFAULT 0, rerun TEXT
);
CREATE TABLE IF NOT EXISTS circuits (job TEXT PRIMARY KEY REFERENCES jobs (id), circuit TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS keys_live ON keys (name) WHERE revoked IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS jobs_id ON jobs (id);
CREATE INDEX IF NOT EXISTS jobs_newest ON jobs (account, sequence);
CREATE INDEX IF NOT EXISTS jobs_of_status ON jobs (account, status, sequence);
CREATE INDEX IF NOT EXISTS jobs_changed ON jobs (account, change);
CREATE INDEX IF NOT EXISTS jobs_unfinished ON jobs (sequence) WHERE status IN ('open', 'queued', 'cancel_pending');
INSERT OR IGNORE INTO meta VALUES ('schema', 2), ('changes', 0);
"""

_FROM_1: Final = (
    "ALTER TABLE accounts ADD COLUMN unfinished INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE jobs ADD COLUMN lost INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE jobs ADD COLUMN rerun TEXT",
    # The newest key is in the file of the first start; the files of the older ones were deleted.
    """
    INSERT INTO keys
    SELECT lower(hex(randomblob(8))), hash, iif(rowid = (SELECT max(rowid) FROM api_keys), 'local', 'local-' || rowid),
        account, created, NULL, NULL
    FROM api_keys
    """,
    "DROP TABLE api_keys",
    "UPDATE meta SET value = 2 WHERE key = 'schema'",
)


def upgrade(db: sqlite3.Connection, path: Path) -> None:
    """
    Upgrade the tables to ``VERSION``.

    Raises:
        ConfigurationError: a newer sfjobs wrote the file.
    """
    version = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()[0]
    if version == 1:
        for statement in _FROM_1:
            db.execute(statement)
    elif version != VERSION:
        raise ConfigurationError(f"{path} has schema {version}; this sfjobs reads schema {VERSION}")
