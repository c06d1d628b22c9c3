"""
What does not pass by itself ends a call and a wait with an error that says what to change, and what may pass does not: untrusted
certificates, redirects, unreadable responses. Through our own connections and through httpx's transport.
"""

from __future__ import annotations

import json
import re
import ssl
import sys
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Connection, Settings
from sfjobs._http.redirects import destination
from sfjobs._http.trust import tls_context as client_context
from sfjobs.errors import ConfigurationError, ProtocolError, TLSError
from tests.support.environment import clean_environment
from tests.support.fake_platform import FakePlatform, refusal
from tests.support.raw_server import CERTIFICATE, Peer, raw_server, serving, tls_context

JOB_ID = "c1b2-job"
JOB = json.dumps({"id": JOB_ID, "status": "queued", "meta": {}}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(JOB), JOB)
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def _no_authorities_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["ours", "httpx's"])
def transport(request: pytest.FixtureRequest) -> httpx.AsyncBaseTransport | None:
    return None if request.param == "ours" else httpx.AsyncHTTPTransport()


def settings_for(url: str, **more: object) -> Settings:
    return Settings(url=url, access_token="a-token-of-ours", **more)  # type: ignore[arg-type]  # whatever a test needs


# -- certificates --------------------------------------------------------------------------------------------------------


@pytest.mark.real_time
async def test_a_certificate_that_is_not_trusted_ends_a_call_and_a_wait_at_once(
    transport: httpx.AsyncBaseTransport | None,
) -> None:
    async with (
        raw_server(serving(ANSWER), tls=tls_context()) as server,
        Connection(settings=settings_for(server.url), transport=transport) as connection,
    ):
        stream = connection.create_jobs("simulon_gaussian", ["Vac | 0\nMeasureFock() | 0\n"] * 3)
        job = sfjobs.Job(JOB_ID, "queued", connection)
        for call in (partial(connection.get_job, JOB_ID), job.wait, partial(anext, stream)):
            with anyio.fail_after(5), pytest.raises(TLSError) as caught:
                await call()
            assert re.search(r"CERTIFICATE_VERIFY_FAILED.*\n.*ca_file \(SFJOBS_CA_FILE\)", str(caught.value))
            assert (caught.value.attempts, caught.value.sent, caught.value.retryable) == (1, False, False)


@pytest.mark.usefixtures("http")
@pytest.mark.real_time
async def test_a_server_without_tls_ends_a_wait_at_once() -> None:
    async def plain(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.hung_up()

    async with (
        raw_server(plain) as server,
        Connection(settings=settings_for(server.url.replace("http:", "https:"))) as connection,
    ):
        with anyio.fail_after(5), pytest.raises(TLSError, match=r"does not speak TLS.*SFJOBS_URL"):
            await sfjobs.Job(JOB_ID, "queued", connection).wait()


@pytest.mark.usefixtures("http")
@pytest.mark.real_time
@pytest.mark.parametrize("name", VARIABLES)
async def test_the_authorities_of_a_variable_are_trusted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = CERTIFICATE
    if name == "SSL_CERT_DIR":
        value = tmp_path
        (tmp_path / "ee7df3c7.0").write_bytes(CERTIFICATE.read_bytes())  # what `openssl x509 -hash` prints
    monkeypatch.setenv(name, str(value))
    async with (
        raw_server(serving(ANSWER), tls=tls_context()) as server,
        Connection(settings=settings_for(server.url)) as connection,
    ):
        assert (await connection.get_job(JOB_ID)).status == "queued"


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_variable_that_cannot_be_used_is_named_without_its_value(
    name: str, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "authorities.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(name, str(path))
    async with Connection(settings=settings_for("https://platform.test")) as connection:
        with pytest.raises(ConfigurationError, match=rf"{name}.*\n.*ca_file") as caught:
            await connection.get_job(JOB_ID)
    assert "authorities.pem" not in str(caught.value)


def test_the_setting_comes_before_the_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    assert client_context(str(CERTIFICATE)).cert_store_stats()["x509"] == 1


@pytest.mark.parametrize("has_certificates", [False, True])
def test_an_empty_store_of_the_system_is_replaced(
    has_certificates: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_certificates:
        (tmp_path / "0123abcd.0").touch()
    paths = ssl.get_default_verify_paths()._replace(cafile=None, capath=str(tmp_path))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: None)
    monkeypatch.setattr("certifi.where", lambda: str(CERTIFICATE))
    assert client_context(None).cert_store_stats()["x509"] == (0 if has_certificates else 1)


@pytest.mark.real_time
async def test_the_command_says_which_setting_to_change(tmp_path: Path) -> None:
    async with raw_server(serving(ANSWER), tls=tls_context()) as server:
        environment = clean_environment(tmp_path, SFJOBS_URL=server.url, SFJOBS_ACCESS_TOKEN="a-token")
        for words in (["ping"], ["wait", "12345678-1234-1234-1234-123456789abc"]):
            done = await anyio.run_process([sys.executable, "-m", "sfjobs", *words], env=environment, check=False)
            assert done.returncode == 5
            assert b"SFJOBS_CA_FILE" in done.stderr


# -- redirects -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "location", "expected"),
    [
        ("http://p.test/jobs", "https://p.test/jobs", "https://p.test/jobs"),
        ("http://p.test:8080/jobs?a=1", "https://p.test:8443/jobs?a=1", "https://p.test:8443/jobs?a=1"),
        ("https://p.test/jobs", "/v2/jobs#part", "https://p.test/v2/jobs"),
        ("https://p.test/jobs", "jobs/", "https://p.test/jobs/"),
        ("https://p.test/jobs", "https://P.TEST:443/", "https://P.TEST:443/"),
        ("http://p.test/jobs", "https://p.test.evil.test/jobs", None),
        ("https://p.test/jobs", "http://p.test/jobs", None),
        ("https://p.test/jobs", "https://p.test:444/jobs", None),
        ("http://p.test/jobs", "http://p.test:81/jobs", None),
        ("https://p.test/jobs", "//evil.test/jobs", None),
        ("https://p.test/jobs", "https://p.test@evil.test/jobs", None),
        ("https://p.test/jobs", "https://evil@p.test/jobs", None),
        ("https://p.test/jobs", "ftp://p.test/jobs", None),
        ("https://p.test/jobs", "https://[p.test/", None),
        ("https://p.test/jobs", "https://p.test:99999/", None),
        ("https://p.test/jobs", "/jobs\r\nx", None),
        ("https://p.test/jobs", "", None),
        ("https://p.test/jobs", None, None),
    ],
)
def test_only_redirects_within_the_platform_are_followed(url: str, location: str | None, expected: str | None) -> None:
    found = destination(url, location)
    assert (found.url if found is not None and found.is_same_platform else None) == expected


class Redirecting(FakePlatform):
    """Sends requests to other paths and hosts on, by ``location``, until they come there."""

    def __init__(self, location: str, status: int = 308) -> None:
        super().__init__()
        self.location = httpx.URL(location)
        self.status = status
        self.trouble = self.redirect

    async def redirect(self, request: httpx.Request) -> httpx.Response | None:
        if request.url.host == self.location.host and request.url.scheme == self.location.scheme:
            return None
        url = self.location.copy_with(raw_path=request.url.raw_path)
        return httpx.Response(self.status, headers={"location": str(url)})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_read_follows_the_platform_to_tls(status: int) -> None:
    platform = Redirecting("https://platform.test", status)
    platform.valid_tokens.add("a-token-of-ours")
    job = platform.add(status="complete")
    settings = settings_for("http://platform.test:8080")
    async with Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        assert await sfjobs.Job(job.id, "queued", connection).wait() == "complete"
        assert [found.id async for found in connection.list_jobs()] == [job.id]
        assert (await (await connection.get_job(job.id)).fetch_result()).shots == 3
    assert {str(request.url.copy_with(path="/", query=None)) for request in platform.requests} == {
        "http://platform.test:8080/",
        "https://platform.test/",
    }


async def test_a_write_names_the_url_to_use() -> None:
    platform = Redirecting("https://platform.test")
    settings = settings_for("http://platform.test:8080")
    async with Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        with pytest.raises(ProtocolError, match=r"GET only\nSet url \(SFJOBS_URL\) to https://platform\.test$"):
            await connection.create_job("simulon_gaussian", "Vac | 0\nMeasureFock() | 0\n", shots=1)
        with pytest.raises(ProtocolError, match=r"GET only\nSet url \(SFJOBS_URL\) to https://platform\.test$"):
            await connection.cancel_job(JOB_ID)
    assert {request.url.scheme for request in platform.requests} == {"http"}


@pytest.mark.parametrize("location", ["https://evil.test", "http://evil.test", "https://evil.platform.test"])
async def test_no_token_leaves_for_another_host_and_a_wait_ends(location: str) -> None:
    platform = Redirecting(location)
    settings = settings_for("http://platform.test:8080")
    async with Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        with pytest.raises(
            ProtocolError, match=rf"no token is sent\nIf that is the platform, set url .* to {location}"
        ):
            await connection.get_job(JOB_ID)
        with pytest.raises(ProtocolError, match="SFJOBS_URL"):
            await sfjobs.Job(JOB_ID, "queued", connection).wait()
        with pytest.raises(ProtocolError, match="SFJOBS_URL"):
            await sfjobs.Job(JOB_ID, "complete", connection).fetch_result()
    assert anyio.current_time() < 5
    assert {request.url.host for request in platform.requests} == {"platform.test"}


async def test_a_redirect_of_the_token_ends_a_wait() -> None:
    platform = Redirecting("https://platform.test")
    async with platform.connection() as connection:
        with pytest.raises(ProtocolError, match=r"Set url \(SFJOBS_URL\) to https://platform\.test"):
            await sfjobs.Job(JOB_ID, "queued", connection).wait()


async def test_redirects_that_go_round_end() -> None:
    platform = FakePlatform()

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(307, headers={"location": "/a"}) if request.method == "GET" else None

    platform.trouble = trouble
    async with platform.connection() as connection:
        with pytest.raises(ProtocolError, match="too many redirects"):
            await connection.get_job(JOB_ID)
    assert len(platform.requests) == 7


@pytest.mark.usefixtures("http")
@pytest.mark.real_time
async def test_a_redirect_to_tls_is_followed_over_our_own_connections() -> None:
    async with raw_server(serving(ANSWER), tls=tls_context()) as secure:

        async def script(peer: Peer) -> None:
            path = (await peer.read_request()).split()[1]
            await peer.send(
                b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\nLocation: %b%b\r\n\r\n" % (secure.url.encode(), path)
            )
            await peer.hung_up()

        async with raw_server(script) as plain:
            settings = settings_for(plain.url.replace("127.0.0.1", "localhost"), ca_file=str(CERTIFICATE))
            async with Connection(settings=settings) as connection:
                assert (await connection.get_job(JOB_ID)).status == "queued"
        assert secure.connections == 1


# -- unreadable responses ------------------------------------------------------------------------------------------------


async def test_the_same_unreadable_response_ends_a_wait() -> None:
    platform = FakePlatform()

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(200, text="pong") if request.url.path == "/jobs" else None

    platform.trouble = trouble
    async with platform.connection() as connection, anyio.create_task_group() as group:

        async def wait() -> None:
            with pytest.raises(
                ProtocolError, match=r"'pong' instead of JSON\. The same response came .*\n.*SFJOBS_URL"
            ):
                await sfjobs.Job(platform.add().id, "queued", connection).wait()

        for _ in range(3):
            group.start_soon(wait)
    assert 120 < anyio.current_time() < 200


async def test_the_same_unreadable_result_ends_a_wait() -> None:
    platform = FakePlatform()
    job = platform.add(status="complete")

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(204) if request.url.path.endswith("/result") else None

    platform.trouble = trouble
    async with platform.connection() as connection:
        with pytest.raises(ProtocolError, match="The same response came"):
            await sfjobs.Job(job.id, "queued", connection)
    assert anyio.current_time() < 240


async def test_an_unreadable_response_between_others_does_not_end_a_wait() -> None:
    platform, polls = FakePlatform(), 0
    job = platform.add(ends_at=1800)

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        nonlocal polls
        if request.url.path != "/jobs":
            return None
        polls += 1
        return refusal(503, "busy", "") if polls % 5 == 0 else httpx.Response(200, text="pong") if polls % 9 else None

    platform.trouble = trouble
    async with platform.connection(retries=1) as connection:
        assert await sfjobs.Job(job.id, "queued", connection).wait() == "complete"


async def test_the_same_page_ends_a_wait_after_hours() -> None:
    platform = FakePlatform()

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        page = httpx.Response(200, html="<html>Please sign in")
        return page if request.url.path == "/jobs" else None

    platform.trouble = trouble
    async with platform.connection() as connection:
        with pytest.raises(ProtocolError, match="SFJOBS_URL"):
            await sfjobs.Job(platform.add().id, "queued", connection).wait()
    assert 2 * 3600 < anyio.current_time() < 2.1 * 3600
