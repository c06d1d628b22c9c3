"""Decoding a .npz archive: its members, and false declarations in its records."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sfjobs.errors import ResultCorruptError, ResultTooLargeError
from sfjobs.results.formats.npz import MAX_MEMBERS, SCRATCH_BYTES, NpzDecoder
from tests.results.test_npy import ARRAYS, LIMIT, assert_same, header, npy, with_header

SAVERS: dict[str, Callable[..., None]] = {"stored": np.savez, "deflated": np.savez_compressed}
SAMPLES = np.random.default_rng(5).poisson(1.0, (50, 8)).astype(np.uint8)
EMPTY = npy(np.zeros(0, np.uint8))


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


class Unseekable(io.RawIOBase):
    """A file without ``seek``: sizes and checksums follow the members."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.data += data
        return len(data)


def streamed(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = Unseekable()
    with zipfile.ZipFile(file, "w", compression) as out:
        for name, data in members:
            with out.open(name, "w", force_zip64=True) as member:
                member.write(data)
    return bytes(file.data)


def described(layout: str, signature: bytes, compression: int, wrong_by: Sequence[int] = (0, 0, 0)) -> bytes:
    """Return an archive of the samples whose data descriptor has this layout and signature, and is wrong by ``wrong_by``."""
    data = streamed(("arr_0.npy", npy(SAMPLES)), compression=compression)
    start, directory = data.rindex(b"PK\x07\x08"), data.index(b"PK\x01\x02")
    numbers = struct.unpack_from("<IQQ", data, start + 4)
    record = signature + struct.pack(layout, *[number + wrong for number, wrong in zip(numbers, wrong_by, strict=True)])
    end = data.index(b"PK\x05\x06")
    moved = struct.pack("<I", start + len(record))
    return data[:start] + record + data[directory : end + 16] + moved + data[end + 20 :]


def packed(raw: bytes, unpacked: bytes, *, compressed_bytes: int | None = None) -> bytes:
    """Return an archive whose only member is the deflate stream ``raw``, declared as ``compressed_bytes`` long."""
    name = b"arr_0.npy"
    numbers = (
        zlib.crc32(unpacked),
        len(raw) if compressed_bytes is None else compressed_bytes,
        len(unpacked),
        len(name),
        0,
    )
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, *numbers) + name + raw
    central = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, *numbers, 0, 0, 0, 0, 0) + name
    return local + central + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)


def deflated(data: bytes, flush: int = zlib.Z_FINISH) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(flush)


def replaced(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


def in_directory(data: bytes, offset: int, layout: str, value: int) -> bytes:
    """Return the archive with one number of its first directory entry replaced."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, data.index(b"PK\x01\x02") + offset, value)
    return bytes(changed)


def read(
    data: bytes, max_bytes: int = LIMIT, *, size: int | None = None, declared: bool = True
) -> dict[str, npt.NDArray[np.generic]]:
    decoder = NpzDecoder(max_bytes, len(data) if declared else None)
    if size is None:
        decoder.feed(data)
        return decoder.finish()
    view = memoryview(data)
    while view and (room := decoder.room()):
        count = min(len(room), len(view), size)
        room[:count] = view[:count]
        decoder.wrote(count)
        view = view[count:]
    assert not view, "a decoder that takes nothing more raises"
    return decoder.finish()


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


def test_an_array_of_zeros_may_have_a_high_compression_ratio() -> None:
    zeros = np.zeros((100_000, 8), np.uint8)
    data = npz("deflated", zeros)
    assert len(data) < zeros.nbytes / 500
    assert_same(read(data)["arr_0"], zeros)


def test_arrays_of_exactly_the_limit_together_are_accepted() -> None:
    assert len(read(npz("stored", SAMPLES, SAMPLES), max_bytes=2 * SAMPLES.nbytes)) == 2


def test_arrays_above_the_limit_together_are_too_large() -> None:
    with pytest.raises(ResultTooLargeError, match="arr_1"):
        read(npz("stored", SAMPLES, SAMPLES), max_bytes=2 * SAMPLES.nbytes - 1)


def test_a_declared_sum_above_the_limit_is_refused_before_the_member_is_read() -> None:
    data = npz("deflated", *[np.zeros(200_000, np.uint8)] * 4)
    start = data.index(b"arr_2.npy") + len(b"arr_2.npy") + 20  # behind the local header and its zip64 field
    decoder = NpzDecoder(400_000, len(data))
    with pytest.raises(ResultTooLargeError, match="about 600128 bytes"):
        decoder.feed(data[:start])


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
def test_a_duplicate_name_is_refused() -> None:
    with pytest.raises(ResultCorruptError, match="same name"):
        read(archive(("arr_0.npy", npy(SAMPLES)), ("arr_0.npy", npy(SAMPLES))))


def test_an_encrypted_member_is_refused() -> None:
    with pytest.raises(ResultCorruptError, match="encrypted"):
        read(in_directory(npz("stored", SAMPLES), 8, "<H", 0x1))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_compression_is_refused(method: int) -> None:
    with pytest.raises(ResultCorruptError, match="unusual method"):
        read(archive(("arr_0.npy", npy(SAMPLES)), compression=method))


def test_more_members_than_the_limit_are_refused() -> None:
    data = archive(*[(f"{index}.npy", EMPTY) for index in range(MAX_MEMBERS + 1)])
    with pytest.raises(ResultCorruptError, match="more members than the limit of 10000"):
        read(data)


def test_a_huge_directory_is_refused_before_it_is_collected() -> None:
    data = archive(*[(f"{index:0100}.npy", EMPTY) for index in range(8000)])
    tracemalloc.start()
    try:
        with pytest.raises(ResultCorruptError, match="directory is larger than the limit of 1048576 bytes"):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_directory_of_long_comments_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        for index in range(20):
            info = zipfile.ZipInfo(f"{index}.npy")
            info.comment = bytes(60_000)
            out.writestr(info, EMPTY)
    with pytest.raises(ResultCorruptError, match="directory is larger"):
        read(file.getvalue())


@pytest.mark.parametrize("member", [b"", b"<html>", npy(SAMPLES)[:-1], npy(SAMPLES) + b"x"])
def test_a_member_that_is_no_complete_array_is_corrupt(member: bytes) -> None:
    with pytest.raises(ResultCorruptError, match=r"arr_0\.npy"):
        read(archive(("arr_0.npy", member)))


def test_a_pickle_is_refused_by_name() -> None:
    with pytest.raises(ResultCorruptError, match="pickled"):
        read(npz("stored", np.array([{}, None])))


@pytest.mark.parametrize("saver", SAVERS)
def test_one_flipped_bit_is_detected(saver: str) -> None:
    data = bytearray(npz(saver, SAMPLES))
    data[data.index(b"PK\x01\x02") - 40] ^= 0x10
    with pytest.raises(ResultCorruptError, match=r"arr_0\.npy"):
        read(bytes(data))


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("wrong_by", [-1, 1])
def test_a_member_of_another_size_than_declared_is_corrupt(saver: str, wrong_by: int) -> None:
    with pytest.raises(ResultCorruptError):
        read(in_directory(npz(saver, SAMPLES), 24, "<I", len(npy(SAMPLES)) + wrong_by))


def test_bytes_beyond_the_declared_size_are_detected_even_if_the_checksum_ignores_them() -> None:
    surplus = archive(("arr_0.npy", npy(SAMPLES) + b"surplus"), compression=zipfile.ZIP_DEFLATED)
    size = len(npy(SAMPLES))
    lying = in_directory(in_directory(surplus, 24, "<I", size), 16, "<I", zlib.crc32(npy(SAMPLES)))
    with pytest.raises(ResultCorruptError):
        read(lying)


def test_a_size_that_no_compression_reaches_is_a_bomb() -> None:
    data = npz("deflated", SAMPLES)
    sizes = data.index(b"arr_0.npy") + len(b"arr_0.npy") + 4
    with pytest.raises(ResultCorruptError, match="cannot unpack"):
        read(replaced(data, sizes, struct.pack("<Q", 2**31)), max_bytes=1 << 40)


@pytest.mark.parametrize("declared", [True, False])
def test_a_member_that_unpacks_beyond_its_array_is_stopped_at_once(declared: bool) -> None:
    bomb = streamed(("arr_0.npy", npy(SAMPLES) + bytes(1 << 26)), compression=zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    try:
        with pytest.raises(ResultCorruptError, match="follow the end of the array"):
            read(bomb, max_bytes=1 << 30, declared=declared)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_short_archive_cannot_allocate_a_terabyte(compression: int) -> None:
    head = with_header(header("'|u1'", "(1099511627776,)"))
    with pytest.raises(ResultCorruptError, match="can come"):
        read(streamed(("arr_0.npy", head), compression=compression), max_bytes=1 << 50)


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_deflate_stream_that_does_not_end_is_corrupt(size: int) -> None:
    whole = npy(SAMPLES)
    assert_same(read(packed(deflated(whole), whole), size=size)["arr_0"], SAMPLES)
    with pytest.raises(ResultCorruptError, match="compressed bytes end too early"):
        read(packed(deflated(whole, zlib.Z_SYNC_FLUSH), whole), size=size)


@pytest.mark.parametrize("wrong_by", [-1, 1, 30])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_deflate_stream_of_another_length_than_declared_is_corrupt(wrong_by: int, size: int) -> None:
    whole = npy(SAMPLES)
    raw = deflated(whole)
    with pytest.raises(ResultCorruptError, match="end too early" if wrong_by < 0 else "end before they should"):
        read(packed(raw, whole, compressed_bytes=len(raw) + wrong_by), size=size)


def test_members_that_share_their_bytes_are_a_bomb() -> None:
    member = npz("deflated", np.zeros(100_000, np.uint8))
    start, end = member.index(b"PK\x01\x02"), member.index(b"PK\x05\x06")
    entry, count = member[start:end], 1000
    entries = b"".join(entry.replace(b"arr_0.npy", f"{index:05}.npy".encode()) for index in range(count))
    final = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(entries), start, 0)
    with pytest.raises(ResultCorruptError, match="does not describe it"):
        read(member[:start] + entries + final, max_bytes=1 << 40)


def test_an_archive_whose_directory_lacks_a_member_is_corrupt() -> None:
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


@pytest.mark.parametrize("saver", SAVERS)
def test_decoding_stops_when_its_checkpoint_raises(saver: str) -> None:
    class Stopped(BaseException): ...

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        NpzDecoder(LIMIT).feed(npz(saver, SAMPLES), stop)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_members_whose_sizes_follow_them_are_read(compression: int, size: int) -> None:
    data = streamed(("arr_0.npy", npy(SAMPLES)), ("arr_1.npy", npy(np.array(5))), compression=compression)
    arrays = read(data, size=size)
    assert_same(arrays["arr_0"], SAMPLES)
    assert_same(arrays["arr_1"], np.array(5))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("signature", [b"PK\x07\x08", b""])
@pytest.mark.parametrize("layout", ["<III", "<IQQ"])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_every_form_of_a_data_descriptor_is_read(layout: str, signature: bytes, compression: int, size: int) -> None:
    assert_same(read(described(layout, signature, compression), size=size)["arr_0"], SAMPLES)


@pytest.mark.parametrize("signature", [b"PK\x07\x08", b""])
@pytest.mark.parametrize("layout", ["<III", "<IQQ"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_data_descriptor_that_differs_is_corrupt(layout: str, signature: bytes, place: int) -> None:
    wrong_by = [0, 0, 0]
    wrong_by[place] = 1
    with pytest.raises(ResultCorruptError, match=r"arr_0\.npy.*behind it"):
        read(described(layout, signature, zipfile.ZIP_DEFLATED, wrong_by))


def test_zip64_sizes_and_records_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    data = archive(("arr_0.npy", npy(SAMPLES)), ("arr_1.npy", npy(SAMPLES[:2])))
    assert b"PK\x06\x06" in data
    assert data.count(b"\xff" * 8) >= 3
    for size in (1, 50, None):
        arrays = read(data, size=size)
        assert_same(arrays["arr_0"], SAMPLES)
        assert_same(arrays["arr_1"], SAMPLES[:2])


@pytest.mark.parametrize("place", range(4, 76, 4))
def test_zip64_records_that_differ_are_corrupt(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    data = archive(("arr_0.npy", npy(SAMPLES)))
    record = data.index(b"PK\x06\x06")
    changed = replaced(data, record + place, bytes(byte ^ 0x40 for byte in data[record + place : record + place + 4]))
    if place == 12:  # only the versions of the format
        assert_same(read(changed)["arr_0"], SAMPLES)
        return
    with pytest.raises(ResultCorruptError):
        read(changed)


def test_records_in_an_order_that_no_archive_has_are_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    data = archive(("arr_0.npy", npy(SAMPLES)))
    places = [data.index(signature) for signature in (b"PK\x01\x02", b"PK\x06\x06", b"PK\x06\x07", b"PK\x05\x06")]
    entry, end64, locator, end = (data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True))
    local = data[: data.index(b"\x93NUMPY")]
    assert_same(read(data[: places[0]] + entry + end64 + locator + end)["arr_0"], SAMPLES)
    for records in ((entry, end64, end), (entry, locator, end), (entry, local, end), (end64, entry, locator, end)):
        with pytest.raises(ResultCorruptError):
            read(data[: places[0]] + b"".join(records))


END_FIELDS = {"disk": 4, "disk of the directory": 6, "count here": 8, "count": 10, "length": 12, "offset": 16}


@pytest.mark.parametrize("field", END_FIELDS)
def test_an_end_record_that_differs_is_corrupt(field: str) -> None:
    data = bytearray(npz("stored", SAMPLES))
    data[data.index(b"PK\x05\x06") + END_FIELDS[field]] ^= 1
    with pytest.raises(ResultCorruptError):
        read(bytes(data))


ENTRY_FIELDS = {"method": 10, "crc": 16, "compressed": 20, "size": 24, "disk": 34, "offset": 42, "name": 46}


@pytest.mark.parametrize("field", ENTRY_FIELDS)
@pytest.mark.parametrize("saver", SAVERS)
def test_a_directory_that_differs_is_corrupt(saver: str, field: str) -> None:
    data = bytearray(npz(saver, SAMPLES))
    data[data.index(b"PK\x01\x02") + ENTRY_FIELDS[field]] ^= 8
    with pytest.raises(ResultCorruptError, match=r"[ai]rr_0\.npy"):
        read(bytes(data))


def test_the_crc_of_the_local_header_is_compared_with_the_bytes() -> None:
    data = npz("stored", SAMPLES)
    with pytest.raises(ResultCorruptError, match="CRC-32"):
        read(replaced(data, 14, b"\0\0\0\0"))


def test_bytes_before_the_archive_are_not_read() -> None:
    with pytest.raises(ResultCorruptError, match="in place of a record"):
        read(b"#!/bin/sh\n" + npz("stored", SAMPLES))


def test_a_gap_between_members_is_not_read() -> None:
    data = npz("stored", SAMPLES, SAMPLES)
    second = data.index(b"PK\x03\x04", 4)
    with pytest.raises(ResultCorruptError, match="it has gaps"):
        read(data[:second] + b"gap" + data[second:])


def test_members_in_another_order_than_the_directory_are_not_read() -> None:
    data = npz("stored", SAMPLES, SAMPLES)
    first, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    second = data.index(b"PK\x01\x02", first + 4)
    with pytest.raises(ResultCorruptError, match="order"):
        read(data[:first] + data[second:end] + data[first:second] + data[end:])


def test_an_archive_without_its_directory_has_no_arrays() -> None:
    data = npz("stored", SAMPLES)
    with pytest.raises(ResultCorruptError, match="0 of 1 members"):
        read(data[: data.index(b"PK\x01\x02")] + struct.pack("<4s4H2IH", b"PK\x05\x06", *[0] * 7))


def test_nothing_is_given_out_before_the_end() -> None:
    data = npz("stored", SAMPLES)
    decoder = NpzDecoder(LIMIT, len(data))
    decoder.feed(data[:-1])
    with pytest.raises(ResultCorruptError, match="too early"):
        decoder.finish()


@pytest.mark.parametrize("declared", [True, False])
def test_the_room_of_a_stored_member_never_reaches_beyond_its_end(declared: bool) -> None:
    samples = np.random.default_rng(1).integers(0, 255, (SCRATCH_BYTES * 3, 8), np.uint8)
    data = archive(("arr_0.npy", npy(samples)), ("arr_1.npy", npy(samples[1:])))
    decoder, view, direct = NpzDecoder(1 << 24, len(data) if declared else None), memoryview(data), 0
    while view:
        room = decoder.room()
        count = min(len(room), len(view))
        room[:count] = view[:count]
        decoder.wrote(count)
        view = view[count:]
        direct += count if count > SCRATCH_BYTES else 0
    assert_same(decoder.finish()["arr_0"], samples)
    assert_same(decoder.finish()["arr_1"], samples[1:])
    assert direct > 0.9 * len(data), "most of it should have gone to its place directly"


def test_the_room_is_empty_at_the_end_of_the_archive() -> None:
    decoder = NpzDecoder(LIMIT)
    decoder.feed(npz("stored", SAMPLES))
    assert len(decoder.room()) == 0


def test_a_decoder_that_rejected_its_input_accepts_no_more() -> None:
    decoder = NpzDecoder(LIMIT)
    with pytest.raises(ResultCorruptError):
        decoder.feed(b"not an archive")
    for again in (lambda: decoder.feed(npz("stored", SAMPLES)), decoder.room, decoder.finish):
        with pytest.raises(ResultCorruptError, match="rejected before"):
            again()


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("size", [100, 5000, None])
def test_the_digest_is_that_of_the_received_bytes(saver: str, size: int | None) -> None:
    samples = np.random.default_rng(1).poisson(1.0, (30_000, 8)).astype(np.uint8)
    members = npz(saver, samples, SAMPLES, samples[1:])
    decoder, view = NpzDecoder(LIMIT, hashes=True), memoryview(members)
    while view and (room := decoder.room()):
        count = min(len(room), len(view), size or len(view))
        room[:count] = view[:count]
        decoder.wrote(count)
        view = view[count:]
    assert decoder.digest() == hashlib.sha256(members).digest()
    assert decoder.digest() == hashlib.sha256(members).digest(), "asked twice"


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_archive_raises_a_result_error_or_gives_the_same_arrays(seed: int) -> None:
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
