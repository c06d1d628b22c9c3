"""A change feed whose opening is cancelled at any moment: no change between two starting places is lost."""

from __future__ import annotations

import anyio
import pytest

from sfjobs._tracking.change_feed import (
    FEED_MIN_BACKOFF_SECONDS,
    FEED_OPEN_HOLD_SECONDS,
    FEED_OPEN_TIMEOUT_SECONDS,
    ChangeFeed,
)
from sfjobs._tracking.types import Waiter
from sfjobs.errors import TransportError
from sfjobs.models import Cursor, JobSnapshot, JobStatus
from tests.support.feed_source import (
    LATENCY,
    FeedSource,
    ScriptedOpener,
    at,
    poller_for,
    unknown,
    wait_for,
    with_source,
)

SOON = FEED_MIN_BACKOFF_SECONDS + FEED_OPEN_HOLD_SECONDS + 10 * LATENCY
MOMENTS = [0.0, 0.5 * LATENCY, LATENCY, 1.5 * LATENCY, 2 * LATENCY, 2.5 * LATENCY]
"""Before the request, under way, with a stream that has sent nothing, and with one that is open."""


@pytest.mark.parametrize("is_resumable", [True, False], ids=["resumable", "destroyed by a cancelled read"])
@pytest.mark.parametrize("first", ["behind", "current"])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_job_that_ended_between_two_starting_places_is_seen(
    moment: float, first: str, is_resumable: bool
) -> None:
    """
    The first opening begins at the cursor of one job, the next one at another's. Believed to begin at the wrong one, the feed
    would be thought to cover the job whose end it never sends, for the five minutes until a verifying poll.
    """
    source = FeedSource({"ended": 1.0, "open": 1000.0})
    source.is_resumable = is_resumable
    poller = poller_for(source)
    seen: list[Waiter] = []

    async def work() -> None:
        behind = [source.handle("ended") for _ in range(2)]
        await anyio.sleep(2)
        current = source.handle("open")
        with anyio.move_on_after(moment):
            await wait_for(poller, [behind[0] if first == "behind" else current])
        async with anyio.create_task_group() as group:
            if first == "behind":
                group.start_soon(wait_for, poller, [current])
                await anyio.sleep(SOON)  # the stream of the second opening is read meanwhile
            with anyio.move_on_after(SOON):
                seen.append(await wait_for(poller, [behind[1]]))
            group.cancel_scope.cancel()

    await with_source(source, poller, work)
    assert [list(waiter.outcomes) for waiter in seen] == [["ended"]]


async def cancelled_after(seconds: float, feed: ChangeFeed, start: Cursor) -> None:
    with anyio.move_on_after(seconds) as scope:
        await feed.open(start)
    assert scope.cancelled_caught


async def test_an_opening_that_is_gone_on_with_begins_where_its_stream_does() -> None:
    opener = ScriptedOpener()
    feed = ChangeFeed(opener)
    await cancelled_after(1.5 * LATENCY, feed, at(5))
    assert await feed.open(at(3)) == at(5) == feed.cursor
    assert opener.opened == [(at(5).path, None)]


async def test_an_opening_that_has_no_stream_yet_begins_where_the_next_task_says() -> None:
    opener = ScriptedOpener()
    feed = ChangeFeed(opener)
    await cancelled_after(0.5 * LATENCY, feed, at(5))
    assert await feed.open(at(7)) == at(7) == feed.cursor
    assert [path for path, _ in opener.opened] == [at(5).path, at(7).path]


async def test_a_lost_opening_leaves_no_starting_place() -> None:
    opener = ScriptedOpener()
    feed = ChangeFeed(opener)
    await cancelled_after(1.5 * LATENCY, feed, at(5))
    opener.stream.end()
    opener.stream.clear()
    with pytest.raises(TransportError, match="the stream ended") as lost:
        await feed.open(at(5))
    await feed.lose(lost.value)
    assert feed.cursor is None
    assert await feed.open(at(3)) == at(3)


async def test_openings_of_several_tasks_wait_no_longer_than_one() -> None:
    opener = ScriptedOpener()
    opener.latency = 1000.0
    feed = ChangeFeed(opener)
    started = anyio.current_time()
    for _ in range(4):
        await cancelled_after(1.0, feed, at(5))
    with pytest.raises(TransportError, match="there was no stream") as lost:
        await feed.open(at(5))
    assert anyio.current_time() == pytest.approx(started + FEED_OPEN_TIMEOUT_SECONDS)

    await feed.lose(lost.value)
    opener.latency = LATENCY
    assert await feed.open(at(5)) == at(5)  # with the whole time for itself


async def test_a_reopening_that_another_task_went_on_with_is_over() -> None:
    """Later, when the platform ended the stream for a new token, the feed was lost at once: the old opening had timed out."""
    opener = ScriptedOpener()
    feed = ChangeFeed(opener)
    await feed.open(at(5))
    opener.latency = FEED_OPEN_TIMEOUT_SECONDS / 2
    for _ in range(3):
        opener.stream.put(b"event: bye\ndata: {}\n\n")
        await feed.read(unknown)
        with anyio.move_on_after(opener.latency + 0.5 * LATENCY):
            await feed.read(unknown)
        opener.stream.put(b'event: job\nid: e.6\ndata: {"id": "a", "status": "queued"}\n\n')
        [snapshot] = await feed.read(unknown)
        assert isinstance(snapshot, JobSnapshot)
        assert snapshot.status == JobStatus.QUEUED
        await anyio.sleep(2 * FEED_OPEN_TIMEOUT_SECONDS)
    assert [last for _, last in opener.opened] == [None, "e.5", "e.6", "e.6"]


@pytest.mark.parametrize("seconds", [0.5 * LATENCY, 1.5 * LATENCY])
async def test_the_time_between_two_tasks_is_not_part_of_the_opening_timeout(seconds: float) -> None:
    """A program that was cancelled in the opening, and waited again a minute later, lost the feed at once."""
    opener = ScriptedOpener()
    feed = ChangeFeed(opener)
    await cancelled_after(seconds, feed, at(5))
    await anyio.sleep(60)
    assert await feed.open(at(5)) == at(5)
