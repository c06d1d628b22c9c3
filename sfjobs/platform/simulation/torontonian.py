"""
Threshold detectors on many modes, exact for any Gaussian state and without a Fock cutoff: mode by mode from conditional click
probabilities (Quesada, Arrazola and Killoran, Phys. Rev. A 98, 062322).

Modes without a click are projected on the vacuum once. Inclusion and exclusion over the c modes that clicked (the torontonian)
adds 2^c vacuum probabilities, which share the steps of their Cholesky factorizations (Kaposi et al., arXiv 2109.04528).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ..program import Array
from .limits import MAX_CLICKS, MAX_WORK, beyond_limit
from .state import GaussianState

_WORK_PER_TERM: Final = 50.0
"""Elementary operations of one vacuum probability: 0.25 us, and 0.6 us with ``longdouble``."""

_MAX_BLOCK_TERMS: Final = 1 << 13
"""Vacuum probabilities in one array, so that it stays in the cache."""

_MAX_BLOCK_BYTES: Final = 1 << 26
"""Conditional covariances of one block of shots."""

_TOLERANCE: Final = 1e-5
"""
Bound on the rounding error of a conditional probability, beyond which it is computed again with ``longdouble``. The bound adds
all errors; the actual error was 100 to 10 000 times smaller.
"""

_MAX_ERROR: Final = 1e-3
"""Largest mean over the shots of the bounds on the rounding errors."""


class TorontonianSampler:
    """A sampler for the clicks of threshold detectors on all modes of ``state``."""

    def __init__(self, state: GaussianState) -> None:
        silent, covariance = click_moments(state)
        # Dim modes first: the number of terms grows with the clicks of the modes before.
        self.order = np.argsort(-silent, kind="stable")
        self.state = state.reduced(self.order.tolist())
        self.silent = silent[self.order]
        self.means = np.cumsum(1 - self.silent)
        ordered = covariance[np.ix_(self.order, self.order)]
        self.variances = np.maximum(np.diag(ordered.cumsum(axis=0).cumsum(axis=1)), 0.0)

    def applies(self, shots: int, budget: float = MAX_WORK) -> bool:
        """Return whether ``MAX_CLICKS``, ``budget`` and double precision are enough, by the exact mean and variance of clicks."""
        m = self.state.num_modes
        most = min(self.means[-1] + math.sqrt(2 * math.log(shots + 1) * self.variances[-1]), m)
        clicked = np.maximum(1 - self.silent, 1e-300)
        lost_digits = float(clicked @ np.log10((1 + self.silent) / clicked))  # as if the modes were independent
        precise = lost_digits + math.log10(np.finfo(float).eps) < math.log10(_TOLERANCE)
        return bool(most <= MAX_CLICKS and self.work(shots) <= budget and precise)

    def work(self, shots: int) -> float:
        """Return the elementary operations of the run."""
        m = self.state.num_modes
        # The mean of 2^c for a normal distribution of the clicks c in the modes before.
        terms = np.exp2(np.minimum(self.means + math.log(2) / 2 * self.variances, np.arange(1, m + 1)))
        block = _block_shots(m)
        prefixes = np.minimum(np.exp2(np.arange(m)), min(block, shots)) * math.ceil(shots / block)
        return float(prefixes @ (_WORK_PER_TERM * terms + 16.0 * m**2))

    def sample(self, shots: int, rng: np.random.Generator) -> tuple[Array, float]:
        """
        Return clicks (shots, modes), 0 or 1, and a bound on the rounding error of their distribution.

        Raises:
            ProgramError: a shot has more than ``MAX_CLICKS`` clicks, or double precision is not enough.
        """
        matrix = _husimi_matrix(self.state)
        block = _block_shots(self.state.num_modes)
        clicks = np.zeros((shots, self.state.num_modes), dtype=np.uint8)
        error = 0.0
        for start in range(0, shots, block):
            part = clicks[start : start + block]
            part[:, self.order], added = _sample_block(matrix, self.state.num_modes, len(part), rng)
            error += added / shots
        if error > _MAX_ERROR:
            raise beyond_limit(f"the click probabilities lose too much precision: an error of {error:.2g} is possible")
        return clicks, error


def click_moments(state: GaussianState) -> tuple[Array, Array]:
    """Return the probabilities (m) that each mode has no click, and the covariance (m, m) of the clicks."""
    m = state.num_modes
    alone = _vacuum(state, np.arange(m)[:, None])
    first, second = np.triu_indices(m, 1)
    covariance = np.diag(alone * (1 - alone))
    both = _vacuum(state, np.stack([first, second], axis=1)) - alone[first] * alone[second]
    covariance[first, second] = covariance[second, first] = both
    return alone, covariance


def _vacuum(state: GaussianState, modes: Array) -> Array:
    """Return the vacuum probabilities (n) of n sets of modes (n, k)."""
    where = np.concatenate([modes, modes + state.num_modes], axis=1)
    width = state.cov[where[:, :, None], where[:, None, :]] + np.eye(where.shape[1])
    means = state.means[where][:, :, None]
    exponent = np.sum(means * np.linalg.solve(width, means), axis=(1, 2))
    probabilities: Array = np.exp(-(np.linalg.slogdet(width / 2)[1] + exponent) / 2)
    return probabilities


def _husimi_matrix(state: GaussianState) -> Array:
    """
    Return (cov + 1)/2 in the order ``x_0 p_0 x_1 p_1 ..``, with a last row and column for the means of a displaced state.

    The vacuum probability is ``det^(-1/2) exp(corner / 2)``. After the elimination of the other rows the corner, at first 0, is
    the exponent.
    """
    m = state.num_modes
    order = np.arange(2 * m).reshape(2, m).T.ravel()
    matrix = np.zeros((2 * m + 1, 2 * m + 1))
    matrix[:-1, :-1] = (state.cov + np.eye(2 * m))[np.ix_(order, order)] / 2
    matrix[-1, :-1] = matrix[:-1, -1] = state.means[order] / math.sqrt(2)
    return matrix if state.means.any() else matrix[:-1, :-1]


def _block_shots(modes: int) -> int:
    return max(_MAX_BLOCK_BYTES // (8 * (2 * modes + 1) ** 2), 1)


def _sample_block(matrix: Array, modes: int, shots: int, rng: np.random.Generator) -> tuple[Array, float]:
    """
    Return clicks (shots, modes) and the sum of the bounds on the rounding errors. Shots with the same clicks so far share one
    conditional matrix.
    """
    conditional = matrix[None].copy()
    clicks = np.zeros((1, modes), dtype=np.uint8)
    prefix = np.zeros(shots, dtype=np.intp)
    error = 0.0
    for mode in range(modes):
        silent, errors = _no_click_probabilities(conditional, clicks, mode)
        error += float(errors[prefix].sum())
        keys, prefix = np.unique(2 * prefix + (rng.random(shots) >= silent[prefix]), return_inverse=True)
        clicks = clicks[keys // 2]
        clicks[:, mode] = keys % 2
        if mode + 1 < modes:
            conditional = conditional[keys // 2]
            _project_mode(conditional, np.flatnonzero(keys % 2 == 0), mode, modes)
    return clicks[prefix], error


def _project_mode(conditional: Array, rows: Array, mode: int, modes: int) -> None:
    """Project a mode on the vacuum, in place, in the matrices of ``rows``."""
    own = slice(2 * mode, 2 * mode + 2)
    part = conditional[rows]
    columns = part[:, :, own]
    part -= columns @ np.linalg.solve(part[:, own, own], part[:, own, :])
    part[:, 2 * modes :, 2 * modes :] = 0.0  # a common factor of all terms
    conditional[rows] = part


def _no_click_probabilities(conditional: Array, clicks: Array, mode: int) -> tuple[Array, Array]:
    """
    Return the probability of no click in ``mode`` for each row of ``clicks``, given the clicks in the modes before, and bounds
    on their rounding errors.
    """
    probabilities, errors = np.empty(len(clicks)), np.empty(len(clicks))
    totals = clicks.sum(axis=1, dtype=np.intp)
    if totals.max() > MAX_CLICKS:
        raise beyond_limit(f"a shot has more than {MAX_CLICKS} clicks; each further click doubles the work")
    means = np.arange(2 * clicks.shape[1], conditional.shape[1])
    for total in np.unique(totals):
        rows = np.flatnonzero(totals == total)
        block = max(_MAX_BLOCK_TERMS >> int(total), 1)
        for start in range(0, len(rows), block):
            some = rows[start : start + block]
            chosen = np.nonzero(clicks[some])[1].reshape(len(some), total)
            chosen = np.concatenate([chosen, np.full((len(some), 1), mode)], axis=1)
            where = (2 * chosen[:, :, None] + np.arange(2)).reshape(len(some), -1)
            where = np.concatenate([where, np.tile(means, (len(some), 1))], axis=1)
            matrices = conditional[some[:, None, None], where[:, :, None], where[:, None, :]]
            matrices = np.ascontiguousarray(np.moveaxis(matrices, 0, -1))
            probabilities[some], errors[some] = _ratios(matrices[:, :, None])
    return probabilities, errors


def _ratios(matrices: Array) -> tuple[Array, Array]:
    """
    Return the probabilities (n) of no click in the last mode if all others click, from matrices (d, d, 1, n), and bounds on
    their rounding errors.
    """
    silent, every, magnitude = _signed_sums(matrices, np.ones_like(matrices[0, 0]))
    every = np.maximum(every, np.finfo(every.dtype).tiny)
    ratios, errors = np.clip(silent / every, 0.0, 1.0), np.minimum(magnitude * np.finfo(every.dtype).eps / every, 1.0)
    coarse = errors > _TOLERANCE
    if matrices.dtype != np.longdouble and np.any(coarse):
        ratios[coarse], errors[coarse] = _ratios(matrices[..., coarse].astype(np.longdouble))
    return ratios, errors


def _signed_sums(matrices: Array, weights: Array) -> Array:
    """
    Return three sums (3, n) over the subsets of all modes but the last: of the vacuum probabilities of subset and last mode, of
    those of the subset, and of the magnitudes of the latter. The sign is that of the size of the subset.

    ``matrices`` is (d, d, subsets, n) and ``weights`` (subsets, n) for the subsets of the modes that were eliminated before.
    """
    while len(matrices) > 3:
        count = len(weights)
        both = np.empty((len(matrices) - 2, len(matrices) - 2, 2 * count, weights.shape[1]), dtype=matrices.dtype)
        factor = _eliminate(matrices, both[:, :, count:])
        if weights.size > _MAX_BLOCK_TERMS // 2 and count > 1:
            return _signed_sums(matrices[2:, 2:], weights) + _signed_sums(both[:, :, count:], -weights * factor)
        for row in range(len(both)):
            both[row, row:, :count] = matrices[row + 2, row + 2 :]
        matrices, weights = both, np.concatenate([weights, -weights * factor])
    last = np.empty((len(matrices) - 2, len(matrices) - 2, *weights.shape), dtype=matrices.dtype)
    silent = weights * _eliminate(matrices, last)
    if len(last):  # displaced
        silent = silent * np.exp(last[0, 0] / 2)
        weights = weights * np.exp(matrices[2, 2] / 2)
    return np.stack([silent.sum(axis=0), weights.sum(axis=0), np.abs(weights).sum(axis=0)])


def _eliminate(matrices: Array, rest: Array) -> Array:
    """
    Project the first mode on the vacuum and write the other rows to ``rest``. Return the vacuum probability without the means.

    Only the upper triangles are read and written.
    """
    x, link, p = matrices[0, 0], matrices[0, 1], matrices[1, 1]
    row_x, row_p = matrices[0, 2:], matrices[1, 2:]
    determinant = x * p - link * link
    scaled_x = (p * row_x - link * row_p) / determinant
    scaled_p = (x * row_p - link * row_x) / determinant
    for row in range(len(rest)):
        target = rest[row, row:]
        np.multiply(scaled_x[row], row_x[row:], out=target)
        np.subtract(matrices[row + 2, row + 2 :], target, out=target)
        target -= scaled_p[row] * row_p[row:]
    return np.asarray(1 / np.sqrt(determinant))
