"""Which of a host's addresses is taken. Reading and writing are tested where HTTP goes over them, in test_direct*.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import anyio
import pytest

from sfjobs import sockets
from sfjobs.sockets import Stream, connect
from tests.support.raw_server import Peer, raw_server

pytestmark = pytest.mark.real_time

Found = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]]


def resolving(monkeypatch: pytest.MonkeyPatch, *ports: int, family: socket.AddressFamily = socket.AF_INET) -> None:
    """Makes ``several.test`` a host with these ports of this machine, as if each was an address of its own."""
    found: Found = [(family, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

    async def getaddrinfo(*_: object, **__: object) -> Found:
        return found

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)


@pytest.fixture
def dead() -> Iterator[int]:
    """A port that refuses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that says neither yes nor no: nobody accepts, and the queue is full."""
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


async def greeting(stream: Stream) -> bytes:
    try:
        return await stream.receive(100)
    finally:
        stream.close()


async def test_an_address_that_refuses_is_passed_over(monkeypatch: pytest.MonkeyPatch, dead: int) -> None:
    async with raw_server(greet) as server:
        resolving(monkeypatch, dead, dead, int(server.url.rpartition(":")[2]))
        assert await greeting(await connect("several.test", 80, None)) == b"hello"


async def test_an_address_that_does_not_answer_is_overtaken(monkeypatch: pytest.MonkeyPatch, mute: int) -> None:
    monkeypatch.setattr(sockets, "HEAD_START", 0.01)
    async with raw_server(greet) as server:
        resolving(monkeypatch, mute, int(server.url.rpartition(":")[2]))
        assert await greeting(await connect("several.test", 80, None)) == b"hello"


async def test_all_addresses_are_named_when_none_answers(monkeypatch: pytest.MonkeyPatch, dead: int) -> None:
    resolving(monkeypatch, dead, dead)
    refused = rf"Connection refused: 127\.0\.0\.1, port {dead}"
    with pytest.raises(OSError, match=rf"{refused}; .*{refused}"):
        await connect("several.test", 80, None)


async def test_waiting_for_an_address_may_be_cut(monkeypatch: pytest.MonkeyPatch, mute: int) -> None:
    monkeypatch.setattr(sockets, "HEAD_START", 0.0)
    resolving(monkeypatch, mute, mute)
    with anyio.move_on_after(0.02) as patience:
        await connect("several.test", 80, None)
    assert patience.cancelled_caught


async def test_a_name_is_looked_up() -> None:
    async with raw_server(greet) as server:
        assert await greeting(await connect("localhost", int(server.url.rpartition(":")[2]), None)) == b"hello"
