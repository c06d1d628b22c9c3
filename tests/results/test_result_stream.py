"""ResultStream: a body in chunks, into memory or into a file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest

import sfjobs
from sfjobs import NotFoundError, ResultCorruptError, ResultStream, ResultUnavailableError, TransportError
from sfjobs.results.download.stream import CHUNK_BYTES
from tests.support.fake_platform import FakePlatform, npy, npz

# trio warns about a generator that is dropped half-way: httpx nests several and closes none of them.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object ByteStream")

JOB = "c1b2-job"
SAMPLES = np.random.default_rng(3).integers(0, 256, (50_000, 60), np.uint8)
BODY = npz(SAMPLES, cutoff=np.array(5))
SMALL = npz(SAMPLES[:1000])
"""Small enough to be hashed without a thread: virtual time has no threads."""


def platform_with(body: bytes = BODY, *, cuts: list[int] | None = None, **headers: str) -> FakePlatform:
    platform = FakePlatform()
    platform.add(id=JOB, ends_at=0.0)
    platform.offers_ranges = True
    platform.result, platform.cuts, platform.result_headers = body, cuts or [], headers
    return platform


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def chunks_of(stream: ResultStream) -> list[bytes]:
    return [chunk async for chunk in stream]


async def test_chunks_of_a_mebibyte_make_the_body() -> None:
    async with platform_with().connection() as connection, connection.open_result(JOB) as stream:
        assert stream.length == len(BODY)
        chunks = await chunks_of(stream)
    assert b"".join(chunks) == BODY
    assert [len(chunk) for chunk in chunks[:-1]] == [CHUNK_BYTES] * (len(BODY) // CHUNK_BYTES)
    assert {type(chunk) for chunk in chunks} == {bytes}


async def test_the_array_is_the_samples() -> None:
    async with platform_with().connection() as connection, connection.open_result(JOB) as stream:
        np.testing.assert_array_equal(await stream.array(), SAMPLES)


async def test_the_result_is_all_of_it() -> None:
    async with platform_with().connection() as connection, connection.open_result(JOB) as stream:
        result = await stream.result()
    np.testing.assert_array_equal(result.raw, SAMPLES)
    assert (dict(result.metadata), result.job_id) == ({"cutoff": 5}, JOB)


async def test_an_undeclared_length_is_none() -> None:
    platform = platform_with(**{"transfer-encoding": "chunked"})
    async with platform.connection() as connection, connection.open_result(JOB) as stream:
        assert stream.length is None
        np.testing.assert_array_equal(await stream.array(), SAMPLES)


USES: dict[str, Callable[[ResultStream], Awaitable[object]]] = {
    "result": lambda stream: stream.result(),
    "array": lambda stream: stream.array(),
    "save": lambda stream: stream.save("never-written.npz"),
    "loop": chunks_of,
    "step": lambda stream: anext(aiter(stream)),
}


@pytest.mark.parametrize("second", USES)
@pytest.mark.parametrize("first", ["array", "loop", "step"])
async def test_a_second_use_names_the_first_one(first: str, second: str) -> None:
    async with platform_with().connection() as connection, connection.open_result(JOB) as stream:
        await USES[first](stream)
        words = "result()" if first == "array" else "a loop over its chunks"
        with pytest.raises(
            RuntimeError, match=f"job {JOB} was already consumed by {words.replace('(', '.').replace(')', '.')}"
        ):
            await USES[second](stream)


@pytest.mark.parametrize("use", [use for use in USES if use != "save"])
async def test_outside_of_its_block_a_stream_is_not_open(use: str) -> None:
    async with platform_with().connection() as connection:
        stream = connection.open_result(JOB)
        with pytest.raises(RuntimeError, match="inside its `with` block"):
            await USES[use](stream)
        async with stream:
            pass
        with pytest.raises(RuntimeError, match="inside its `with` block"):
            await USES[use](stream)
        with pytest.raises(RuntimeError, match="inside its `with` block"):
            assert stream.length


@pytest.mark.parametrize("status", ["queued", "failed", "cancelled", "cancel_pending"])
async def test_a_job_that_has_not_completed_has_no_result_and_the_error_names_its_status(status: str) -> None:
    platform = FakePlatform()
    platform.add(id=JOB, status=status)
    async with platform.connection() as connection:
        with pytest.raises(ResultUnavailableError, match=f"job {JOB} is {status};"):
            await connection.open_result(JOB).__aenter__()
    assert platform.count("GET", f"/jobs/{JOB}/result") == 0


async def test_an_unknown_job_is_not_found() -> None:
    async with FakePlatform().connection() as connection:
        with pytest.raises(NotFoundError):
            await connection.open_result(JOB).__aenter__()


@pytest.mark.parametrize("use", ["array", "loop"])
async def test_a_broken_download_resumes(use: str) -> None:
    platform = platform_with(SMALL, cuts=[len(SMALL) // 2])
    async with platform.connection() as connection, connection.open_result(JOB) as stream:
        consumed = await USES[use](stream)
    if use == "loop":
        assert isinstance(consumed, list)
        assert b"".join(consumed) == SMALL
    else:
        np.testing.assert_array_equal(consumed, SAMPLES[:1000])  # type: ignore[arg-type]  # the type depends on the use
    assert platform.count("GET", f"/jobs/{JOB}/result") == 2


@pytest.mark.parametrize("use", ["array", "loop"])
async def test_a_resumed_body_of_another_digest_is_corrupt(use: str) -> None:
    lie = {"repr-digest": "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"}
    async with (
        platform_with(SMALL, cuts=[len(SMALL) // 2], **lie).connection() as connection,
        connection.open_result(JOB) as stream,
    ):
        with pytest.raises(ResultCorruptError, match=JOB):
            await USES[use](stream)


async def test_chunks_of_another_digest_are_corrupt() -> None:
    """Without a length, a body that broke off looks complete; and these bytes are not decoded."""
    digest = base64.b64encode(hashlib.sha256(SMALL).digest()).decode()
    platform = platform_with(SMALL[:-1000], **{"repr-digest": f"sha-256=:{digest}:"})
    async with platform.connection() as connection, connection.open_result(JOB) as stream:
        with pytest.raises(ResultCorruptError, match=f"{JOB}.*SHA-256"):
            await chunks_of(stream)


async def test_a_download_that_cannot_be_resumed_raises_a_transport_error() -> None:
    platform = platform_with(cuts=[len(BODY) // 2], **{"accept-ranges": "none"})
    async with platform.connection() as connection, connection.open_result(JOB) as stream:
        with pytest.raises(TransportError):
            await stream.array()


async def test_a_cancelled_step_loses_no_bytes() -> None:
    platform = platform_with()
    platform.drip = 0.1  # seconds for each hundredth of the body
    async with platform.connection() as connection, connection.open_result(JOB) as stream:
        chunks, cancelled = [], 0
        steps = aiter(stream)
        while True:
            with anyio.move_on_after(1) as scope:
                try:
                    chunks.append(await anext(steps))
                except StopAsyncIteration:
                    break
            cancelled += scope.cancelled_caught
    assert cancelled > 2
    assert hashlib.sha256(b"".join(chunks)).digest() == hashlib.sha256(BODY).digest()


async def test_an_abandoned_stream_releases_its_connection() -> None:
    platform = platform_with()
    async with platform.connection() as connection:
        for _ in range(40):  # more than there are connections
            async with connection.open_result(JOB) as stream:
                await anext(aiter(stream))


@pytest.mark.real_time
@pytest.mark.parametrize(("version", "name"), [("0.4.0", "r.npz"), ("0.2.0", "r.npy")])
async def test_the_body_is_saved_unchanged(version: str, name: str, tmp_path: Path) -> None:
    body = BODY if version == "0.4.0" else npy(SAMPLES)
    async with platform_with(body).connection(api_version=version) as connection, connection.open_result(JOB) as stream:
        path = await stream.save(tmp_path / name)
    assert (path, path.read_bytes()) == (tmp_path / name, body)


@pytest.mark.real_time
async def test_the_body_is_not_saved_under_the_suffix_of_another_format(tmp_path: Path) -> None:
    async with platform_with().connection() as connection, connection.open_result(JOB) as stream:
        with pytest.raises(ValueError, match=r"sends a \.npz file"):
            await stream.save(tmp_path / "r.npy")
    assert names_in(tmp_path) == []


async def test_an_unknown_suffix_consumes_no_bytes() -> None:
    async with platform_with().connection() as connection, connection.open_result(JOB) as stream:
        with pytest.raises(ValueError, match="ends in neither"):
            await stream.save("r.txt")
        np.testing.assert_array_equal(await stream.array(), SAMPLES)


async def test_an_error_that_quotes_the_body_shows_no_secret() -> None:
    platform = platform_with()

    async def repeat(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/result"):
            return httpx.Response(200, content=f"you sent {request.headers['authorization']}".encode())
        return None

    platform.trouble = repeat
    async with platform.connection() as connection, connection.open_result(JOB) as stream:
        with pytest.raises(ResultCorruptError) as caught:
            await stream.array()
    assert "you sent" in str(caught.value)
    assert "must-never-be-seen" not in str(caught.value)


# -- blocking ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def blocking() -> sfjobs.sync.Connection:
    platform = platform_with()
    return sfjobs.sync.Connection(settings=platform.settings(), transport=httpx.MockTransport(platform.handle))


@pytest.mark.real_time
def test_blocking_chunks_make_the_body(blocking: sfjobs.sync.Connection) -> None:
    with blocking, blocking.open_result(JOB) as stream:
        assert stream.length == len(BODY)
        assert b"".join(stream) == BODY
        with pytest.raises(RuntimeError, match="consumed by a loop"):
            stream.array()


@pytest.mark.real_time
def test_blocking_arrays_and_files(blocking: sfjobs.sync.Connection, tmp_path: Path) -> None:
    with blocking:
        with blocking.open_result(JOB) as stream:
            np.testing.assert_array_equal(stream.array(), SAMPLES)
        with blocking.open_result(JOB) as stream:
            assert stream.save(tmp_path / "r.npz").read_bytes() == BODY
        with pytest.raises(RuntimeError, match="inside its `with` block"):
            stream.result()
