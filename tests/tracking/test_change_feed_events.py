"""What the change feed makes of events and losses, one stream at a time, without HTTP and without a poller."""

from __future__ import annotations

import json

import anyio
import pytest

from sfjobs._protocol.wire import MalformedRecord
from sfjobs._tracking.change_feed import (
    FEED_MIN_BACKOFF_SECONDS,
    FEED_OPEN_HOLD_SECONDS,
    MAX_UNREADABLE_EVENTS,
    ChangeFeed,
)
from sfjobs.errors import ProtocolError, RateLimitedError, TransportError
from sfjobs.models import JobSnapshot, JobStatus
from tests.support.feed_source import ScriptedOpener, at, unknown


def event(place: str, data: object) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    return f"event: job\nid: {place}\ndata: {text}\n\n".encode()


async def opened() -> tuple[ScriptedOpener, ChangeFeed]:
    opener = ScriptedOpener()
    feed = ChangeFeed(opener)
    await feed.open(at(5))
    return opener, feed


async def test_an_event_that_a_response_had_before_is_left_out() -> None:
    """A stream begins at the oldest job's cursor, so it repeats events of the others."""
    opener, feed = await opened()
    states = {job_id: JobSnapshot(id=job_id, status=JobStatus.QUEUED, cursor=at(6)) for job_id in "abc"}
    for number, job_id in enumerate("abc", 5):
        opener.stream.put(event(f"e.{number}", {"id": job_id, "status": "open"}))
    assert [record.id for record in await feed.read(states.get)] == ["c"]
    assert feed.cursor is not None
    assert feed.cursor.number == 7


@pytest.mark.parametrize("place", ["word", "e.", ""])
async def test_an_event_without_a_number_is_no_place_to_begin_at(place: str) -> None:
    opener, feed = await opened()
    opener.stream.put(event("e.8", {"id": "a", "status": "open"}) + event(place, {"id": "b", "status": "queued"}))
    assert [record.id for record in await feed.read(unknown)] == ["a", "b"]
    assert feed.cursor is not None
    assert feed.cursor.number == 8
    await feed.aclose()
    await feed.read(unknown)
    assert opener.opened[-1][1] == "e.8"


async def test_odd_events_that_name_their_job_are_reported_without_end() -> None:
    opener, feed = await opened()
    for number in range(6, 6 + 3 * MAX_UNREADABLE_EVENTS):
        opener.stream.put(event(f"e.{number}", {"id": "a", "status": None}))
        [record] = await feed.read(unknown)
        assert isinstance(record, MalformedRecord)
        assert record.id == "a"


async def test_a_stream_of_events_that_name_no_job_is_lost_and_each_stream_counts_anew() -> None:
    opener, feed = await opened()
    for _ in range(2):
        for number in range(6, 6 + MAX_UNREADABLE_EVENTS):
            opener.stream.put(event(f"e.{number}", "{"))
            [record] = await feed.read(unknown)
            assert record.id is None
        await feed.aclose()
        await feed.read(unknown)
    opener.stream.put(b"".join(event(f"e.{number}", "{") for number in range(20, 21 + MAX_UNREADABLE_EVENTS)))
    with pytest.raises(ProtocolError, match="not about jobs"):
        await feed.read(unknown)


@pytest.mark.parametrize("seconds", [None, 30.0])
async def test_the_next_stream_waits_as_long_as_the_platform_says(seconds: float | None) -> None:
    _, feed = await opened()
    started = anyio.current_time()
    await feed.lose(RateLimitedError("too many streams", status_code=429, retry_after=seconds))
    await feed.wait_for_backoff()
    assert anyio.current_time() == pytest.approx(started + (seconds or FEED_MIN_BACKOFF_SECONDS))


async def test_first_polls_are_held_only_for_a_stream_that_can_be_opened_at_once() -> None:
    opener = ScriptedOpener()
    feed = ChangeFeed(opener)
    held = {}
    held["offered nowhere"] = feed.hold(anyio.current_time())
    feed.note_offer(at(5))
    held["offered"] = feed.hold(anyio.current_time())
    await feed.open(at(5))
    held["open"] = feed.hold(anyio.current_time())
    await feed.lose(TransportError("cut"))
    held["in its backoff"] = feed.hold(anyio.current_time())
    await feed.wait_for_backoff()
    held["after it"] = feed.hold(anyio.current_time())
    at_once = FEED_OPEN_HOLD_SECONDS
    assert held == {"offered nowhere": 0, "offered": at_once, "open": 0, "in its backoff": 0, "after it": at_once}
