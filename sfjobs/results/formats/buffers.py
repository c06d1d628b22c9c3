"""
Buffers other than new arrays: the caller's own array, and one that keeps no bytes, for bodies that are only checked because they
are stored elsewhere. Called by ``fetcher``, ``storage`` and ``to_file``.
"""

from __future__ import annotations

import numpy as np

from ...errors import ResultTooLargeError
from .npy import Array, ArrayBuffer, Buffer, NpyLayout, new_buffer, translating_numpy_errors
from .npz import NamedBufferFor

SAMPLES = "arr_0"
"""The name of the samples among the arrays of a result."""

_SCRATCH_BYTES = 1 << 16


class UserArrayBuffer:
    """
    The caller's array as memory for the samples. They are received straight into it where it is contiguous in the order of the
    file, and copied to it at the end where it is not.
    """

    def __init__(self, array: Array, job_id: str) -> None:
        if not array.flags.writeable:
            raise ValueError(f"the array for the samples of job {job_id} is read-only: give a writable one")
        self._array = array
        self._job_id = job_id
        self.is_overwritten = False
        """Whether the former values of the array may be gone."""

    def buffer_for(self, name: str, layout: NpyLayout) -> Buffer:
        """Return the memory for one array. Raises ValueError for samples that do not fit, before a byte of them is written."""
        if name != SAMPLES:
            return new_buffer(layout)
        if (layout.shape, layout.dtype) != (self._array.shape, self._array.dtype):
            raise ValueError(
                f"the samples of job {self._job_id} are {layout.dtype} of shape {layout.shape}, which do not fit into the "
                f"given array of {self._array.dtype} and shape {self._array.shape}"
            )
        flags = self._array.flags
        if not (flags.f_contiguous if layout.fortran_order else flags.c_contiguous):
            return new_buffer(layout)
        self.is_overwritten = True
        return ArrayBuffer(self._array)

    def copy(self, samples: Array) -> None:
        """Copy ``samples`` to an array whose order or gaps did not allow to receive them there."""
        self.is_overwritten = True
        np.copyto(self._array, samples)


class DiscardBuffer:
    """Memory that is overwritten again and again. Its array has the type and the shape, and zeros only."""

    def __init__(self, layout: NpyLayout) -> None:
        with translating_numpy_errors(layout):
            self.array: Array = np.broadcast_to(np.zeros((), layout.dtype), layout.shape)
        self._size = layout.nbytes
        self._scratch = memoryview(bytearray(min(self._size, _SCRATCH_BYTES)))

    def room(self, filled: int) -> memoryview:
        return self._scratch[: self._size - filled]

    def content(self, filled: int) -> memoryview:
        raise NotImplementedError("discarded bytes cannot be read again")


def discarding(max_bytes: int, body_bytes: int | None) -> NamedBufferFor:
    """
    Return a maker of ``DiscardBuffer``.

    ``body_bytes`` is the length of the body where it is known. Only a compressed array can be larger, and above ``max_bytes``
    it could be a zip bomb: that raises ``ResultTooLargeError``.
    """
    limit = max(max_bytes, body_bytes or 0)

    def buffer_for(_name: str, layout: NpyLayout) -> Buffer:
        if layout.nbytes > limit:
            raise ResultTooLargeError(f"an array unpacks to {layout.nbytes} bytes, more than the limit of {limit}")
        return DiscardBuffer(layout)

    return buffer_for
