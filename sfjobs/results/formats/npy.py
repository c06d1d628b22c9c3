"""
Decodes a ``.npy`` body into one array: the bytes go straight into the array's own memory, without I/O and without a second copy.

The header is untrusted, so a parser of our own reads it: numpy's accepts headers of 4 GiB, runs a Python 2 fallback and warns,
and turning its warnings into errors would change the warning filters of every thread. Called by ``decoder`` for a whole body and
by ``zip_members`` for each member of an archive.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ...errors import ResultCorruptError, ResultTooLargeError
from .digest import BodyDigest

Array: TypeAlias = npt.NDArray[Any]
"""An array of any type: what it holds is known only once it is there, and type checkers accept its use as numbers."""

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000
MAX_OVERHEAD_BYTES = len(MAGIC) + 2 + 4 + MAX_HEADER_BYTES
"""The most that a ``.npy`` file holds beside its array."""

_PREFIX_BYTES = len(MAGIC) + 2
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # by the major version
_EMPTY = memoryview(b"")

# Only literals: no backslash and no digit before a letter, the two things at which Python's own parser would warn.
_HEADER = re.compile(r"""(?:\s*(?:'[^'\\]*'|"[^"\\]*"|\d+(?!\w)|True|False|[{}\[\]():,]))*\s*""")

# Plain types as `dtype.str` writes them. numpy understands many more spellings, some of them deprecated with a warning.
_PLAIN_TYPE = re.compile(r"[<>|=]?(?:[biufcSUV]\d{1,10}|[mM]8(?:\[\d{0,9}(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)")


@dataclass(frozen=True, slots=True)
class NpyLayout:
    """The type and shape of an array, as its header declares them. ``offset`` is the number of bytes before the array."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    fortran_order: bool
    offset: int

    @property
    def nbytes(self) -> int:
        """Size of the array, in Python's integers: numpy's own product wraps."""
        size = self.dtype.itemsize
        for dimension in self.shape:
            size *= dimension
        return size


class NpyHeader:
    """A parser of the bytes before the array, fed in chunks of any size; ``layout`` is None until they are complete."""

    def __init__(self) -> None:
        self.layout: NpyLayout | None = None
        self.data = bytearray()
        """The bytes so far, unchanged."""
        self._end = _PREFIX_BYTES  # of the part that is being read: prefix, length, header

    @property
    def missing(self) -> int:
        """How many bytes belong to the header for certain; the byte after these may be the array's."""
        return self._end - len(self.data)

    def feed(self, view: memoryview) -> memoryview:
        """Consume the bytes of the header and return the rest. Raises ``ResultCorruptError``."""
        while self.layout is None and view:
            missing = self.missing
            self.data += view[:missing]
            view = view[missing:]
            if not self.missing:
                self._end_part()
        return view

    def _end_part(self) -> None:
        if self._end == _PREFIX_BYTES:
            if not self.data.startswith(MAGIC):
                _reject("it is not a .npy array: the first bytes are wrong")
            major, minor = self.data[len(MAGIC) :]
            if major not in _LENGTH_BYTES or minor:
                _reject(f"it is a .npy array of the unknown version {major}.{minor}")
            self._end += _LENGTH_BYTES[self._version]
            return
        start = _PREFIX_BYTES + _LENGTH_BYTES[self._version]
        if self._end > start:
            self.layout = _read_header(bytes(self.data[start:]), self._version, offset=self._end)
            return
        length = int.from_bytes(self.data[_PREFIX_BYTES:], "little")
        if not 0 < length <= MAX_HEADER_BYTES:
            _reject(f"its header would have {length} bytes; the limit is {MAX_HEADER_BYTES}")
        self._end += length

    @property
    def _version(self) -> int:
        return self.data[len(MAGIC)]


class Buffer(Protocol):
    """Memory for the bytes of one array."""

    @property
    def array(self) -> Array: ...

    def room(self, filled: int) -> memoryview:
        """Return the memory behind the first ``filled`` bytes: never beyond the array's end, empty at its end."""
        ...

    def content(self, filled: int) -> memoryview:
        """Return the first ``filled`` bytes."""
        ...


class ArrayBuffer:
    """The memory of ``array`` itself, which is contiguous in the order of the file."""

    def __init__(self, array: Array) -> None:
        self.array = array
        # Bytes, not elements: the buffer protocol has no datetime64, and a chunk may end inside an element.
        self._bytes = array.reshape(-1, order="A").view(np.uint8).data if array.nbytes else _EMPTY

    def room(self, filled: int) -> memoryview:
        return self._bytes[filled:]

    def content(self, filled: int) -> memoryview:
        return self._bytes[:filled]


BufferFor: TypeAlias = Callable[[NpyLayout], Buffer]


def new_buffer(layout: NpyLayout) -> ArrayBuffer:
    """Return the memory of a new array. Raises ``ResultCorruptError`` or ``ResultTooLargeError`` if numpy cannot make it."""
    with translating_numpy_errors(layout):
        return ArrayBuffer(np.empty(layout.shape, layout.dtype, order="F" if layout.fortran_order else "C"))


@contextmanager
def translating_numpy_errors(layout: NpyLayout) -> Iterator[None]:
    """Translate numpy's errors at an impossible shape, or for lack of memory, into result errors."""
    try:
        yield
    except ValueError as error:  # more dimensions than numpy has, or a product too big beside a zero
        raise ResultCorruptError(f"its shape {_shortened(layout.shape)} is impossible: {error}") from error
    except MemoryError as error:
        raise ResultTooLargeError(f"there is no memory for the {layout.nbytes} bytes of the array") from error


class NpyDecoder:
    """
    Decodes one ``.npy`` file into one array of at most ``max_bytes``, whose memory comes from ``buffer_for``.

    ``expected_bytes`` is the length of the whole file where it is known, ``available_bytes`` an upper bound of it where only
    that is known. A header that contradicts them is rejected before anything is allocated. All methods raise
    ``ResultCorruptError`` and ``ResultTooLargeError``, which are final.
    """

    def __init__(
        self,
        max_bytes: int,
        expected_bytes: int | None = None,
        *,
        available_bytes: int | None = None,
        buffer_for: BufferFor = new_buffer,
    ) -> None:
        self._max_bytes = max_bytes
        self._expected_bytes = expected_bytes
        self._available_bytes = available_bytes
        self._buffer_for = buffer_for
        self._header = NpyHeader()
        self._buffer: Buffer | None = None
        self._size = 0
        self._filled = 0
        self._room = _EMPTY
        self._is_rejected = False

    @property
    def missing(self) -> int | None:
        """How many bytes of the array are missing; None until the header is complete."""
        return None if self._buffer is None else self._size - self._filled

    @property
    def array(self) -> Array | None:
        """The complete array, or None: a partly filled one is never given out."""
        return None if self._buffer is None or self._filled < self._size else self._buffer.array

    def room(self) -> memoryview:
        """
        Return the memory for the next bytes: the array's own as soon as there is an array.

        It never reaches beyond the end of the file, and is empty at the end.
        """
        if self._is_rejected:
            raise ResultCorruptError("this array was rejected before")
        if self._buffer is not None:
            self._room = self._buffer.room(self._filled)
        else:
            missing = self._header.missing
            if self._expected_bytes is not None:
                missing = min(missing, self._expected_bytes - len(self._header.data))
            self._room = memoryview(bytearray(missing))
        return self._room

    def wrote(self, count: int) -> None:
        """Account for ``count`` bytes that were written into the room. Raises as soon as they rule out an acceptable file."""
        if self._buffer is not None:
            self._filled += count
            return
        try:
            self._header.feed(self._room[:count])
            if self._header.layout is not None:
                self._allocate(self._header.layout)
        except (ResultCorruptError, ResultTooLargeError):
            self._release()
            raise

    def feed(self, chunk: bytes | bytearray | memoryview, checkpoint: Callable[[], None] = lambda: None) -> None:
        """Copy the next bytes. Raises as ``wrote`` does, and for bytes beyond the end of the file; then calls ``checkpoint``."""
        view = memoryview(chunk)
        while view:
            room = self.room()
            if not room:
                self._release()
                _reject(f"bytes follow the end of the array ({len(view)} or more)")
            count = min(len(room), len(view))
            room[:count] = view[:count]
            self.wrote(count)
            view = view[count:]
        checkpoint()

    def content(self) -> tuple[bytes, memoryview]:
        """Return all bytes so far, those of the header and those of the array. The second shares the array's memory."""
        return bytes(self._header.data), _EMPTY if self._buffer is None else self._buffer.content(self._filled)

    def digest(self, checkpoint: Callable[[], None] = lambda: None) -> bytes:
        """Return the SHA-256 of all bytes so far; ``checkpoint`` is called between steps and may raise."""
        digest = BodyDigest()
        for part in self.content():
            digest.defer(part)
        return digest.digest(checkpoint)

    def finish_array(self) -> Array:
        """Return the array, after the last byte. Raises ``ResultCorruptError`` if bytes are missing."""
        array, missing = self.array, self.missing
        if array is None:
            self._release()
            lack = "the header is incomplete" if missing is None else f"{missing} bytes are missing"
            raise ResultCorruptError(f"the array ends too early: {lack}")
        return array

    def _allocate(self, layout: NpyLayout) -> None:
        size = layout.nbytes
        whole = layout.offset + size
        if self._expected_bytes not in {None, whole}:
            _reject(f"it has {self._expected_bytes} bytes, but its header declares {whole}")
        if self._available_bytes is not None and whole > self._available_bytes:
            _reject(f"its header declares {whole} bytes, but at most {self._available_bytes} can come")
        if size > self._max_bytes:
            raise ResultTooLargeError(f"the array has {size} bytes, more than the limit of {self._max_bytes}")
        self._buffer, self._size = self._buffer_for(layout), size

    def _release(self) -> None:
        self._is_rejected = True
        self._buffer, self._room = None, _EMPTY


def _read_header(header: bytes, version: int, *, offset: int) -> NpyLayout:
    try:
        fields = _read_fields(header, version)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ResultCorruptError(f"its header cannot be read: {type(error).__name__}") from error
    if not isinstance(fields, dict) or fields.keys() != {"descr", "fortran_order", "shape"}:
        _reject(f"its header is not that of a .npy array: {_shortened(header)}")
    shape, fortran_order = fields["shape"], fields["fortran_order"]
    # Not isinstance: True is an int too. The parser accepts no minus sign, so no dimension is negative.
    if not isinstance(shape, tuple) or not all(type(dimension) is int for dimension in shape):
        _reject(f"its shape {_shortened(shape)} is not a tuple of whole numbers")
    if not isinstance(fortran_order, bool):
        _reject(f"its fortran_order {_shortened(fortran_order)} is neither True nor False")
    return NpyLayout(_read_type(fields["descr"]), shape, fortran_order, offset)


@lru_cache(maxsize=32)
def _read_fields(header: bytes, version: int) -> object:
    """Cached: most results of many jobs have the same header, and parsing it takes as long as the rest of a small array."""
    text = header.decode("utf-8" if version == 3 else "latin-1")
    return ast.literal_eval(text) if _HEADER.fullmatch(text) else None


def _read_type(description: object) -> np.dtype[np.generic]:
    _check_type(description)
    try:
        # numpy's stub accepts only what numpy writes; `_check_type` has rejected everything else.
        dtype: np.dtype[np.generic] = np.lib.format.descr_to_dtype(description)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise ResultCorruptError(f"its type {_shortened(description)} is unknown: {error}") from error
    if dtype.hasobject or dtype.subdtype is not None or not dtype.itemsize:
        _reject_type(description)
    return dtype


def _check_type(description: object) -> None:
    """Accept plain types and structures of them; never an object, which would be a pickle."""
    if isinstance(description, str):
        if re.fullmatch(r"[<>|=]?O\d*", description):
            _reject("it holds pickled Python objects, which are never loaded")
        if not _PLAIN_TYPE.fullmatch(description):
            _reject_type(description)
        return
    if not isinstance(description, list):
        _reject_type(description)
    for field in description:
        if not isinstance(field, tuple) or len(field) not in {2, 3}:
            _reject(f"its type has a malformed field: {_shortened(field)}")
        name = field[0]
        if not isinstance(name, str) and not (isinstance(name, tuple) and [type(part) for part in name] == [str, str]):
            _reject(f"its type has a field without a name: {_shortened(field)}")
        if len(field) == 3 and not (isinstance(field[2], tuple) and all(type(size) is int for size in field[2])):
            _reject(f"its type has a field of an odd shape: {_shortened(field)}")
        _check_type(field[1])


def _reject_type(description: object) -> NoReturn:
    _reject(f"its type {_shortened(description)} is not one that a result may have")


def _reject(reason: str) -> NoReturn:
    raise ResultCorruptError(reason)


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
