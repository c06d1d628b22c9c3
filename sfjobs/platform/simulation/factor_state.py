"""
A Gaussian state in factor form: quadratures and readings are ``constants + rows u``, where ``u`` holds independent standard
normal numbers, and values calculated from earlier readings. All Wigner functions are positive, so a shot is a draw of u.

A squeezed variance is lost to rounding only where the rows are (r = 16), not where their squares are, as in a covariance matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ..program import Array
from .state import quadrature_indices

MAX_QUADRATURE: Final = 1e7
"""Beyond this deviation of a quadrature rounding (1e-9) nears the deviation of the squeezed one (1e-7)."""

_SPARE_COLUMNS: Final = 64
_PINNED: Final = 1e-12
_DEPENDENT: Final = 1e-14
"""Readings of twin beams are parallel but for e^-2r: 1e-13 at r = 15."""


class FactorState:
    """
    A state of m modes and the readings of some of them. Rows 0 .. 2m-1 are the quadratures ``x_0 .. x_{m-1}, p_0 .. p_{m-1}``
    (hbar = 2); each reading of a quadrature is one more row.
    """

    def __init__(self, modes: int) -> None:
        self.num_modes = modes
        self.constants = np.zeros(2 * modes)
        self._table = np.zeros((2 * modes, 2 * modes + _SPARE_COLUMNS))
        np.fill_diagonal(self._table, 1.0)
        self.normal = np.ones(2 * modes, dtype=bool)
        """Which columns belong to normal numbers; the others to calculated values."""
        self.keeps_columns = False
        """Whether the numbers have been drawn, so that no column may be replaced."""

    @property
    def rows(self) -> Array:
        """The factor (quadratures and readings, columns), a view."""
        return self._table[: len(self.constants), : len(self.normal)]

    def indices(self, modes: Sequence[int]) -> Array:
        """Return the rows of the quadratures of these modes: all x, then all p."""
        return quadrature_indices(modes, self.num_modes)

    def apply(
        self, modes: Sequence[int], matrix: Array | None, noise: Array | None = None, shift: Array | None = None
    ) -> None:
        """Apply the Gaussian map ``r -> matrix r + shift`` with the noise covariance ``noise`` to some modes, in place."""
        where = self.indices(modes)
        if matrix is not None:
            self.rows[where] = matrix @ self.rows[where]
            self.constants[where] = matrix @ self.constants[where]
        if noise is not None:
            factor = noise_factor(noise)
            columns = self.add_columns(factor.shape[1])
            self.rows[where, columns] = factor
        if shift is not None:
            self.constants[where] += shift

    def reset(self, mode: int) -> None:
        """Prepare the vacuum."""
        self.apply([mode], np.zeros((2, 2)), np.eye(2))

    def is_vacuum(self, modes: Sequence[int]) -> bool:
        """Return whether these modes are in the vacuum, and thus independent of all others."""
        where = self.indices(modes)
        own = self.rows[where]
        cov = own @ own.T
        return bool(
            np.allclose(cov, np.eye(len(cov)), rtol=0, atol=1e-12)
            and not self.constants[where].any()
            and not own[:, ~self.normal].any()
        )

    def is_too_bright(self, modes: Sequence[int]) -> bool:
        """Return whether these modes are squeezed beyond what double precision holds."""
        part = self.rows[self.indices(modes)]
        return not np.max(np.einsum("ij,ij->i", part, part), initial=0.0) <= MAX_QUADRATURE**2

    def read(self, mode: int, angle: float, noise: float = 0.0) -> int:
        """Append a reading of ``x cos(angle) + p sin(angle)`` with a normal ``noise`` variance. Return its row."""
        row = len(self.constants)
        if row == len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        x, p = self.indices([mode])
        self._table[row] = np.cos(angle) * self._table[x] + np.sin(angle) * self._table[p]
        self.constants = np.append(
            self.constants, np.cos(angle) * self.constants[x] + np.sin(angle) * self.constants[p]
        )
        if noise:
            column = self.add_columns(1)
            self.rows[row, column] = np.sqrt(noise)
        return row

    def deviation(self, row: int, value: float) -> float:
        """Return how many standard deviations the reading of a row would be off its mean if it were ``value``."""
        width = float(np.linalg.norm(self.rows[row]))
        return abs(value - float(self.constants[row])) / max(width, _PINNED)

    def given_readings(self, modes: Sequence[int]) -> tuple[Array, Array]:
        """
        Return, for some modes, the rows (2k, columns) that the readings determine, so that ``constants + rows u`` are the means
        given the readings, and the covariance (2k, 2k) about them.
        """
        own, readings = self.rows[self.indices(modes)].copy(), self.rows[2 * self.num_modes :, self.normal]
        sizes = np.linalg.norm(readings, axis=1)
        readings = readings[sizes > _PINNED] / sizes[sizes > _PINNED, np.newaxis]
        _, values, basis = np.linalg.svd(readings, full_matrices=False)
        basis = basis[values > _DEPENDENT]
        normal = own[:, self.normal]
        known = (normal @ basis.T) @ basis
        rest = normal - known
        own[:, self.normal] = known
        return own, rest @ rest.T

    def condition(self, row: int, value: float) -> None:
        """Condition all rows on ``value`` of one reading. It must not depend on calculated values."""
        direction = self.rows[row] / np.linalg.norm(self.rows[row])
        along = self.rows @ direction
        self.constants += along * ((value - self.constants[row]) / along[row])
        self.rows[:] -= np.outer(along, direction)
        self.rows[row] = 0.0
        self.constants[row] = value

    def add_columns(self, count: int, *, normal: bool = True) -> slice:
        """Append columns of zeros."""
        used = len(self.normal)
        if used + count > self._table.shape[1]:
            self._grow(count)
            used = len(self.normal)
        self.normal = np.append(self.normal, np.full(count, normal))
        return slice(used, used + count)

    def _grow(self, count: int) -> None:
        size = len(self.constants)
        if not self.keeps_columns and np.count_nonzero(self.normal) >= 8 * size:
            self.compress()
        used = len(self.normal)
        wider = np.zeros((len(self._table), max(2 * used, used + count) + _SPARE_COLUMNS))
        wider[:, :used] = self._table[:, :used]
        self._table = wider

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows only. All others become zero."""
        others = np.ones(len(self.constants), dtype=bool)
        others[rows] = False
        self.rows[others] = 0.0
        self.constants[others] = 0.0

    def compress(self) -> None:
        """Replace the normal numbers by at most as many as there are rows, with the same joint distribution of all rows."""
        rows = self.rows
        normal = rows[:, self.normal]
        alive = normal.any(axis=1)
        size = np.count_nonzero(alive)
        if normal.shape[1] <= size:
            return
        calculated = rows[:, ~self.normal]
        self._table = np.zeros((len(self._table), size + calculated.shape[1] + _SPARE_COLUMNS))
        self._table[: len(rows)][alive, :size] = np.asarray(np.linalg.qr(normal[alive].T, mode="r")).T
        self._table[: len(rows), size : size + calculated.shape[1]] = calculated
        self.normal = np.arange(size + calculated.shape[1]) < size


def noise_factor(noise: Array) -> Array:
    """Return F with ``noise = F F^T``."""
    values, vectors = np.linalg.eigh(noise)
    kept = values > 0
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))
