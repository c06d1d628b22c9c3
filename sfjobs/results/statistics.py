"""
Statistics of samples: functions of arrays whose first axis counts the shots. Called by ``Result``, ``plotting`` and ``html``.

Every function raises ``ResultError`` for samples that do not fit; ``job_id`` goes into the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from ..errors import ResultError
from .formats.npy import Array

# More photons in one shot are no photon numbers, and a distribution over them would fill the memory.
_MAX_PHOTONS = 1_000_000


def samples_of(outputs: Sequence[Array], job_id: str = "") -> Array:
    """Return the first output."""
    if not outputs:
        raise _error(job_id, "has no samples: the platform sent metadata only")
    return outputs[0]


def by_modes(samples: Array, job_id: str = "") -> Array:
    """Return ``samples`` with at least two axes, shots and modes."""
    if not samples.ndim:
        raise _error(job_id, "has a single number in place of samples")
    return samples.reshape(-1, 1) if samples.ndim == 1 else samples


def whole_numbers(samples: Array, job_id: str = "") -> npt.NDArray[np.integer]:
    """Return ``samples`` by modes, as integers; clicks become 0 and 1."""
    samples = by_modes(samples, job_id)
    if samples.dtype.kind not in "biu":
        raise _error(job_id, f"has samples of type {samples.dtype}; photon numbers are whole numbers")
    return cast("npt.NDArray[np.integer]", samples.view(np.uint8) if samples.dtype.kind == "b" else samples)


def mean_photon_number(samples: Array, job_id: str = "") -> npt.NDArray[np.float64]:
    """Return the mean of each mode: shape (modes,) or (spatial modes, timebins)."""
    means: npt.NDArray[np.float64] = _photon_numbers(samples, job_id).mean(axis=0, dtype=np.float64)
    return means


def photon_number_distribution(samples: Array, job_id: str = "") -> npt.NDArray[np.float64]:
    """Return the share of the shots that have n photons in all modes together, at index n."""
    photons = _photon_numbers(samples, job_id)
    totals = photons.reshape(len(photons), -1).sum(axis=1, dtype=np.int64)
    if int(totals.max()) > _MAX_PHOTONS:
        raise _error(job_id, f"has a shot of {int(totals.max())} photons; its samples cannot be photon numbers")
    return np.bincount(totals) / len(totals)


def threshold(samples: Array, job_id: str = "") -> npt.NDArray[np.uint8]:
    """Return 1 where there were photons and 0 elsewhere."""
    numbers = whole_numbers(samples, job_id)
    if numbers.dtype.kind == "i" and numbers.size and int(numbers.min()) < 0:
        raise _error(job_id, f"has samples from {int(numbers.min())} on, which cannot be photon numbers")
    return (numbers > 0).view(np.uint8)


def _photon_numbers(samples: Array, job_id: str) -> npt.NDArray[np.integer]:
    numbers = whole_numbers(samples, job_id)
    if not numbers.size:
        raise _error(job_id, f"has no photon numbers: its shape is {numbers.shape}")
    least, most = int(numbers.min()), int(numbers.max())
    if least < 0 or most > _MAX_PHOTONS:
        raise _error(job_id, f"has samples from {least} to {most}, which cannot be photon numbers")
    return numbers


def _error(job_id: str, problem: str) -> ResultError:
    return ResultError(f"the result{f' of job {job_id}' if job_id else ''} {problem}", job_id=job_id)
