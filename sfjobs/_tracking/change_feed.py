"""
The platform's change feed: one stream of server-sent events about every job of the account. This file opens and reads it, and
decides when a stream is dead and when the next one is opened. ``feed_listener`` decides which task reads.

A stream stays open until the connection is closed. Between two waits it is not read: the platform buffers the events, or ends the
stream, and the next one begins at the same cursor.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

import anyio

from .._http.messages import ByteStream
from .._protocol import wire
from .._protocol.salvage import salvaged_item
from .._protocol.sse import EventDecoder, ServerEvent
from .._protocol.wire import Known, MalformedRecord, Note
from ..errors import ProtocolError, ResponseError, SFJobsError, TransportError
from ..models import Cursor, JobSnapshot
from .outages import retry_hint

logger = logging.getLogger("sfjobs")

FEED_OPEN_TIMEOUT_SECONDS = 5.0
"""Time until the first bytes of a stream. A proxy that buffers responses would hold them back for ever."""

FEED_READ_TIMEOUT_SECONDS = 25.0
"""Time without a byte after which a stream is dead: a platform sends a comment every 10 s."""

FEED_OPEN_HOLD_SECONDS = 1.0
"""Time for which the first polls of jobs wait for a stream that is being opened."""

FEED_MIN_BACKOFF_SECONDS = 1.0
FEED_MAX_BACKOFF_SECONDS = 60.0
"""Time until a lost stream is opened again. It doubles with each loss, until a stream has been stable."""

FEED_STABLE_SECONDS = 60.0
"""Time after which a stream has been stable."""


MAX_UNREADABLE_EVENTS = 3
"""Events of one stream that cannot be read and name no job. With more, the stream is lost."""


Opener: TypeAlias = Callable[[str, str | None], Awaitable[ByteStream]]
"""Opens a stream at a path, after the event with this id."""


class ChangeFeed:
    """
    The change feed of one connection. ``offered`` is the latest link to it, None before a response had one. Every event after
    ``cursor`` will be read, from the open stream or the next one; it is None while the feed is lost.
    """

    def __init__(self, open_stream: Opener, note: Note = wire.ignore) -> None:
        self._open_stream = open_stream
        self._note = note
        self._unreadable = 0
        self._stream: ByteStream | None = None
        self._decoder = EventDecoder()
        self._events: list[ServerEvent] = []  # received, and not returned yet
        self._received_at = -math.inf
        self._opened_at = math.inf
        self._opening: Cursor | None = None  # where the opening under way begins
        self._opening_seconds = 0.0  # for which tasks have waited for it
        self._backoff = 0.0
        self._retry_at = -math.inf
        self.offered: Cursor | None = None
        self.cursor: Cursor | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a stream whose reads may be cancelled, and resumed by another task."""
        return self.cursor is not None and self._stream is not None and self._stream.is_resumable

    @property
    def read_deadline(self) -> float:
        """Time at which the stream is dead unless it sends something before; infinity without a stream."""
        return (
            math.inf if self.cursor is None or self._stream is None else self._received_at + FEED_READ_TIMEOUT_SECONDS
        )

    def note_offer(self, cursor: Cursor | None) -> bool:
        """Keep the link of a response. Return whether it is the first."""
        is_first = self.offered is None and cursor is not None
        self.offered = cursor or self.offered
        return is_first

    def hold(self, now: float) -> float:
        """Return the seconds for which first polls may wait for a stream that can be opened at once."""
        can_open = self.cursor is None and self.offered is not None and now >= self._retry_at
        return FEED_OPEN_HOLD_SECONDS if can_open else 0.0

    async def wait_for_backoff(self) -> None:
        """Return when a stream may be opened again."""
        await anyio.sleep_until(self._retry_at)

    async def open(self, start: Cursor) -> Cursor:
        """
        Open a stream at ``start``, or go on with an opening that another task began. Return where the stream begins.

        Raises:
            SFJobsError: there is no stream; call ``lose`` then.
        """
        self._opened_at = math.inf
        self.cursor = await self._open(start, None)
        self._opened_at = anyio.current_time()
        return self.cursor

    async def read(self, known: Known) -> Iterable[JobSnapshot | MalformedRecord]:
        """
        Return the snapshots in the next events, without those that are ``known`` already, and a ``MalformedRecord`` for each
        event that cannot be read. Reopens a stream that was closed.

        Raises:
            SFJobsError: the stream is lost; call ``lose`` then.
        """
        assert self.cursor is not None, "open comes first"
        if self._stream is None:
            await self._open(self.cursor, _event_id(self.cursor))
        elif not self._events:
            self._events = await self._receive(self._stream)
            self._opening = None  # a reopening, whose task was cancelled before these first events
        return await self._snapshots(self.cursor, known)

    async def lose(self, error: SFJobsError) -> None:
        """Close the stream after ``error``. The next one is opened after a backoff."""
        self.cursor, self._opening, now = None, None, anyio.current_time()
        was_stable = now - self._opened_at >= FEED_STABLE_SECONDS
        if was_stable or not self._backoff:
            self._backoff = FEED_MIN_BACKOFF_SECONDS
        else:
            self._backoff = min(2 * self._backoff, FEED_MAX_BACKOFF_SECONDS)
        self._retry_at = now + max(self._backoff, retry_hint(error) or 0.0)
        if isinstance(error, ResponseError) and error.status_code == 410:
            self.offered = None  # this cursor has expired; the next response has a later one
        logger.info("the change feed is lost, polling instead for %.0f s: %s", self._retry_at - now, error)
        await self.aclose()

    async def aclose(self) -> None:
        """Close the stream. ``read`` opens the next one at the same cursor."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    async def _open(self, start: Cursor, last_event_id: str | None) -> Cursor:
        began = anyio.current_time()
        if self._opening is None:
            await self.aclose()
            self._received_at, self._opening, self._opening_seconds = began, start, 0.0
        # Leaders may change meanwhile: together they wait no longer than one. The time between them does not count.
        with anyio.move_on_after(FEED_OPEN_TIMEOUT_SECONDS - self._opening_seconds) as scope:
            try:
                if self._stream is None:
                    self._opening = start
                    self._stream, self._decoder = await self._open_stream(start.path, last_event_id), EventDecoder()
                    self._unreadable = 0
                self._events = await self._receive(self._stream)
            finally:
                self._opening_seconds += anyio.current_time() - began
        if scope.cancelled_caught:
            raise _lost(f"there was no stream within {FEED_OPEN_TIMEOUT_SECONDS:g} s")
        start, self._opening = self._opening, None
        return start

    async def _snapshots(self, cursor: Cursor, known: Known) -> Iterable[JobSnapshot | MalformedRecord]:
        records: dict[str | None, JobSnapshot | MalformedRecord] = {}
        events, self._events = self._events, []
        for event in events:
            if event.name == "bye":
                await self.aclose()  # the access token has expired; the next stream begins at the same cursor
                break
            place = wire.cursor_of_event(cursor.path, event.id) if event.id else cursor
            if event.name == "job" and (record := self._record(event, place, known)) is not None:
                records[record.id] = record
            elif event.name == "deleted" and (job_id := _deleted_job(event)) is not None:
                records[job_id] = MalformedRecord(job_id, "the job was deleted")  # so it is polled, and that says so
            # The place of an event without a number is none at which a stream could begin.
            cursor = cursor if place.number is None else place
        self.cursor = cursor
        return records.values()

    def _record(self, event: ServerEvent, cursor: Cursor, known: Known) -> JobSnapshot | MalformedRecord | None:
        """Return an event's snapshot, None for one that a response had before: a stream begins at the oldest job's cursor."""
        try:
            # Decoded here, which spares json the detection of the encoding, a third of its time.
            fields = json.loads(event.data.decode())
        except (ValueError, RecursionError):
            fields = salvaged_item(event.data)
        try:
            before = known(wire.job_id(fields))
            if before is not None and before.cursor is not None and before.cursor.covers(cursor):
                return None
            return wire.job_snapshot(fields, cursor=cursor, note=self._note)
        except (ValueError, RecursionError) as error:
            return self._malformed(fields, error)

    def _malformed(self, fields: object, error: Exception) -> MalformedRecord:
        record = MalformedRecord(wire.readable_id(fields), str(error))
        self._note("job", record.reason)
        self._unreadable += record.id is None
        if self._unreadable > MAX_UNREADABLE_EVENTS:
            raise ProtocolError("the change feed: its events are not about jobs")
        return record

    async def _receive(self, stream: ByteStream) -> list[ServerEvent]:
        chunk = await (stream.read() if stream.is_resumable else self._read_once(stream))
        self._received_at = anyio.current_time()
        if not chunk:
            raise _lost("the stream ended")
        try:
            return self._decoder.decode(chunk)
        except ValueError as error:
            raise ProtocolError(f"the change feed does not speak the protocol: {error}") from error

    async def _read_once(self, stream: ByteStream) -> bytes:
        """Read a stream that a cancelled read destroys."""
        try:
            return await stream.read()
        except anyio.get_cancelled_exc_class():
            if self._opening is not None:  # the next leader need not hurry to where this one received nothing
                self._retry_at = anyio.current_time() + FEED_MIN_BACKOFF_SECONDS
            await self.aclose()
            raise


def silent_stream() -> TransportError:
    """Return the error of a stream that reached its read deadline."""
    return _lost(f"the stream was silent for {FEED_READ_TIMEOUT_SECONDS:g} s")


def _deleted_job(event: ServerEvent) -> str | None:
    try:
        return wire.readable_id(json.loads(event.data.decode()))
    except (ValueError, RecursionError):
        return None


def _event_id(cursor: Cursor) -> str | None:
    return None if cursor.number is None else f"{cursor.epoch}.{cursor.number}"


def _lost(reason: str) -> TransportError:
    return TransportError(f"the change feed: {reason}")
