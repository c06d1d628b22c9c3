"""Homodyne and heterodyne detection: normal distributions, and what they leave of the modes that are not measured yet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..program import Array
from .circuit import Detector
from .fock import gaussian_samples
from .state import GaussianState


class Quadratures:
    """
    The readings of some homodyne and heterodyne detectors on ``state``. A homodyne detector reads ``x cos(angle) + p
    sin(angle)``; a heterodyne detector reads x and p with one more unit of vacuum noise on each.
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
        """Raw readings (shots, readings); a heterodyne detector has two."""
        return gaussian_samples(self.means, self.cov, shots, rng)

    def values(self, readings: Array) -> list[Array]:
        """For each detector what it reports: the quadrature, or the complex amplitude ``(x + i p) / 2``."""
        values, start = [], 0
        for detector in self.detectors:
            if detector.kind == "homodyne":
                values.append(readings[:, start])
                start += 1
            else:
                values.append((readings[:, start] + 1j * readings[:, start + 1]) / 2)
                start += 2
        return values

    def condition(self, readings: Array, modes: Sequence[int]) -> tuple[Array, Array] | None:
        """
        Given readings, the means (shots, 2k) and the common covariance of ``modes``; None when they do not depend on them.
        """
        where = self.state.indices(modes)
        link = self.state.cov[where] @ self._rows.T
        if np.max(np.abs(link), initial=0.0) <= 1e-12:
            return None
        gain = np.linalg.solve(self.cov, link.T).T
        cov = self.state.cov[np.ix_(where, where)] - gain @ link.T
        return self.state.means[where] + (readings - self.means) @ gain.T, (cov + cov.T) / 2
