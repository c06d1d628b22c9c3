"""
Locks on single bytes of a file. Linux has locks that belong to an open file, not to the process: opening and closing the same
file elsewhere in the process does not drop them (fcntl(2), "Open file description locks"). Elsewhere they are of the process.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path

_LOCKS = Path("/proc/locks")
_HELD_BY_ANOTHER = frozenset({errno.EAGAIN, errno.EACCES, errno.EDEADLK})

if sys.platform == "win32":
    import msvcrt

    def try_to_lock(descriptor: int, offset: int) -> bool:
        """Return whether the byte is locked now, without waiting."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock(descriptor: int, offset: int) -> None:
        os.lseek(descriptor, offset, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

    def is_locked(descriptor: int, offset: int) -> bool:
        """Return whether another open file has the byte locked."""
        if not try_to_lock(descriptor, offset):
            return True
        unlock(descriptor, offset)
        return False

else:
    import fcntl

    _FLOCK = "hhqqi0q"  # l_type, l_whence, l_start, l_len, l_pid of a struct flock with 64-bit offsets
    _SET: int | None = getattr(fcntl, "F_OFD_SETLK", None) if sys.platform == "linux" else None
    _GET: int | None = getattr(fcntl, "F_OFD_GETLK", None) if sys.platform == "linux" else None
    _not_of_open_files: set[int] = set()  # devices of file systems without such locks

    def try_to_lock(descriptor: int, offset: int) -> bool:
        """
        Return whether the byte is locked now, without waiting.

        Raises:
            OSError: the file system has no locks.
        """
        try:
            if not _control(descriptor, _SET, fcntl.F_WRLCK, offset):
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except OSError as error:
            if error.errno in _HELD_BY_ANOTHER:
                return False
            raise
        return True

    def unlock(descriptor: int, offset: int) -> None:
        if not _control(descriptor, _SET, fcntl.F_UNLCK, offset):
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, offset)

    def is_locked(descriptor: int, offset: int) -> bool:
        """Return whether another open file, or another process, has the byte locked."""
        found = _control(descriptor, _GET, fcntl.F_WRLCK, offset)
        if found:
            return bool(struct.unpack(_FLOCK, found)[0] != fcntl.F_UNLCK)
        if not try_to_lock(descriptor, offset):
            return True
        unlock(descriptor, offset)
        return False

    def _control(descriptor: int, command: int | None, kind: int, offset: int) -> bytes:
        """Return the answer to a command about a lock of the open file, or nothing where there are no such locks."""
        if command is None:
            return b""
        device = os.fstat(descriptor).st_dev
        if device in _not_of_open_files:
            return b""
        try:
            return fcntl.fcntl(descriptor, command, struct.pack(_FLOCK, kind, os.SEEK_SET, offset, 1, 0))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
                raise
            _not_of_open_files.add(device)
            return b""


def holders(*files: Path) -> list[int]:
    """Return the ids of the processes that have these files locked for writing, as far as Linux's /proc/locks tells."""
    inodes: set[str] = set()
    for file in files:
        with suppress(OSError):
            found = file.stat()
            inodes.add(f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}")
    try:
        lines = [line.split() for line in _LOCKS.read_text(encoding="ascii", errors="replace").splitlines()]
    except OSError:
        return []
    found_ids = {int(words[4]) for words in lines if len(words) > 5 and words[3] == "WRITE" and words[5] in inodes}
    return sorted(number for number in found_ids if number > 0)
