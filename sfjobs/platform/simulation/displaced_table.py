"""
Exact photon counts of states that differ in their displacements only, one for each shot: the amplitudes of all shots of a block
by one recurrence. Shots with about as many photons are in one block.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ..program import Array
from .fock_basis import Basis
from .limits import TAIL, beyond_limit
from .state import GaussianState

_MAX_BLOCK_AMPLITUDES: Final = 1 << 19
"""Amplitudes of one layer and the shots of one block, at most: 8 MB. Most shots end at a smaller layer."""

_MAX_LAYER: Final = 1 << 17
_MIN_LOG_VACUUM: Final = -650.0
"""Amplitudes are relative to that of the vacuum; with a lower vacuum probability their squares would overflow."""

_TOLERANCE: Final = 1e-6


class DisplacedTable:
    """A sampler for the photon counts of states with the same covariance ``cov`` (2m, 2m) and ``means`` (shots, 2m)."""

    discarded = TAIL

    def __init__(self, means: Array, cov: Array) -> None:
        self._measured = len(cov) // 2
        pure = GaussianState(np.zeros(len(cov)), cov).purified()
        self._modes = pure.num_modes
        self._b, _ = pure.amplitude_generator()
        alpha = np.zeros((self._modes, len(means)), dtype=complex)
        alpha[: self._measured] = (means[:, : self._measured] + 1j * means[:, self._measured :]).T / 2
        self._gamma = alpha - self._b @ alpha.conj()
        whole = pure.cov + np.eye(len(pure.cov))
        displaced = np.concatenate([alpha.real, alpha.imag]) * 2
        exponents = np.einsum("is,is->s", displaced, np.linalg.solve(whole, displaced))
        self._log_vacuum = -(np.linalg.slogdet(whole / 2)[1] + exponents) / 2
        self._mean_photons = np.trace(pure.cov) / 4 - self._modes / 2 + np.sum(np.square(means), axis=1) / 4
        self._largest = _largest_totals(means, pure)

    def applies(self, budget: float) -> bool:
        """Return whether the states are small enough for memory, double precision and ``budget`` elementary operations."""
        most, m = int(self._largest.max()), self._modes
        if self._log_vacuum.min() < _MIN_LOG_VACUUM or math.comb(most + m - 1, m - 1) > _MAX_LAYER:
            return False
        # A shot is done at the layer of its total, which rarely is twice the mean; one shot of each block runs to the end.
        totals, shots = np.unique(np.ceil(2 * self._mean_photons + 4), return_counts=True)
        work = sum(math.comb(int(n) + m, m) * int(count) for n, count in zip(totals, shots, strict=True))
        work += math.comb(most + m, m) * math.ceil(len(self._largest) / self._block_size(most))
        return 8.0 * m * work <= budget

    def _block_size(self, most: int) -> int:
        layer = math.comb(most + self._modes - 1, self._modes - 1)
        return min(max(_MAX_BLOCK_AMPLITUDES // layer, 256), 1 << 14)

    def sample(self, rng: np.random.Generator) -> Array:
        """Return photon counts (shots, m). Raises ``ProgramError`` if double precision is not enough."""
        order = np.argsort(self._largest, kind="stable")
        counts = np.empty((len(order), self._measured), dtype=np.int64)
        first = 0
        while first < len(order):
            # Blocks of the dimmer shots are larger. The block's last shot, its brightest, sets the size of its table.
            size = _MAX_BLOCK_AMPLITUDES // math.comb(
                int(self._largest[order[first]]) + self._modes - 1, self._modes - 1
            )
            last = min(first + max(size, 1), len(order))
            most = int(self._largest[order[last - 1]])
            chosen = order[first:last]
            counts[chosen] = self._sample_block(chosen, Basis(most, self._modes), rng)[:, : self._measured]
            first = last
        return counts

    def _sample_block(self, shots: Array, basis: Basis, rng: np.random.Generator) -> Array:
        counts = np.zeros((len(shots), self._modes), dtype=np.int64)
        levels = rng.random(len(shots)) * (1 - TAIL)
        vacuum, below = np.exp(self._log_vacuum[shots]), np.zeros(len(shots))
        active = np.arange(len(shots))
        layers = _Layers(self._b, self._gamma[:, shots], basis)
        for total in range(basis.photons + 1):
            sums = np.cumsum(np.square(np.abs(layers.last)), axis=0) * vacuum[active]
            rest = levels[active] - below[active]
            found = np.flatnonzero((rest >= 0) & (sums[-1] > rest))
            counts[active[found]] = basis.patterns(total, np.sum(sums[:, found] <= rest[found], axis=0))
            below[active] += sums[-1]
            kept = below[active] <= levels[active]
            kept[-1] = True  # the brightest shot runs to the end, as a check of the sum
            if 2 * np.count_nonzero(kept) < len(active):
                active = active[kept]
                layers.keep(kept)
            if total < basis.photons:
                layers.advance()
        if not abs(below[-1] - 1) <= _TOLERANCE:
            raise beyond_limit("the amplitudes of the photon numbers lose too much precision")
        return counts


def _largest_totals(means: Array, pure: GaussianState) -> Array:
    """Return, for each shot, a total photon number (shots) that is exceeded with a probability of ``TAIL`` at most."""
    values, vectors = np.linalg.eigh(pure.cov)
    values = np.maximum(values, 1e-12)
    m, measured = pure.num_modes, means.shape[1] // 2
    own = np.concatenate([np.arange(measured), np.arange(measured) + m])
    squares = (vectors[own].T @ means.T) ** 2
    pole = (values[-1] + 1) / max(values[-1] - 1, 1e-3)
    least = np.full(len(means), np.inf)
    for z in 1 + (min(pole, 1e3) - 1) * np.linspace(0.02, 0.98, 25):
        factors = (1 + z + (1 - z) * values) / 2
        bound = (z - 1) / 4 * (1 / factors) @ squares - np.sum(np.log(factors)) / 2  # log E[z^N], see photons
        least = np.minimum(least, (bound - math.log(TAIL)) / math.log(z))
    return np.asarray(np.ceil(np.maximum(least, 1)), dtype=np.int64)


class _Layers:
    """
    The amplitudes ``last`` (patterns, shots) of 0, 1, 2 .. photons, relative to that of the vacuum, in the order of ``basis``,
    by the recurrence of ``amplitude_table``. ``gamma`` is (m, shots).
    """

    def __init__(self, b: Array, gamma: Array, basis: Basis) -> None:
        self._b, self._gamma, self._basis, self._photons = b, gamma, basis, 0
        self._before = np.zeros((0, gamma.shape[1]), dtype=complex)
        self.last = np.ones((1, gamma.shape[1]), dtype=complex)

    def keep(self, shots: Array) -> None:
        """Go on with these shots only."""
        self._gamma, self._before, self.last = self._gamma[:, shots], self._before[:, shots], self.last[:, shots]

    def advance(self) -> None:
        """Go on to one photon more."""
        b, gamma, basis, before, last = self._b, self._gamma, self._basis, self._before, self.last
        self._photons += 1
        n = self._photons
        size, front = basis.size(n), basis.size(n - 1)
        layer = np.empty((size, gamma.shape[1]), dtype=complex)
        layer[:front] = gamma[0] * last
        if n > 1:
            inner = basis.size(n - 2)
            layer[:inner] += (b[0, 0] * basis.front_roots(n - 1)[:inner])[:, np.newaxis] * before
            for j in range(1, basis.modes):
                factor = b[0, j] * basis.roots[j - 1, :front]
                layer[:front] += factor[:, np.newaxis] * before[basis.below[j - 1, :front]]
        layer[:front] /= basis.front_roots(n)[:front, np.newaxis]
        if size > front:
            layer[front:] = self._back(np.arange(front, size))
        self._before, self.last = last, layer

    def _back(self, new: Array) -> Array:
        """Return the amplitudes of the patterns without a photon in mode 0, from the first mode that holds one."""
        b, gamma, basis = self._b, self._gamma, self._basis
        pivot = np.argmax(basis.tails[new] > 0, axis=1)
        parent = basis.below[pivot, new]
        value = gamma[pivot + 1] * self.last[parent]
        if self._photons > 1:
            for j in range(1, basis.modes):
                factor = b[pivot + 1, j] * basis.roots[j - 1, parent]
                value += factor[:, np.newaxis] * self._before[basis.below[j - 1, parent]]
        return np.asarray(value / basis.roots[pivot, new][:, np.newaxis])
