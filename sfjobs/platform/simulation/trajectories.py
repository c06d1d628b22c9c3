"""
A program that goes on after a homodyne or heterodyne reading, as it was read by ``trajectory_reader``: what is linear in the
readings as one linear map of normal numbers, and the statements that are not linear.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..program import Array, Operation
from .circuit import Detector
from .factor_state import FactorState
from .feed_forward import shifts
from .gates import GaussianMap


@dataclass(frozen=True, slots=True)
class Reading:
    """
    One reading of a mode: its rows in the head (two if it is heterodyne, x and p), or none if it is made in the tail, by the step
    with this ``number``.
    """

    is_complex: bool
    rows: tuple[int, ...] = ()
    number: int = -1


Sources: TypeAlias = Mapping[int, Reading]
"""The reading of each mode that a statement depends on: the last one before it."""


@dataclass(frozen=True, slots=True)
class Displacement:
    """A displacement that is not linear in the readings. Its x and p are two calculated columns of the head."""

    operation: Operation
    sources: Sources


@dataclass(frozen=True, slots=True)
class TailStatement:
    """A statement of the tail: a gate with its map, None if the map depends on ``sources``; or a detector and its reading."""

    operation: Operation
    sources: Sources
    gaussian_map: GaussianMap | None = None
    detector: Detector | None = None
    number: int = -1


@dataclass(frozen=True, slots=True)
class Trajectories:
    """
    A program that was read: the ``head`` and the displacements that its calculated columns stand for, in order; the ``tail``;
    the last reading of each measured mode; the photon counters, which count the light at the end; and the largest move of an
    entry of a printed matrix.
    """

    head: FactorState
    displacements: tuple[Displacement, ...]
    tail: tuple[TailStatement, ...]
    readings: Sources
    counters: Mapping[int, Detector]
    transmission: Array
    correction: float

    def draw(self, shots: int, rng: np.random.Generator) -> Array:
        """
        Return the numbers (columns, shots) that the head maps to quadratures and readings. Raises ``ProgramError`` if a
        displacement has no finite value in some shot.
        """
        normal = self.head.normal
        numbers = np.empty((len(normal), shots))
        numbers[normal] = rng.standard_normal((np.count_nonzero(normal), shots))
        numbers[~normal] = 0.0
        calculated = np.flatnonzero(~normal).reshape(-1, 2)
        for columns, displacement in zip(calculated, self.displacements, strict=True):
            readings = {mode: self.value(source, numbers) for mode, source in displacement.sources.items()}
            numbers[columns] = shifts(displacement.operation, readings)
        return numbers

    def value(self, reading: Reading, numbers: Array) -> Array:
        """Return the values (shots) of a reading of the head: quadratures, or complex amplitudes ``(x + i p) / 2``."""
        rows = list(reading.rows)
        values = self.head.constants[rows, np.newaxis] + self.head.rows[rows] @ numbers
        return np.asarray((values[0] + 1j * values[1]) / 2 if reading.is_complex else values[0])
