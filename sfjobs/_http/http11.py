"""
HTTP/1.1 directly to a server: an httpx transport with a stack of idle connections for each origin, and no queue.

It replaces httpcore's pool, which costs 0.4 ms of CPU a request, 2 ms with 32 at once, and loses slots when requests are
cancelled. The caller bounds the concurrent requests. ``h11``, which httpx itself needs, parses heads and chunks. Bodies with a
declared length, nearly all, are read from the socket without a parser.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from time import monotonic
from typing import Any, TypeAlias, TypeVar, cast

import anyio
import anyio.lowlevel
import h11
import httpx

from .tcp_stream import TCPStream, connect
from .trust import tls_context

T = TypeVar("T")

Origin: TypeAlias = tuple[str, bytes, int | None]
"""Scheme, host and port, None for the port of the scheme."""

# Shorter than uvicorn's 5 s, so that no submission is sent on a connection that the server is just closing.
KEEP_ALIVE_SECONDS = 4.0

MAX_HEAD_BYTES = 100 * 1024
"""Limit for the head of a response, and of a chunk."""

READ_BYTES = 64 * 1024
"""Limit of one read where the length is unknown."""

PIECE_BYTES = 512 * 1024
"""Limit of one read of a body with a declared length. Measured on loopback: 128 KiB 0.9 GB/s, 256 KiB 1.4, 512 KiB 1.7."""


class DirectTransport(httpx.AsyncBaseTransport):
    """
    A transport of httpx for HTTP/1.1, directly to the server of each request. It is what ``Connection`` uses by default.

        async with httpx.AsyncClient(transport=sfjobs.DirectTransport()) as client:
            response = await client.get("https://platform.example/")

    It has no limit of connections and no queue, uses no proxy and speaks no HTTP/2. Its errors are those of httpx. A read of a
    response's stream that is cancelled loses no bytes. ``context`` says which certificates to trust, and may have one of the
    client's; without it the authorities of the environment or the system are trusted.
    """

    __module__ = "sfjobs"

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._has_alpn = False
        self._idle: dict[Origin, deque[tuple[float, TCPStream]]] = {}
        self._streams: dict[TCPStream, Origin] = {}
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the response when its head has arrived. Raises httpx.TransportError."""
        # A cancelled task sends nothing. With an idle connection, no other checkpoint comes before the send.
        await anyio.lowlevel.checkpoint_if_cancelled()
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        url = request.url
        origin = (url.scheme, url.raw_host, url.port)
        stream = self._idle_stream(origin) or await self._connect(origin, timeouts.get("connect"))
        try:
            return await self._exchange(stream, request, timeouts)
        except BaseException:
            self._discard(stream)
            raise

    async def aclose(self) -> None:
        """Close every connection. Those in use raise httpx.ReadError or httpx.WriteError in their tasks."""
        self._closed = True
        while self._streams:
            self._discard(next(iter(self._streams)))
        self._idle.clear()

    def _release(self, stream: TCPStream, keep: bool) -> None:
        (self._keep if keep else self._discard)(stream)

    def _discard(self, stream: TCPStream) -> None:
        """Close a connection. Never waits, so that a cancelled task can call it."""
        self._streams.pop(stream, None)
        stream.close()

    def _keep(self, stream: TCPStream) -> None:
        """Make a connection idle after its response has been read to the end."""
        origin = self._streams.get(stream)
        if origin is None:
            return
        now = monotonic()
        for other, idle in [*self._idle.items()]:
            while idle and now - idle[0][0] > KEEP_ALIVE_SECONDS:
                self._discard(idle.popleft()[1])
            if not idle:
                del self._idle[other]
        self._idle.setdefault(origin, deque()).append((now, stream))

    def _idle_stream(self, origin: Origin) -> TCPStream | None:
        """The idle connection that was used last, unless it has been closed or has unrequested bytes."""
        idle = self._idle.get(origin)
        now = monotonic() if idle else 0.0
        while idle:
            since, stream = idle.pop()
            if now - since <= KEEP_ALIVE_SECONDS and stream.is_quiet():
                return stream
            self._discard(stream)
        return None

    async def _connect(self, origin: Origin, timeout: float | None) -> TCPStream:
        scheme, host, port = origin
        if scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"Request URL has an unsupported protocol '{scheme}://'.")
        context = self._tls_context() if scheme == "https" else None
        try:
            with anyio.move_on_after(timeout) as scope:
                stream = await connect(host.decode("ascii"), port or (80 if context is None else 443), context)
        except (OSError, ValueError) as error:  # a ValueError is of a name that TLS does not accept
            raise httpx.ConnectError(str(error)) from error
        if scope.cancelled_caught:
            raise httpx.ConnectTimeout("")
        if self._closed:
            stream.close()
            raise httpx.ConnectError("the transport was closed")
        self._streams[stream] = origin
        return stream

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context(None)
        elif not self._has_alpn:
            self._context.set_alpn_protocols(["http/1.1"])  # as httpcore does
        self._has_alpn = True
        return self._context

    async def _exchange(
        self, stream: TCPStream, request: httpx.Request, timeouts: dict[str, float | None]
    ) -> httpx.Response:
        machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        await _send_request(stream, machine, request, timeouts.get("write"))
        timeout = timeouts.get("read")
        while True:
            event = _next_event(machine)
            if isinstance(event, h11.Response):
                break
            if event is h11.NEED_DATA:
                data = await _received(stream.receive(READ_BYTES), timeout)
                if not data:
                    raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
                machine.receive_data(data)
            elif event is h11.PAUSED:
                raise httpx.RemoteProtocolError("Server switched to another protocol.")
        length, keeps_alive = _length(request.method, event), _keeps_alive(event)
        body = ResponseBody(self._release, stream, machine, length=length, keeps_alive=keeps_alive, timeout=timeout)
        return httpx.Response(
            event.status_code,
            headers=event.headers.raw_items(),
            stream=body,
            extensions={"http_version": b"HTTP/" + event.http_version, "reason_phrase": event.reason},
        )


class ResponseBody(httpx.AsyncByteStream):
    """
    The body of a response, as a stream. A cancelled ``read`` loses no bytes: the next one, also in another task, continues there,
    so tasks can hand an open response on. ``aclose`` ends it at any time, without waiting.
    """

    is_decoded = False

    def __init__(
        self,
        release: Callable[[TCPStream, bool], None],
        stream: TCPStream,
        machine: h11.Connection,
        *,
        length: int | None,
        keeps_alive: bool,
        timeout: float | None,
    ) -> None:
        self._on_release = release
        self._stream: TCPStream | None = stream
        self._machine = machine
        self._length = length
        self._left = length
        self._keeps_alive = keeps_alive
        self._timeout = timeout
        self._ahead = b""
        self._rest = memoryview(b"")
        self._is_whole = False
        if length is not None:
            self._ahead, _ = machine.trailing_data
            self._keeps_alive = keeps_alive and len(self._ahead) <= length
            self._ahead = self._ahead[:length]
            if not length:
                self._finish()

    @property
    def has_ended(self) -> bool:
        """Whether the body has been read to its end, or closed."""
        return self._stream is None

    async def read(self) -> bytes:
        """
        Return the next bytes as soon as there are any, and ``b""`` at the end. Raises httpx.ReadTimeout, httpx.ReadError, and
        httpx.RemoteProtocolError for a body that breaks off; each of these closes it. Raises httpx.StreamClosed if it was closed
        before its end.
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

    async def read_into(self, buffer: memoryview) -> int:
        """Read into the start of ``buffer``. Returns the number of bytes, 0 at the end. Not to be mixed with ``read``."""
        if self._rest or self._ahead or self._left is None or self._stream is None:
            if not self._rest:
                self._rest = memoryview(await self.read())
            count = min(len(self._rest), len(buffer))
            buffer[:count], self._rest = self._rest[:count], self._rest[count:]
            return count
        try:
            return self._advance(await _received(self._stream.receive_into(buffer[: self._left]), self._timeout))
        except httpx.TransportError:
            self.close()
            raise

    async def _read_counted(self, stream: TCPStream) -> bytes:
        assert self._left is not None
        piece, self._ahead = self._ahead, b""
        if not piece:
            piece = await _received(stream.receive(min(self._left, PIECE_BYTES)), self._timeout)
        self._advance(len(piece))
        return piece

    def _advance(self, count: int) -> int:
        assert self._left is not None
        if not count:
            raise httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body "
                f"(received {(self._length or 0) - self._left} bytes, expected {self._length})"
            )
        self._left -= count
        if not self._left:
            self._finish()
        return count

    async def _read_parsed(self, stream: TCPStream) -> bytes:
        pieces: list[bytes] = []  # all chunks that have arrived, also small ones
        while True:
            event = _next_event(self._machine)
            if isinstance(event, h11.Data):
                pieces.append(bytes(event.data))
            elif event is not h11.NEED_DATA:
                self._keeps_alive = self._machine.their_state is h11.DONE and self._machine.trailing_data == (
                    b"",
                    False,
                )
                self._finish()
                return b"".join(pieces)
            elif pieces:
                return b"".join(pieces)
            else:
                self._machine.receive_data(await _received(stream.receive(READ_BYTES), self._timeout))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self.read():
            yield piece

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, unless the body has been read to its end. Never waits, so that a cancelled task can call it."""
        self._release(keep=False)

    def _finish(self) -> None:
        self._is_whole = True
        self._release(keep=self._keeps_alive)

    def _release(self, *, keep: bool) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._on_release(stream, keep)


# h11's exceptions and the frames of its parser hold what was sent and received. So our own exceptions are raised after those are
# gone, with the first words of the reason only.


async def _send_request(
    stream: TCPStream, machine: h11.Connection, request: httpx.Request, timeout: float | None
) -> None:
    try:
        content = request.content
    except httpx.RequestNotRead:
        await _send_streamed(stream, machine, request, timeout)
        return
    parts = _written(machine, request, *([h11.Data(data=content)] if content else []), h11.EndOfMessage())
    # In one piece unless the body is too long to copy.
    await _send(stream, [b"".join(parts)] if len(content) <= READ_BYTES else parts, timeout)


async def _send_streamed(
    stream: TCPStream, machine: h11.Connection, request: httpx.Request, timeout: float | None
) -> None:
    if not await _send(stream, _written(machine, request), timeout):
        return
    async for piece in cast("AsyncIterable[bytes]", request.stream):
        if piece and not await _send(stream, _written(machine, h11.Data(data=piece)), timeout):
            return
    await _send(stream, _written(machine, h11.EndOfMessage()), timeout)


def _written(machine: h11.Connection, *events: httpx.Request | h11.Data | h11.EndOfMessage) -> list[bytes]:
    try:
        return [machine.send(_head(event) if isinstance(event, httpx.Request) else event) or b"" for event in events]
    except h11.LocalProtocolError as error:
        reason = _reason(error)
    raise httpx.LocalProtocolError(reason)


def _head(request: httpx.Request) -> h11.Request:
    target = request.extensions.get("target", request.url.raw_path)
    return h11.Request(method=request.method, target=target, headers=request.headers.raw)


def _next_event(machine: h11.Connection) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
    try:
        return machine.next_event()
    except h11.RemoteProtocolError as error:
        reason = _reason(error)
    raise httpx.RemoteProtocolError(reason)


def _reason(error: h11.ProtocolError) -> str:
    return str(error).partition(": ")[0]


def _length(method: str, head: h11.Response) -> int | None:
    """The length of the body (RFC 9112, 6.3), or None where only reading it shows the end."""
    if method == "HEAD" or head.status_code in (204, 304):
        return 0
    length = None
    for name, value in head.headers:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = int(value)
    return length


def _keeps_alive(head: h11.Response) -> bool:
    """Whether the server accepts another request on this connection."""
    tokens = [
        token.strip().lower() for name, value in head.headers if name == b"connection" for token in value.split(b",")
    ]
    return head.http_version >= b"1.1" and b"close" not in tokens


async def _send(stream: TCPStream, pieces: list[bytes], timeout: float | None) -> bool:
    """Return whether all was sent. A server may refuse a long body before it has read it: the response says why."""
    try:
        for piece in pieces:
            sent = stream.send_some(piece)
            while sent < len(piece):
                with anyio.move_on_after(timeout) as scope:
                    await stream.wait_for_space()
                if scope.cancelled_caught:
                    raise httpx.WriteTimeout("")
                sent += stream.send_some(memoryview(piece)[sent:])
    except anyio.ClosedResourceError as error:
        raise httpx.WriteError("the connection was closed") from error
    except OSError:
        return False
    return True


async def _received(receiving: Coroutine[Any, Any, T], timeout: float | None) -> T:
    try:
        if timeout is None:
            return await receiving
        with anyio.move_on_after(timeout):
            return await receiving
    except (OSError, anyio.ClosedResourceError) as error:
        raise httpx.ReadError(str(error) or "the connection was closed") from error
    raise httpx.ReadTimeout("")
