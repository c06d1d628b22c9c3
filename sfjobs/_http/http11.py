"""
HTTP/1.1 straight to the platform: an httpx transport that keeps its idle connections on a stack and has no queue.

It takes the place of httpcore's pool, which costs 0.4 ms of CPU a request, 2 ms with 32 at once, and loses slots when requests
are cancelled. How many requests there are at a time is for the caller to bound. ``h11`` parses heads and chunks; the bodies
that say their length, which are nearly all, are read from the socket as they are. httpx itself stands on h11, so it is there.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import h11
import httpx

from .tcp_stream import TCPStream, connect

T = TypeVar("T")

# Shorter than uvicorn's 5 s, so that a submission does not go out on a connection that the server is just closing.
KEEP_ALIVE = 4.0

LARGEST_HEAD = 100 * 1024
"""Bytes of an answer's head, and of a chunk's."""

READ_BYTES = 64 * 1024
"""Most bytes of one read where it is not known how much will come."""

PIECE_BYTES = 512 * 1024
"""Most bytes of one read of a body that says its length. Measured on loopback: 128 KiB 0.9 GB/s, 256 KiB 1.4, 512 KiB 1.7."""


class DirectTransport(httpx.AsyncBaseTransport):
    """Requests to the host of ``url`` and no other, through TLS with a ``context``. Raises the exceptions of httpx."""

    def __init__(
        self, url: str, context: ssl.SSLContext | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        parsed = httpx.URL(url)
        self._host = parsed.raw_host.decode("ascii")
        self._port = parsed.port or (443 if parsed.scheme == "https" else 80)
        self._context = context
        self._clock = clock
        self._idle: deque[tuple[float, TCPStream]] = deque()
        self._streams: set[TCPStream] = set()
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        # Nothing is sent for someone who has been cancelled meanwhile. With an idle connection nothing else would look.
        await anyio.lowlevel.checkpoint_if_cancelled()
        silences: dict[str, float | None] = request.extensions.get("timeout", {})
        stream = self._idle_stream() or await self._connected(silences.get("connect"))
        try:
            return await self._exchanged(stream, request, silences)
        except BaseException:
            self.discard(stream)
            raise

    async def aclose(self) -> None:
        """Closes every connection, also those in use, where whoever waits gets httpx.ReadError or httpx.WriteError."""
        self._closed = True
        while self._streams:
            self.discard(next(iter(self._streams)))
        self._idle.clear()

    def discard(self, stream: TCPStream) -> None:
        """Closes a connection for good. Never waits, so that a cancelled task may do it."""
        self._streams.discard(stream)
        stream.close()

    def keep(self, stream: TCPStream) -> None:
        """Takes back a connection on which an answer has been read to its end."""
        if stream not in self._streams:
            return
        now = self._clock()
        while self._idle and now - self._idle[0][0] > KEEP_ALIVE:
            self.discard(self._idle.popleft()[1])
        self._idle.append((now, stream))

    def _idle_stream(self) -> TCPStream | None:
        """The one that was used last. One that has ended meanwhile, or where an answer came without a question, is no use."""
        now = self._clock()
        while self._idle:
            since, stream = self._idle.pop()
            if now - since <= KEEP_ALIVE and stream.is_quiet():
                return stream
            self.discard(stream)
        return None

    async def _connected(self, patience: float | None) -> TCPStream:
        try:
            with anyio.move_on_after(patience) as scope:
                stream = await connect(self._host, self._port, self._context)
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        if scope.cancelled_caught:
            raise httpx.ConnectTimeout("")
        if self._closed:
            stream.close()
            raise httpx.ConnectError("closed meanwhile")
        self._streams.add(stream)
        return stream

    async def _exchanged(
        self, stream: TCPStream, request: httpx.Request, silences: dict[str, float | None]
    ) -> httpx.Response:
        machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
        await _send(stream, _encoded(machine, request, await request.aread()), silences.get("write"))
        silence = silences.get("read")
        while True:
            event = _next_event(machine)
            if isinstance(event, h11.Response):
                break
            if event is h11.NEED_DATA:
                data = await _heard(stream.receive(READ_BYTES), silence)
                if not data:
                    raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
                machine.receive_data(data)
        body = ResponseBody(
            self, stream, machine, length=_length(request.method, event), may_go_on=_may_go_on(event), silence=silence
        )
        return httpx.Response(
            event.status_code,
            headers=event.headers.raw_items(),
            stream=body,
            extensions={"http_version": b"HTTP/" + event.http_version, "reason_phrase": event.reason},
        )


class ResponseBody(httpx.AsyncByteStream):
    """
    The body of an answer, as it comes. A ``read`` that is cancelled has taken nothing: another one, also in another task, goes
    on where it was, so an open answer may be handed from task to task. ``aclose`` ends it at any time, without waiting.
    """

    def __init__(
        self,
        owner: DirectTransport,
        stream: TCPStream,
        machine: h11.Connection,
        *,
        length: int | None,
        may_go_on: bool,
        silence: float | None,
    ) -> None:
        self._owner = owner
        self._stream: TCPStream | None = stream
        self._machine = machine
        self._length = length
        self._left = length
        self._may_go_on = may_go_on
        self._silence = silence
        self._ahead = b""
        self._rest = memoryview(b"")
        self._is_whole = False
        if length is not None:
            self._ahead, _ = machine.trailing_data
            self._may_go_on = may_go_on and len(self._ahead) <= length
            self._ahead = self._ahead[:length]
            if not length:
                self._finish()

    @property
    def has_ended(self) -> bool:
        """Whether all of it has been read, or it has been closed."""
        return self._stream is None

    async def read(self) -> bytes:
        """
        What has come, as soon as there is any, and ``b""`` at the end. Raises httpx.ReadTimeout after the request's own time of
        silence, httpx.ReadError, and httpx.RemoteProtocolError for a body that breaks off; none of these can be gone on from.
        Raises httpx.StreamClosed when it was closed before its end.
        """
        if self._is_whole:
            return b""
        if self._stream is None:
            raise httpx.StreamClosed
        try:
            return await (self._read_parsed(self._stream) if self._left is None else self._read_counted(self._stream))
        except httpx.TransportError:
            self.close()
            raise

    async def read_into(self, room: memoryview) -> int:
        """As ``read``, into some of ``room``; says how much, 0 at the end. Not to be mixed with ``read``."""
        if self._rest or self._ahead or self._left is None or self._stream is None:
            if not self._rest:
                self._rest = memoryview(await self.read())
            count = min(len(self._rest), len(room))
            room[:count], self._rest = self._rest[:count], self._rest[count:]
            return count
        try:
            return self._counted(await _heard(self._stream.receive_into(room[: self._left]), self._silence))
        except httpx.TransportError:
            self.close()
            raise

    async def _read_counted(self, stream: TCPStream) -> bytes:
        assert self._left is not None
        piece, self._ahead = self._ahead, b""
        if not piece:
            piece = await _heard(stream.receive(min(self._left, PIECE_BYTES)), self._silence)
        self._counted(len(piece))
        return piece

    def _counted(self, came: int) -> int:
        assert self._left is not None
        if not came:
            raise httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body "
                f"(received {(self._length or 0) - self._left} bytes, expected {self._length})"
            )
        self._left -= came
        if not self._left:
            self._finish()
        return came

    async def _read_parsed(self, stream: TCPStream) -> bytes:
        pieces: list[bytes] = []  # all the chunks that have come, small as they may be
        while True:
            event = _next_event(self._machine)
            if isinstance(event, h11.Data):
                pieces.append(bytes(event.data))
            elif event is not h11.NEED_DATA:
                self._may_go_on = self._machine.their_state is h11.DONE and self._machine.trailing_data == (b"", False)
                self._finish()
                return b"".join(pieces)
            elif pieces:
                return b"".join(pieces)
            else:
                self._machine.receive_data(await _heard(stream.receive(READ_BYTES), self._silence))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self.read():
            yield piece

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection, unless the body has been read to its end. Never waits, so that a cancelled task may do it."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._owner.discard(stream)

    def _finish(self) -> None:
        self._is_whole = True
        stream, self._stream = self._stream, None
        if stream is not None:
            (self._owner.keep if self._may_go_on else self._owner.discard)(stream)


# h11's exceptions quote, and the frames of its parser hold, what was sent or what came, which may repeat what was sent. So
# ours are raised when those are gone, and say the rest.


def _encoded(machine: h11.Connection, request: httpx.Request, content: bytes) -> list[bytes]:
    """What to send, in as few pieces as need no copy of a long body."""
    try:
        head = machine.send(
            h11.Request(
                method=request.method,
                target=request.extensions.get("target", request.url.raw_path),
                headers=request.headers.raw,
            )
        )
        body = machine.send(h11.Data(data=content)) if content else b""
        end = machine.send(h11.EndOfMessage())
    except h11.LocalProtocolError as error:
        reason = _reason(error)
    else:
        parts = [head or b"", body or b"", end or b""]
        return [b"".join(parts)] if len(content) <= READ_BYTES else parts
    raise httpx.LocalProtocolError(reason)


def _next_event(machine: h11.Connection) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
    try:
        return machine.next_event()
    except h11.RemoteProtocolError as error:
        reason = _reason(error)
    raise httpx.RemoteProtocolError(reason)


def _reason(error: h11.ProtocolError) -> str:
    return str(error).partition(": ")[0]


def _length(method: str, head: h11.Response) -> int | None:
    """How long the body is (RFC 9112, 6.3), or None when only the reading of it will tell."""
    if method == "HEAD" or head.status_code in (204, 304):
        return 0
    length = None
    for name, value in head.headers:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = int(value)
    return length


def _may_go_on(head: h11.Response) -> bool:
    """Whether the server takes another request on this connection."""
    tokens = [
        token.strip().lower() for name, value in head.headers if name == b"connection" for token in value.split(b",")
    ]
    return head.http_version >= b"1.1" and b"close" not in tokens


async def _send(stream: TCPStream, pieces: list[bytes], silence: float | None) -> None:
    try:
        for piece in pieces:
            sent = stream.send_some(piece)
            while sent < len(piece):
                with anyio.move_on_after(silence) as scope:
                    await stream.until_room()
                if scope.cancelled_caught:
                    raise httpx.WriteTimeout("")
                sent += stream.send_some(memoryview(piece)[sent:])
    except anyio.ClosedResourceError as error:
        raise httpx.WriteError("closed meanwhile") from error
    except OSError:
        return  # a server may refuse a long body before it has read it, and its answer is what counts


async def _heard(receiving: Coroutine[Any, Any, T], silence: float | None) -> T:
    try:
        if silence is None:
            return await receiving
        with anyio.move_on_after(silence):
            return await receiving
    except (OSError, anyio.ClosedResourceError) as error:
        raise httpx.ReadError(str(error) or "closed meanwhile") from error
    raise httpx.ReadTimeout("")
