"""
Compares the directory at the end of a zip archive with the members that were read before it. Where they differ, another reader
would see another archive, or the archive is damaged. Called by ``npz``.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ResultCorruptError
from .zip_records import (
    CENTRAL,
    END,
    END64,
    LOCATOR,
    EndRecord,
    ZipEntry,
    check_locator,
    read_end,
    read_end64,
    read_entry,
)

MAX_DIRECTORY_BYTES = 1 << 20

_NEXT = {
    None: {CENTRAL, END64, END},
    CENTRAL: {CENTRAL, END64, END},
    END64: {LOCATOR},
    LOCATOR: {END},
    END: set[bytes](),
}


class Directory:
    """The records behind the ``members``, the first of which is at ``offset``: one for each member, then the end records."""

    def __init__(self, members: Sequence[ZipEntry], offset: int) -> None:
        self._members = members
        self._offset = offset
        self._length = 0
        self._count = 0
        self._end64_offset: int | None = None
        self._last: bytes | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the end record was read; nothing may follow it."""
        return self._last == END

    def add(self, record: bytes, offset: int) -> None:
        """Check the next record, which was found at ``offset``."""
        signature = record[:4]
        if signature not in _NEXT[self._last]:
            raise ResultCorruptError(f"the archive is damaged: {signature!r} follows {self._last!r}")
        self._last = signature
        if signature == CENTRAL:
            self._add_entry(record)
        elif signature == END64:
            self._end64_offset = offset
            self._check_end(read_end64(record))
        elif signature == LOCATOR:
            check_locator(record, end64_offset=self._end64_offset or 0)
        else:
            self._check_end(read_end(record, has_end64=self._end64_offset is not None))

    def _add_entry(self, record: bytes) -> None:
        self._length += len(record)
        if self._length > MAX_DIRECTORY_BYTES:
            raise ResultCorruptError(f"the archive's directory is larger than the limit of {MAX_DIRECTORY_BYTES} bytes")
        if self._count == len(self._members):
            raise ResultCorruptError(
                f"the archive's directory has more entries than the archive's {self._count} members"
            )
        member = self._members[self._count]
        self._count += 1
        entry = read_entry(record)
        if entry != member:
            raise ResultCorruptError(
                f"member {member.name!r}: the directory does not describe it but {_difference(entry, member)}: the archive is "
                "damaged, or its members are not in the order of the directory, which is not supported"
            )

    def _check_end(self, end: EndRecord) -> None:
        if self._count < len(self._members):
            raise ResultCorruptError(f"the archive is damaged: {self._count} of {len(self._members)} members are left")
        for what, declared, found in (
            ("number of members", end.count, self._count),
            ("length of the directory", end.length, self._length),
            ("place of the directory", end.offset, self._offset),
        ):
            if declared not in {None, found}:
                raise ResultCorruptError(
                    f"the archive is damaged: the {what} is declared as {declared}, but is {found}"
                )


def _difference(entry: ZipEntry, member: ZipEntry) -> str:
    """Describe the first field that differs."""
    field = next(field for field in ZipEntry.__slots__ if getattr(entry, field) != getattr(member, field))
    return f"one of {field} {str(getattr(entry, field))[:80]!r}, not {str(getattr(member, field))[:80]!r}"
