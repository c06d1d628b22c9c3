"""
The processes that write one journal, by their number, as the operating system knows them. Where the folder of the journal was
replaced by a copy while a process is sending, no process holds the lock in the new folder, and this still shows who is alive.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_NOTE = "INSERT OR REPLACE INTO processes VALUES (?, ?)"
_LIFE = "SELECT life FROM processes WHERE number = ?"


def note(connection: sqlite3.Connection, number: int) -> None:
    """Write this process into the journal, where the system tells processes apart for good (Linux)."""
    life = _life(os.getpid())
    if life is not None:
        connection.execute(_NOTE, (number, life))


def is_alive(connection: sqlite3.Connection, number: int) -> bool:
    """Return whether the process with this number is known to be alive. One of another machine or container is not known."""
    row = connection.execute(_LIFE, (number,)).fetchone()
    return row is not None and _is_alive(row[0])


def prune(connection: sqlite3.Connection) -> None:
    """Delete the processes that have ended."""
    ended = [
        (number,) for number, life in connection.execute("SELECT number, life FROM processes") if not _is_alive(life)
    ]
    connection.executemany("DELETE FROM processes WHERE number = ?", ended)


def _is_alive(life: str) -> bool:
    pid = life.rpartition(" ")[2]
    return pid.isdigit() and _life(int(pid)) == life


def _life(pid: int) -> str | None:
    """Return what only one process ever has: the boot, the id's name space, when it was started, and its id."""
    with suppress(OSError, IndexError, ValueError):
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = (_PROC / "self/ns/pid").readlink()
        # The name of the program, in parentheses, may have spaces and parentheses.
        words = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if words[0] in "ZX" else f"{boot} {space} {words[19]} {pid}"
    return None
