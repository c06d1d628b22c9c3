"""The same connections through TLS: trust, the handshake, and cancelled reads."""

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


@pytest.mark.usefixtures("http")
async def test_requests_go_through_one_tls_connection() -> None:
    async with raw_server(serving(ANSWER), tls=tls_context()) as server:
        async with Connection(settings=trusted(server.url)) as connection:
            for _ in range(3):
                assert (await connection.get_job("c1b2-job")).status == "queued"
        assert server.connections == 1


@pytest.mark.usefixtures("http")
async def test_the_handshake_names_the_host_and_offers_http_1_1_only() -> None:
    seen: list[object] = []
    context = tls_context()
    context.sni_callback = lambda _secured, host, _context: seen.append(host)
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def script(peer: Peer) -> None:
        seen.append(peer.alpn_protocol)
        await peer.read_request()
        await peer.send(ANSWER)

    async with raw_server(script, tls=context) as server, Connection(settings=trusted(server.url)) as connection:
        await connection.get_job("c1b2-job")
    assert seen == ["localhost", "http/1.1"]


@pytest.mark.usefixtures("http")
async def test_an_untrusted_certificate_fails_before_a_request_is_sent() -> None:
    async with (
        raw_server(serving(ANSWER), tls=tls_context()) as server,
        Connection(settings=settings_for(server.url)) as connection,
    ):
        with pytest.raises(TransportError, match=r"could not be reached.*CERTIFICATE_VERIFY_FAILED") as caught:
            await connection.ping()
        await server.has_open(0)
    assert not caught.value.sent


@pytest.mark.usefixtures("http")
async def test_a_certificate_for_another_host_fails_before_a_request_is_sent() -> None:
    async with raw_server(serving(ANSWER), tls=tls_context()) as server:
        url = server.url.replace("localhost", "127.0.0.1")
        async with Connection(settings=trusted(url)) as connection:
            with pytest.raises(TransportError, match=r"could not be reached.*127\.0\.0\.1") as caught:
                await connection.ping()
    assert not caught.value.sent


@pytest.mark.usefixtures("http")
async def test_a_server_without_tls_cannot_be_reached() -> None:
    async def plain(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.hung_up()

    async with raw_server(plain) as server:
        settings = settings_for(server.url.replace("http:", "https:"))
        async with Connection(settings=settings) as connection:
            with pytest.raises(TransportError, match="could not be reached") as caught:
                await connection.ping()
    assert not caught.value.sent


@pytest.mark.usefixtures("http")
async def test_a_handshake_without_a_response_times_out() -> None:
    async def silent(peer: Peer) -> None:
        await peer.hung_up()

    async with raw_server(silent) as server:
        settings = settings_for(server.url.replace("http:", "https:"), connect_timeout=0.05)
        async with Connection(settings=settings) as connection:
            with pytest.raises(RequestTimeoutError, match=r"could not be reached for 0\.05 s") as caught:
                await connection.ping()
            await server.has_open(0)
    assert not caught.value.sent


async def test_long_bodies_are_sent_and_received() -> None:
    arrived: list[bytes] = []

    async def script(peer: Peer) -> None:
        arrived.append((await peer.read_request()).partition(b"\r\n\r\n")[2])
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LONG) + LONG)
        await peer.hung_up()

    async with raw_server(script, tls=tls_context()) as server:
        transport = DirectTransport(trusting())
        response = await transport.handle_async_request(httpx.Request("POST", server.url, content=LONG * 4))
        assert await response.aread() == LONG
        await transport.aclose()
    assert arrived == [LONG * 4]


@pytest.mark.parametrize("buffer", [None, 10_000, 1_000_000], ids=str)
async def test_reads_cancelled_while_data_arrives_lose_no_bytes(
    buffer: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "YIELD_BYTES", 20_000)

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LONG))
        for start in range(0, len(LONG), 50_000):
            await peer.send(LONG[start : start + 50_000])
        await peer.hung_up()

    async with raw_server(script, tls=tls_context()) as server:
        transport = DirectTransport(trusting())
        body = (await transport.handle_async_request(httpx.Request("GET", server.url))).stream
        assert isinstance(body, ResponseBody)
        read, cut = bytearray(), 0

        async def reader() -> None:
            nonlocal cut
            cut += 1
            if buffer is None:
                read.extend(await body.read())
            else:
                piece = bytearray(buffer)
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


@pytest.mark.usefixtures("http")
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


async def test_extra_bytes_in_the_last_record_close_the_connection() -> None:
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


async def test_a_record_can_be_read_in_parts() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"hello")
        await peer.hung_up()

    async with raw_server(script, tls=tls_context()) as server:
        stream = await connect("localhost", int(server.url.rpartition(":")[2]), trusting())
        with anyio.fail_after(5):
            assert [await stream.receive(2) for _ in range(3)] == [b"he", b"ll", b"o"]
        stream.close()


async def test_records_are_read_into_a_buffer_together_up_to_its_size() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(LONG[:50_000])
        await peer.hung_up()

    async with raw_server(script, tls=tls_context()) as server:
        stream = await connect("localhost", int(server.url.rpartition(":")[2]), trusting())
        buffer, count = bytearray(50_000), 0
        with anyio.fail_after(5):
            while count < 40_000:
                count += await stream.receive_into(memoryview(buffer)[count:40_000])
            assert not any(buffer[40_000:])
            while count < 50_000:
                count += await stream.receive_into(memoryview(buffer)[count:])
        assert buffer == LONG[:50_000]
        stream.close()


async def test_the_end_after_the_last_record_is_found_by_the_next_read() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"hello")

    async with raw_server(script, tls=tls_context()) as server:
        stream = await connect("localhost", int(server.url.rpartition(":")[2]), trusting())
        await server.has_open(0)
        buffer = memoryview(bytearray(100))
        assert [await stream.receive_into(buffer) for _ in range(3)] == [5, 0, 0]
        stream.close()
