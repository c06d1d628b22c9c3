"""Decoding a .npy file: every type, chunks of every size, and complete arrays only."""

from __future__ import annotations

import ast
import hashlib
import io
import random
import struct
import tracemalloc
import warnings

import numpy as np
import numpy.typing as npt
import pytest

from sfjobs.errors import ResultCorruptError, ResultTooLargeError
from sfjobs.results.formats.npy import NpyDecoder, NpyHeader

LIMIT = 1 << 20

ARRAYS: dict[str, npt.NDArray[np.generic]] = {
    "uint8": np.arange(24, dtype=np.uint8).reshape(3, 8),
    "bool": np.array([[True, False]]),
    "int64": np.array([-(2**63), 2**63 - 1]),
    "uint64": np.array([2**64 - 1], np.uint64),
    "big endian": np.arange(6, dtype=">i4").reshape(2, 3),
    "half": np.array([0.5, np.nan], np.float16),
    "double": np.linspace(-1, 1, 7),
    "long double": np.array([1, 2], np.longdouble),
    "complex": np.array([[1 + 2j, np.inf]]),
    "big endian complex": np.array([1 - 2j], ">c8"),
    "unicode": np.array(["é", "two"]),
    "bytes": np.array([b"a", b"bcd"]),
    "datetime": np.array(["2024-02-29T12:00:00"], "datetime64[s]"),
    "timedelta of 25 s": np.array([1, 2], "timedelta64[25s]"),
    "void": np.array([b"abc"], "V3"),
    "structure": np.array([(1, 2.5, (3, 4))], [("a", "u1"), ("b", ">f8"), ("c", "<i2", (2,))]),
    "padded structure": np.array([(1, 2)], np.dtype([("a", "u1"), ("b", "f8")], align=True)),
    "nested structure": np.array([((1,), 2)], [("outer", [("inner", "u1")]), ("b", "u1")]),
    "scalar": np.array(7),
    "empty": np.zeros((0, 8), np.uint8),
    "empty beside large": np.zeros((1 << 40, 0), np.uint8),
    "fortran": np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
    "empty fortran": np.zeros((3, 0), order="F"),
}


def npy(array: npt.NDArray[np.generic], version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version, allow_pickle=False)
    return file.getvalue()


def with_header(header: str | bytes, body: bytes = b"", version: int = 1) -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + body


def header(descr: str, shape: str = "(1,)", fortran_order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}\n"


def decode(data: bytes, max_bytes: int = LIMIT, expected_bytes: int | None = None) -> npt.NDArray[np.generic]:
    decoder = NpyDecoder(max_bytes, expected_bytes)
    decoder.feed(data)
    return decoder.finish_array()


def assert_same(found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]) -> None:
    assert (found.dtype, found.shape, found.tobytes("A")) == (expected.dtype, expected.shape, expected.tobytes("A"))


@pytest.mark.parametrize("name", ARRAYS)
def test_every_plain_type_survives(name: str) -> None:
    assert_same(decode(npy(ARRAYS[name])), ARRAYS[name])


@pytest.mark.parametrize("name", ["fortran", "uint8", "scalar"])
def test_the_memory_order_survives(name: str) -> None:
    flags = decode(npy(ARRAYS[name])).flags
    assert (flags.c_contiguous, flags.f_contiguous) == (
        ARRAYS[name].flags.c_contiguous,
        ARRAYS[name].flags.f_contiguous,
    )


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_all_three_versions_are_read(version: tuple[int, int]) -> None:
    assert_same(decode(npy(ARRAYS["uint8"], version)), ARRAYS["uint8"])


def test_a_field_name_outside_latin_1_is_read() -> None:
    array = np.array([(1,)], [("φ", "u1")])
    with pytest.warns(UserWarning, match="only be read by"):
        data = npy(array)
    assert_same(decode(data), array)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 63, 64, 127, 128, 129, 10_000])
@pytest.mark.parametrize("name", ["double", "fortran", "padded structure", "empty", "scalar"])
def test_any_cut_into_chunks_gives_the_same_array(name: str, size: int) -> None:
    data = npy(ARRAYS[name])
    decoder = NpyDecoder(LIMIT)
    for start in range(0, len(data), size):
        decoder.feed(data[start : start + size])
    assert_same(decoder.finish_array(), ARRAYS[name])


def test_empty_chunks_change_nothing() -> None:
    decoder = NpyDecoder(LIMIT)
    for chunk in (b"", npy(ARRAYS["uint8"]), b""):
        decoder.feed(chunk)
    assert_same(decoder.finish_array(), ARRAYS["uint8"])


def test_the_array_belongs_to_the_caller_and_is_writable() -> None:
    array = decode(npy(ARRAYS["uint8"]))
    assert array.flags.owndata
    assert array.flags.writeable


def test_missing_counts_down_from_unknown_to_zero() -> None:
    data = npy(np.arange(4, dtype=np.uint8))
    decoder = NpyDecoder(LIMIT)
    seen = [decoder.missing]
    for chunk in (data[:20], data[20:-3], data[-3:]):
        decoder.feed(chunk)
        seen.append(decoder.missing)
    assert seen == [None, None, 3, 0]


def test_no_array_is_given_out_before_it_is_complete() -> None:
    data = npy(ARRAYS["uint8"])
    decoder = NpyDecoder(LIMIT)
    decoder.feed(data[:-1])
    assert decoder.array is None


def test_no_array_is_given_out_after_surplus_bytes() -> None:
    decoder = NpyDecoder(LIMIT)
    decoder.feed(npy(ARRAYS["uint8"]))
    with pytest.raises(ResultCorruptError):
        decoder.feed(b"x")
    assert decoder.array is None


def test_a_decoder_that_rejected_its_input_accepts_no_more() -> None:
    decoder = NpyDecoder(LIMIT)
    with pytest.raises(ResultCorruptError):
        decoder.feed(b"not an array at all")
    with pytest.raises(ResultCorruptError, match="rejected"):
        decoder.feed(npy(ARRAYS["uint8"]))


@pytest.mark.parametrize("length", [0, 1, 6, 9, 10, 100, 128, 151])
def test_a_short_body_is_corrupt(length: int) -> None:
    assert len(npy(ARRAYS["uint8"])) == 152
    with pytest.raises(ResultCorruptError, match="too early"):
        decode(npy(ARRAYS["uint8"])[:length])


@pytest.mark.parametrize("name", ["uint8", "empty", "scalar"])
def test_a_long_body_is_corrupt(name: str) -> None:
    with pytest.raises(ResultCorruptError, match="follow the end"):
        decode(npy(ARRAYS[name]) + b"\0")


@pytest.mark.parametrize("wrong_by", [-1, 1, 1000])
def test_a_length_that_the_header_contradicts_is_corrupt(wrong_by: int) -> None:
    data = npy(ARRAYS["uint8"])
    with pytest.raises(ResultCorruptError, match="header declares"):
        decode(data, expected_bytes=len(data) + wrong_by)


def test_an_array_of_exactly_the_limit_is_accepted() -> None:
    assert decode(npy(ARRAYS["uint8"]), max_bytes=24).nbytes == 24


def test_an_array_above_the_limit_is_too_large() -> None:
    with pytest.raises(ResultTooLargeError, match="24 bytes, more than the limit of 23"):
        decode(npy(ARRAYS["uint8"]), max_bytes=23)


def test_a_short_body_cannot_allocate_a_terabyte() -> None:
    data = with_header(header("'|u1'", "(1099511627776,)"))
    with pytest.raises(ResultCorruptError, match="header declares"):
        decode(data, max_bytes=1 << 50, expected_bytes=len(data))


REFUSED_HEADERS: dict[str, str | bytes] = {
    "object": header("'|O'"),
    "object of a size": header("'|O8'"),
    "object in a structure": header("[('a', '|u1'), ('b', '|O')]"),
    "object in a nested structure": header("[('a', [('b', 'O')])]"),
    "sub-array": header("('<i4', (2,))"),
    "no width": header("'|S0'"),
    "no width of void": header("'|V0'"),
    "no fields": header("[]"),
    "unknown type": header("'<q8'"),
    "odd width": header("'<i3'"),
    "width beyond a C int": header("'<U9999999999'"),
    "type as a number": header("4"),
    "comma-separated type": header("'<i4,<i4'"),
    "deprecated alias": header("'a5'"),
    "repeated type": header("'2i4'"),
    "bare repeat in a structure": header("[('a', '<i4', 1)]"),
    "field without a type": header("[('a',)]"),
    "field that is no tuple": header("['a']"),
    "field without a name": header("[(1, '<i4')]"),
    "two fields of one name": header("[('a', '<i4'), ('a', '<i4')]"),
    "huge sub-array in a field": header("[('a', '<i4', (99999999999,))]"),
    "negative dimension": header("'|u1'", "(-1,)"),
    "dimension True": header("'|u1'", "(True,)"),
    "dimension as text": header("'|u1'", "('1',)"),
    "fraction as dimension": header("'|u1'", "(1.0,)"),
    "long integer of Python 2": header("'|u1'", "(1L,)"),
    "shape as list": header("'|u1'", "[1]"),
    "shape as number": header("'|u1'", "(1)"),
    "order as number": header("'|u1'", "(1,)", "0"),
    "65 dimensions": header("'|u1'", "(" + "1," * 65 + ")"),
    "overflow beside zero": header("'|u1'", f"(0, {2**62}, {2**62})"),
    "number of 5000 digits": header("'|u1'", "(" + "9" * 5000 + ",)"),
    "missing key": "{'descr': '|u1', 'shape': (1,)}",
    "surplus key": "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'x': 1}",
    "no dictionary": "[1, 2]",
    "a set": "{1, 2}",
    "unhashable key": "{[]: 1}",
    "call": "__import__('os')",
    "expression": header("'|u1'", "(1+1,)"),
    "backslash": header("'\\x75'"),
    "number before a word": header("'|u1'", "(1if True else 1,)"),
    "deep nesting": "(" * 5000,
    "deep braces": "{" * 9999,
    "NUL": header("'|u1'") + "\0",
    "not UTF-8": b"\xff\xfe" * 10,
    "empty": "",
}


@pytest.mark.parametrize("version", [1, 3])
@pytest.mark.parametrize("case", REFUSED_HEADERS)
def test_a_hostile_header_is_corrupt(case: str, version: int) -> None:
    with pytest.raises((ResultCorruptError, ResultTooLargeError)):
        decode(with_header(REFUSED_HEADERS[case], b"\0", version))


def test_a_pickle_is_refused_by_name() -> None:
    file = io.BytesIO()
    np.save(file, np.array([{}, None]), allow_pickle=True)
    with pytest.raises(ResultCorruptError, match="pickled"):
        decode(file.getvalue())


def test_a_header_of_gigabytes_is_refused_before_it_is_collected() -> None:
    header_reader = NpyHeader()
    with pytest.raises(ResultCorruptError, match="4294967295 bytes"):
        header_reader.feed(memoryview(b"\x93NUMPY\x02\x00\xff\xff\xff\xff"))


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ResultCorruptError, match="version 4"):
        decode(b"\x93NUMPY\x04\x00\x10\x00\x00\x00")


def test_a_minor_version_that_no_numpy_wrote_is_refused() -> None:
    data = bytearray(npy(ARRAYS["uint8"]))
    data[7] = 1
    with pytest.raises(ResultCorruptError, match=r"version 1\.1"):
        decode(bytes(data))


def test_the_room_is_the_memory_of_the_array_and_ends_with_it() -> None:
    data = npy(np.arange(1000))
    for expected_bytes in (None, len(data)):
        decoder, view, rooms = NpyDecoder(LIMIT, expected_bytes), memoryview(data), []
        while room := decoder.room():
            rooms.append(len(room))
            room[:] = view[: len(room)]
            decoder.wrote(len(room))
            view = view[len(room) :]
        assert (rooms, len(view)) == ([8, 2, 118, 8000], 0)
        assert_same(decoder.finish_array(), np.arange(1000))


@pytest.mark.parametrize("expected_bytes", [0, 1, 8, 9, 10, 11, 127])
def test_no_room_reaches_beyond_the_declared_length(expected_bytes: int) -> None:
    decoder, view = NpyDecoder(LIMIT, expected_bytes), memoryview(npy(np.zeros(3)))
    left = expected_bytes
    with pytest.raises(ResultCorruptError):
        while room := decoder.room():
            assert len(room) <= left
            room[:] = view[: len(room)]
            decoder.wrote(len(room))
            view = view[len(room) :]
            left -= len(room)
        decoder.finish_array()


def test_a_short_body_of_unknown_length_cannot_allocate_more_than_can_come() -> None:
    data = with_header(header("'|u1'", "(1000,)"))
    with pytest.raises(ResultCorruptError, match="at most 900 can come"):
        NpyDecoder(1 << 50, available_bytes=900).feed(data)


def test_the_digest_is_that_of_the_bytes_so_far() -> None:
    data = npy(ARRAYS["double"])
    decoder = NpyDecoder(LIMIT)
    for start in range(0, len(data), 7):
        decoder.feed(data[start : start + 7])
        assert decoder.digest() == hashlib.sha256(data[: start + 7]).digest()


def test_the_warning_filters_stay_unchanged() -> None:
    with warnings.catch_warnings():
        before = list(warnings.filters)
        decode(npy(ARRAYS["uint8"]))
        assert list(warnings.filters) == before


def mutated(data: bytes, source: random.Random) -> bytes:
    """Damage a file. Half of the time only the header's text, with a correct length, so that the parser behind it is reached."""
    start = 10 if data[6] == 1 else 12
    end = start + int.from_bytes(data[8:start], "little")
    if source.random() < 0.5:
        return with_header(scrambled(data[start:end], source), data[end:], data[6])
    return scrambled(data, source)


def scrambled(data: bytes, source: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(source.randint(1, 2)):
        place = source.randrange(len(changed)) if changed else 0
        match source.randrange(6):
            case 0:
                changed[place : place + 1] = bytes([source.randrange(256)])
            case 1 | 2:
                changed[place : place + 1] = source.choice([b"1", b"2", b"4", b"8", b"i", b"u", b"c", b">", b" ", b"O"])
            case 3:
                del changed[place : place + source.randint(1, 8)]
            case 4:
                changed[place:place] = source.choice([b"9", b"(", b"'", b"\\", b"O", b"-", b",", b"True", b"[]", b"\0"])
            case _:
                other = source.randrange(len(changed) + 1)
                changed[place:place] = changed[other : other + source.randint(1, 20)]
    return bytes(changed)


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_file_raises_a_result_error_or_gives_what_its_header_declares(seed: int) -> None:
    source = random.Random(seed)
    originals = [npy(array) for array in ARRAYS.values()]
    accepted = refused = 0
    tracemalloc.start()
    try:
        for _ in range(1000):
            data = mutated(source.choice(originals), source)
            try:
                array = decode(data, max_bytes=4096, expected_bytes=source.choice([None, len(data)]))
            except (ResultCorruptError, ResultTooLargeError):
                refused += 1
                continue
            accepted += 1
            start = 10 + int.from_bytes(data[8:10], "little") if data[6] == 1 else 12 + data[8] + 256 * data[9]
            assert array.tobytes("A") == data[start:]
            assert array.shape == ast.literal_eval(data[10 if data[6] == 1 else 12 : start].decode("latin-1"))["shape"]
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert min(accepted, refused) > 50
