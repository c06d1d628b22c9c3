"""Homodyne and heterodyne detection: normally distributed readings, and the state of the other modes given the readings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..program import Array
from .circuit import Detector
from .fock import gaussian_samples
from .state import GaussianState


class Quadratures:
    """
    The readings of homodyne and heterodyne detectors on ``state``. A homodyne detector reads ``x cos(angle) + p sin(angle)``;
    a heterodyne detector reads x and p, each with an additional vacuum variance of 1 (hbar = 2).
    """

    def __init__(self, state: GaussianState, detectors: Sequence[Detector]) -> None:
        self.state = state
        self.detectors = tuple(detectors)
        rows, noise = [], []
        m = state.num_modes
        for detector in detectors:
            angles = (detector.angle,) if detector.kind == "homodyne" else (0.0, np.pi / 2)
            for angle in angles:
                row = np.zeros(2 * m)
                row[detector.mode], row[m + detector.mode] = np.cos(angle), np.sin(angle)
                rows.append(row)
                noise.append(0.0 if detector.kind == "homodyne" else 1.0)
        self._rows = np.array(rows)
        self.means = self._rows @ state.means
        self.cov = self._rows @ state.cov @ self._rows.T + np.diag(noise)

    def sample(self, shots: int, rng: np.random.Generator) -> Array:
        """Return raw readings (shots, readings); a heterodyne detector has two."""
        return gaussian_samples(self.means, self.cov, shots, rng)

    def values(self, readings: Array) -> list[Array]:
        """Return the values (shots) of each detector: quadratures, or complex amplitudes ``(x + i p) / 2``."""
        columns = iter(readings.T)
        return [
            next(columns) if detector.kind == "homodyne" else (next(columns) + 1j * next(columns)) / 2
            for detector in self.detectors
        ]

    def condition(self, readings: Array, modes: Sequence[int]) -> tuple[Array, Array] | None:
        """
        Return the means (shots, 2k) and the covariance (2k, 2k) of the k ``modes`` given the readings; None if they do not
        depend on the readings.
        """
        where = self.state.indices(modes)
        cross_cov = self.state.cov[where] @ self._rows.T
        if np.max(np.abs(cross_cov), initial=0.0) <= 1e-12:
            return None
        gain = np.linalg.solve(self.cov, cross_cov.T).T
        cov = self.state.cov[np.ix_(where, where)] - gain @ cross_cov.T
        return self.state.means[where] + (readings - self.means) @ gain.T, (cov + cov.T) / 2
