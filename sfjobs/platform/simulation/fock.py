"""
Photon counts and clicks of a Gaussian state: divide the modes into independent groups, and sample each with the fastest sampler
that is exact for it.

==================  =====================================================================================
``click table``     threshold detectors only, few modes: probabilities of all click patterns
``coherent mix``    classical states: coherent amplitudes, then Poisson counts
``x-series exact``  pure states whose photons come in pairs: ``twin_beams``
``amplitude table`` pure states, or states with a small purification: ``amplitude_table``
``torontonian``     threshold detectors only, more modes: mode by mode from conditional probabilities
``pure states``     any state: a displaced pure state for each shot, mode by mode: ``pure_states``
``hafnian``         states with too many photons for that, by piquasso
==================  =====================================================================================

Of the tables, the torontonian and the pure states, the one with the least work is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from .pure_states import PureStateSampler
from .state import GaussianState, LossyState
from .torontonian import TorontonianSampler
from .twin_beams import TwinBeams

_UNCORRELATED: Final = 1e-13
_MAX_MEAN_PHOTONS: Final = 1e8

_WORK_PER_VALUE: Final = 10.0
"""Elementary operations of one normally distributed amplitude or Poisson count: 0.1 us."""


@dataclass(slots=True)
class SamplingRun:
    """
    A number of shots with their randomness, and what the samplers report: their names, the bound on the ``discarded``
    probability, and the largest Fock cutoff per mode.
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


@dataclass(frozen=True, slots=True)
class GroupSampler:
    """
    The sampler of one independent group: its ``name``, the measured ``modes`` of the whole state, and its ``work`` for all shots
    in elementary operations (10^8 a second on one core, within a factor 10). ``draw`` returns counts (shots, modes of the group).
    """

    name: str
    modes: tuple[int, ...]
    work: float
    draw: Callable[[SamplingRun], Array]


@dataclass(frozen=True, slots=True)
class CountSampler:
    """The chosen samplers for the photon counts of ``modes``, and for clicks of ``threshold_modes``."""

    modes: tuple[int, ...]
    threshold_modes: frozenset[int]
    groups: tuple[GroupSampler, ...]

    @property
    def work(self) -> float:
        """The work for all shots in elementary operations."""
        return sum(group.work for group in self.groups)

    def sample(self, run: SamplingRun) -> Array:
        """Return photon counts (shots, modes); 0 or 1 for those in ``threshold_modes``."""
        counts: Array = np.zeros((run.shots, len(self.modes)), dtype=np.int64)
        column = {mode: index for index, mode in enumerate(self.modes)}
        for group in self.groups:
            run.record(group.name)
            counts[:, [column[mode] for mode in group.modes]] = group.draw(run)
        clicked = [column[mode] for mode in self.modes if mode in self.threshold_modes]
        counts[:, clicked] = counts[:, clicked] > 0
        return counts


def choose_samplers(
    lossy: LossyState, modes: Sequence[int], threshold_modes: frozenset[int], shots: int, budget: float = MAX_WORK
) -> CountSampler:
    """
    Choose a sampler for each independent group of these modes, without a sample drawn and without a table built.

    Raises:
        ProgramError: ``simulation-limit`` if no sampler does ``shots`` shots within ``budget`` elementary operations for a group.
    """
    counted = set(modes)
    groups = []
    for group in independent_groups(lossy.state):
        measured = [mode for mode in group if mode in counted]
        if measured:
            choice = _Choice(
                lossy.reduced(group), [group.index(mode) for mode in measured], tuple(measured), shots, budget
            )
            groups.append(choice.clicks() if threshold_modes.issuperset(measured) else choice.counts())
    return CountSampler(tuple(modes), threshold_modes, tuple(groups))


def sample_counts(lossy: LossyState, modes: Sequence[int], threshold_modes: frozenset[int], run: SamplingRun) -> Array:
    """Return photon counts (shots, modes) of these modes; 0 or 1 for those in ``threshold_modes``."""
    return choose_samplers(lossy, modes, threshold_modes, run.shots, run.budget).sample(run)


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


class _Choice:
    """The choice for one group: ``measured`` are the indices within the group of the measured ``modes`` of the whole state."""

    def __init__(
        self, lossy: LossyState, measured: list[int], modes: tuple[int, ...], shots: int, budget: float
    ) -> None:
        self.lossy, self.measured, self.modes, self.shots, self.budget = lossy, measured, modes, shots, budget
        self.detected = lossy.reduced(measured).after_loss()

    def clicks(self) -> GroupSampler:
        """Return the sampler for threshold detectors on all measured modes."""
        detected, modes = self.detected, self.modes
        if len(modes) <= MAX_CLICK_MODES:
            work = float(len(modes) ** 3 << len(modes))
            return GroupSampler("click table", modes, work, lambda run: sample_clicks(detected, run.shots, run.rng))
        return self._coherent() or self._twin_beams() or self._least_work(self._torontonian())

    def counts(self) -> GroupSampler:
        """Return the sampler for photon counters."""
        return self._coherent() or self._twin_beams() or self._least_work()

    def _least_work(self, *others: GroupSampler | None) -> GroupSampler:
        possible = [sampler for sampler in (self._table(), *others, self._pure_states()) if sampler is not None]
        return min(possible, key=lambda sampler: sampler.work) if possible else self._hafnian()

    def _coherent(self) -> GroupSampler | None:
        detected = self.detected
        if not detected.is_classical:
            return None
        mean = mean_photons(detected)
        if mean > _MAX_MEAN_PHOTONS:
            raise beyond_limit(f"there are {mean:.3g} photons on average; at most {_MAX_MEAN_PHOTONS:g} are counted")
        work = _WORK_PER_VALUE * self.shots * len(self.modes) ** 2
        return GroupSampler(
            "coherent mix", self.modes, work, lambda run: coherent_counts(detected.means, detected.cov, run)
        )

    def _twin_beams(self) -> GroupSampler | None:
        twin = TwinBeams.split(self.lossy.state) if self.lossy.state.is_pure else None
        if twin is None or not twin.applies(self.shots, self.budget):
            return None
        return self._before_loss("x-series exact", twin, twin.work(self.shots))

    def _table(self) -> GroupSampler | None:
        """Return the sampler of a pure state, or of a purification."""
        if self.lossy.state.is_pure:
            table = AmplitudeTable(self.lossy.state)
            if table.applies(self.budget):
                return self._before_loss("amplitude table", table, table.work)
        if not AmplitudeTable(self.detected).applies(self.budget):  # its purification has more modes and more photons
            return None
        table = AmplitudeTable(self.detected.purified())
        if not table.applies(self.budget):
            return None

        def draw(run: SamplingRun) -> Array:
            run.discarded += table.discarded
            return table.sample(run.shots, run.rng)[:, : len(self.modes)]

        return GroupSampler("amplitude table", self.modes, table.work, draw)

    def _before_loss(self, name: str, sampler: TwinBeams | AmplitudeTable, work: float) -> GroupSampler:
        """Return a sampler of the whole group before its loss, which removes photons afterwards."""
        measured, transmission = self.measured, self.lossy.transmission[self.measured]

        def draw(run: SamplingRun) -> Array:
            run.discarded += sampler.discarded
            return _counts_after_loss(sampler.sample(run.shots, run.rng)[:, measured], transmission, run.rng)

        return GroupSampler(name, self.modes, work, draw)

    def _torontonian(self) -> GroupSampler | None:
        sampler = TorontonianSampler(self.detected)
        if not sampler.applies(self.shots, self.budget):
            return None

        def draw(run: SamplingRun) -> Array:
            clicks, error = sampler.sample(run.shots, run.rng)
            run.discarded += error
            return clicks

        return GroupSampler("torontonian", self.modes, sampler.work(self.shots), draw)

    def _pure_states(self) -> GroupSampler | None:
        sampler = PureStateSampler(self.detected)
        if not sampler.applies(self.shots, self.budget):
            return None

        def draw(run: SamplingRun) -> Array:
            run.discarded += sampler.discarded
            return sampler.sample(run.shots, run.rng)

        return GroupSampler("pure states", self.modes, sampler.work(self.shots), draw)

    def _hafnian(self) -> GroupSampler:
        sampler = HafnianSampler(self.detected)
        work = sampler.check(self.shots, self.budget)

        def draw(run: SamplingRun) -> Array:
            run.discarded += sampler.discarded
            run.cutoff = max(run.cutoff or 0, sampler.cutoff)
            return sampler.sample(run.shots, run.rng)

        return GroupSampler("hafnian", self.modes, work, draw)


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
