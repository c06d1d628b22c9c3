"""
Which waiter polls for all. The first one leads, inside its own task, until it is settled or cancelled; then another takes over.
``sweep`` and ``feed_listener`` do the leader's work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
import anyio.lowlevel

from .._util.aio import plain_task_group
from ..errors import ConnectionClosedError
from .change_feed import ChangeFeed
from .feed_listener import FeedListener
from .outages import OutageMonitor
from .sweep import Sweeper
from .types import StatusSource, Waiter
from .watchlist import JobTracker

logger = logging.getLogger("sfjobs")

CLOSE_TIMEOUT_SECONDS = 5.0
"""Time for which ``aclose`` waits for a cancelled leader to clean up, which takes no time at all."""


class Leadership:
    """The waiters of one connection, one of which leads."""

    def __init__(self, source: StatusSource, feed: ChangeFeed, tracker: JobTracker, outages: OutageMonitor) -> None:
        self.listener = FeedListener(feed, tracker, outages, self.interrupt)
        self._sweeper = Sweeper(source, tracker, outages, self.listener.note_offer)
        self._feed = feed
        self._tracker = tracker
        self._outages = outages
        self._waiting: dict[Waiter, None] = {}  # in order of arrival
        self._leader: Waiter | None = None
        self._successor: Waiter | None = None
        self._polling: anyio.CancelScope | None = None
        self._interrupted = anyio.Event()
        self._vacant = anyio.Event()  # set while there is no leader
        self._vacant.set()
        self._closed = False

    @property
    def is_idle(self) -> bool:
        """Whether no waiter waits or leads."""
        return not self._waiting and self._leader is None

    def check_open(self) -> None:
        if self._closed:
            raise ConnectionClosedError("this connection is closed")

    async def wait_for(self, waiter: Waiter) -> None:
        """Return when ``waiter`` is settled; lead while there is no other leader."""
        if not waiter.is_settled:
            waiter.is_waiting = True
            self._waiting[waiter] = None
            self._tracker.resume(waiter)
            self.interrupt()
        try:
            if waiter.is_settled:
                await anyio.lowlevel.checkpoint()
            while not waiter.is_settled:
                self.check_open()
                if self._leader is None:
                    await self._lead(waiter)
                else:
                    if waiter.wake.is_set():
                        waiter.wake = anyio.Event()
                    await waiter.wake.wait()
        finally:
            waiter.is_waiting = False
            self._waiting.pop(waiter, None)
            self._hand_over()

    def interrupt(self) -> None:
        """Make the leader check what there is to do."""
        self._interrupted.set()
        self.listener.interrupt_alone()

    async def aclose(self) -> None:
        """Fail every waiter with ConnectionClosedError, and close the change feed."""
        self._closed = True
        self._fail_all(ConnectionClosedError("the connection was closed while waiting; the jobs go on"))
        if self._polling is not None:
            self._polling.cancel()
        # Bounded, because in a forked child the leader of its parent never stops.
        with anyio.move_on_after(CLOSE_TIMEOUT_SECONDS, shield=True):
            await self._vacant.wait()
            await self._feed.aclose()

    def _hand_over(self) -> None:
        """
        Wake the waiter that is least likely to stop soon, which spares a chain of short leaderships: the one with the latest
        deadline, and of several the last to arrive, since waiters are mostly cancelled in order of arrival.
        """
        if self._leader is not None or (self._successor in self._waiting and not self._successor.is_settled):
            return
        successor: Waiter | None = None
        for waiter in reversed(self._waiting):
            if not waiter.is_settled and (successor is None or waiter.deadline > successor.deadline):
                successor = waiter
                if successor.deadline == float("inf"):
                    break
        self._successor = successor
        if successor is not None:
            logger.debug("another waiter polls from now on, %d jobs", len(self._tracker))
            successor.wake.set()

    async def _lead(self, leader: Waiter) -> None:
        self._leader, self._successor, self._vacant = leader, None, anyio.Event()
        try:
            await self.listener.resume()
            while not leader.is_settled:
                try:
                    if self._has_only_to_listen():
                        await self.listener.listen_alone(leader, until=self._next_sweep())
                    else:
                        await self._poll(leader)
                except Exception as error:  # noqa: BLE001 - otherwise each next leader would meet the bug again
                    self._fail_all(error)
        finally:
            self._leader = None
            self._vacant.set()

    def _next_sweep(self) -> float:
        return max(self._tracker.queue.next_due(), self._outages.paused_until)

    def _has_only_to_listen(self) -> bool:
        return self._feed.is_open and self._next_sweep() > anyio.current_time()

    async def _poll(self, leader: Waiter) -> None:
        """Poll, and listen to the change feed beside it, until there is only the feed to listen to."""
        with anyio.CancelScope() as self._polling:
            if self.listener.can_listen:
                async with plain_task_group() as group:
                    group.start_soon(self.listener.listen, leader)
                    await self._sweep_until(self._has_only_to_listen, leader)
                    group.cancel_scope.cancel()
            else:
                await self._sweep_until(lambda: self.listener.can_listen, leader)
        self._polling = None

    async def _sweep_until(self, is_over: Callable[[], bool], leader: Waiter) -> None:
        while not (leader.is_settled or is_over()):
            delay = self._next_sweep() - anyio.current_time()
            if delay > 0:
                self._interrupted = anyio.Event()
                with anyio.move_on_after(delay):
                    await self._interrupted.wait()
            else:
                await self._sweeper.sweep(leader)

    def _fail_all(self, error: Exception) -> None:
        for waiter in self._waiting:
            waiter.fail(error)
        self.interrupt()
