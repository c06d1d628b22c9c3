"""Results over HTTP: whole, by range, by condition, in both formats, and with what a client needs to verify and to resume."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import shutil
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest

from sfjobs.platform import Platform, PlatformSettings, serving
from sfjobs.platform.api.file_response import CHUNK_BYTES
from sfjobs.platform.api.routes.account import TOKEN_PATH
from sfjobs.platform.results.folder import ResultFolder
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.stand_ins import ARRAY, PROGRAM, Bench, add_job, new_job, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

NPY, NPZ = {"accept": "application/x-numpy"}, {"accept-version": "0.4.0"}
FORMATS = pytest.mark.parametrize("format_", [NPY, NPZ], ids=["npy", "npz"])
MEBIBYTES = 210
READERS = 40


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path, automatic=True) as bench:
        yield bench


@pytest.fixture
async def path(bench: Bench, client: httpx.AsyncClient) -> str:
    job_id = (await client.post("/jobs", json={"circuit": PROGRAM})).json()["id"]
    await bench.store.ended(job_id)
    return f"/jobs/{job_id}/result"


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


@FORMATS
async def test_a_whole_result_says_all_that_is_to_be_known_of_it(
    client: httpx.AsyncClient, path: str, format_: dict[str, str]
) -> None:
    response = await client.get(path, headers=format_)
    assert response.status_code == 200
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.headers["etag"] == f'"{sha256(response.content).hex()}"'
    assert response.headers["repr-digest"] == f"sha-256=:{base64.b64encode(sha256(response.content)).decode()}:"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["vary"] == "accept, accept-version"


async def test_each_format_is_what_it_says(client: httpx.AsyncClient, path: str) -> None:
    array, archive = await client.get(path, headers=NPY), await client.get(path, headers=NPZ)
    np.testing.assert_array_equal(np.load(io.BytesIO(array.content)), ARRAY)
    np.testing.assert_array_equal(np.load(io.BytesIO(archive.content))["arr_0"], ARRAY)
    assert (array.headers["content-type"], archive.headers["content-type"]) == (
        "application/x-numpy",
        "application/zip",
    )


@FORMATS
@pytest.mark.parametrize("asked", ["0-0", "5-17", "100-", "-9", "100-999999"])
async def test_a_range_is_those_bytes_and_the_digest_of_the_whole(
    client: httpx.AsyncClient, path: str, format_: dict[str, str], asked: str
) -> None:
    whole = await client.get(path, headers=format_)
    response = await client.get(path, headers={**format_, "range": f"bytes={asked}"})
    size = len(whole.content)
    first, _, last = asked.partition("-")
    start = int(first) if first else size - int(last)
    stop = min(int(last) + 1, size) if first and last else size
    assert (response.status_code, response.content) == (206, whole.content[start:stop])
    assert response.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    assert int(response.headers["content-length"]) == stop - start
    for name in ("etag", "repr-digest", "accept-ranges", "vary", "cache-control", "content-type"):
        assert response.headers[name] == whole.headers[name]


@FORMATS
async def test_a_range_beyond_the_end_is_an_error_that_tells_the_size(
    client: httpx.AsyncClient, path: str, format_: dict[str, str]
) -> None:
    size = len((await client.get(path, headers=format_)).content)
    response = await client.get(path, headers={**format_, "range": f"bytes={size}-"})
    assert (response.status_code, response.headers["content-range"]) == (416, f"bytes */{size}")
    assert (response.json()["status_code"], response.json()["code"]) == (416, "range-not-satisfiable")


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=x", "lines=0-1"])
async def test_several_ranges_and_nonsense_get_the_whole(client: httpx.AsyncClient, path: str, asked: str) -> None:
    response = await client.get(path, headers={"range": asked})
    assert response.status_code == 200
    assert sha256(response.content).hex() in response.headers["etag"]
    assert "content-range" not in response.headers


async def test_a_range_goes_on_only_in_the_same_bytes(client: httpx.AsyncClient, path: str) -> None:
    """An archive must not be continued with bytes of the array."""
    etag = (await client.get(path, headers=NPZ)).headers["etag"]
    headers = {"range": "bytes=4-7", "if-range": etag}
    same, other = await client.get(path, headers=NPZ | headers), await client.get(path, headers=NPY | headers)
    assert (same.status_code, other.status_code) == (206, 200)


@FORMATS
async def test_what_a_client_has_is_not_sent_again(
    client: httpx.AsyncClient, path: str, format_: dict[str, str]
) -> None:
    etag = (await client.get(path, headers=format_)).headers["etag"]
    response = await client.get(path, headers={**format_, "if-none-match": etag, "range": "bytes=0-1"})
    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)
    assert (await client.head(path, headers={**format_, "if-none-match": etag})).status_code == 304
    assert (await client.get(path, headers={**format_, "if-none-match": '"other"'})).status_code == 200


@FORMATS
async def test_head_is_get_without_the_bytes_and_knows_no_ranges(
    client: httpx.AsyncClient, path: str, format_: dict[str, str]
) -> None:
    got = await client.get(path, headers=format_)
    for headers in ({}, {"range": "bytes=0-1"}, {"range": "bytes=99999-"}):
        response = await client.head(path, headers=format_ | headers)
        assert (response.status_code, response.content, response.headers) == (200, b"", got.headers)


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=0-1"}])
@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        pytest.param(Path.unlink, (410, "result-missing"), id="missing"),
        pytest.param(lambda path: path.write_bytes(b"PK"), (500, "server-error"), id="shorter"),
    ],
)
async def test_a_lost_result_is_an_error_that_tells_nothing_of_the_inside(
    bench: Bench,
    client: httpx.AsyncClient,
    tmp_path: Path,
    path: str,
    damage: Callable[[Path], object],
    expected: tuple[int, str],
    headers: dict[str, str],
) -> None:
    record = bench.store.job(path.split("/")[2])
    assert record is not None
    assert record.result is not None
    file = tmp_path / record.result.name
    damage(file)
    response = await client.get(path, headers=headers)
    assert (response.status_code, response.json()["code"]) == expected
    assert file.name not in response.text
    assert set(response.headers) == {"content-type", "content-length"}


# over sockets, with a result that does not fit into any buffer


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, str]]:
    """Return a platform with one job whose result has ``MEBIBYTES``, and the id of the job."""
    settings = PlatformSettings(data_dir=tmp_path_factory.mktemp("large") / "data")
    settings.results.mkdir(parents=True)

    async def complete_a_job() -> str:
        job = await add_job(store, new_job(store.ensure_account("local")))
        await store.enqueue([job.id])
        await store.start(job.id)
        samples = np.arange(MEBIBYTES << 18, dtype=np.uint32).reshape(-1, 8)
        assert await store.complete(job.id, 1, ResultFolder(settings.results).write("large.npz", samples), {})
        return job.id

    with closing(SQLiteStore(settings.database)) as store:
        job_id = asyncio.run(complete_a_job())
    with serving(settings=settings) as platform:
        yield platform, job_id


@pytest.fixture
def request_head(large: tuple[Platform, str]) -> bytes:
    platform, job_id = large
    form = {"grant_type": "refresh_token", "refresh_token": platform.api_key}
    token = httpx.post(platform.url + TOKEN_PATH, data=form, trust_env=False).json()["access_token"]
    return (
        f"GET /jobs/{job_id}/result HTTP/1.1\r\nhost: {platform.host}\r\naccept-version: 0.4.0\r\n"
        f"authorization: Bearer {token}\r\nconnection: close\r\n"
    ).encode()


def connect(platform: Platform, request: bytes) -> socket.socket:
    connection = socket.create_connection((platform.host, platform.port), timeout=60)
    connection.sendall(request)
    return connection


def read_to_the_end(connection: socket.socket) -> tuple[dict[str, str], int, str]:
    """Return the headers of the response, and the size and the SHA-256 of its body."""
    buffer, size, digest = memoryview(bytearray(1 << 20)), 0, hashlib.sha256()
    with connection, connection.makefile("rb", buffering=0) as stream:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += stream.read(1) or pytest.fail("no response")
        while count := stream.readinto(buffer):
            size += count
            digest.update(buffer[:count])
    lines = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    return {name: value for name, _, value in lines}, size, digest.hexdigest()


def test_a_large_result_arrives_unharmed_and_is_never_held(large: tuple[Platform, str], request_head: bytes) -> None:
    tracemalloc.start()
    try:
        headers, size, digest = read_to_the_end(connect(large[0], request_head + b"\r\n"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == int(headers["content-length"]) > MEBIBYTES << 20
    assert headers["etag"] == f'"{digest}"'
    assert peak < 4 << 20


def test_many_slow_clients_hold_two_chunks_each_and_delay_no_others(
    large: tuple[Platform, str], request_head: bytes
) -> None:
    tracemalloc.start()
    try:
        with ExitStack() as stack:
            for _ in range(READERS):
                assert stack.enter_context(connect(large[0], request_head + b"\r\n")).recv(1)
            _, size, _ = read_to_the_end(connect(large[0], request_head + b"\r\n"))
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > MEBIBYTES << 20
    assert peak < READERS * 2 * CHUNK_BYTES + (4 << 20)


def test_what_a_break_has_left_over_is_fetched_by_range(large: tuple[Platform, str], request_head: bytes) -> None:
    with connect(large[0], request_head + b"\r\n") as broken:
        head = b""
        while b"\r\n\r\n" not in head:
            head += broken.recv(100)
    etag = next(line for line in head.split(b"\r\n") if line.startswith(b"etag: "))[6:]
    rest = b"range: bytes=%d-\r\nif-range: %s\r\n\r\n" % (100 << 20, etag)
    headers, size, _ = read_to_the_end(connect(large[0], request_head + rest))
    whole = int(headers["content-range"].rpartition("/")[2])
    assert (headers["etag"].encode(), size) == (etag, whole - (100 << 20))


@pytest.fixture
def file(large: tuple[Platform, str]) -> Iterator[Path]:
    """Return the file of the large result, to be damaged."""
    path = large[0].data_dir / "results" / "large.npz"
    kept = path.rename(path.with_name("kept"))
    shutil.copy(kept, path)
    yield path
    kept.replace(path)


def test_a_file_that_becomes_shorter_breaks_the_connection(
    large: tuple[Platform, str], request_head: bytes, file: Path
) -> None:
    size, received = file.stat().st_size, 0
    with connect(large[0], request_head + b"\r\n") as connection:
        assert connection.recv(1)
        with file.open("r+b") as opened:
            opened.truncate(size // 2)
        with suppress(ConnectionError):
            while count := len(connection.recv(1 << 20)):
                received += count
    assert received < size
