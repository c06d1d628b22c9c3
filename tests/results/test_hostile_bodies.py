"""
Thousands of damaged, contradictory and hostile bodies in pieces of every size: each raises a result error or gives exactly the
arrays that numpy and zipfile read. Bodies that they load and we refuse have a reason that is listed here.
"""

from __future__ import annotations

import io
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sfjobs.errors import ResultCorruptError, ResultTooLargeError
from sfjobs.results import receive
from sfjobs.results.formats.decoder import decoder_for
from sfjobs.results.formats.npy import NpyDecoder
from tests.results.test_npy import ARRAYS, assert_same, npy, scrambled, with_header
from tests.results.test_npz import Unseekable
from tests.support.byte_source import ChunkedSource

LIMIT = 1 << 16
Arrays = dict[str, npt.NDArray[np.generic]]

# What numpy's reader accepts and ours does not, and why.
LISTED_FOR_NPY = {
    r"bytes follow the end of the array": "numpy reads no further than the array",
    r"header declares": "the length that was declared is not the file's",
    r"header cannot be read|not that of a \.npy array": "numpy reads headers of Python 2, and evaluates backslashes",
    r"its type .* is not one that a result may have": "deprecated and repeated types, sub-arrays, types without a size",
    r"its type has a (malformed field|field of an odd shape)": "other spellings of a structure",
    r"shape .* is not a tuple of whole numbers": "numpy takes True for 1",
    r"shape .* is impossible": "numpy multiplies first, and its product of nothing and too much is nothing",
    r"more than the limit": "the limit",
    r"its header would have": "a header of zeros or of 10 KB",
}

# What zipfile accepts and ours does not: it reads only the directory, from the end, and checks nothing against it.
LISTED_FOR_NPZ = {
    r"in place of a record": "bytes before, between or behind the members",
    r"it is neither \.npy nor": "bytes before the archive",
    r"the first bytes are wrong|unknown version": "a method in a local header, or a size before",
    r"the directory does not describe it": "a local header that contradicts the directory",
    r"CRC-32 (is not that|behind it)": "a checksum in the local header or descriptor that contradicts the directory's",
    r"sizes behind it": "sizes in a descriptor that contradict the directory's",
    r"(number|length|place) of the directory|number of members|is declared|puts it on another disk": "a damaged end record",
    r"it cannot unpack|would reach beyond|should be in a zip64 field": "sizes in a local header",
    r"it is encrypted|a patch|unusual method|unsafe name|does not end in \.npy|not UTF-8": "flags, method or name there",
    r"header declares|the array ends too early|bytes follow the end of the array": "a size in a local header, or in ours",
    r"compressed bytes end": "the same for deflate",
    r"damaged: Error": "the same for deflate",
    r"follows b'|follows None|of \d+ members are left|than the archive's \d+ members": "a directory that skips a member",
    r"bytes follow the end of (the archive|its arrays)": "bytes behind the archive",
    r"the archive ends too early": "bytes within the archive",
    r"unusual length|another member has the same name": "a second member of one name, which hides the first",
    r"the arrays have about|more than the limit": "the limit",
    **{reason: "in a member: " + why for reason, why in LISTED_FOR_NPY.items()},
}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the pieces small, so that small bodies cross the same limits as large ones."""
    monkeypatch.setattr("sfjobs.results.formats.npz.SCRATCH_BYTES", 48)
    monkeypatch.setattr("sfjobs.results.formats.zip_members.STORED_PIECE_BYTES", 61)
    monkeypatch.setattr("sfjobs.results.formats.zip_members.INFLATED_PIECE_BYTES", 97)
    monkeypatch.setattr("sfjobs.results.formats.zip_members._DEFLATED_PIECE_BYTES", 31)


@pytest.fixture(autouse=True)
def largest(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Check each array that our decoder allocates: none may be larger than the limit."""
    sizes: list[int] = []
    empty = np.empty

    def measured(*arguments: Any, **options: Any) -> npt.NDArray[Any]:
        array = empty(*arguments, **options)
        sizes.append(array.nbytes)
        return array

    monkeypatch.setattr("sfjobs.results.formats.npy.np.empty", measured)
    yield sizes
    assert max(sizes, default=0) <= LIMIT


def decoded(data: bytes, source: random.Random, declared: int | None, limit: int) -> Arrays:
    """Decode through rooms and pieces of random sizes, in a bounded number of steps."""
    steps = 0

    def checkpoint() -> None:
        nonlocal steps
        steps += 1
        assert steps < 100 + len(data) + 4 * LIMIT // 97, "it goes on and on"

    most = source.choice([1, 3, 20, 100, 1000, 1 << 20])
    if most < 20 < len(data) // 50 and source.random() < 0.9:
        most = 20  # a long body byte by byte takes as long as fifty others
    decoder = decoder_for(data[:8], max_bytes=limit, declared_bytes=declared)
    view = memoryview(data)
    while view:
        count = min(source.randint(1, most), len(view))
        room = decoder.room() if most < 1000 or source.random() < 0.8 else memoryview(b"")
        if room:
            count = min(count, len(room))
            room[:count] = view[:count]
            decoder.wrote(count)
        else:
            decoder.feed(view[:count], checkpoint)
        view = view[count:]
    return decoder.finish()


def by_numpy(data: bytes) -> Arrays | None:
    """Return the arrays that numpy and zipfile read; None if they refuse the body or read only part of it."""
    file = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if data.startswith(b"\x93NUMPY"):
                return {"arr_0": np.lib.format.read_array(file, allow_pickle=False)}
            with zipfile.ZipFile(file) as archive:
                return {
                    info.filename.removesuffix(".npy"): np.lib.format.read_array(
                        io.BytesIO(archive.read(info)), allow_pickle=False
                    )
                    for info in archive.infolist()
                    if info.file_size <= LIMIT * 2
                }
    except Exception:  # noqa: BLE001 - any error means that the oracle refuses it
        return None


def examine(data: bytes, source: random.Random, known: Arrays, listed: dict[str, str], tally: Counter[str]) -> None:
    """Compare both decoders on one body. ``known`` are the arrays that it was made from."""
    declared = source.choice([None, len(data), len(data), len(data) + source.randint(-3, 3)])
    total = sum(array.nbytes for array in known.values())
    limit = source.choice([LIMIT, LIMIT, LIMIT, total, max(0, total - 1)]) if known else LIMIT
    found: Arrays | None = None
    reason = ""
    try:
        found = decoded(data, source, declared, limit)
    except (ResultCorruptError, ResultTooLargeError) as error:
        reason = error.message
    oracle = by_numpy(data)
    if found is not None:
        expected = known if oracle is None else oracle
        assert found.keys() == expected.keys()
        for name, array in found.items():
            assert_right(array, expected[name])
        assert declared in {None, len(data)}
        assert sum(array.nbytes for array in found.values()) <= limit
        tally["accepted" if oracle is not None else "accepted alone"] += 1
    elif oracle is not None and declared in {None, len(data)}:
        assert any(re.search(pattern, reason) for pattern in listed), reason
        tally["refused alone"] += 1
    else:
        tally["refused"] += 1


def assert_right(found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]) -> None:
    """Compare two arrays without the padding of structures, which numpy does not copy; ``test_npy`` compares that too."""
    if found.dtype.names is None:
        assert_same(found, expected)
    else:
        assert (found.dtype, found.shape, repr(found.tolist())) == (
            expected.dtype,
            expected.shape,
            repr(expected.tolist()),
        )


def run(
    cases: int, seed: int, make: Callable[[random.Random], tuple[bytes, Arrays]], listed: dict[str, str]
) -> Counter[str]:
    tally: Counter[str] = Counter()
    for case in range(cases):
        source = random.Random(f"{seed} {case}")
        data, known = make(source)
        try:
            examine(data, source, known, listed, tally)
        except AssertionError as failure:
            raise AssertionError(f"seed {seed}, case {case}, {data[:2000]!r}") from failure
    return tally


TYPES = [
    "|u1",
    "<i4",
    ">f8",
    "<c16",
    "|b1",
    "<U3",
    "|S5",
    "|V7",
    "<M8[s]",
    "<m8[25us]",
    "=i2",
    "u2",
    "|O",
    "<i3",
    "<f2",
]
TYPES += [
    "<M8[7]",
    "<M8",
    "a5",
    "2i4",
    "<i4,<i4",
    "<U99999",
    "|S0",
    "|V0",
    "<q8",
    "|u1 ",
    "",
    "O8",
    "<f16",
    "i",
    "<g16",
]
NUMBERS = ["0", "1", "2", "3", "7", "16", "255", "65536", "65537", str(2**31), str(2**63), str(2**64), "True", "-1"]
NUMBERS += ["1.0", "1L", "0x1", "1_0", "None", "'1'", "007", "9" * 50, "1 if True else 2", "(1,)"]


def generated_header(source: random.Random) -> str:
    def number() -> str:
        return source.choice(NUMBERS[:6] if source.random() < 0.8 else NUMBERS)

    def kind(depth: int = 0) -> str:
        if source.random() < 0.8 or depth > 2:
            return repr(source.choice(TYPES[:11] if source.random() < 0.8 else TYPES))
        fields = [field(depth) for _ in range(source.randint(0, 3))]
        return "[" + "".join(f"{each}, " for each in fields) + "]"

    def field(depth: int) -> str:
        name = source.choice(
            ["'a'", "'b'", "'c'", "'é'", "''", "('title', 't')", "1", "'a"]
            if source.random() < 0.3
            else ["'x'", "'y'", "'z'"]
        )
        shape = source.choice(["", "", "", ", (2,)", ", 2", ", ()", ", (0,)", f", ({number()},)"])
        return f"({name}, {kind(depth + 1)}{shape})"

    shape = "".join(
        f"{number()}, " for _ in range(source.choice([0, 1, 1, 2, 2, 3, 70] if source.random() < 0.1 else [0, 1, 2, 3]))
    )
    parts = [
        ("descr", kind()),
        ("fortran_order", source.choice(["False", "True", "False", "True", "0", "None", "'x'"])),
        ("shape", f"({shape})" if source.random() < 0.95 else source.choice(["[1]", "1", "(1)", "{1}", "()"])),
    ]
    if source.random() < 0.05:
        parts.append((source.choice(["extra", "shape", "descr"]), "1"))
    if source.random() < 0.03:
        parts.pop(source.randrange(3))
    source.shuffle(parts)
    return (
        "{"
        + ", ".join(f"'{key}': {value}" for key, value in parts)
        + source.choice(["}", ", }", ", }\n", "}   \n", "} #", "}\0"])
    )


def a_generated_file(source: random.Random) -> tuple[bytes, Arrays]:
    text = generated_header(source)
    version = source.choice([1, 1, 2, 3])
    try:
        header = text.encode("latin-1" if version < 3 else "utf-8")
    except UnicodeEncodeError:
        header = b""
    bare = with_header(header, b"", version)
    body = source.randbytes(source.choice([0, 1, 8, 100, 1000]))
    try:  # mostly what the header declares, so that much of it is accepted
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fields = eval(text, {}) if "9" * 20 not in text and not re.search(r"\d{6}", text) else {}  # our own words
            size = np.dtype(fields["descr"]).itemsize * int(np.prod(fields["shape"], dtype=object))
    except Exception:  # noqa: BLE001 - then any body will do
        return bare + body, {}
    if source.random() < 0.9 and 0 <= size <= 2 * LIMIT:
        body = bytes(size) + source.choice([b"", b"", b"", b"x"])
    return bare + body, {}


def a_damaged_file(source: random.Random) -> tuple[bytes, Arrays]:
    data = source.choice(FILES)
    start = 10 if data[6] == 1 else 12
    end = start + int.from_bytes(data[8:start], "little")
    if source.random() < 0.5:
        return with_header(scrambled(data[start:end], source), data[end:], data[6]), {}
    return damaged(data, source), {}


FILES = [npy(array) for array in ARRAYS.values()]
SAMPLES = [
    np.random.default_rng(seed).poisson(1.0, (seed * 9, 4)).astype(np.uint8).reshape(shape)
    for seed, shape in enumerate([(-1, 4), (-1, 4), (4, -1), (2, -1)], start=1)
] + [np.array(7), np.zeros((0, 3)), np.asfortranarray(np.arange(30.0).reshape(5, 6))]


def an_archive(source: random.Random, most: int = 4) -> tuple[bytes, Arrays]:
    """Return an archive: stored or deflated, seekable or streamed, with or without zip64, comments and foreign extra fields."""
    arrays: Arrays = {
        f"{source.choice(['arr_', 'é', 'a/b'])}{index}": source.choice(SAMPLES)
        for index in range(source.randint(0, most))
    }
    file: Any = Unseekable() if source.random() < 0.4 else io.BytesIO()
    limit = zipfile.ZIP64_LIMIT
    zipfile.ZIP64_LIMIT = source.choice([limit, limit, 60])
    try:
        with zipfile.ZipFile(file, "w") as out:
            for name, array in arrays.items():
                info = zipfile.ZipInfo(f"{name}.npy")
                info.compress_type = source.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
                info.extra = source.choice([b"", b"", b"\x55\x55\x02\x00ab"])
                info.comment = source.choice([b"", b"", b"a comment"])
                with out.open(info, "w", force_zip64=True) as member:
                    member.write(npy(array))
            out.comment = source.choice([b"", b"", b"made elsewhere"])
    finally:
        zipfile.ZIP64_LIMIT = limit
    return (bytes(file.data) if isinstance(file, Unseekable) else file.getvalue()), arrays


RECORDS = re.compile(b"PK(?:\x03\x04|\x01\x02|\x05\x06|\x06\x06|\x06\x07|\x07\x08)")
WIDTHS = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}


def a_damaged_archive(source: random.Random) -> tuple[bytes, Arrays]:
    data, arrays = an_archive(source)
    if source.random() < 0.1:
        return data, arrays
    match source.randrange(4):
        case 0:
            data = damaged(data, source)
        case 1:
            other, others = an_archive(source)
            data = data[: source.randrange(len(data))] + other[source.randrange(len(other)) :]
            arrays = others
        case _:
            for _ in range(source.choice([1, 1, 2, 4])):
                data = with_a_hostile_number(data, source)
    return data, arrays


def with_a_hostile_number(data: bytes, source: random.Random) -> bytes:
    """Replace a number in or before a record: by the length of another one, an extreme, or one more or less."""
    places = [found.start() for found in RECORDS.finditer(data)]
    width = source.choice(list(WIDTHS))
    start = source.choice(places) + source.choice([0, 0, 0, 28]) + 2 * source.randrange(2, 24)
    start = min(start, len(data) - width)
    (number,) = struct.unpack_from(WIDTHS[width], data, start)
    (other,) = struct.unpack_from(WIDTHS[width], data, min(source.choice(places) + 18, len(data) - width))
    top = 256**width - 1
    choices = [0, top, top - 1, top >> 1, number + 1, number - 1, number ^ 1 << source.randrange(8 * width), other]
    value = max(0, min(source.choice(choices), top))
    return data[:start] + struct.pack(WIDTHS[width], value) + data[start + width :]


def damaged(data: bytes, source: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(source.choice([1, 1, 1, 2, 3])):
        place = source.randrange(len(changed) + 1)
        length = source.choice([1, 2, 4, 8, 30, 46, 100])
        match source.randrange(6):
            case 0 | 1 if place < len(changed):
                changed[place] ^= 1 << source.randrange(8)
            case 2:
                del changed[place : place + length]
            case 3:
                changed[place:place] = source.choice(
                    [b"\0", b"\xff", b"PK\x03\x04", b"PK\x05\x06", source.randbytes(length)]
                )
            case 4:
                other = source.randrange(len(changed) + 1)
                changed[place:place] = changed[other : other + length]
            case _:
                del changed[place:]
        if not changed:
            return b"\0"
    return bytes(changed)


def an_archive_of_many(source: random.Random) -> tuple[bytes, Arrays]:
    """Return an archive of many members, or of one more or less than its end record declares."""
    data, arrays = an_archive(source, most=60)
    if arrays and source.random() < 0.5:
        return with_a_hostile_number(data, source), arrays
    return data, arrays


def a_bomb(source: random.Random) -> tuple[bytes, Arrays]:
    """Return a zip bomb: behind an array or in place of it zeros, empty blocks, or a declaration of more."""
    array = source.choice(SAMPLES)
    whole = (
        npy(array)
        if source.random() < 0.5
        else with_header(
            f"{{'descr':'|u1','fortran_order':False,'shape':({source.choice([LIMIT, LIMIT + 1, 1 << 20, 1 << 40])},)}}"
        )
    )
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = packer.compress(whole + bytes(source.choice([0, 1, LIMIT, 4 * LIMIT])))
    packed += packer.flush(zlib.Z_FULL_FLUSH) + b"\0\0\0\xff\xff" * source.choice([0, 1, 50]) + packer.flush()
    size, streamed = source.choice([len(whole), LIMIT, 1 << 31, 0xFFFFFFFF]), source.random() < 0.5
    name = b"arr_0.npy"
    extra = struct.pack(
        "<HHQQ", 1, 16, source.choice([len(whole), 1 << 63, 2**64 - 1]), source.choice([len(packed), 2**64 - 1])
    )
    numbers = (0, 0, 0) if streamed else (zlib.crc32(whole), source.choice([len(packed), 0xFFFFFFFF]), size)
    header = struct.pack("<4s5H3I2H", b"PK\x03\x04", 45, 8 if streamed else 0, 8, 0, 0, *numbers, len(name), len(extra))
    return header + name + extra + packed + source.randbytes(source.choice([0, 100])), {"arr_0": array}


@pytest.mark.parametrize("seed", range(4))
def test_generated_files(seed: int) -> None:
    tally = run(1500, seed, a_generated_file, LISTED_FOR_NPY)
    assert min(tally["accepted"], tally["refused"]) > 100, tally


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files(seed: int) -> None:
    tally = run(1500, seed, a_damaged_file, LISTED_FOR_NPY)
    assert min(tally["accepted"], tally["refused"]) > 40, tally


@pytest.mark.parametrize("seed", range(4))
def test_whole_archives(seed: int) -> None:
    tally = run(200, seed, an_archive, {r"more than the limit|limit of its": "the limit"})
    assert tally["accepted"] > 80, tally
    assert not tally["accepted alone"], tally


@pytest.mark.parametrize("seed", range(8))
def test_damaged_archives(seed: int) -> None:
    tally = run(1000, seed, a_damaged_archive, LISTED_FOR_NPZ)
    assert min(tally["accepted"], tally["refused"], tally["refused alone"]) > 50, tally


@pytest.mark.parametrize("seed", range(2))
def test_archives_of_many_members(seed: int) -> None:
    tally = run(100, seed, an_archive_of_many, LISTED_FOR_NPZ)
    assert min(tally["accepted"], tally["refused"] + tally["refused alone"]) > 10, tally


@pytest.mark.parametrize("seed", range(2))
def test_bombs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inflated: list[int] = []
    feed = NpyDecoder.feed

    def measured(decoder: NpyDecoder, piece: bytes) -> None:
        inflated.append(len(piece))
        feed(decoder, piece)

    monkeypatch.setattr(NpyDecoder, "feed", measured)
    tally = run(1000, seed, a_bomb, {})
    assert set(tally) == {"refused"}
    assert max(inflated) == 97, "no more than a piece is unpacked at a time"


@pytest.mark.real_time
@pytest.mark.parametrize("seed", range(2))
async def test_damaged_archives_through_a_thread(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every deflated member in a thread, and small buffers."""
    monkeypatch.setattr("sfjobs.results.download.to_memory.INLINE_BYTES", 0)
    monkeypatch.setattr("sfjobs.results.download.to_memory.HEAD_BYTES", 40)
    monkeypatch.setattr("sfjobs.results.download.to_memory.PIECE_BYTES", 70)
    tally: Counter[str] = Counter()
    for case in range(300):
        source = random.Random(f"{seed} {case}")
        data, arrays = an_archive(source)
        if case % 2:
            data = damaged(data, source)
        chunks: list[bytes] = []
        rest = data
        while rest:
            size = source.randint(1, 90)
            chunks.append(rest[:size])
            rest = rest[size:]
        try:
            result = await receive(ChunkedSource(chunks), max_bytes=LIMIT)
        except (ResultCorruptError, ResultTooLargeError):
            assert case % 2
            tally["refused"] += 1
            continue
        found = {**result.metadata, **{f"arr_{index}": output for index, output in enumerate(result.outputs)}}
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert_same(np.asarray(found[name]), array)
        tally["accepted"] += 1
    assert min(tally.values()) > 100, tally
