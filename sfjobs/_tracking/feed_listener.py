"""
The leader's ear: keeps the change feed open while somebody leads, and passes on what it tells to those who wait. ``feed`` is the
feed itself, ``poller`` decides when there is only this to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio

from ..errors import SFJobsError
from ..models import Cursor
from .change_feed import HOLD, ChangeFeed, silent
from .outages import OutageMonitor
from .recent_changes import RecentChanges
from .types import StatusReport, Waiter
from .watchlist import JobTracker

PACE = 0.008
"""
Seconds between two reads of a busy stream. What comes alone is heard at once; of a crowd, several are heard together, which saves
waking up for each and costs each half of this on average.
"""


class FeedListener:
    """``interrupt`` makes the leader look up: there is something to ask, or it has what it waited for."""

    def __init__(
        self, feed: ChangeFeed, watched: JobTracker, weather: OutageMonitor, interrupt: Callable[[], None]
    ) -> None:
        self._feed = feed
        self._watched = watched
        self._weather = weather
        self._interrupt = interrupt
        self._lately = RecentChanges()
        self._offered = anyio.Event()
        self._read_at = -math.inf

    @property
    def can_listen(self) -> bool:
        """Whether the platform has a feed, as far as is known."""
        return self._feed.is_heard or self._feed.offer is not None

    @property
    def is_listening(self) -> bool:
        """Whether there is a stream that may be read at any time, and left at any time."""
        return self._feed.is_open

    def note_offer(self, cursor: Cursor | None) -> None:
        """An answer has, or has not, offered the feed."""
        if self._feed.note_offer(cursor):
            self._offered.set()
            self._interrupt()

    def hold(self, now: float) -> float:
        """Seconds for which questions may wait for a stream that will be opened at once."""
        return HOLD if not self._feed.is_heard and self._feed.is_hopeful(now) else 0.0

    def catch_up(self, waiter: Waiter, now: float) -> None:
        """The feed may have been offered to the jobs' handles, and have told of them since they were last told anything."""
        place = self._feed.place
        for job_id, subjects in waiter.subjects.items():
            for subject in subjects:
                cursor = subject.cursor
                self.note_offer(cursor)
                if cursor is None or place is None or cursor.covers(place) or not self._lately.reaches(cursor):
                    continue
                if (told := self._lately.of(job_id)) is not None:
                    subject.take(told, now)
                subject.cursor = place

    async def wake_up(self) -> None:
        """Somebody listens again. A stream that was left alone for so long that it may be dead is begun again."""
        if anyio.current_time() > self._feed.dies_at:
            await self._feed.aclose()

    async def listen_alone(self, me: Waiter) -> None:
        """
        Listens to the open stream until ``me`` has what it waited for. To be cancelled when there is something to ask, and when
        the stream ``dies_at``; ``lose_if_silent`` after that.
        """
        while not me.is_settled and self._feed.is_open:
            early = self._read_at + PACE - anyio.current_time()
            if early > 0:
                await anyio.sleep(early)
            await self._hear()

    @property
    def dies_at(self) -> float:
        """When the stream is dead, unless it says something before."""
        return self._feed.dies_at

    async def lose_if_silent(self) -> None:
        """Listens no longer to a stream that has died while it was listened to."""
        if anyio.current_time() >= self._feed.dies_at:
            await self._lose(silent())

    async def listen(self, me: Waiter) -> None:
        """Keeps a stream open while ``me`` leads and asks. Ends between two reads when ``me`` has what it waited for."""
        while not me.is_settled:
            with anyio.CancelScope(deadline=self._feed.dies_at) as scope:
                await self._hear()
            if scope.cancelled_caught:
                await self._lose(silent())
        self._interrupt()

    async def aclose(self) -> None:
        await self._feed.aclose()

    async def _hear(self) -> None:
        try:
            if self._feed.is_heard:
                self._take_news(await self._feed.ask((), self._watched.known))
            else:
                await self._begin()
        except SFJobsError as error:
            await self._lose(error)

    async def _begin(self) -> None:
        while self._feed.offer is None:
            self._offered = anyio.Event()
            await self._offered.wait()
        await self._feed.rest()
        start = await self._feed.begin(self._watched.start_of_feed(self._feed.offer))
        self._lately.begin(start)
        self._watched.listen(start, anyio.current_time())
        self._interrupt()

    async def _lose(self, error: SFJobsError) -> None:
        await self._feed.lose(error)
        self._watched.stop_listening(anyio.current_time(), is_expired=self._feed.offer is None)
        self._interrupt()

    def _take_news(self, report: StatusReport) -> None:
        now = self._read_at = anyio.current_time()
        self._weather.clear_up(now)
        for snapshot in report.snapshots.values():
            self._lately.note(snapshot, now)
            self._watched.hear(snapshot, now)
        if report.cursor is not None:
            self._watched.heard_up_to(report.cursor)
