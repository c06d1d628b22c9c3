"""Reads and edits the file of a journal with SQLite alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def rows(path: Path) -> list[dict[str, Any]]:
    """Return all rows that are on disk now."""
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM intents ORDER BY number")]


def states(path: Path) -> list[str]:
    return [row["state"] for row in rows(path)]


def execute(path: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        connection.execute(statement, parameters)
