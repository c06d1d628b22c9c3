"""
Which processes are alive that are sending something. Each holds a lock on one byte of a file beside the journal, at the offset
that is its number. The system releases the lock when the process ends, however it ends. So a living process cannot look dead, or
a dead one alive, because of a process id that is used again, a container that cannot see the others or a clock that was set.
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import file_locks

_EXCLUSIVE_OFFSET = 0
_HOLDER_OFFSET = 1
_HOLDER_WIDTH = 20
"""Where the process that keeps the others out writes its id."""
_MAX_NUMBER = 2**48
_LONGEST_PAUSE_SECONDS = 0.05


class ProcessLock:
    """
    The number of this process, locked on one file until the process ends. ``at`` returns one lock for a file, whatever its path.

    The file stays open: where the system has no locks of an open file, closing any descriptor of a file drops all locks that the
    process has on it. A forked child inherits no lock and has a number of its own.
    """

    def __init__(self, path: Path, descriptor: int, number: int) -> None:
        self.number = number
        self._path = path
        self._descriptor = descriptor
        self._threads = threading.Lock()
        if not file_locks.try_to_lock(descriptor, number):
            raise OSError(errno.EBUSY, f"{path} cannot be locked")  # or two processes drew the same of 2^48 numbers

    @classmethod
    def at(cls, path: Path) -> ProcessLock:
        """
        Return this process's lock on the file at ``path``, which may have been replaced since the last call. Earlier files stay
        locked: they may come back.

        Raises:
            OSError: the file cannot be created or locked.
        """
        with _process.mutex:
            lock = _process.locks.get(_identity(path))
            if lock is None:
                descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
                identity = _identity(descriptor)
                lock = _process.locks.get(identity)
                _process.descriptors.append(descriptor)  # never closed: that could drop the locks of the process
                if lock is None:
                    lock = _process.locks[identity] = cls(path, descriptor, _process.number)
            return lock

    def is_held(self, number: int) -> bool:
        """Return whether the process with this number is alive. Only one process may call this at a time, as within a write."""
        return number == self.number or file_locks.is_locked(self._descriptor, number)

    @contextmanager
    def exclusive(self, timeout: float) -> Iterator[None]:
        """
        Keep other processes and threads out of the block.

        Raises:
            OSError: another one has kept this one out for ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        if not self._threads.acquire(timeout=timeout):
            raise OSError(
                errno.EBUSY, f"{self._path} has been locked by another thread of this process for {timeout:g} s"
            )
        try:
            pause = 0.001
            while not file_locks.try_to_lock(self._descriptor, _EXCLUSIVE_OFFSET):
                if time.monotonic() >= deadline:
                    raise OSError(errno.EBUSY, f"{self._path} has been locked by {self._holder()} for {timeout:g} s")
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            try:
                self._note_holder()
                yield
            finally:
                file_locks.unlock(self._descriptor, _EXCLUSIVE_OFFSET)
        finally:
            self._threads.release()

    def _note_holder(self) -> None:
        with suppress(OSError):  # of a full disk
            os.lseek(self._descriptor, _HOLDER_OFFSET, os.SEEK_SET)
            os.write(self._descriptor, f"{os.getpid():<{_HOLDER_WIDTH}}".encode())

    def _holder(self) -> str:
        os.lseek(self._descriptor, _HOLDER_OFFSET, os.SEEK_SET)
        number = os.read(self._descriptor, _HOLDER_WIDTH).strip()
        return f"process {int(number)}" if number.isdigit() else "another process"


class _Process:
    """What this process holds. A forked child begins with nothing."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.number = random.SystemRandom().randrange(1 + _HOLDER_OFFSET + _HOLDER_WIDTH, _MAX_NUMBER)
        self.locks: dict[tuple[int, int] | None, ProcessLock] = {}
        self.descriptors: list[int] = []


_process = _Process()


def _renew() -> None:
    """Let go of the parent's files in a forked child: the locks of an open file would live on in the child."""
    global _process  # noqa: PLW0603
    for descriptor in _process.descriptors:
        with suppress(OSError):
            os.close(descriptor)
    _process = _Process()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def _identity(file: Path | int) -> tuple[int, int] | None:
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
