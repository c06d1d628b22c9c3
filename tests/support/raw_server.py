"""
A server on a real socket that sends any bytes: half a response, a reset, garbage. Each connection gets the next script; the last
script serves all further ones.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSListener

CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""A self-signed certificate for ``localhost`` with its key. Only tests trust it."""

JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"


class Peer:
    """One accepted connection."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._received = bytearray()

    @property
    def alpn_protocol(self) -> str | None:
        return self._stream.extra(TLSAttribute.alpn_protocol)

    async def read_head(self) -> bytes:
        """Return the request up to its empty line, without waiting for more."""
        while b"\r\n\r\n" not in self._received:
            self._received += await self._stream.receive()
        return bytes(self._received.partition(b"\r\n\r\n")[0])

    async def read_until(self, mark: bytes) -> bytes:
        """Return what the client sends up to ``mark`` and with it."""
        while mark not in self._received:
            self._received += await self._stream.receive()
        before, _, after = bytes(self._received).partition(mark)
        self._received[:] = after
        return before + mark

    async def read_request(self) -> bytes:
        """Return the next whole request."""
        head = await self.read_head()
        length = next(
            (line.split(b":")[1] for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), b"0"
        )
        size = len(head) + 4 + int(length)
        while len(self._received) < size:
            self._received += await self._stream.receive()
        request = bytes(self._received[:size])
        del self._received[:size]
        return request

    async def hung_up(self) -> None:
        """Return when the client has closed the connection or it has broken."""
        try:
            while True:
                await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, ssl.SSLError):
            return

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    async def end(self) -> None:
        """Send the end of the stream; reading stays possible."""
        self._stream.extra(SocketAttribute.raw_socket).shutdown(socket.SHUT_WR)

    async def reset(self) -> None:
        """Reset the connection, so that reads and writes of the client fail."""
        sock = self._stream.extra(SocketAttribute.raw_socket)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._stream.aclose()


Script: TypeAlias = Callable[[Peer], Awaitable[None]]


class RawServer:
    """The URL of the server, and its number of connections, total and open."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connections = 0
        self.open = 0
        self._changed = anyio.Event()

    def count(self, change: int) -> None:
        self.connections += max(change, 0)
        self.open += change
        self._changed.set()
        self._changed = anyio.Event()

    async def has_open(self, number: int) -> None:
        """Wait until so many connections are open."""
        while self.open != number:
            await self._changed.wait()


@asynccontextmanager
async def raw_server(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Serve ``scripts`` on 127.0.0.1 and a free port during the block."""
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = tcp.extra(SocketAttribute.local_port)
    server = RawServer(f"http://127.0.0.1:{port}" if tls is None else f"https://localhost:{port}")

    async def serve(stream: ByteStream) -> None:
        script = scripts[min(server.connections, len(scripts) - 1)]
        server.count(1)
        try:
            async with stream:
                await script(Peer(stream))
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # the client closed the connection
        finally:
            server.count(-1)

    listener: Listener[ByteStream] = tcp if tls is None else TLSListener(tcp, tls, standard_compatible=False)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        try:
            yield server
        finally:
            group.cancel_scope.cancel()


def tls_context() -> ssl.SSLContext:
    """Return the context of a server with ``CERTIFICATE``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def answering(data: bytes) -> Script:
    """Reads the whole request, sends ``data`` and closes the connection."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(data)

    return script


def serving(response: bytes) -> Script:
    """Sends ``response`` for each request until the client closes the connection."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.read_request()
            await peer.send(response)

    return script


async def reset_after_head(peer: Peer) -> None:
    """Resets the connection after the head of the request."""
    await peer.read_head()
    await peer.reset()


async def reset_at_once(peer: Peer) -> None:
    """Resets the connection before the request is read."""
    await peer.reset()
