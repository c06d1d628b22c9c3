"""
What takes the bytes of a result, from wherever they come: the first of them say which format it is, not the media type, which
no protocol version settled. Called by ``decoding`` (a response) and ``files``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...errors import ResultCorruptError, ResultTooLargeError
from .npy import MAGIC, MAX_OVERHEAD_BYTES, NpyDecoder
from .npz import NamedBufferFor, NpzDecoder, any_memory
from .zip_records import ARCHIVE_STARTS

QUOTED_BYTES = 60

Mask = Callable[[bytes], bytes]


class ArrayDecoder(Protocol):
    """Decodes while it is filled. All of it may raise ``ResultCorruptError`` and ``ResultTooLargeError``, which are final."""

    @property
    def left_to_inflate(self) -> int:
        """How many bytes are to be unpacked before the next that are not, as far as is known."""
        ...

    def room(self) -> memoryview:
        """Where the next bytes belong; empty once there may be no more."""
        ...

    def wrote(self, count: int) -> None:
        """So many were put there."""
        ...

    def feed(self, chunk: memoryview, checkpoint: Callable[[], None] = ..., /) -> None:
        """The next bytes, from elsewhere. ``checkpoint`` is called between pieces of longer work and may raise to stop it."""
        ...

    def digest(self, checkpoint: Callable[[], None] = ..., /) -> bytes:
        """The SHA-256 of all bytes so far."""
        ...

    def finish(self) -> dict[str, npt.NDArray[np.generic]]:
        """The arrays by name."""
        ...


class NpyArrayDecoder:
    """One array, by the name that it would have in an archive."""

    left_to_inflate = 0

    def __init__(self, max_bytes: int, declared_bytes: int | None, memory: NamedBufferFor = any_memory) -> None:
        if declared_bytes is not None and declared_bytes > max_bytes + MAX_OVERHEAD_BYTES:
            raise ResultTooLargeError(f"the body has {declared_bytes} bytes; the limit of an array is {max_bytes}")
        self._decoder = NpyDecoder(max_bytes, declared_bytes, memory=partial(memory, "arr_0"))
        self.room = self._decoder.room
        self.wrote = self._decoder.wrote
        self.digest = self._decoder.digest

    def feed(self, chunk: memoryview, checkpoint: Callable[[], None] = lambda: None, /) -> None:
        self._decoder.feed(chunk)
        checkpoint()

    def finish(self) -> dict[str, npt.NDArray[np.generic]]:
        return {"arr_0": self._decoder.finish()}


def sink_for(
    start: bytes,
    *,
    max_bytes: int,
    declared_bytes: int | None,
    hashes: bool = False,
    memory: NamedBufferFor = any_memory,
    mask: Mask = lambda quoted: quoted,
) -> ArrayDecoder:
    """
    What takes a body that begins with ``start``, which it has still to be fed. Only with ``hashes`` every sink has a
    ``digest``. Each array is made in the ``memory`` for its name, which is ``arr_0`` where it has none. An error quotes what
    ``mask`` leaves of ``start``.
    """
    if start.startswith(MAGIC):
        return NpyArrayDecoder(max_bytes, declared_bytes, memory)
    if start.startswith(ARCHIVE_STARTS):
        return NpzDecoder(max_bytes, declared_bytes, hashes=hashes, memory=memory)
    if not start:
        raise ResultCorruptError("it is empty")
    shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in mask(start)[:QUOTED_BYTES])
    raise ResultCorruptError(f"it is neither .npy nor .npz; it begins with: {shown}")
