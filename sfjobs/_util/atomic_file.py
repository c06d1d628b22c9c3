"""
Files that appear whole or not at all: written under a name that nobody can guess, made durable, and moved to where they
belong. Blocking; made to be used from worker threads. Called by ``files``, ``spooling`` and ``cache``.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

T = TypeVar("T")

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class AtomicFile:
    """
    A file beside ``path`` that takes its place with ``commit``, and is gone after ``discard``; leaving its ``with`` block
    discards what was not committed.

    The calls may come from different threads, and ``discard`` at any moment: whoever is cancelled does not wait for a thread
    that still opens or writes the file, and that thread must not leave it behind. An OSError names ``path``.
    """

    def __init__(self, path: Path, *, mode: int = 0o666, durable: bool = True) -> None:
        self._target = path
        self._path = path.with_name(f".sfjobs-{secrets.token_hex(8)}.part")
        self._mode = mode
        self._durable = durable
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._is_over = False

    def open(self) -> None:
        """Makes the file."""
        with self._lock, of_file(self._target):
            if not self._is_over:
                descriptor = os.open(self._path, _NEW, self._mode)
                self._file = os.fdopen(descriptor, "wb")

    def use(self, work: Callable[[IO[bytes]], T]) -> T | None:
        """What ``work`` does with the file; None where it has been discarded."""
        with self._lock, of_file(self._target):
            return None if self._file is None else work(self._file)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.use(lambda file: file.write(data))

    def read_back(self, read: Callable[[IO[bytes]], T]) -> T | None:
        """What ``read`` makes of all that was written; None where it has been discarded."""
        with self._lock, of_file(self._target):
            if self._file is None:
                return None
            self._file.flush()
            with self._path.open("rb") as written:
                return read(written)

    def commit(self) -> None:
        """The file takes the place of whatever was at ``path``, and survives a loss of power if it is to be ``durable``."""
        with self._lock, of_file(self._target):
            if self._file is None:
                return
            self._file.flush()
            if self._durable:
                os.fsync(self._file.fileno())
            self._file.close()
            self._path.replace(self._target)
            self._file, self._is_over = None, True
        if self._durable:
            _sync_folder(self._target.parent)

    def discard(self) -> None:
        """The file goes, unless it was committed. Safe to call twice."""
        with self._lock:
            file, self._file, self._is_over = self._file, None, True
            if file is not None:
                with suppress(OSError):  # what it still had to write is not wanted
                    file.close()
                self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


@contextmanager
def of_file(path: Path) -> Iterator[None]:
    """An error of the disk says which file was wanted: of a write the system names none, and of a part one that nobody knows."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _sync_folder(folder: Path) -> None:
    """Makes the renaming itself durable, where a folder can be opened and synchronised at all."""
    if os.name != "posix":
        return
    with suppress(OSError):  # a folder that may not be read, or a network file system that knows no such thing
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
