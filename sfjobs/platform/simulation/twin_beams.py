"""
Photon counts of twin beams, exactly: pure states whose photons come in pairs, one in the signal modes and one in the idler
modes, as on the X-series chips. No cutoff, no hafnian, no matter which interferometers follow the squeezers.

Such a state is proportional to ``exp(sum C_ij a_i^dagger b_j^dagger) |0>``. The signal modes alone are thermal: complex
Gaussian amplitudes, then Poisson counts. Given their counts s, the idlers are in the pure state ``prod_i (sum_j C_ij
b_j^dagger)^{s_i} |0>``, which is expanded once for all shots with these counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..program import Array
from . import photons
from .fock_basis import Basis, fits
from .limits import MAX_TWIN_BYTES, MAX_WORK, TAIL
from .state import GaussianState

_BLOCK: Final = 4_000_000
"""Complex amplitudes of one layer of a block of signal patterns: 64 MB, and as much again for the layer before."""

_NOTHING: Final = 1e-11


class TwinBeams:
    """A sampler for the photon counts of ``state``; ``split`` makes one if its photons do come in pairs."""

    def __init__(self, state: GaussianState, signal: Array, idler: Array, coupling: Array) -> None:
        self.signal, self.idler, self.coupling = signal, idler, coupling
        self.distribution = photons.total_distribution(state.reduced(signal.tolist()))
        self.largest = photons.quantile(self.distribution, TAIL)
        self.discarded = photons.tail_beyond(self.distribution, self.largest)

    @classmethod
    def split(cls, state: GaussianState) -> TwinBeams | None:
        """The sampler for a pure state, or None when a displacement or a squeezed mode leaves no two halves."""
        if not state.is_centred:
            return None
        b, _ = state.amplitude_generator()
        side = _two_sides(np.abs(b) > _NOTHING)
        if side is None:
            return None
        signal, idler = np.flatnonzero(side == 0), np.flatnonzero(side == 1)
        if len(idler) > len(signal):  # the expansion is over the patterns of the idlers: let them be the fewer
            signal, idler = idler, signal
        if not len(idler):
            return None
        return cls(state, signal, idler, b[np.ix_(signal, idler)])

    def applies(self, shots: int, budget: float = MAX_WORK) -> bool:
        return fits(self.largest, len(self.idler), 64, MAX_TWIN_BYTES) and self.work(shots) <= budget

    def work(self, shots: int) -> float:
        """Elementary operations if every shot had a signal pattern of its own; sharing makes it less."""
        m = len(self.idler)
        each = [m * float(math.comb(n + m, m)) for n in range(self.largest + 1)]
        return shots * float(np.dot(self.distribution[: self.largest + 1], each))

    def sample(self, shots: int, rng: np.random.Generator) -> Array:
        """Photon counts (shots, modes)."""
        signal = self._signal(shots, rng)
        totals = signal.sum(axis=1, dtype=np.int64)
        dtype = np.uint8 if self.largest < 256 else np.uint16
        counts = np.zeros((shots, len(self.signal) + len(self.idler)), dtype=dtype)
        counts[:, self.signal] = signal
        basis = Basis(int(totals.max()), len(self.idler))
        patterns, owner = _unique_rows(signal.astype(dtype))
        order = np.argsort(owner, kind="stable")
        starts = np.searchsorted(owner[order], np.arange(len(patterns) + 1))
        leaf_totals = patterns.sum(axis=1, dtype=np.int64)
        queue = np.argsort(leaf_totals, kind="stable")
        while len(queue):
            taken = _block_length(leaf_totals[queue], basis)
            block, queue = queue[:taken], queue[taken:]
            shots_of = np.concatenate([order[starts[leaf] : starts[leaf + 1]] for leaf in block])
            repeats = starts[block + 1] - starts[block]
            self._draw_idlers(counts, _Block(patterns[block], shots_of, repeats), basis, rng)
        return counts

    def _signal(self, shots: int, rng: np.random.Generator) -> Array:
        """Signal counts; those above ``largest`` (one in a thousand million) are drawn again."""
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

    def _draw_idlers(self, counts: Array, block: _Block, basis: Basis, rng: np.random.Generator) -> None:
        """Fill in the idlers of the shots of a block."""
        layers = _layers(block.leaves)
        shots_of, repeats = block.shots, block.repeats
        firsts = np.concatenate([[0], np.cumsum(repeats)])
        amplitudes = np.ones((1, 1), dtype=complex)
        for n, layer in enumerate(layers):
            if n:
                amplitudes = self._add_photon(amplitudes, layer, n, basis)
            if not len(layer.leaves):
                continue
            chances = amplitudes[layer.rows].real ** 2 + amplitudes[layer.rows].imag ** 2
            sums = np.cumsum(chances, axis=1)
            sums /= sums[:, -1:]
            width = sums.shape[1]
            sums += np.arange(len(sums))[:, None]
            row = np.repeat(np.arange(len(layer.leaves)), repeats[layer.leaves])
            shots = np.concatenate([shots_of[firsts[leaf] : firsts[leaf + 1]] for leaf in layer.leaves])
            numbers = np.searchsorted(sums.ravel(), row + rng.random(len(row)), side="right") - row * width
            numbers = np.clip(numbers, 0, width - 1)
            counts[np.ix_(shots, self.idler)] = basis.patterns(n, numbers)

    def _add_photon(self, parents: Array, layer: _Layer, n: int, basis: Basis) -> Array:
        """Multiply each state of n - 1 photons by ``sum_j C_ij b_j^dagger`` for the signal mode i of the new photon."""
        size, inner = basis.size(n), basis.size(n - 1)
        parents = parents[layer.parents]
        result = np.zeros((len(layer.modes), size), dtype=complex)
        factors = self.coupling[layer.modes]
        result[:, :inner] = factors[:, :1] * basis.front_roots(n)[:inner] * parents
        for j in range(1, len(self.idler)):
            below = basis.below[j - 1, :size]
            result += (factors[:, j, None] * basis.roots[j - 1, :size]) * parents[:, below]
        # Only ratios within a row matter; without this the amplitudes of many photons would leave the range of doubles.
        result /= np.max(np.abs(result), axis=1, keepdims=True)
        return result


@dataclass(frozen=True, slots=True)
class _Block:
    """Signal patterns and their shots: first those of the first pattern, ``repeats`` of them, and so on."""

    leaves: Array
    shots: Array
    repeats: Array


@dataclass(frozen=True, slots=True)
class _Layer:
    """Signal patterns of n photons: each its ``parents`` row one photon below, with ``modes`` the mode of that photon."""

    modes: Array
    parents: Array
    leaves: Array
    rows: Array


def _layers(leaves: Array) -> list[_Layer]:
    """Every pattern on the way from the vacuum to each leaf, by taking photons out of the last mode that holds one."""
    totals = leaves.sum(axis=1, dtype=np.int64)
    above = np.zeros((0, leaves.shape[1]), dtype=leaves.dtype)
    layers: list[_Layer] = []
    for n in range(int(totals.max()), -1, -1):
        own = np.flatnonzero(totals == n)
        patterns, owner = _unique_rows(np.concatenate([above, leaves[own]]))
        if layers:
            upper = layers[-1]
            layers[-1] = _Layer(upper.modes, owner[: len(above)], upper.leaves, upper.rows)
        last = patterns.shape[1] - 1 - np.argmax(patterns[:, ::-1] > 0, axis=1)
        layers.append(_Layer(last, np.zeros(0, dtype=np.intp), own, owner[len(above) :]))
        above = patterns.copy()
        if n:
            above[np.arange(len(above)), last] -= 1
    return layers[::-1]


def _unique_rows(rows: Array) -> tuple[Array, Array]:
    """The different rows and, for each given row, which of them it is."""
    bits = max(int(rows.max(initial=0)).bit_length(), 1)
    if bits * rows.shape[1] <= 62:
        keys = rows.astype(np.int64) @ (np.int64(1) << (bits * np.arange(rows.shape[1], dtype=np.int64)))
    else:
        keys = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, owner = np.unique(keys, return_index=True, return_inverse=True)
    return rows[first], owner.ravel()


def _block_length(totals: Array, basis: Basis) -> int:
    """How many leaves, sorted by total, fit into one block: the widest layer has a row for each of them."""
    sizes = np.array([basis.size(n) for n in range(int(totals[-1]) + 1)], dtype=float)
    return max(int(np.count_nonzero(np.arange(1, len(totals) + 1) * sizes[totals] <= _BLOCK)), 1)


def _two_sides(linked: Array) -> Array | None:
    """0 or 1 for each mode so that links only join different sides, or None; single modes go to side 0."""
    side = np.full(len(linked), -1)
    for root in range(len(linked)):
        if side[root] >= 0:
            continue
        side[root] = 0
        waiting = [root]
        while waiting:
            mode = waiting.pop()
            for other in np.flatnonzero(linked[mode]):
                if side[other] < 0:
                    side[other] = 1 - side[mode]
                    waiting.append(int(other))
                elif side[other] == side[mode]:
                    return None
    return side
