"""
A server of bytes on a real socket, for what no HTTP library would let a test send: half an answer, a reset, garbage.
Each connection is handed to the next script; the last one serves all that follow.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import anyio
from anyio.abc import SocketAttribute, SocketStream

JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"


class Peer:
    """One accepted connection."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._received = bytearray()

    async def read_head(self) -> bytes:
        """The request up to its empty line; nothing beyond it is waited for."""
        while b"\r\n\r\n" not in self._received:
            self._received += await self._stream.receive()
        return bytes(self._received.partition(b"\r\n\r\n")[0])

    async def read_request(self) -> bytes:
        """The whole request."""
        head = await self.read_head()
        length = next(
            (line.split(b":")[1] for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), b"0"
        )
        while len(self._received) < len(head) + 4 + int(length):
            self._received += await self._stream.receive()
        return bytes(self._received)

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    async def reset(self) -> None:
        """Ends the connection with RST, so that the other side sees it break whatever it is doing."""
        sock = self._stream.extra(SocketAttribute.raw_socket)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._stream.aclose()


Script: TypeAlias = Callable[[Peer], Awaitable[None]]


class RawServer:
    """Where it listens, and how often it was called."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connections = 0


@asynccontextmanager
async def raw_server(*scripts: Script) -> AsyncIterator[RawServer]:
    """A server on 127.0.0.1 and a free port that answers by ``scripts`` and is gone with the block."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    server = RawServer(f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}")

    async def serve(stream: SocketStream) -> None:
        script = scripts[min(server.connections, len(scripts) - 1)]
        server.connections += 1
        async with stream:
            try:
                await script(Peer(stream))
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return  # the client hung up, as it may

    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        try:
            yield server
        finally:
            group.cancel_scope.cancel()


def answering(data: bytes) -> Script:
    """Reads the whole request, sends ``data`` as it is and hangs up."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(data)

    return script


async def reset_after_head(peer: Peer) -> None:
    """Breaks the connection when the request's head has come."""
    await peer.read_head()
    await peer.reset()


async def reset_at_once(peer: Peer) -> None:
    """Breaks the connection before anything is read of the request."""
    await peer.reset()
