"""
Files that appear complete or not at all: written under a temporary name, synchronised, then renamed. Blocking; made to be
called from worker threads.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Self, TypeVar

T = TypeVar("T")

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class AtomicFile:
    """
    A file beside ``path`` that replaces it on ``commit`` and is deleted on ``discard``. Leaving the ``with`` block discards
    what was not committed.

    Thread-safe. A cancelled task calls ``discard`` while a worker thread still opens or writes the file, does not wait for
    that thread, and the thread must not leave the file behind. Every OSError names ``path``.
    """

    def __init__(self, path: Path, *, mode: int = 0o666, durable: bool = True) -> None:
        self._target = path
        self._path = path.with_name(f".sfjobs-{secrets.token_hex(8)}.part")
        self._mode = mode
        self._durable = durable
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._is_closed = False

    def open(self) -> None:
        """Create the file."""
        with self._lock, naming_file(self._target):
            if not self._is_closed:
                descriptor = os.open(self._path, _NEW, self._mode)
                # Not "w+b": numpy writes 200 MB in 0.14 s instead of 0.10 s to a file that can be read as well.
                self._file = os.fdopen(descriptor, "wb")

    def use(self, work: Callable[[IO[bytes]], T]) -> T | None:
        """Return ``work(file)``, or None if the file was discarded."""
        with self._lock, naming_file(self._target):
            return None if self._file is None else work(self._file)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.use(lambda file: file.write(data))

    def read_back(self, read: Callable[[IO[bytes]], T]) -> T | None:
        """Return ``read(file)`` for a reader of what was written, or None if the file was discarded."""

        def reopen(file: IO[bytes]) -> T:
            file.flush()
            with self._path.open("rb") as written:
                return read(written)

        return self.use(reopen)

    def commit(self) -> None:
        """Replace ``path``. A ``durable`` file survives a loss of power."""
        with self._lock, naming_file(self._target):
            if self._file is None:
                return
            self._file.flush()
            if self._durable:
                os.fsync(self._file.fileno())
            self._file.close()
            self._path.replace(self._target)
            self._file, self._is_closed = None, True
        if self._durable:
            _sync_folder(self._target.parent)

    def discard(self) -> None:
        """Delete the file unless it was committed. Safe to call twice."""
        with self._lock:
            file, self._file, self._is_closed = self._file, None, True
            if file is not None:
                with suppress(OSError):  # closing writes what is buffered, which is not needed any more
                    file.close()
                self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Make an OSError name ``path``: the system names no file for a write, and the temporary one for an open."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _sync_folder(folder: Path) -> None:
    """Make the renaming durable, where the system can open and synchronise a folder."""
    if os.name != "posix":
        return
    with suppress(OSError):  # the folder may not be read, or the network file system cannot do this
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
