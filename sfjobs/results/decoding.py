"""
From the chunks of a response body to arrays by name. Which format it is, the first bytes say, not the media type, which
no protocol version settled. Knows nothing of HTTP. Called by ``results``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO

import anyio.from_thread
import anyio.to_thread
import numpy as np
import numpy.typing as npt

from ..errors import ResultCorruptError, ResultTooLargeError
from ..npy import MAGIC, MAX_OVERHEAD_BYTES, NpyDecoder
from .npz import PIECE_BYTES, NpzReader

SPOOL_MEMORY_BYTES = 8 << 20
"""Archives up to this size stay in memory, larger ones go through a temporary file."""

INLINE_BYTES = 1 << 20
"""Archives up to this size, packed and unpacked, are decoded at once: a thread would cost more than it saves."""

# Both are bounded by the archive's few own bytes a member, and by deflate's growth of 5 bytes in 16 KiB at the worst.
_ARCHIVE_OVERHEAD_BYTES = 4 << 20
_ARCHIVE_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")


async def decode_arrays(
    chunks: AsyncIterator[bytes], *, declared_length: int | None, max_bytes: int, job_id: str, url: str
) -> dict[str, npt.NDArray[np.generic]]:
    """
    The members of a ``.npz`` body by name; the array of a ``.npy`` body as ``arr_0``. See ``results.decode``.

    Memory peaks at the size of the arrays, and a few MiB more for an archive.
    """
    with _naming(job_id, url):
        start = b""
        async for chunk in chunks:
            start += chunk
            if len(start) >= len(MAGIC):
                break
        if start.startswith(MAGIC):
            return {"arr_0": await _decode_npy(start, chunks, declared_length, max_bytes)}
        if start.startswith(_ARCHIVE_MAGICS):
            return await _decode_npz(start, chunks, declared_length, max_bytes)
        raise ResultCorruptError(_not_an_array(start))


async def _decode_npy(
    start: bytes, chunks: AsyncIterator[bytes], declared_length: int | None, max_bytes: int
) -> npt.NDArray[np.generic]:
    if declared_length is not None and declared_length > max_bytes + MAX_OVERHEAD_BYTES:
        raise ResultTooLargeError(f"the body has {declared_length} bytes; the limit of an array is {max_bytes}")
    decoder = NpyDecoder(max_bytes, declared_length)
    decoder.feed(start)
    async for chunk in chunks:
        decoder.feed(chunk)
    return decoder.finish()


async def _decode_npz(
    start: bytes, chunks: AsyncIterator[bytes], declared_length: int | None, max_bytes: int
) -> dict[str, npt.NDArray[np.generic]]:
    limit = max_bytes + max_bytes // 1000 + _ARCHIVE_OVERHEAD_BYTES
    if declared_length is not None and declared_length > limit:
        raise ResultTooLargeError(f"the body has {declared_length} bytes; the limit of its arrays is {max_bytes}")
    with SpooledTemporaryFile(max_size=SPOOL_MEMORY_BYTES) as spool:
        size = await _spool(start, chunks, spool, limit)
        if declared_length is not None and size != declared_length:
            raise ResultCorruptError(f"the body has {size} bytes where {declared_length} were declared")
        if size <= INLINE_BYTES:
            reader = NpzReader(spool, size=size, max_bytes=max_bytes)
            if reader.declared_bytes <= INLINE_BYTES:
                return reader.read()
        return await anyio.to_thread.run_sync(_read_in_thread, spool, size, max_bytes)


async def _spool(start: bytes, chunks: AsyncIterator[bytes], spool: IO[bytes], limit: int) -> int:
    """Write the body to ``spool``: on the loop while that is memory, in a thread and in large pieces once it is a disk."""
    size = spool.write(start)
    waiting = bytearray()
    async for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise ResultTooLargeError(f"the body has more than {limit} bytes, and so have its arrays")
        if size <= SPOOL_MEMORY_BYTES:
            spool.write(chunk)
            continue
        waiting += chunk
        if len(waiting) >= PIECE_BYTES:
            await anyio.to_thread.run_sync(spool.write, waiting)
            waiting = bytearray()
    if waiting:
        await anyio.to_thread.run_sync(spool.write, waiting)
    return size


def _read_in_thread(spool: IO[bytes], size: int, max_bytes: int) -> dict[str, npt.NDArray[np.generic]]:
    # Asked between pieces, so that a cancelled download does not unpack gigabytes for nobody.
    stop_if_cancelled: Callable[[], None] = anyio.from_thread.check_cancelled
    return NpzReader(spool, size=size, max_bytes=max_bytes).read(stop_if_cancelled)


def _not_an_array(start: bytes) -> str:
    if not start:
        return "the body is empty"
    shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in start[:60])
    return f"the body is neither .npy nor .npz; it begins with: {shown}"


@contextmanager
def _naming(job_id: str, url: str) -> Iterator[None]:
    """Say of which job, and from where, the result is that was refused."""
    try:
        yield
    except (ResultCorruptError, ResultTooLargeError) as error:
        message = f"the result of job {job_id} from {url}: {error.message}"
        raise type(error)(message, job_id=job_id, url=url) from error.__cause__
