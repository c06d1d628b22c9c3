"""
The platform's change feed: one request that tells of every job of the account as it changes, for any number of jobs and any
length of time. Knows what a stream says, when it is to be trusted and when to try again; who listens is ``poller``'s business.

A stream is open from the first listener to the end of the connection. Between two listeners nobody reads it: the platform
keeps what happens meanwhile, or ends it, and then the next one begins at the same place.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from typing import Protocol

import anyio

from .._http.messages import ByteStream
from .._protocol import wire
from .._protocol.sse import EventDecoder, ServerEvent
from .._protocol.wire import Known
from ..errors import ProtocolError, ResponseError, SFJobsError, TransportError
from ..models import Cursor, JobSnapshot
from .types import StatusReport

logger = logging.getLogger("sfjobs")

OPENING = 5.0
"""Seconds until a stream must have said something. A proxy that buffers answers would keep it for ever."""

SILENCE = 25.0
"""Seconds without a byte after which a stream is dead: a platform breaks its silence every 10 s."""

HOLD = 1.0
"""Seconds for which questions about jobs wait for a stream that is being opened."""

FIRST_REST = 1.0
LONGEST_REST = 60.0
"""Seconds until a stream that was lost is tried again: each rest is twice as long as the last, until one has held."""

HELD = 60.0
"""Seconds after which a stream has held."""


class Opener(Protocol):
    """Opens a stream: where the link leads, and how far it was read before."""

    async def __call__(self, path: str, last_event_id: str | None) -> ByteStream: ...


class ChangeFeed:
    """
    One connection's way to the feed. ``offer`` is the newest link to it, None while there is none; ``place`` is up to where
    it has been heard, None while it is not.
    """

    batch = 0

    def __init__(self, open_stream: Opener) -> None:
        self._open_stream = open_stream
        self._stream: ByteStream | None = None
        self._decoder = EventDecoder()
        self._early: list[ServerEvent] = []
        self._heard_at = -math.inf
        self._begun_at = math.inf
        self._opening: tuple[Cursor, float] | None = None  # from where on, and since when
        self._rest = 0.0
        self._rests_until = -math.inf
        self.offer: Cursor | None = None
        self.place: Cursor | None = None

    @property
    def is_heard(self) -> bool:
        """Whether all that happens will be told from ``place`` on, by the stream that is open or by the next."""
        return self.place is not None

    @property
    def is_open(self) -> bool:
        """Whether there is a stream that may be read at any time and in any task."""
        return self.place is not None and self._stream is not None and self._stream.is_resumable

    @property
    def dies_at(self) -> float:
        """When the stream is dead, unless it says something before: whoever listens listens no longer. Never without one."""
        return math.inf if self.place is None or self._stream is None else self._heard_at + SILENCE

    def note_offer(self, cursor: Cursor | None) -> bool:
        """Whether an answer has offered the feed for the first time."""
        is_first = self.offer is None and cursor is not None
        self.offer = cursor or self.offer
        return is_first

    def is_hopeful(self, now: float) -> bool:
        """Whether it is offered and nothing speaks against opening it at once."""
        return self.offer is not None and now >= self._rests_until

    async def rest(self) -> None:
        """Returns when a stream may be tried again."""
        await anyio.sleep_until(self._rests_until)

    async def begin(self, start: Cursor) -> Cursor:
        """
        Opens a stream of what happens from ``start`` on, or goes on with opening one, which another listener began. Returns
        from where on it tells. Raises SFJobsError when there is none to be had.
        """
        self._begun_at = math.inf
        self.place = await self._open(start, None)
        self._begun_at = anyio.current_time()
        return self.place

    async def ask(self, ids: Sequence[str], known: Known) -> StatusReport:  # noqa: ARG002 - it tells of all
        """
        What the platform tells next that is not ``known``, about whichever jobs: ``ids`` are not named to it. Raises
        SFJobsError when the stream is lost; then ``lose`` it.
        """
        assert self.place is not None, "begin comes first"
        if self._stream is None:
            await self._open(self.place, _id_of(self.place))
        elif not self._early:
            self._early = await self._events()
        return await self._next(known)

    async def lose(self, error: SFJobsError) -> None:
        """The stream is not to be relied on. It is tried again after a rest, which grows while none of them holds."""
        self.place, self._opening, now = None, None, anyio.current_time()
        held = now - self._begun_at >= HELD
        self._rest = FIRST_REST if held or not self._rest else min(2 * self._rest, LONGEST_REST)
        hint = error.retry_after if isinstance(error, ResponseError) else None
        self._rests_until = now + max(self._rest, min(hint or 0.0, LONGEST_REST))
        if isinstance(error, ResponseError) and error.status_code == 410:
            self.offer = None  # the next answer has a link that leads on from there
        logger.info("the platform's change feed is lost, asking instead for %.0f s: %s", self._rests_until - now, error)
        await self._close()

    async def aclose(self) -> None:
        """Ends the stream. Whoever listens again begins another one, at the same place."""
        await self._close()

    async def _open(self, at: Cursor, last_event_id: str | None) -> Cursor:
        if self._opening is None:
            await self._close()
            self._opening = at, anyio.current_time()
            self._heard_at = anyio.current_time()
        # Listeners may change meanwhile: together they wait no longer than one would.
        with anyio.CancelScope(deadline=self._opening[1] + OPENING) as opening:
            if self._stream is None:
                self._opening = at, self._opening[1]
                stream = await self._open_stream(at.path, last_event_id)
                self._stream, self._decoder = stream, EventDecoder()
            self._early = await self._events()
        if opening.cancelled_caught:
            raise _lost(f"there was no stream within {OPENING:g} s")
        start, self._opening = self._opening[0], None
        return start

    async def _next(self, known: Known) -> StatusReport:
        snapshots: dict[str, JobSnapshot] = {}
        assert self.place is not None
        place = self.place
        events, self._early = self._early, []
        for event in events:
            if event.name == "bye":
                await self._close()  # with the access token; the next one goes on from the same place
                break
            place = wire.cursor_of_event(place.path, event.id) if event.id else place
            if event.name == "job":
                snapshot = self._snapshot(event, place, known)
                if snapshot is not None:
                    snapshots[snapshot.id] = snapshot
        self.place = place
        return StatusReport(snapshots, place)

    async def _events(self) -> list[ServerEvent]:
        assert self._stream is not None, "it was opened"
        chunk = await (self._stream.read() if self._stream.is_resumable else self._read_once(self._stream))
        self._heard_at = anyio.current_time()
        if not chunk:
            raise _lost("the stream ended")
        try:
            return self._decoder.decode(chunk)
        except ValueError as error:
            raise ProtocolError(f"the change feed does not speak the protocol: {error}") from error

    async def _read_once(self, stream: ByteStream) -> bytes:
        """A read that ends the stream when it is cut short."""
        try:
            return await stream.read()
        except anyio.get_cancelled_exc_class():
            if self._opening is not None:  # the next listener need not hurry to where this one got nothing
                self._rests_until = anyio.current_time() + FIRST_REST
            await self._close()
            raise

    def _snapshot(self, event: ServerEvent, place: Cursor, known: Known) -> JobSnapshot | None:
        """None for what an answer has told before: a stream begins where the oldest of what is known of the jobs ends."""
        try:
            fields = json.loads(
                event.data.decode()
            )  # a text spares it the guessing of the encoding, a third of its time
            before = known(wire.job_id(fields))
            if before is not None and before.cursor is not None and before.cursor.covers(place):
                return None
            return wire.job_snapshot(fields, cursor=place)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"an event of the change feed is not about a job: {error}") from None

    async def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with anyio.CancelScope(shield=True):
                await stream.aclose()


def _id_of(place: Cursor) -> str | None:
    return None if place.number is None else f"{place.epoch}.{place.number}"


def silent() -> TransportError:
    """Why a stream is lost that has said nothing for too long."""
    return _lost(f"the stream was silent for {SILENCE:g} s")


def _lost(reason: str) -> TransportError:
    return TransportError(f"the change feed: {reason}")
