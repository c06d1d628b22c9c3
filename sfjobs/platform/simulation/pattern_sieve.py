"""
The amplitudes of ``pattern_lattice`` for one shot with so many photons that its lattice would be large: a loop hafnian by the
finite-difference sieve (Bulmer et al., arXiv 2010.15595 and 2108.01622). It has about the square root of the number of terms, of
which each takes N^3 operations.

The photons of a pattern are paired, and pair p, of modes i and j, occurs e_p times. With ``X_z`` the symmetric matrix of the
pairs weighted by z, the loop hafnian of B and g is ``prod e_p!`` times the coefficient of ``prod z_p^e_p`` in
``det(1 - X_z B)^(-1/2) exp(g X_z (1 - B X_z)^-1 g / 2)``. Finite differences in z of the part of degree N / 2 give it.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ..program import Array

_BLOCK_TERMS: Final = 1 << 9
_FEW_POWERS: Final = 12
_NEGLIGIBLE: Final = 1e-12
"""Powers of y that are computed at first, and the size of the last four relative to the largest, below which they are enough."""

_MAX_STORED: Final = 1 << 23
"""Traces that are kept between two modes, 128 MB; they do not change while no photon is counted."""


class Sieve:
    """The ``counts`` in the ``modes`` of ``shot``, an index of the caller. ``b`` (modes, modes) is that of all modes."""

    def __init__(self, counts: tuple[int, ...], modes: Array, shot: int, b: Array) -> None:
        self.counts, self.modes, self.shot = counts, modes, shot
        self.pairs, self.repeats = _paired(counts)
        rows = np.array(self.pairs).T.ravel()  # the first mode of each pair, then the second
        self._real = rows < len(counts)
        self._rows = modes[np.where(self._real, rows, 0)]
        self._matrix = np.where(np.outer(self._real, self._real), b[np.ix_(self._rows, self._rows)], 0)
        self._traces: dict[int, Array] = {}

    @property
    def photons(self) -> int:
        return sum(self.counts)

    @property
    def terms(self) -> int:
        return number_of_terms(self.counts)

    def with_photons(self, mode: int, photons: int, b: Array) -> Sieve:
        """Return the sieve with ``photons`` in another mode."""
        return Sieve((*self.counts, photons), np.append(self.modes, mode), self.shot, b)

    def polynomial(self, gamma: Array, b: Array) -> Array:
        """
        Return the coefficients (N + 1) of the powers of y in ``exp(z B z / 2 + gamma z + y b z)`` at ``counts``, up to a factor.

        ``gamma`` (modes) are those of all modes, ``b`` (modes) is the row of the next mode.
        """
        # A photon without partner is paired with an auxiliary mode, of which gamma is 1.
        linear = np.where(self._real, gamma[self._rows], 1)
        row = np.where(self._real, b[self._rows], 0)
        few = min(_FEW_POWERS, self.photons + 1)
        coefficients = self._coefficients(linear, row, few)
        size = np.abs(coefficients)
        if few <= self.photons and size[-4:].max() > _NEGLIGIBLE * size.max():
            return self._coefficients(linear, row, self.photons + 1)
        return np.concatenate([coefficients, np.zeros(self.photons + 1 - few)])

    def _coefficients(self, linear: Array, row: Array, powers: int) -> Array:
        """Return the coefficients of a number of powers of y from as many roots of unity; higher powers must be negligible."""
        y = np.exp(2j * np.pi * np.arange(powers) / powers)
        values = np.zeros(len(y), dtype=complex)
        for start in range(0, self.terms, _BLOCK_TERMS):
            z, weights = self._differences(start)
            exponents = self._half_traces(start, z) + self._quadratic_forms(z, linear, row, y)
            values += _last_coefficient(exponents) @ weights
        return np.asarray(np.fft.fft(values) / len(y))

    def _differences(self, start: int) -> tuple[Array, Array]:
        """Return the points z (pairs, terms) of a block of the finite differences, and their weights (terms)."""
        index = np.arange(start, min(start + _BLOCK_TERMS, self.terms))
        z = np.empty((len(self.repeats), len(index)))
        weights = np.ones(len(index))
        for pair, repeats in enumerate(self.repeats):
            # The sum is symmetric under z -> -z: half of the points of the first pair are enough if there are as many.
            points = (repeats + 1) // 2 if pair == 0 and repeats % 2 else repeats + 1
            index, used = np.divmod(index, points)
            z[pair] = (repeats - 2 * used) / 2
            weights *= np.array([(-1) ** k * math.comb(repeats, k) for k in range(points)])[used]
        return z, weights

    def _half_traces(self, start: int, z: Array) -> Array:
        """Return ``tr (X_z B)^k / 2k`` (degree, 1, terms) for k = 1 .. degree."""
        if start in self._traces:
            return self._traces[start]
        degree = sum(self.repeats)
        swapped = np.roll(self._matrix, len(z), axis=0)
        matrices = np.concatenate([z, z]).T[:, :, None] * swapped
        powers = [matrices]
        while 2 * len(powers) < degree:
            powers.append(powers[-1] @ matrices)
        traces = [np.trace(matrices, axis1=1, axis2=2)]
        for k in range(2, degree + 1):
            first, second = powers[(k - 1) // 2], powers[k // 2 - 1]
            traces.append(np.einsum("tij,tji->t", first, second) / k)
        result = np.stack(traces)[:, None] / 2
        if self.terms * degree <= _MAX_STORED:
            self._traces[start] = result
        return result

    def _quadratic_forms(self, z: Array, linear: Array, row: Array, y: Array) -> Array:
        """Return ``g X_z (B X_z)^(k-1) g / 2`` (degree, y, terms) for k = 1 .. degree and ``g = linear + y row``."""
        degree, size = sum(self.repeats), len(z)
        doubled = np.concatenate([z, z])[:, :, None]
        vectors = [np.repeat(np.stack([linear, row], axis=1)[:, None, :], z.shape[1], axis=1)]  # (modes, terms, 2)
        after = [np.roll(vectors[0], size, axis=0) * doubled]  # X_z times the vectors
        while 2 * len(vectors) < degree + 1:
            vectors.append((self._matrix @ after[-1].reshape(2 * size, -1)).reshape(after[-1].shape))
            after.append(np.roll(vectors[-1], size, axis=0) * doubled)
        forms = np.empty((degree, len(y), z.shape[1]), dtype=complex)
        for k in range(degree):
            left, right = vectors[(k + 1) // 2], after[k // 2]
            products = [np.einsum("it,it->t", left[..., i], right[..., j]) for i, j in ((0, 0), (0, 1), (1, 1))]
            forms[k] = products[0] / 2 + y[:, None] * products[1] + y[:, None] ** 2 * (products[2] / 2)
        return forms


def number_of_terms(counts: tuple[int, ...]) -> int:
    """Return the terms of the sieve for a pattern."""
    _, repeats = _paired(counts)
    half = (repeats[0] + 1) // 2 if repeats[0] % 2 else repeats[0] + 1
    return half * math.prod(repeat + 1 for repeat in repeats[1:])


def _paired(counts: tuple[int, ...]) -> tuple[list[tuple[int, int]], list[int]]:
    """
    Return pairs of indices of ``counts`` and how often each occurs: photons of one mode, then the photons left over. The last of
    an odd number is paired with index ``len(counts)``. A pair that occurs an odd number of times is first, if there is one.
    """
    single = [index for index, count in enumerate(counts) if count % 2]
    if len(single) % 2:
        single.append(len(counts))
    pairs = [(first, second, 1) for first, second in zip(single[::2], single[1::2], strict=True)]
    pairs += [(index, index, count // 2) for index, count in enumerate(counts) if count > 1]
    pairs.sort(key=lambda pair: pair[2] % 2 == 0)
    return [pair[:2] for pair in pairs], [pair[2] for pair in pairs]


def _last_coefficient(exponents: Array) -> Array:
    """Return the coefficient (y, terms) of ``x^degree`` in the exponential of ``sum_k exponents[k - 1] x^k``."""
    degree = len(exponents)
    derivative = exponents[::-1] * np.arange(degree, 0, -1)[:, None, None]  # highest power first
    series = np.ones((degree + 1, *exponents.shape[1:]), dtype=complex)
    for n in range(1, degree + 1):
        series[n] = np.einsum("kyt,kyt->yt", derivative[degree - n :], series[:n]) / n
    return np.asarray(series[degree])
