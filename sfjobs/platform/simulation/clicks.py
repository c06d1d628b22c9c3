"""
Threshold detectors on a few modes, exact for any Gaussian state: the probabilities of all click patterns by inclusion and
exclusion of vacuum probabilities (the torontonian written out: Quesada et al., Phys. Rev. A 98, 062322).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ..program import Array
from .photons import log_vacuum
from .state import GaussianState

MAX_CLICK_MODES: Final = 10
"""2^10 determinants take 30 ms, and their alternating sums still have 12 digits."""


def sample_clicks(state: GaussianState, shots: int, rng: np.random.Generator) -> Array:
    """Return clicks (shots, modes), 0 or 1."""
    cumulative = np.cumsum(click_probabilities(state))
    patterns = np.searchsorted(cumulative, rng.random(shots) * cumulative[-1], side="right")
    clicks: Array = (patterns[:, None] >> np.arange(state.num_modes) & 1).astype(np.uint8)
    return clicks


def click_probabilities(state: GaussianState) -> Array:
    """Return the probabilities (2^m) of all click patterns; bit k of the index is the click of mode k."""
    m = state.num_modes
    vacuum = [math.exp(log_vacuum(state.reduced([k for k in range(m) if bits >> k & 1]))) for bits in range(1 << m)]
    # From "no photon in at least these modes" to "in exactly these modes": subtract the supersets, mode by mode.
    exact = np.array(vacuum).reshape((2,) * m)
    for axis in range(m):
        lower = np.take(exact, [0], axis=axis) - np.take(exact, [1], axis=axis)
        exact = np.concatenate([lower, np.take(exact, [1], axis=axis)], axis=axis)
    probabilities: Array = np.maximum(exact.ravel()[::-1], 0.0)  # the other modes click, so the order is reversed
    return probabilities
