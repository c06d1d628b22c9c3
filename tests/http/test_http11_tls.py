"""The same connections through TLS: whom they trust, what they say, and that a read may be cut there, too."""

from __future__ import annotations

import json
import ssl

import anyio
import httpx
import pytest

from sfjobs import Connection, Settings
from sfjobs._http import tcp_stream as sockets
from sfjobs._http.http11 import DirectTransport, ResponseBody
from sfjobs._http.tcp_stream import connect
from sfjobs.errors import RequestTimeoutError, TransportError
from tests.support.raw_server import CERTIFICATE, Peer, raw_server, serving, tls_context

pytestmark = pytest.mark.real_time

JOB = json.dumps({"id": "c1b2-job", "status": "queued", "meta": {}}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(JOB), JOB)
LONG = bytes(range(256)) * 4096


def settings_for(url: str, **more: object) -> Settings:
    return Settings(url=url, access_token="a-token", retries=1, **more)  # type: ignore[arg-type]  # whatever a test needs


def trusted(url: str) -> Settings:
    return settings_for(url, ca_file=str(CERTIFICATE))


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATE)


async def test_requests_go_through_one_tls_connection() -> None:
    async with raw_server(serving(ANSWER), tls=tls_context()) as server:
        async with Connection(settings=trusted(server.url)) as connection:
            for _ in range(3):
                assert (await connection.get_job("c1b2-job")).status == "queued"
        assert server.connections == 1


async def test_the_server_is_told_the_host_and_offered_http_1_1_only() -> None:
    told: list[object] = []
    context = tls_context()
    context.sni_callback = lambda _secured, host, _context: told.append(host)
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def script(peer: Peer) -> None:
        told.append(peer.alpn_protocol)
        await peer.read_request()
        await peer.send(ANSWER)

    async with raw_server(script, tls=context) as server, Connection(settings=trusted(server.url)) as connection:
        await connection.get_job("c1b2-job")
    assert told == ["localhost", "http/1.1"]


async def test_a_certificate_that_is_not_trusted_ends_it_before_anything_is_sent() -> None:
    async with (
        raw_server(serving(ANSWER), tls=tls_context()) as server,
        Connection(settings=settings_for(server.url)) as connection,
    ):
        with pytest.raises(TransportError, match=r"could not be reached.*CERTIFICATE_VERIFY_FAILED") as caught:
            await connection.ping()
        await server.has_open(0)
    assert not caught.value.sent


async def test_a_certificate_for_another_host_ends_it_before_anything_is_sent() -> None:
    async with raw_server(serving(ANSWER), tls=tls_context()) as server:
        url = server.url.replace("localhost", "127.0.0.1")
        async with Connection(settings=trusted(url)) as connection:
            with pytest.raises(TransportError, match=r"could not be reached.*127\.0\.0\.1") as caught:
                await connection.ping()
    assert not caught.value.sent


async def test_a_server_that_speaks_no_tls_could_not_be_reached() -> None:
    async def plain(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.hung_up()

    async with raw_server(plain) as server:
        settings = settings_for(server.url.replace("http:", "https:"))
        async with Connection(settings=settings) as connection:
            with pytest.raises(TransportError, match="could not be reached") as caught:
                await connection.ping()
    assert not caught.value.sent


async def test_a_handshake_that_is_not_answered_is_given_up() -> None:
    async def silent(peer: Peer) -> None:
        await peer.hung_up()

    async with raw_server(silent) as server:
        settings = settings_for(server.url.replace("http:", "https:"), connect_timeout=0.05)
        async with Connection(settings=settings) as connection:
            with pytest.raises(RequestTimeoutError, match=r"could not be reached for 0\.05 s") as caught:
                await connection.ping()
            await server.has_open(0)
    assert not caught.value.sent


async def test_long_bodies_go_both_ways() -> None:
    arrived: list[bytes] = []

    async def script(peer: Peer) -> None:
        arrived.append((await peer.read_request()).partition(b"\r\n\r\n")[2])
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LONG) + LONG)
        await peer.hung_up()

    async with raw_server(script, tls=tls_context()) as server:
        transport = DirectTransport(server.url, trusting())
        response = await transport.handle_async_request(httpx.Request("POST", server.url, content=LONG * 4))
        assert await response.aread() == LONG
        await transport.aclose()
    assert arrived == [LONG * 4]


@pytest.mark.parametrize("room", [None, 10_000, 1_000_000], ids=str)
async def test_reads_that_are_cut_while_data_comes_in_lose_nothing(
    room: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "YIELD_BYTES", 20_000)

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LONG))
        for start in range(0, len(LONG), 50_000):
            await peer.send(LONG[start : start + 50_000])
        await peer.hung_up()

    async with raw_server(script, tls=tls_context()) as server:
        transport = DirectTransport(server.url, trusting())
        body = (await transport.handle_async_request(httpx.Request("GET", server.url))).stream
        assert isinstance(body, ResponseBody)
        read, cut = bytearray(), 0

        async def reader() -> None:
            nonlocal cut
            cut += 1
            if room is None:
                read.extend(await body.read())
            else:
                piece = bytearray(room)
                read.extend(piece[: await body.read_into(memoryview(piece))])
            cut -= 1

        while not body.has_ended:
            async with anyio.create_task_group() as group:
                group.start_soon(reader)
                for _ in range(cut % 4):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
        await transport.aclose()
    assert read == LONG
    assert cut


async def test_an_idle_connection_that_ended_is_replaced() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(ANSWER)

    async with raw_server(script, serving(ANSWER), tls=tls_context()) as server:
        async with Connection(settings=trusted(server.url)) as connection:
            await connection.get_job("c1b2-job")
            await server.has_open(0)
            await connection.get_job("c1b2-job")
        assert server.connections == 2


async def test_a_word_too_many_in_the_last_record_ends_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(JOB))
        await peer.send(JOB + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")
        await peer.hung_up()

    async with raw_server(script, serving(ANSWER), tls=tls_context()) as server:
        async with Connection(settings=trusted(server.url)) as connection:
            for _ in range(2):
                assert (await connection.get_job("c1b2-job")).status == "queued"
        assert server.connections == 2


async def test_a_record_may_be_read_in_parts() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"hello")
        await peer.hung_up()

    async with raw_server(script, tls=tls_context()) as server:
        stream = await connect("localhost", int(server.url.rpartition(":")[2]), trusting())
        with anyio.fail_after(5):
            assert [await stream.receive(2) for _ in range(3)] == [b"he", b"ll", b"o"]
        stream.close()


async def test_records_are_read_into_a_room_together_and_no_more_than_there_is_room_for() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(LONG[:50_000])
        await peer.hung_up()

    async with raw_server(script, tls=tls_context()) as server:
        stream = await connect("localhost", int(server.url.rpartition(":")[2]), trusting())
        room, taken = bytearray(50_000), 0
        with anyio.fail_after(5):
            while taken < 40_000:
                taken += await stream.receive_into(memoryview(room)[taken:40_000])
            assert not any(room[40_000:])
            while taken < 50_000:
                taken += await stream.receive_into(memoryview(room)[taken:])
        assert room == LONG[:50_000]
        stream.close()


async def test_an_end_behind_the_last_record_is_found_by_the_next_read() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"hello")

    async with raw_server(script, tls=tls_context()) as server:
        stream = await connect("localhost", int(server.url.rpartition(":")[2]), trusting())
        await server.has_open(0)
        room = memoryview(bytearray(100))
        assert [await stream.receive_into(room) for _ in range(3)] == [5, 0, 0]
        stream.close()
