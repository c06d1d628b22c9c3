"""Threshold detectors on a few modes, exactly, for any Gaussian state: all click patterns by inclusion and exclusion."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ..program import Array
from .photons import log_vacuum
from .state import GaussianState

MAX_CLICK_MODES: Final = 10
"""2^10 determinants take 30 ms, and their alternating sums still leave 12 digits."""


def sample_clicks(state: GaussianState, shots: int, rng: np.random.Generator) -> Array:
    """Clicks (shots, modes), 0 or 1."""
    chances = click_probabilities(state)
    cumulative = np.cumsum(chances)
    drawn = np.searchsorted(cumulative, rng.random(shots) * cumulative[-1], side="right")
    clicks: Array = (drawn[:, None] >> np.arange(state.num_modes) & 1).astype(np.uint8)
    return clicks


def click_probabilities(state: GaussianState) -> Array:
    """The probability of each click pattern, numbered in binary with mode 0 as the lowest digit."""
    m = state.num_modes
    dark = np.array([_all_dark(state, number) for number in range(1 << m)])
    # From "these modes at least are dark" to "these modes and no other": subtract the supersets, mode by mode.
    exact = dark.reshape((2,) * m)
    for axis in range(m):
        lower = np.take(exact, [0], axis=axis) - np.take(exact, [1], axis=axis)
        exact = np.concatenate([lower, np.take(exact, [1], axis=axis)], axis=axis)
    chances: Array = np.maximum(exact.ravel()[::-1], 0.0)  # the complement of a dark pattern clicks
    return chances


def _all_dark(state: GaussianState, number: int) -> float:
    return math.exp(log_vacuum(state.reduced([mode for mode in range(state.num_modes) if number >> mode & 1])))
