"""
Which processes are alive that have something on its way. Each holds a lock on one byte of a file beside the journal, at the
place that is its number; the system lets go of it when the process ends, however it ends. So no process id that is used again,
no container that cannot see the others and no clock that was set can make a living process look dead, or a dead one alive.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_EVERYONE = 0
_LARGEST = 2**48


class ProcessLock:
    """
    This process's number on one journal. It is kept until the process ends: closing any descriptor of a file drops all locks
    that the process has on it. A forked child inherits no lock and has to take a number of its own.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        self.number = random.SystemRandom().randrange(1, _LARGEST)
        if not _try_to_lock(self._descriptor, self.number):
            raise OSError(f"{path} cannot be locked")  # or two have drawn the same of 2^48 numbers

    def is_held(self, number: int) -> bool:
        """Whether the process with this number lives. To be asked by one process at a time, as within a write to the journal."""
        if number == self.number:
            return True
        if not _try_to_lock(self._descriptor, number):
            return True
        _unlock(self._descriptor, number)
        return False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Only one process is in here."""
        _lock(self._descriptor, _EVERYONE)
        try:
            yield
        finally:
            _unlock(self._descriptor, _EVERYONE)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, place: int) -> None:
        os.lseek(descriptor, place, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)

    def _try_to_lock(descriptor: int, place: int) -> bool:
        os.lseek(descriptor, place, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int, place: int) -> None:
        os.lseek(descriptor, place, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int, place: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, place)

    def _try_to_lock(descriptor: int, place: int) -> bool:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int, place: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, place)
