"""
Photon counts of any Gaussian state, exact and on numpy alone, by pure states (Quesada et al., PRX Quantum 3, 010306; Bulmer et
al., arXiv 2010.15595).

The covariance is that of a pure state plus classical noise. A shot draws the displacement of the pure state from the noise and a
heterodyne amplitude for each mode. Mode by mode, it then replaces the amplitude by a photon number, whose probabilities are
squared amplitudes of the pure state. All shots of a block go through the modes together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from ..program import Array
from . import photons
from .limits import MAX_CUTOFF, MAX_LATTICE_POINTS, MAX_SIEVE_TERMS, MAX_WORK
from .pattern_lattice import Lattice, joined
from .pattern_sieve import Sieve
from .state import GaussianState

_FIRST_CUTOFF: Final = 12
_NEGLIGIBLE: Final = 1e-11
"""Part of the probability of one mode in one shot that may lie in the last quarter below its cutoff."""

_LAST_CUTOFF: Final = 144
_FACTORIALS: Final = np.cumprod(np.maximum(np.arange(_LAST_CUTOFF, dtype=float), 1))

_MAX_DISCARDED: Final = 1e-6
_SHOTS_FOR_ESTIMATE: Final = 16

_MAX_BLOCK_SHOTS: Final = 1 << 12
_MAX_BLOCK_POINTS: Final = 1 << 21
"""Lattice points of the shots of a block, on average: 32 MB, and a few times that for intermediate results."""

_WORK_PER_POINT: Final = 10.0
_WORK_PER_COUNT: Final = 2e3
"""Elementary operations for each point of a lattice, and for each mode of a shot: 20 us."""

_WORK_PER_TERM: Final = 10.0
_WORK_PER_TRACES: Final = 1.0
"""Elementary operations for each term of a sieve and N^2 for each mode, and N^3 after each change of the pattern."""

_WORK_PER_BLOCK: Final = 1e6
"""Elementary operations for each mode of a block, in which the shots have a hundred different patterns of counts."""


class PureStateSampler:
    """
    A sampler for the photon counts of ``state``. With ``means`` (shots, 2m) each shot has the covariance of ``state`` and its own
    means. Shots with more photons than can be computed are drawn again; ``discarded`` bounds their probability.
    """

    def __init__(self, state: GaussianState, means: Array | None = None) -> None:
        self.state, self.means = state, means
        self.distribution = _total_distribution(state, means)
        most = _most_photons(state.num_modes)
        self.discarded = float(np.sum(self.distribution[most + 1 :][::-1])) + _NEGLIGIBLE * state.num_modes

    def applies(self, shots: int, budget: float = MAX_WORK) -> bool:
        """Return whether double precision and ``budget`` are enough."""
        return self.discarded <= _MAX_DISCARDED and self.work(shots) <= budget

    def work(self, shots: int) -> float:
        """Return the elementary operations of the run; a state whose photons are spread evenly takes the most."""
        modes = self.state.num_modes
        photon_numbers, points, probabilities = self._patterns(shots)
        terms = np.sqrt(points) / 2
        changes = photon_numbers[-1] / modes  # patterns with another photon for each mode
        sieve = terms * (_WORK_PER_TERM * photon_numbers**2 + _WORK_PER_TRACES * changes * photon_numbers**3)
        each = np.where(points > MAX_LATTICE_POINTS, sieve, _WORK_PER_POINT * points) @ probabilities
        blocks = math.ceil(shots / self._block_shots(shots))
        return shots * float(each.sum()) + modes * (shots * _WORK_PER_COUNT + blocks * _WORK_PER_BLOCK)

    def _patterns(self, shots: int) -> tuple[Array, Array, Array]:
        """
        Return the photons in the first k modes and the lattice points, both (modes, totals), and the probabilities (totals), of
        the totals that one of ``shots`` shots may reach.
        """
        largest = photons.truncation(self.distribution, 0.1 / shots)[0]
        return *_mean_points(largest, self.state.num_modes), self.distribution[: largest + 1]

    def _block_shots(self, shots: int) -> int:
        _, points, probabilities = self._patterns(shots)
        mean = float(np.max(np.minimum(points, MAX_LATTICE_POINTS) @ probabilities))
        return int(min(max(_MAX_BLOCK_POINTS / mean, 16), _MAX_BLOCK_SHOTS, shots))

    def sample(self, shots: int, rng: np.random.Generator) -> Array:
        """Return photon counts (shots, modes)."""
        m = self.state.num_modes
        pure, noise = self.state.pure_part()
        b, _ = pure.amplitude_generator()
        spread = np.linalg.cholesky(pure.cov + np.eye(2 * m))
        means = np.broadcast_to(self.state.means, (shots, 2 * m)) if self.means is None else self.means
        counts = np.zeros((shots, m), dtype=np.uint8)
        block = self._block_shots(shots)
        for start in range(0, shots, block):
            missing = np.arange(start, min(start + block, shots))
            while len(missing):
                centre = means[missing].T + noise @ rng.standard_normal((noise.shape[1], len(missing)))
                reading = centre + spread @ rng.standard_normal((2 * m, len(missing)))
                alpha, others = _amplitudes(centre), _amplitudes(reading).conj()
                counts[missing], complete = _sample_block(b, alpha - b @ alpha.conj(), others, rng)
                missing = missing[~complete]
        return counts


def _amplitudes(quadratures: Array) -> Array:
    x, p = np.split(quadratures, 2)
    amplitudes: Array = (x + 1j * p) / 2
    return amplitudes


def _sample_block(b: Array, gamma: Array, others: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """
    Return counts (shots, modes) of pure states with the generator ``b`` and ``gamma`` (modes, shots), and whether each shot is
    complete. ``others`` (modes, shots) are the conjugate heterodyne amplitudes.
    """
    modes, shots = gamma.shape
    counts = np.zeros((shots, modes), dtype=np.uint8)
    totals = np.zeros(shots, dtype=np.int64)
    gamma = gamma + b @ others
    lattices, sieves = [Lattice.empty(shots)], list[Sieve]()
    for mode in range(modes):
        gamma -= b[:, mode, None] * others[mode]
        series = np.zeros((int(totals.max()) + 1, shots), dtype=complex)
        for lattice in lattices:
            polynomials = lattice.polynomials(gamma, b[mode])
            series[: len(polynomials), lattice.shots] = polynomials
        for sieve in sieves:
            series[: sieve.photons + 1, sieve.shot] = sieve.polynomial(gamma[:, sieve.shot], b[mode])
        counts[:, mode] = _draw(series, totals, gamma[mode], b[mode, mode], rng.random(len(totals)))
        totals += counts[:, mode]
        if mode + 1 < modes:
            sieves = [*_grown_sieves(sieves, counts[:, mode], mode, b), *_large(lattices, counts[:, mode], mode, b)]
            sieves = [sieve for sieve in sieves if sieve.terms <= MAX_SIEVE_TERMS]
            lattices = joined(_grown(lattices, counts[:, mode], mode, b[mode]))
    complete = np.zeros(shots, dtype=bool)
    for lattice in lattices:
        complete[lattice.shots] = True
    complete[[sieve.shot for sieve in sieves]] = True
    return counts, complete


def _grown(lattices: list[Lattice], counts: Array, mode: int, b: Array) -> Iterator[Lattice]:
    """Yield the lattices with the ``counts`` (shots) of another mode, unless they are too large."""
    for lattice in lattices:
        own = counts[lattice.shots]
        for count in range(int(own.max()) + 1):
            index = np.flatnonzero(own == count)
            if len(index) and len(lattice.values) * (count + 1) <= MAX_LATTICE_POINTS:
                chosen = lattice if len(index) == len(own) else lattice.chosen(index)
                yield chosen.with_photons(mode, count, b) if count else chosen


def _large(lattices: list[Lattice], counts: Array, mode: int, b: Array) -> Iterator[Sieve]:
    """Yield sieves for the shots whose lattices would be too large with the ``counts`` (shots) of another mode."""
    for lattice in lattices:
        own = counts[lattice.shots].astype(np.int64)
        for index in np.flatnonzero(len(lattice.values) * (own + 1) > MAX_LATTICE_POINTS):
            modes = np.append(lattice.modes[:, index], mode)
            yield Sieve((*lattice.counts, int(own[index])), modes, int(lattice.shots[index]), b)


def _grown_sieves(sieves: list[Sieve], counts: Array, mode: int, b: Array) -> Iterator[Sieve]:
    """Yield the sieves with the ``counts`` (shots) of another mode."""
    for sieve in sieves:
        count = int(counts[sieve.shot])
        yield sieve.with_photons(mode, count, b) if count else sieve


def _draw(series: Array, totals: Array, gamma: Array, own: complex, uniform: Array) -> Array:
    """
    Return the photon counts (shots) of the next mode from its ``series`` (powers, shots), zero beyond ``totals`` (shots).

    The amplitude of j photons is, up to a factor, ``sqrt(j!)`` times the coefficient of ``y^j`` in ``exp(own y^2 / 2 + gamma y)``
    times the series.
    The cutoff is doubled for the shots in which the photon numbers just below it still matter.
    """
    counts = np.zeros(len(totals), dtype=np.intp)
    open_shots = np.arange(len(totals))
    cutoff = _FIRST_CUTOFF
    while True:
        amplitudes = _next_amplitudes(series[:, open_shots], totals[open_shots], gamma[open_shots], own, cutoff)
        probabilities = amplitudes.real**2 + amplitudes.imag**2
        probabilities *= _FACTORIALS[:cutoff, None]
        sums = np.cumsum(probabilities, axis=0)
        counts[open_shots] = np.minimum(np.sum(sums <= uniform[open_shots] * sums[-1], axis=0), cutoff - 1)
        cut_off = sums[-1] - sums[-1 - cutoff // 4] > _NEGLIGIBLE * sums[-1]
        if cutoff == _LAST_CUTOFF or not cut_off.any():
            return counts
        open_shots = open_shots[cut_off]
        cutoff = min(2 * cutoff, _LAST_CUTOFF)


def _next_amplitudes(series: Array, totals: Array, gamma: Array, own: complex, cutoff: int) -> Array:
    """Return the amplitudes (cutoff, shots) of 0, 1, 2 .. photons in the next mode, without the factor ``sqrt(j!)``."""
    single = np.empty((cutoff, len(gamma)), dtype=complex)
    single[0], single[1] = 1, gamma
    for n in range(2, cutoff):
        single[n] = (gamma * single[n - 1] + own * single[n - 2]) / n
    amplitudes: Array = single * series[0]
    for power in range(1, min(len(series), cutoff)):
        some = np.flatnonzero(totals >= power)
        if 2 * len(some) > len(totals):
            amplitudes[power:] += single[: cutoff - power] * series[power]
        else:
            amplitudes[power:, some] += single[: cutoff - power, some] * series[power, some]
    return amplitudes


def _total_distribution(state: GaussianState, means: Array | None) -> Array:
    """Return the distribution of the total photon number, averaged over shots from the least to the most displaced one."""
    if means is None:
        return photons.total_distribution(state)
    order = np.argsort(np.sum(means**2, axis=1))
    chosen = order[np.unique(np.linspace(0, len(order) - 1, _SHOTS_FOR_ESTIMATE).astype(np.intp))]
    each = [photons.total_distribution(GaussianState(means[shot], state.cov)) for shot in chosen]
    average = np.zeros(max(map(len, each)))
    for distribution in each:
        average[: len(distribution)] += distribution / len(each)
    return average


def _most_photons(modes: int) -> int:
    """Return the largest total for which no pattern has too many terms in the sieve, and no mode too many photons."""
    total = 0
    while total + 1 < MAX_CUTOFF and _log_most_terms(total + 1, modes) <= math.log(MAX_SIEVE_TERMS):
        total += 1
    return total


def _log_most_terms(total: int, modes: int) -> float:
    """
    Return a bound on the logarithm of the terms of the sieve. A mode with n photons adds the factor n/2 + 1, or (n + 1)/2 and
    half of a pair; the least concave bound on its logarithm is linear up to 3 photons.
    """
    each = max(total / modes, 3.0)
    most = modes * math.log((each + 1) / math.sqrt(2)) if total > 3 * modes else (total + 1) // 2 * math.log(2)
    return most - math.log(2)  # the sum is symmetric


def _mean_points(largest: int, modes: int) -> tuple[Array, Array]:
    """
    Return the photons in the first k modes and the mean lattice points, both (modes, totals), for totals 0 .. ``largest``:
    ``C(n + 2k - 1, n) / C(n + k - 1, n)`` for n photons in k modes if all patterns are equally likely.
    """
    logarithms = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, largest + 2 * modes + 1)))])
    k = np.arange(1, modes + 1)[:, None]
    n = np.arange(largest + 1) * k // modes
    points = np.exp(logarithms[n + 2 * k - 1] - logarithms[2 * k - 1] - logarithms[n + k - 1] + logarithms[k - 1])
    return n, points
