"""
A folder of results that were fetched before. A cached result is used only after the platform confirmed to this account that it is
still current (``If-None-Match``). Blocking. A full or read-only disk disables the cache and breaks nothing else. Called by
``fetcher`` and by the command ``sfjobs cache``.

    SHA-256 of platform, version, job, format.entry     JSON: the entity tag, and digest and size of the body
    SHA-256 of the body.body                            the body, unchanged

Any number of processes share a folder without locks: a file appears complete, never changes, and may be deleted at any time. An
open file stays readable. A missing file, or one that does not match its name, counts as not cached.
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
_CACHE_FILE = re.compile(r"[0-9a-f]{64}\.(?:entry|body)|\.sfjobs-[0-9a-f]{16}\.part", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_ENTRY_BYTES = 1 << 14
# Share of the limit to which the cache is cut when it is exceeded, so that not every new result reads the folder again.
_SHARE_AFTER_EVICTION = 0.9
_ABANDONED_AFTER_SECONDS = 24 * 3600.0  # then the process that wrote a part has crashed

_reported: set[Path] = set()


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """The number of bodies in a cache, and the bytes of all its files."""

    results: int
    size: int


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What is known about a body without opening it."""

    etag: str
    digest: str
    size: int

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an entry. Raises OSError, and ValueError for a file that ``write`` did not write."""
        with path.open("rb") as file:
            match json.loads(file.read(_MAX_ENTRY_BYTES)):
                case {"etag": str(etag), "digest": str(digest), "size": int(size)} if _DIGEST.fullmatch(digest):
                    return cls(etag, digest, size)
        raise ValueError("not an entry")

    def write(self, path: Path) -> None:
        with AtomicFile(path, mode=0o600, durable=False) as file:
            file.write(json.dumps({"etag": self.etag, "digest": self.digest, "size": self.size}).encode())
            file.commit()


@dataclass(frozen=True, slots=True)
class CachedBody:
    """A complete, undamaged body, open for reading."""

    entry: CacheEntry
    file: BufferedReader


class ResultCache:
    """The cache in ``folder``, whose files have at most ``max_bytes`` together. ``cache_key`` makes the key of a result."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        # As far as this process knows: the folder is read only when it may exceed the limit.
        self._size: int | None = None

    def find(self, key: str, checkpoint: Callable[[], object] = lambda: None) -> CachedBody | None:
        """
        Return a cached body, which the caller closes. A damaged one is deleted.

        ``checkpoint`` is called while the body is hashed, and may raise.
        """
        path = self._folder / (key + _ENTRY)
        try:
            self._check_folder()
            entry = CacheEntry.read(path)
            return self._open(entry, path, checkpoint)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.report(error)
        except (ValueError, RecursionError):
            _delete(path)
        return None

    def writer(self, key: str, etag: str, digest: bytes, size: int | None) -> CacheWriter | None:
        """Return the writer for a body that is being downloaded, or None if it is larger than the cache."""
        if (size or 0) > self._max_bytes:
            return None
        return CacheWriter(self, key, CacheEntry(etag, digest.hex(), size or 0), self._max_bytes)

    def create_body(self, entry: CacheEntry) -> AtomicFile:
        """Create the file for a body. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_folder()
        file = AtomicFile(self._folder / (entry.digest + _BODY), mode=0o600, durable=False)
        file.open()
        return file

    def add(self, key: str, entry: CacheEntry) -> None:
        """Write the entry of a body that is complete, and delete old ones above the limit. Raises OSError."""
        entry.write(self._folder / (key + _ENTRY))
        if self._size is not None:
            self._size += entry.size
        if self._size is None or self._size > self._max_bytes:
            self._size = self._evict(entry)

    def usage(self) -> CacheUsage:
        """Count the files. Raises OSError if the folder cannot be read."""
        files = list(self._files())
        return CacheUsage(sum(path.suffix == _BODY for path, _ in files), sum(about.st_size for _, about in files))

    def clear(self) -> CacheUsage:
        """Delete the files of the cache, and no others; return their usage. Raises OSError."""
        usage = self.usage()
        for path, _ in self._files():
            _delete(path)
        return usage

    def report(self, error: OSError) -> None:
        """Log once for each folder that the cache does not work; the download goes on without it."""
        if self._folder not in _reported:
            _reported.add(self._folder)
            reason = error.strerror or error
            logger.warning("results are not cached in %s: %s. Each one is downloaded again.", self._folder, reason)

    def _open(self, entry: CacheEntry, path: Path, checkpoint: Callable[[], object]) -> CachedBody | None:
        body = self._folder / (entry.digest + _BODY)
        file = body.open("rb")
        try:
            size = os.fstat(file.fileno()).st_size
            if size == entry.size and file_digest(file, checkpoint).hex() == entry.digest:
                file.seek(0)
                for used in (body, path):
                    with suppress(OSError):
                        os.utime(used)
                return CachedBody(entry, file)
        except BaseException:
            file.close()
            raise
        file.close()
        logger.info("%s is damaged, so the result is downloaded again", body)
        _delete(path)
        _delete(body)
        return None

    def _check_folder(self) -> None:
        """Reject a folder that others can write to: they could have put both an entry and its body there."""
        about = self._folder.stat()
        if os.name == "posix" and (about.st_uid != os.geteuid() or about.st_mode & 0o022):
            raise PermissionError(f"others can write to it: chmod 700 {self._folder}")

    def _evict(self, newest: CacheEntry) -> int:
        """Delete the least recently used files above the limit; return the bytes that are left, as far as known."""
        files = sorted((about.st_mtime_ns, about.st_size, path.name) for path, about in self._files())
        size = sum(size for _, size, _ in files)
        limit = self._max_bytes
        if size > limit:
            limit = min(limit, max(int(limit * _SHARE_AFTER_EVICTION), newest.size + _MAX_ENTRY_BYTES))
        abandoned = (time.time() - _ABANDONED_AFTER_SECONDS) * 1e9
        for used, file_size, name in files:
            is_part = name.endswith(_PART)
            if (is_part and used < abandoned) or (size > limit and not is_part):
                size -= file_size if _delete(self._folder / name) else 0
        return size

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        try:
            with os.scandir(self._folder) as found:
                for item in found:
                    if _CACHE_FILE.fullmatch(item.name):
                        with suppress(FileNotFoundError):
                            yield Path(item.path), item.stat(follow_symlinks=False)
        except FileNotFoundError:
            return


class CacheWriter:
    """
    Writes a body to the cache while it is downloaded, and stops at the first error. Its methods are called from worker threads.
    """

    def __init__(self, cache: ResultCache, key: str, entry: CacheEntry, max_bytes: int) -> None:
        self._cache = cache
        self._key = key
        self._entry = entry
        self._max_bytes = max_bytes
        self._sha = hashlib.sha256()
        self._size = 0
        self._file: AtomicFile | None = None
        self.is_over = False

    def write(self, data: bytes | bytearray) -> None:
        """Write the next bytes."""
        if self.is_over:
            return
        try:
            if self._file is None:
                self._file = self._cache.create_body(self._entry)
            self._file.write(data)
        except OSError as error:
            self._cache.report(error)
            self.discard()
        self._sha.update(data)
        self._size += len(data)
        if self._size > self._max_bytes:
            self.discard()

    def complete(self, data: bytes | bytearray) -> None:
        """Write the last bytes, and add the body to the cache if it has the digest that the platform gave."""
        self.write(data)
        if self.is_over or self._file is None:
            return
        try:
            if self._sha.hexdigest() == self._entry.digest:
                self._file.commit()
                self._cache.add(self._key, CacheEntry(self._entry.etag, self._entry.digest, self._size))
        except OSError as error:
            self._cache.report(error)
        self.discard()

    def discard(self) -> None:
        """Delete the body unless it is complete. Safe to call twice."""
        self.is_over = True
        if self._file is not None:
            self._file.discard()


def cache_key(*parts: str) -> str:
    """Return the key for a request: platform, protocol version, job and format."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _delete(path: Path) -> bool:
    """Delete a file if possible. On Windows an open file cannot be deleted, and stays until a later eviction."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
