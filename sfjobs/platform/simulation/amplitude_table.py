"""
Exact photon counts of a pure Gaussian state of few modes. The total is drawn from its distribution, then the pattern from the
amplitudes of all patterns with that total, which a recurrence computes layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from ..program import Array
from . import photons
from .fock_basis import Basis, fits
from .limits import MAX_WORK, TAIL, beyond_limit
from .state import GaussianState

_AMPLITUDE_BYTES: Final = 96
_RELATIVE_TOLERANCE: Final = 1e-6

_MIN_LOG_VACUUM: Final = -650.0
"""Amplitudes are relative to that of the vacuum; with a lower vacuum probability their squares would overflow."""


class AmplitudeTable:
    """A sampler for the photon counts of ``state``, which must be pure."""

    def __init__(self, state: GaussianState) -> None:
        self.state = state
        self.log_vacuum = photons.log_vacuum(state)
        self.distribution = photons.total_distribution(state)
        self.largest, self.discarded = photons.truncation(self.distribution, TAIL)

    def applies(self, budget: float = MAX_WORK) -> bool:
        """Return whether the state is small enough for memory, double precision and ``budget`` elementary operations."""
        small = fits(self.largest, self.state.num_modes, _AMPLITUDE_BYTES)
        return self.log_vacuum >= _MIN_LOG_VACUUM and small and self.work <= budget

    @property
    def work(self) -> float:
        """The elementary operations of the table."""
        m = self.state.num_modes
        return 4.0 * m * math.comb(self.largest + m, m)

    def sample(self, shots: int, rng: np.random.Generator) -> Array:
        """Return photon counts (shots, modes). Raises ``ProgramError`` if double precision is not enough."""
        cumulative = np.cumsum(self.distribution[: self.largest + 1])
        totals = np.searchsorted(cumulative, rng.random(shots) * cumulative[-1], side="right")
        order = np.argsort(totals, kind="stable")
        ends = np.searchsorted(totals[order], np.arange(totals.max() + 1), side="right")
        basis = Basis(int(totals.max()), self.state.num_modes)
        counts = np.zeros((shots, self.state.num_modes), dtype=basis.tails.dtype)
        start = 0
        for total, layer in enumerate(amplitude_layers(self.state, basis)):
            probabilities = layer.real**2 + layer.imag**2
            sums = np.cumsum(probabilities)
            self._check(total, float(sums[-1]))
            if ends[total] > start:
                numbers = np.searchsorted(sums, rng.random(ends[total] - start) * sums[-1], side="right")
                counts[order[start : ends[total]]] = basis.patterns(total, numbers)
                start = ends[total]
        return counts

    def _check(self, total: int, layer_sum: float) -> None:
        """Compare a layer with the exact probability of its total, unless that is within its own rounding."""
        expected = float(self.distribution[total])
        if not abs(layer_sum * math.exp(self.log_vacuum) - expected) <= _RELATIVE_TOLERANCE * expected + 1e-11:
            raise beyond_limit(f"the amplitudes of {total} photons lose too much precision")


def amplitude_layers(state: GaussianState, basis: Basis) -> Iterator[Array]:
    """
    Yield the amplitudes of the patterns of 0, 1, 2 .. photons, relative to that of the vacuum, in the order of ``basis``.

    With B and gamma of the state, ``sqrt(n_i) psi(n) = gamma_i psi(n - e_i) + sum_j B_ij sqrt((n - e_i)_j)
    psi(n - e_i - e_j)`` for any mode i that holds a photon. It is the annihilation condition of the state in the Fock basis
    (see Quesada, J. Chem. Phys. 150, 164113 for the same in terms of hafnians).
    """
    b, gamma = state.amplitude_generator()
    m = basis.modes
    before = np.zeros(0, dtype=complex)
    last = np.ones(1, dtype=complex)
    yield last
    for n in range(1, basis.photons + 1):
        layer = np.zeros(basis.size(n), dtype=complex)
        front = basis.size(n - 1)  # patterns with a photon in mode 0; in the others the tail holds all n
        layer[:front] = gamma[0] * last
        if n > 1:
            inner = basis.size(n - 2)
            layer[:inner] += b[0, 0] * basis.front_roots(n - 1)[:inner] * before
            for j in range(1, m):
                layer[:front] += b[0, j] * basis.roots[j - 1, :front] * before[basis.below[j - 1, :front]]
        layer[:front] /= basis.front_roots(n)[:front]
        if m > 1:
            _fill_back((layer, last, before), basis, (b, gamma), n)
        before, last = last, layer
        yield layer


def _fill_back(layers: tuple[Array, Array, Array], basis: Basis, generator: tuple[Array, Array], n: int) -> None:
    """Fill in the patterns without a photon in mode 0, from the first mode that holds one."""
    layer, last, before = layers
    b, gamma = generator
    new = np.arange(basis.size(n - 1), basis.size(n))
    pivot = np.argmax(basis.tails[new] > 0, axis=1)
    parent = basis.below[pivot, new]
    value = gamma[pivot + 1] * last[parent]
    if n > 1:
        for j in range(1, basis.modes):
            value += b[pivot + 1, j] * basis.roots[j - 1, parent] * before[basis.below[j - 1, parent]]
    layer[new] = value / basis.roots[pivot, new]
