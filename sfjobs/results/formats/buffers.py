"""
Memory for the arrays of a result other than that of new ones: the caller's, and one that keeps nothing, for bytes that are only
to be checked because they are kept elsewhere. Called by ``fetching``, ``files`` and ``spooling``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...errors import ResultTooLargeError
from .npy import ArrayBuffer, Buffer, NpyLayout, new_memory, possible

SAMPLES = "arr_0"
"""The name of the samples among the arrays of a result."""

_SCRATCH_BYTES = 1 << 16


class UserArrayBuffer:
    """
    An array of the caller's, for the samples. They are received straight into its memory where that is contiguous in the
    order they are sent in, and are copied there at the end where it is not.
    """

    def __init__(self, array: npt.NDArray[np.generic], job_id: str) -> None:
        if not array.flags.writeable:
            raise ValueError(f"the array for the samples of job {job_id} is read-only")
        self._array = array
        self._job_id = job_id
        self.was_begun = False
        """Whether its former values may be gone."""

    def memory(self, name: str, layout: NpyLayout) -> Buffer:
        """Raises ValueError for samples that do not fit, of which no byte has been written by then."""
        if name != SAMPLES:
            return new_memory(layout)
        if (layout.shape, layout.dtype) != (self._array.shape, self._array.dtype):
            raise ValueError(
                f"the samples of job {self._job_id} are {layout.dtype} of shape {layout.shape}, which do not fit into the "
                f"given array of {self._array.dtype} and shape {self._array.shape}"
            )
        flags = self._array.flags
        if not (flags.f_contiguous if layout.fortran_order else flags.c_contiguous):
            return new_memory(layout)
        self.was_begun = True
        return ArrayBuffer(self._array)

    def copy(self, samples: npt.NDArray[np.generic]) -> None:
        """Into an array whose order or gaps did not let them be received there."""
        self.was_begun = True
        np.copyto(self._array, samples)


class DiscardBuffer:
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

    def memory(self, _name: str, layout: NpyLayout) -> Buffer:
        if layout.nbytes > self._most:
            raise ResultTooLargeError(f"an array unpacks to {layout.nbytes} bytes, more than the limit of {self._most}")
        return DiscardBuffer(layout)
