"""The journal's tables, and how long their rows are kept."""

from __future__ import annotations

import sqlite3

VERSION = 1

DAYS = 30
"""For which rows are kept that nothing is to be done about."""
ROWS = 100_000
"""Of them are kept at most, the newest. Those of groups do not count, and go with their group."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS intents (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    url TEXT NOT NULL,
    account TEXT NOT NULL,       -- tells keys of one platform apart, and says too little to find one by
    state TEXT NOT NULL,
    owner INTEGER,               -- the process that has it on its way; none when no process has
    target TEXT NOT NULL,
    shots INTEGER,
    name TEXT,
    digest TEXT NOT NULL,
    opened_at REAL NOT NULL,
    closed_at REAL,
    job_id TEXT,
    reason TEXT,
    group_name TEXT,
    position INTEGER,            -- within the group
    attempt INTEGER NOT NULL DEFAULT 1,
    follows TEXT,                -- the key of the attempt before this one
    status TEXT,                 -- of the job, as last heard by its group
    body BLOB                    -- of the request; dropped when it is closed, unless it is of a group; last, for it may be long
);
CREATE INDEX IF NOT EXISTS open_intents ON intents (url, account) WHERE state = 'open';
CREATE INDEX IF NOT EXISTS closed_intents ON intents (closed_at) WHERE group_name IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS grouped_intents ON intents (group_name, url, account, position, attempt)
    WHERE group_name IS NOT NULL;
CREATE INDEX IF NOT EXISTS named_intents ON intents (group_name, name) WHERE group_name IS NOT NULL AND name IS NOT NULL;
CREATE TABLE IF NOT EXISTS platforms (
    url TEXT PRIMARY KEY,
    honoured_keys_at REAL NOT NULL
)
"""

_OLD = "DELETE FROM intents WHERE group_name IS NULL AND closed_at < ?"
_MANY = """
DELETE FROM intents WHERE group_name IS NULL AND closed_at <=
    (SELECT closed_at FROM intents WHERE group_name IS NULL AND closed_at IS NOT NULL
     ORDER BY closed_at DESC LIMIT 1 OFFSET ?)
"""


def prune(connection: sqlite3.Connection, now: float) -> None:
    """Lets go of old rows."""
    connection.execute(_OLD, (now - DAYS * 86_400,))
    connection.execute(_MANY, (ROWS,))
