"""
From a ``.npz`` file on disk or in memory to its arrays, one after the other: blocking, so large ones belong in a thread.

Nothing that the archive says of itself is believed before it is checked: not its number of members, not their sizes, not
their names. Called by ``decoding`` and by ``Result.load``.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np
import numpy.typing as npt

from ..errors import ResultCorruptError, ResultTooLargeError
from ..npy import MAX_OVERHEAD_BYTES, NpyDecoder

MAX_MEMBERS = 10_000
PIECE_BYTES = 1 << 20

_ABSOLUTE = re.compile("/|[A-Za-z]:")
_END_MAGIC = b"PK\x05\x06"
_END_RECORD = struct.Struct("<4s4H2IH")
_COUNT_IS_ELSEWHERE = 0xFFFF
_ENCRYPTED = 0x1 | 0x40 | 0x2000
# Deflate cannot do better than 258 bytes from two bits (zlib's "technical details"), so a larger ratio is a lie.
_MAX_RATIO = 1032


class NpzReader:
    """
    Opens the archive in ``file`` (of ``size`` bytes) and checks its directory; ``read`` then decodes the members.

    Both raise ``ResultCorruptError``, or ``ResultTooLargeError`` if the arrays would have more than ``max_bytes`` together.
    """

    def __init__(self, file: IO[bytes], *, size: int, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        with _translated_errors():
            self._archive = zipfile.ZipFile(_ShortReads(file))
        self._members = self._archive.infolist()
        self._check_count(file, size)
        self._check_directory(size)

    @property
    def declared_bytes(self) -> int:
        """What the members should come to, headers included, by the directory's word."""
        return sum(member.file_size for member in self._members)

    def read(self, checkpoint: Callable[[], None] = lambda: None) -> dict[str, npt.NDArray[np.generic]]:
        """The arrays by name, in the archive's order. ``checkpoint`` is called between pieces and may raise to stop."""
        arrays: dict[str, npt.NDArray[np.generic]] = {}
        left = self._max_bytes
        for member in self._members:
            name = member.filename.removesuffix(".npy")
            try:
                arrays[name] = self._read_member(member, left, checkpoint)
            except (ResultCorruptError, ResultTooLargeError) as error:
                raise type(error)(f"member {member.filename!r}: {error.message}") from error.__cause__
            left -= arrays[name].nbytes
        return arrays

    def _read_member(
        self, member: zipfile.ZipInfo, max_bytes: int, checkpoint: Callable[[], None]
    ) -> npt.NDArray[np.generic]:
        decoder = NpyDecoder(max_bytes, member.file_size)
        # zipfile silently cuts a member off at its declared size; asking for one byte more shows a surplus to the decoder.
        member.file_size += 1
        try:
            with _translated_errors(), self._archive.open(member) as body:
                while piece := body.read(PIECE_BYTES):
                    decoder.feed(piece)
                    checkpoint()
        finally:
            member.file_size -= 1
        return decoder.finish()

    def _check_count(self, file: IO[bytes], size: int) -> None:
        """zipfile takes a directory that lost entries to damage for a shorter one; the end record tells how many there were."""
        file.seek(max(0, size - _END_RECORD.size - len(self._archive.comment)))
        record = file.read(_END_RECORD.size)
        if not record.startswith(_END_MAGIC) or len(record) < _END_RECORD.size:
            raise ResultCorruptError("the archive is damaged: it does not end as one")
        for promised in _END_RECORD.unpack(record)[3:5]:
            if promised not in {len(self._members), _COUNT_IS_ELSEWHERE}:
                raise ResultCorruptError(f"the archive is damaged: {len(self._members)} of {promised} members are left")

    def _check_directory(self, size: int) -> None:
        if len(self._members) > MAX_MEMBERS:
            raise ResultCorruptError(f"the archive has {len(self._members)} members; at most {MAX_MEMBERS} are read")
        names: set[str] = set()
        for member in self._members:
            problem = _problem_with(member, size)
            if problem is None and member.filename in names:
                problem = "the name is there twice"
            if problem is not None:
                raise ResultCorruptError(f"member {member.filename[:80]!r}: {problem}")
            names.add(member.filename)
        # Overlapping members would let a small archive unpack the same bytes again and again.
        if sum(member.compress_size for member in self._members) > size:
            raise ResultCorruptError("the archive's members are larger than the archive")
        limit = self._max_bytes + len(self._members) * MAX_OVERHEAD_BYTES
        if self.declared_bytes > limit:
            raise ResultTooLargeError(
                f"the arrays have about {self.declared_bytes} bytes, more than the limit of {self._max_bytes}"
            )


def _problem_with(member: zipfile.ZipInfo, size: int) -> str | None:
    name = member.orig_filename
    if not name.endswith(".npy"):
        return "it is not an array (its name does not end in .npy)"
    if not name.isprintable() or "\\" in name or _ABSOLUTE.match(name) or ".." in name.split("/"):
        return "it has an unsafe name"
    if member.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return f"it is compressed by the unusual method {member.compress_type}"
    if not 0 <= member.header_offset < size:
        return "it lies outside the archive"
    most = member.compress_size * (_MAX_RATIO if member.compress_type == zipfile.ZIP_DEFLATED else 1)
    if member.file_size > most:
        return f"it cannot unpack to {member.file_size} bytes from {member.compress_size}"
    return None


class _ShortReads:
    """
    A file for zipfile that refuses long reads: zipfile takes the directory in one read of whatever length the archive
    claims, and makes an object of every 46 bytes of it, before anybody can count them.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size) if 0 <= size <= PIECE_BYTES else self._file.read(PIECE_BYTES + 1)
        if len(data) > PIECE_BYTES:
            raise ResultCorruptError(f"the archive's directory has more than the {PIECE_BYTES} bytes that are read")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


@contextmanager
def _translated_errors() -> Iterator[None]:
    """What zipfile raises at a hostile or damaged archive, as one error. An ``OSError`` is the local disk's and passes."""
    try:
        yield
    except zipfile.BadZipFile as error:
        raise ResultCorruptError(f"the archive is damaged: {error}") from error
    except (zlib.error, struct.error, EOFError, ValueError, OverflowError, RuntimeError) as error:
        # RuntimeError: NotImplementedError is one, for versions and flags of zip that zipfile does not know.
        raise ResultCorruptError(f"the archive is damaged: {type(error).__name__}: {error}") from error
