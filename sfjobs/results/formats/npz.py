"""
From the bytes of a ``.npz`` archive to its arrays while they come, front to back: no I/O, no temporary file, and of stored
members no second copy.

Nothing that the archive says of itself is believed before it is checked: not its sizes, not its names, not its number of
members. Nothing is given out before the directory at the end has agreed with all of it. Called by ``sinks``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ...errors import ResultCorruptError, ResultTooLargeError
from .digest import Fingerprint
from .npy import MAX_OVERHEAD_BYTES, Buffer, NpyDecoder, NpyLayout, new_memory
from .zip_directory import MAX_DIRECTORY_BYTES, Directory
from .zip_members import DeflatedMember, StoredMember
from .zip_records import (
    LOCAL,
    SIGNATURE_BYTES,
    STORED,
    LocalHeader,
    ZipEntry,
    descriptor_length,
    naming_member,
    read_local,
    record_length,
)

MAX_MEMBERS = 10_000
SCRATCH_BYTES = 1 << 14
"""Read at once of what is not an array's memory. It may hold the end of one member and the start of the next."""

# Both are bounded by the archive's few own bytes a member, and by deflate's growth of 5 bytes in 16 KiB at the worst.
_OVERHEAD_BYTES = 4 << 20
_ABSOLUTE = re.compile("/|[A-Za-z]:")
_ENTRY_BYTES = 46  # of the directory, beside a name
# Deflate cannot do better than 258 bytes from two bits (zlib's "technical details"), so a larger ratio is a lie.
_MAX_RATIO = 1032

NamedBufferFor: TypeAlias = Callable[[str, NpyLayout], Buffer]
"""The memory for the array of this name."""


def any_memory(_name: str, layout: NpyLayout) -> Buffer:
    """That of a new array, whatever its name."""
    return new_memory(layout)


class NpzDecoder:
    """
    Collects the arrays of one archive, of at most ``max_bytes`` together; the archive has ``declared_bytes`` where that is
    known. Every refusal is a ``ResultCorruptError`` or a ``ResultTooLargeError``, and is final. With ``hashes`` there is a
    ``digest``. Each array is made in the ``memory`` for its name.
    """

    def __init__(
        self,
        max_bytes: int,
        declared_bytes: int | None = None,
        *,
        hashes: bool = False,
        memory: NamedBufferFor = any_memory,
    ) -> None:
        self._most = max_bytes + max_bytes // 1000 + _OVERHEAD_BYTES
        if declared_bytes is not None and declared_bytes > self._most:
            raise ResultTooLargeError(f"the body has {declared_bytes} bytes; the limit of its arrays is {max_bytes}")
        self._declared_bytes = declared_bytes
        self._max_bytes = max_bytes
        self._left = max_bytes
        self._memory_for = memory
        self._arrays: dict[str, npt.NDArray[np.generic]] = {}
        self._entries: list[ZipEntry] = []
        self._names_bytes = 0
        self._directory: Directory | None = None
        self._fingerprint = Fingerprint() if hashes else None
        self._position = 0
        self._record = bytearray()
        self._wanted = SIGNATURE_BYTES  # of it, as far as one can tell by now
        self._header: LocalHeader | None = None  # of the member that is being read
        self._offset = 0
        self._member: StoredMember | DeflatedMember | None = None
        self._described: ZipEntry | None = None  # a member whose descriptor is awaited
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._direct: StoredMember | None = None  # the member whose memory was the last room
        self._refused = False

    @property
    def left_to_inflate(self) -> int:
        """What the present member is known to unpack to yet; 0 where it is stored, or has not told."""
        return self._member.left if isinstance(self._member, DeflatedMember) else 0

    def room(self) -> memoryview:
        """
        Where the next bytes belong: the memory of a stored array, never beyond its end, or memory to decode from. Empty once
        the archive has ended.
        """
        self._check_not_refused()
        if self._directory is not None and self._directory.is_over:
            return self._scratch[:0]
        member = self._member
        self._direct = member if isinstance(member, StoredMember) and member.left >= SCRATCH_BYTES else None
        return self._direct.room() if self._direct is not None else self._scratch

    def wrote(self, count: int) -> None:
        """So many bytes were put into the room. Raises as soon as they cannot be an archive that is wanted."""
        if self._direct is None:
            self.feed(self._scratch[:count])
            return
        with self._refusing():
            self._direct.wrote(count)
            self._advance(count)

    def feed(self, chunk: bytes | bytearray | memoryview, checkpoint: Callable[[], None] = lambda: None) -> None:
        """Take the next bytes, copying or inflating them; ``checkpoint`` is called between pieces and may raise to stop."""
        self._check_not_refused()
        view = memoryview(chunk)
        with self._refusing():
            while view:
                rest = self._take(view, checkpoint)
                if self._fingerprint is not None and not isinstance(self._member, StoredMember):
                    self._fingerprint.add(view[: len(view) - len(rest)])
                self._advance(len(view) - len(rest))
                view = rest

    def digest(self, checkpoint: Callable[[], None] = lambda: None) -> bytes:
        """The SHA-256 of the whole archive."""
        if self._fingerprint is None:
            raise ValueError("this decoder was not told to hash")
        return self._fingerprint.digest(checkpoint)

    def finish(self) -> dict[str, npt.NDArray[np.generic]]:
        """The arrays by name, in the archive's order, after the last byte. Raises ``ResultCorruptError`` if any is missing."""
        self._check_not_refused()
        with self._refusing():
            if self._directory is None or not self._directory.is_over:
                raise ResultCorruptError(f"the archive ends too early, after {self._position} bytes")
            if self._declared_bytes not in {None, self._position}:
                raise ResultCorruptError(
                    f"the body has {self._position} bytes where {self._declared_bytes} were declared"
                )
        return self._arrays

    def _take(self, view: memoryview, checkpoint: Callable[[], None]) -> memoryview:
        if self._member is not None:
            return self._member.take(view, checkpoint)
        if self._directory is not None and self._directory.is_over:
            raise ResultCorruptError(f"bytes follow the end of the archive ({len(view)} or more)")
        lacking = self._wanted - len(self._record)
        self._record += view[:lacking]
        return view[lacking:]

    def _advance(self, count: int) -> None:
        """What has become whole by ``count`` more bytes?"""
        self._position += count
        if self._position > self._most:
            raise ResultTooLargeError(f"the body has more than {self._most} bytes, and so have its arrays")
        if self._member is None and len(self._record) == self._wanted:
            self._wanted = self._record_length()
            if len(self._record) == self._wanted:
                self._end_record()
        if self._member is not None and self._member.is_whole:
            self._end_member(self._member)

    def _record_length(self) -> int:
        if self._described is None:
            return record_length(self._record)
        entry = self._described
        return descriptor_length(self._record, crc=entry.crc, compressed=entry.compressed, size=entry.size)

    def _end_record(self) -> None:
        record = bytes(self._record)
        self._record.clear()
        self._wanted = SIGNATURE_BYTES
        offset = self._position - len(record)
        if self._described is not None:
            self._accept(self._described)
        elif self._directory is None and record.startswith(LOCAL):
            self._begin_member(record, offset)
        else:
            self._directory = self._directory or Directory(self._entries, offset)
            self._directory.take(record, offset)

    def _begin_member(self, record: bytes, offset: int) -> None:
        if len(self._entries) == MAX_MEMBERS:
            raise ResultCorruptError(f"the archive has more than {MAX_MEMBERS} members, which is the most that is read")
        header = read_local(record)
        self._header, self._offset = header, offset
        self._check_name(header.name)
        self._check_sizes(header)
        memory = partial(self._memory_for, header.name.removesuffix(".npy"))
        available = (self._most if self._declared_bytes is None else self._declared_bytes) - self._position
        if header.method == STORED:
            self._member = StoredMember(NpyDecoder(self._left, header.size, available_bytes=available, memory=memory))
        else:
            npy = NpyDecoder(self._left, header.size, available_bytes=available * _MAX_RATIO, memory=memory)
            self._member = DeflatedMember(npy, compressed_bytes=header.compressed)

    def _check_name(self, name: str) -> None:
        if problem := _problem_with(name):
            raise ResultCorruptError(problem)
        if name.removesuffix(".npy") in self._arrays:
            raise ResultCorruptError("the name is there twice")
        self._names_bytes += _ENTRY_BYTES + len(name)
        if self._names_bytes > MAX_DIRECTORY_BYTES:
            raise ResultCorruptError(
                f"the archive's directory has more than the {MAX_DIRECTORY_BYTES} bytes that are read"
            )

    def _check_sizes(self, header: LocalHeader) -> None:
        """Before anything is allocated. Sizes that only follow the member are bounded by what its array says of itself."""
        if header.size is None or header.compressed is None:
            return
        most = header.compressed * (1 if header.method == STORED else _MAX_RATIO)
        if header.size > most or (header.method == STORED and header.size < most):
            raise ResultCorruptError(f"it cannot unpack to {header.size} bytes from {header.compressed}")
        if self._declared_bytes is not None and header.compressed > self._declared_bytes - self._position:
            raise ResultCorruptError(f"its {header.compressed} bytes would reach beyond the end of the body")
        if header.size > self._left + MAX_OVERHEAD_BYTES:
            taken = self._max_bytes - self._left
            raise ResultTooLargeError(
                f"the arrays have about {taken + header.size} bytes, more than the limit of {self._max_bytes}"
            )

    def _end_member(self, member: StoredMember | DeflatedMember) -> None:
        header = self._header
        assert header is not None  # a member has one
        array = member.finish()
        self._member = self._direct = None
        self._arrays[header.name.removesuffix(".npy")] = array
        self._left -= array.nbytes
        if self._fingerprint is not None and isinstance(member, StoredMember):
            for part in member.kept():
                self._fingerprint.keep(part)
        entry = ZipEntry(header.name, header.method, member.crc, member.compressed, member.size, self._offset)
        if header.crc is None:
            self._described = entry
            return
        if header.crc != member.crc:
            raise ResultCorruptError("its CRC-32 is not that of its bytes: it is damaged")
        self._accept(entry)

    def _accept(self, entry: ZipEntry) -> None:
        self._entries.append(entry)
        self._header = self._described = None

    def _check_not_refused(self) -> None:
        if self._refused:
            raise ResultCorruptError("this archive was refused before")

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Let go of everything at the first error, and say in which member it was."""
        try:
            yield
        except (ResultCorruptError, ResultTooLargeError):
            self._refused = True
            self._arrays, self._member, self._direct, self._fingerprint = {}, None, None, None
            if self._header is None:
                raise
            with naming_member(self._header.name):
                raise


def _problem_with(name: str) -> str | None:
    if not name.endswith(".npy"):
        return "it is not an array (its name does not end in .npy)"
    if not name.isprintable() or "\\" in name or _ABSOLUTE.match(name) or ".." in name.split("/"):
        return "it has an unsafe name"
    return None
