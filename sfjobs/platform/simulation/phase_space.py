"""
The tail of a program, shot by shot in phase space: each mode has a value of x and one of p in each shot, gates act on the values,
and a detector reads them. The Wigner functions are positive, so the readings have the exact distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..program import Array, Operation
from .circuit import Detector
from .factor_state import MAX_QUADRATURE, noise_factor
from .feed_forward import DISPLACEMENTS, operations_of_shots, parameters_of_shots, shifts
from .gate_arrays import ARRAY_GATES, matrices
from .gate_reader import read_gate
from .gates import GaussianMap
from .limits import beyond_limit
from .state import quadrature_indices


class PhaseSpace:
    """The quadratures ``values`` (2m, shots): all x, then all p."""

    def __init__(self, values: Array, rng: np.random.Generator) -> None:
        self.values = values
        self._rng = rng
        self._modes, self._shots = len(values) // 2, values.shape[1]

    def apply(self, modes: Sequence[int], gaussian_map: GaussianMap) -> None:
        """Apply the same map to all shots."""
        where = self._indices(modes)
        self.values[where] = self._mapped(self.values[where], gaussian_map)

    def apply_each(self, operation: Operation, readings: Mapping[int, Array]) -> None:
        """Apply a gate with the values of its formulas in each shot. Raises ``ProgramError`` for a value that it cannot have."""
        where = self._indices(operation.modes)
        if operation.name in DISPLACEMENTS:
            self.values[where] += shifts(operation, readings)
            return
        if operation.name in ARRAY_GATES:
            each_matrix = matrices(operation, parameters_of_shots(operation, readings, self._shots))
            self.values[where] = np.einsum("sij,js->is", each_matrix, self.values[where])
            return
        for shot, each in enumerate(operations_of_shots(operation, readings, self._shots)):
            gaussian_map, _ = read_gate(each)
            self.values[where, shot] = self._mapped(self.values[where, shot, np.newaxis], gaussian_map)[:, 0]

    def read(self, detector: Detector) -> Array:
        """Return the readings (shots) of a detector, and reset its mode to the vacuum."""
        self.check()
        where = self._indices([detector.mode])
        x, p = self.values[where]
        if detector.kind == "homodyne":
            reading = np.cos(detector.angle) * x + np.sin(detector.angle) * p
        else:
            reading = (x + 1j * p + self._rng.standard_normal((2, self._shots)).T @ [1, 1j]) / 2
        self.values[where] = self._rng.standard_normal((2, self._shots))
        return np.asarray(reading)

    def check(self) -> None:
        """Raise ``ProgramError`` if double precision does not hold the values."""
        if not np.max(np.abs(self.values), initial=0.0) <= MAX_QUADRATURE:
            raise beyond_limit("gates that depend on readings lead to more light than double precision holds")

    def _indices(self, modes: Sequence[int]) -> Array:
        return quadrature_indices(modes, self._modes)

    def _mapped(self, values: Array, gaussian_map: GaussianMap) -> Array:
        """Return the values (2k, n) of k modes in n shots after a map."""
        matrix, noise = with_loss(gaussian_map)
        if matrix is not None:
            values = matrix @ values
        if noise is not None:
            factor = noise_factor(noise)
            values = values + factor @ self._rng.standard_normal((factor.shape[1], values.shape[1]))
        if gaussian_map.shift is not None:
            values = values + gaussian_map.shift[:, np.newaxis]
        return values


def with_loss(gaussian_map: GaussianMap) -> tuple[Array | None, Array | None]:
    """Return matrix and noise of a map, also of a loss channel."""
    if gaussian_map.kind != "loss":
        return gaussian_map.matrix, gaussian_map.noise
    transmission = gaussian_map.transmission
    return np.sqrt(transmission) * np.eye(2), (1 - transmission) * np.eye(2)
