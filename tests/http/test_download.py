"""Broken downloads: resumed where the platform offers that, otherwise started again, and never mixed."""

from __future__ import annotations

import base64
import hashlib

import anyio
import httpx
import numpy as np
import pytest

from sfjobs._http.download import Download
from sfjobs._http.messages import Request
from sfjobs._http.retry import Retry
from sfjobs._http.transport import Transport
from sfjobs.errors import (
    ConnectionClosedError,
    RequestTimeoutError,
    ResponseError,
    ResultCorruptError,
    ServerError,
    TransportError,
)
from tests.support.fake_platform import FakePlatform, npy, refusal

# trio warns of generators that are dropped half-way: httpx nests several and closes none of them.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object ByteStream")

SAMPLES = np.random.default_rng(5).integers(0, 256, (100, 97), np.uint8)
BODY = npy(SAMPLES)
JOB = "c1b2-job"
RESULT = f"/jobs/{JOB}/result"
WHOLE = Request(method="GET", path=RESULT, expect=frozenset({200}))

WEAK = {"etag": 'W/"v1"'}
NO_RANGES = {"accept-ranges": "none"}


def platform_with(body: bytes = BODY, *, cuts: list[int] | None = None, **headers: str) -> FakePlatform:
    platform = FakePlatform()
    platform.add(id=JOB, ends_at=0.0)
    platform.offers_ranges = True
    platform.result, platform.cuts, platform.result_headers = body, cuts or [], headers
    return platform


def transport_to(platform: FakePlatform, **settings: float) -> Transport:
    return Transport(platform.settings(**settings), transport=httpx.MockTransport(platform.handle))


def asked(platform: FakePlatform) -> list[httpx.Request]:
    return [request for request in platform.requests if request.url.path == RESULT]


async def read(download: Download, size: int = 1 << 16) -> bytes:
    received, buffer = bytearray(), memoryview(bytearray(size))
    while count := await download.read_into(buffer):
        received += buffer[:count]
    return bytes(received)


# -- resumed --


@pytest.mark.parametrize("cut", [0, 1, 5, 64, 128, len(BODY) // 2, len(BODY) - 1], ids=str)
async def test_a_broken_download_resumes_where_it_was(cut: int) -> None:
    platform = platform_with(cuts=[cut])
    async with platform.connection() as connection:
        result = await connection.get_job_result(JOB)
    assert np.array_equal(result.samples, SAMPLES)
    assert platform.body_bytes == len(BODY)
    first, second = asked(platform)
    assert "range" not in first.headers
    assert second.headers["range"] == f"bytes={cut}-"
    assert second.headers["if-range"].startswith('"')


async def test_a_body_without_a_declared_length_resumes_and_learns_its_length() -> None:
    platform = platform_with(cuts=[5000], **{"transfer-encoding": "chunked"})
    async with transport_to(platform).download(WHOLE) as download:
        assert download.length is None
        assert await read(download) == BODY
        assert download.length == len(BODY)


async def test_a_download_has_the_metadata_of_the_whole_body() -> None:
    digest = hashlib.sha256(BODY).digest()
    platform = platform_with(cuts=[7000], etag='"v1"')
    async with transport_to(platform).download(WHOLE) as download:
        assert (download.etag, download.digest, download.length) == ('"v1"', digest, len(BODY))
        assert not download.is_resumed
        await read(download)
        assert download.is_resumed


@pytest.mark.parametrize(
    ("headers", "etag"),
    [({"etag": "v1"}, None), (WEAK, None), ({"etag": '"v 1"'}, None), ({"etag": '""'}, '""')],
    ids=str,
)
async def test_only_a_strong_entity_tag_counts(headers: dict[str, str], etag: str | None) -> None:
    async with transport_to(platform_with(**headers)).download(WHOLE) as download:
        assert download.etag == etag


DIGEST = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("field", "digest"),
    [
        (f"sha-256=:{DIGEST}:", bytes(32)),
        (f"sha-512=:{DIGEST * 2}:, sha-256=:{DIGEST}:", bytes(32)),
        (f"sha-256=:{DIGEST[4:]}:", None),
        (f"sha-256=:{'=' * 44}:", None),
        (f"sha-256={DIGEST}", None),
        (f"x-sha-256=:{DIGEST}:", None),
        ("", None),
    ],
)
async def test_only_a_valid_digest_is_read(field: str, digest: bytes | None) -> None:
    async with transport_to(platform_with(**{"repr-digest": field})).download(WHOLE) as download:
        assert download.digest == digest


# -- how often --


async def test_a_download_that_makes_progress_never_runs_out_of_attempts() -> None:
    platform = platform_with(cuts=[200] * (len(BODY) // 200))
    async with platform.connection(retries=2) as connection:
        result = await connection.get_job_result(JOB)
    assert np.array_equal(result.samples, SAMPLES)
    assert platform.body_bytes == len(BODY)
    assert len(asked(platform)) > 40


async def test_a_download_without_progress_runs_out_of_attempts() -> None:
    platform = platform_with(cuts=[200, 200, *[0] * 99])
    async with platform.connection(retries=3) as connection:
        with pytest.raises(TransportError, match=f"{RESULT}: .*reset by peer") as caught:
            await connection.get_job_result(JOB)
    assert caught.value.attempts == 3
    assert len(asked(platform)) == 2 + 2


async def test_a_restart_is_no_progress() -> None:
    platform = platform_with(cuts=[5000] * 99, **NO_RANGES)
    async with platform.connection(retries=4) as connection:
        with pytest.raises(TransportError) as caught:
            await connection.get_job_result(JOB)
    assert caught.value.attempts == 4
    assert len(asked(platform)) == 4


async def test_a_body_that_always_changes_is_an_error() -> None:
    platform = platform_with(cuts=[5000, 2000] * 99)

    async def changing(request: httpx.Request) -> None:
        if request.url.path == RESULT and len(asked(platform)) % 3 == 0:
            platform.result = npy(SAMPLES + np.uint8(len(asked(platform))))

    platform.trouble = changing
    async with platform.connection(retries=4) as connection:
        with pytest.raises(TransportError, match="changed meanwhile") as caught:
            await connection.get_job_result(JOB)
    assert caught.value.attempts == 4
    assert len(asked(platform)) == 4 * 3


async def test_retry_after_delays_the_request_for_the_rest() -> None:
    platform = platform_with(cuts=[5000])
    platform.trouble = refusing_ranges(503, **{"retry-after": "7"})
    async with platform.connection() as connection:
        await connection.get_job_result(JOB)
    _, refused, last = platform.times_of(RESULT)
    assert last - refused == pytest.approx(7, abs=0.01)
    assert platform.body_bytes == len(BODY)


@pytest.mark.parametrize("headers", [{}, NO_RANGES], ids=["ranges", "no ranges"])
async def test_a_pause_comes_before_the_next_attempt(headers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Retry.pause.__kwdefaults__, "draw", lambda: 1.0)
    platform = platform_with(cuts=[5000, 0], **headers)
    async with platform.connection() as connection:
        await connection.get_job_result(JOB)
    first, second, third = platform.times_of(RESULT)
    assert (second - first, third - second) == pytest.approx((0.5, 1.0), abs=0.01)


def refusing_ranges(status: int, times: int = 1, **headers: str):  # type: ignore[no-untyped-def]
    left = [status] * times

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        return refusal(left.pop(), "busy", "", **headers) if left and "range" in request.headers else None

    return trouble


async def test_a_pause_beyond_the_callers_deadline_gives_the_real_error_at_once() -> None:
    platform = platform_with(cuts=[5000])
    platform.trouble = refusing_ranges(503, 9, **{"retry-after": "7"})
    async with platform.connection() as connection:
        with anyio.fail_after(5), pytest.raises(ServerError) as caught:
            await connection.get_job_result(JOB)
    assert caught.value.attempts == 2


@pytest.mark.parametrize("status", [404, 416])
async def test_a_refused_range_request_reaches_the_caller(status: int) -> None:
    platform = platform_with(cuts=[5000])
    platform.trouble = refusing_ranges(status, 9)
    async with platform.connection() as connection:
        with pytest.raises(ResponseError) as caught:
            await connection.get_job_result(JOB)
    assert caught.value.status_code == status
    assert len(asked(platform)) == 2


async def test_a_token_that_expires_during_a_download_is_renewed() -> None:
    platform = platform_with(cuts=[5000])

    async def expiring(request: httpx.Request) -> None:
        if "range" in request.headers and platform.token_requests == 1:
            platform.revoke_tokens()

    platform.trouble = expiring
    async with platform.connection() as connection:
        result = await connection.get_job_result(JOB)
    assert np.array_equal(result.samples, SAMPLES)
    assert platform.token_requests == 2
    assert platform.body_bytes == len(BODY)


# -- started again --


@pytest.mark.parametrize("headers", [NO_RANGES, WEAK, {"etag": ""}, {"accept-ranges": "lines"}], ids=str)
async def test_a_download_without_ranges_starts_again(headers: dict[str, str]) -> None:
    platform = platform_with(cuts=[5000, 6000], **headers)
    async with platform.connection() as connection:
        result = await connection.get_job_result(JOB)
    assert np.array_equal(result.samples, SAMPLES)
    assert platform.body_bytes == 5000 + 6000 + len(BODY)
    assert all("range" not in request.headers for request in asked(platform))


async def test_a_changed_body_starts_again_and_is_never_mixed() -> None:
    other = SAMPLES[::-1].copy()
    platform = platform_with(cuts=[5000])

    async def changing(request: httpx.Request) -> None:
        if "range" in request.headers:
            platform.result = npy(other)

    platform.trouble = changing
    async with platform.connection() as connection:
        result = await connection.get_job_result(JOB)
    assert np.array_equal(result.samples, other)


def part(start: int, stop: int, total: int) -> dict[str, str]:
    return {"content-range": f"bytes {start}-{stop - 1}/{total}", "content-length": str(stop - start)}


LIES = {
    "no word of which part": {"content-range": ""},
    "parts of several kinds": {"content-range": "", "content-type": "multipart/byteranges; boundary=x"},
    "other units": {"content-range": f"lines 5000-{len(BODY) - 1}/{len(BODY)}"},
    "a part before": part(4999, len(BODY), len(BODY)),
    "a part behind": part(5001, len(BODY), len(BODY)),
    "not all of the rest": part(5000, len(BODY) - 1, len(BODY)),
    "another whole": part(5000, len(BODY) + 1, len(BODY) + 1),
    "an unknown whole": {"content-range": f"bytes 5000-{len(BODY) - 1}/*"},
    "another length": {"content-length": "17"},
    "another entity tag": {"etag": '"another"'},
    "a weak entity tag": {"etag": 'W/"v1"'},
    "another digest": {"repr-digest": f"sha-256=:{DIGEST}:"},
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("times", [1, 99])
async def test_a_mismatching_range_is_not_used_as_the_rest(lie: str, times: int) -> None:
    platform = platform_with(cuts=[5000] if times == 1 else [5000, 10**6] * 99)
    left = [LIES[lie]] * times

    async def lying(request: httpx.Request) -> httpx.Response | None:
        if not left or "range" not in request.headers:
            return None
        response = platform._answer(request)
        response.headers.update(left.pop())
        return response

    platform.trouble = lying
    async with platform.connection(retries=3) as connection:
        if times == 1:
            result = await connection.get_job_result(JOB)
            assert np.array_equal(result.samples, SAMPLES)
            assert len(asked(platform)) == 3
        else:
            with pytest.raises(TransportError, match="it broke off after 5000 bytes, and ") as caught:
                await connection.get_job_result(JOB)
            assert caught.value.attempts == 3
            assert len(asked(platform)) == 6


async def test_a_mismatching_response_frees_its_slot() -> None:
    platform = platform_with(cuts=[5000])
    transport = transport_to(platform)
    async with transport.download(WHOLE) as download:
        platform.result = npy(SAMPLES[::-1])
        with pytest.raises(TransportError, match="changed meanwhile"):
            await read(download)
        assert not transport._slots["bulk"].statistics().borrowed_tokens


@pytest.mark.parametrize("headers", [{}, NO_RANGES], ids=["ranges", "no ranges"])
async def test_a_body_shorter_than_declared_is_incomplete(headers: dict[str, str]) -> None:
    platform = platform_with(**headers)

    async def ending_early(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != RESULT or len(asked(platform)) > 1:
            return None
        response = platform._answer(request)
        response.stream = httpx.ByteStream(BODY[:5000])
        return response

    platform.trouble = ending_early
    async with platform.connection() as connection:
        result = await connection.get_job_result(JOB)
    assert np.array_equal(result.samples, SAMPLES)
    assert platform.body_bytes == len(BODY) - (0 if headers else 5000)


async def test_a_wrong_digest_is_a_corrupt_result() -> None:
    platform = platform_with(cuts=[5000], **{"repr-digest": f"sha-256=:{DIGEST}:"})
    async with platform.connection() as connection:
        with pytest.raises(ResultCorruptError, match="SHA-256"):
            await connection.get_job_result(JOB)


async def test_a_download_that_cannot_resume_raises_and_is_closed() -> None:
    platform = platform_with(cuts=[5000], **NO_RANGES)
    async with transport_to(platform).download(WHOLE) as download:
        with pytest.raises(TransportError, match="reset by peer"):
            await read(download)
        with pytest.raises(ConnectionClosedError):
            await read(download)


# -- its pace --


@pytest.mark.parametrize("headers", [{}, NO_RANGES], ids=["ranges", "no ranges"])
async def test_a_slow_drip_is_no_progress(headers: dict[str, str]) -> None:
    platform = platform_with(bytes(100_000), **headers)
    platform.drip = 3.0  # for a thousand bytes
    transport = transport_to(platform, attempt_timeout=10, retries=3)

    async def consume(response: object, download: Download) -> bytes:
        return await read(download)

    started = anyio.current_time()
    with pytest.raises(RequestTimeoutError, match=r"only \d{4} bytes came in 12 s") as caught:
        await transport.receive(WHOLE, consume)
    assert caught.value.attempts == 3
    assert anyio.current_time() - started == pytest.approx(3 * 12, abs=1.5)


async def test_a_slow_drip_that_breaks_off_is_no_progress() -> None:
    platform = platform_with(npy(np.zeros(100_000, np.uint8)), cuts=[2000] * 99)
    platform.drip = 3.0
    async with platform.connection(attempt_timeout=10, retries=3) as connection:
        with pytest.raises(TransportError, match="reset by peer"):
            await connection.get_job_result(JOB)
    assert len(asked(platform)) == 3


async def test_a_slow_download_that_is_complete_is_no_failure() -> None:
    platform = platform_with(BODY, etag='"v1"')
    platform.drip = 1.0  # for each of 101 pieces
    async with transport_to(platform, attempt_timeout=100.5, read_timeout=10).download(WHOLE) as download:
        assert await read(download) == BODY
    assert len(asked(platform)) == 1


async def test_the_time_of_the_consumer_does_not_count() -> None:
    platform = platform_with()
    async with transport_to(platform, attempt_timeout=10).download(WHOLE) as download:
        received, buffer = bytearray(), memoryview(bytearray(97))
        while count := await download.read_into(buffer):
            received += buffer[:count]
            await anyio.sleep(100)
    assert bytes(received) == BODY
    assert len(asked(platform)) == 1


# -- left in the middle --


@pytest.mark.parametrize("headers", [{}, {"transfer-encoding": "chunked"}], ids=["length", "chunks"])
async def test_a_cancelled_read_can_be_continued(headers: dict[str, str]) -> None:
    platform = platform_with(**headers)
    platform.drip = 0.05
    received, buffer, has_ended = bytearray(), memoryview(bytearray(1000)), False
    async with transport_to(platform).download(WHOLE) as download:
        while not has_ended:
            with anyio.move_on_after(1.2):
                while count := await download.read_into(buffer):
                    received += buffer[:count]
                has_ended = True
    assert bytes(received) == BODY
    assert platform.body_bytes == len(BODY)
    assert len(asked(platform)) > 3


@pytest.mark.usefixtures("no_slow_start")
async def test_cancelled_downloads_free_their_slots() -> None:
    platform = platform_with(cuts=[5000] * 48)
    platform.drip = 1.0
    async with platform.connection() as connection:
        with anyio.move_on_after(51.6):
            async with anyio.create_task_group() as group:
                for _ in range(64):
                    group.start_soon(connection.get_job_result, JOB)
        platform.latency, platform.most_in_flight = 1.0, 0
        async with anyio.create_task_group() as group:
            for _ in range(64):
                group.start_soon(connection.create_job, "simulon_gaussian", "MeasureFock() | [0, 1]")
    assert platform.most_in_flight == 32


async def test_closing_the_connection_ends_a_download() -> None:
    platform = platform_with(cuts=[5000])
    platform.trouble = refusing_ranges(503, 9, **{"retry-after": "7"})
    connection = platform.connection()
    async with anyio.create_task_group() as group:

        async def close() -> None:
            await anyio.sleep(3)
            await connection.aclose()

        group.start_soon(close)
        with pytest.raises(ConnectionClosedError):
            await connection.get_job_result(JOB)


async def test_a_download_closed_while_it_resumes_frees_its_slot() -> None:
    platform = platform_with(cuts=[0])
    platform.latency = 1.0
    transport = transport_to(platform)
    async with transport.download(WHOLE) as download, anyio.create_task_group() as group:

        async def close() -> None:
            await anyio.sleep(0.9)  # after the pause
            await download.aclose()

        group.start_soon(close)
        with pytest.raises(ConnectionClosedError, match="this download"):
            await read(download)
        assert len(asked(platform)) == 2
        assert not transport._slots["bulk"].statistics().borrowed_tokens


# -- what must not be seen, and what must not be touched --


async def test_a_body_is_not_searched_for_secrets() -> None:
    platform = platform_with()
    platform.valid_tokens.add("N")  # as in NUMPY
    async with platform.connection(access_token="N") as connection:
        result = await connection.get_job_result(JOB)
    assert np.array_equal(result.samples, SAMPLES)


@pytest.mark.parametrize("before", [0, 20, 45])
async def test_an_error_quotes_neither_a_secret_nor_its_beginning(before: int) -> None:
    platform = platform_with()

    async def repeating(request: httpx.Request) -> httpx.Response | None:
        said = "x" * before + request.headers.get("authorization", "").removeprefix("Bearer ") + " is yours"
        return httpx.Response(200, text=said) if request.url.path == RESULT else None

    platform.trouble = repeating
    async with platform.connection() as connection:
        with pytest.raises(ResultCorruptError, match=r"\*\*\*") as caught:
            await connection.get_job_result(JOB)
    assert "token-" not in str(caught.value)
    assert "token-" not in caught.value.message
