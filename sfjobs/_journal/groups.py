"""The rows of one group, in the order of its programs. ``group`` is what callers see of it."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from ..models import JobStatus
from .journal import Journal
from .process_lock import ProcessLock
from .rows import GroupMember, Intent, State

_COLUMNS = "position, attempt, key, state, target, shots, name, digest, job_id, status, reason, follows"
_OF_GROUP = "FROM intents WHERE group_name = ? AND url = ? AND account = ?"
_LOAD = f"SELECT {_COLUMNS} {_OF_GROUP} ORDER BY position, attempt"
_LAST = f"SELECT position {_OF_GROUP} ORDER BY position DESC LIMIT 1"
_NAMED = f"""
SELECT {_COLUMNS} FROM intents INDEXED BY named_intents
WHERE group_name = ? AND url = ? AND account = ? AND name = ? AND attempt = 1
"""  # noqa: S608 - words of ours
_ADD = """
INSERT INTO intents (key, url, account, state, target, shots, name, digest, body, opened_at, group_name, position)
VALUES (?, ?, ?, 'added', ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UNSENT = f"SELECT number, key, owner {_OF_GROUP} AND state = 'added' ORDER BY position"
_TAKE = "UPDATE intents SET owner = ? WHERE number = ?"
_LET_GO = "UPDATE intents SET owner = NULL WHERE key = ? AND state = 'added'"
_GIVE_UP = "UPDATE intents SET state = 'given_up', closed_at = ?, owner = NULL WHERE key = ? AND state = 'added'"
_NOTE = "UPDATE intents SET status = ? WHERE key = ?"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """A group as lists show it: its programs, how many submissions have come how far, when it was begun and last added to."""

    name: str
    programs: int
    added: int
    in_doubt: int
    submitted: int
    begun_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Addition:
    """A program for a group, ready to be sent."""

    target: str
    shots: int | None
    name: str | None
    body: bytes

    @property
    def digest(self) -> str:
        return sha256(self.body).hexdigest()


class GroupTable:
    """
    A group's place in the journal. What is added may be sent by one process at a time: whoever ``take``s it, until that is
    opened, let go of or dead.
    """

    def __init__(self, journal: Journal, name: str, url: str, account: str) -> None:
        self._journal = journal
        self._whose = (name, url, account)

    async def load(self) -> list[GroupMember]:
        """Every attempt at every program, in the order of the programs and of the attempts."""
        return await self._journal.writer.run(lambda connection, _: self._members(connection))

    async def add(self, additions: Sequence[Addition]) -> list[GroupMember]:
        """
        Returns when they are on disk, as the members that they have become, or were: a program whose name the group has
        already is that one. Raises ValueError when it is not the same program.
        """
        name, url, account = self._whose
        now = time.time()

        def write(connection: sqlite3.Connection, _: ProcessLock) -> list[GroupMember]:
            last = connection.execute(_LAST, self._whose).fetchone()
            position = 0 if last is None else last[0] + 1
            found: list[GroupMember] = []
            for addition in additions:
                member = self._named(connection, addition.name)
                if member is None:
                    member = _first_attempt(addition, position)
                    row = (addition.target, addition.shots, addition.name, member.digest, addition.body, now)
                    connection.execute(_ADD, (member.key, url, account, *row, name, position))
                    position += 1
                elif member.digest != addition.digest:
                    raise ValueError(f"the group {name!r} has another program that is called {addition.name!r}")
                found.append(member)
            return found

        return await self._journal.writer.run(write)

    async def take(self) -> tuple[list[str], int]:
        """The keys of what is added and yet to be sent, by whoever asked first; and how many more somebody else is to send."""
        taken: list[str] = []

        def write(connection: sqlite3.Connection, lease: ProcessLock) -> tuple[list[str], int]:
            found = connection.execute(_UNSENT, self._whose).fetchall()
            lives = {owner: owner is not None and lease.is_held(owner) for owner in {owner for _, _, owner in found}}
            on_their_way = self._journal.on_their_way
            free = [
                (number, key)
                for number, key, owner in found
                if not (key in on_their_way if owner == lease.number else lives[owner])
            ]
            connection.executemany(_TAKE, [(lease.number, number) for number, _ in free])
            taken[:] = [key for _, key in free]
            on_their_way.update(taken)
            return taken, len(found) - len(free)

        try:
            return await self._journal.writer.run(write)
        except BaseException:
            self.let_go(taken)
            raise

    def let_go(self, keys: list[str]) -> None:
        """Leaves to others what was taken and not sent. Waits for nothing."""

        def write(connection: sqlite3.Connection, _: ProcessLock) -> None:
            # Only of what is still added: the others have been opened, and closed, since.
            for key in keys:
                if connection.execute(_LET_GO, (key,)).rowcount:
                    self._journal.on_their_way.discard(key)

        self._journal.writer.put(write)

    async def intents(self, keys: Sequence[str]) -> list[Intent]:
        """What is to be sent for each of these, in their order."""

        def read(connection: sqlite3.Connection, _: ProcessLock) -> list[Intent]:
            return [_intent(connection, key) for key in keys]

        return await self._journal.writer.run(read)

    def note(self, statuses: Iterable[tuple[str, JobStatus]]) -> None:
        """How jobs are, by the keys of their members. Waits for nothing."""
        told = [(status.value, key) for key, status in statuses]
        self._journal.writer.put(lambda connection, _: connection.executemany(_NOTE, told))

    async def repeat(self, keys: Sequence[str]) -> int:
        """Adds another attempt after each of these, unless there is one; how many were added."""
        now = time.time()

        def write(connection: sqlite3.Connection, _: ProcessLock) -> int:
            return sum(connection.execute(_REPEAT, (str(uuid.uuid4()), now, key)).rowcount for key in keys)

        return await self._journal.writer.run(write)

    async def give_up(self) -> None:
        """What is added and yet to be sent by nobody never will be."""
        (taken, _), now = await self.take(), time.time()

        def write(connection: sqlite3.Connection, _: ProcessLock) -> None:
            connection.executemany(_GIVE_UP, [(now, key) for key in taken])
            self._journal.on_their_way.difference_update(taken)

        try:
            await self._journal.writer.run(write)
        except BaseException:
            self.let_go(taken)
            raise

    async def remove(self) -> bool:
        """Lets go of all rows; False, and none goes, when some are yet to be sent or have no answer."""

        def write(connection: sqlite3.Connection, _: ProcessLock) -> bool:
            if connection.execute(_UNSETTLED, self._whose).fetchone() is not None:
                return False
            connection.execute(_REMOVE, self._whose)
            return True

        return await self._journal.writer.run(write)

    def _named(self, connection: sqlite3.Connection, name: str | None) -> GroupMember | None:
        row = None if name is None else connection.execute(_NAMED, (*self._whose, name)).fetchone()
        return None if row is None else _member(row)

    def _members(self, connection: sqlite3.Connection) -> list[GroupMember]:
        return [_member(row) for row in connection.execute(_LOAD, self._whose)]


async def summaries(journal: Journal, url: str, account: str) -> list[GroupSummary]:
    """The groups of this platform and account, the newest first."""

    def read(connection: sqlite3.Connection, _: ProcessLock) -> list[GroupSummary]:
        return [
            GroupSummary(
                name=name,
                programs=programs,
                added=added,
                in_doubt=in_doubt,
                submitted=submitted,
                begun_at=datetime.fromtimestamp(begun_at, UTC),
                changed_at=datetime.fromtimestamp(changed_at, UTC),
            )
            for name, programs, added, in_doubt, submitted, begun_at, changed_at in connection.execute(
                _SUMMARIES, (url, account)
            )
        ]

    return await journal.writer.run(read)


async def names_of_others(journal: Journal, url: str, account: str) -> list[str]:
    """The names of the groups that other accounts of this platform have, or keys that were replaced."""

    def read(connection: sqlite3.Connection, _: ProcessLock) -> list[str]:
        return [name for (name,) in connection.execute(_NAMES_OF_OTHERS, (url, account))]

    return await journal.writer.run(read)


def _first_attempt(addition: Addition, position: int) -> GroupMember:
    return GroupMember(
        index=position,
        attempt=1,
        key=str(uuid.uuid4()),
        state=State.ADDED,
        target=addition.target,
        shots=addition.shots,
        name=addition.name,
        digest=addition.digest,
        job_id=None,
        status=None,
        reason=None,
        follows=None,
    )


def _member(row: Sequence[Any]) -> GroupMember:
    index, attempt, key, state, target, shots, name, digest, job_id, status, reason, follows = row
    return GroupMember(
        index=index,
        attempt=attempt,
        key=key,
        state=State(state),
        target=target,
        shots=shots,
        name=name,
        digest=digest,
        job_id=job_id,
        status=None if status is None else JobStatus(status),
        reason=reason,
        follows=follows,
    )


def _intent(connection: sqlite3.Connection, key: str) -> Intent:
    query = "SELECT url, account, target, shots, name, body FROM intents WHERE key = ?"
    url, account, target, shots, name, body = connection.execute(query, (key,)).fetchone()
    return Intent(key=key, url=url, account=account, target=target, shots=shots, name=name, body=body)
