"""The tables of the journal, and how long rows are kept."""

from __future__ import annotations

import sqlite3

from . import processes

VERSION = 1

KEEP_DAYS = 30
"""Rows that are closed are kept this long."""
KEEP_ROWS = 100_000
"""At most this many of them are kept, the newest. Rows of groups do not count and are deleted with their group."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS intents (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    url TEXT NOT NULL,
    account TEXT NOT NULL,       -- tells the API keys of one platform apart; too short to find a key by
    state TEXT NOT NULL,
    owner INTEGER,               -- the process that is sending it; NULL when no process is
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
    status TEXT,                 -- of the job, as last noted by its group
    clock REAL,                  -- how far the platform's clock was ahead when it was sent, in seconds; NULL if unknown
    body BLOB                    -- of the request; deleted when it is closed, unless it is in a group; last, for it may be long
);
CREATE INDEX IF NOT EXISTS open_intents ON intents (url, account) WHERE state = 'open';
CREATE INDEX IF NOT EXISTS closed_intents ON intents (closed_at) WHERE group_name IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS grouped_intents ON intents (group_name, url, account, position, attempt)
    WHERE group_name IS NOT NULL;
CREATE INDEX IF NOT EXISTS named_intents ON intents (group_name, name) WHERE group_name IS NOT NULL AND name IS NOT NULL;
CREATE TABLE IF NOT EXISTS platforms (
    url TEXT PRIMARY KEY,
    honoured_keys_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS processes (
    number INTEGER PRIMARY KEY,  -- as in intents.owner
    life TEXT NOT NULL
)
"""

_DELETE_OLD = "DELETE FROM intents WHERE group_name IS NULL AND closed_at < ?"
_DELETE_MANY = """
DELETE FROM intents WHERE group_name IS NULL AND closed_at <=
    (SELECT closed_at FROM intents WHERE group_name IS NULL AND closed_at IS NOT NULL
     ORDER BY closed_at DESC LIMIT 1 OFFSET ?)
"""

_COLUMNS = "SELECT name FROM pragma_table_info('intents')"
# Earlier versions of sfjobs name the columns that they write, so they go on with the same file.
_ADD_PROCESSES = SCHEMA[SCHEMA.rindex("CREATE TABLE") :]
_ADD_CLOCK = "ALTER TABLE intents ADD COLUMN clock REAL"


def create(connection: sqlite3.Connection, version: int) -> None:
    """Create the tables in a file of an earlier ``version`` (0: an empty one), or add what later releases have added."""
    if version < VERSION:
        connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA}; PRAGMA user_version = {VERSION}; COMMIT;")
        return
    connection.execute(_ADD_PROCESSES)
    if ("clock",) not in connection.execute(_COLUMNS).fetchall():
        connection.execute(_ADD_CLOCK)


def prune(connection: sqlite3.Connection, now: float) -> None:
    """Delete old rows."""
    connection.execute(_DELETE_OLD, (now - KEEP_DAYS * 86_400,))
    connection.execute(_DELETE_MANY, (KEEP_ROWS,))
    processes.prune(connection)
