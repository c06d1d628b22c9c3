"""
From a body on its way to a file: checked while it passes, never in memory as a whole, and written in large pieces by a worker
thread, so that no disk holds up the event loop. Called by ``fetching`` and ``stream``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO

import anyio
import anyio.from_thread
import anyio.to_thread

from ..._http.download import ByteSource
from ..._util.aio import plain_task_group
from ..._util.atomic_file import AtomicFile, naming_file
from ...errors import ResultCorruptError
from ..formats.buffers import Checker
from ..formats.decoder import QUOTED_BYTES, ArrayDecoder, sink_for
from ..formats.digest import file_digest
from ..formats.npy import MAGIC
from .to_memory import fill, naming

PIECE_BYTES = 2 << 20
"""Two such buffers: one is filled while the other is written."""

SUFFIXES = (".npy", ".npz")
_UNLIMITED = 1 << 62


def check_suffix(path: Path) -> None:
    """Raises ValueError for a path that does not say which of the two formats to write."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} ends in neither .npy nor .npz")


async def save(source: ByteSource, path: Path, *, max_bytes: int, job_id: str, url: str) -> None:
    """
    The body becomes the file ``path``, whole and durable, or nothing: then what was there is as it was. ``max_bytes`` bounds
    what a deflated array unpacks to. Raises what ``receive`` does, OSError of the disk, and ValueError where the body is of
    another format than ``path`` by its suffix.
    """
    part = AtomicFile(path)
    try:
        await anyio.to_thread.run_sync(part.open)
        body = _Body(part.write, max_bytes, source.length, path.suffix)
        with naming(job_id, url):
            await _pour(source, body)
            check = partial(part.read_back, partial(_check_digest, _digest_to_check(source)))
            await anyio.to_thread.run_sync(_conclude, body, check, part.commit)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(part.discard)
        raise


async def spool(source: ByteSource, *, max_bytes: int, job_id: str, url: str) -> IO[bytes]:
    """
    The body in a temporary file without a name, which is gone when nobody has it open or mapped any more. Raises what ``save``
    does; an OSError names the folder of temporary files.
    """
    file = await anyio.to_thread.run_sync(TemporaryFile)

    def write(piece: memoryview) -> None:
        with naming_file(Path(gettempdir())):
            file.write(piece)

    try:
        with naming(job_id, url):
            body = _Body(write, max_bytes, source.length)
            await _pour(source, body)
            check = partial(_check_digest, _digest_to_check(source), file)
            await anyio.to_thread.run_sync(_conclude, body, check, file.flush)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(file.close)  # which frees all of it
        raise
    return file


class _Body:
    """What has come of a body, in a worker thread: checked, then written."""

    def __init__(
        self, write: Callable[[memoryview], object], max_bytes: int, length: int | None, suffix: str | None = None
    ) -> None:
        self._write = write
        self._length = length
        self._checker = Checker(max_bytes, length)
        self._suffix = suffix
        self._sink: ArrayDecoder | None = None

    def take(self, piece: memoryview) -> None:
        self._begun(piece).feed(piece, anyio.from_thread.check_cancelled)
        self._write(piece)

    def finish(self) -> None:
        self._begun(memoryview(b"")).finish()

    def _begun(self, piece: memoryview) -> ArrayDecoder:
        if self._sink is None:
            start = bytes(piece[:QUOTED_BYTES])
            self._sink = sink_for(start, max_bytes=_UNLIMITED, declared_bytes=self._length, memory=self._checker.memory)
            suffix = ".npy" if start.startswith(MAGIC) else ".npz"
            if self._suffix not in {None, suffix}:
                raise ValueError(f"the platform sends a {suffix} file, which cannot be saved under {self._suffix}")
        return self._sink


async def _pour(source: ByteSource, body: _Body) -> None:
    size = PIECE_BYTES if source.length is None else min(PIECE_BYTES, source.length + 1)
    filled = memoryview(bytearray(size))
    count = await fill(source, filled, enough=size)
    spare = memoryview(bytearray(size if count == size else 0))
    while count:
        coming = 0
        async with plain_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, body.take, filled[:count])
            coming = await fill(source, spare, enough=size)
        filled, spare, count = spare, filled, coming


def _conclude(body: _Body, check: Callable[[], object], complete: Callable[[], object]) -> None:
    body.finish()
    check()
    complete()


def _digest_to_check(source: ByteSource) -> bytes | None:
    """Asked after the end: only what came from more than one answer is worth the time, which is 0.5 s for each GB."""
    digest: bytes | None = getattr(source, "digest", None)
    return digest if getattr(source, "is_resumed", False) else None


def _check_digest(wanted: bytes | None, file: IO[bytes]) -> None:
    if wanted is not None and file_digest(file, anyio.from_thread.check_cancelled) != wanted:
        raise ResultCorruptError("after it broke off and was resumed, its SHA-256 is not that of the platform's result")
