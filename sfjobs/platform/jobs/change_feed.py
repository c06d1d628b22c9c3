"""
The change feed: the open streams of each account and their next events. A stream keeps only its cursor. A commit wakes it, and it
reads the changes since its cursor from the store, so a slow reader costs no memory and gets each job once, at its newest state.
The HTTP part is ``api/routes/changes``.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

import anyio
import anyio.lowlevel

from ..records import DeletedJob, JobRecord
from ..store.interface import JobStore
from .fair_turns import FairTurns
from .representation import compact_json, job_object
from .scheduler import Scheduler

CHANGES_PATH: Final = "/jobs/changes"
MEDIA_TYPE: Final = "text/event-stream"

PAGE_JOBS: Final = 50
"""Jobs in one message of a stream, which the platform holds for a reader that has stopped reading."""

STOP_SEND_TIMEOUT_SECONDS: Final = 0.5
"""For the last events of a stream when the platform stops: less than the time that the server gives requests then."""


MAX_REPLAY_CHANGES: Final = 100_000
"""A stream from a cursor with more changes since is refused: a list of the jobs that the client wants is cheaper."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """The next events of a stream as they are sent, and the number of their last change. ``is_full``: more may follow."""

    change: int
    events: bytes
    is_full: bool


@dataclass(slots=True)
class _Account:
    """The streams of one account. They mostly have the same cursor, so a page is read once for all of them."""

    streams: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    pages: dict[int, EventPage] = field(default_factory=dict)


class ChangePublisher:
    """Publishes the changes of one store. Its streams run in one event loop; the store notifies it on any thread."""

    def __init__(self, store: JobStore, scheduler: Scheduler) -> None:
        self._store = store
        self._scheduler = scheduler
        self._epoch = store.secret("change-cursors")[:8]
        self._accounts: dict[str, _Account] = {}
        self._changed: set[str] = set()
        self._send_scopes: set[anyio.CancelScope] = set()
        self._lock = threading.Lock()
        self._replays = FairTurns(1, most_waiting=sys.maxsize, most_waiting_in_all=sys.maxsize)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closing = asyncio.Event()
        store.on_change(self._on_commit)

    @property
    def streams(self) -> int:
        """The number of open streams."""
        return sum(account.streams for account in self._accounts.values())

    def close(self) -> None:
        """End all streams, and new ones at once. Call it in their event loop."""
        self.closing.set()
        for account in self._accounts.values():
            account.pages.clear()  # the notification of a commit may still be on its way
            account.wake.set()
        for scope in self._send_scopes:
            scope.deadline = min(scope.deadline, anyio.current_time() + STOP_SEND_TIMEOUT_SECONDS)

    @contextmanager
    def send_timeout(self, seconds: float) -> Iterator[anyio.CancelScope]:
        """Bound the time in which a stream sends a message. The bound is shorter when the feed closes."""
        with anyio.move_on_after(STOP_SEND_TIMEOUT_SECONDS if self.closing.is_set() else seconds) as scope:
            self._send_scopes.add(scope)
            try:
                yield scope
            finally:
                self._send_scopes.remove(scope)

    @contextmanager
    def stream(self, account: str) -> Iterator[None]:
        """Count an open stream of the account. Inside, each commit of its changes sets ``wake(account)``."""
        self._loop = asyncio.get_running_loop()
        state = self._accounts.setdefault(account, _Account())
        state.streams += 1
        try:
            yield
        finally:
            state.streams -= 1
            if not state.streams:
                del self._accounts[account]

    def wake(self, account: str) -> asyncio.Event:
        """Return the event of the next commit, or of the end of the feed. Get it before you read, so that no change is missed."""
        return self._accounts[account].wake

    def newest(self, account: str) -> int:
        """Return the number of the account's newest change, after which a stream that starts now continues."""
        return self._store.newest_change(account)

    async def next_page(self, account: str, after: int, *, is_behind: bool) -> EventPage:
        """
        Return the next page for a stream of the account that has sent everything up to ``after``. Without a change it has no
        events. A stream whose last page was full ``is_behind``: such streams take turns, fair to all accounts, and let all other
        tasks run between two pages.
        """
        if not is_behind:
            return self._page(account, after)
        async with self._replays.turn(account):
            page = self._page(account, after)
            await anyio.lowlevel.checkpoint()
        return page

    def _page(self, account: str, after: int) -> EventPage:
        pages = self._accounts[account].pages
        if after not in pages:
            # Only one is kept: few streams catch up from far behind, and those that wait at the end need the same page.
            pages.clear()
            changed = self._store.changes(account, after=after, size=PAGE_JOBS)
            deleted = self._store.deleted_jobs(account, after=after, size=PAGE_JOBS)
            records: list[JobRecord | DeletedJob] = [*changed, *deleted]
            if deleted:
                records = sorted(records, key=attrgetter("change"))[:PAGE_JOBS]
            last = records[-1].change if records else after
            pages[after] = EventPage(last, b"".join(map(self._event, records)), len(records) == PAGE_JOBS)
        return pages[after]

    def cursor(self, change: int) -> str:
        """Return the cursor of a change. It names the store, so that the cursor of another store is recognised."""
        return f"{self._epoch}.{change}"

    def link(self, change: int | None) -> str:
        """
        Return the link to the feed (RFC 8288, with the relation of RFC 5989) for a response that reflects everything up to
        ``change``. A stream from this link has all later changes.
        """
        since = "" if change is None else f"?since={self.cursor(change)}"
        return f'<{CHANGES_PATH}{since}>; rel="monitor"; type="{MEDIA_TYPE}"'

    def change_at(self, account: str, cursor: str) -> int | None:
        """Return the change of a cursor, None if it is not a cursor of this store and account, or too old to continue from."""
        epoch, _, number = cursor.rpartition(".")
        if epoch != self._epoch or not (number.isascii() and number.isdigit() and len(number) < 19):
            return None
        change = int(number)
        newest = self.newest(account)
        return change if newest - MAX_REPLAY_CHANGES <= change <= newest else None

    def _event(self, record: JobRecord | DeletedJob) -> bytes:
        if isinstance(record, DeletedJob):  # clients skip events whose names they do not know
            name, data = b"deleted", compact_json({"id": record.id})
        else:
            name, data = (
                b"job",
                compact_json(job_object(record, self._scheduler.position(record), self._scheduler.reason(record))),
            )
        return b"event: %s\nid: %s\ndata: %s\n\n" % (name, self.cursor(record.change).encode(), data)

    def _on_commit(self, account: str) -> None:
        """Wake the event loop from the thread of the writer, once for all commits before its next iteration."""
        loop = self._loop
        if loop is None or account not in self._accounts:
            return
        with self._lock:
            first = not self._changed
            self._changed.add(account)
        if first:
            loop.call_soon_threadsafe(self._wake_streams)

    def _wake_streams(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        for name in changed:
            if (account := self._accounts.get(name)) is not None:
                account.pages.clear()
                account.wake.set()
                if not self.closing.is_set():
                    account.wake = asyncio.Event()
