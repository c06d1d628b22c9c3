"""Photon counts after gates whose matrix depends on a reading: each shot has a state of its own, and runs alone."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import numpy as np

from ..program import Array
from .circuit import Detector
from .feed_forward import operations_of_shots
from .fock import SamplingRun, sample_counts
from .gate_reader import GateReader
from .limits import MAX_WORK
from .state import GaussianState, LossyState
from .trajectories import Reading, Trajectories


def sample_one_by_one(plan: Trajectories, run: SamplingRun) -> dict[int, Array]:
    """Return the readings or counts (shots) of each mode."""
    readings = {
        mode: np.empty(run.shots, complex if each.is_complex else float) for mode, each in plan.readings.items()
    }
    counts = np.empty((run.shots, len(plan.counters)), dtype=np.int64)
    thresholds = frozenset(mode for mode, detector in plan.counters.items() if detector.kind == "threshold")
    single = SamplingRun(1, run.rng, MAX_WORK / run.shots)
    discarded = 0.0
    for number in range(run.shots):
        shot = _Shot(plan, run.rng)
        for mode, reading in plan.readings.items():
            readings[mode][number] = shot.value(reading)
        single.discarded = 0.0
        state = LossyState(shot.state_of(list(plan.counters)), np.ones(len(plan.counters)))
        clicks = frozenset(index for index, mode in enumerate(plan.counters) if mode in thresholds)
        counts[number] = sample_counts(state, range(len(plan.counters)), clicks, single)[0]
        discarded = max(discarded, single.discarded)
    run.samplers |= single.samplers | {"multivariate normal"}
    run.cutoff = single.cutoff
    run.discarded += discarded
    return {**readings, **dict(zip(plan.counters, counts.T, strict=True))}


class _Shot:
    """The state of one shot after the whole program, with all numbers drawn."""

    def __init__(self, plan: Trajectories, rng: np.random.Generator) -> None:
        self._rng = rng
        self._state = deepcopy(plan.head)
        self._state.keeps_columns = True
        self._numbers = plan.draw(1, rng)
        self._plan = plan
        self._known: dict[int, complex] = {}
        gates = GateReader(self._state)
        for step in plan.tail:
            if step.detector is not None:
                gates.apply_loss(step.operation.modes)
                self._known[step.number] = self._read(step.detector)
                continue
            if step.gaussian_map is not None:
                gates.apply_map(step.operation, step.gaussian_map, needs_vacuum=False)
                continue
            values: Mapping[int, Array] = {
                mode: np.array([self.value(source)]) for mode, source in step.sources.items()
            }
            gates.apply(next(operations_of_shots(step.operation, values, 1)))
        gates.apply_loss(range(self._state.num_modes))

    def value(self, reading: Reading) -> complex:
        if reading.number >= 0:
            return self._known[reading.number]
        value: complex = self._plan.value(reading, self._numbers[: len(self._plan.head.normal)])[0]
        return value

    def state_of(self, modes: list[int]) -> GaussianState:
        """Return the state of some modes given all readings."""
        rows, cov = self._state.given_readings(modes)
        return GaussianState(self._state.constants[self._state.indices(modes)] + rows @ self._drawn(), cov)

    def _read(self, detector: Detector) -> complex:
        is_complex = detector.kind == "heterodyne"
        angles = (0.0, np.pi / 2) if is_complex else (detector.angle,)
        rows = [self._state.read(detector.mode, angle, 1.0 if is_complex else 0.0) for angle in angles]
        numbers = self._drawn()
        values = self._state.constants[rows] + self._state.rows[rows] @ numbers
        self._state.reset(detector.mode)
        return complex(values[0], values[1]) / 2 if is_complex else float(values[0])

    def _drawn(self) -> Array:
        """Return a number for each column; those that are new are drawn now."""
        missing = len(self._state.normal) - len(self._numbers)
        self._numbers = np.concatenate([self._numbers, self._rng.standard_normal((missing, 1))])
        return np.asarray(self._numbers[:, 0])
