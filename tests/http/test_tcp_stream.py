"""Choosing an address of a host. Reads and writes are tested with HTTP, in test_http11*.py."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from sfjobs._http import tcp_stream as sockets
from sfjobs._http.tcp_stream import TCPStream, connect
from tests.support.raw_server import Peer, raw_server

pytestmark = pytest.mark.real_time

Found = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]]


def resolving(monkeypatch: pytest.MonkeyPatch, *ports: int, family: socket.AddressFamily = socket.AF_INET) -> None:
    """Make ``several.test`` a host with these ports of this machine, as if each were an address."""
    found: Found = [(family, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

    def getaddrinfo(*_: object, flags: int = 0, **__: object) -> Found:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror
        return found

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def dead() -> Iterator[int]:
    """A port that refuses connections."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that neither accepts nor refuses: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def greet(peer: Peer) -> None:
    await peer.send(b"hello")


async def greeting(stream: TCPStream) -> bytes:
    try:
        return await stream.receive(100)
    finally:
        stream.close()


async def test_a_refusing_address_is_skipped(monkeypatch: pytest.MonkeyPatch, dead: int) -> None:
    async with raw_server(greet) as server:
        resolving(monkeypatch, dead, dead, int(server.url.rpartition(":")[2]))
        assert await greeting(await connect("several.test", 80, None)) == b"hello"


async def test_an_address_without_a_response_does_not_delay_the_next(
    monkeypatch: pytest.MonkeyPatch, mute: int
) -> None:
    monkeypatch.setattr(sockets, "NEXT_ADDRESS_DELAY_SECONDS", 0.01)
    async with raw_server(greet) as server:
        resolving(monkeypatch, mute, int(server.url.rpartition(":")[2]))
        assert await greeting(await connect("several.test", 80, None)) == b"hello"


async def test_the_error_names_all_addresses(monkeypatch: pytest.MonkeyPatch, dead: int) -> None:
    resolving(monkeypatch, dead, dead)
    refused = rf"Connection refused: 127\.0\.0\.1, port {dead}"
    with pytest.raises(OSError, match=rf"{refused}; .*{refused}"):
        await connect("several.test", 80, None)


async def test_connecting_can_be_cancelled(monkeypatch: pytest.MonkeyPatch, mute: int) -> None:
    monkeypatch.setattr(sockets, "NEXT_ADDRESS_DELAY_SECONDS", 0.0)
    resolving(monkeypatch, mute, mute)
    with anyio.move_on_after(0.02) as scope:
        await connect("several.test", 80, None)
    assert scope.cancelled_caught


async def test_a_host_name_is_resolved() -> None:
    async with raw_server(greet) as server:
        assert await greeting(await connect("localhost", int(server.url.rpartition(":")[2]), None)) == b"hello"


@asynccontextmanager
async def a_pair() -> AsyncIterator[tuple[TCPStream, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = TCPStream(ours)
    with theirs:
        try:
            yield stream, theirs
        finally:
            stream.close()


async def test_long_reads_without_waiting_yield_to_other_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "YIELD_BYTES", 1000)
    turns = taken = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with a_pair() as (stream, peer), anyio.create_task_group() as group:
        peer.sendall(bytes(50_000))
        group.start_soon(count)
        while taken < 50_000:
            taken += await stream.receive_into(memoryview(bytearray(50_000)))
        group.cancel_scope.cancel()
    assert turns >= 40


async def test_long_reads_without_waiting_can_be_cancelled_and_lose_no_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "YIELD_BYTES", 1000)
    sent = bytes(range(250)) * 200
    room, taken = memoryview(bytearray(len(sent))), 0
    async with a_pair() as (stream, peer):
        peer.sendall(sent)
        with anyio.CancelScope() as scope:
            while True:
                taken += await stream.receive_into(room[taken:])
                scope.cancel()
        assert taken < len(sent)
        while taken < len(sent):
            taken += await stream.receive_into(room[taken:])
    assert room == sent


async def test_closing_ends_a_read_into_a_buffer() -> None:
    async with a_pair() as (stream, _), anyio.create_task_group() as group:

        async def close() -> None:
            stream.close()

        group.start_soon(close)
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive_into(memoryview(bytearray(1)))
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive_into(memoryview(bytearray(1)))
