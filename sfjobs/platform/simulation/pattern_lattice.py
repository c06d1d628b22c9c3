"""
Amplitudes of pure Gaussian states with photon counts in some modes and coherent amplitudes in the others, for many shots at once.

Let ``exp(z B z / 2 + gamma z)`` be the generating function of the amplitudes, and n the counts so far. All coefficients of
``exp(z B z / 2)`` up to n are the lattice of n, with ``prod (n_i + 1)`` points. It depends on the counts only, so it grows with
the photons of a shot, not with the modes that stay empty. With a photon counter on mode k, whose row of B is b, the amplitudes
need the coefficients of ``exp(z B z / 2 + gamma z + y b z)`` at n, a polynomial in y. It is a sum over the lattice in which the
axes are summed one after another, about 4 multiplications for each point.

These are loop hafnians with repeated rows (Bulmer et al., arXiv 2010.15595 and 2108.01622). The algorithms there have the square
root of this number of terms, but N^3 operations for each, and begin anew for each mode.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..program import Array

_SINGLE_POINTS = 2048
"""Lattices of this size are faster one by one, if only a few shots share their shape."""

_FEW_SHOTS = 8


@dataclass(frozen=True, slots=True)
class Lattice:
    """
    The lattices of g shots with the same ``counts``, in descending order, in the ``modes`` (k, g). ``shots`` (g) are indices of
    the caller. ``values`` is (points, g), where the first count varies most slowly.
    """

    counts: tuple[int, ...]
    shots: Array
    modes: Array
    values: Array

    @classmethod
    def empty(cls, shots: int) -> Lattice:
        """Return the lattice of shots without photons."""
        return cls((), np.arange(shots), np.zeros((0, shots), dtype=np.intp), np.ones((1, shots), dtype=complex))

    def polynomials(self, gamma: Array, b: Array) -> Array:
        """
        Return the coefficients (N + 1, g) of the powers of y in ``exp(z B z / 2 + gamma z + y b z)`` at ``counts``.

        ``gamma`` (modes, shots) are those of all modes and shots, ``b`` (modes) is the row of the next mode.
        """
        linear, row = gamma[self.modes, self.shots], b[self.modes]
        if len(self.values) < _SINGLE_POINTS or not 1 < len(self.shots) < _FEW_SHOTS:
            return _sum_axes(self.values, self.counts, linear, row)
        ones = [slice(shot, shot + 1) for shot in range(len(self.shots))]
        # Rows of one shot are contiguous.
        parts = [
            _sum_axes(np.ascontiguousarray(self.values[:, one]), self.counts, linear[:, one], row[:, one])
            for one in ones
        ]
        return np.concatenate(parts, axis=1)

    def chosen(self, index: Array) -> Lattice:
        """Return the lattices of some of the shots."""
        return Lattice(self.counts, self.shots[index], self.modes[:, index], self.values[:, index])

    def with_photons(self, mode: int, photons: int, b: Array) -> Lattice:
        """Return the lattices with ``photons`` > 0 in another mode, whose row of B is ``b`` (modes)."""
        size, shots = self.values.shape
        row, own = b[self.modes], b[mode]
        layers = [self.values]
        for n in range(photons):
            layer = own * layers[n - 1] if n else np.zeros_like(self.values)
            left, right = 1, size
            for axis, count in enumerate(self.counts):
                right //= count + 1
                shape = (left, count + 1, right, shots)
                layer.reshape(shape)[:, 1:] += row[axis] * layers[n].reshape(shape)[:, :-1]
                left *= count + 1
            layers.append(layer / (n + 1) if n else layer)
        place = sum(count >= photons for count in self.counts)
        left = math.prod(count + 1 for count in self.counts[:place])
        values = np.stack([layer.reshape(left, -1, shots) for layer in layers], axis=1)
        counts = (*self.counts[:place], photons, *self.counts[place:])
        return Lattice(counts, self.shots, np.insert(self.modes, place, mode, axis=0), values.reshape(-1, shots))


def joined(lattices: Iterable[Lattice]) -> list[Lattice]:
    """Return the lattices with those of the same counts joined."""
    by_counts: dict[tuple[int, ...], list[Lattice]] = {}
    for lattice in lattices:
        by_counts.setdefault(lattice.counts, []).append(lattice)
    return [
        parts[0]
        if len(parts) == 1
        else Lattice(
            counts,
            np.concatenate([part.shots for part in parts]),
            np.concatenate([part.modes for part in parts], axis=1),
            np.concatenate([part.values for part in parts], axis=1),
        )
        for counts, parts in by_counts.items()
    ]


def _sum_axes(values: Array, counts: tuple[int, ...], gamma: Array, b: Array) -> Array:
    """
    Return the polynomials (N + 1, g): for each axis with count n, the sum over u of ``values[n - u] (gamma + y b)^u / u!``, by
    Horner's rule.
    """
    rest = values[None]  # (powers of y, points of the other axes, shots)
    for axis, count in enumerate(counts):
        powers, points, shots = rest.shape
        rest = rest.reshape(powers, count + 1, points // (count + 1), shots)
        total = rest[:, 0]
        for step in range(1, count + 1):
            total = _times_linear(total, gamma[axis] / (count + 1 - step), b[axis] / (count + 1 - step))
            total[:powers] += rest[:, step]
        rest = total
    return rest[:, 0]


def _times_linear(polynomials: Array, constant: Array, slope: Array) -> Array:
    """Return the polynomials times ``constant + slope y``, with one power more along the first axis."""
    powers = len(polynomials)
    product = np.empty((powers + 1, *polynomials.shape[1:]), dtype=complex)
    np.multiply(polynomials, constant, out=product[:powers])
    shifted = polynomials * slope
    product[powers] = shifted[-1]
    product[1:powers] += shifted[:-1]
    return product
