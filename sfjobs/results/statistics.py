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
_MAX_PAIRED_MODES = 10_000
# Numbers converted to floats at once.
_PIECE_NUMBERS = 1 << 20


def samples_of(outputs: Sequence[Array], job_id: str = "") -> Array:
    """Return the first output."""
    if not outputs:
        raise _error(job_id, "has no samples: the platform sent metadata only")
    return outputs[0]


def as_int64(samples: Array, job_id: str = "") -> Array:
    """Return whole numbers and clicks as int64, read-only if ``samples`` are. Others, and those in int64, are not copied."""
    if samples.dtype.kind not in "biu" or samples.dtype == np.int64:
        return samples
    if samples.dtype.str[1:] == "u8" and samples.size and (most := int(samples.max())) >= 1 << 63:
        raise _error(
            job_id, f"has samples up to {most}, which int64 does not hold; Result.raw has them as they were sent"
        )
    wide = np.array(samples, np.int64)
    wide.flags.writeable = samples.flags.writeable
    return wide


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


def covariance(samples: Array, job_id: str = "") -> npt.NDArray[np.float64]:
    """
    Return the covariances of all pairs of modes, divided by shots - 1. Takes memory for three such matrices, and never for the
    samples in a wider type.
    """
    photons = _photon_numbers(samples, job_id)
    shots, modes = len(photons), photons[0].size
    if shots < 2:
        raise _error(job_id, "has one shot; covariances take at least two")
    if modes > _MAX_PAIRED_MODES:
        size = f"{modes:,} modes, whose covariances would take {modes**2 / 2**27:.1f} GiB"
        raise _error(job_id, f"has {size}: give the modes of interest of its samples to numpy.cov(rowvar=False)")
    means = photons.mean(axis=0, dtype=np.float64).ravel()
    products = np.zeros((modes, modes))
    step = max(_PIECE_NUMBERS // modes, modes // 4, 1)
    for first in range(0, shots, step):
        deviations = photons[first : first + step].reshape(-1, modes) - means
        products += deviations.T @ deviations
    products /= shots - 1
    return products


def correlations(samples: Array, job_id: str = "") -> npt.NDArray[np.float64]:
    """Return Pearson's coefficients of all pairs of modes; NaN for those of a mode without variance."""
    matrix = covariance(samples, job_id)
    deviations = np.sqrt(matrix.diagonal())
    # A mode of equal numbers has exactly the variance 0: whole numbers up to 2**53 are added without rounding.
    deviations[deviations == 0] = np.nan
    matrix /= deviations
    matrix /= deviations[:, None]
    np.clip(matrix, -1, 1, out=matrix)
    np.fill_diagonal(matrix, deviations / deviations)
    return matrix


def threshold(samples: Array, job_id: str = "") -> npt.NDArray[np.int64]:
    """Return 1 where there were photons and 0 elsewhere."""
    numbers = whole_numbers(samples, job_id)
    if numbers.dtype.kind == "i" and numbers.size and int(numbers.min()) < 0:
        raise _error(job_id, f"has samples from {int(numbers.min())} on, which cannot be photon numbers")
    return (numbers > 0).astype(np.int64)


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
