"""The rows of one group, in the order of its programs. ``JobGroup`` shows them to callers."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from ..errors import JournalError
from ..models import JobStatus
from .journal import INTENT_COLUMNS, Journal
from .process_lock import ProcessLock
from .rows import GroupMember, Intent, State

# The columns of a GroupMember, in the order of its fields.
_COLUMNS = "position, attempt, key, state, target, shots, name, digest, job_id, status, reason, follows"
_FIELDS = [field.name for field in fields(GroupMember)]
_OF_GROUP = "FROM intents WHERE group_name = ? AND url = ? AND account = ?"
_MEMBERS = f"SELECT {_COLUMNS} {_OF_GROUP} ORDER BY position, attempt"
_LAST = f"SELECT position {_OF_GROUP} ORDER BY position DESC LIMIT 1"
_NAMED = f"""
SELECT {_COLUMNS} FROM intents INDEXED BY named_intents
WHERE group_name = ? AND url = ? AND account = ? AND name = ? AND attempt = 1
"""  # noqa: S608 - constants
_ADD = """
INSERT INTO intents (key, url, account, state, target, shots, name, digest, body, opened_at, group_name, position)
VALUES (?, ?, ?, 'added', ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADDED_KEYS = f"SELECT key, owner {_OF_GROUP} AND state = 'added' ORDER BY position"
_INTENT = f"SELECT {INTENT_COLUMNS} FROM intents WHERE key = ?"  # noqa: S608 - constants
_GIVE_UP = "UPDATE intents SET state = 'given_up', closed_at = ?, owner = NULL WHERE key = ? AND state = 'added'"
_NOTE_STATUS = "UPDATE intents SET status = ? WHERE key = ?"
_UNSETTLED = f"SELECT 1 {_OF_GROUP} AND state IN ('added', 'open') LIMIT 1"
_REMOVE = f"DELETE {_OF_GROUP}"
_REPEAT = """
INSERT OR IGNORE INTO intents
    (key, url, account, state, target, shots, name, digest, body, opened_at, group_name, position, attempt, follows)
SELECT ?, url, account, 'added', target, shots, name, digest, body, ?, group_name, position, attempt + 1, key
FROM intents WHERE key = ?
"""
_SUMMARIES = """
SELECT group_name, count(DISTINCT position), sum(state = 'added'), sum(state = 'open'), sum(state = 'submitted'),
    min(opened_at), max(coalesce(closed_at, opened_at))
FROM intents WHERE group_name IS NOT NULL AND url = ? AND account = ? GROUP BY group_name ORDER BY max(opened_at) DESC
"""
_NAMES_OF_OTHERS = """
SELECT DISTINCT group_name FROM intents WHERE group_name IS NOT NULL AND url = ? AND account != ? ORDER BY group_name
"""


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """A group in a list: its programs, its submissions by state, when it was created and when it last changed."""

    name: str
    programs: int
    added: int
    in_doubt: int
    submitted: int
    begun_at: datetime
    changed_at: datetime


class GroupTable:
    """
    The rows of one group in the journal.

    One process at a time sends an added program: it ``claim``s the program, which is then sent or ``release``d.
    """

    def __init__(self, journal: Journal, name: str, url: str, account: str) -> None:
        self._journal = journal
        self._group = (name, url, account)

    async def load(self, known: Sequence[GroupMember] = ()) -> list[GroupMember]:
        """
        Return all attempts at all programs, in the order of the programs and of the attempts.

        Raises:
            JournalError: the rows that are ``known`` are gone.
        """
        members = [_member(row) for row in await self._journal.query(_MEMBERS, *self._group)]
        if known and (len(members) < len(known) or members[0].key != known[0].key):
            raise self._rows_are_gone()
        return members

    async def add(self, intents: Sequence[Intent], known: int = 0) -> list[GroupMember]:
        """
        Add the intents, and return their members once they are on disk. An intent whose name the group has already is not added:
        its member is the first attempt at that program. ``known`` is how many programs the caller knows.

        Raises:
            ValueError: the group has another program of this name.
            JournalError: the programs that the caller knows are gone.
        """
        now = time.time()

        def write(connection: sqlite3.Connection, _: ProcessLock) -> list[GroupMember]:
            last = connection.execute(_LAST, self._group).fetchone()
            position = 0 if last is None else last[0] + 1
            if position < known:
                raise self._rows_are_gone()
            members: list[GroupMember] = []
            for intent in intents:
                row, digest = None, intent.digest
                if intent.name is not None:
                    row = connection.execute(_NAMED, (*self._group, intent.name)).fetchone()
                if row is None:
                    described = (intent.target, intent.shots, intent.name, digest)
                    account = (intent.key, intent.url, intent.account)
                    connection.execute(_ADD, (*account, *described, intent.body, now, self._group[0], position))
                    row = (position, 1, intent.key, State.ADDED, *described, None, None, None, None)
                    position += 1
                member = _member(row)
                if member.digest != digest:
                    raise ValueError(f"the group {self._group[0]!r} has another program that is called {intent.name!r}")
                members.append(member)
            return members

        return await self._journal.writer.run(write)

    def check_nothing_is_lost(self) -> None:
        """
        Check that no earlier journal may have a group that this one has not.

        Raises:
            JournalError: an earlier one was damaged.
        """
        if files := self._journal.damaged_files:
            raise JournalError(
                f"The journal has no group {self._group[0]!r}, but it was damaged before and is set aside as {', '.join(files)}:"
                " the group may be there, and its programs would be submitted again.\nLook at `sfjobs list`. If nothing of it"
                " runs, begin the group anew with begin_anew=True, or move that file away."
            )

    def _rows_are_gone(self) -> JournalError:
        files = ", ".join(self._journal.damaged_files)
        reason = (
            f"the journal was damaged and is set aside as {files}"
            if files
            else "it was removed, or its journal replaced"
        )
        return JournalError(
            f"The programs of the group {self._group[0]!r} are no longer in the journal: {reason}.\nIts jobs go on at the"
            " platform: see `sfjobs list` before you submit any of its programs again."
        )

    async def claim(self) -> tuple[list[str], int]:
        """Claim the added programs that no living process is going to send. Returns their keys, and how many others there are."""
        return await self._journal.claim_rows(lambda _, key: key, State.ADDED, _ADDED_KEYS, *self._group)

    def release(self, keys: list[str]) -> None:
        """Leave claimed programs that were not sent to other processes, without waiting."""
        self._journal.release(State.ADDED, keys)

    async def intents(self, keys: Sequence[str]) -> list[Intent]:
        """Return the intents with these keys, in their order."""

        def read(connection: sqlite3.Connection, _: ProcessLock) -> list[Intent]:
            return [Intent(*connection.execute(_INTENT, (key,)).fetchone()) for key in keys]

        return await self._journal.writer.run(read)

    def note_statuses(self, statuses: Iterable[tuple[str, JobStatus]]) -> None:
        """Write the statuses of jobs, by the keys of their members, without waiting."""
        rows = [(status.value, key) for key, status in statuses]
        self._journal.writer.put(lambda connection, _: connection.executemany(_NOTE_STATUS, rows))

    async def repeat(self, keys: Sequence[str]) -> int:
        """Add another attempt after each of these, unless there is one. Returns how many were added."""
        now = time.time()

        def write(connection: sqlite3.Connection, _: ProcessLock) -> int:
            return sum(connection.execute(_REPEAT, (str(uuid.uuid4()), now, key)).rowcount for key in keys)

        return await self._journal.writer.run(write)

    async def give_up(self) -> None:
        """Close the added programs that no living process is going to send: they are never sent."""
        now = time.time()

        def close(connection: sqlite3.Connection, key: str) -> None:
            connection.execute(_GIVE_UP, (now, key))
            self._journal.active_keys.discard(key)

        await self._journal.claim_rows(close, State.ADDED, _ADDED_KEYS, *self._group)

    async def remove(self) -> bool:
        """Delete all rows. Returns False, and deletes none, while some are added or open."""

        def write(connection: sqlite3.Connection, _: ProcessLock) -> bool:
            if connection.execute(_UNSETTLED, self._group).fetchone() is not None:
                return False
            connection.execute(_REMOVE, self._group)
            return True

        return await self._journal.writer.run(write)


async def summaries(journal: Journal, url: str, account: str) -> list[GroupSummary]:
    """Return the groups of this account, the newest first."""
    return [
        GroupSummary(*row[:5], *(datetime.fromtimestamp(seconds, UTC) for seconds in row[5:]))
        for row in await journal.query(_SUMMARIES, url, account)
    ]


async def names_of_others(journal: Journal, url: str, account: str) -> list[str]:
    """Return the names of the groups of other accounts, or of API keys that were replaced."""
    return [name for (name,) in await journal.query(_NAMES_OF_OTHERS, url, account)]


def _member(row: Sequence[Any]) -> GroupMember:
    values = dict(zip(_FIELDS, row, strict=True))
    status = values["status"]
    values |= {"state": State(values["state"]), "status": None if status is None else JobStatus(status)}
    return GroupMember(**values)
