"""
Decodes a response body while it arrives: into the arrays' own memory, or, where it is compressed, in a thread beside the
download. Knows nothing of HTTP. Called by ``fetcher`` and ``stream``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import anyio.from_thread

from ..._http.download import ByteSource
from ..._util.aio import in_thread, plain_task_group
from ...errors import ResultCorruptError, ResultTooLargeError
from ..formats.decoder import ArrayDecoder, Mask, decoder_for
from ..formats.npy import MAGIC, Array
from ..formats.npz import NamedBufferFor, any_buffer
from ..result import Result

HEAD_BYTES = 1 << 13  # read before the format is known; a small body fits into it
# Members that unpack to no more, and bodies to hash of no more, are processed in the event loop: a thread would cost more.
INLINE_BYTES = 1 << 20
PIECE_BYTES = 1 << 20  # size of each of two buffers: one is filled while the other is inflated


async def receive(
    source: ByteSource,
    *,
    max_bytes: int,
    job_id: str = "",
    url: str = "",
    buffer_for: NamedBufferFor = any_buffer,
    mask: Mask = lambda quoted: quoted,
) -> Result:
    """
    Return the result in a body, ``.npy`` or ``.npz``. The peak of memory is that of its arrays and a few MiB.

    If ``source`` was resumed and has the ``digest`` of the whole body, the bytes are compared with it. ``buffer_for`` makes the
    memory of each array by its name. ``mask`` is applied to what an error quotes.

    Raises:
        ResultCorruptError: the body is not a complete, well-formed body of plain arrays.
        ResultTooLargeError: the arrays have more than ``max_bytes`` together.
        Exception: whatever ``source`` raises.
    """
    with naming_result(job_id, url, mask):
        arrays = await _receive_arrays(source, max_bytes, buffer_for, mask)
    return Result.from_arrays(arrays, job_id=job_id)


async def _receive_arrays(
    source: ByteSource, max_bytes: int, buffer_for: NamedBufferFor, mask: Mask
) -> dict[str, Array]:
    head = memoryview(bytearray(HEAD_BYTES))
    count = await fill(source, head, enough=len(MAGIC))
    decoder = decoder_for(
        bytes(head[:count]),
        max_bytes=max_bytes,
        declared_bytes=source.length,
        hashes=getattr(source, "digest", None) is not None,
        buffer_for=buffer_for,
        mask=mask,
    )
    decoder.feed(head[:count])
    received = count + await _receive_rest(source, decoder)
    arrays = decoder.finish()
    if (expected := digest_of_resumed(source)) is not None:
        if received <= INLINE_BYTES:
            digest = decoder.digest()
        else:
            digest = await in_thread(decoder.digest, anyio.from_thread.check_cancelled)
        compare_digests(digest, expected)
    return arrays


async def _receive_rest(source: ByteSource, decoder: ArrayDecoder) -> int:
    received = 0
    while room := decoder.room():
        if decoder.left_to_inflate > INLINE_BYTES:
            count = await _inflate_in_thread(source, decoder)
        else:
            count = await source.read_into(room)
            decoder.wrote(count)
        if not count:
            return received
        received += count
    if await source.read_into(memoryview(bytearray(1))):
        raise ResultCorruptError("bytes follow the end of its arrays")
    return received


async def _inflate_in_thread(source: ByteSource, decoder: ArrayDecoder) -> int:
    """Inflate one piece in a thread while the next is received, until little is left to inflate or the body ends."""
    filled, spare = memoryview(bytearray(PIECE_BYTES)), memoryview(bytearray(PIECE_BYTES))
    received = count = await fill(source, filled)
    while count:
        next_count = 0
        async with plain_task_group() as group:
            group.start_soon(_feed_in_thread, decoder, filled[:count])
            if decoder.left_to_inflate > INLINE_BYTES:
                next_count = await fill(source, spare)
        filled, spare, count = spare, filled, next_count
        received += next_count
    return received


async def _feed_in_thread(decoder: ArrayDecoder, piece: memoryview) -> None:
    # Checked between steps, so that a cancelled download does not go on to unpack gigabytes.
    await in_thread(decoder.feed, piece, anyio.from_thread.check_cancelled)


async def fill(source: ByteSource, buffer: memoryview, *, enough: int = PIECE_BYTES) -> int:
    """Read until there are ``enough`` bytes, the buffer is full or the body ends; return their number."""
    filled = 0
    while filled < min(enough, len(buffer)) and (count := await source.read_into(buffer[filled:])):
        filled += count
    return filled


def digest_of_resumed(source: ByteSource) -> bytes | None:
    """
    Return the expected digest of a body that was resumed, after its end.

    Other bodies, even with a digest, are not worth the time to check it: 0.5 s for each GB.
    """
    digest: bytes | None = getattr(source, "digest", None)
    return digest if getattr(source, "is_resumed", False) else None


def compare_digests(digest: bytes, expected: bytes) -> None:
    if digest != expected:
        reason = "after its download broke off and was resumed, its SHA-256 is not the one that the platform gave"
        raise ResultCorruptError(reason)


@contextmanager
def naming_result(job_id: str, url: str, mask: Mask = lambda quoted: quoted) -> Iterator[None]:
    """Make an error name the job and the URL. ``mask`` is applied to the message, which may quote names and headers."""
    try:
        yield
    except (ResultCorruptError, ResultTooLargeError) as error:
        reason = mask(error.message.encode(errors="replace")).decode(errors="replace")
        message = f"the result of job {job_id} from {url}: {reason}"
        raise type(error)(message, job_id=job_id, url=url) from error.__cause__
