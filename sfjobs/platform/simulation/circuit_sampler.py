"""The samples of a circuit whose measurements all count photons or clicks."""

from __future__ import annotations

import numpy as np

from ..program import Samples
from .circuit import Circuit
from .fock import SamplingRun, sample_counts
from .limits import MAX_OUTPUT_BYTES, beyond_limit
from .state import LossyState


class CircuitSampler:
    """A circuit and its number of shots. Raises ``ProgramError`` ``simulation-limit`` if the samples would be too large."""

    def __init__(self, circuit: Circuit, shots: int) -> None:
        modes = len(circuit.detectors)
        if shots * 8 * modes > MAX_OUTPUT_BYTES:
            raise beyond_limit(f"{shots} shots of {modes} modes are more than {MAX_OUTPUT_BYTES} bytes of samples")
        self.circuit = circuit
        self.shots = shots

    def sample(self, rng: np.random.Generator) -> Samples:
        """Return the samples (shots, measured modes)."""
        detectors = self.circuit.detectors
        threshold_modes = frozenset(detector.mode for detector in detectors if detector.kind == "threshold")
        run = SamplingRun(self.shots, rng)
        lossy = LossyState(self.circuit.state, self.circuit.transmission)
        counts = sample_counts(lossy, [detector.mode for detector in detectors], threshold_modes, run)
        dark_counts = np.array([detector.dark_counts for detector in detectors])
        if dark_counts.any():
            counts = counts + rng.poisson(dark_counts, counts.shape)
        smallest = np.min_scalar_type(int(counts.max(initial=0)))
        return Samples(counts.astype(smallest), {**run.meta(), **self.circuit.corrections})
