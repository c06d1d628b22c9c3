"""
Exact photon counts of twin beams: pure states whose photons come in pairs, one in the signal modes and one in the idler modes,
as on the X-series chips. Any interferometers may follow the squeezers; no Fock cutoff and no hafnian is needed.

Such a state is proportional to ``exp(sum C_ij a_i^dagger b_j^dagger) |0>``. The signal modes alone are thermal: complex Gaussian
amplitudes, then Poisson counts. Given signal counts s, the idlers are in the pure state ``prod_i (sum_j C_ij
b_j^dagger)^{s_i} |0>``, which is expanded once for all shots with these counts.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..program import Array
from . import photons
from .fock_basis import Basis, fits
from .limits import MAX_TWIN_BYTES, MAX_WORK, TAIL
from .state import GaussianState

_MAX_BLOCK_AMPLITUDES: Final = 4_000_000
"""Complex amplitudes of one layer of a block of signal patterns: 64 MB, and the same for the previous layer."""

_NEGLIGIBLE: Final = 1e-11


class TwinBeams:
    """A sampler for the photon counts of a pure state whose photons come in pairs."""

    def __init__(self, state: GaussianState, signal: Array, idler: Array, coupling: Array) -> None:
        self.signal, self.idler, self.coupling = signal, idler, coupling
        self.distribution = photons.total_distribution(state.reduced(signal.tolist()))
        self.largest, self.discarded = photons.truncation(self.distribution, TAIL)

    @classmethod
    def split(cls, state: GaussianState) -> TwinBeams | None:
        """Return the sampler for a pure state, or None if a displacement or single-mode squeezing prevents two sides."""
        if np.any(np.abs(state.means) > 1e-14):
            return None
        b, _ = state.amplitude_generator()
        side = _two_sides(np.abs(b) > _NEGLIGIBLE)
        if side is None:
            return None
        signal, idler = np.flatnonzero(side == 0), np.flatnonzero(side == 1)
        if len(idler) > len(signal):  # the expansion runs over the idler patterns, so the idlers are the smaller side
            signal, idler = idler, signal
        if not len(idler):
            return None
        return cls(state, signal, idler, b[np.ix_(signal, idler)])

    def applies(self, shots: int, budget: float = MAX_WORK) -> bool:
        """Return whether the tables fit into memory and the work into ``budget``."""
        return fits(self.largest, len(self.idler), 64, MAX_TWIN_BYTES) and self.work(shots) <= budget

    def work(self, shots: int) -> float:
        """Return the elementary operations of the run, if each shot has its own signal pattern."""
        m = len(self.idler)
        work_per_shot = [m * float(math.comb(n + m, m)) for n in range(self.largest + 1)]
        return shots * float(np.dot(self.distribution[: self.largest + 1], work_per_shot))

    def sample(self, shots: int, rng: np.random.Generator) -> Array:
        """Return photon counts (shots, modes)."""
        signal = self._signal(shots, rng)
        totals = signal.sum(axis=1, dtype=np.int64)
        dtype = np.uint8 if self.largest < 256 else np.uint16
        counts = np.zeros((shots, len(self.signal) + len(self.idler)), dtype=dtype)
        counts[:, self.signal] = signal
        basis = Basis(int(totals.max()), len(self.idler))
        patterns, owner = _unique_rows(signal.astype(dtype))
        order = np.argsort(owner, kind="stable")
        starts = np.searchsorted(owner[order], np.arange(len(patterns) + 1))
        shots_by_leaf = [order[start:end] for start, end in itertools.pairwise(starts)]
        leaf_totals = patterns.sum(axis=1, dtype=np.int64)
        queue = np.argsort(leaf_totals, kind="stable")
        while len(queue):
            length = _block_length(leaf_totals[queue], basis)
            block, queue = queue[:length], queue[length:]
            self._draw_idlers(counts, patterns[block], [shots_by_leaf[leaf] for leaf in block], basis, rng)
        return counts

    def _signal(self, shots: int, rng: np.random.Generator) -> Array:
        """Return signal counts (shots, signal modes); totals above ``largest`` (one in 10^9) are drawn again."""
        u, t, _ = np.linalg.svd(self.coupling, full_matrices=False)
        spread = u * (t / np.sqrt(2 * (1 - t * t)))
        counts = np.empty((shots, len(self.signal)), dtype=np.int64)
        missing = np.arange(shots)
        while len(missing):
            noise = rng.standard_normal((len(missing), len(t))) + 1j * rng.standard_normal((len(missing), len(t)))
            amplitude = noise @ spread.T
            counts[missing] = rng.poisson(amplitude.real**2 + amplitude.imag**2)
            missing = missing[counts[missing].sum(axis=1) > self.largest]
        return counts

    def _draw_idlers(
        self, counts: Array, leaves: Array, shots_by_leaf: list[Array], basis: Basis, rng: np.random.Generator
    ) -> None:
        """Fill in the idler counts of the shots with the signal patterns ``leaves``."""
        amplitudes = np.ones((1, 1), dtype=complex)
        for n, layer in enumerate(_layers(leaves)):
            if n:
                amplitudes = self._add_photon(amplitudes, layer, n, basis)
            if not len(layer.leaves):
                continue
            probabilities = amplitudes[layer.rows].real ** 2 + amplitudes[layer.rows].imag ** 2
            sums = np.cumsum(probabilities, axis=1)
            sums /= sums[:, -1:]
            width = sums.shape[1]
            sums += np.arange(len(sums))[:, None]
            shots_by_row = [shots_by_leaf[leaf] for leaf in layer.leaves]
            row = np.repeat(np.arange(len(shots_by_row)), [len(shots) for shots in shots_by_row])
            numbers = np.searchsorted(sums.ravel(), row + rng.random(len(row)), side="right") - row * width
            numbers = np.clip(numbers, 0, width - 1)
            counts[np.ix_(np.concatenate(shots_by_row), self.idler)] = basis.patterns(n, numbers)

    def _add_photon(self, parents: Array, layer: _Layer, n: int, basis: Basis) -> Array:
        """Apply ``sum_j C_ij b_j^dagger`` to each state of n - 1 photons, where i is the signal mode of the new photon."""
        size, inner = basis.size(n), basis.size(n - 1)
        parents = parents[layer.parents]
        result = np.zeros((len(layer.modes), size), dtype=complex)
        factors = self.coupling[layer.modes]
        result[:, :inner] = factors[:, :1] * basis.front_roots(n)[:inner] * parents
        for j in range(1, len(self.idler)):
            below = basis.below[j - 1, :size]
            result += (factors[:, j, None] * basis.roots[j - 1, :size]) * parents[:, below]
        # Only ratios within a row matter. Without this, amplitudes of many photons would leave the range of doubles.
        result /= np.max(np.abs(result), axis=1, keepdims=True)
        return result


@dataclass(slots=True)
class _Layer:
    """
    Signal patterns of n photons. Each is the pattern in row ``parents`` of the layer below plus one photon in mode ``modes``.
    The patterns in ``rows`` are the requested ones, ``leaves``.
    """

    modes: Array
    parents: Array
    leaves: Array
    rows: Array


def _layers(leaves: Array) -> list[_Layer]:
    """Return all patterns between the vacuum and the leaves, removing photons from the last mode that holds one."""
    totals = leaves.sum(axis=1, dtype=np.int64)
    above = np.zeros((0, leaves.shape[1]), dtype=leaves.dtype)
    layers: list[_Layer] = []
    for n in range(int(totals.max()), -1, -1):
        own = np.flatnonzero(totals == n)
        patterns, owner = _unique_rows(np.concatenate([above, leaves[own]]))
        if layers:
            layers[-1].parents = owner[: len(above)]
        last = patterns.shape[1] - 1 - np.argmax(patterns[:, ::-1] > 0, axis=1)
        layers.append(_Layer(last, np.zeros(0, dtype=np.intp), own, owner[len(above) :]))
        above = patterns.copy()
        if n:
            above[np.arange(len(above)), last] -= 1
    return layers[::-1]


def _unique_rows(rows: Array) -> tuple[Array, Array]:
    """Return the unique rows and, for each given row, the index of its unique row."""
    bits = max(int(rows.max(initial=0)).bit_length(), 1)
    if bits * rows.shape[1] <= 62:
        keys = rows.astype(np.int64) @ (np.int64(1) << (bits * np.arange(rows.shape[1], dtype=np.int64)))
    else:
        keys = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, owner = np.unique(keys, return_index=True, return_inverse=True)
    return rows[first], owner.ravel()


def _block_length(totals: Array, basis: Basis) -> int:
    """Return how many leaves, sorted by total, fit into one block; the widest layer has a row for each of them."""
    sizes = np.array([basis.size(n) for n in range(int(totals[-1]) + 1)], dtype=float)
    return max(int(np.count_nonzero(np.arange(1, len(totals) + 1) * sizes[totals] <= _MAX_BLOCK_AMPLITUDES)), 1)


def _two_sides(linked: Array) -> Array | None:
    """Return side 0 or 1 of each mode such that links join different sides only, or None; isolated modes are on side 0."""
    side = np.full(len(linked), -1)
    for root in range(len(linked)):
        if side[root] >= 0:
            continue
        side[root] = 0
        component = [root]
        for mode in component:  # grows during the loop
            fresh = np.flatnonzero(linked[mode] & (side < 0))
            side[fresh] = 1 - side[mode]
            component.extend(fresh.tolist())
    return None if np.any(linked & (side[:, None] == side)) else side
