"""A scripted platform as a transport of httpx, without sockets: what a faulty network does comes as the exceptions of httpx."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import httpx

from .answers import Answer, EventPieces, Received
from .backend import Backend
from .exchange import Exchange, StreamReset
from .faults import Fault

_HEAD_BYTES = 200
"""Of an answer, for the time that a slow one takes."""


class InMemoryTransport(httpx.AsyncBaseTransport):
    """
    Hands requests to a platform of this process, on asyncio or trio.

    Each request counts as a new connection. Latency and timeouts pass in the time of the event loop.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        await anyio.lowlevel.checkpoint()
        if (fault := self._backend.faults.for_connection()) is not None:
            raise _connection_error(fault, request)
        received = Received(
            method=request.method,
            target=request.url.raw_path.decode("ascii"),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
        )
        exchange = Exchange(self._backend, received)
        fault = exchange.damage
        if fault is not None and fault.kind == "reset before request":
            raise _reset(request)
        with anyio.move_on_after(_read_timeout(request)):
            answer = await exchange.answer()
            if fault is not None and fault.kind == "no answer":
                await anyio.sleep_forever()
            return await _response(request, answer, fault)
        raise httpx.ReadTimeout("", request=request)


async def _response(request: httpx.Request, answer: Answer, fault: Fault | None) -> httpx.Response:
    kind = None if fault is None else fault.kind
    match kind:
        case "reset before answer":
            raise _reset(request)
        case "cut head":
            raise httpx.RemoteProtocolError("the server ended the connection within the head", request=request)
        case "garbage":
            raise httpx.RemoteProtocolError("illegal status line: bytearray(b'\\x00\\x01')", request=request)
        case "slow answer":
            await anyio.sleep(_HEAD_BYTES * (0.0 if fault is None else fault.seconds))
    if answer.stream is not None:
        return httpx.Response(answer.status, headers=answer.headers, stream=_FeedBody(answer.stream, request))
    length = {"content-length": str(len(answer.body))} if answer.status not in (204, 304) else {}
    headers = {**answer.headers, **length}
    return httpx.Response(answer.status, headers=headers, stream=_Body(answer.body, request, fault))


class _Body(httpx.AsyncByteStream):
    """A body, which a fault may end early or slow down. No generator: trio warns of one that is left half-way."""

    def __init__(self, body: bytes, request: httpx.Request, fault: Fault | None) -> None:
        kind = None if fault is None else fault.kind
        self._request = request
        self._pause = fault.seconds if fault is not None and kind == "slow answer" else 0.0
        self._kind = kind if body else None
        self._rest = body[: len(body) // 2] if kind in ("reset in answer", "cut body") else body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._rest:
            if self._kind == "reset in answer":
                raise _reset(self._request)
            if self._kind == "cut body":
                raise httpx.RemoteProtocolError(
                    "peer closed connection without sending complete message body", request=self._request
                )
            raise StopAsyncIteration
        size = 1 if self._pause else len(self._rest)
        await anyio.sleep(self._pause)
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


class _FeedBody(httpx.AsyncByteStream):
    """The body of a change feed."""

    def __init__(self, stream: EventPieces, request: httpx.Request) -> None:
        self._stream = stream
        self._pieces = aiter(stream)
        self._request = request

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except StreamReset:
            raise _reset(self._request) from None

    async def aclose(self) -> None:
        await self._stream.aclose()


def _read_timeout(request: httpx.Request) -> float:
    timeout = request.extensions.get("timeout", {}).get("read")
    return float("inf") if timeout is None else timeout


def _reset(request: httpx.Request) -> httpx.ReadError:
    error = httpx.ReadError("connection reset by peer", request=request)
    error.__cause__ = ConnectionResetError("connection reset by peer")
    return error


def _connection_error(fault: Fault, request: httpx.Request) -> httpx.TransportError:
    if fault.kind == "reset on connect":
        return _reset(request)
    error = httpx.ConnectError("the connection failed", request=request)
    match fault.kind:
        case "refused":
            error.__cause__ = ConnectionRefusedError("connection refused")
        case "unresolved":
            error.__cause__ = socket.gaierror(socket.EAI_NONAME, "name or service not known")
        case "no tls":
            error.__cause__ = _no_tls()
    return error


def _no_tls() -> ssl.SSLError:
    """Return the exception of Python for a server that answers a TLS handshake with something else."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    handshake = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, outgoing, server_hostname="platform.test")
    incoming.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    try:
        handshake.do_handshake()
    except ssl.SSLError as error:
        return error.with_traceback(None)
    raise AssertionError("such bytes are no TLS")
