"""The pause before the change feed is opened again. In virtual time."""

from __future__ import annotations

import anyio

from sfjobs._protocol import wire
from sfjobs._tracking.change_feed import (
    FEED_MAX_BACKOFF_SECONDS,
    FEED_MIN_BACKOFF_SECONDS,
    FEED_STABLE_SECONDS,
    ChangeFeed,
)
from sfjobs.errors import TransportError
from sfjobs.models import Cursor


class Heartbeats:
    is_resumable = True

    async def read(self) -> bytes:
        return b": still here\n\n"

    async def aclose(self) -> None:
        pass


async def pause_after(feed: ChangeFeed, seconds: float) -> float:
    """Open a stream, lose it after so many seconds, and return the pause before the next."""
    start: Cursor | None = wire.cursor("/jobs/changes?after=e1.1")
    assert start is not None
    await feed.open(start)
    await anyio.sleep(seconds)
    await feed.lose(TransportError("lost"))
    lost = anyio.current_time()
    await feed.wait_for_backoff()
    return anyio.current_time() - lost


async def test_the_pause_grows_while_streams_are_lost_at_once_and_starts_again_after_a_stable_one() -> None:
    async def open_stream(path: str, last_event_id: str | None) -> Heartbeats:
        return Heartbeats()

    feed = ChangeFeed(open_stream)
    pauses = [await pause_after(feed, 0.0) for _ in range(8)]
    assert pauses[:4] == [FEED_MIN_BACKOFF_SECONDS * 2**n for n in range(4)]
    assert pauses[-1] == FEED_MAX_BACKOFF_SECONDS
    assert await pause_after(feed, FEED_STABLE_SECONDS) == FEED_MIN_BACKOFF_SECONDS
    assert await pause_after(feed, 0.0) == 2 * FEED_MIN_BACKOFF_SECONDS
