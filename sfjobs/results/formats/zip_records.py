"""
Parsers for the records between and behind the members of a zip archive: pure functions, which check every number against the
bytes at hand. The format is PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.5.3. Called by ``npz`` and ``zip_directory``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...errors import ResultCorruptError, ResultTooLargeError

LOCAL = b"PK\x03\x04"
CENTRAL = b"PK\x01\x02"
END64 = b"PK\x06\x06"
LOCATOR = b"PK\x06\x07"
END = b"PK\x05\x06"
ARCHIVE_STARTS = (LOCAL, END, END64)
"""How an archive begins: with a member, or with an end record if it is empty."""

SIGNATURE_BYTES = 4
"""Length of the signature of a record. A data descriptor, which may have no signature, is longer."""

STORED, DEFLATED = 0, 8

_DESCRIPTOR = b"PK\x07\x08"
_HAS_DESCRIPTOR = 0x8
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_PATCHED = 0x20
_UTF_8 = 0x800
_IN_EXTRA_32, _IN_EXTRA_16 = 0xFFFFFFFF, 0xFFFF
_ZIP64 = 1

_LAYOUTS = {
    LOCAL: struct.Struct("<4s5H3I2H"),
    CENTRAL: struct.Struct("<4s6H3I5H2I"),
    END64: struct.Struct("<4sQ2H2I4Q"),
    LOCATOR: struct.Struct("<4sIQI"),
    END: struct.Struct("<4s4H2IH"),
}
# The fields with the lengths of the name, extra field and comment behind a record.
_LENGTHS = {LOCAL: slice(9, 11), CENTRAL: slice(10, 13), END: slice(7, 8)}


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """A member as it was read, or as the directory describes it. ``offset`` is that of its local header."""

    name: str
    method: int
    crc: int
    compressed: int
    size: int
    offset: int


@dataclass(frozen=True, slots=True)
class LocalHeader:
    """The header before a member; sizes and checksum are None where they follow the member."""

    name: str
    method: int
    crc: int | None
    compressed: int | None
    size: int | None


@dataclass(frozen=True, slots=True)
class EndRecord:
    """The description of the directory in an end record; None where the other end record has the number."""

    count: int | None
    length: int | None
    offset: int | None


def record_length(record: bytes | bytearray) -> int:
    """Return how long the record is that begins like this, as far as these bytes show."""
    if len(record) < SIGNATURE_BYTES:
        return SIGNATURE_BYTES
    signature = bytes(record[:SIGNATURE_BYTES])
    layout = _LAYOUTS.get(signature)
    if layout is None:
        raise ResultCorruptError(
            f"the archive has the bytes {signature!r} in place of a record: it is damaged, or it has gaps, which are not "
            "supported"
        )
    if len(record) < layout.size or signature not in _LENGTHS:
        return layout.size
    lengths: tuple[int, ...] = layout.unpack_from(record)[_LENGTHS[signature]]
    return layout.size + sum(lengths)


def read_local(record: bytes) -> LocalHeader:
    layout = _LAYOUTS[LOCAL]
    _, _, flags, method, _, _, crc, compressed, size, name_length, _ = layout.unpack_from(record)
    end = layout.size + name_length
    name = _name(record[layout.size : end], flags)
    with naming_member(name):
        _check_readable(flags, method)
        if flags & _HAS_DESCRIPTOR:
            return LocalHeader(name, method, None, None, None)
        size, compressed = _full_numbers((size, compressed), record[end:])
    return LocalHeader(name, method, crc, compressed, size)


def read_entry(record: bytes) -> ZipEntry:
    layout = _LAYOUTS[CENTRAL]
    fields = layout.unpack_from(record)
    flags, method, crc, compressed, size, name_length, extra_length = (*fields[3:5], *fields[7:12])
    disk, offset = fields[13], fields[16]
    end = layout.size + name_length
    name = _name(record[layout.size : end], flags)
    with naming_member(name):
        _check_readable(flags, method)
        size, compressed, offset = _full_numbers((size, compressed, offset), record[end : end + extra_length])
        if disk not in {0, _IN_EXTRA_16}:
            raise ResultCorruptError("the directory puts it on another disk")
    return ZipEntry(name, method, crc, compressed, size, offset)


def read_end64(record: bytes) -> EndRecord:
    layout = _LAYOUTS[END64]
    _, length, _, _, disk, directory_disk, count_here, count, directory_length, offset = layout.unpack_from(record)
    if length != layout.size - 12:  # the length field does not count itself and what is before it
        raise ResultCorruptError(f"the archive's zip64 end record has the unusual length {length}")
    if (disk, directory_disk, count_here) != (0, 0, count):
        raise ResultCorruptError("the archive is declared to span several disks")
    return EndRecord(count, directory_length, offset)


def check_locator(record: bytes, *, end64_offset: int) -> None:
    _, disk, offset, disks = _LAYOUTS[LOCATOR].unpack_from(record)
    if disk or disks > 1:
        raise ResultCorruptError("the archive is declared to span several disks")
    if offset != end64_offset:
        raise ResultCorruptError(f"the archive's zip64 end record is declared at {offset}, but is at {end64_offset}")


def read_end(record: bytes, *, has_end64: bool) -> EndRecord:
    """Read the end record. With a zip64 end record before it, numbers whose bits are all 1 refer to that one."""
    _, disk, directory_disk, count_here, count, length, offset, _ = _LAYOUTS[END].unpack_from(record)
    first_disk = {0, _IN_EXTRA_16} if has_end64 else {0}
    if disk not in first_disk or directory_disk not in first_disk or count_here != count:
        raise ResultCorruptError("the archive is declared to span several disks")
    return EndRecord(
        None if has_end64 and count == _IN_EXTRA_16 else count,
        None if has_end64 and length == _IN_EXTRA_32 else length,
        None if has_end64 and offset == _IN_EXTRA_32 else offset,
    )


def descriptor_length(record: bytes | bytearray, *, crc: int, compressed: int, size: int) -> int:
    """
    Return how long the data descriptor is that begins like this, as far as these bytes show.

    A descriptor may or may not have a signature, and has sizes of 4 or of 8 bytes; the numbers of the member before it, which
    are known, decide. No member has 0 bytes, so the sizes are never ambiguous.
    """
    start = SIGNATURE_BYTES if record.startswith(_DESCRIPTOR) else 0
    sizes = start + 4
    if len(record) < sizes:
        return sizes
    if int.from_bytes(record[start:sizes], "little") != crc:
        raise ResultCorruptError("the CRC-32 behind it is not that of its bytes: it is damaged")
    if len(record) < sizes + 8:
        return sizes + 8
    first, second = struct.unpack_from("<II", record, sizes)
    if (first, second) == (compressed, size):
        return sizes + 8
    if len(record) < sizes + 16:
        return sizes + 16
    if struct.unpack_from("<QQ", record, sizes) != (compressed, size):
        raise ResultCorruptError("the sizes behind it are not those of its bytes: it is damaged")
    return sizes + 16


@contextmanager
def naming_member(name: str) -> Iterator[None]:
    """Make an error name the member."""
    try:
        yield
    except (ResultCorruptError, ResultTooLargeError) as error:
        raise type(error)(f"member {name[:80]!r}: {error.message}") from error.__cause__


def _check_readable(flags: int, method: int) -> None:
    if flags & _ENCRYPTED:
        raise ResultCorruptError("it is encrypted")
    if flags & _PATCHED:
        raise ResultCorruptError("it is a patch of another file")
    if method not in {STORED, DEFLATED}:
        raise ResultCorruptError(f"it is compressed by the unusual method {method}")


def _name(name: bytes, flags: int) -> str:
    try:
        return name.decode("utf-8" if flags & _UTF_8 else "cp437")
    except UnicodeDecodeError as error:
        raise ResultCorruptError(f"its name {name[:80]!r} is not UTF-8") from error


def _full_numbers(numbers: tuple[int, ...], extra: bytes) -> list[int]:
    """Return the numbers; those whose bits are all 1 are replaced by the next one of the zip64 field in ``extra``."""
    field = _zip64_field(extra) if _IN_EXTRA_32 in numbers else b""
    full = list(numbers)
    for index, number in enumerate(numbers):
        if number != _IN_EXTRA_32:
            continue
        if len(field) < 8:
            raise ResultCorruptError("its sizes should be in a zip64 field, which is missing or too short")
        full[index] = int.from_bytes(field[:8], "little")
        field = field[8:]
    return full


def _zip64_field(extra: bytes) -> bytes:
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == _ZIP64:
            return extra[4 : 4 + length]
        extra = extra[4 + length :]
    return b""
