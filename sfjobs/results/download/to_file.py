"""
Writes a body to a file while it arrives: checked on the way, never in memory as a whole, and written in large pieces by a worker
thread, so that a slow disk does not block the event loop. Called by ``fetcher`` and ``stream``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO

import anyio
import anyio.from_thread

from ..._http.download import ByteSource
from ..._util.aio import in_thread, plain_task_group
from ..._util.atomic_file import AtomicFile, naming_file
from ..formats.buffers import discarding
from ..formats.decoder import QUOTED_BYTES, ArrayDecoder, decoder_for
from ..formats.digest import file_digest
from ..formats.npy import MAGIC
from .to_memory import compare_digests, digest_of_resumed, fill, naming_result

PIECE_BYTES = 2 << 20  # size of each of two buffers: one is filled while the other is written
_UNLIMITED_BYTES = 1 << 62


def check_suffix(path: Path) -> None:
    """Raise ValueError for a path that names neither of the two formats."""
    if path.suffix not in {".npy", ".npz"}:
        raise ValueError(f"{path} ends in neither .npy nor .npz")


async def save(source: ByteSource, path: Path, *, max_bytes: int, job_id: str, url: str) -> None:
    """
    Write a body to the file ``path``, complete and durable; if that fails, what was there before stays.

    ``max_bytes`` limits what a compressed array unpacks to. Raises what ``receive`` raises, OSError if the file cannot be
    written, and ValueError if the body has another format than the suffix of ``path``.
    """
    file = AtomicFile(path)
    try:
        await in_thread(file.open)
        body = _CheckedBody(file.write, max_bytes, source.length, path.suffix)
        with naming_result(job_id, url):
            await _copy(source, body)
            check = partial(file.read_back, partial(_check_digest, digest_of_resumed(source)))
            await in_thread(_finish, body, check, file.commit)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await in_thread(file.discard)
        raise


async def spool(source: ByteSource, *, max_bytes: int, job_id: str, url: str) -> IO[bytes]:
    """
    Return a body as a temporary file without a name, which the system deletes when it is neither open nor mapped any more.

    Raises what ``save`` raises; an OSError names the folder of temporary files.
    """
    file = await in_thread(TemporaryFile)

    def write(piece: memoryview) -> None:
        with naming_file(Path(gettempdir())):
            file.write(piece)

    try:
        with naming_result(job_id, url):
            body = _CheckedBody(write, max_bytes, source.length)
            await _copy(source, body)
            check = partial(_check_digest, digest_of_resumed(source), file)
            await in_thread(_finish, body, check, file.flush)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await in_thread(file.close)  # deletes it
        raise
    return file


class _CheckedBody:
    """A body that is checked and then written, piece by piece, in a worker thread."""

    def __init__(
        self, write: Callable[[memoryview], object], max_bytes: int, length: int | None, suffix: str | None = None
    ) -> None:
        self._write = write
        self._length = length
        self._buffer_for = discarding(max_bytes, length)
        self._suffix = suffix
        self._decoder: ArrayDecoder | None = None

    def feed(self, piece: memoryview) -> None:
        self._decoder_for(piece).feed(piece, anyio.from_thread.check_cancelled)
        self._write(piece)

    def finish(self) -> None:
        self._decoder_for(memoryview(b"")).finish()

    def _decoder_for(self, piece: memoryview) -> ArrayDecoder:
        if self._decoder is None:
            start = bytes(piece[:QUOTED_BYTES])
            self._decoder = decoder_for(
                start, max_bytes=_UNLIMITED_BYTES, declared_bytes=self._length, buffer_for=self._buffer_for
            )
            suffix = ".npy" if start.startswith(MAGIC) else ".npz"
            if self._suffix not in {None, suffix}:
                raise ValueError(f"the platform sends a {suffix} file, which cannot be saved under {self._suffix}")
        return self._decoder


async def _copy(source: ByteSource, body: _CheckedBody) -> None:
    size = PIECE_BYTES if source.length is None else min(PIECE_BYTES, source.length + 1)
    filled = memoryview(bytearray(size))
    count = await fill(source, filled, enough=size)
    spare = memoryview(bytearray(size if count == size else 0))
    while count:
        async with plain_task_group() as group:
            group.start_soon(in_thread, body.feed, filled[:count])
            count = await fill(source, spare, enough=size)
        filled, spare = spare, filled


def _finish(body: _CheckedBody, check: Callable[[], object], complete: Callable[[], object]) -> None:
    body.finish()
    check()
    complete()


def _check_digest(expected: bytes | None, file: IO[bytes]) -> None:
    if expected is not None:
        compare_digests(file_digest(file, anyio.from_thread.check_cancelled), expected)
