"""
The status of an error counts, whatever its body is like, and compressed bodies are read. Through our own connections and through
httpx's transport.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Awaitable, Callable

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Connection, Settings
from sfjobs.errors import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitedError,
    ResponseError,
    ServerError,
)
from tests.support.fake_platform import SAMPLES, FakePlatform, npz
from tests.support.raw_server import Peer, raw_server

# trio warns of generators that are dropped half-way: httpx nests several and closes none of them.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <async_generator object (AsyncIteratorByteStream|BoundAsyncStream|ByteStream|Response)"
)

JOB_ID = "c1b2-job"
JOB = json.dumps({"id": JOB_ID, "status": "queued", "meta": {}}).encode()
ERRORS: dict[int, type[ResponseError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitedError,
    500: ServerError,
    503: ServerError,
}


def deflated(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(data) + machine.flush()


def twice(data: bytes) -> bytes:
    """Two members of gzip, and padding."""
    return gzip.compress(data[:9]) + gzip.compress(data[9:]) + bytes(20)


CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": (" X-GZip ", gzip.compress),
    "members of gzip": ("gzip", twice),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("Deflate", deflated),
    "identity": (" Identity ", bytes),
    "identity and gzip": ("identity, gzip, Identity", gzip.compress),
}


def error_body(status: int) -> bytes:
    return json.dumps({"status_code": status, "code": "a-code", "detail": "the detail", "meta": {}}).encode()


class FreshTransport(httpx.AsyncBaseTransport):
    """httpx's own, for connections one after the other that each close it."""

    def __init__(self) -> None:
        self._own: httpx.AsyncHTTPTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._own = self._own or httpx.AsyncHTTPTransport()
        return await self._own.handle_async_request(request)

    async def aclose(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            await own.aclose()


@pytest.fixture(params=["ours", "httpx's"])
def transport(request: pytest.FixtureRequest) -> httpx.AsyncBaseTransport | None:
    return None if request.param == "ours" else FreshTransport()


def head(status: int, length: int | None, *lines: str) -> bytes:
    sizes = [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([f"HTTP/1.1 {status} X", *sizes, *lines, "", ""]).encode()


async def answers(
    transport: httpx.AsyncBaseTransport | None, *responses: list[bytes]
) -> list[sfjobs.Job | ResponseError]:
    """Request a job as often as there are responses, from a server that sends the pieces of one and closes the connection."""

    def script(pieces: list[bytes]) -> Callable[[Peer], Awaitable[None]]:
        async def send(peer: Peer) -> None:
            await peer.read_request()
            for piece in pieces:
                await peer.send(piece)
                await anyio.lowlevel.checkpoint()

        return send

    outcomes: list[sfjobs.Job | ResponseError] = []
    async with raw_server(*map(script, responses)) as server:
        settings = Settings(url=server.url, access_token="a-token", retries=1)
        for _ in responses:
            async with Connection(settings=settings, transport=transport) as connection:
                try:
                    outcomes.append(await connection.get_job(JOB_ID))
                except ResponseError as error:
                    outcomes.append(error)
    return outcomes


# httpcore leaves its inner generators to the garbage collector when a body is not read to its end.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.real_time
@pytest.mark.parametrize("what", ["cut off", "a coding that cannot be read", "no gzip", "chunks that are none"])
async def test_an_error_whose_body_cannot_be_read_keeps_its_meaning(
    what: str, transport: httpx.AsyncBaseTransport | None
) -> None:
    responses = [
        {
            "cut off": [head(status, 100, "Retry-After: 7"), b'{"status_code":'],
            "a coding that cannot be read": [head(status, 2, "Content-Encoding: br", "Retry-After: 7"), b"{}"],
            "no gzip": [head(status, 2, "Content-Encoding: gzip", "Retry-After: 7"), b"{}"],
            "chunks that are none": [head(status, None, "Transfer-Encoding: chunked", "Retry-After: 7"), b"what?\r\n"],
        }[what]
        for status in ERRORS
    ]
    outcomes = await answers(transport, *responses)
    assert [type(outcome) for outcome in outcomes] == list(ERRORS.values())
    for outcome in outcomes:
        assert isinstance(outcome, ResponseError)
        if outcome.status_code != 401:  # our own words: there is no key for another token
            assert (outcome.retry_after, outcome.detail) == (7.0, "")


@pytest.mark.real_time
@pytest.mark.parametrize("coding", CODINGS)
async def test_compressed_bodies_are_read(coding: str, transport: httpx.AsyncBaseTransport | None) -> None:
    name, encoded = CODINGS[coding]
    responses = []
    for status in (200, 404, 503):
        body = encoded(JOB if status == 200 else error_body(status))
        pieces = [body[place : place + 1] for place in range(len(body))]
        responses.append([head(status, len(body), f"Content-Encoding: {name}"), *pieces])
    job, missing, busy = await answers(transport, *responses)
    assert isinstance(job, sfjobs.Job)
    assert isinstance(missing, ResponseError)
    assert isinstance(busy, ResponseError)
    assert job.status == "queued"
    assert (type(missing), missing.code, missing.detail) == (NotFoundError, "a-code", "the detail")
    assert (type(busy), busy.code, busy.detail) == (ServerError, "a-code", "the detail")


async def test_an_error_without_end_keeps_its_meaning() -> None:
    platform, body_bytes = FakePlatform(), 0

    class Endless(httpx.AsyncByteStream):
        def __aiter__(self) -> Endless:
            return self

        async def __anext__(self) -> bytes:
            nonlocal body_bytes
            await anyio.sleep(pause)
            body_bytes += size
            return b" " * size

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(404, stream=Endless()) if request.url.path == f"/jobs/{JOB_ID}" else None

    platform.trouble = trouble
    async with platform.connection() as connection:
        for pause, size in ((1.0, 1), (0.0, 2**20)):  # noqa: B007 - the body reads them
            with pytest.raises(NotFoundError):
                await connection.get_job(JOB_ID)
    assert anyio.current_time() < 20
    assert body_bytes < 20 * 2**20


@pytest.mark.parametrize("coding", CODINGS)
async def test_compressed_results_are_read(coding: str) -> None:
    name, encoded = CODINGS[coding]
    platform = FakePlatform()
    platform.offers_ranges = True
    job = platform.add(status="complete")
    platform.result = encoded(npz(SAMPLES))
    platform.result_headers = {"content-encoding": name}
    async with platform.connection() as connection:
        result = await (await connection.get_job(job.id)).fetch_result()
    assert (result.samples == SAMPLES).all()


async def test_a_compressed_result_that_breaks_off_starts_again() -> None:
    platform = FakePlatform()
    platform.offers_ranges = True
    job = platform.add(status="complete")
    platform.result = gzip.compress(npz(SAMPLES))
    platform.result_headers = {"content-encoding": "gzip"}
    platform.cuts = [50]
    async with platform.connection() as connection:
        result = await (await connection.get_job(job.id)).fetch_result()
    assert (result.samples == SAMPLES).all()


async def test_a_bomb_is_refused_in_bounded_memory() -> None:
    platform = FakePlatform()
    bomb = gzip.compress(b" " * 2**28)

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        headers = {"content-encoding": "gzip"}
        return httpx.Response(200, content=bomb, headers=headers) if request.url.path == f"/jobs/{JOB_ID}" else None

    platform.trouble = trouble
    async with platform.connection() as connection:
        with pytest.raises(ProtocolError, match="more than 16777216 bytes"):
            await connection.get_job(JOB_ID)
