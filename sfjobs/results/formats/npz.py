"""
Decodes a ``.npz`` archive front to back while its bytes arrive: no I/O, no temporary file, no second copy of stored members.

Everything that the archive declares is checked: sizes, names, number of members. No array is given out before the directory at
the end has confirmed all of it. Called by ``decoder``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

from ...errors import ResultCorruptError, ResultTooLargeError
from .digest import BodyDigest
from .npy import MAX_OVERHEAD_BYTES, Array, Buffer, NpyDecoder, NpyLayout, new_buffer
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
"""Size of the buffer for bytes outside arrays. It may hold the end of one member and the start of the next."""

# What an archive has beside its arrays: its own few bytes a member, and deflate's growth of at most 5 bytes in 16 KiB.
_OVERHEAD_BYTES = 4 << 20
_ABSOLUTE = re.compile("/|[A-Za-z]:")
_ENTRY_BYTES = 46  # of an entry of the directory, without its name
# Deflate cannot do better than 258 bytes from two bits (zlib's "technical details"), so a larger ratio is a lie.
_MAX_RATIO = 1032

NamedBufferFor: TypeAlias = Callable[[str, NpyLayout], Buffer]
"""Returns the memory for the array of this name."""


def any_buffer(_name: str, layout: NpyLayout) -> Buffer:
    """Return the memory of a new array, for every name."""
    return new_buffer(layout)


class NpzDecoder:
    """
    Decodes an archive of arrays, of at most ``max_bytes`` together.

    ``declared_bytes`` is the length of the archive where it is known. ``buffer_for`` makes the memory of each array by its
    name. ``digest`` works only with ``hashes``. All methods raise ``ResultCorruptError`` and ``ResultTooLargeError``, which
    are final.
    """

    def __init__(
        self,
        max_bytes: int,
        declared_bytes: int | None = None,
        *,
        hashes: bool = False,
        buffer_for: NamedBufferFor = any_buffer,
    ) -> None:
        self._max_body_bytes = max_bytes + max_bytes // 1000 + _OVERHEAD_BYTES
        if declared_bytes is not None and declared_bytes > self._max_body_bytes:
            raise ResultTooLargeError(f"the body has {declared_bytes} bytes; the limit of its arrays is {max_bytes}")
        self._declared_bytes = declared_bytes
        self._max_bytes = max_bytes
        self._left_bytes = max_bytes
        self._buffer_for = buffer_for
        self._arrays: dict[str, Array] = {}
        self._entries: list[ZipEntry] = []
        self._names_bytes = 0
        self._directory: Directory | None = None
        self._digest = BodyDigest() if hashes else None
        self._position = 0
        self._record = bytearray()
        self._record_bytes = SIGNATURE_BYTES  # its length, as far as it is known
        self._header: LocalHeader | None = None  # of the member that is being read
        self._offset = 0
        self._member: StoredMember | DeflatedMember | None = None
        self._undescribed: ZipEntry | None = None  # a member whose data descriptor comes next
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._direct: StoredMember | None = None  # the member whose memory the last room was
        self._is_rejected = False

    @property
    def left_to_inflate(self) -> int:
        """How many bytes the current member is known to unpack to yet; 0 for a stored one and before the array's header."""
        return self._member.left if isinstance(self._member, DeflatedMember) else 0

    def room(self) -> memoryview:
        """
        Return the memory for the next bytes: that of a stored array, never beyond its end, or a scratch buffer.

        Empty at the end of the archive.
        """
        self._check_not_rejected()
        if self._directory is not None and self._directory.is_complete:
            return self._scratch[:0]
        member = self._member
        self._direct = member if isinstance(member, StoredMember) and member.left >= SCRATCH_BYTES else None
        return self._direct.room() if self._direct is not None else self._scratch

    def wrote(self, count: int) -> None:
        """Account for ``count`` bytes that were written into the room. Raises as soon as they rule out an acceptable archive."""
        if self._direct is None:
            self.feed(self._scratch[:count])
            return
        with self._releasing_on_error():
            self._direct.wrote(count)
            self._advance(count)

    def feed(self, chunk: bytes | bytearray | memoryview, checkpoint: Callable[[], None] = lambda: None) -> None:
        """Copy or inflate the next bytes. ``checkpoint`` is called between steps and may raise."""
        self._check_not_rejected()
        view = memoryview(chunk)
        with self._releasing_on_error():
            while view:
                rest = self._consume(view, checkpoint)
                count = len(view) - len(rest)
                if self._digest is not None and not isinstance(self._member, StoredMember):
                    self._digest.update(view[:count])
                self._advance(count)
                view = rest

    def digest(self, checkpoint: Callable[[], None] = lambda: None) -> bytes:
        """Return the SHA-256 of all bytes so far."""
        if self._digest is None:
            raise ValueError("this decoder does not hash: make it with hashes=True")
        return self._digest.digest(checkpoint)

    def finish(self) -> dict[str, Array]:
        """Return the arrays by name, in the archive's order. Raises ``ResultCorruptError`` if bytes are missing."""
        self._check_not_rejected()
        with self._releasing_on_error():
            if self._directory is None or not self._directory.is_complete:
                raise ResultCorruptError(f"the archive ends too early, after {self._position} bytes")
            if self._declared_bytes not in {None, self._position}:
                raise ResultCorruptError(
                    f"the body has {self._position} bytes where {self._declared_bytes} were declared"
                )
        return self._arrays

    def _consume(self, view: memoryview, checkpoint: Callable[[], None]) -> memoryview:
        if self._member is not None:
            return self._member.feed(view, checkpoint)
        if self._directory is not None and self._directory.is_complete:
            raise ResultCorruptError(f"bytes follow the end of the archive ({len(view)} or more)")
        missing = self._record_bytes - len(self._record)
        self._record += view[:missing]
        return view[missing:]

    def _advance(self, count: int) -> None:
        """End the record or the member that ``count`` more bytes completed."""
        self._position += count
        if self._position > self._max_body_bytes:
            raise ResultTooLargeError(
                f"the body has more than {self._max_body_bytes} bytes; the limit of its arrays is {self._max_bytes}"
            )
        if self._member is None and len(self._record) == self._record_bytes:
            self._record_bytes = self._record_length()
            if len(self._record) == self._record_bytes:
                self._end_record()
        if self._member is not None and self._member.is_complete:
            self._end_member(self._member)

    def _record_length(self) -> int:
        if self._undescribed is None:
            return record_length(self._record)
        entry = self._undescribed
        return descriptor_length(self._record, crc=entry.crc, compressed=entry.compressed, size=entry.size)

    def _end_record(self) -> None:
        record = bytes(self._record)
        self._record.clear()
        self._record_bytes = SIGNATURE_BYTES
        offset = self._position - len(record)
        if self._undescribed is not None:
            self._end_entry(self._undescribed)
        elif self._directory is None and record.startswith(LOCAL):
            self._begin_member(record, offset)
        else:
            self._directory = self._directory or Directory(self._entries, offset)
            self._directory.add(record, offset)

    def _begin_member(self, record: bytes, offset: int) -> None:
        if len(self._entries) == MAX_MEMBERS:
            raise ResultCorruptError(f"the archive has more members than the limit of {MAX_MEMBERS}")
        header = read_local(record)
        self._header, self._offset = header, offset
        self._check_name(header.name)
        self._check_sizes(header)
        buffer_for = partial(self._buffer_for, header.name.removesuffix(".npy"))
        available = (self._max_body_bytes if self._declared_bytes is None else self._declared_bytes) - self._position
        if header.method == STORED:
            self._member = StoredMember(
                NpyDecoder(self._left_bytes, header.size, available_bytes=available, buffer_for=buffer_for)
            )
        else:
            npy = NpyDecoder(
                self._left_bytes, header.size, available_bytes=available * _MAX_RATIO, buffer_for=buffer_for
            )
            self._member = DeflatedMember(npy, compressed_bytes=header.compressed)

    def _check_name(self, name: str) -> None:
        if not name.endswith(".npy"):
            raise ResultCorruptError("it is not an array (its name does not end in .npy)")
        if not name.isprintable() or "\\" in name or _ABSOLUTE.match(name) or ".." in name.split("/"):
            raise ResultCorruptError("it has an unsafe name")
        if name.removesuffix(".npy") in self._arrays:
            raise ResultCorruptError("another member has the same name")
        self._names_bytes += _ENTRY_BYTES + len(name)
        if self._names_bytes > MAX_DIRECTORY_BYTES:
            raise ResultCorruptError(f"the archive's directory is larger than the limit of {MAX_DIRECTORY_BYTES} bytes")

    def _check_sizes(self, header: LocalHeader) -> None:
        """Check the sizes before anything is allocated. Sizes that follow the member are bounded by the header of its array."""
        if header.size is None or header.compressed is None:
            return
        most = header.compressed * (1 if header.method == STORED else _MAX_RATIO)
        if header.size > most or (header.method == STORED and header.size < most):
            raise ResultCorruptError(f"it cannot unpack to {header.size} bytes from {header.compressed}")
        if self._declared_bytes is not None and header.compressed > self._declared_bytes - self._position:
            raise ResultCorruptError(f"its {header.compressed} bytes would reach beyond the end of the body")
        if header.size > self._left_bytes + MAX_OVERHEAD_BYTES:
            size = self._max_bytes - self._left_bytes + header.size
            raise ResultTooLargeError(f"the arrays have about {size} bytes, more than the limit of {self._max_bytes}")

    def _end_member(self, member: StoredMember | DeflatedMember) -> None:
        header = self._header
        assert header is not None  # a member has one
        array = member.finish()
        self._member = self._direct = None
        self._arrays[header.name.removesuffix(".npy")] = array
        self._left_bytes -= array.nbytes
        if self._digest is not None and isinstance(member, StoredMember):
            for part in member.content():
                self._digest.defer(part)
        entry = ZipEntry(header.name, header.method, member.crc, member.compressed, member.size, self._offset)
        if header.crc is None:
            self._undescribed = entry
            return
        if header.crc != member.crc:
            raise ResultCorruptError("its CRC-32 is not that of its bytes: it is damaged")
        self._end_entry(entry)

    def _end_entry(self, entry: ZipEntry) -> None:
        self._entries.append(entry)
        self._header = self._undescribed = None

    def _check_not_rejected(self) -> None:
        if self._is_rejected:
            raise ResultCorruptError("this archive was rejected before")

    @contextmanager
    def _releasing_on_error(self) -> Iterator[None]:
        """Release all memory at the first error, and name the member in it."""
        try:
            yield
        except (ResultCorruptError, ResultTooLargeError):
            self._is_rejected = True
            self._arrays, self._member, self._direct, self._digest = {}, None, None, None
            if self._header is None:
                raise
            with naming_member(self._header.name):
                raise
