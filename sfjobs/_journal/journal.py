"""The journal's queries and updates. One journal a process and file, shared by all connections and threads."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from . import processes
from .database import damaged_files
from .location import JournalLocation
from .process_lock import ProcessLock
from .rows import Intent, JournalEntry, OtherAccount, State, SubmissionOutcome
from .writer import Writer

T = TypeVar("T")

INTENT_COLUMNS = "key, url, account, target, shots, name, body"

_OPEN = """
INSERT INTO intents (key, url, account, state, owner, target, shots, name, digest, body, opened_at, clock)
VALUES (?, ?, ?, 'open', ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET state = 'open', owner = excluded.owner, body = excluded.body, closed_at = NULL, reason = NULL,
    opened_at = iif(state IN ('added', 'unsent'), excluded.opened_at, opened_at),
    clock = iif(state IN ('added', 'unsent'), excluded.clock, coalesce(clock, excluded.clock))
WHERE state != 'submitted'
"""
# In a group, UNSENT is ADDED again.
_CLOSE = """
UPDATE intents SET job_id = :job_id, reason = :reason, owner = NULL, clock = coalesce(clock, :clock),
    state = iif(:state = 'unsent' AND group_name IS NOT NULL, 'added', :state),
    closed_at = iif(:state = 'open' OR :state = 'unsent' AND group_name IS NOT NULL, NULL, :now),
    body = iif(:state = 'open' OR group_name IS NOT NULL, body, NULL)
WHERE key = :key AND state != 'submitted'
"""
_OPEN_KEYS = """
SELECT key, owner FROM intents WHERE state = 'open' AND url = ? AND account = ? AND (? IS NULL OR group_name = ?)
"""
_ENTRY = f"SELECT opened_at, group_name, reason, clock, {INTENT_COLUMNS} FROM intents WHERE key = ?"  # noqa: S608 - constants
_COUNT_OPEN_OF_OTHERS = "SELECT count(*) FROM intents WHERE state = 'open' AND url = ? AND account != ?"
_OTHER_ACCOUNTS = """
SELECT account, (SELECT job_id FROM intents AS known
    WHERE known.url = intents.url AND known.account = intents.account AND job_id IS NOT NULL ORDER BY number DESC LIMIT 1)
FROM intents WHERE url = ? AND account != ?
"""
_OTHERS_WITH_OPEN_INTENTS = f"{_OTHER_ACCOUNTS} AND state = 'open' GROUP BY account ORDER BY max(number) DESC"
_OTHERS_WITH_THE_GROUP = f"{_OTHER_ACCOUNTS} AND group_name = ? GROUP BY account ORDER BY max(number) DESC"
_ADOPT = """
UPDATE intents SET account = :account WHERE url = :url AND account = :former AND (group_name IS NULL OR group_name NOT IN
    (SELECT group_name FROM intents WHERE group_name IS NOT NULL AND url = :url AND account = :account))
"""
_CLAIM = "UPDATE intents SET owner = ? WHERE key = ?"
_RELEASE = "UPDATE intents SET owner = NULL WHERE key = ? AND state = ?"
_NOTE_KEYS_HONOURED = "INSERT OR REPLACE INTO platforms VALUES (?, ?)"
_KEYS_HONOURED_AT = "SELECT honoured_keys_at FROM platforms WHERE url = ?"


class Journal:
    """
    A write-ahead log: an intent is ``open``ed before its request is sent and ``close``d with its outcome.

    An open intent belongs to the process that is sending it. Others ``claim`` it once that process is dead.
    """

    def __init__(self, location: JournalLocation) -> None:
        self.writer = Writer(location)
        # The intents that this process is sending or settling. Changed in the writer's thread, too.
        self.active_keys: set[str] = set()
        self._location = location
        self._process = os.getpid()

    @classmethod
    def at(cls, location: JournalLocation) -> Journal:
        """Return this process's journal of that file."""
        with _lock:
            living = [journal for reference in _journals if (journal := reference()) is not None]
            for journal in living:
                if journal.is_at(location):
                    return journal
            journal = cls(location)
            _journals[:] = map(weakref.ref, [*living, journal])
            return journal

    def is_at(self, location: JournalLocation) -> bool:
        """Whether this is this process's journal of that file."""
        return self._process == os.getpid() and self._location.is_same(location)

    @property
    def exists(self) -> bool:
        """Whether there is a file that is not empty, as far as this user may look."""
        try:
            found = self._location.path.stat()
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size > 0

    @property
    def damaged_files(self) -> list[str]:
        """The earlier files that were set aside as damaged, oldest first."""
        return damaged_files(self._location)

    async def open(self, intents: Sequence[Intent], clock: float | None = None) -> None:
        """
        Write the intents to disk. After a cancellation the caller has to close them as UNSENT. ``clock`` is how far the
        platform's clock is ahead of this machine's, in seconds, None if unknown.

        Raises:
            JournalError: they cannot be written, and nothing may be sent.
        """
        now = time.time()
        self.active_keys.update(intent.key for intent in intents)

        def write(connection: sqlite3.Connection, lock: ProcessLock) -> None:
            connection.executemany(_OPEN, [_row(intent, lock.number, now, clock) for intent in intents])

        try:
            await self.writer.run(write)
        except Exception:
            self.active_keys.difference_update(intent.key for intent in intents)
            raise

    def close(self, outcomes: Iterable[SubmissionOutcome], clock: float | None = None) -> None:
        """
        Write the outcomes, without waiting. A recovery finds out again those that are lost in a crash. ``clock`` as in ``open``.
        """
        outcomes, now = list(outcomes), time.time()
        self.active_keys.difference_update(outcome.key for outcome in outcomes)
        rows = [
            {
                "now": now,
                "clock": clock,
                "key": done.key,
                "state": done.state.value,
                "job_id": done.job_id,
                "reason": done.reason,
            }
            for done in outcomes
        ]
        self.writer.put(lambda connection, _: connection.executemany(_CLOSE, rows))

    async def flush(self) -> None:
        """Wait until all earlier writes are on disk."""
        await self.writer.run(lambda *_: None)

    async def query(self, sql: str, *parameters: object) -> list[Any]:
        """Return the rows of a SELECT."""
        return await self.writer.run(lambda connection, _: connection.execute(sql, parameters).fetchall())

    async def claim(self, url: str, account: str, group: str | None = None) -> tuple[list[JournalEntry], int]:
        """
        Claim the open intents of this account, or of one of its groups, that no living process is sending. They belong to this
        process until they are closed. Also returns how many others there are.
        """
        return await self.claim_rows(_entry, State.OPEN, _OPEN_KEYS, url, account, group, group)

    async def claim_rows(
        self, read: Callable[[sqlite3.Connection, str], T], state: State, sql: str, *parameters: object
    ) -> tuple[list[T], int]:
        """
        Claim the rows in this ``state`` that no living process is working on; ``sql`` selects their keys and owners. Returns what
        ``read`` returns for each key, and how many other rows there are.
        """
        claimed: list[str] = []

        def write(connection: sqlite3.Connection, lock: ProcessLock) -> tuple[list[T], int]:
            rows = connection.execute(sql, parameters).fetchall()
            owners = {owner for _, owner in rows if owner is not None}
            alive = {owner: lock.is_held(owner) or processes.is_alive(connection, owner) for owner in owners}
            claimed[:] = [
                key
                for key, owner in rows
                if not (key in self.active_keys if owner == lock.number else alive.get(owner))
            ]
            connection.executemany(_CLAIM, [(lock.number, key) for key in claimed])
            self.active_keys.update(claimed)
            return [read(connection, key) for key in claimed], len(rows) - len(claimed)

        try:
            return await self.writer.run(write)
        except BaseException:
            self.release(state, claimed)  # which the writer may fill only now
            raise

    def release(self, state: State, keys: list[str]) -> None:
        """Give up claimed rows, without waiting. Those that no longer have this ``state`` were opened or closed since."""

        def write(connection: sqlite3.Connection, _: ProcessLock) -> None:
            for key in keys:
                if connection.execute(_RELEASE, (key, state.value)).rowcount:
                    self.active_keys.discard(key)

        self.writer.put(write)

    async def count_open_of_others(self, url: str, account: str) -> int:
        """Return how many open intents belong to other accounts of this platform."""
        [[count]] = await self.query(_COUNT_OPEN_OF_OTHERS, url, account)
        return int(count)

    async def known_jobs(self, ids: Sequence[str]) -> set[str]:
        """Return the jobs among these that belong to an intent."""
        marks = ", ".join("?" * len(ids))
        rows = await self.query(f"SELECT job_id FROM intents WHERE job_id IN ({marks})", *ids)  # noqa: S608 - marks
        return {job_id for (job_id,) in rows}

    async def other_accounts(self, url: str, account: str, group: str | None = None) -> list[OtherAccount]:
        """Return the other accounts of this platform with this group, or with open intents, the latest first."""
        if group is None:
            rows = await self.query(_OTHERS_WITH_OPEN_INTENTS, url, account)
        else:
            rows = await self.query(_OTHERS_WITH_THE_GROUP, url, account, group)
        return [OtherAccount(*row) for row in rows]

    async def adopt(self, url: str, account: str, former: str) -> None:
        """Move the rows of account ``former`` to ``account``, but for groups whose names both have."""
        names = {"url": url, "account": account, "former": former}
        await self.writer.run(lambda connection, _: connection.execute(_ADOPT, names))

    def note_keys_honoured(self, url: str, now: float) -> None:
        """Note that the platform has just honoured an idempotency key. ``now`` is on its clock."""
        row = (url, now)
        self.writer.put(lambda connection, _: connection.execute(_NOTE_KEYS_HONOURED, row))

    async def keys_honoured_at(self, url: str) -> float | None:
        """Return when the platform last honoured an idempotency key, on its clock."""
        rows = await self.query(_KEYS_HONOURED_AT, url)
        return float(rows[0][0]) if rows else None


_journals: list[weakref.ref[Journal]] = []
_lock = threading.Lock()


def _renew_lock() -> None:
    """Replace the lock in a forked child: a lock that another thread held stays locked for ever."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _row(intent: Intent, owner: int, now: float, clock: float | None) -> tuple[object, ...]:
    described = (intent.target, intent.shots, intent.name, intent.digest, intent.body)
    return (intent.key, intent.url, intent.account, owner, *described, now, clock)


def _entry(connection: sqlite3.Connection, key: str) -> JournalEntry:
    opened_at, group, reason, clock, *intent = connection.execute(_ENTRY, (key,)).fetchone()
    return JournalEntry(Intent(*intent), opened_at, group, reason, clock)
