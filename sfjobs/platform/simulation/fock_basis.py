"""
All patterns of n photons in m modes, numbered so that one table serves every n.

A pattern is named by its tail, the numbers in modes 1 .. m-1; mode 0 holds the rest. Tails are sorted by their sum, so the
patterns of n photons are the first C(n+m-1, m-1) tails. Taking a photon out of mode 0 leaves the number as it is; taking
one out of mode j leads to ``below[j - 1]``, which does not depend on n either.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ..program import Array
from .limits import MAX_TABLE_BYTES

_BYTES_PER_ENTRY: Final = 13
"""Of one tail and one mode: its number, its square root and its neighbour."""


def count(photons: int, modes: int) -> int:
    """How many patterns of this many photons there are."""
    return math.comb(photons + modes - 1, modes - 1)


def fits(photons: int, modes: int, extra_bytes: int = 0, most_bytes: int = MAX_TABLE_BYTES) -> bool:
    """Whether a table up to this many photons, and ``extra_bytes`` for each of its tails, stays within bounds."""
    return count(photons, modes) * ((modes - 1) * _BYTES_PER_ENTRY + extra_bytes) <= most_bytes


class Basis:
    """
    The tails with sums up to ``photons``: ``tails`` (T, m-1) as unsigned integers, ``sums`` (T), ``below`` (m-1, T), which
    is 0 where there is no photon to take, and ``roots`` (m-1, T), the square roots of the numbers as doubles.
    """

    def __init__(self, photons: int, modes: int) -> None:
        self.photons = photons
        self.modes = modes
        self.tails = _tails(photons, modes - 1)
        self.sums: Array = self.tails.sum(axis=1, dtype=np.int64)
        # A square root of small integers would be a float16: numpy keeps to the narrowest type that it deems enough.
        self.roots = np.sqrt(self.tails.T.astype(np.float64))
        self.below = np.zeros((modes - 1, len(self.tails)), dtype=np.int32)
        ranks = np.arange(len(self.tails), dtype=np.int64)
        binomials = _binomials(photons, modes)
        lost = np.zeros(len(self.tails), dtype=np.int64)
        # A photon less in mode j lowers the sums of all tails that begin at or before j, and with each its part of the rank.
        suffixes = np.cumsum(self.tails[:, ::-1], axis=1, dtype=np.int64)[:, ::-1]
        for j in range(modes - 1):
            remaining = suffixes[:, j]
            width = modes - 1 - j
            lost += binomials[width][remaining] - binomials[width][np.maximum(remaining - 1, 0)]
            self.below[j] = np.where(self.tails[:, j] > 0, ranks - lost, 0)

    def size(self, photons: int) -> int:
        """How many patterns of this many photons there are."""
        return count(photons, self.modes)

    def patterns(self, photons: int, numbers: Array) -> Array:
        """The patterns (k, m) of this many photons with these numbers."""
        chosen = self.tails[numbers]
        first = photons - self.sums[numbers]
        return np.concatenate([first[:, None].astype(chosen.dtype), chosen], axis=1)

    def front_roots(self, photons: int) -> Array:
        """The square roots of the number in mode 0, of all patterns of this many photons."""
        return np.sqrt((photons - self.sums[: self.size(photons)]).astype(np.float64))


def _binomials(photons: int, modes: int) -> dict[int, Array]:
    """``[w][s]``: how many tails of w modes have a sum below s, C(s + w - 1, w)."""
    return {
        w: np.array([math.comb(s + w - 1, w) for s in range(photons + 2)], dtype=np.int64) for w in range(1, modes + 1)
    }


def _tails(photons: int, width: int) -> Array:
    """All vectors of this width with sums up to ``photons``: by sum, then by the sum without the first number, and so on."""
    dtype = np.uint8 if photons < 256 else np.uint16
    if width == 0:
        return np.zeros((1, 0), dtype=dtype)
    tails = np.arange(photons + 1, dtype=dtype)[:, None]
    for w in range(2, width + 1):
        # With the new number first, the vectors of sum s are the old ones with sums up to s, in their order.
        sizes = [math.comb(s + w - 1, w - 1) for s in range(photons + 1)]
        wider = np.empty((sum(sizes), w), dtype=dtype)
        sums = tails.sum(axis=1, dtype=np.int64)
        start = 0
        for s, size in enumerate(sizes):
            wider[start : start + size, 1:] = tails[:size]
            wider[start : start + size, 0] = s - sums[:size]
            start += size
        tails = wider
    return tails
