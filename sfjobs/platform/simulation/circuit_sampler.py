"""The samples of a circuit whose measurements are all at its end: quadratures first, then photon counts given the quadratures."""

from __future__ import annotations

import numpy as np

from ..program import Array, Samples
from .circuit import Circuit
from .conditioned import conditioned_counts
from .fock import SamplingRun, sample_counts
from .limits import MAX_OUTPUT_BYTES, beyond_limit
from .quadratures import Quadratures
from .state import LossyState


class CircuitSampler:
    """A circuit and its number of shots. Raises ``ProgramError`` ``simulation-limit`` if the samples would be too large."""

    def __init__(self, circuit: Circuit, shots: int) -> None:
        detectors = circuit.detectors
        bytes_per_value = 16 if any(detector.kind == "heterodyne" for detector in detectors) else 8
        if shots * bytes_per_value * len(detectors) > MAX_OUTPUT_BYTES:
            raise beyond_limit(
                f"{shots} shots of {len(detectors)} modes are more than {MAX_OUTPUT_BYTES} bytes of samples"
            )
        self.circuit = circuit
        self.shots = shots

    def sample(self, rng: np.random.Generator) -> Samples:
        """Return the samples (shots, measured modes)."""
        circuit, detectors = self.circuit, self.circuit.detectors
        dyne = [detector for detector in detectors if detector.kind in {"homodyne", "heterodyne"}]
        counters = [detector for detector in detectors if detector.kind in {"fock", "threshold"}]
        counted_modes = [detector.mode for detector in counters]
        threshold_modes = frozenset(detector.mode for detector in counters if detector.kind == "threshold")
        lossy = LossyState(circuit.state, circuit.transmission)
        run = SamplingRun(self.shots, rng)
        columns: dict[int, Array] = {}
        counts: Array | None = None
        if dyne:
            run.record("multivariate normal")
            quadratures = Quadratures(lossy.after_loss(), dyne)
            readings = quadratures.sample(self.shots, rng)
            columns.update(zip((detector.mode for detector in dyne), quadratures.values(readings), strict=True))
            condition = quadratures.condition(readings, counted_modes) if counters else None
            if condition is not None:
                is_threshold = np.array([mode in threshold_modes for mode in counted_modes])
                counts = conditioned_counts(*condition, is_threshold, run)
        if counters and counts is None:
            counts = sample_counts(lossy, counted_modes, threshold_modes, run)
        if counts is not None:
            dark_counts = np.array([detector.dark_counts for detector in counters])
            if dark_counts.any():
                counts = counts + rng.poisson(dark_counts, counts.shape)
            if not dyne:
                smallest = np.min_scalar_type(int(counts.max(initial=0)))
                return Samples(counts.astype(smallest), run.meta())
            columns.update(zip(counted_modes, counts.T, strict=True))
        return Samples(np.stack([columns[detector.mode] for detector in detectors], axis=1), run.meta())
