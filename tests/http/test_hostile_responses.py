"""Invalid and hostile responses: each is an error that names the request, soon and with little memory."""

from __future__ import annotations

import json
import subprocess
import sys

import anyio
import httpx
import pytest

from sfjobs import Connection, Job, JobStatus, Settings
from sfjobs.errors import RequestFailedError, ResultError, TransportError
from tests.support import hostile
from tests.support.fake_platform import FakePlatform
from tests.support.hostile import CASES, JOB, OPERATIONS, Case
from tests.support.paths import ROOT
from tests.support.raw_server import JSON_HEAD, answering, raw_server, reset_at_once

# trio warns of generators that are dropped half-way: httpx nests several and closes none of them.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <async_generator object (AsyncIteratorByteStream|BoundAsyncStream|ByteStream|Response)"
)
MOST_GROWTH = 64 * 2**10
"""KiB, as getrusage counts."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_a_hostile_response_is_an_error_that_names_the_request(case: Case) -> None:
    error, platform = await hostile.run(case)
    assert type(error) is case.error
    operation = OPERATIONS[case.operation]
    assert operation.path in str(error)
    assert {request.url.host for request in platform.requests} == {"platform.test"}
    if isinstance(error, ResultError):
        assert (error.job_id, httpx.URL(error.url).path) == (JOB, operation.path)
    else:
        assert isinstance(error, RequestFailedError)
        assert (error.method, httpx.URL(error.url).path) == (operation.method, operation.path)
    assert len(str(error)) < 4000


def test_names_of_cases_are_unique() -> None:
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.real_time
def test_no_hostile_response_takes_much_memory() -> None:
    root = ROOT
    played = subprocess.run(
        [sys.executable, "-m", "tests.support.hostile"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert played.returncode == 0, played.stderr
    assert int(played.stdout) < MOST_GROWTH


# -- odd but legal: the client goes on --


def answering_polls(platform: FakePlatform, *responses: object) -> None:
    """The first polls get ``responses`` as responses, each one once."""
    left = list(responses)

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/jobs" or not left:
            return None
        response = left.pop(0)
        return httpx.Response(200, content=response if isinstance(response, bytes) else json.dumps(response).encode())

    platform.trouble = trouble


def listed(**fields: object) -> dict[str, object]:
    return {"id": JOB, "status": "queued", "meta": {}, **fields}


TOLERATED: dict[str, list[object]] = {
    "an unknown word": [{"data": [listed(status="paused")]}, {"data": [listed(status="läuft noch")]}],
    "a byte order mark": [b"\xef\xbb\xbf" + json.dumps({"data": [listed()]}).encode()],
    "UTF-16": [json.dumps({"data": [listed()]}).encode("utf-16")],
    "a key given twice": [b'{"data": [], "data": [{"id": "c1b2-job", "status": "complete", "status": "queued"}]}'],
    "foreign jobs": [{"data": [listed(id=f"other-{number}", status="complete") for number in range(300)]}],
    "the job twice": [{"data": [listed(), listed(), listed(status="open")]}],
    "no job": [{"data": []}, {"data": []}],
    "more fields than known": [
        {"data": [listed(priority=7, result_url="http://evil.test/")], "next": "http://evil.test/"}
    ],
    "a step backwards": [{"data": [listed(status="cancel_pending")]}, {"data": [listed(status="open")]}],
    "a page once": [b"<html>"],
    "pages for half a minute": [b"<html>"] * 5,
}


@pytest.mark.parametrize("responses", TOLERATED.values(), ids=TOLERATED.keys())
async def test_a_wait_survives_odd_or_transient_responses(responses: list[object]) -> None:
    platform = FakePlatform()
    platform.add(id=JOB, ends_at=anyio.current_time() + 40)
    answering_polls(platform, *responses)
    async with platform.connection() as connection:
        with anyio.fail_after(600):
            assert await Job(JOB, "queued", connection).wait() is JobStatus.COMPLETED


async def test_an_unknown_status_is_shown_unchanged() -> None:
    platform = FakePlatform()
    platform.add(id=JOB, status="paused")
    async with platform.connection() as connection:
        assert (await connection.get_job(JOB)).status == "paused"


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_a_submission_accepts_any_success_status(status: int) -> None:
    platform = FakePlatform()
    platform.submit_status = status
    async with platform.connection() as connection:
        assert (await connection.create_job("X8_01", hostile.SUBMISSION)).status == "open"


async def test_a_link_to_another_host_is_followed_on_the_platform_only() -> None:
    platform = FakePlatform()
    for number in range(150):
        platform.add(id=f"job-{number}")

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/jobs" or "after" in request.url.params:
            return None
        link = '<https://evil.test//also-evil.test/jobs?size=100&after=100>; rel="next"'
        return httpx.Response(200, json={"data": [listed()]}, headers={"link": link.replace("//also-evil.test", "")})

    platform.trouble = trouble
    async with platform.connection() as connection:
        jobs = [job async for job in connection.list_jobs()]
    assert ({request.url.host for request in platform.requests}, len(jobs)) == ({"platform.test"}, 51)


async def test_an_error_response_without_a_body_names_the_request() -> None:
    error, _ = await hostile.run(Case("", "get_job", hostile.body("", 418), TransportError))
    assert str(error) == f"GET http://platform.test:8080/jobs/{JOB} was refused with status 418"


# -- what only a socket can say --

RAW = {
    "a body cut off": JSON_HEAD + b'Content-Length: 1000\r\n\r\n{"id": "c1b2',
    "chunks cut off": JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1000\r\nabc",
    "chunks that are none": JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    "a length that is no number": JSON_HEAD + b"Content-Length: many\r\n\r\n{}",
    "a negative length": JSON_HEAD + b"Content-Length: -5\r\n\r\n{}",
    "a length beyond reading": JSON_HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    "two lengths": JSON_HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a head cut off": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "a head without end": b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 2**20,
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "bytes": bytes(range(256)) * 4,
    "nothing": b"",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "an interim response and no other": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
}


@pytest.mark.usefixtures("http")
@pytest.mark.real_time
@pytest.mark.parametrize("response", RAW.values(), ids=RAW.keys())
async def test_a_broken_or_invalid_response_is_a_transport_error(response: bytes) -> None:
    async with raw_server(answering(response)) as server:
        settings = Settings(url=server.url, access_token="a-token", retries=1)
        async with Connection(settings=settings) as connection:
            with pytest.raises(TransportError, match=f"GET {server.url}/jobs/{JOB}: the connection broke"):
                await connection.get_job(JOB)


@pytest.mark.usefixtures("http")
@pytest.mark.real_time
async def test_a_broken_response_is_requested_again() -> None:
    whole = json.dumps(listed()).encode()
    good = JSON_HEAD + b"Content-Length: %d\r\n\r\n" % len(whole) + whole
    async with raw_server(reset_at_once, answering(RAW["a body cut off"]), answering(good)) as server:
        settings = Settings(url=server.url, access_token="a-token")
        async with Connection(settings=settings) as connection:
            await connection.get_job(JOB)
    assert server.connections == 3


@pytest.mark.usefixtures("http")
@pytest.mark.real_time
async def test_a_truncated_result_is_not_a_whole_one() -> None:
    job = json.dumps(listed(status="complete")).encode()
    described = JSON_HEAD + b"Content-Length: %d\r\n\r\n" % len(job) + job
    cut = JSON_HEAD + b"Content-Length: %d\r\n\r\n" % len(hostile.WHOLE) + hostile.WHOLE[:-20]
    async with raw_server(answering(described), answering(cut)) as server:
        settings = Settings(url=server.url, access_token="a-token", retries=1)
        async with Connection(settings=settings) as connection:
            with pytest.raises(TransportError, match=f"/jobs/{JOB}/result"):
                await connection.get_job_result(JOB)
