"""The journal: what is asked of it, as SQL. One a process and file, shared by all connections, whatever their threads."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Self

from .database import set_aside
from .location import JournalLocation
from .process_lock import ProcessLock
from .rows import Intent, JournalEntry, OtherAccount, State, SubmissionOutcome
from .writer import Writer

_OPEN = """
INSERT INTO intents (key, url, account, state, owner, target, shots, name, digest, body, opened_at)
VALUES (?, ?, ?, 'open', ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET state = 'open', owner = excluded.owner, body = excluded.body, closed_at = NULL, reason = NULL,
    opened_at = iif(state IN ('added', 'unsent'), excluded.opened_at, opened_at)
WHERE state != 'submitted'
"""
_CLOSE = """
UPDATE intents SET job_id = :job_id, reason = :reason, owner = NULL,
    state = iif(:state = 'unsent' AND group_name IS NOT NULL, 'added', :state),
    closed_at = iif(:state = 'unsent' AND group_name IS NOT NULL, NULL, :now),
    body = iif(:keeps_body OR group_name IS NOT NULL, body, NULL)
WHERE key = :key AND state != 'submitted'
"""
_READ = """
SELECT key, state, target, shots, name, digest, job_id, reason, opened_at, closed_at, group_name, body
FROM intents WHERE number = ?
"""
_OPEN_ONES = """
SELECT number, owner, key FROM intents
WHERE state = 'open' AND url = ? AND account = ? AND (? IS NULL OR group_name = ?)
"""
_COUNT_OF_OTHERS = "SELECT count(*) FROM intents WHERE state = 'open' AND url = ? AND account != ?"
_WITH_A_JOB = """
SELECT account, (SELECT job_id FROM intents AS known
    WHERE known.url = intents.url AND known.account = intents.account AND job_id IS NOT NULL ORDER BY number DESC LIMIT 1)
FROM intents WHERE url = ? AND account != ?
"""
_OTHERS_WITH_SOMETHING_OPEN = f"{_WITH_A_JOB} AND state = 'open' GROUP BY account ORDER BY max(number) DESC"
_OTHERS_WITH_THE_GROUP = f"{_WITH_A_JOB} AND group_name = ? GROUP BY account ORDER BY max(number) DESC"
_TAKE_OVER = """
UPDATE intents SET account = :account WHERE url = :url AND account = :former AND (group_name IS NULL OR group_name NOT IN
    (SELECT group_name FROM intents WHERE group_name IS NOT NULL AND url = :url AND account = :account))
"""
_TAKE = "UPDATE intents SET owner = ? WHERE number = ?"
_LET_GO = "UPDATE intents SET owner = NULL WHERE key = ? AND state = 'open'"


class Journal:
    """
    Whoever submits ``open``s an intent before the request leaves, and ``close``s it with what became of it. An intent that is
    open belongs to the process that has it on its way; whoever wants to settle those of others has to ``claim`` them.
    """

    def __init__(self, place: JournalLocation) -> None:
        self.place = place
        self.writer = Writer(place)
        self.on_their_way: set[str] = set()  # changed in the writer's thread, too

    @classmethod
    def at(cls, place: JournalLocation) -> Self:
        """The one journal of this process in that file."""
        here = (os.getpid(), place.path)
        with _lock:
            found = _journals.get(here)
            if not isinstance(found, cls):
                found = _journals[here] = cls(place)
            return found

    @property
    def set_aside(self) -> list[str]:
        """The files that were found damaged in its place, oldest first."""
        return set_aside(self.place)

    async def open(self, intents: Sequence[Intent]) -> None:
        """
        Returns when they are on disk. Raises JournalError: then nothing may be sent. Whoever is cancelled in here has to close
        them as UNSENT all the same.
        """
        now = time.time()
        self.on_their_way.update(intent.key for intent in intents)

        def write(connection: sqlite3.Connection, lease: ProcessLock) -> None:
            connection.executemany(_OPEN, [_row(intent, lease.number, now) for intent in intents])

        try:
            await self.writer.run(write)
        except Exception:
            self.on_their_way.difference_update(intent.key for intent in intents)
            raise

    def close(self, fates: Iterable[SubmissionOutcome]) -> None:
        """Says what became of them. Waits for nothing: what is lost of this in a crash is found out again by a recovery."""
        fates, now = list(fates), time.time()
        self.on_their_way.difference_update(fate.key for fate in fates)

        def write(connection: sqlite3.Connection, _: ProcessLock) -> None:
            connection.executemany(_CLOSE, [_closing(fate, now) for fate in fates])

        self.writer.put(write)

    async def flush(self) -> None:
        """Returns when all that it was told by now is on disk."""
        await self.writer.run(lambda *_: None)

    async def claim(self, url: str, account: str, group: str | None = None) -> tuple[list[JournalEntry], int, int]:
        """
        The open intents of this platform and account, or of one group there, with their bodies: they belong to this process
        until they are closed. How many more a living process, such as this one, has on its way; and how many open ones are of
        other accounts.
        """
        claimed: list[str] = []

        def write(connection: sqlite3.Connection, lease: ProcessLock) -> tuple[list[JournalEntry], int, int]:
            found = connection.execute(_OPEN_ONES, (url, account, group, group)).fetchall()
            lives = {owner: owner is not None and lease.is_held(owner) for owner in {owner for _, owner, _ in found}}
            mine = [
                (number, key)
                for number, owner, key in found
                if not (key in self.on_their_way if owner == lease.number else lives[owner])
            ]
            connection.executemany(_TAKE, [(lease.number, number) for number, _ in mine])
            [of_others] = connection.execute(_COUNT_OF_OTHERS, (url, account)).fetchone()
            claimed[:] = [key for _, key in mine]
            self.on_their_way.update(claimed)
            return [_entry(connection, number) for number, _ in mine], len(found) - len(mine), of_others

        def undo(connection: sqlite3.Connection, _: ProcessLock) -> None:
            self.on_their_way.difference_update(claimed)
            connection.executemany(_LET_GO, [(key,) for key in claimed])

        try:
            return await self.writer.run(write)
        except BaseException:
            self.writer.put(undo)
            raise

    async def known_jobs(self, ids: Iterable[str]) -> set[str]:
        """Those of these jobs that an intent has become."""
        wanted = list(ids)

        def read(connection: sqlite3.Connection, _: ProcessLock) -> set[str]:
            marks = ", ".join("?" * len(wanted))
            query = f"SELECT job_id FROM intents WHERE job_id IN ({marks})"  # noqa: S608 - marks
            return {job_id for (job_id,) in connection.execute(query, wanted)}

        return await self.writer.run(read)

    async def other_accounts(self, url: str, account: str, group: str | None = None) -> list[OtherAccount]:
        """The other accounts of this platform that have a group of this name, or without one anything open; the latest first."""

        def read(connection: sqlite3.Connection, _: ProcessLock) -> list[OtherAccount]:
            if group is None:
                found = connection.execute(_OTHERS_WITH_SOMETHING_OPEN, (url, account))
            else:
                found = connection.execute(_OTHERS_WITH_THE_GROUP, (url, account, group))
            return [OtherAccount(*row) for row in found]

        return await self.writer.run(read)

    async def adopt(self, url: str, account: str, former: str) -> None:
        """What was ``former``'s is this account's, but for groups whose names both have."""
        names = {"url": url, "account": account, "former": former}
        await self.writer.run(lambda connection, _: connection.execute(_TAKE_OVER, names))

    def note_keys(self, url: str) -> None:
        """The platform has just shown that it honours idempotency keys."""
        now = time.time()
        self.writer.put(
            lambda connection, _: connection.execute("INSERT OR REPLACE INTO platforms VALUES (?, ?)", (url, now))
        )

    async def honoured_keys_at(self, url: str) -> float | None:
        """When the platform last showed so."""

        def read(connection: sqlite3.Connection, _: ProcessLock) -> float | None:
            row = connection.execute("SELECT honoured_keys_at FROM platforms WHERE url = ?", (url,)).fetchone()
            return None if row is None else float(row[0])

        return await self.writer.run(read)


_journals: weakref.WeakValueDictionary[tuple[int, Path], Journal] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def _renew_lock() -> None:
    """A lock that another thread held while this process was forked stays locked for ever."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _row(intent: Intent, owner: int, now: float) -> tuple[object, ...]:
    return (
        intent.key,
        intent.url,
        intent.account,
        owner,
        intent.target,
        intent.shots,
        intent.name,
        sha256(intent.body).hexdigest(),
        intent.body,
        now,
    )


def _closing(fate: SubmissionOutcome, now: float) -> dict[str, object]:
    return {
        "key": fate.key,
        "state": fate.state.value,
        "job_id": fate.job_id,
        "reason": fate.reason,
        "now": now if fate.state.is_closed else None,
        "keeps_body": fate.state == State.OPEN,
    }


def _entry(connection: sqlite3.Connection, number: int) -> JournalEntry:
    key, state, target, shots, name, digest, job_id, reason, opened_at, closed_at, group, body = connection.execute(
        _READ, (number,)
    ).fetchone()
    return JournalEntry(
        key=key,
        state=State(state),
        target=target,
        shots=shots,
        name=name,
        digest=digest,
        job_id=job_id,
        reason=reason,
        opened_at=opened_at,
        closed_at=closed_at,
        group=group,
        body=body,
    )
