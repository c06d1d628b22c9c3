"""
Reads the change feed while there is a leader, and applies its events to the tracked jobs. ``change_feed`` is the feed itself;
``leadership`` decides when reading is all there is to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio

from .._protocol.wire import MalformedRecord
from ..errors import SFJobsError
from ..models import Cursor
from .change_feed import ChangeFeed, silent_stream
from .outages import OutageMonitor
from .recent_changes import RecentChanges
from .types import Waiter
from .watchlist import JobTracker

FEED_READ_INTERVAL_SECONDS = 0.008
"""
Time between two reads of a busy stream. A single event is read at once; events that come together are read together, which saves
a wake-up for each and delays each by half of this on average.
"""


class FeedListener:
    """The reader of one change feed. ``interrupt`` is called when the leader may have something else to do."""

    def __init__(
        self, feed: ChangeFeed, tracker: JobTracker, outages: OutageMonitor, interrupt: Callable[[], None]
    ) -> None:
        self._feed = feed
        self._tracker = tracker
        self._outages = outages
        self._interrupt = interrupt
        self._recent = RecentChanges()
        self._offered = anyio.Event()
        self._read_at = -math.inf
        self._alone: anyio.CancelScope | None = None

    @property
    def can_listen(self) -> bool:
        """Whether the platform has a feed, as far as is known."""
        return self._feed.cursor is not None or self._feed.offered is not None

    def note_offer(self, cursor: Cursor | None) -> None:
        """Keep the link to the feed in a response, if it has one."""
        if self._feed.note_offer(cursor):
            self._offered.set()
            self._interrupt()

    def catch_up(self, waiter: Waiter, now: float) -> None:
        """Note the feed's links in the waiter's handles, and apply the events since their cursors."""
        latest = self._feed.cursor
        for job_id, handles in waiter.handles.items():
            for handle in handles:
                cursor = handle.cursor
                self.note_offer(cursor)
                if cursor is None or latest is None or cursor.covers(latest) or not self._recent.has_all_after(cursor):
                    continue
                if (snapshot := self._recent.get(job_id)) is not None:
                    handle.apply(snapshot, now)
                handle.cursor = latest

    async def resume(self) -> None:
        """Begin to listen again. A stream that reached its read deadline while it was not read is replaced."""
        if anyio.current_time() > self._feed.read_deadline:
            await self._feed.aclose()

    async def listen_alone(self, leader: Waiter, until: float) -> None:
        """
        Read the open stream until ``until``, ``interrupt_alone``, or the leader is settled. With one cancel scope and no task
        group: most waits of most callers are nothing but this.
        """
        with anyio.CancelScope(deadline=min(until, self._feed.read_deadline)) as self._alone:
            while not leader.is_settled and self._feed.is_open:
                early = self._read_at + FEED_READ_INTERVAL_SECONDS - anyio.current_time()
                if early > 0:
                    await anyio.sleep(early)
                await self._read()
        if self._alone.cancelled_caught and anyio.current_time() >= self._feed.read_deadline:
            await self._lose(silent_stream())
        self._alone = None

    def interrupt_alone(self) -> None:
        """End ``listen_alone``."""
        if self._alone is not None:
            self._alone.cancel()

    async def listen(self, leader: Waiter) -> None:
        """Keep a stream open beside the polls. Ends between two reads when the leader is settled."""
        while not leader.is_settled:
            with anyio.CancelScope(deadline=self._feed.read_deadline) as scope:
                await self._read()
            if scope.cancelled_caught:
                await self._lose(silent_stream())
        self._interrupt()

    async def _read(self) -> None:
        try:
            if self._feed.cursor is not None:
                await self._apply_events()
            else:
                await self._open()
        except SFJobsError as error:
            await self._lose(error)

    async def _open(self) -> None:
        while self._feed.offered is None:
            self._offered = anyio.Event()
            await self._offered.wait()
        await self._feed.wait_for_backoff()
        start = await self._feed.open(self._tracker.feed_start(self._feed.offered))
        self._recent.restart(start)
        self._tracker.open_feed(start, anyio.current_time())
        self._interrupt()

    async def _lose(self, error: SFJobsError) -> None:
        await self._feed.lose(error)
        self._tracker.lose_feed(anyio.current_time(), is_expired=self._feed.offered is None)
        self._interrupt()

    async def _apply_events(self) -> None:
        snapshots = await self._feed.read(self._tracker.known)
        now = self._read_at = anyio.current_time()
        self._outages.note_response(now)
        for snapshot in snapshots:
            if isinstance(snapshot, MalformedRecord):
                self._tracker.poll_soon(snapshot.id, now)
                self._interrupt()
            else:
                self._recent.add(snapshot, now)
                self._tracker.apply(snapshot, now)
        self._tracker.advance_feed(self._feed.cursor)
