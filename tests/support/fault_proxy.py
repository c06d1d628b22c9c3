"""
A faulty network on real sockets: a proxy between client and scripted platform refuses, resets, delays, cuts or replaces
requests and responses, for the first attempts or always. All other requests reach the platform, where tests count them.

Faults of connections (``refused``, ``dns``, ``tls``, ``reset on accept``) affect every request; all others affect the requests
that ``strikes`` selects. Scripts are fixed: nothing is random.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeAlias, cast

import anyio
import httpx
from anyio.abc import ByteStream, SocketAttribute, TaskGroup, TaskStatus
from anyio.streams.tls import TLSStream

from tests.support.fake_platform import FakePlatform, refusal
from tests.support.raw_server import Peer, tls_context

PAGE = b"<!DOCTYPE html><html><head><title>Welcome to the hotel</title></head><body>Please sign in.</body></html>"
DRIP_SECONDS = 0.02
"""Time between two bytes of a slow drip, below any read timeout."""

Strikes: TypeAlias = Callable[[httpx.Request], bool]
Spoil: TypeAlias = Callable[[Peer, bytes], Awaitable[None]]


def responses(status: int, **headers: str) -> Callable[[], httpx.Response]:
    return lambda: refusal(status, "trouble", "", **{name.replace("_", "-"): value for name, value in headers.items()})


def _in_a_second() -> httpx.Response:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    return refusal(429, "trouble", "", **{"retry-after": when})


async def _reset(peer: Peer, response: bytes) -> None:
    await peer.reset()


async def _reset_half_way(peer: Peer, response: bytes) -> None:
    await peer.send(response[: -(len(response.partition(b"\r\n\r\n")[2]) // 2 or 2)])
    await peer.reset()


async def _reset_after(peer: Peer, response: bytes) -> None:
    await peer.send(response)
    await peer.reset()


async def _send_nothing(peer: Peer, response: bytes) -> None:
    await peer.hung_up()


async def _drip(peer: Peer, response: bytes) -> None:
    for place in range(len(response)):
        await peer.send(response[place : place + 1])
        await anyio.sleep(DRIP_SECONDS)


async def _cut_head(peer: Peer, response: bytes) -> None:
    await peer.send(response[: response.index(b"\r\n\r\n") - 3])
    await peer.end()


async def _cut_body(peer: Peer, response: bytes) -> None:
    await peer.send(response[: -(len(response.partition(b"\r\n\r\n")[2]) // 2 or 2)])
    await peer.end()


async def _garbage(peer: Peer, response: bytes) -> None:
    await peer.send(bytes(range(256)) * 2)
    await peer.end()


OF_CONNECTIONS = {"refused", "dns", "tls", "reset on accept"}
SPOILED: Mapping[str, Spoil] = {
    "reset before response": _reset,
    "reset in response": _reset_half_way,
    "reset after response": _reset_after,
    "no response": _send_nothing,
    "slow drip": _drip,
    "truncated head": _cut_head,
    "truncated body": _cut_body,
    "garbage": _garbage,
}
"""The platform gets the request, and its response is damaged."""

REPLACED: Mapping[str, Callable[[], httpx.Response]] = {
    "HTML 200": lambda: httpx.Response(200, content=PAGE, headers={"content-type": "text/html; charset=utf-8"}),
    "401 storm": responses(401),
    "429": responses(429),
    "429 seconds": responses(429, retry_after="1"),
    "429 date": _in_a_second,
    "500": responses(500),
    "502": responses(502),
    "503": responses(503),
    "504": responses(504),
}
"""The proxy responds, and the platform does not get the request."""

FAULTS = (*sorted(OF_CONNECTIONS), *SPOILED, *REPLACED, "cut mid-feed")


class FaultProxy:
    """
    A proxy to ``platform`` that works until ``break_down`` and again after a number of failures, which ``struck`` counts.
    """

    def __init__(self, platform: FakePlatform, fault: str) -> None:
        self._platform = platform
        self._fault = fault
        self._left = 0.0
        self._strikes: Strikes = lambda request: True
        self._peers: set[ByteStream] = set()
        self._listening: anyio.CancelScope | None = None
        self._has_closed = anyio.Event()
        self._group: TaskGroup
        self.port = 0
        self.struck = 0

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self._fault == "tls" else f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FaultProxy]:
        async with anyio.create_task_group() as self._group:
            await self._group.start(self._listen)
            try:
                yield self
            finally:
                self._group.cancel_scope.cancel()

    async def break_down(self, times: float, strikes: Strikes) -> None:
        """From now on the fault strikes ``times``; connections that stand end, so that the next request needs a new one."""
        self._left, self._strikes = times, strikes
        for peer in list(self._peers):
            await Peer(peer).reset()

    async def before_connecting(self) -> None:
        """To be called before each connection is begun, for those faults that no server can bring about by itself."""
        if self._fault == "dns" and self._strike():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if self._fault != "refused":
            return
        if self._strike():
            await self._close()
        elif self._listening is None:
            await self._group.start(self._listen)

    def _strike(self) -> bool:
        if self._left < 1:
            return False
        self._left -= 1
        self.struck += 1
        return True

    async def _listen(self, *, task_status: TaskStatus[None]) -> None:
        self._has_closed = anyio.Event()
        try:
            with anyio.CancelScope() as scope:
                self._listening = scope
                async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self.port) as listener:
                    self.port = listener.extra(SocketAttribute.local_port)
                    task_status.started()
                    await listener.serve(self._serve, self._group)
        finally:
            self._listening = None
            self._has_closed.set()

    async def _close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await self._has_closed.wait()

    async def _serve(self, stream: ByteStream) -> None:
        self._peers.add(stream)
        try:
            async with stream:
                if self._fault == "reset on accept" and self._strike():
                    await Peer(stream).reset()
                    return
                if self._fault == "tls":
                    if self._strike():
                        await stream.send(b"SSH-2.0-OpenSSH_9.6\r\n")
                        return
                    stream = await TLSStream.wrap(
                        stream, server_side=True, ssl_context=tls_context(), standard_compatible=False
                    )
                await self._answer_all(Peer(stream))
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError, OSError):
            return  # the client hung up, or the fault did
        finally:
            self._peers.discard(stream)

    async def _answer_all(self, peer: Peer) -> None:
        while True:
            request = _request(await peer.read_request())
            is_struck = self._fault not in OF_CONNECTIONS and self._strikes(request) and self._strike()
            if is_struck and self._fault in REPLACED:
                await peer.send(await _written(REPLACED[self._fault]()))
                continue
            response = await self._platform.handle(request)
            if response.headers.get("content-type") == "text/event-stream":
                await self._stream(peer, response, is_cut=is_struck)
                return
            data = await _written(response)
            if is_struck:
                await SPOILED[self._fault](peer, data)
                return
            await peer.send(data)

    async def _stream(self, peer: Peer, response: httpx.Response, *, is_cut: bool) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        pieces = cast("AsyncIterable[bytes]", response.stream)
        try:
            async for piece in pieces:
                await peer.send(b"%x\r\n%s\r\n" % (len(piece), piece))
                if is_cut:
                    return
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()


def _request(raw: bytes) -> httpx.Request:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, target, _ = first.split(b" ")
    headers = [tuple(line.split(b": ", 1)) for line in lines]
    return httpx.Request(
        method.decode(), f"http://platform.test{target.decode()}", headers=cast("Any", headers), content=body
    )


async def _written(response: httpx.Response) -> bytes:
    body = await response.aread()
    headers = [(name, value) for name, value in response.headers.items() if name != "content-length"]
    lines = [f"HTTP/1.1 {response.status_code} Said", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body
