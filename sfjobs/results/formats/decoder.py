"""
Selects the decoder for a body by its first bytes, not by its media type, which no protocol version defines. Called by
``to_memory``, ``to_file`` and ``storage``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from ...errors import ResultCorruptError, ResultTooLargeError
from .npy import MAGIC, MAX_OVERHEAD_BYTES, Array, NpyDecoder
from .npz import NamedBufferFor, NpzDecoder, any_buffer
from .zip_records import ARCHIVE_STARTS

QUOTED_BYTES = 60
"""How much of a body of an unknown format an error quotes."""

Mask = Callable[[bytes], bytes]


class ArrayDecoder(Protocol):
    """
    Decodes a body while its bytes arrive. Every method may raise ``ResultCorruptError`` and ``ResultTooLargeError``, which are
    final.
    """

    @property
    def left_to_inflate(self) -> int:
        """How many bytes are known to come out of compressed data before the next uncompressed ones."""
        ...

    def room(self) -> memoryview:
        """Return the memory for the next bytes; empty at the end of the body."""
        ...

    def wrote(self, count: int) -> None:
        """Account for ``count`` bytes that were written into the room."""
        ...

    def feed(self, chunk: memoryview, checkpoint: Callable[[], None] = ..., /) -> None:
        """Decode the next bytes from another memory. ``checkpoint`` is called between steps and may raise."""
        ...

    def digest(self, checkpoint: Callable[[], None] = ..., /) -> bytes:
        """Return the SHA-256 of all bytes so far."""
        ...

    def finish(self) -> dict[str, Array]:
        """Return the arrays by name."""
        ...


class NpyBodyDecoder(NpyDecoder):
    """Decodes a body of one array, ``arr_0``."""

    left_to_inflate = 0

    def finish(self) -> dict[str, Array]:
        return {"arr_0": self.finish_array()}


def decoder_for(
    start: bytes,
    *,
    max_bytes: int,
    declared_bytes: int | None,
    hashes: bool = False,
    buffer_for: NamedBufferFor = any_buffer,
    mask: Mask = lambda quoted: quoted,
) -> ArrayDecoder:
    """
    Return the decoder for a body that begins with ``start``, which is still to be fed to it.

    ``digest`` works for every format only with ``hashes``. ``buffer_for`` makes the memory of each array by its name. An error
    quotes what ``mask`` leaves of ``start``.
    """
    if start.startswith(MAGIC):
        if declared_bytes is not None and declared_bytes > max_bytes + MAX_OVERHEAD_BYTES:
            raise ResultTooLargeError(f"the body has {declared_bytes} bytes; the limit of an array is {max_bytes}")
        return NpyBodyDecoder(max_bytes, declared_bytes, buffer_for=partial(buffer_for, "arr_0"))
    if start.startswith(ARCHIVE_STARTS):
        return NpzDecoder(max_bytes, declared_bytes, hashes=hashes, buffer_for=buffer_for)
    if not start:
        raise ResultCorruptError("it is empty")
    shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in mask(start)[:QUOTED_BYTES])
    raise ResultCorruptError(f"it is neither .npy nor .npz; it begins with: {shown}")
