"""The numbers of changes, which are counted for each account."""

from __future__ import annotations

import sqlite3


def next_change(db: sqlite3.Connection, account: str) -> int:
    """
    Return the number of the next change of the account. It begins at ``changes``, which counted the changes of all accounts in
    files of earlier versions and does not grow any more, so that all cursors stay valid.
    """
    query = (
        "INSERT INTO meta SELECT 'changes:' || ?, value + 1 FROM meta WHERE key = 'changes'"
        " ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING value"
    )
    return int(db.execute(query, (account,)).fetchone()[0])
