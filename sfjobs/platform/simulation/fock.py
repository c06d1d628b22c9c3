"""
Photon counts and clicks of a Gaussian state: split it into independent parts, and give each to the fastest sampler that is
exact for it.

==================  =====================================================================================
``click table``     threshold detectors only, few modes: all click patterns
``coherent mix``    classical states: coherent amplitudes, then Poisson counts
``x-series exact``  pure, photons come in pairs: ``twin``
``amplitude table`` pure, or a small part of something pure: ``table``
``hafnian``         everything else: piquasso
==================  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..program import Array
from .amplitude_table import AmplitudeTable
from .clicks import MAX_CLICK_MODES, sample_clicks
from .hafnian import HafnianSampler
from .limits import MAX_WORK, beyond_limit
from .photons import mean_photons
from .state import GaussianState
from .twin_beams import TwinBeams

_UNCORRELATED = 1e-13
_POISSON_LIMIT = 1e8


@dataclass(slots=True)
class Draw:
    """
    How many shots to draw, with which randomness and how much work; and, afterwards, which samplers were used, the bound on
    the probability that they left out, and the largest cutoff per mode.
    """

    shots: int
    rng: np.random.Generator
    budget: float = MAX_WORK
    samplers: set[str] = field(default_factory=set)
    discarded: float = 0.0
    cutoff: int | None = None


@dataclass(frozen=True, slots=True)
class Light:
    """``state`` with a pending loss of ``transmission`` per mode before the detectors."""

    state: GaussianState
    transmission: Array

    def part(self, modes: Sequence[int]) -> Light:
        return Light(self.state.reduced(modes), self.transmission[list(modes)])

    def settled(self) -> GaussianState:
        """The state at the detectors."""
        return self.state if np.all(self.transmission == 1) else self.state.after_loss(self.transmission)


def sample_counts(light: Light, modes: Sequence[int], clicks: frozenset[int], draw: Draw) -> Array:
    """Photon counts (shots, modes) of these modes; of the modes in ``clicks`` it is only known whether there are any."""
    counts: Array = np.zeros((draw.shots, len(modes)), dtype=np.int64)
    column = {mode: index for index, mode in enumerate(modes)}
    for part in independent_parts(light.state):
        measured = [mode for mode in part if mode in column]
        if measured:
            here = [part.index(mode) for mode in measured]
            only_clicks = clicks.issuperset(measured)
            counts[:, [column[mode] for mode in measured]] = _sample_part(light.part(part), here, only_clicks, draw)
    clicked = [column[mode] for mode in modes if mode in clicks]
    counts[:, clicked] = counts[:, clicked] > 0
    return counts


def independent_parts(state: GaussianState) -> list[list[int]]:
    """The modes in groups without correlations between them."""
    m = state.num_modes
    scale = np.sqrt(np.diag(state.cov))
    linked = np.abs(state.cov) > _UNCORRELATED * np.outer(scale, scale) * max(1.0, float(scale.max(initial=1)))
    graph = linked[:m, :m] | linked[:m, m:] | linked[m:, :m] | linked[m:, m:]
    parts: list[list[int]] = []
    seen = np.zeros(m, dtype=bool)
    for root in range(m):
        if seen[root]:
            continue
        seen[root] = True
        part = [root]
        for mode in part:  # grows while it is read
            fresh = np.flatnonzero(graph[mode] & ~seen)
            seen[fresh] = True
            part.extend(fresh.tolist())
        parts.append(sorted(part))
    return parts


def _sample_part(light: Light, measured: list[int], only_clicks: bool, draw: Draw) -> Array:
    shots, rng, budget = draw.shots, draw.rng, draw.budget
    seen = light.part(measured)
    arriving = seen.settled()
    if only_clicks and len(measured) <= MAX_CLICK_MODES:
        draw.samplers.add("click table")
        return sample_clicks(arriving, shots, rng)
    if arriving.is_classical:
        draw.samplers.add("coherent mix")
        return _coherent_mix(arriving, shots, rng)
    if light.state.is_pure:
        twin = TwinBeams.split(light.state)
        if twin is not None and twin.applies(shots, budget):
            draw.samplers.add("x-series exact")
            draw.discarded += twin.discarded
            return _thinned(twin.sample(shots, rng)[:, measured], seen.transmission, rng)
        table = AmplitudeTable(light.state)
        if table.applies(budget):
            return _thinned(_from_table(table, draw)[:, measured], seen.transmission, rng)
    table = AmplitudeTable(arriving.purified())
    if table.applies(budget):
        return _from_table(table, draw)[:, : len(measured)]
    hafnian = HafnianSampler(arriving)
    hafnian.check(shots, budget)
    drawn = hafnian.sample(shots, rng)
    draw.samplers.add("hafnian")
    draw.discarded += hafnian.discarded
    draw.cutoff = max(draw.cutoff or 0, hafnian.cutoff)
    return drawn


def _from_table(table: AmplitudeTable, draw: Draw) -> Array:
    drawn = table.sample(draw.shots, draw.rng)
    draw.samplers.add("amplitude table")
    draw.discarded += table.discarded
    return drawn


def _thinned(counts: Array, transmission: Array, rng: np.random.Generator) -> Array:
    """Loss before a photon counter lets each photon through on its own."""
    if np.all(transmission == 1):
        return counts
    thinned: Array = rng.binomial(counts, transmission)
    return thinned


def _coherent_mix(state: GaussianState, shots: int, rng: np.random.Generator) -> Array:
    if mean_photons(state) > _POISSON_LIMIT:
        raise beyond_limit(
            f"there are {mean_photons(state):.3g} photons on average; at most {_POISSON_LIMIT:g} are counted"
        )
    amplitudes = gaussian_samples(state.means / 2, (state.cov - np.eye(len(state.cov))) / 4, shots, rng)
    x, p = amplitudes[:, : state.num_modes], amplitudes[:, state.num_modes :]
    counts: Array = rng.poisson(x * x + p * p)
    return counts


def gaussian_samples(means: Array, cov: Array, shots: int, rng: np.random.Generator) -> Array:
    """Draws (shots, d) from a normal distribution whose covariance may be singular; its rounding below zero is zero."""
    values, vectors = np.linalg.eigh(cov)
    kept = values > 1e-14 * max(float(values[-1]), 1e-300)
    factor = vectors[:, kept] * np.sqrt(values[kept])
    drawn: Array = means + rng.standard_normal((shots, factor.shape[1])) @ factor.T
    return drawn
