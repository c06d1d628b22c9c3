"""
Results that were fetched before, in a folder. What is found there is used only after the platform has said, to the account that
asks, that it is still the result (``If-None-Match``). Blocking; a disk that is full or cannot be written costs the cache and
nothing else. Called by ``fetching`` and by the command ``sfjobs cache``.

    SHA-256 of what was asked for.entry     JSON: the entity tag, and digest and size of the body
    SHA-256 of the body.body                the body as it came

Any number of processes share a folder without locks: a file appears whole, has its final content, and may go at any moment. An
open one stays readable; one that is gone, or is not what its name says, was never there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Self

from ..._util.atomic_file import AtomicFile
from ..formats.digest import file_digest

logger = logging.getLogger("sfjobs")

_ENTRY, _BODY, _PART = ".entry", ".body", ".part"
_OURS = re.compile(r"[0-9a-f]{64}\.(?:entry|body)|\.sfjobs-[0-9a-f]{16}\.part", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LARGEST_ENTRY = 1 << 14
_LEFT = 0.9
"""Share of all that there may be that is left when something has to go: the folder is not read again for each that comes."""
_ABANDONED = 24 * 3600.0
"""Seconds after which a part belongs to a process that did not live to remove it."""

_reported: set[Path] = set()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a cache holds: how many bodies, and the bytes of all its files."""

    results: int
    size: int


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What is known of a body without opening it."""

    etag: str
    digest: str
    size: int

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises OSError, and ValueError for anything that was not written by ``write``."""
        with path.open("rb") as file:
            match json.loads(file.read(_LARGEST_ENTRY)):
                case {"etag": str(etag), "digest": str(digest), "size": int(size)} if _DIGEST.fullmatch(digest):
                    return cls(etag, digest, size)
        raise ValueError("not an entry")

    def write(self, path: Path) -> None:
        with AtomicFile(path, mode=0o600, durable=False) as part:
            part.write(json.dumps({"etag": self.etag, "digest": self.digest, "size": self.size}).encode())
            part.commit()


@dataclass(frozen=True, slots=True)
class Kept:
    """A body that was found, whole and undamaged, and is open."""

    entry: CacheEntry
    file: BufferedReader


class ResultCache:
    """The folder, and the bytes that its files may have together. A result has a ``name``, made by ``name_of``."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._size: int | None = (
            None  # as far as this process has seen; the folder is only read when it may be too much
        )

    def find(self, name: str, checkpoint: Callable[[], object] = lambda: None) -> Kept | None:
        """
        The body, for the caller to close. What is damaged, is removed. ``checkpoint`` is called while it is read, and may raise
        to stop.
        """
        path = self._folder / (name + _ENTRY)
        try:
            self._check_folder()
            entry = CacheEntry.read(path)
            return self._open(entry, path, checkpoint)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.report(error)
        except (ValueError, RecursionError):
            _remove(path)
        return None

    def record(self, name: str, etag: str, digest: bytes, size: int | None) -> Recording | None:
        """Takes a body on its way; None for one that is larger than all that there may be."""
        if (size or 0) > self._most_bytes:
            return None
        return Recording(self, name, CacheEntry(etag, digest.hex(), size or 0), self._most_bytes)

    def part_of(self, entry: CacheEntry) -> AtomicFile:
        """Where the body is to be written. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_folder()
        part = AtomicFile(self._folder / (entry.digest + _BODY), mode=0o600, durable=False)
        part.open()
        return part

    def add(self, name: str, entry: CacheEntry) -> None:
        """The body has come; from now on it can be found. Makes room for it. Raises OSError."""
        entry.write(self._folder / (name + _ENTRY))
        if self._size is not None:
            self._size += entry.size
        if self._size is None or self._size > self._most_bytes:
            self._size = self._evict(entry)

    def usage(self) -> Usage:
        """Raises OSError where the folder cannot be read."""
        files = list(self._files())
        return Usage(sum(path.suffix == _BODY for path, _ in files), sum(about.st_size for _, about in files))

    def clear(self) -> Usage:
        """Removes all of it, but nothing that is not its own; says what that was. Raises OSError."""
        usage = self.usage()
        for path, _ in self._files():
            _remove(path)
        return usage

    def report(self, error: OSError) -> None:
        """Says once that the cache does not work; what it was wanted for goes on without."""
        if self._folder not in _reported:
            _reported.add(self._folder)
            logger.warning("results are not kept in %s: %s", self._folder, error.strerror or error)

    def _open(self, entry: CacheEntry, path: Path, checkpoint: Callable[[], object]) -> Kept | None:
        body = self._folder / (entry.digest + _BODY)
        file = body.open("rb")
        try:
            size = os.fstat(file.fileno()).st_size
            if size == entry.size and file_digest(file, checkpoint).hex() == entry.digest:
                file.seek(0)
                for used in (body, path):
                    with suppress(OSError):
                        os.utime(used)
                return Kept(entry, file)
        except BaseException:
            file.close()
            raise
        file.close()
        logger.info("%s is damaged and is fetched again", body)
        _remove(path)
        _remove(body)
        return None

    def _check_folder(self) -> None:
        """In a folder that others can write to, an entry and its body could be anybody's."""
        about = self._folder.stat()
        if os.name == "posix" and (about.st_uid != os.geteuid() or about.st_mode & 0o022):
            raise PermissionError(f"others can write to it: chmod 700 {self._folder}")

    def _evict(self, newest: CacheEntry) -> int:
        """When it is too much, what was used longest ago goes; returns the bytes of what is left, as far as can be told."""
        files = sorted((about.st_mtime_ns, about.st_size, path.name) for path, about in self._files())
        size = sum(size for _, size, _ in files)
        most = self._most_bytes
        if size > most:
            most = min(most, max(int(most * _LEFT), newest.size + _LARGEST_ENTRY))
        abandoned = (time.time() - _ABANDONED) * 1e9
        for used, its_size, name in files:
            is_part = name.endswith(_PART)
            if (is_part and used < abandoned) or (size > most and not is_part):
                size -= its_size if _remove(self._folder / name) else 0
        return size

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        try:
            with os.scandir(self._folder) as found:
                for item in found:
                    if _OURS.fullmatch(item.name):
                        with suppress(FileNotFoundError):
                            yield Path(item.path), item.stat(follow_symlinks=False)
        except FileNotFoundError:
            return


class Recording:
    """A body on its way into the cache, which is given up at the first trouble. The calls come from worker threads."""

    def __init__(self, cache: ResultCache, name: str, entry: CacheEntry, most_bytes: int) -> None:
        self._cache = cache
        self._name = name
        self._entry = entry
        self._most_bytes = most_bytes
        self._sha = hashlib.sha256()
        self._size = 0
        self._part: AtomicFile | None = None
        self.is_over = False

    def write(self, data: bytes | bytearray) -> None:
        """The next bytes."""
        if self.is_over:
            return
        try:
            if self._part is None:
                self._part = self._cache.part_of(self._entry)
            self._part.write(data)
        except OSError as error:
            self._cache.report(error)
            self.discard()
        self._sha.update(data)
        self._size += len(data)
        if self._size > self._most_bytes:
            self.discard()

    def complete(self, data: bytes | bytearray) -> None:
        """The last bytes. What is not what the platform said of it is not kept."""
        self.write(data)
        if self.is_over or self._part is None:
            return
        try:
            if self._sha.hexdigest() == self._entry.digest:
                self._part.commit()
                self._cache.add(self._name, CacheEntry(self._entry.etag, self._entry.digest, self._size))
        except OSError as error:
            self._cache.report(error)
        self.discard()

    def discard(self) -> None:
        """Nothing of it stays that is not complete. Safe to call twice."""
        self.is_over = True
        if self._part is not None:
            self._part.discard()


def name_of(*asked: str) -> str:
    """The name for what was asked for: platform, job and format."""
    return hashlib.sha256("\n".join(asked).encode()).hexdigest()


def _remove(path: Path) -> bool:
    """On Windows a file that somebody reads cannot go; then it stays until it can."""
    try:
        path.unlink()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
