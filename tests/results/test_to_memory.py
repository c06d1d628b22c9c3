"""Receiving a body into memory: its format, chunks of every size, both backends, and the limits."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import numpy as np
import pytest

from sfjobs.errors import ResultCorruptError, ResultTooLargeError, TransportError
from sfjobs.results import Result, receive
from sfjobs.results.download.to_memory import HEAD_BYTES, INLINE_BYTES
from tests.results.test_npy import ARRAYS, LIMIT, assert_same, npy, with_header
from tests.results.test_npz import SAMPLES, SAVERS, archive, npz, streamed
from tests.support.byte_source import ChunkedSource, pieces

URL = "https://platform.example/jobs/7/result"


async def decoded(data: bytes, *, size: int = 1 << 16, max_bytes: int = LIMIT, length: int | None = None) -> Result:
    return await receive(ChunkedSource(pieces(data, size), length=length), max_bytes=max_bytes, job_id="7", url=URL)


@pytest.mark.parametrize("name", ARRAYS)
async def test_an_npy_body_is_the_samples(name: str) -> None:
    result = await decoded(npy(ARRAYS[name]))
    assert_same(result.raw, ARRAYS[name])


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_an_npz_body_is_outputs_and_metadata(saver: str, size: int) -> None:
    result = await decoded(npz(saver, SAMPLES, SAMPLES[:3], cutoff=np.array(5)), size=size)
    assert_same(result.raw, SAMPLES)
    assert [output.shape for output in result.outputs] == [(50, 8), (3, 8)]
    assert dict(result.metadata) == {"cutoff": 5}


@pytest.mark.parametrize("size", [1, 5, 6, 7])
async def test_an_npy_body_may_arrive_byte_by_byte(size: int) -> None:
    result = await decoded(npy(SAMPLES), size=size)
    assert_same(result.raw, SAMPLES)


async def test_empty_chunks_at_the_start_are_skipped() -> None:
    chunks = [b"", npy(SAMPLES)[:3], b"", npy(SAMPLES)[3:]]
    assert_same((await receive(ChunkedSource(chunks), max_bytes=LIMIT)).raw, SAMPLES)


async def test_the_result_knows_its_job() -> None:
    assert (await decoded(npy(SAMPLES))).job_id == "7"


def named(body: bytes) -> str:
    return body[:20].decode("latin-1") or "empty"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"P",
        b"PK",
        b"\x93NUM",
        b"<html><body>502 Bad Gateway",
        b'{"code": "not-found"}',
        b"\x1f\x8b\x08",
        b"\0" * 99,
    ],
    ids=named,
)
async def test_any_other_body_is_corrupt(body: bytes) -> None:
    with pytest.raises(ResultCorruptError):
        await decoded(body)


async def test_an_error_names_the_job_and_the_url() -> None:
    with pytest.raises(ResultCorruptError) as caught:
        await decoded(b"<html>")
    assert (caught.value.job_id, caught.value.url) == ("7", URL)
    assert "job 7" in str(caught.value)
    assert URL in str(caught.value)


async def test_an_error_quotes_the_beginning_of_the_body_without_control_characters() -> None:
    with pytest.raises(ResultCorruptError, match=r"begins with: <html>\.\.\[31mred"):
        await decoded(b"<html>\n\x1b[31mred" + b"x" * 1000)


@pytest.mark.parametrize("body", [npy(SAMPLES), npz("stored", SAMPLES), npz("deflated", SAMPLES)], ids=["npy", *SAVERS])
@pytest.mark.parametrize("wrong_by", [-1, 1])
async def test_a_body_of_another_length_than_declared_is_corrupt(body: bytes, wrong_by: int) -> None:
    with pytest.raises(ResultCorruptError):
        await decoded(body, length=len(body) + wrong_by)


@pytest.mark.parametrize("body", [npy(SAMPLES), npz("stored", SAMPLES), npz("deflated", SAMPLES)], ids=["npy", *SAVERS])
async def test_a_truncated_body_is_corrupt(body: bytes) -> None:
    with pytest.raises(ResultCorruptError):
        await decoded(body[:-1])


@pytest.mark.parametrize("body", [npy(SAMPLES), npz("stored", SAMPLES), npz("deflated", SAMPLES)], ids=["npy", *SAVERS])
@pytest.mark.parametrize("chunks", [1, 2], ids=["at once", "later"])
async def test_a_body_with_bytes_behind_it_is_corrupt(body: bytes, chunks: int) -> None:
    with pytest.raises(ResultCorruptError, match="bytes follow the end"):
        await receive(ChunkedSource([body, b"\n"] if chunks == 2 else [body + b"\n"]), max_bytes=LIMIT)


@pytest.mark.parametrize("body", [npy(SAMPLES), npz("stored", SAMPLES), npz("deflated", SAMPLES)], ids=["npy", *SAVERS])
async def test_a_body_above_the_limit_is_too_large(body: bytes) -> None:
    with pytest.raises(ResultTooLargeError, match="limit of"):
        await decoded(body, max_bytes=SAMPLES.nbytes - 1)


@pytest.mark.parametrize("start", [npy(SAMPLES), npz("stored", SAMPLES)], ids=["npy", "npz"])
async def test_a_declared_length_far_above_the_limit_is_refused_without_reading_on(start: bytes) -> None:
    source = ChunkedSource([start[:100], *[start[100:]] * 10], length=1 << 40)
    with pytest.raises(ResultTooLargeError):
        await receive(source, max_bytes=LIMIT)
    assert source.taken == 100


async def test_an_archive_that_inflates_without_end_is_stopped_at_the_limit() -> None:
    body = streamed(("arr_0.npy", npy(SAMPLES)), compression=zipfile.ZIP_DEFLATED)
    start = body.index(b"arr_0.npy") + len(b"arr_0.npy") + 20
    empty_blocks = b"\0\0\0\xff\xff" * 10_000
    source = ChunkedSource(itertools.chain([body[:start]], itertools.repeat(empty_blocks)))
    with pytest.raises(ResultTooLargeError, match="the body has more than"):
        await receive(source, max_bytes=1000)
    assert source.taken < 6 << 20


@pytest.mark.real_time
@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("size", [10_000, 1 << 16, 1 << 24])
async def test_a_large_archive_is_read(saver: str, size: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, 4 * INLINE_BYTES + 100_000, np.uint8).reshape(-1, 4)
    data = npz(saver, noise, SAMPLES, noise[1:], noise[2:].T)
    result = await decoded(data, size=size, max_bytes=1 << 24, length=len(data))
    for output, expected in zip(result.outputs, [noise, SAMPLES, noise[1:], noise[2:].T], strict=True):
        assert_same(output, expected)


@pytest.mark.real_time
async def test_a_small_archive_of_a_large_array_is_read() -> None:
    zeros = np.zeros((INLINE_BYTES, 3), np.uint8)
    assert_same((await decoded(npz("deflated", zeros), max_bytes=1 << 22)).raw, zeros)


@pytest.mark.real_time
@pytest.mark.parametrize("saver", SAVERS)
async def test_a_damaged_large_archive_is_corrupt(saver: str) -> None:
    data = bytearray(npz(saver, np.random.default_rng(0).integers(0, 9, 4 * INLINE_BYTES, np.uint8)))
    data[INLINE_BYTES] ^= 1
    with pytest.raises(ResultCorruptError, match=r"job 7.*arr_0\.npy.*damaged") as caught:
        await decoded(bytes(data), max_bytes=1 << 23)
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, zlib.error)


@cache
def deflated_in_several_pieces() -> bytes:
    data = npz("deflated", np.random.default_rng(0).integers(0, 9, 6 * INLINE_BYTES, np.uint8))
    assert len(data) > 2 * INLINE_BYTES + HEAD_BYTES
    return data


@pytest.mark.real_time
async def test_a_source_that_fails_while_a_thread_inflates_raises_its_own_error() -> None:
    data = deflated_in_several_pieces()

    def breaking() -> Iterator[bytes]:
        yield data[: 2 * INLINE_BYTES]
        raise TransportError("the connection broke")

    with pytest.raises(TransportError, match="the connection broke"):
        await receive(ChunkedSource(breaking()), max_bytes=1 << 25)


@pytest.mark.real_time
async def test_a_thread_inflates_while_the_next_piece_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = deflated_in_several_pieces()
    check_cancelled, read = anyio.from_thread.check_cancelled, threading.Event()
    read_beside = False

    def wait_for_the_reader() -> None:
        nonlocal read_beside
        read_beside = read.wait(10)
        check_cancelled()

    def chunks() -> Iterator[bytes]:
        yield data[: INLINE_BYTES + HEAD_BYTES]
        yield data[INLINE_BYTES + HEAD_BYTES : 2 * INLINE_BYTES]
        read.set()
        yield data[2 * INLINE_BYTES :]

    monkeypatch.setattr(anyio.from_thread, "check_cancelled", wait_for_the_reader)
    await receive(ChunkedSource(chunks()), max_bytes=1 << 25)
    assert read_beside


@pytest.mark.parametrize("saver", SAVERS)
async def test_a_small_archive_needs_no_thread(saver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyio.to_thread, "run_sync", None)
    arrays = [np.zeros(INLINE_BYTES, np.uint8), *[np.zeros(INLINE_BYTES // 2, np.uint8)] * 3]
    assert len((await decoded(npz(saver, *arrays), max_bytes=1 << 24)).outputs) == 4


BODIES = {
    "npy": npy(SAMPLES),
    "large npy": npy(np.zeros(3 * INLINE_BYTES, np.uint8)),
    **{saver: npz(saver, SAMPLES, SAMPLES[1:]) for saver in SAVERS},
    **{f"large {saver}": npz(saver, np.zeros(3 * INLINE_BYTES, np.uint8), SAMPLES) for saver in SAVERS},
}


@pytest.mark.real_time
@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("size", [5000, 1 << 20])
async def test_a_resumed_body_is_compared_with_its_digest(name: str, size: int) -> None:
    digest = hashlib.sha256(BODIES[name]).digest()
    source = ChunkedSource(pieces(BODIES[name], size), digest=digest, is_resumed=True)
    assert (await receive(source, max_bytes=1 << 23)).outputs


@pytest.mark.real_time
@pytest.mark.parametrize("name", BODIES)
async def test_a_resumed_body_of_another_digest_is_corrupt(name: str) -> None:
    source = ChunkedSource(pieces(BODIES[name], 5000), digest=bytes(32), is_resumed=True)
    with pytest.raises(ResultCorruptError, match=r"job 7.*SHA-256"):
        await receive(source, max_bytes=1 << 23, job_id="7", url=URL)


async def test_only_a_resumed_body_is_hashed() -> None:
    source = ChunkedSource([npy(SAMPLES)], digest=bytes(32))
    assert_same((await receive(source, max_bytes=LIMIT)).raw, SAMPLES)


@pytest.mark.parametrize(
    "body",
    [
        with_header("s3cret", b""),
        with_header("{'descr': 's3cret', 'fortran_order': False, 'shape': ()}", b""),
        archive(("s3cret.txt", b"")),
    ],
    ids=["header", "type", "name"],
)
async def test_a_quotation_from_within_the_body_is_masked(body: bytes) -> None:
    with pytest.raises(ResultCorruptError) as caught:
        await receive(ChunkedSource([body]), max_bytes=LIMIT, mask=lambda quoted: quoted.replace(b"s3cret", b"***"))
    assert "***" in str(caught.value)
    assert "s3cret" not in str(caught.value)


async def test_a_quotation_is_masked_before_it_is_cut() -> None:
    secret = b"s3cret" * 20
    source = ChunkedSource([b"<html>" + secret + b"</html>"])
    with pytest.raises(ResultCorruptError, match=r"begins with: <html>\*\*\*</html>$"):
        await receive(source, max_bytes=LIMIT, mask=lambda quoted: quoted.replace(secret, b"***"))


@pytest.mark.real_time
async def test_cancelling_stops_the_unpacking_of_a_large_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    check_cancelled = anyio.from_thread.check_cancelled
    asked = 0

    def cancel_and_check() -> None:
        nonlocal asked
        asked += 1
        anyio.from_thread.run_sync(scope.cancel)
        check_cancelled()

    monkeypatch.setattr(anyio.from_thread, "check_cancelled", cancel_and_check)
    with anyio.CancelScope() as scope:
        await decoded(npz("deflated", np.zeros(16 << 20, np.uint8)), max_bytes=1 << 30)
    assert scope.cancelled_caught
    assert asked == 1


PEAK = """
import asyncio, sys
from sfjobs.results import receive

class Source:
    length = None

    def __init__(self, file):
        self.file = file

    async def read_into(self, room):
        return self.file.readinto(room[: 1 << 16])

def kib(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))

async def main():
    base = kib("VmRSS")
    with open(sys.argv[1], "rb", buffering=0) as file:
        result = await receive(Source(file), max_bytes=1 << 30)
    assert result.raw.nbytes == 64 << 20
    print((kib("VmHWM") - base) * 1024 / (64 << 20))

asyncio.run(main())
"""

LARGE = np.zeros(64 << 20, np.uint8)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("kind", "most"), [("npy", 1.05), ("stored", 1.10), ("deflated", 1.15)])
def test_the_peak_of_a_large_body_is_the_array_itself(kind: str, most: float, tmp_path: Path) -> None:
    """
    Measured in a new process, above its memory before. Not by ru_maxrss: a child inherits it from its parent, which hides any
    peak below that of the test run.
    """
    path = tmp_path / "body"
    path.write_bytes(npy(LARGE) if kind == "npy" else npz(kind, LARGE))
    command = [sys.executable, "-c", PEAK, str(path)]
    found = float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)
    assert 0.9 < found < most
