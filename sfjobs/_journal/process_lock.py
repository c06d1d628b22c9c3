"""
Which processes are alive that are sending something. Each holds a lock on one byte of a file beside the journal, at the offset
that is its number. The system releases the lock when the process ends, however it ends. So a living process cannot look dead, or
a dead one alive, because of a process id that is used again, a container that cannot see the others or a clock that was set.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_EXCLUSIVE_OFFSET = 0
_MAX_NUMBER = 2**48


class ProcessLock:
    """
    The number of this process on one journal, locked until the process ends.

    The file stays open: closing any descriptor of a file drops all locks that the process has on it. A forked child inherits no
    lock and needs its own number.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        self.number = random.SystemRandom().randrange(1, _MAX_NUMBER)
        if not _try_to_lock(self._descriptor, self.number):
            raise OSError(f"{path} cannot be locked")  # or two processes drew the same of 2^48 numbers

    def is_held(self, number: int) -> bool:
        """Return whether the process with this number is alive. Only one process may call this at a time, as within a write."""
        if number == self.number:
            return True
        if not _try_to_lock(self._descriptor, number):
            return True
        _locking(self._descriptor, _UNLOCK, number)
        return False

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes out of the block."""
        _locking(self._descriptor, _LOCK, _EXCLUSIVE_OFFSET)
        try:
            yield
        finally:
            _locking(self._descriptor, _UNLOCK, _EXCLUSIVE_OFFSET)


if sys.platform == "win32":
    import msvcrt

    def _locking(descriptor: int, mode: int, offset: int) -> None:
        os.lseek(descriptor, offset, os.SEEK_SET)
        msvcrt.locking(descriptor, mode, 1)

    _LOCK, _TRY_TO_LOCK, _UNLOCK = msvcrt.LK_LOCK, msvcrt.LK_NBLCK, msvcrt.LK_UNLCK
else:
    import fcntl

    def _locking(descriptor: int, mode: int, offset: int) -> None:
        fcntl.lockf(descriptor, mode, 1, offset)

    _LOCK, _TRY_TO_LOCK, _UNLOCK = fcntl.LOCK_EX, fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN


def _try_to_lock(descriptor: int, offset: int) -> bool:
    try:
        _locking(descriptor, _TRY_TO_LOCK, offset)
    except OSError:
        return False
    return True
