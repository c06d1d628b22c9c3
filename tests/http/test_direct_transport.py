"""``DirectTransport`` in any ``httpx.AsyncClient``, wrapped by other transports, and other transports in a ``Connection``."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import numpy as np
import pytest

import sfjobs
from sfjobs import Connection, DirectTransport, Settings
from sfjobs.platform import Platform
from tests.support.both_transports import LEFT_GENERATORS
from tests.support.fake_platform import FakePlatform
from tests.support.raw_server import CERTIFICATE, Peer, raw_server, serving, tls_context

pytestmark = [pytest.mark.real_time, LEFT_GENERATORS]

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
PROGRAM = "name v\nversion 1.0\n\nVac | 0\nMeasureFock() | 0\n"


async def echo(peer: Peer) -> None:
    """Answer with the first line and the body of each request."""
    while True:
        head = await peer.read_head()
        is_chunked = b"chunked" in head.lower()
        request = await (peer.read_until(b"\r\n0\r\n\r\n") if is_chunked else peer.read_request())
        body = request.partition(b"\r\n\r\n")[2]
        answer = head.split(b"\r\n")[0] + b"\n" + body
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


async def test_a_client_of_httpx_uses_it_for_any_host_and_path() -> None:
    async with (
        raw_server(echo) as one,
        raw_server(echo) as two,
        httpx.AsyncClient(transport=DirectTransport()) as client,
    ):
        for _ in range(3):
            for server in (one, two):
                response = await client.get(f"{server.url}/a?b=1")
                assert (response.status_code, response.http_version) == (200, "HTTP/1.1")
                assert response.text == "GET /a?b=1 HTTP/1.1\n"
        assert (await client.post(f"{one.url}/x", content=b"y" * 200_000)).content.endswith(b"y" * 200_000)
        assert one.connections == two.connections == 1


async def test_a_body_of_unknown_length_is_sent_piece_by_piece() -> None:
    async def body() -> AsyncIterator[bytes]:
        for piece in (b"one", b"", b"two"):
            yield piece

    async with raw_server(echo) as server, httpx.AsyncClient(transport=DirectTransport()) as client:
        response = await client.post(f"{server.url}/x", content=body())
    assert response.text == "POST /x HTTP/1.1\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_compression_redirects_and_cookies_are_those_of_the_client() -> None:
    body = gzip.compress(b"hello")
    answers = [
        b"HTTP/1.1 302 Found\r\nLocation: /b\r\nSet-Cookie: c=1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
    ]

    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.read_request()
            await peer.send(answer)
        await peer.hung_up()

    client = httpx.AsyncClient(transport=DirectTransport(), follow_redirects=True)
    async with raw_server(script) as server, client:
        response = await client.get(f"{server.url}/a")
        assert (response.text, response.url.path, client.cookies["c"]) == ("hello", "/b", "1")


async def test_a_context_says_what_to_trust_and_may_have_a_certificate_of_the_client() -> None:
    theirs, ours = tls_context(), ssl.create_default_context(cafile=str(CERTIFICATE))
    theirs.load_verify_locations(CERTIFICATE)
    theirs.verify_mode = ssl.CERT_REQUIRED
    ours.load_cert_chain(CERTIFICATE)
    trusting, doubting = (httpx.AsyncClient(transport=DirectTransport(context)) for context in (ours, None))
    async with raw_server(serving(ANSWER), tls=theirs) as server, trusting, doubting:
        assert (await trusting.get(server.url)).json() == {}
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await doubting.get(server.url)


async def test_what_it_does_not_do_is_an_error_of_httpx() -> None:
    async def switching(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
        await peer.hung_up()

    async with raw_server(switching) as server, httpx.AsyncClient(transport=DirectTransport()) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(server.url, headers={"Upgrade": "websocket", "Connection": "upgrade"})
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("ftp://platform.test/")
        await server.has_open(0)


# -- other transports in a Connection ------------------------------------------------------------------------------------


class Logging(httpx.AsyncBaseTransport):
    """What many programs put around a transport: it reads each body to log it, or not."""

    def __init__(self, inner: httpx.AsyncBaseTransport, *, reads: bool) -> None:
        self.inner = inner
        self.reads = reads
        self.log: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        if self.reads and "event-stream" not in request.headers["accept"]:
            await response.aread()
        self.log.append(f"{request.method} {request.url.raw_path.decode().partition('?')[0]}")
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


class Subclass(DirectTransport):
    """It sees whole addresses."""

    seen: list[httpx.URL]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen = [*getattr(self, "seen", []), request.url]
        return await super().handle_async_request(request)


TRANSPORTS: dict[str, Callable[[], httpx.AsyncBaseTransport]] = {
    "ours": DirectTransport,
    "ours, wrapped": lambda: Logging(DirectTransport(), reads=False),
    "ours, wrapped, read": lambda: Logging(DirectTransport(), reads=True),
    "ours, inherited": Subclass,
    "httpx's": httpx.AsyncHTTPTransport,
    "httpx's, wrapped, read": lambda: Logging(httpx.AsyncHTTPTransport(), reads=True),
}


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_any_transport_fits(name: str, platform: Platform) -> None:
    transport = TRANSPORTS[name]()
    async with Connection(platform.url, api_key=platform.api_key, transport=transport) as connection:
        jobs = [job async for job in connection.create_jobs("simulon_gaussian", [PROGRAM] * 10, shots=50_000)]
        assert await sfjobs.wait_all(jobs, timeout=60) == ["complete"] * 10
        for job in jobs:
            assert np.array_equal(job.result.samples, np.zeros((50_000, 1)))
        assert len([job async for job in connection.list_jobs(ids=[job.id for job in jobs])]) == 10
    if isinstance(transport, Logging):
        assert len([line for line in transport.log if line.endswith("/result")]) == 10
    if isinstance(transport, Subclass):
        assert any(url.params.get_list("id") for url in transport.seen)


async def test_an_asgi_transport_fits() -> None:
    platform = FakePlatform()
    platform.valid_tokens.add("a-token")
    job = platform.add(status="complete")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = httpx.Request(scope["method"], f"http://asgi.test{scope['path']}", headers=scope["headers"])
        response = await platform.handle(request)
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.headers.raw})
        await send({"type": "http.response.body", "body": await response.aread()})

    settings = Settings(url="http://asgi.test", access_token="a-token")
    async with Connection(settings=settings, transport=httpx.ASGITransport(app)) as connection:
        assert (await (await connection.get_job(job.id)).fetch_result()).shots == 3


def test_a_default_connection_has_our_transport_and_the_setting_chooses_httpxs() -> None:
    assert Settings(url="http://host", api_key="key").http == "auto"
    environ = {"SFJOBS_URL": "http://host", "SFJOBS_API_KEY": "key", "SFJOBS_HTTP": "httpx"}
    assert Settings.load(environ=environ).http == "httpx"
    with pytest.raises(sfjobs.ConfigurationError, match=r"http \(from argument\) is 'curl'"):
        Settings(url="http://host", api_key="key", http="curl")  # type: ignore[arg-type]
