"""Samples of time-domain programs without the time bins in which the detector saw no pulse: functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .formats.npy import Array
from .result import Result


def cropped(result: Result, bins: int) -> Result:
    """
    Return ``result`` without the first ``bins`` time bins of each shot, as ``crop=True`` of Strawberry Fields does. A result
    without time bins is returned as it is.
    """
    if not result.outputs or result.outputs[0].ndim != 3:
        return result
    first, *others = result.outputs
    return Result([first[:, :, bins:], *others], result.metadata, job_id=result.job_id)


def move_vac_modes(samples: Array, N: int | Sequence[int], *, crop: bool = False) -> Array:  # noqa: N803 - as there
    """
    Return a stream whose shots begin with the first pulse, as ``move_vac_modes`` of Strawberry Fields does.

    The first ``max(N) - 1`` readings of ``samples`` (shots, spatial modes, time bins) are of the vacuum that was in the loops
    before the first pulse. They are dropped, all readings move forward, and zeros fill the end. ``crop`` leaves out the last
    shots, those with zeros. ``N`` is the number of registers, or those of each band. The type stays that of ``samples``.

    Raises:
        ValueError: ``N`` has no positive number, or ``samples`` do not have three dimensions.
    """
    registers = int(np.max(N, initial=0))
    if registers < 1 or samples.ndim != 3:
        raise ValueError(f"N must be a positive number and samples three-dimensional, not {N!r} and {samples.shape}")
    moved = min(registers - 1, samples.size)
    flat = np.zeros(samples.size, samples.dtype)
    flat[: samples.size - moved] = samples.reshape(-1)[moved:]
    readings = max(samples.shape[1] * samples.shape[2], 1)
    complete = samples.shape[0] - -(-moved // readings) if crop else samples.shape[0]
    return flat.reshape(samples.shape)[:complete]
