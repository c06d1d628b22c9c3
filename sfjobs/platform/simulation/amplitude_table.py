"""
Photon counts of a pure state of few modes, exactly: the total is drawn from its own distribution, then the pattern from the
amplitudes of all patterns with that total, which a recurrence gives layer by layer.
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
_AGREEMENT: Final = 1e-6

_FAINTEST: Final = -650.0
"""Amplitudes are relative to that of the vacuum: with less of it than this their squares would overflow."""


class AmplitudeTable:
    """A sampler for the photon counts of ``state``, which must be pure; ``applies`` tells whether it is small enough."""

    def __init__(self, state: GaussianState) -> None:
        self.state = state
        self.log_vacuum = photons.log_vacuum(state)
        self.distribution = photons.total_distribution(state)
        self.largest = photons.quantile(self.distribution, TAIL)
        self.discarded = photons.tail_beyond(self.distribution, self.largest)

    def applies(self, budget: float = MAX_WORK) -> bool:
        if self.log_vacuum < _FAINTEST:
            return False
        return fits(self.largest, self.state.num_modes, _AMPLITUDE_BYTES) and self.work() <= budget

    def work(self) -> float:
        """Elementary operations until the last layer."""
        m = self.state.num_modes
        return 4.0 * m * math.comb(self.largest + m, m)

    def sample(self, shots: int, rng: np.random.Generator) -> Array:
        """Photon counts (shots, modes)."""
        cumulative = np.cumsum(self.distribution[: self.largest + 1])
        totals = np.searchsorted(cumulative, rng.random(shots) * cumulative[-1], side="right")
        order = np.argsort(totals, kind="stable")
        ends = np.searchsorted(totals[order], np.arange(totals.max() + 1), side="right")
        basis = Basis(int(totals.max()), self.state.num_modes)
        counts = np.zeros((shots, self.state.num_modes), dtype=basis.tails.dtype)
        start = 0
        for total, layer in enumerate(amplitude_layers(self.state, basis)):
            chances = layer.real**2 + layer.imag**2
            sums = np.cumsum(chances)
            self._check(total, float(sums[-1]))
            if ends[total] > start:
                numbers = np.searchsorted(sums, rng.random(ends[total] - start) * sums[-1], side="right")
                counts[order[start : ends[total]]] = basis.patterns(total, numbers)
                start = ends[total]
        return counts

    def _check(self, total: int, layer_sum: float) -> None:
        """Hold a layer against the exact probability of its total, where that is more than its own rounding."""
        expected = float(self.distribution[total])
        if not abs(layer_sum * math.exp(self.log_vacuum) - expected) <= _AGREEMENT * expected + 1e-11:
            raise beyond_limit(f"the amplitudes of {total} photons lose too much precision")


def amplitude_layers(state: GaussianState, basis: Basis) -> Iterator[Array]:
    """
    The amplitudes of the patterns of 0, 1, 2 .. photons, relative to that of the vacuum, in the order of ``basis``.

    With B and gamma of the state, ``sqrt(n_i) psi(n) = gamma_i psi(n - e_i) + sum_j B_ij sqrt((n - e_i)_j)
    psi(n - e_i - e_j)`` for any mode i that holds a photon; it is the annihilation condition of the state in the photon
    basis (see Quesada, J. Chem. Phys. 150, 164113 for the same in terms of hafnians).
    """
    b, gamma = state.amplitude_generator()
    m = basis.modes
    before = np.zeros(0, dtype=complex)
    last = np.ones(1, dtype=complex)
    yield last
    for n in range(1, basis.photons + 1):
        layer = np.zeros(basis.size(n), dtype=complex)
        front = basis.size(n - 1)  # patterns with a photon in mode 0: the others' tails hold all n
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
    """The patterns without a photon in mode 0, by their first mode that holds one."""
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
