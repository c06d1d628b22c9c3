"""
What goes wrong before a byte leaves: an error that names the variable or the setting, never its value, and a journal in which the
submission is not sent.
"""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Connection, Settings
from sfjobs._http.messages import Request
from sfjobs._http.proxies import proxy_for
from sfjobs._http.transport import Transport
from tests.support.fake_platform import FakePlatform
from tests.support.journals import states
from tests.support.raw_server import CERTIFICATE, Peer, raw_server

PASSWORD = "p4ssw0rd"
PLATFORM = "http://platform.test:8080"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def settings(**changes: object) -> Settings:
    return Settings(**{"url": PLATFORM, "access_token": "a-token", "retries": 2, **changes})  # type: ignore[arg-type]


# The value of the variable, and what the error says of it.
UNUSABLE = {
    "an unknown scheme": (f"socks://user:{PASSWORD}@proxy.test:1080", "its scheme is none of"),
    "SOCKS 4": (f"socks4://user:{PASSWORD}@proxy.test:1080", "its scheme is none of"),
    "a port beyond the last": (f"http://user:{PASSWORD}@proxy.test:99999", "a port up to 65535"),
    "the port 0": (f"http://user:{PASSWORD}@proxy.test:0", "a port up to 65535"),
    "a port that is a word": (f"http://{PASSWORD}:word", "a port up to 65535"),
    "a password with a slash": (f"http://user:{PASSWORD}/x@proxy.test:3128", "write / as %2F"),
    "a password of digits and a slash": (f"http://user:80/{PASSWORD}@proxy.test:3128", "write / as %2F"),
    "a password with a hash": (f"http://user:80#{PASSWORD}@proxy.test:3128", "# as %23"),
    "a password with a question mark": (f"http://user:80?{PASSWORD}@proxy.test:3128", "\\? as %3F"),
    "no host": (f"http://user:{PASSWORD}@:3128", "a URL with a host"),
    "half a bracket": (f"http://[::1{PASSWORD}", "a URL with a host"),
    "a control character": (f"http://{PASSWORD}\x01.test:3128", "does not accept it"),
    "a label that is too long": (f"http://\u2603{PASSWORD * 20}:3128", "does not accept it"),
}


@pytest.mark.real_time
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize(("value", "says"), UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_a_proxy_that_cannot_be_used_is_named_and_not_shown(
    variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, value)
    journal = tmp_path / "submissions.db"
    async with Connection(settings=settings(journal=str(journal))) as connection:
        with pytest.raises(sfjobs.ConfigurationError, match=f"(?s){variable}.*{says}") as caught:
            await connection.create_job("X8_01", "Vac | 0\n")
        with pytest.raises(sfjobs.ConfigurationError, match=variable):
            await sfjobs.Job("c1b2", "queued", connection).wait(timeout=60)
    assert states(journal) == ["unsent"]
    error: BaseException | None = caught.value
    while error is not None:
        assert PASSWORD not in f"{error} {error!r} {vars(error)!r}"
        assert PASSWORD.encode() not in pickle.dumps(error)
        error = error.__cause__ or error.__context__


@pytest.mark.real_time
async def test_socks_without_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"socks5://user:{PASSWORD}@proxy.test:1080")
    monkeypatch.setitem(__import__("sys").modules, "socksio", None)
    async with Connection(settings=settings()) as connection:
        with pytest.raises(sfjobs.ConfigurationError, match=r"ALL_PROXY.*SOCKS.*\n.*pip install 'sfjobs\[socks\]'"):
            await connection.ping()


@pytest.mark.usefixtures("http")
@pytest.mark.real_time
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_a_socks_proxy_is_used(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    async def socks(peer: Peer) -> None:
        stream = peer._stream
        greeting = await stream.receive()
        assert greeting[:1] == b"\x05"
        await stream.send(b"\x05\x00")
        asked.append(await stream.receive())
        await stream.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x1f\x90")
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with raw_server(socks) as server:
        monkeypatch.setenv("ALL_PROXY", server.url.replace("http", scheme))
        async with Connection(settings=settings()) as connection:
            assert await connection.ping()
    assert b"platform.test" in asked[0]


HARMLESS = {
    "the proxy of another scheme": {"HTTPS_PROXY": f"socks://:{PASSWORD}@x"},
    "exceptions that are no hosts": {"NO_PROXY": "[::1],http://[bad,a:b:c,%,::::,*x*,:"},
}


@pytest.mark.usefixtures("http")
@pytest.mark.real_time
@pytest.mark.parametrize("environment", HARMLESS.values(), ids=HARMLESS.keys())
async def test_what_does_not_concern_the_platform_does_no_harm(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def proxy(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(proxy) as server:
        for name, value in {"http_proxy": server.url, **environment}.items():
            monkeypatch.setenv(name, value)
        async with Connection(settings=settings()) as connection:
            assert await connection.ping()


@pytest.mark.parametrize(
    ("rule", "url", "is_direct"),
    [
        ("platform.test:8080", PLATFORM, True),
        ("platform.test:81", PLATFORM, False),
        ("test:8080", PLATFORM, True),
        ("http://platform.test", PLATFORM, True),
        ("https://platform.test", PLATFORM, False),
        ("all://*test", PLATFORM, True),
        ("[2001:db8::1]", "http://[2001:db8::1]:8080", True),
        ("[2001:db8::1]:8080", "http://[2001:db8::1]:8080", True),
        ("[2001:db8::1]:81", "http://[2001:db8::1]:8080", False),
        ("2001:db8:0:0::1", "http://[2001:db8::1]:8080", True),
        ("2001:db8::/32", "http://[2001:db8::1]:8080", True),
        ("192.0.2.0/24", "http://192.0.2.1:8080", True),
        ("192.0.3.0/24", "http://192.0.2.1:8080", False),
        ("", PLATFORM, False),
    ],
)
def test_exceptions_may_have_schemes_ports_brackets_and_ranges(
    rule: str, url: str, is_direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", rule)
    assert (proxy_for(url) is None) == is_direct


# -- certificates --


@pytest.mark.real_time
async def test_authorities_that_have_vanished_are_named(tmp_path: Path) -> None:
    journal = tmp_path / "submissions.db"
    copy = tmp_path / "authorities-of-mine.pem"
    shutil.copy(CERTIFICATE, copy)
    given = settings(url="https://localhost:1", ca_file=str(copy), journal=str(journal))
    copy.unlink()
    async with Connection(settings=given) as connection:
        with pytest.raises(sfjobs.ConfigurationError, match=r"ca_file.*No such file") as caught:
            await connection.create_job("X8_01", "Vac | 0\n")
    assert "authorities-of-mine" not in str(caught.value)
    assert states(journal) == ["unsent"]


@pytest.mark.real_time
async def test_a_key_log_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "no-such-folder" / "keys"))
    async with Connection(settings=settings(url="https://localhost:1")) as connection:
        with pytest.raises(sfjobs.ConfigurationError, match="SSLKEYLOGFILE") as caught:
            await connection.ping()
    assert "no-such-folder" not in str(caught.value)


# -- requests that HTTP cannot carry --


@pytest.mark.parametrize("value", ["é", "a\nb", "a\0b", "\ud800"])
async def test_a_header_that_cannot_be_sent_is_a_protocol_error(value: str) -> None:
    platform = FakePlatform()
    transport = Transport(platform.settings(), transport=httpx.MockTransport(platform.handle))
    for request in (
        Request(method="GET", path="/jobs", headers={"Last-Event-ID": value}),
        Request(method="GET", path="/jobs", headers={"Last-Event-ID": value}, lane="poll"),
    ):
        if "\n" in value or "\0" in value:
            continue  # only a transport that writes bytes refuses these
        with pytest.raises(sfjobs.ProtocolError) as caught:
            await transport.send(request)
        assert not caught.value.sent
    await transport.aclose()


@pytest.mark.real_time
@pytest.mark.parametrize("value", ["é", "a\nb", "a\0b", "\ud800"])
async def test_our_transport_refuses_the_same_headers(value: str) -> None:
    async with raw_server(lambda peer: peer.hung_up()) as server:
        transport = Transport(settings(url=server.url))
        with anyio.fail_after(20), pytest.raises(sfjobs.ProtocolError) as caught:
            await transport.send(Request(method="GET", path="/jobs", headers={"Last-Event-ID": value}))
        assert not caught.value.sent
        await transport.aclose()


@pytest.mark.real_time
@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".test"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_name_that_cannot_be_looked_up_is_an_error_of_ours(host: str, scheme: str) -> None:
    async with Connection(settings=settings(url=f"{scheme}://{host}", retries=1)) as connection:
        with pytest.raises(sfjobs.SFJobsError):
            await connection.ping()
