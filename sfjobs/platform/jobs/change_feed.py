"""
The change feed: which streams of which accounts are open, and what each must hear next. A stream keeps only its cursor; what
has changed since is read from the store when a commit wakes it, so that a slow reader costs no memory and hears of each job's
newest state once. HTTP is ``routes_changes``' business.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio

from ..store.jobs import Store
from .representation import compact_json, job_object
from .scheduler import Scheduler

CHANGES_PATH: Final = "/jobs/changes"
MEDIA_TYPE: Final = "text/event-stream"

PAGE: Final = 50
"""Jobs in one piece of a stream: what a reader that has stopped reading can make the platform hold."""

PATIENCE_AT_STOP: Final = 0.5
"""Seconds that a stream's last words may take when the platform stops: less than what the server waits for requests."""


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Events as they are sent, and the number of the change after them. Without events there is nothing new."""

    after: int
    events: bytes


@dataclass(slots=True)
class _Account:
    """The streams of one account. They stand at the same cursor most of the time, so the newest page is read for all."""

    streams: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    pages: dict[int, ChangePage] = field(default_factory=dict)


class ChangePublisher:
    """One for a store. Its streams run in one event loop; the store tells it of commits from any thread."""

    def __init__(self, store: Store, scheduler: Scheduler) -> None:
        self._store = store
        self._scheduler = scheduler
        self._epoch = store.secret("change-cursors")[:8]
        self._accounts: dict[str, _Account] = {}
        self._changed: set[str] = set()
        self._sending: set[anyio.CancelScope] = set()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closing = asyncio.Event()
        store.on_change(self._on_commit)

    @property
    def streams(self) -> int:
        """How many are open."""
        return sum(account.streams for account in self._accounts.values())

    def close(self) -> None:
        """Let all streams end, and those that come end at once; to be called in their event loop."""
        self.closing.set()
        for account in self._accounts.values():
            account.pages.clear()  # a commit may not have been told yet
            account.wake.set()
        for scope in self._sending:
            scope.deadline = min(scope.deadline, anyio.current_time() + PATIENCE_AT_STOP)

    @contextmanager
    def sending(self, patience: float) -> Iterator[anyio.CancelScope]:
        """Inside, a stream sends, for ``patience`` seconds at most and less when the feed closes."""
        with anyio.move_on_after(PATIENCE_AT_STOP if self.closing.is_set() else patience) as scope:
            self._sending.add(scope)
            try:
                yield scope
            finally:
                self._sending.remove(scope)

    @contextmanager
    def stream(self, account: str) -> Iterator[None]:
        """Inside, commits of the account's changes set ``wake(account)``."""
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
        """Set at the next commit, or when the feed closes. Take it before you read, and no change is missed."""
        return self._accounts[account].wake

    def newest(self) -> int:
        """The change from which on a stream that starts now hears everything."""
        return self._store.newest_change()

    def page(self, account: str, after: int) -> ChangePage:
        """The next events for a stream of the account that has heard everything up to ``after``."""
        pages = self._accounts[account].pages
        if after not in pages:
            # One kept, not many: streams that catch up from far behind are few, those that wait at the end are alike.
            pages.clear()
            pages[after] = self._read(account, after)
        return pages[after]

    def cursor(self, change: int) -> str:
        """What a client gives back to go on from here. It names the store, so that another store's is known to be foreign."""
        return f"{self._epoch}.{change}"

    def link(self, change: int | None) -> str:
        """
        How the feed is offered (RFC 8288, with the relation of RFC 5989) by an answer that reflects everything up to
        ``change``: whoever follows it hears of all that the answer does not know yet.
        """
        since = "" if change is None else f"?since={self.cursor(change)}"
        return f'<{CHANGES_PATH}{since}>; rel="monitor"; type="{MEDIA_TYPE}"'

    def change_at(self, cursor: str) -> int | None:
        """The change that a cursor of this store stands for, None if it is none."""
        epoch, _, number = cursor.rpartition(".")
        if epoch != self._epoch or not (number.isascii() and number.isdigit() and len(number) < 19):
            return None
        change = int(number)
        return change if change <= self._store.newest_change() else None

    def _read(self, account: str, after: int) -> ChangePage:
        records = self._store.changes(account, after=after, size=PAGE)
        events = [
            b"event: job\nid: %s\ndata: %s\n\n"
            % (
                self.cursor(record.change).encode(),
                compact_json(job_object(record, self._scheduler.position(record))),
            )
            for record in records
        ]
        return ChangePage(records[-1].change if records else after, b"".join(events))

    def _on_commit(self, account: str) -> None:
        """On the writer's thread. Many commits before the loop's next turn wake it once."""
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
