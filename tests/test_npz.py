"""The members of a .npz archive, and what an archive may not claim of itself."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from sfjobs.errors import ResultCorruptError, ResultTooLargeError
from sfjobs.results.npz import MAX_MEMBERS, NpzReader
from tests.test_npy import ARRAYS, LIMIT, assert_same, npy

SAVERS: dict[str, Callable[..., None]] = {"stored": np.savez, "deflated": np.savez_compressed}
SAMPLES = np.random.default_rng(5).poisson(1.0, (50, 8)).astype(np.uint8)


def npz(saver: str = "stored", *arrays: npt.NDArray[np.generic], **named: npt.NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    SAVERS[saver](file, *arrays, **named)
    return file.getvalue()


def archive(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as out:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.filename = name  # as it is: ZipInfo cleans what it is given
            info.compress_type = compression
            out.writestr(info, data)
    return file.getvalue()


def in_directory(data: bytes, offset: int, layout: str, value: int) -> bytes:
    """The archive with one number of its first directory entry replaced."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, data.index(b"PK\x01\x02") + offset, value)
    return bytes(changed)


def read(data: bytes, max_bytes: int = LIMIT) -> dict[str, npt.NDArray[np.generic]]:
    return NpzReader(io.BytesIO(data), size=len(data), max_bytes=max_bytes).read()


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("name", ARRAYS)
def test_every_plain_type_survives(name: str, saver: str) -> None:
    assert_same(read(npz(saver, ARRAYS[name]))["arr_0"], ARRAYS[name])


@pytest.mark.parametrize("saver", SAVERS)
def test_all_members_are_read_by_name(saver: str) -> None:
    arrays = read(npz(saver, SAMPLES, SAMPLES[:2], cutoff=np.array(5), **{"a/b": np.ones(3)}))
    assert {name: array.shape for name, array in arrays.items()} == {
        "arr_0": (50, 8),
        "arr_1": (2, 8),
        "cutoff": (),
        "a/b": (3,),
    }


def test_an_archive_without_members_has_no_arrays() -> None:
    assert read(archive()) == {}


def test_an_array_of_zeros_may_pack_very_well() -> None:
    zeros = np.zeros((100_000, 8), np.uint8)
    data = npz("deflated", zeros)
    assert len(data) < zeros.nbytes / 500
    assert_same(read(data)["arr_0"], zeros)


def test_arrays_of_just_the_limit_together_are_taken() -> None:
    assert len(read(npz("stored", SAMPLES, SAMPLES), max_bytes=2 * SAMPLES.nbytes)) == 2


def test_arrays_above_the_limit_together_are_too_large() -> None:
    with pytest.raises(ResultTooLargeError, match="arr_1"):
        read(npz("stored", SAMPLES, SAMPLES), max_bytes=2 * SAMPLES.nbytes - 1)


def test_a_declared_sum_above_the_limit_is_refused_before_any_member_is_read() -> None:
    data = npz("deflated", *[np.zeros(200_000, np.uint8)] * 4)
    with pytest.raises(ResultTooLargeError, match="about 800512 bytes"):
        NpzReader(io.BytesIO(data), size=len(data), max_bytes=400_000)


@pytest.mark.parametrize(
    "name",
    ["/arr_0.npy", "../arr_0.npy", "a/../../arr_0.npy", "C:/arr_0.npy", "a\\b.npy", "arr\n.npy", "\x1b[31m.npy"],
)
def test_an_unsafe_name_is_refused(name: str) -> None:
    with pytest.raises(ResultCorruptError, match="unsafe name"):
        read(archive((name, npy(SAMPLES))))


@pytest.mark.parametrize("name", ["readme.txt", "arr_0", "directory/", "arr_0.npy.exe"])
def test_a_member_that_is_no_array_is_refused(name: str) -> None:
    with pytest.raises(ResultCorruptError, match=r"does not end in \.npy"):
        read(archive((name, npy(SAMPLES))))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ResultCorruptError, match="there twice"):
        read(archive(("arr_0.npy", npy(SAMPLES)), ("arr_0.npy", npy(SAMPLES))))


def test_an_encrypted_member_is_refused() -> None:
    with pytest.raises(ResultCorruptError, match="encrypted"):
        read(in_directory(npz("stored", SAMPLES), 8, "<H", 0x1))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_compression_is_refused(method: int) -> None:
    with pytest.raises(ResultCorruptError, match="unusual method"):
        read(archive(("arr_0.npy", npy(SAMPLES)), compression=method))


def test_more_members_than_the_limit_are_refused() -> None:
    data = archive(*[(f"{index}.npy", b"") for index in range(MAX_MEMBERS + 1)])
    with pytest.raises(ResultCorruptError, match="10001 members"):
        read(data)


def test_a_huge_directory_is_refused_before_it_is_unpacked() -> None:
    data = archive(*[(f"{index:0100}.npy", b"") for index in range(8000)])
    tracemalloc.start()
    try:
        with pytest.raises(ResultCorruptError, match="directory has more"):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("member", [b"", b"<html>", npy(SAMPLES)[:-1], npy(SAMPLES) + b"x"])
def test_a_member_that_is_no_whole_array_is_corrupt(member: bytes) -> None:
    with pytest.raises(ResultCorruptError, match=r"arr_0\.npy"):
        read(archive(("arr_0.npy", member)))


def test_a_pickle_is_refused_by_name() -> None:
    with pytest.raises(ResultCorruptError, match="pickled"):
        read(npz("stored", np.array([{}, None])))


@pytest.mark.parametrize("saver", SAVERS)
def test_one_flipped_bit_is_found(saver: str) -> None:
    data = bytearray(npz(saver, SAMPLES))
    data[data.index(b"PK\x01\x02") - 40] ^= 0x10
    with pytest.raises(ResultCorruptError, match="damaged"):
        read(bytes(data))


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("wrong_by", [-1, 1])
def test_a_member_of_another_size_than_declared_is_corrupt(saver: str, wrong_by: int) -> None:
    with pytest.raises(ResultCorruptError):
        read(in_directory(npz(saver, SAMPLES), 24, "<I", len(npy(SAMPLES)) + wrong_by))


def test_bytes_beyond_the_declared_size_are_seen_even_if_the_checksum_ignores_them() -> None:
    surplus = archive(("arr_0.npy", npy(SAMPLES) + b"surplus"), compression=zipfile.ZIP_DEFLATED)
    size = len(npy(SAMPLES))
    lying = in_directory(in_directory(surplus, 24, "<I", size), 16, "<I", zlib.crc32(npy(SAMPLES)))
    with pytest.raises(ResultCorruptError):
        read(lying)


def test_a_size_that_no_compression_reaches_is_a_bomb() -> None:
    with pytest.raises(ResultCorruptError, match="cannot unpack"):
        read(in_directory(npz("deflated", SAMPLES), 24, "<I", 2**31), max_bytes=1 << 40)


def test_members_that_share_their_bytes_are_a_bomb() -> None:
    member = npz("deflated", np.zeros(100_000, np.uint8))
    start, end = member.index(b"PK\x01\x02"), member.index(b"PK\x05\x06")
    entry, count = member[start:end], 1000
    entries = b"".join(entry.replace(b"arr_0.npy", f"{index:05}.npy".encode()) for index in range(count))
    final = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(entries), start, 0)
    with pytest.raises(ResultCorruptError, match="larger than the archive"):
        read(member[:start] + entries + final, max_bytes=1 << 40)


def test_an_archive_that_lost_a_member_of_its_directory_is_corrupt() -> None:
    data = npz("stored", SAMPLES, SAMPLES)
    entry_ends = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    rest = len(data) - data.index(b"PK\x05\x06")
    swallowing = in_directory(data, 32, "<H", len(data) - rest - entry_ends)  # the first entry's comment is the second
    with pytest.raises(ResultCorruptError, match="1 of 2 members"):
        read(swallowing)


def test_an_archive_with_a_comment_is_read() -> None:
    file = io.BytesIO(npz("stored", SAMPLES))
    with zipfile.ZipFile(file, "a") as out:
        out.comment = b"made elsewhere"
    assert_same(read(file.getvalue())["arr_0"], SAMPLES)


@pytest.mark.parametrize("cut", [1, 10, 22, 50, 200, 400])
def test_a_truncated_archive_is_corrupt(cut: int) -> None:
    with pytest.raises(ResultCorruptError):
        read(npz("deflated", SAMPLES)[:-cut])


def test_the_reader_stops_when_its_checkpoint_says_so() -> None:
    class Stopped(BaseException): ...

    def stop() -> None:
        raise Stopped

    data = npz("stored", SAMPLES)
    with pytest.raises(Stopped):
        NpzReader(io.BytesIO(data), size=len(data), max_bytes=LIMIT).read(stop)


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_archive_is_an_error_of_ours_or_the_same_arrays(seed: int) -> None:
    source = random.Random(seed)
    originals = [npz(saver, SAMPLES[:5], cutoff=np.array(5)) for saver in SAVERS]
    expected = {"cutoff": np.array(5).tobytes(), "arr_0": SAMPLES[:5].tobytes()}
    tracemalloc.start()
    try:
        for _ in range(400):
            data = bytearray(source.choice(originals))
            start = source.choice([0, data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")])
            for _ in range(source.randint(1, 3)):
                place = source.randrange(start, len(data))
                data[place] = source.choice([0, 1, 0xFF, data[place] ^ 1 << source.randrange(8)])
            try:
                arrays = read(bytes(data), max_bytes=4096)
            except (ResultCorruptError, ResultTooLargeError):
                continue
            assert {name: array.tobytes() for name, array in arrays.items()} == expected
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
