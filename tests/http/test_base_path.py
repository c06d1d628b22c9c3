"""A path in the url is the base path of every request, link, feed, download and token. No redirect leads out of it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

import sfjobs
from sfjobs import Connection, Settings, sync
from sfjobs._http.links import path_of
from sfjobs._http.redirects import destination
from sfjobs.platform import Platform
from tests.support.both_transports import BOTH
from tests.support.fake_platform import KEY, FakePlatform
from tests.support.feeding_platform import FeedingPlatform
from tests.support.prefix_proxy import PrefixProxy, prefix_proxy
from tests.support.raw_server import Peer, raw_server

JOB_ID = "1" * 36
PROGRAM = "name v\nversion 1.0\n\nVac | 0\nMeasureFock() | 0\n"


@pytest.mark.parametrize(
    ("base", "request_path", "link", "expected"),
    [
        ("", "/jobs", "/jobs?after=1", "/jobs?after=1"),
        ("", "/jobs", "https://other.test/jobs?after=1", "/jobs?after=1"),
        ("", "/jobs", "?after=1", "/jobs?after=1"),
        ("", "/jobs", "jobs?after=1", "/jobs?after=1"),
        ("", "/jobs/1", "changes?since=1", "/jobs/changes?since=1"),
        ("", "/jobs", "/api/jobs?after=1", "/api/jobs?after=1"),
        # as a gateway rewrites them, as a platform writes them that does not know of the gateway, and relative ones
        ("/photonics", "/jobs", "/photonics/jobs?after=1", "/jobs?after=1"),
        ("/photonics", "/jobs", "https://gateway.test/photonics/jobs?after=1", "/jobs?after=1"),
        ("/photonics", "/jobs?after=0", "/photonics/jobs?after=1", "/jobs?after=1"),
        ("/photonics", "/jobs", "/jobs?after=1", "/jobs?after=1"),
        ("/photonics", "/jobs", "http://10.0.0.7:8080/jobs?after=1", "/jobs?after=1"),
        ("/photonics", "/jobs", "?after=1", "/jobs?after=1"),
        ("/photonics", "/jobs", "jobs/changes?since=e.1", "/jobs/changes?since=e.1"),
        ("/photonics", "/jobs/1", "changes?since=e.1", "/jobs/changes?since=e.1"),
        ("/photonics", "/jobs/1", "/jobs/changes", "/jobs/changes"),
        ("/photonics", "/jobs/1", "/photonics/jobs/changes", "/jobs/changes"),
        # the platform has another base path behind the gateway
        ("/photonics", "/jobs", "/internal/v1/jobs?after=1", "/jobs?after=1"),
        ("/photonics", "/jobs", "/feed?since=1", "/feed?since=1"),
        ("/photonics", "/jobs", "/photonics/feed?since=1", "/feed?since=1"),
        # a base path that looks like the platform's own paths, or begins like another word
        ("/jobs", "/jobs", "/jobs/jobs?after=1", "/jobs?after=1"),
        ("/jobs", "/jobs", "/jobs?after=1", "/jobs?after=1"),
        ("/jobs", "/jobs", "/jobs/changes?since=1", "/jobs/changes?since=1"),
        ("/jobs", "/jobs", "/jobs/jobs/changes?since=1", "/jobs/changes?since=1"),
        ("/job", "/jobs", "/jobs?after=1", "/jobs?after=1"),
        ("/a/b", "/jobs", "/a/b/jobs?after=1", "/jobs?after=1"),
        ("/a/b", "/jobs", "/a/b/v2/jobs?after=1", "/v2/jobs?after=1"),
        ("/photonics", "/jobs", "", None),
        ("/photonics", "/jobs", "https://[gateway/jobs", None),
        ("/photonics", "/jobs", "/photonics/jobs?name=a b", None),
    ],
)
def test_a_link_leads_to_a_path_of_the_platform(base: str, request_path: str, link: str, expected: str | None) -> None:
    url = f"https://gateway.test{base}{request_path}"
    assert path_of(link, url=url, path=request_path, base_path=base) == expected


@pytest.mark.parametrize(
    ("location", "is_followed"),
    [
        ("https://gateway.test/photonics/jobs/", True),
        ("/photonics/v2/jobs", True),
        ("jobs/", True),
        ("https://gateway.test/photonics/../admin", False),
        ("https://gateway.test/photonics/%2e%2E/admin", False),
        ("https://gateway.test/photonics/..%2Fadmin", False),
        ("/photonics", False),
        ("/photonics-two/jobs", False),
        ("/login", False),
        ("/", False),
        ("https://other.test/photonics/jobs", False),
        ("http://gateway.test/photonics/jobs", False),
    ],
)
def test_a_redirect_out_of_the_base_path_is_not_followed(location: str, is_followed: bool) -> None:
    found = destination("https://gateway.test/photonics/jobs", location, "/photonics")
    assert found is not None
    assert found.is_same_platform == is_followed


class Gateway(FeedingPlatform):
    """A platform under a base path. ``link_base`` stands before the links of its responses."""

    def __init__(self, base_path: str, link_base: str) -> None:
        super().__init__()
        self.base_path = base_path
        self.link_base = link_base
        self.outside: list[str] = []

    async def handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        if not path.startswith(f"{self.base_path}/"):
            self.outside.append(path)
            return httpx.Response(404)
        inner = request.url.copy_with(raw_path=path.removeprefix(self.base_path).encode())
        answer = await super().handle(
            httpx.Request(request.method, inner, headers=request.headers, content=request.content)
        )
        if link := answer.headers.get("link"):
            answer.headers["link"] = link.replace("</", f"<{self.link_base}/")
        return answer


@pytest.mark.parametrize("url", ["https://gateway.test/photonics", "https://gateway.test/photonics/"])
@pytest.mark.parametrize("link_base", ["/photonics", "", "https://gateway.test/photonics", "/internal/v1"])
async def test_a_feed_and_pages_are_read_below_the_base_path(url: str, link_base: str) -> None:
    platform = Gateway("/photonics", link_base)
    jobs = [platform.add(ends_at=5.0 + number) for number in range(250)]
    settings = Settings(url=url, api_key=KEY)
    async with Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        assert len([job async for job in connection.list_jobs()]) == 250
        watched = [sfjobs.Job(job.id, "queued", connection) for job in jobs[:5]]
        assert await sfjobs.wait_all(watched, fetch_results=False) == ["complete"] * 5
        job = await connection.create_job("simulon_gaussian", PROGRAM, shots=1)
        await job.cancel()
        assert (await watched[0].fetch_result()).shots == 3
    assert len(platform.streams) >= 1
    assert platform.outside == []
    assert platform.token_requests == 1


@pytest.fixture(params=[True, False], ids=["links are rewritten", "links are handed on"])
def gateway(request: pytest.FixtureRequest, platform: Platform) -> Iterator[PrefixProxy]:
    with prefix_proxy(platform.url, "/photonics/lab%201", rewrites=request.param) as proxy:
        yield proxy


@pytest.mark.real_time
@pytest.mark.parametrize("http", BOTH)
async def test_the_embedded_platform_works_behind_a_gateway(
    http: str, gateway: PrefixProxy, platform: Platform
) -> None:
    settings = Settings(url=f"{gateway.url}/", api_key=platform.api_key, http=http)  # type: ignore[arg-type]
    async with Connection(settings=settings) as connection:
        assert await connection.ping()
        assert await connection.list_devices()
        jobs = [job async for job in connection.create_jobs("simulon_gaussian", [PROGRAM] * 120, shots=2)]
        assert await sfjobs.wait_all(jobs, timeout=60) == ["complete"] * 120
        assert jobs[0].result.samples.shape == (2, 1)
        assert len([job async for job in connection.list_jobs(limit=150)]) >= 120
        assert "Vac" in await connection.get_job_circuit(jobs[0].id)
    assert gateway.outside == []
    assert "GET /jobs/changes" in gateway.paths
    assert sum(path.endswith("/openid-connect/token") for path in gateway.paths) == 1


@pytest.mark.real_time
def test_the_blocking_twin_works_behind_a_gateway(gateway: PrefixProxy, platform: Platform) -> None:
    with sync.Connection(gateway.url, api_key=platform.api_key) as connection:
        assert connection.create_job("simulon_gaussian", PROGRAM, shots=3).wait(timeout=60) == "complete"
    assert gateway.outside == []


@pytest.mark.real_time
async def test_our_own_transport_writes_the_base_path_before_a_query() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append((await peer.read_request()).split(b"\r\n")[0])
        await peer.send(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{"data":[]}')

    async with raw_server(script) as server:
        settings = Settings(url=f"{server.url}/photonics/", access_token="a-token")
        async with Connection(settings=settings) as connection:
            assert [job async for job in connection.list_jobs(limit=7)] == []
    assert seen == [b"GET /photonics/jobs?size=7 HTTP/1.1"]


# -- redirects -----------------------------------------------------------------------------------------------------------


def redirecting(location: str, status: int) -> FakePlatform:
    platform = FakePlatform()

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/token"):
            return httpx.Response(200, json={"access_token": "a-token-that-must-never-be-seen"})
        url = location.replace("{path}", request.url.raw_path.decode())
        return httpx.Response(status, headers={"location": url})

    platform.trouble = trouble
    return platform


@pytest.mark.parametrize(
    ("url", "location", "expected"),
    [
        ("http://gw.test/lab", "https://gw.test{path}", "Set url (SFJOBS_URL) to https://gw.test/lab"),
        ("https://gw.test", "/lab{path}", "Set url (SFJOBS_URL) to https://gw.test/lab"),
        ("https://gw.test/lab", "https://other.test/v2{path}", "set url (SFJOBS_URL) to https://other.test/v2/lab"),
        ("https://gw.test/lab", "/login?to={path}", "outside of the path /lab, another party"),
        ("https://gw.test/lab", "{path}?again=1", "Check url (SFJOBS_URL)."),
    ],
)
async def test_a_redirected_write_names_the_url_with_its_path(url: str, location: str, expected: str) -> None:
    platform = redirecting(location, 308)
    settings = Settings(url=url, api_key=KEY)
    async with Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        with pytest.raises(sfjobs.ProtocolError) as caught:
            await connection.cancel_job(JOB_ID)
    assert expected.replace("{path}", "") in str(caught.value)


async def test_a_read_is_not_redirected_out_of_the_base_path() -> None:
    platform = redirecting("/login", 302)
    settings = Settings(url="https://gw.test/lab", api_key=KEY)
    async with Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        with pytest.raises(sfjobs.ProtocolError, match="no token is sent"):
            await connection.get_job(JOB_ID)
    assert "/login" not in {request.url.path for request in platform.requests}
