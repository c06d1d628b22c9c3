"""
Exact photon-number statistics of Gaussian states, from the generating function ``E[z^N]``. They give the error of a cutoff and
the cost of a sampler before any sample is drawn.
"""

from __future__ import annotations

import numpy as np

from ..program import Array
from .limits import MAX_PHOTONS, beyond_limit
from .state import GaussianState


def mean_photons(state: GaussianState) -> float:
    """Return the mean of the total photon number."""
    m = state.num_modes
    return float((np.trace(state.cov) + state.means @ state.means) / 4 - m / 2)


def log_vacuum(state: GaussianState) -> float:
    """Return the logarithm of the vacuum probability, the overlap with the vacuum state."""
    width = state.cov + np.eye(len(state.cov))
    _, logarithm = np.linalg.slogdet(width / 2)
    return float(-(logarithm + state.means @ np.linalg.solve(width, state.means)) / 2)


def total_distribution(state: GaussianState) -> Array:
    """
    Return ``P(N)`` of the total photon number for N = 0 .. K-1, where K is such that ``P(N >= K) < 1e-15``.

    ``z^N`` is, up to its trace, a thermal state with covariance (1+z)/(1-z), and the overlap of two Gaussian states is a
    Gaussian integral (Dodonov, Man'ko and Man'ko, Phys. Rev. A 49, 2993): with eigenvalues v of the covariance matrix and
    means mu in its eigenbasis, ``E[z^N] = prod ((1+z + (1-z) v)/2)^(-1/2) exp(-(1-z)/2 sum mu^2/((1-z) v + 1 + z))``.
    The probabilities are its Fourier coefficients on the unit circle; K comes from the Chernoff bound. Raises ``ProgramError``
    if K is beyond ``MAX_PHOTONS``.
    """
    values, vectors = np.linalg.eigh(state.cov)
    values = np.maximum(values, 1e-12)
    squares = (vectors.T @ state.means) ** 2
    size = 1 << int(_chernoff_length(values, squares) - 1).bit_length()
    z = np.exp(2j * np.pi * np.arange(size // 2 + 1) / size)  # the values on the other half circle are conjugate
    probabilities = np.fft.hfft(np.exp(_log_generating(z, values, squares)), size) / size
    return np.maximum(probabilities, 0.0)


def _log_generating(z: Array, values: Array, squares: Array) -> Array:
    # Each factor has a positive real part for |z| <= 1, so its principal square root is the continuous one.
    logarithm = np.zeros_like(z)
    for value, square in zip(values, squares, strict=True):
        factor = (1 + z + (1 - z) * value) / 2
        logarithm -= np.log(factor) / 2 + (1 - z) * square / (4 * factor)
    return logarithm


def _chernoff_length(values: Array, squares: Array) -> int:
    """Return the least K with ``E[z^N] / z^K < 1e-15`` for one of 49 real z > 1 below the pole."""
    pole = (values[-1] + 1) / max(values[-1] - 1, 1e-3)
    z = 1 + (min(pole, 1e3) - 1) * np.linspace(0.02, 0.98, 49)
    need = (np.log(1e15) + _log_generating(z, values, squares)) / np.log(z)
    length = float(np.min(need))
    if not length < MAX_PHOTONS:
        raise beyond_limit(f"a shot may hold {length:.3g} photons; at most {MAX_PHOTONS} are counted")
    return max(int(np.ceil(length)) + 1, 16)


def truncation(distribution: Array, tail: float) -> tuple[int, float]:
    """Return the least N with ``P(n > N) <= tail``, and ``P(n > N)``."""
    beyond = np.cumsum(distribution[::-1])[::-1]  # P(n >= N), the small terms added first
    largest = int(np.count_nonzero(beyond > tail)) - 1 if beyond[0] > tail else 0
    return largest, float(np.sum(distribution[largest + 1 :][::-1]))
