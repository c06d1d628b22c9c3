"""
From the bytes of a response body to a result while they come: into the arrays' own memory, or inflated in a thread beside the
next ones. Knows nothing of HTTP. Called by ``fetching`` and ``stream``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import anyio.from_thread
import anyio.to_thread

from ..._http.download import ByteSource
from ..._util.aio import plain_task_group
from ...errors import ResultCorruptError, ResultTooLargeError
from ..formats.decoder import ArrayDecoder, Mask, sink_for
from ..formats.npy import MAGIC
from ..formats.npz import NamedBufferFor, any_memory
from ..result import Result
from ..statistics import Array

HEAD_BYTES = 1 << 13
"""Read before the format is known, and of a small body all there is."""

INLINE_BYTES = 1 << 20
"""Members that unpack to no more, and bodies that are hashed of no more, are dealt with at once: a thread would cost more."""

PIECE_BYTES = 1 << 20
"""Two such buffers: one is filled while the other is inflated."""


async def receive(
    source: ByteSource,
    *,
    max_bytes: int,
    job_id: str = "",
    url: str = "",
    memory: NamedBufferFor = any_memory,
    mask: Mask = lambda quoted: quoted,
) -> Result:
    """
    The result in a body, ``.npy`` or ``.npz``, whose memory peaks at that of its arrays and a few MiB. Where ``source`` was
    resumed and has the ``digest`` of the whole, the bytes are held against it. Each array is made in the ``memory`` for its
    name. What an error quotes goes through ``mask``.

    Raises ``ResultCorruptError`` for anything but a whole and well-formed body of plain arrays, ``ResultTooLargeError`` if
    they have more than ``max_bytes`` together, and what ``source`` raises.
    """
    with naming(job_id, url, mask):
        arrays = await _receive_arrays(source, max_bytes, memory, mask)
    return Result.from_arrays(arrays, job_id=job_id)


async def _receive_arrays(source: ByteSource, max_bytes: int, memory: NamedBufferFor, mask: Mask) -> dict[str, Array]:
    head = memoryview(bytearray(HEAD_BYTES))
    count = await fill(source, head, enough=len(MAGIC))
    wanted_digest: bytes | None = getattr(source, "digest", None)
    sink = sink_for(
        bytes(head[:count]),
        max_bytes=max_bytes,
        declared_bytes=source.length,
        hashes=wanted_digest is not None,
        memory=memory,
        mask=mask,
    )
    sink.feed(head[:count])
    received = count + await _receive_rest(source, sink)
    arrays = sink.finish()
    if wanted_digest is not None and getattr(source, "is_resumed", False):
        await _verify(sink, received, wanted_digest)
    return arrays


async def _receive_rest(source: ByteSource, sink: ArrayDecoder) -> int:
    received = 0
    while room := sink.room():
        if sink.left_to_inflate > INLINE_BYTES:
            count = await _inflate_beside(source, sink)
        else:
            count = await source.read_into(room)
            sink.wrote(count)
        if not count:
            return received
        received += count
    if await source.read_into(memoryview(bytearray(1))):
        raise ResultCorruptError("bytes follow the end of its arrays")
    return received


async def _inflate_beside(source: ByteSource, sink: ArrayDecoder) -> int:
    """Inflate in a thread what has come, while more comes, until little is left to inflate or nothing comes any more."""
    filled, spare = memoryview(bytearray(PIECE_BYTES)), memoryview(bytearray(PIECE_BYTES))
    received = count = await fill(source, filled)
    while count:
        coming = 0
        async with plain_task_group() as group:
            group.start_soon(_feed_in_thread, sink, filled[:count])
            if sink.left_to_inflate > INLINE_BYTES:
                coming = await fill(source, spare)
        filled, spare, count = spare, filled, coming
        received += coming
    return received


async def _feed_in_thread(sink: ArrayDecoder, piece: memoryview) -> None:
    # Asked between pieces, so that a cancelled download does not unpack gigabytes for nobody.
    stop_if_cancelled: Callable[[], None] = anyio.from_thread.check_cancelled
    await anyio.to_thread.run_sync(sink.feed, piece, stop_if_cancelled)


async def fill(source: ByteSource, buffer: memoryview, *, enough: int = PIECE_BYTES) -> int:
    """Read until ``enough`` bytes are there, or the buffer is full, or nothing comes any more."""
    filled = 0
    while filled < min(enough, len(buffer)) and (count := await source.read_into(buffer[filled:])):
        filled += count
    return filled


async def _verify(sink: ArrayDecoder, received: int, digest: bytes) -> None:
    if received <= INLINE_BYTES:
        found = sink.digest()
    else:
        stop_if_cancelled: Callable[[], None] = anyio.from_thread.check_cancelled
        found = await anyio.to_thread.run_sync(partial(sink.digest, stop_if_cancelled))
    if found != digest:
        raise ResultCorruptError("after it broke off and was resumed, its SHA-256 is not that of the platform's result")


@contextmanager
def naming(job_id: str, url: str, mask: Mask = lambda quoted: quoted) -> Iterator[None]:
    """Say of which job, and from where, the result is that was refused. The reason may quote names and headers in it."""
    try:
        yield
    except (ResultCorruptError, ResultTooLargeError) as error:
        reason = mask(error.message.encode(errors="replace")).decode(errors="replace")
        message = f"the result of job {job_id} from {url}: {reason}"
        raise type(error)(message, job_id=job_id, url=url) from error.__cause__
