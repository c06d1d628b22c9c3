"""
An array of the caller's for the samples of a result. Called by ``fetching``.
"""

from __future__ import annotations

import numpy as np

from ..npy import ArrayMemory, Memory, NpyLayout, new_memory
from .result import Array, Result

SAMPLES = "arr_0"
"""The name of the samples among the arrays of a result."""


class Target:
    """
    An array of the caller's, for the samples. They are received straight into its memory where that is contiguous in the
    order they are sent in, and are copied there at the end where it is not.
    """

    def __init__(self, array: Array, job_id: str) -> None:
        if not array.flags.writeable:
            raise ValueError(f"the array for the samples of job {job_id} is read-only")
        self._array = array
        self._job_id = job_id
        self.was_begun = False
        """Whether its former values may be gone."""

    def memory(self, name: str, layout: NpyLayout) -> Memory:
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
        return ArrayMemory(self._array)

    def copy(self, result: Result) -> Result:
        """The result with its samples in the array, for one whose order or gaps did not let them be received there."""
        self.was_begun = True
        np.copyto(self._array, result.samples)
        return Result([self._array, *result.outputs[1:]], result.metadata, job_id=result.job_id)
