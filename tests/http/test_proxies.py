"""Proxies of the environment, compared with httpx."""

from __future__ import annotations

import httpx
import pytest

from sfjobs import Connection, Settings
from sfjobs._http.proxies import may_need_proxy
from tests.support.raw_server import Peer, raw_server

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
PROXY = "http://proxy.test:3128"

ENVIRONMENTS: dict[str, dict[str, str]] = {
    "none": {},
    "http": {"http_proxy": PROXY},
    "https": {"https_proxy": PROXY},
    "all": {"all_proxy": PROXY},
    "empty": {"http_proxy": "", "https_proxy": ""},
    "only exceptions": {"no_proxy": "platform.test"},
    "everything excepted": {"all_proxy": PROXY, "no_proxy": "a.test, *"},
    "this host excepted": {"all_proxy": PROXY, "no_proxy": "a.test, platform.test"},
    "this host excepted in capitals": {"all_proxy": PROXY, "no_proxy": "PLATFORM.test"},
    "its domain excepted": {"all_proxy": PROXY, "no_proxy": "test"},
    "its domain excepted with a dot": {"all_proxy": PROXY, "no_proxy": ".test"},
    "what is below it excepted": {"all_proxy": PROXY, "no_proxy": ".platform.test"},
    "another host excepted": {"all_proxy": PROXY, "no_proxy": "platform.example"},
    "a name that ends alike": {"all_proxy": PROXY, "no_proxy": "form.test"},
    "an address excepted": {"all_proxy": PROXY, "no_proxy": "192.0.2.1"},
    "another address excepted": {"all_proxy": PROXY, "no_proxy": "192.0.2.10"},
    "an address of version 6 excepted": {"all_proxy": PROXY, "no_proxy": "2001:db8::1"},
    "nothing excepted": {"all_proxy": PROXY, "no_proxy": " , "},
}
URLS = [
    "http://platform.test",
    "https://platform.test:8443",
    "http://192.0.2.1:8080",
    "http://[2001:db8::1]:8080",
]


@pytest.fixture(params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    clear(monkeypatch)
    for name, value in ENVIRONMENTS[request.param].items():
        monkeypatch.setenv(name, value)


def clear(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("url", URLS)
@pytest.mark.usefixtures("environment")
async def test_a_url_is_direct_exactly_when_httpx_would_use_no_proxy(url: str) -> None:
    async with httpx.AsyncClient(verify=False) as client:
        # httpx has no public word for it.
        proxied = client._transport_for_url(httpx.URL(url)) is not client._transport
    assert may_need_proxy(url) == proxied


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_this_machine_is_reached_without_a_proxy(host: str) -> None:
    assert not may_need_proxy(f"http://{host}:8080")


def test_a_range_of_addresses_is_left_to_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    clear(monkeypatch)
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.setenv("no_proxy", "192.0.2.0/24")
    assert may_need_proxy("http://192.0.2.1:8080")


@pytest.mark.usefixtures("http")
@pytest.mark.real_time
async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    async def proxy(peer: Peer) -> None:
        asked.append((await peer.read_request()).partition(b"\r\n")[0])
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(proxy) as server:
        clear(monkeypatch)
        monkeypatch.setenv("http_proxy", server.url)
        settings = Settings(url="http://platform.test:8080", access_token="a-token", retries=1)
        async with Connection(settings=settings) as connection:
            await connection.ping()
    assert asked == [b"GET http://platform.test:8080/healthz HTTP/1.1"]
