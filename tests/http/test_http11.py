"""Connections of our own: kept alive, replaced, cancelled, timed out and closed. Their responses are in the next file."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from sfjobs import Connection, Settings
from sfjobs._http import tcp_stream as sockets
from sfjobs._http.http11 import KEEP_ALIVE_SECONDS, DirectTransport, ResponseBody
from sfjobs.errors import ConnectionClosedError, RequestTimeoutError, SubmissionUnknownError, TransportError
from tests.support.raw_server import JSON_HEAD, Peer, RawServer, Script, answering, raw_server, reset_at_once, serving

pytestmark = pytest.mark.real_time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
HEAD_OF_TEN = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
LONG = bytes(range(256)) * 4096
"""A body of 1 MiB in which no two stretches are alike for long."""

Ask = Callable[[str], Awaitable[httpx.Response]]


@asynccontextmanager
async def direct() -> AsyncIterator[DirectTransport]:
    transport = DirectTransport()
    try:
        yield transport
    finally:
        await transport.aclose()


def request(server: RawServer, method: str = "GET", content: bytes | None = None, **timeouts: float) -> httpx.Request:
    return httpx.Request(method, f"{server.url}/x", content=content, extensions={"timeout": timeouts})


def body_of(response: httpx.Response) -> ResponseBody:
    assert isinstance(response.stream, ResponseBody)
    return response.stream


async def everything(response: httpx.Response) -> bytes:
    return b"".join([part async for part in body_of(response)])


async def ask(transport: DirectTransport, server: RawServer, method: str = "GET") -> bytes:
    return await everything(await transport.handle_async_request(request(server, method)))


# -- kept for the next request --


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with raw_server(serving(ANSWER)) as server, direct() as transport:
        assert [await ask(transport, server) for _ in range(5)] == [b"{}"] * 5
        assert server.connections == 1


async def test_concurrent_requests_have_a_connection_each() -> None:
    arrived = 0
    everyone = anyio.Event()

    async def together(peer: Peer) -> None:
        nonlocal arrived
        await peer.read_request()
        arrived += 1
        if arrived == 8:
            everyone.set()
        await everyone.wait()
        await peer.send(ANSWER)
        await peer.hung_up()

    async with raw_server(together) as server, direct() as transport:
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(ask, transport, server)
        assert server.connections == server.open == 8


async def test_the_connection_that_was_used_last_is_used_first() -> None:
    async with raw_server(numbered()) as server, direct() as transport:
        first = await transport.handle_async_request(request(server))
        second = await transport.handle_async_request(request(server))
        assert [await everything(second), await everything(first)] == [b"1", b"0"]
        assert [await ask(transport, server) for _ in range(3)] == [b"0"] * 3


def numbered() -> Script:
    """Each response is the number of its connection."""
    numbers = iter("0123456789")

    async def script(peer: Peer) -> None:
        number = next(numbers)
        while True:
            await peer.read_request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + number.encode())

    return script


async def test_a_connection_that_was_idle_for_too_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("sfjobs._http.http11.monotonic", lambda: now)
    async with raw_server(serving(ANSWER)) as server, direct() as transport:
        await ask(transport, server)
        now += KEEP_ALIVE_SECONDS
        await ask(transport, server)
        assert server.connections == 1
        now += KEEP_ALIVE_SECONDS + 0.01
        await ask(transport, server)
        assert server.connections == 2


async def test_old_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("sfjobs._http.http11.monotonic", lambda: now)
    async with raw_server(serving(ANSWER)) as server, direct() as transport:
        responses = [await transport.handle_async_request(request(server)) for _ in range(3)]
        for response in responses:
            await everything(response)
        now += KEEP_ALIVE_SECONDS - 1
        await ask(transport, server)
        now += 2
        await ask(transport, server)
        await server.has_open(1)
        assert server.connections == 3


STRAY = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
"""A response without a request."""


@pytest.mark.parametrize(("stray", "stays"), [(b"", False), (STRAY, False), (STRAY, True)])
async def test_an_idle_connection_that_ended_or_has_bytes_is_replaced_before_a_request(
    stray: bytes, stays: bool
) -> None:
    answered, done = anyio.Event(), anyio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(ANSWER)
        await answered.wait()
        await peer.send(stray)
        if not stays:
            await peer.end()
        done.set()
        await peer.hung_up()

    async with raw_server(script, serving(ANSWER)) as server, direct() as transport:
        await ask(transport, server, "POST")
        answered.set()
        await done.wait()
        assert await ask(transport, server, "POST") == b"{}"
        assert server.connections == 2


# -- broken, refused, timed out --


@pytest.mark.usefixtures("http")
async def test_a_request_on_a_connection_that_breaks_may_have_arrived() -> None:
    async with raw_server(reset_at_once) as server, Connection(settings=settings_for(server)) as connection:
        with pytest.raises(SubmissionUnknownError):
            await connection.create_job("X8_01", "MeasureFock() | [0, 1]")
    assert server.connections == 1


@pytest.mark.usefixtures("http")
async def test_a_request_without_a_connection_was_not_sent() -> None:
    async with raw_server(serving(ANSWER)) as server:
        settings = settings_for(server)
    async with Connection(settings=settings) as connection:
        with pytest.raises(TransportError, match=r"could not be reached \(.*(refused|Connect call failed)") as caught:
            await connection.ping()
    assert not caught.value.sent


def settings_for(server: RawServer, **more: float) -> Settings:
    return Settings(url=server.url, access_token="a-token", retries=1, **more)  # type: ignore[arg-type]  # floats only


async def silent(peer: Peer) -> None:
    await peer.hung_up()


async def falls_silent(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{")
    await peer.hung_up()


@pytest.mark.usefixtures("http")
@pytest.mark.parametrize("script", [silent, falls_silent])
async def test_a_read_timeout_ends_a_request_and_its_connection(script: Script) -> None:
    async with raw_server(script) as server, Connection(settings=settings_for(server, read_timeout=0.05)) as connection:
        with pytest.raises(
            RequestTimeoutError, match=r"GET \S+/healthz: the platform sent nothing for 0.05 s"
        ) as caught:
            await connection.ping()
        await server.has_open(0)
    assert caught.value.sent


async def test_a_request_has_its_own_read_timeout() -> None:
    async with raw_server(falls_silent) as server, direct() as transport:
        with pytest.raises(httpx.ReadTimeout):
            await everything(await transport.handle_async_request(request(server, read=0.01)))
        response = await transport.handle_async_request(request(server))
        assert await body_of(response).read() == b"{"
        with anyio.move_on_after(0.02) as scope:
            await body_of(response).read()
        assert scope.cancelled_caught


async def test_a_server_that_reads_nothing_is_a_write_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        post = httpx.Request("POST", url, content=bytes(2**25), extensions={"timeout": {"write": 0.05}})
        with pytest.raises(httpx.WriteTimeout):
            await DirectTransport().handle_async_request(post)


async def test_a_host_without_an_address_cannot_be_reached() -> None:
    settings = Settings(url="http://no-such-host.invalid", access_token="a-token", retries=1)
    async with Connection(settings=settings) as connection:
        with pytest.raises(TransportError, match="could not be reached") as caught:
            await connection.ping()
    assert not caught.value.sent


async def test_an_invalid_host_name_cannot_be_reached() -> None:
    settings = Settings(url=f"http://{'a' * 70}.test", access_token="a-token", retries=1)
    async with Connection(settings=settings) as connection:
        with pytest.raises(TransportError, match="could not be reached") as caught:
            await connection.ping()
    assert not caught.value.sent


# -- long requests --


async def test_a_long_body_arrives_whole() -> None:
    body = LONG * 8
    arrived: list[bytes] = []

    async def takes(peer: Peer) -> None:
        arrived.append((await peer.read_request()).partition(b"\r\n\r\n")[2])
        await peer.send(ANSWER)

    async with raw_server(takes) as server, direct() as transport:
        assert await everything(await transport.handle_async_request(request(server, "POST", body))) == b"{}"
    assert arrived == [body]


async def refuses(peer: Peer) -> None:
    await peer.read_head()
    await peer.send(JSON_HEAD.replace(b"200 OK", b"413 Too Large") + b"Content-Length: 2\r\n\r\n{}")


async def refuses_and_reads_on(peer: Peer) -> None:
    await refuses(peer)
    await peer.end()
    await peer.hung_up()


@pytest.mark.parametrize("script", [refuses, refuses_and_reads_on])
async def test_an_early_error_response_ends_the_upload(script: Script) -> None:
    async with raw_server(script) as server, direct() as transport:
        response = await transport.handle_async_request(request(server, "POST", LONG * 32))
        assert (response.status_code, await everything(response)) == (413, b"{}")


# -- cut --


@pytest.mark.parametrize("script", [silent, falls_silent])
async def test_a_cancelled_request_closes_its_connection_at_once(script: Script) -> None:
    async with raw_server(script, serving(ANSWER)) as server, direct() as transport:
        with anyio.move_on_after(0.01) as scope:
            response = await transport.handle_async_request(request(server))
            try:
                await everything(response)
            finally:
                await response.aclose()
        assert scope.cancelled_caught
        await server.has_open(0)
        assert await ask(transport, server) == b"{}"


async def test_a_cancelled_task_sends_nothing() -> None:
    async with raw_server(serving(ANSWER)) as server, direct() as transport:
        await ask(transport, server)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await transport.handle_async_request(request(server))
            pytest.fail("it was not cancelled")
        assert await ask(transport, server) == b"{}"
        assert server.connections == 1


async def test_a_cancelled_connect_leaves_nothing_open() -> None:
    async with raw_server(silent) as server, direct() as transport:
        for _ in range(20):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, transport, server)
                await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
        await server.has_open(0)


FRAMES: dict[str, Callable[[bytes], list[bytes]]] = {
    "counted": lambda body: [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), *halves(body)],
    "chunked": lambda body: [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        *[b"%x\r\n%b\r\n" % (len(half), half) for half in halves(body)],
        b"0\r\n\r\n",
    ],
    "until the end": lambda body: [b"HTTP/1.1 200 OK\r\n\r\n", *halves(body)],
}


def halves(body: bytes) -> list[bytes]:
    return [body[: len(body) // 2], body[len(body) // 2 :]]


async def into_room(body: ResponseBody) -> bytes:
    """The bytes of ``read``, through a buffer that is smaller than a piece."""
    buffer = bytearray(30_000)
    count = await body.read_into(memoryview(buffer))
    return bytes(buffer[:count])


READS: dict[str, Callable[[ResponseBody], Coroutine[Any, Any, bytes]]] = {
    "read": ResponseBody.read,
    "read_into": into_room,
}


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("frame", FRAMES)
async def test_a_cancelled_read_loses_no_bytes_and_another_task_continues(frame: str, how: str) -> None:
    head, first, *rest = FRAMES[frame](LONG)
    go_on = anyio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(head + first)
        await go_on.wait()
        for part in rest:
            await peer.send(part)

    async with raw_server(script) as server, direct() as transport:
        response = await transport.handle_async_request(request(server))
        read = bytearray()

        async def reader() -> None:
            while part := await READS[how](body_of(response)):
                read.extend(part)

        with anyio.move_on_after(0.05) as scope:
            await reader()
        assert scope.cancelled_caught
        assert read == LONG[: len(LONG) // 2]
        go_on.set()
        async with anyio.create_task_group() as group:
            group.start_soon(reader)
        assert read == LONG


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("frame", FRAMES)
async def test_reads_cancelled_while_data_arrives_lose_no_bytes(
    frame: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "YIELD_BYTES", 20_000)
    parts = FRAMES[frame](LONG)
    async with raw_server(in_pieces(b"".join(parts), 40_000)) as server, direct() as transport:
        response = await transport.handle_async_request(request(server))
        read, cut = bytearray(), 0
        while len(read) < len(LONG):
            async with anyio.create_task_group() as group:

                async def reader() -> None:
                    nonlocal cut
                    cut += 1
                    read.extend(await READS[how](body_of(response)))
                    cut -= 1

                group.start_soon(reader)
                for _ in range(cut % 4):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
        assert await READS[how](body_of(response)) == b""
        assert read == LONG
        assert cut


def in_pieces(data: bytes, size: int) -> Script:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        for start in range(0, len(data), size):
            await peer.send(data[start : start + size])

    return script


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_asyncio_task_cancelled_while_data_arrives_loses_no_bytes(how: str) -> None:
    async with raw_server(in_pieces(b"".join(FRAMES["counted"](LONG)), 40_000)) as server, direct() as transport:
        response = await transport.handle_async_request(request(server))
        read, turns = bytearray(), 0
        while not body_of(response).has_ended:
            turns += 1
            task = asyncio.create_task(READS[how](body_of(response)))
            for _ in range(turns % 5):
                await asyncio.sleep(0)
            task.cancel()
            try:
                read.extend(await task)
            except asyncio.CancelledError:
                continue
        assert read == LONG


# -- closed --


@pytest.mark.usefixtures("http")
@pytest.mark.parametrize("script", [silent, falls_silent])
async def test_closing_ends_requests_in_flight(script: Script) -> None:
    async with raw_server(script) as server:
        connection = Connection(settings=settings_for(server))
        async with anyio.create_task_group() as group:

            async def ping() -> None:
                with pytest.raises(ConnectionClosedError, match="while a request was in flight"):
                    await connection.ping()

            group.start_soon(ping)
            await server.has_open(1)
            await connection.aclose()
        await server.has_open(0)


async def test_closing_ends_idle_connections_and_half_read_responses() -> None:
    async with raw_server(serving(ANSWER), falls_silent) as server:
        async with direct() as transport:
            await ask(transport, server)
            kept = await transport.handle_async_request(request(server))
            half_read = await transport.handle_async_request(request(server))
            await everything(kept)
            assert await body_of(half_read).read() == b"{"
            assert server.open == 2
        await server.has_open(0)
        with pytest.raises(httpx.ReadError):
            await body_of(half_read).read()
        with pytest.raises(httpx.StreamClosed):
            await body_of(half_read).read()


async def test_a_response_closed_half_read_closes_its_connection() -> None:
    async with raw_server(falls_silent) as server, direct() as transport:
        response = await transport.handle_async_request(request(server))
        await response.aclose()
        await response.aclose()
        with pytest.raises(httpx.StreamClosed):
            await body_of(response).read()
        await server.has_open(0)


async def test_a_broken_response_closes_its_connection() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"
    async with raw_server(answering(cut)) as server, direct() as transport:
        response = await transport.handle_async_request(request(server))
        with pytest.raises(httpx.RemoteProtocolError, match="received 2 bytes, expected 9"):
            await everything(response)
        await server.has_open(0)


@pytest.mark.parametrize(
    "response", [HEAD_OF_TEN + b"half.", JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhalf."]
)
async def test_a_truncated_body_read_into_a_buffer_is_an_error(response: bytes) -> None:
    async with raw_server(answering(response)) as server, direct() as transport:
        body = body_of(await transport.handle_async_request(request(server)))
        assert await into_room(body) == b"half."
        with pytest.raises(httpx.RemoteProtocolError):
            await into_room(body)
        with pytest.raises(httpx.StreamClosed):
            await into_room(body)
        await server.has_open(0)


async def test_a_read_timeout_ends_reading_into_a_buffer() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(HEAD_OF_TEN)
        await peer.hung_up()

    async with raw_server(script) as server, direct() as transport:
        body = body_of(await transport.handle_async_request(request(server, read=0.01)))
        with pytest.raises(httpx.ReadTimeout):
            await into_room(body)
        await server.has_open(0)


async def test_bytes_after_a_body_are_not_read_into_its_buffer() -> None:
    begun = anyio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(HEAD_OF_TEN + b"01")
        await begun.wait()
        await peer.send(b"23456789" + STRAY)
        await peer.hung_up()

    async with raw_server(script, serving(ANSWER)) as server, direct() as transport:
        buffer = bytearray(b"." * 12)
        body = body_of(await transport.handle_async_request(request(server)))
        received = await body.read_into(memoryview(buffer))
        begun.set()
        while count := await body.read_into(memoryview(buffer)[received:]):
            received += count
        assert buffer == b"0123456789.."
        await ask(transport, server)
        assert server.connections == 2
