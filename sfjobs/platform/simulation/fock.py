"""
Photon counts and clicks of a Gaussian state: divide the modes into independent groups, and sample each with the fastest sampler
that is exact for it.

==================  =====================================================================================
``click table``     threshold detectors only, few modes: probabilities of all click patterns
``coherent mix``    classical states: coherent amplitudes, then Poisson counts
``x-series exact``  pure states whose photons come in pairs: ``twin_beams``
``amplitude table`` pure states, or states with a small purification: ``amplitude_table``
``torontonian``     threshold detectors only, more modes: mode by mode from conditional probabilities
``hafnian``         all others, by piquasso
==================  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ...models import JSONValue
from ..program import Array
from .amplitude_table import AmplitudeTable
from .clicks import MAX_CLICK_MODES, sample_clicks
from .hafnian import HafnianSampler
from .limits import MAX_WORK, beyond_limit
from .photons import mean_photons
from .state import GaussianState, LossyState
from .torontonian import TorontonianSampler
from .twin_beams import TwinBeams

_UNCORRELATED: Final = 1e-13
_MAX_MEAN_PHOTONS: Final = 1e8


@dataclass(slots=True)
class SamplingRun:
    """
    A number of shots with their randomness and ``budget`` of work, and what the samplers report: their names, the bound on the
    ``discarded`` probability, and the largest Fock cutoff per mode.
    """

    shots: int
    rng: np.random.Generator
    budget: float = MAX_WORK
    samplers: set[str] = field(default_factory=set)
    discarded: float = 0.0
    cutoff: int | None = None

    def record(self, sampler: str, discarded: float = 0.0) -> None:
        self.samplers.add(sampler)
        self.discarded += discarded

    def meta(self) -> dict[str, JSONValue]:
        """Return the ``meta`` of the samples."""
        meta: dict[str, JSONValue] = {
            "sampler": " + ".join(sorted(self.samplers)),
            "discarded_probability": self.discarded,
        }
        return meta if self.cutoff is None else {**meta, "cutoff": self.cutoff}


def sample_counts(lossy: LossyState, modes: Sequence[int], threshold_modes: frozenset[int], run: SamplingRun) -> Array:
    """Return photon counts (shots, modes) of these modes; 0 or 1 for those in ``threshold_modes``."""
    counts: Array = np.zeros((run.shots, len(modes)), dtype=np.int64)
    column = {mode: index for index, mode in enumerate(modes)}
    for group in independent_groups(lossy.state):
        measured = [mode for mode in group if mode in column]
        if measured:
            within = [group.index(mode) for mode in measured]
            only_clicks = threshold_modes.issuperset(measured)
            counts[:, [column[mode] for mode in measured]] = _sample_group(
                lossy.reduced(group), within, only_clicks, run
            )
    clicked = [column[mode] for mode in modes if mode in threshold_modes]
    counts[:, clicked] = counts[:, clicked] > 0
    return counts


def independent_groups(state: GaussianState) -> list[list[int]]:
    """Return the modes in groups without correlations between the groups."""
    m = state.num_modes
    scale = np.sqrt(np.diag(state.cov))
    linked = np.abs(state.cov) > _UNCORRELATED * np.outer(scale, scale) * max(1.0, float(scale.max(initial=1)))
    graph = linked[:m, :m] | linked[:m, m:] | linked[m:, :m] | linked[m:, m:]
    groups: list[list[int]] = []
    seen = np.zeros(m, dtype=bool)
    for root in range(m):
        if seen[root]:
            continue
        seen[root] = True
        group = [root]
        for mode in group:  # grows during the loop
            fresh = np.flatnonzero(graph[mode] & ~seen)
            seen[fresh] = True
            group.extend(fresh.tolist())
        groups.append(sorted(group))
    return groups


def _sample_group(lossy: LossyState, measured: list[int], only_clicks: bool, run: SamplingRun) -> Array:
    shots, rng, budget = run.shots, run.rng, run.budget
    transmission = lossy.transmission[measured]
    detected = lossy.reduced(measured).after_loss()
    if only_clicks and len(measured) <= MAX_CLICK_MODES:
        run.record("click table")
        return sample_clicks(detected, shots, rng)
    if detected.is_classical:
        mean = mean_photons(detected)
        if mean > _MAX_MEAN_PHOTONS:
            raise beyond_limit(f"there are {mean:.3g} photons on average; at most {_MAX_MEAN_PHOTONS:g} are counted")
        run.record("coherent mix")
        return coherent_counts(detected.means, detected.cov, run)
    if lossy.state.is_pure:
        twin = TwinBeams.split(lossy.state)
        if twin is not None and twin.applies(shots, budget):
            run.record("x-series exact", twin.discarded)
            return _counts_after_loss(twin.sample(shots, rng)[:, measured], transmission, rng)
        table = AmplitudeTable(lossy.state)
        if table.applies(budget):
            run.record("amplitude table", table.discarded)
            return _counts_after_loss(table.sample(shots, rng)[:, measured], transmission, rng)
    table = AmplitudeTable(detected.purified())
    if table.applies(budget):
        run.record("amplitude table", table.discarded)
        return table.sample(shots, rng)[:, : len(measured)]
    if only_clicks:
        torontonian = TorontonianSampler(detected)
        if torontonian.applies(shots, budget):
            counts, error = torontonian.sample(shots, rng)
            run.record("torontonian", error)
            return counts
    hafnian = HafnianSampler(detected)
    hafnian.check(shots, budget)
    counts = hafnian.sample(shots, rng)
    run.record("hafnian", hafnian.discarded)
    run.cutoff = max(run.cutoff or 0, hafnian.cutoff)
    return counts


def _counts_after_loss(counts: Array, transmission: Array, rng: np.random.Generator) -> Array:
    """Apply a loss channel before the photon counters: each photon is transmitted independently."""
    return counts if np.all(transmission == 1) else np.asarray(rng.binomial(counts, transmission))


def coherent_counts(means: Array, cov: Array, run: SamplingRun) -> Array:
    """
    Return photon counts (shots, m) of a classical state: coherent amplitudes from its P function, then Poisson counts.
    ``means`` has shape (2m), or (shots, 2m) for means that differ between shots.
    """
    amplitudes = gaussian_samples(means / 2, (cov - np.eye(len(cov))) / 4, run.shots, run.rng)
    x, p = np.split(amplitudes, 2, axis=1)
    counts: Array = run.rng.poisson(x * x + p * p)
    return counts


def gaussian_samples(means: Array, cov: Array, shots: int, rng: np.random.Generator) -> Array:
    """Draw (shots, d) from a normal distribution; ``cov`` may be singular, and eigenvalues below the rounding count as zero."""
    values, vectors = np.linalg.eigh(cov)
    kept = values > 1e-14 * max(float(values[-1]), 1e-300)
    factor = vectors[:, kept] * np.sqrt(values[kept])
    samples: Array = means + rng.standard_normal((shots, factor.shape[1])) @ factor.T
    return samples
