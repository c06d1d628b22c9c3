"""
For bytes that are only to be checked because they are kept elsewhere: memory that decoders fill and nobody reads. Called by
``files`` and ``saving``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import ResultTooLargeError
from ..npy import Memory, NpyLayout, possible

_SCRATCH_BYTES = 1 << 16


class Nowhere:
    """Memory that is written over again and again. Its array has the type and the shape, and only zeros."""

    def __init__(self, layout: NpyLayout) -> None:
        with possible(layout):
            self.array: npt.NDArray[np.generic] = np.broadcast_to(np.zeros((), layout.dtype), layout.shape)
        self._size = layout.nbytes
        self._scratch = memoryview(bytearray(min(self._size, _SCRATCH_BYTES)))

    def room(self, filled: int) -> memoryview:
        return self._scratch[: self._size - filled]

    def kept(self, filled: int) -> memoryview:
        raise NotImplementedError("what was put nowhere cannot be read again")


class Checker:
    """
    Makes memory for what is only checked. ``body_bytes`` is how much there is of it, where that is known: an array of more has
    to be unpacked, and above ``max_bytes`` it could be anything.
    """

    def __init__(self, max_bytes: int, body_bytes: int | None) -> None:
        self._most = max(max_bytes, body_bytes or 0)

    def memory(self, _name: str, layout: NpyLayout) -> Memory:
        if layout.nbytes > self._most:
            raise ResultTooLargeError(f"an array unpacks to {layout.nbytes} bytes, more than the limit of {self._most}")
        return Nowhere(layout)
