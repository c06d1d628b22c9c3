"""
Paused targets in the platform's SQLite file. ``sfjobs platform pause`` writes them also while a platform runs on the same file,
which reads them once a second.
"""

from __future__ import annotations

from ...records import Pause
from .database import Database


class SQLitePauses:
    """The pauses of a ``JobStore``. The class that has the database inherits from this one."""

    _database: Database

    def pauses(self) -> list[Pause]:
        query = "SELECT target, reason, since, until FROM pauses ORDER BY target"
        return [Pause(*row) for row in self._database.read(query)]

    def pause(self, pause: Pause) -> None:
        query = "INSERT OR REPLACE INTO pauses (target, reason, since, until) VALUES (?, ?, ?, ?)"
        values = (pause.target, pause.reason, pause.since, pause.until)
        self._database.write_blocking(lambda db: db.execute(query, values).rowcount)

    def resume(self, target: str) -> bool:
        query = "DELETE FROM pauses WHERE target = ?"
        return bool(self._database.write_blocking(lambda db: db.execute(query, (target,)).rowcount))
