"""A response body becomes a result: by its first bytes, in any chunks, on both backends, and within its limits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import anyio
import anyio.from_thread
import anyio.lowlevel
import numpy as np
import pytest

from sfjobs.errors import ResultCorruptError, ResultTooLargeError
from sfjobs.results import Result, decode
from sfjobs.results.decoding import INLINE_BYTES, SPOOL_MEMORY_BYTES
from tests.test_npy import ARRAYS, LIMIT, assert_same, npy
from tests.test_npz import SAMPLES, SAVERS, npz

URL = "https://platform.example/jobs/7/result"


async def pieces(data: bytes, size: int = 1 << 16) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(data), size):
        await anyio.lowlevel.checkpoint()
        yield data[start : start + size]


async def decoded(data: bytes, *, size: int = 1 << 16, max_bytes: int = LIMIT, length: int | None = None) -> Result:
    async with aclosing(pieces(data, size)) as chunks:
        return await decode(chunks, declared_length=length, max_bytes=max_bytes, job_id="7", url=URL)


@pytest.mark.parametrize("name", ARRAYS)
async def test_an_npy_body_is_the_samples(name: str) -> None:
    result = await decoded(npy(ARRAYS[name]))
    assert_same(result.samples, ARRAYS[name])


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_an_npz_body_is_outputs_and_metadata(saver: str, size: int) -> None:
    result = await decoded(npz(saver, SAMPLES, SAMPLES[:3], cutoff=np.array(5)), size=size)
    assert_same(result.samples, SAMPLES)
    assert [output.shape for output in result.outputs] == [(50, 8), (3, 8)]
    assert dict(result.metadata) == {"cutoff": 5}


@pytest.mark.parametrize("size", [1, 5, 6, 7])
async def test_an_npy_body_may_come_byte_by_byte(size: int) -> None:
    result = await decoded(npy(SAMPLES), size=size)
    assert_same(result.samples, SAMPLES)


async def test_empty_chunks_at_the_start_are_passed_over() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"", npy(SAMPLES)[:3], b"", npy(SAMPLES)[3:]):
            yield chunk

    result = await decode(chunks(), max_bytes=LIMIT)
    assert_same(result.samples, SAMPLES)


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


async def test_a_refusal_names_the_job_and_the_address() -> None:
    with pytest.raises(ResultCorruptError) as caught:
        await decoded(b"<html>")
    assert (caught.value.job_id, caught.value.url) == ("7", URL)
    assert "job 7" in str(caught.value)
    assert URL in str(caught.value)


async def test_a_refusal_shows_the_beginning_of_the_body_without_control_characters() -> None:
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
async def test_a_body_with_bytes_behind_it_is_corrupt(body: bytes) -> None:
    with pytest.raises(ResultCorruptError):
        await decoded(body + b"\n")


@pytest.mark.parametrize("body", [npy(SAMPLES), npz("stored", SAMPLES), npz("deflated", SAMPLES)], ids=["npy", *SAVERS])
async def test_a_body_above_the_limit_is_too_large(body: bytes) -> None:
    with pytest.raises(ResultTooLargeError, match="limit of"):
        await decoded(body, max_bytes=SAMPLES.nbytes - 1)


@pytest.mark.parametrize("start", [npy(SAMPLES), npz("stored", SAMPLES)], ids=["npy", "npz"])
async def test_a_declared_length_far_above_the_limit_is_refused_without_reading_on(start: bytes) -> None:
    taken: list[bytes] = []

    async def chunks() -> AsyncGenerator[bytes, None]:
        for chunk in [start[:100], *[start[100:]] * 10]:
            taken.append(chunk)
            yield chunk

    body = chunks()
    with pytest.raises(ResultTooLargeError):
        await decode(body, declared_length=1 << 40, max_bytes=LIMIT)
    await body.aclose()
    assert len(taken) == 1


async def test_an_endless_archive_is_cut_off_at_the_limit() -> None:
    taken = 0

    async def chunks() -> AsyncGenerator[bytes, None]:
        nonlocal taken
        yield b"PK\x03\x04"
        while True:
            taken += 1 << 16
            yield bytes(1 << 16)

    body = chunks()
    with pytest.raises(ResultTooLargeError):
        await decode(body, max_bytes=1000)
    await body.aclose()
    assert taken < 6 << 20


@pytest.mark.real_time
@pytest.mark.parametrize("saver", SAVERS)
async def test_an_archive_larger_than_the_memory_of_its_spool_is_read_from_disk(saver: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, SPOOL_MEMORY_BYTES + 100_000, np.uint8).reshape(-1, 4)
    result = await decoded(npz(saver, noise), max_bytes=1 << 24)
    assert np.array_equal(result.samples, noise)


@pytest.mark.real_time
async def test_a_small_archive_of_a_large_array_is_read() -> None:
    zeros = np.zeros((INLINE_BYTES, 3), np.uint8)
    assert_same((await decoded(npz("deflated", zeros), max_bytes=1 << 22)).samples, zeros)


@pytest.mark.real_time
async def test_a_damaged_large_archive_is_corrupt() -> None:
    data = bytearray(npz("stored", np.zeros(2 * INLINE_BYTES, np.uint8)))
    data[INLINE_BYTES] ^= 1
    with pytest.raises(ResultCorruptError, match="CRC"):
        await decoded(bytes(data), max_bytes=1 << 22)


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
import numpy as np
from sfjobs.results import decode

CHUNK = bytes(1 << 16)

async def body():
    import io
    if sys.argv[1] == "npy":
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (64 << 20,)})
        yield head.getvalue()
        for _ in range(1 << 10):
            yield CHUNK
    else:
        with open(sys.argv[2], "rb") as file:
            while piece := file.read(1 << 16):
                yield piece

def kib(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))

async def main():
    base = kib("VmRSS")
    result = await decode(body(), max_bytes=1 << 30)
    assert result.samples.nbytes == 64 << 20
    print((kib("VmHWM") - base) * 1024 / (64 << 20))

asyncio.run(main())
"""


def peak(*arguments: str) -> float:
    """
    How many times the array's size the peak of a fresh process rises while it decodes. Not by ru_maxrss, which a child
    inherits from its parent and which therefore hides any peak below the test run's own.
    """
    command = [sys.executable, "-c", PEAK, *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_a_large_npy_body_is_the_array_itself() -> None:
    assert 0.9 < peak("npy") < 1.05


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("saver", SAVERS)
def test_the_peak_of_a_large_npz_body_is_the_array_and_the_spool(
    saver: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("peak") / "body.npz"
    path.write_bytes(npz(saver, np.zeros(64 << 20, np.uint8)))
    assert 0.9 < peak("npz", str(path)) < 1.25
