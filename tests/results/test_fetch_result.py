"""Results into the caller's array, into files and as memory maps: complete and checked, or not at all."""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import io
import os
import stat
import tempfile
import zipfile
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest

from sfjobs import Job, NotFoundError, ResultCorruptError, ResultTooLargeError, ResultUnavailableError, TransportError
from sfjobs._util.atomic_file import AtomicFile
from sfjobs.results import Array, Result
from sfjobs.results.download.to_file import PIECE_BYTES, save, spool
from tests.support.byte_source import ChunkedSource, pieces
from tests.support.fake_platform import FakePlatform, npy, npz, refusal
from tests.support.small_disk import no_file_larger_than

pytestmark = [
    pytest.mark.real_time,
    # trio warns about a generator that is dropped half-way: httpx nests several and closes none of them.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object ByteStream"),
]

JOB = "c1b2-job"
SAMPLES = np.random.default_rng(4).integers(0, 1 << 60, (3000, 80))
TWO_PIECES = np.random.default_rng(4).integers(0, 256, (PIECE_BYTES + 1000, 1), np.uint8)


def deflated(*arrays: Array, **named: Array) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, *arrays, **named)
    return file.getvalue()


def platform_with(body: bytes) -> FakePlatform:
    """A platform that sends ``body``, or its first array as .npy."""
    platform = FakePlatform()
    platform.add(id=JOB, ends_at=0.0)
    platform.result = body

    async def as_npy(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/result") and "numpy" in request.headers.get("accept", ""):
            return httpx.Response(200, content=npy(np.load(io.BytesIO(body))["arr_0"]))
        return None

    platform.trouble = as_npy
    return platform


async def fetched(
    body: bytes, into: Array | Path | str | None = None, *, mmap: bool = False, **settings: int
) -> Result:
    async with platform_with(body).connection(**settings) as connection:
        return await Job(JOB, "complete", connection).fetch_result(into=into, mmap=mmap)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# -- into an array -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [npz(SAMPLES), deflated(SAMPLES), npy(SAMPLES)], ids=["stored", "deflated", "npy"])
async def test_samples_are_received_into_the_callers_array(body: bytes) -> None:
    array = np.zeros_like(SAMPLES)
    result = await fetched(body, array)
    assert result.raw is array
    np.testing.assert_array_equal(array, SAMPLES)


@pytest.mark.parametrize("sent", ["C", "F"])
@pytest.mark.parametrize("given", ["C", "F", "every other row"])
async def test_the_order_in_memory_is_the_callers(sent: str, given: str) -> None:
    whole = np.full((6000, 80), -1, order="F" if given == "F" else "C")
    array = whole[::2] if given == "every other row" else whole[:3000].copy(order=given)  # type: ignore[arg-type]  # C or F
    strides = array.strides
    result = await fetched(npz(np.asarray(SAMPLES, order=sent)), array)  # type: ignore[call-overload]  # C or F
    assert (result.raw is array, array.strides) == (True, strides)
    np.testing.assert_array_equal(array, SAMPLES)
    assert np.all(whole[1::2] == -1) or given != "every other row"


async def test_other_outputs_and_metadata_are_in_the_result() -> None:
    array = np.zeros_like(SAMPLES)
    result = await fetched(npz(SAMPLES, SAMPLES[:7], cutoff=np.array(5)), array)
    np.testing.assert_array_equal(result.outputs[1], SAMPLES[:7])
    assert (dict(result.metadata), result.job_id) == ({"cutoff": 5}, JOB)


UNFIT = {
    "shape": np.full((80, 3000), 7),
    "size": np.full((3000, 81), 7),
    "axes": np.full((3000, 80, 1), 7),
    "type": np.full((3000, 80), 7.0),
    "width": np.full((3000, 80), 7, np.int32),
    "byte order": np.full((3000, 80), 7, ">i8"),
}


@pytest.mark.parametrize("case", UNFIT)
async def test_an_array_that_does_not_fit_stays_unchanged(case: str) -> None:
    array = UNFIT[case].copy()
    with pytest.raises(ValueError, match=f"job {JOB} are int64 of shape .3000, 80."):
        await fetched(npz(SAMPLES), array)
    assert np.all(array == 7)


async def test_a_read_only_array_is_refused_before_a_request_is_sent() -> None:
    array = np.zeros_like(SAMPLES)
    array.flags.writeable = False
    platform = platform_with(npz(SAMPLES))
    async with platform.connection() as connection:
        with pytest.raises(ValueError, match="read-only"):
            await Job(JOB, "complete", connection).fetch_result(into=array)
    assert not platform.requests


async def test_an_array_cannot_be_mapped() -> None:
    with pytest.raises(ValueError, match="cannot be a memory map"):
        await fetched(npz(SAMPLES), np.zeros_like(SAMPLES), mmap=True)


async def test_the_error_says_that_the_array_was_partly_overwritten() -> None:
    body = bytearray(npz(SAMPLES))
    body[5000] ^= 1
    with pytest.raises(ResultCorruptError) as caught:
        await fetched(bytes(body), np.zeros_like(SAMPLES))
    assert any("neither its old values" in note for note in caught.value.__notes__)


async def test_the_error_does_not_mention_an_unchanged_array() -> None:
    with pytest.raises(ResultCorruptError) as caught:
        await fetched(b"no result", np.zeros_like(SAMPLES))
    assert not hasattr(caught.value, "__notes__")


async def test_a_result_that_was_fetched_is_fetched_again_into_an_array() -> None:
    async with platform_with(npz(SAMPLES)).connection() as connection:
        job = Job(JOB, "complete", connection)
        await job.fetch_result()
        array = np.zeros_like(SAMPLES)
        assert (await job.fetch_result(into=array)).raw is array is job.result.raw
        assert (await job.fetch_result()).raw is array


# -- into a file ---------------------------------------------------------------------------------------------------------

BODIES = {
    "stored": npz(SAMPLES, SAMPLES[:7], cutoff=np.array(5)),
    "deflated": deflated(SAMPLES, SAMPLES[:7], cutoff=np.array(5)),
    "fortran": npz(np.asfortranarray(SAMPLES), SAMPLES[:7], cutoff=np.array(5)),
}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("case", BODIES)
async def test_an_archive_is_written_as_it_was_sent(case: str, mmap: bool, tmp_path: Path) -> None:
    result = await fetched(BODIES[case], tmp_path / "result.npz", mmap=mmap)
    assert files_in(tmp_path) == {"result.npz": BODIES[case]}
    np.testing.assert_array_equal(result.raw, SAMPLES)
    np.testing.assert_array_equal(result.outputs[1], SAMPLES[:7])
    assert (dict(result.metadata), result.job_id) == ({"cutoff": 5}, JOB)
    assert [isinstance(output, np.memmap) for output in result.outputs] == [mmap, mmap]


@pytest.mark.parametrize("mmap", [False, True])
async def test_an_array_is_written_as_it_was_sent(mmap: bool, tmp_path: Path) -> None:
    result = await fetched(npz(SAMPLES), str(tmp_path / "result.npy"), mmap=mmap)
    assert files_in(tmp_path) == {"result.npy": npy(SAMPLES)}
    np.testing.assert_array_equal(result.raw, SAMPLES)
    assert isinstance(result.raw, np.memmap) is mmap


@pytest.mark.parametrize(("name", "media_type"), [("r.npy", "application/x-numpy"), ("r.npz", "application/zip")])
async def test_the_suffix_selects_the_requested_format(name: str, media_type: str, tmp_path: Path) -> None:
    platform = platform_with(npz(SAMPLES))
    async with platform.connection() as connection:
        await Job(JOB, "complete", connection).fetch_result(into=tmp_path / name)
    assert platform.requests[-1].headers["accept"] == media_type


async def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "r.npz").write_bytes(b"old")
    await fetched(npz(SAMPLES), tmp_path / "r.npz")
    assert files_in(tmp_path) == {"r.npz": npz(SAMPLES)}


async def test_another_suffix_is_refused_before_a_request_is_sent(tmp_path: Path) -> None:
    platform = platform_with(npz(SAMPLES))
    async with platform.connection() as connection:
        with pytest.raises(ValueError, match="ends in neither"):
            await Job(JOB, "complete", connection).fetch_result(into=tmp_path / "r.txt")
    assert not platform.requests


async def test_a_body_of_the_other_format_is_not_saved_under_this_suffix(tmp_path: Path) -> None:
    platform = platform_with(npz(SAMPLES))
    platform.trouble = None
    async with platform.connection() as connection:
        with pytest.raises(ValueError, match=r"\.npz file, which cannot be saved under \.npy"):
            await Job(JOB, "complete", connection).fetch_result(into=tmp_path / "r.npy")
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize("mmap", [False, True])
async def test_a_job_that_has_not_completed_writes_nothing(mmap: bool, tmp_path: Path) -> None:
    platform = FakePlatform()
    platform.add(id=JOB)
    async with platform.connection() as connection:
        with pytest.raises(ResultUnavailableError, match="queued"):
            await Job(JOB, "open", connection).fetch_result(into=tmp_path / "r.npz", mmap=mmap)
    assert files_in(tmp_path) == {}


def damaged(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


DAMAGED = {
    "a bit of a stored array": damaged(npz(SAMPLES), 9000),
    "a bit of a deflated array": damaged(deflated(SAMPLES), 9000),
    "a bit of the directory": damaged(npz(SAMPLES), len(npz(SAMPLES)) - 25),
    "cut": npz(SAMPLES)[:-1],
    "more": npz(SAMPLES) + b"x",
    "empty": b"",
    "no result": b"<html>",
}


@pytest.mark.parametrize("case", DAMAGED)
async def test_a_damaged_body_is_not_written(case: str, tmp_path: Path) -> None:
    (tmp_path / "r.npz").write_bytes(b"old")
    with pytest.raises(ResultCorruptError, match=JOB):
        await fetched(DAMAGED[case], tmp_path / "r.npz")
    assert files_in(tmp_path) == {"r.npz": b"old"}


@pytest.mark.parametrize("case", DAMAGED)
async def test_a_damaged_body_is_not_mapped(case: str) -> None:
    with pytest.raises(ResultCorruptError, match=JOB):
        await fetched(DAMAGED[case], mmap=True)


async def test_a_body_above_the_limit_of_memory_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ResultTooLargeError, match=JOB):
        await fetched(npz(SAMPLES), tmp_path / "r.npz", max_result_bytes=1000)
    assert files_in(tmp_path) == {}


async def test_a_mapped_file_may_be_larger_than_the_limit_of_memory(tmp_path: Path) -> None:
    result = await fetched(npz(SAMPLES), tmp_path / "r.npz", mmap=True, max_result_bytes=1000)
    np.testing.assert_array_equal(result.raw, SAMPLES)


async def test_a_zip_bomb_is_refused() -> None:
    with pytest.raises(ResultTooLargeError, match="unpacks to 10000000 bytes"):
        await fetched(deflated(np.zeros(10_000_000, np.uint8)), mmap=True, max_result_bytes=1_000_000)


# -- as a memory map -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", BODIES)
async def test_a_map_without_a_path_has_no_visible_file(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = await fetched(BODIES[case], mmap=True)
    gc.collect()
    assert isinstance(result.raw, np.memmap)
    assert not result.raw.flags.writeable
    np.testing.assert_array_equal(result.raw, SAMPLES)
    assert files_in(tmp_path) == {} or os.name != "posix"


async def test_a_map_of_a_file_is_read_only_and_stays_valid_when_the_file_is_deleted(tmp_path: Path) -> None:
    result = await fetched(npz(SAMPLES), tmp_path / "r.npz", mmap=True)
    (tmp_path / "r.npz").unlink()
    with pytest.raises(ValueError, match="read-only"):
        result.raw[0] = 0
    np.testing.assert_array_equal(result.raw, SAMPLES)


async def test_empty_samples_are_an_ordinary_array(tmp_path: Path) -> None:
    result = await fetched(npz(np.zeros((0, 8), np.uint8)), tmp_path / "r.npz", mmap=True)
    assert result.raw.shape == (0, 8)


def test_a_saved_archive_can_be_mapped_when_it_is_loaded(tmp_path: Path) -> None:
    path = Result([SAMPLES], {"cutoff": np.int64(5)}).save(tmp_path / "r.npz")
    result = Result.load(path, mmap=True)
    assert isinstance(result.raw, np.memmap)
    np.testing.assert_array_equal(result.raw, SAMPLES)
    assert result.metadata["cutoff"] == 5


def test_a_damaged_archive_is_not_mapped_when_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "r.npz").write_bytes(damaged(npz(SAMPLES), 9000))
    with pytest.raises(ResultCorruptError, match=r"r\.npz"):
        Result.load(tmp_path / "r.npz", mmap=True)


def test_an_archive_with_bytes_between_its_members_is_mapped_where_they_are(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "r.npz", "w") as archive:
        for name in ("arr_0.npy", "arr_1.npy"):
            info = zipfile.ZipInfo(name)
            info.extra = b"\x99\x99\x05\x00aligned"[:9]  # an unknown field of five bytes
            archive.writestr(info, npy(SAMPLES))
    np.testing.assert_array_equal(Result.load(tmp_path / "r.npz", mmap=True).outputs[1], SAMPLES)


# -- errors on the way ----------------------------------------------------------------------------------------------------


async def saved(source: ChunkedSource, path: Path) -> None:
    await save(source, path, max_bytes=1 << 30, job_id=JOB, url="http://platform.test")


BIG = npz(TWO_PIECES)


async def test_a_body_of_several_pieces_is_written_in_their_order(tmp_path: Path) -> None:
    await saved(ChunkedSource(pieces(BIG, 100_003), length=len(BIG)), tmp_path / "r.npz")
    assert files_in(tmp_path) == {"r.npz": BIG}


async def test_a_body_of_unknown_length_is_written_as_well(tmp_path: Path) -> None:
    await saved(ChunkedSource(pieces(BIG, 100_003)), tmp_path / "r.npz")
    assert files_in(tmp_path) == {"r.npz": BIG}


class Breaking(ChunkedSource):
    """A source that breaks off after the first piece went to the disk."""

    async def read_into(self, room: memoryview) -> int:
        if self.taken > PIECE_BYTES:
            raise self.error
        return await super().read_into(room)

    error: BaseException = TransportError("connection reset")


async def test_a_body_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "r.npz").write_bytes(b"old")
    with pytest.raises(TransportError, match="reset"):
        await saved(Breaking(pieces(BIG, 1 << 16), length=len(BIG)), tmp_path / "r.npz")
    assert files_in(tmp_path) == {"r.npz": b"old"}


class Waiting(ChunkedSource):
    """A source that blocks after the first piece, and then sets ``at_rest``."""

    def __init__(self) -> None:
        super().__init__(pieces(BIG, 1 << 16), length=len(BIG))
        self.at_rest = anyio.Event()

    async def read_into(self, room: memoryview) -> int:
        if self.taken > PIECE_BYTES:
            self.at_rest.set()
            await anyio.sleep_forever()
        return await super().read_into(room)


async def test_a_cancelled_download_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "r.npz").write_bytes(b"old")
    source = Waiting()
    async with anyio.create_task_group() as group:
        group.start_soon(saved, source, tmp_path / "r.npz")
        await source.at_rest.wait()
        assert len(files_in(tmp_path)) == 2
        group.cancel_scope.cancel()
    assert files_in(tmp_path) == {"r.npz": b"old"}


def test_a_download_that_asyncio_cancels_leaves_no_file(tmp_path: Path) -> None:
    async def main() -> None:
        source = Waiting()
        task = asyncio.create_task(saved(source, tmp_path / "r.npz"))
        await source.at_rest.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert files_in(tmp_path) == {}


@pytest.mark.skipif(os.name != "posix", reason="sets a limit of POSIX")
async def test_the_error_of_a_full_disk_names_the_file_and_no_file_is_left(tmp_path: Path) -> None:
    (tmp_path / "r.npz").write_bytes(b"old")
    with no_file_larger_than(100_000), pytest.raises(OSError, match="File too large") as caught:
        await fetched(npz(SAMPLES), tmp_path / "r.npz")
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / "r.npz"))
    assert files_in(tmp_path) == {"r.npz": b"old"}


@pytest.mark.skipif(os.name != "posix", reason="sets a limit of POSIX")
@pytest.mark.parametrize("body", [npz(SAMPLES), deflated(np.zeros_like(SAMPLES))], ids=["sent", "unpacked"])
async def test_the_error_of_a_full_disk_names_the_folder_of_temporary_files(body: bytes) -> None:
    with no_file_larger_than(100_000), pytest.raises(OSError, match="File too large") as caught:
        await fetched(body, mmap=True)
    assert caught.value.filename == tempfile.gettempdir()


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a folder cannot be synchronised")
async def test_a_file_is_durable_before_it_has_its_name_and_its_name_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, list[str]]] = []
    sync = os.fsync

    def spy(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        steps.append((kind, [path.suffix for path in tmp_path.iterdir()]))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    await fetched(npz(SAMPLES), tmp_path / "r.npz")
    assert steps == [("file", [".part"]), ("folder", [".npz"])]


async def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await fetched(npz(SAMPLES), tmp_path / "nowhere" / "r.npz")


async def test_the_temporary_file_has_an_unpredictable_name(tmp_path: Path) -> None:
    names = set()
    for _ in range(2):
        source = Waiting()
        async with anyio.create_task_group() as group:
            group.start_soon(saved, source, tmp_path / "r.npz")
            await source.at_rest.wait()
            names |= files_in(tmp_path).keys()
            group.cancel_scope.cancel()
    assert len(names) == 2
    assert all(name.endswith(".part") for name in names)


def test_a_temporary_file_that_is_discarded_before_it_is_created_is_never_created(tmp_path: Path) -> None:
    """The thread that creates it may begin after the task was cancelled."""
    part = AtomicFile(tmp_path / "r.npz")
    part.discard()
    part.open()
    part.write(b"x")
    part.commit()
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize("keep", ["save", "spool"])
@pytest.mark.parametrize("is_true", [True, False])
async def test_a_resumed_file_is_compared_with_its_digest(keep: str, is_true: bool, tmp_path: Path) -> None:
    digest = hashlib.sha256(BIG if is_true else b"another").digest()
    source = ChunkedSource(pieces(BIG, 1 << 16), length=len(BIG), digest=digest, is_resumed=True)

    async def keep_it() -> None:
        if keep == "save":
            await saved(source, tmp_path / "r.npz")
        else:
            (await spool(source, max_bytes=1 << 30, job_id=JOB, url="http://platform.test")).close()

    if is_true:
        await keep_it()
    else:
        with pytest.raises(ResultCorruptError, match="SHA-256"):
            await keep_it()
    assert files_in(tmp_path) == ({"r.npz": BIG} if is_true and keep == "save" else {})


async def test_a_download_that_starts_again_writes_one_body(tmp_path: Path) -> None:
    platform = platform_with(npz(SAMPLES))
    platform.trouble = None
    platform.cuts = [100_000]
    async with platform.connection() as connection:
        await Job(JOB, "complete", connection).fetch_result(into=tmp_path / "r.npz")
    assert platform.count("GET", f"/jobs/{JOB}/result") == 2
    assert files_in(tmp_path) == {"r.npz": npz(SAMPLES)}


async def test_a_refused_request_writes_no_file(tmp_path: Path) -> None:
    platform = platform_with(npz(SAMPLES))

    async def refuse(request: httpx.Request) -> httpx.Response | None:
        return refusal(404, "not-found", "no such job") if request.url.path.endswith("/result") else None

    platform.trouble = refuse
    async with platform.connection() as connection:
        with pytest.raises(NotFoundError):
            await Job(JOB, "complete", connection).fetch_result(into=tmp_path / "r.npz")
    assert files_in(tmp_path) == {}
