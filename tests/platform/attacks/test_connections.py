"""Connections are bounded, below the limit of open files, and each has to say something in time."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from sfjobs.platform.limits import Limits
from sfjobs.platform.server import tls
from sfjobs.platform.server.address import Certificate
from sfjobs.platform.server.connections import ConnectionCount, connection_limit
from sfjobs.platform.server.tls import TLSListener, reload_certificate, server_context
from tests.platform.attacks.neighbours import neighbours
from tests.platform.servers import ServerProcess
from tests.support.raw_server import CERTIFICATE

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

RENEWED = CERTIFICATE.with_name("renewed.pem")


def test_an_address_has_a_share_and_all_have_a_total() -> None:
    count = ConnectionCount(4)
    assert [count.enter("10.0.0.1"), count.enter("10.0.0.1")] == [None, None]
    own = count.enter("10.0.0.1")
    assert own is not None
    assert own.status_code == 429
    assert [count.enter("10.0.0.2"), count.enter("::1")] == [None, None]
    everyone = count.enter("10.0.0.3")
    assert everyone is not None
    assert (everyone.status_code, (everyone.headers or {})["retry-after"]) == (503, "5")
    count.leave("10.0.0.1")
    assert count.enter("10.0.0.3") is None
    assert count.open == 4


def test_a_proxy_on_this_machine_may_have_all_connections() -> None:
    count = ConnectionCount(4)
    assert [count.enter("127.0.0.1") for _ in range(4)] == [None] * 4


@pytest.mark.skipif(sys.platform == "win32", reason="limits of open files")
@pytest.mark.parametrize("files", [256, 1024, 1_000_000])
def test_connections_downloads_and_workers_fit_below_the_limit_of_open_files(
    monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (files, files))
    limits = Limits()
    connections = connection_limit(limits, workers=2)
    downloads = min(connections, 4 * limits.downloads)
    assert connections + downloads + 3 * 8 < files
    assert connection_limit(Limits(connections=20), workers=2) == 20


async def answer(platform: Any, sent: bytes = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n") -> bytes:
    async with await anyio.connect_tcp(platform.host, platform.port) as stream:
        await stream.send(sent)
        received = b""
        while b"\r\n\r\n" not in received:
            try:
                received += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                break
        return received


async def test_idle_connections_do_not_use_up_the_files_of_the_platform(tmp_path: Path) -> None:
    """They were accepted until no file could be opened: no result, no worker, no database for anyone."""
    async with neighbours(tmp_path, limits=Limits(connections=20)) as both:
        assert (await both.bystander.get("/healthz")).status_code == 200  # this connection stays open
        with ExitStack() as stack:
            address = (both.platform.host, both.platform.port)
            idle = [stack.enter_context(socket.create_connection(address)) for _ in range(30)]
            refused = await answer(both.platform)
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 5" in refused
            assert (await both.bystander.get("/healthz")).status_code == 200
            assert len(idle) == 30
        with anyio.fail_after(30):
            while not (await answer(both.platform)).startswith(b"HTTP/1.1 401 "):  # noqa: ASYNC110 - as a client does
                await anyio.sleep(0.05)


@pytest.mark.parametrize(
    "head",
    [b"GET /healthz HTTP/1.1", b"GET /healthz HTTP/1.1\r\nhost: x\r\nhost: y", b"GET / HTTP/1.0\r\nHost: x\r\nhost: x"],
)
@pytest.mark.parametrize("parser", ["httptools", "h11"])
async def test_a_missing_or_doubled_host_is_a_400(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes, parser: str
) -> None:
    """A proxy before the platform may have judged by the other one."""
    if parser == "h11":
        monkeypatch.setitem(sys.modules, "sfjobs.platform.server.http_protocols.httptools_protocol", None)
    async with neighbours(tmp_path) as both:
        assert (await answer(both.platform, head + b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


# TLS


class Echo(asyncio.Protocol):
    """Sends back what it receives."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave

    def connection_lost(self, _: Exception | None) -> None:
        self._leave()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@asynccontextmanager
async def listening(context: ssl.SSLContext, count: ConnectionCount) -> AsyncIterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = asyncio.create_task(TLSListener(listener, context, count, Echo).serve())
        try:
            yield listener.getsockname()
        finally:
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)


async def certificate_of(address: tuple[str, int]) -> bytes | None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(*address, ssl=context)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    found: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return found


def der(path: Path) -> bytes:
    text = path.read_text()
    start, end = text.index("-----BEGIN CERTIFICATE"), text.index("-----END CERTIFICATE-----")
    return ssl.PEM_cert_to_DER_cert(text[start:end] + "-----END CERTIFICATE-----\n")


async def test_a_handshake_that_does_not_come_is_ended_and_counted_until_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_TIMEOUT_SECONDS", 0.5)
    count = ConnectionCount(3)
    async with listening(server_context(Certificate(CERTIFICATE, CERTIFICATE)), count) as address:
        with ExitStack() as stack, anyio.fail_after(30):
            silent = [stack.enter_context(socket.create_connection(address)) for _ in range(3)]
            while count.open < 3:  # noqa: ASYNC110 - there is no event of it
                await asyncio.sleep(0.01)
            extra = stack.enter_context(socket.create_connection(address))
            for connection in [extra, *silent]:
                connection.setblocking(False)
                with suppress(ConnectionResetError):
                    assert await asyncio.get_running_loop().sock_recv(connection, 1) == b""
            while count.open:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.01)
            assert await certificate_of(address) == der(CERTIFICATE)


async def test_what_is_no_tls_ends_its_connection_only() -> None:
    count = ConnectionCount(3)
    async with listening(server_context(Certificate(CERTIFICATE, CERTIFICATE)), count) as address:
        for _ in range(10):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await reader.read()
            writer.close()
        assert await certificate_of(address) == der(CERTIFICATE)


async def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "server.pem"
    file.write_bytes(CERTIFICATE.read_bytes())
    pair = Certificate(file, file)
    context = server_context(pair)
    async with listening(context, ConnectionCount(10)) as address:
        assert await certificate_of(address) == der(CERTIFICATE)
        file.write_text("half a file")
        reload_certificate(context, pair)
        assert "stays in use" in caplog.text
        assert await certificate_of(address) == der(CERTIFICATE)
        file.write_bytes(RENEWED.read_bytes())
        reload_certificate(context, pair)
        assert await certificate_of(address) == der(RENEWED)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_a_hangup_reads_the_certificate_again_and_stops_nothing(tmp_path: Path) -> None:
    file = tmp_path / "server.pem"
    file.write_bytes(CERTIFICATE.read_bytes())
    server = ServerProcess(tmp_path / "data", tls=file)
    platform = server.ready()
    address = (platform.host, platform.port)

    async def served() -> bytes:
        text = await anyio.to_thread.run_sync(lambda: ssl.get_server_certificate(address))
        return ssl.PEM_cert_to_DER_cert(text)

    assert await served() == der(CERTIFICATE)
    file.write_bytes(RENEWED.read_bytes())
    server.signal(signal.SIGHUP)
    with anyio.fail_after(60):
        while await served() != der(RENEWED):  # noqa: ASYNC110 - as a client does
            await anyio.sleep(0.05)
    context = ssl.create_default_context(cafile=str(RENEWED))
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        assert (await client.get(f"https://localhost:{platform.port}/openapi.json")).status_code == 200
    assert server.stop(signal.SIGTERM)[0] == 0
