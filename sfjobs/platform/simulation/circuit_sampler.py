"""The samples of a circuit whose measurements all count photons or clicks."""

from __future__ import annotations

import numpy as np

from ..program import Samples
from .circuit import Circuit
from .fock import SamplingRun, choose_samplers
from .limits import check_size
from .state import LossyState


class CircuitSampler:
    """
    A circuit, its number of shots, and the chosen samplers of its photon counts. Raises ``ProgramError`` ``simulation-limit`` if
    the samples would be too large or take too long.
    """

    def __init__(self, circuit: Circuit, shots: int) -> None:
        check_size(shots, counts=len(circuit.detectors))
        self.circuit = circuit
        self.shots = shots
        threshold_modes = frozenset(detector.mode for detector in circuit.detectors if detector.kind == "threshold")
        lossy = LossyState(circuit.state, circuit.transmission)
        self._counts = choose_samplers(lossy, [detector.mode for detector in circuit.detectors], threshold_modes, shots)

    def sample(self, rng: np.random.Generator) -> Samples:
        """Return the samples (shots, measured modes)."""
        run = SamplingRun(self.shots, rng)
        counts = self._counts.sample(run)
        dark_counts = np.array([detector.dark_counts for detector in self.circuit.detectors])
        if dark_counts.any():
            counts = counts + rng.poisson(dark_counts, counts.shape)
        smallest = np.min_scalar_type(int(counts.max(initial=0)))
        return Samples(counts.astype(smallest), {**run.meta(), **self.circuit.corrections})
