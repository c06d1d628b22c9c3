"""
From the bytes of a ``.npy`` body to one array, whose own memory they are put into as they come: no I/O, and no second copy.

The header comes from outside, so it is read by a parser of our own instead of numpy's: numpy's accepts headers of 4 GiB, runs a
Python 2 fallback and warns, and turning its warnings into errors would change the warning filters of every thread.
Called by ``results.sinks`` (a whole body) and ``results.zip_members`` (each member of an archive).
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ...errors import ResultCorruptError, ResultTooLargeError

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000
MAX_OVERHEAD_BYTES = len(MAGIC) + 2 + 4 + MAX_HEADER_BYTES
"""The most that a ``.npy`` file holds beside its array."""
HASHED_BYTES = 8 << 20
"""Hashed at once, in 4 ms; then one may stop."""

_PREFIX_BYTES = len(MAGIC) + 2
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}
_NOTHING = memoryview(b"")

# Only literals: no backslash and no digit before a letter, the two things at which Python's own parser would warn.
_HEADER = re.compile(r"""(?:\s*(?:'[^'\\]*'|"[^"\\]*"|\d+(?!\w)|True|False|[{}\[\]():,]))*\s*""")

# What `dtype.str` says of plain types. numpy understands many more spellings, some of them deprecated with a warning.
_PLAIN_TYPE = re.compile(r"[<>|=]?(?:[biufcSUV]\d{1,10}|[mM]8(?:\[\d{0,9}(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)")


@dataclass(frozen=True, slots=True)
class NpyLayout:
    """What a header says: the array's type and shape, and how many bytes come before it."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    fortran_order: bool
    offset: int

    @property
    def nbytes(self) -> int:
        """The size of the array, in Python's integers: numpy's own product wraps."""
        size = self.dtype.itemsize
        for dimension in self.shape:
            size *= dimension
        return size


class NpyHeader:
    """Collects the bytes before the array from chunks of any size; ``layout`` is None until they are complete."""

    def __init__(self) -> None:
        self.layout: NpyLayout | None = None
        self.data = bytearray()
        """The bytes so far, as they came."""
        self._wanted = _PREFIX_BYTES

    @property
    def lacking(self) -> int:
        """How many bytes can be taken before one has to look at them: the next byte after these may be the array's."""
        return self._wanted - len(self.data)

    def feed(self, view: memoryview) -> memoryview:
        """Take what belongs to the header and give back the rest. Raises ``ResultCorruptError``."""
        while self.layout is None and view:
            lacking = self.lacking
            self.data += view[:lacking]
            view = view[lacking:]
            if not self.lacking:
                self._advance()
        return view

    def _advance(self) -> None:
        """What was asked for is there: the magic and version, then the header's length, then the header."""
        if self._wanted == _PREFIX_BYTES:
            if not self.data.startswith(MAGIC):
                _refuse("it is not a .npy array: the first bytes are wrong")
            major, minor = self.data[len(MAGIC) :]
            if major not in _LENGTH_BYTES or minor:
                _refuse(f"it is a .npy array of the unknown version {major}.{minor}")
            self._wanted += _LENGTH_BYTES[self._version]
            return
        start = _PREFIX_BYTES + _LENGTH_BYTES[self._version]
        if self._wanted > start:
            self.layout = _read_header(bytes(self.data[start:]), self._version, offset=self._wanted)
            return
        length = int.from_bytes(self.data[_PREFIX_BYTES:], "little")
        if not 0 < length <= MAX_HEADER_BYTES:
            _refuse(f"its header would have {length} bytes; at most {MAX_HEADER_BYTES} are read")
        self._wanted += length

    @property
    def _version(self) -> int:
        return self.data[len(MAGIC)]


class Buffer(Protocol):
    """Where the bytes of one array go."""

    @property
    def array(self) -> npt.NDArray[np.generic]:
        """The array that they become."""
        ...

    def room(self, filled: int) -> memoryview:
        """Where the next bytes belong after ``filled`` of them: never beyond the array's end, empty there."""
        ...

    def kept(self, filled: int) -> memoryview:
        """The first ``filled`` bytes."""
        ...


class ArrayBuffer:
    """The memory of ``array`` itself, which is contiguous in the order of the file."""

    def __init__(self, array: npt.NDArray[np.generic]) -> None:
        self.array = array
        # Bytes, not elements: the buffer protocol knows no datetime64, and a chunk may end inside an element.
        self._bytes = array.reshape(-1, order="A").view(np.uint8).data if array.nbytes else _NOTHING

    def room(self, filled: int) -> memoryview:
        return self._bytes[filled:]

    def kept(self, filled: int) -> memoryview:
        return self._bytes[:filled]


BufferFor: TypeAlias = Callable[[NpyLayout], Buffer]


def new_memory(layout: NpyLayout) -> ArrayBuffer:
    """That of a new array. Raises ``ResultCorruptError`` or ``ResultTooLargeError`` where there can be none."""
    with possible(layout):
        return ArrayBuffer(np.empty(layout.shape, layout.dtype, order="F" if layout.fortran_order else "C"))


@contextmanager
def possible(layout: NpyLayout) -> Iterator[None]:
    """What numpy raises at a shape that no array can have, or that there is no memory for, as an error of ours."""
    try:
        yield
    except ValueError as error:  # more dimensions than numpy has, or a product too big beside a zero
        raise ResultCorruptError(f"its shape {_shown(layout.shape)} is impossible: {error}") from error
    except MemoryError as error:
        raise ResultTooLargeError(f"there is no memory for the {layout.nbytes} bytes of the array") from error


class NpyDecoder:
    """
    Collects one ``.npy`` file in the ``memory`` of one array of at most ``max_bytes``, which is itself the room for the bytes.

    ``expected_bytes`` is the length of the whole file where it is known, ``available_bytes`` the most that can come where
    only that is; a header that says otherwise is refused before anything is allocated. Every refusal is a
    ``ResultCorruptError`` or a ``ResultTooLargeError``, and is final.
    """

    def __init__(
        self,
        max_bytes: int,
        expected_bytes: int | None = None,
        *,
        available_bytes: int | None = None,
        memory: BufferFor = new_memory,
    ) -> None:
        self._max_bytes = max_bytes
        self._expected_bytes = expected_bytes
        self._available_bytes = available_bytes
        self._memory_for = memory
        self._header = NpyHeader()
        self._memory: Buffer | None = None
        self._size = 0
        self._filled = 0
        self._room = _NOTHING
        self._refused = False

    @property
    def missing(self) -> int | None:
        """How many bytes are still wanted; None while the header has not told."""
        return None if self._memory is None else self._size - self._filled

    @property
    def array(self) -> npt.NDArray[np.generic] | None:
        """The array once it is whole, None before: a partly filled one is never shown."""
        return None if self._memory is None or self._filled < self._size else self._memory.array

    def room(self) -> memoryview:
        """
        Where the next bytes belong: the array's own memory once there is an array. It never reaches beyond the file's end,
        and is empty once that has come.
        """
        if self._refused:
            raise ResultCorruptError("this array was refused before")
        if self._memory is not None:
            self._room = self._memory.room(self._filled)
        else:
            lacking = self._header.lacking
            if self._expected_bytes is not None:
                lacking = min(lacking, self._expected_bytes - len(self._header.data))
            self._room = memoryview(bytearray(lacking))
        return self._room

    def wrote(self, count: int) -> None:
        """So many bytes were put into the room. Raises as soon as they cannot be a file that is wanted."""
        if self._memory is not None:
            self._filled += count
            return
        try:
            self._header.feed(self._room[:count])
            if self._header.layout is not None:
                self._allocate(self._header.layout)
        except (ResultCorruptError, ResultTooLargeError):
            self._let_go()
            raise

    def feed(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes, copying them. Raises as ``wrote`` does, and for bytes beyond the file's end."""
        view = memoryview(chunk)
        while view:
            room = self.room()
            if not room:
                self._let_go()
                _refuse(f"bytes follow the end of the array ({len(view)} or more)")
            count = min(len(room), len(view))
            room[:count] = view[:count]
            self.wrote(count)
            view = view[count:]

    def kept(self) -> tuple[bytes, memoryview]:
        """All that was taken, the header and the array's bytes. The second is the array: hash it before it is given out."""
        return bytes(self._header.data), _NOTHING if self._memory is None else self._memory.kept(self._filled)

    def digest(self, checkpoint: Callable[[], None] = lambda: None) -> bytes:
        """The SHA-256 of all bytes taken so far. Takes 0.5 s for each GB; ``checkpoint`` may raise to stop it."""
        header, body = self.kept()
        sha = hashlib.sha256(header)
        for start in range(0, len(body), HASHED_BYTES):
            sha.update(body[start : start + HASHED_BYTES])
            checkpoint()
        return sha.digest()

    def finish(self) -> npt.NDArray[np.generic]:
        """The array, after the last byte. Raises ``ResultCorruptError`` if any is missing."""
        array, missing = self.array, self.missing
        if array is None:
            self._let_go()
            lacking = "the header is incomplete" if missing is None else f"{missing} bytes are missing"
            raise ResultCorruptError(f"the array ends too early: {lacking}")
        return array

    def _allocate(self, layout: NpyLayout) -> None:
        size = layout.nbytes
        whole = layout.offset + size
        if self._expected_bytes not in {None, whole}:
            _refuse(f"it has {self._expected_bytes} bytes, but its header speaks of {whole}")
        if self._available_bytes is not None and whole > self._available_bytes:
            _refuse(f"its header speaks of {whole} bytes, but no more than {self._available_bytes} can come")
        if size > self._max_bytes:
            raise ResultTooLargeError(f"the array has {size} bytes, more than the limit of {self._max_bytes}")
        self._memory, self._size = self._memory_for(layout), size

    def _let_go(self) -> None:
        self._refused = True
        self._memory, self._room = None, _NOTHING


def _read_header(header: bytes, version: int, *, offset: int) -> NpyLayout:
    try:
        fields = _read_fields(header, version)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ResultCorruptError(f"its header cannot be read: {type(error).__name__}") from error
    if not isinstance(fields, dict) or fields.keys() != {"descr", "fortran_order", "shape"}:
        _refuse(f"its header is not that of a .npy array: {_shown(header)}")
    shape, fortran_order = fields["shape"], fields["fortran_order"]
    # Not isinstance: True is an int too. The parser knows no minus sign, so none is negative.
    if not isinstance(shape, tuple) or not all(type(dimension) is int for dimension in shape):
        _refuse(f"its shape {_shown(shape)} is not a tuple of whole numbers")
    if not isinstance(fortran_order, bool):
        _refuse(f"its fortran_order {_shown(fortran_order)} is neither True nor False")
    return NpyLayout(_read_type(fields["descr"]), shape, fortran_order, offset)


@lru_cache(maxsize=32)
def _read_fields(header: bytes, version: int) -> object:
    """Kept, since most results of many jobs begin alike, and reading it takes as long as all else of a small array."""
    text = header.decode("utf-8" if version == 3 else "latin-1")
    return ast.literal_eval(text) if _HEADER.fullmatch(text) else None


def _read_type(description: object) -> np.dtype[np.generic]:
    _check_type(description)
    try:
        # Typed for what numpy writes; `_check_type` has seen to it that this is nothing else.
        dtype: np.dtype[np.generic] = np.lib.format.descr_to_dtype(description)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise ResultCorruptError(f"its type {_shown(description)} is unknown: {error}") from error
    if dtype.hasobject or dtype.subdtype is not None or not dtype.itemsize:
        _refuse(f"its type {_shown(description)} is not one that a result may have")
    return dtype


def _check_type(description: object) -> None:
    """Plain types and structures of them; never an object, which would be a pickle."""
    if isinstance(description, str):
        if re.fullmatch(r"[<>|=]?O\d*", description):
            _refuse("it holds pickled Python objects, which are never loaded")
        if not _PLAIN_TYPE.fullmatch(description):
            _refuse(f"its type {_shown(description)} is not one that a result may have")
        return
    if not isinstance(description, list):
        _refuse(f"its type {_shown(description)} is not one that a result may have")
    for field in description:
        if not isinstance(field, tuple) or len(field) not in {2, 3}:
            _refuse(f"its type has a malformed field: {_shown(field)}")
        name = field[0]
        if not isinstance(name, str) and not (isinstance(name, tuple) and [type(part) for part in name] == [str, str]):
            _refuse(f"its type has a field without a name: {_shown(field)}")
        if len(field) == 3 and not (isinstance(field[2], tuple) and all(type(size) is int for size in field[2])):
            _refuse(f"its type has a field of an odd shape: {_shown(field)}")
        _check_type(field[1])


def _refuse(reason: str) -> NoReturn:
    raise ResultCorruptError(reason)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
