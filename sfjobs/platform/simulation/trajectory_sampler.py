"""The samples of programs that were read by ``trajectories``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from ..program import Array, Samples
from .circuit import stated_corrections
from .conditioned import MAX_CONDITIONED_SHOTS, check_conditioned_counts, conditioned_counts
from .fock import SamplingRun, choose_samplers, sample_counts
from .limits import beyond_limit, check_size
from .phase_space import PhaseSpace
from .single_shot import sample_one_by_one
from .state import GaussianState, LossyState
from .trajectories import Trajectories

_MAX_BLOCK_VALUES: Final = 1 << 21
"""Normal numbers and readings of one block of shots: 16 MB."""

_MAX_SECONDS: Final = 1800.0
_SECONDS_PER_STEP: Final = 5e-5
"""For one statement that depends on readings and one shot, or for one other statement of the tail and one block of shots."""

_INDEPENDENT: Final = 1e-12


class TrajectorySampler:
    """A program that was read, and its number of shots. Raises ``ProgramError`` ``simulation-limit`` for too much work."""

    def __init__(self, plan: Trajectories, shots: int) -> None:
        self.plan = plan
        self.shots = shots
        is_complex = any(reading.is_complex for reading in plan.readings.values())
        check_size(shots, counts=len(plan.counters), quadratures=len(plan.readings), is_complex=is_complex)
        read_in_tail = sum(step.detector is not None for step in plan.tail)
        numbers = max(len(plan.head.normal), 2 * plan.head.num_modes, 1) + 2 * read_in_tail
        self._block = max(min(shots, _MAX_BLOCK_VALUES // numbers), 1)
        self._shot_by_shot = bool(plan.counters and plan.tail)
        if self._shot_by_shot and shots > MAX_CONDITIONED_SHOTS:
            raise beyond_limit(
                "photon counts after a gate whose matrix depends on a reading are simulated for"
                f" {MAX_CONDITIONED_SHOTS} shots at most, not {shots}"
            )
        blocks = shots if self._shot_by_shot else -(-shots // self._block)
        dependent = sum(bool(step.sources) for step in plan.tail)
        steps = shots * dependent + blocks * (len(plan.tail) + len(plan.displacements))
        if steps * _SECONDS_PER_STEP > _MAX_SECONDS:
            raise beyond_limit(
                f"{shots} shots take {steps:.3g} steps, since {dependent} statements depend on readings in a way that is not"
                f" linear; at most {_MAX_SECONDS / _SECONDS_PER_STEP:.3g} are simulated"
            )

        if plan.counters and not self._shot_by_shot:
            _CountedLight(plan).check(shots)

    def sample(self, rng: np.random.Generator) -> Samples:
        """Return the samples (shots, measured modes). Raises ``ProgramError`` if a formula has no value in some shot."""
        run = SamplingRun(self.shots, rng)
        columns = sample_one_by_one(self.plan, run) if self._shot_by_shot else self._linear(run)
        if not self.plan.counters:
            return Samples(
                np.stack([columns[mode] for mode in sorted(columns)], axis=1),
                {**run.meta(), **stated_corrections(self.plan.correction)},
            )
        counts = np.stack([columns[mode] for mode in self.plan.counters], axis=1)
        dark_counts = np.array([detector.dark_counts for detector in self.plan.counters.values()])
        if dark_counts.any():
            counts = counts + rng.poisson(dark_counts, counts.shape)
        if not self.plan.readings:
            smallest = np.min_scalar_type(int(counts.max(initial=0)))
            counts = counts.astype(smallest)
        columns.update(zip(self.plan.counters, counts.T, strict=True))
        return Samples(
            np.stack([columns[mode] for mode in sorted(columns)], axis=1),
            {**run.meta(), **stated_corrections(self.plan.correction)},
        )

    def _linear(self, run: SamplingRun) -> dict[int, Array]:
        """Return the readings or counts of each mode."""
        plan = self.plan
        counted = list(plan.counters)
        run.record("phase space" if plan.tail else "multivariate normal")
        columns: dict[int, Array] = {
            mode: np.empty(self.shots, dtype=complex if reading.is_complex else float)
            for mode, reading in plan.readings.items()
        }
        light = _CountedLight(plan) if counted else None
        means = np.empty((self.shots if light is not None and light.differs else 0, 2 * len(counted)))
        for first in range(0, self.shots, self._block):
            size = min(self._block, self.shots - first)
            numbers = plan.draw(size, run.rng)
            known = self._tail(numbers, run.rng)
            for mode, reading in plan.readings.items():
                columns[mode][first : first + size] = (
                    known[reading.number] if reading.number >= 0 else plan.value(reading, numbers)
                )
            if len(means) and light is not None:
                means[first : first + size] = light.means(numbers)
        if light is not None:
            columns.update(zip(counted, light.counts(means, run).T, strict=True))
        return columns

    def _tail(self, numbers: Array, rng: np.random.Generator) -> Mapping[int, Array]:
        """Run the tail and return its readings by number."""
        plan, known = self.plan, dict[int, Array]()
        if not plan.tail:
            return known
        quadratures = 2 * plan.head.num_modes
        space = PhaseSpace(plan.head.constants[:quadratures, np.newaxis] + plan.head.rows[:quadratures] @ numbers, rng)
        for step in plan.tail:
            if step.detector is not None:
                known[step.number] = space.read(step.detector)
            elif step.gaussian_map is not None:
                space.apply(step.operation.modes, step.gaussian_map)
            else:
                readings = {
                    mode: known[source.number] if source.number >= 0 else plan.value(source, numbers)
                    for mode, source in step.sources.items()
                }
                space.apply_each(step.operation, readings)
        space.check()
        return known


class _CountedLight:
    """The state of the counted modes given the readings: means that differ from shot to shot, and one covariance."""

    def __init__(self, plan: Trajectories) -> None:
        self._plan = plan
        self._counted = list(plan.counters)
        where = plan.head.indices(self._counted)
        self._constants = plan.head.constants[where]
        self._rows, self._cov = plan.head.given_readings(self._counted)
        self.differs = bool(np.max(np.abs(self._rows), initial=0.0) > _INDEPENDENT)

    def check(self, shots: int) -> None:
        """Raise ``ProgramError`` if no sampler counts the photons within its limits, by the means of the readings."""
        if not self.differs:
            choose_samplers(*self._independent(), shots)
            return
        cov, root = self._after_loss()
        check_conditioned_counts(self._constants * root, cov, self._is_threshold, shots)

    def means(self, numbers: Array) -> Array:
        """Return the means (shots, 2k)."""
        return np.asarray((self._constants[:, np.newaxis] + self._rows @ numbers).T)

    def counts(self, means: Array, run: SamplingRun) -> Array:
        """Return the counts (shots, k); 0 or 1 for threshold detectors."""
        if not self.differs:
            return sample_counts(*self._independent(), run)
        cov, root = self._after_loss()
        return conditioned_counts(means * root, cov, self._is_threshold, run)

    @property
    def _is_threshold(self) -> Array:
        return np.array([self._plan.counters[mode].kind == "threshold" for mode in self._counted])

    def _independent(self) -> tuple[LossyState, list[int], frozenset[int]]:
        """Return the state of all modes, the counted ones, and those of threshold detectors."""
        plan, head = self._plan, self._plan.head
        quadratures = head.rows[: 2 * head.num_modes, head.normal]
        state = GaussianState(head.constants[: 2 * head.num_modes].copy(), quadratures @ quadratures.T)
        threshold_modes = frozenset(mode for mode in self._counted if plan.counters[mode].kind == "threshold")
        return LossyState(state, plan.transmission), self._counted, threshold_modes

    def _after_loss(self) -> tuple[Array, Array]:
        """Return the covariance (2k, 2k) after the loss, and the factor (2k) of the means."""
        transmission = self._plan.transmission[self._counted]
        lossy = GaussianState(np.zeros(len(self._cov)), self._cov).after_loss(transmission)
        return lossy.cov, np.sqrt(np.tile(transmission, 2))
