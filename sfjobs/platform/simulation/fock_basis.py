"""
The Fock basis: all patterns of n photons in m modes, numbered so that one table serves every n.

A pattern is identified by its tail, the counts in modes 1 .. m-1; mode 0 holds the other photons. Tails are sorted by their sum,
so the patterns of n photons are the first C(n+m-1, m-1) tails. Removing a photon from mode 0 does not change the number of a
pattern; removing one from mode j > 0 gives ``below[j - 1]``, which does not depend on n either.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ..program import Array
from .limits import MAX_TABLE_BYTES

_BYTES_PER_ENTRY: Final = 13
"""Of one tail and one mode: the count, its square root and the index of the neighbour."""


def fits(photons: int, modes: int, extra_bytes: int = 0, max_bytes: int = MAX_TABLE_BYTES) -> bool:
    """Return whether a table up to this many photons, with ``extra_bytes`` per tail, fits into ``max_bytes``."""
    return math.comb(photons + modes - 1, modes - 1) * ((modes - 1) * _BYTES_PER_ENTRY + extra_bytes) <= max_bytes


class Basis:
    """
    The tails with sums up to ``photons``: ``tails`` (T, m-1) as unsigned integers, ``sums`` (T), ``below`` (m-1, T), which is 0
    where the mode has no photon, and ``roots`` (m-1, T), the square roots of the counts as doubles.
    """

    def __init__(self, photons: int, modes: int) -> None:
        self.photons = photons
        self.modes = modes
        self.tails = _tails(photons, modes - 1)
        self.sums: Array = self.tails.sum(axis=1, dtype=np.int64)
        # The square root of small integers would be a float16: numpy chooses the narrowest float type.
        self.roots = np.sqrt(self.tails.T.astype(np.float64))
        self.below = np.zeros((modes - 1, len(self.tails)), dtype=np.int32)
        ranks = np.arange(len(self.tails), dtype=np.int64)
        tails_below = {  # by width w and sum s: the number of tails of w modes with a sum below s
            w: np.array([math.comb(s + w - 1, w) for s in range(photons + 2)], dtype=np.int64) for w in range(1, modes)
        }
        lost = np.zeros(len(self.tails), dtype=np.int64)
        # One photon less in mode j lowers the sum of each suffix that starts at or before j, and with it the rank.
        suffixes = np.cumsum(self.tails[:, ::-1], axis=1, dtype=np.int64)[:, ::-1]
        for j in range(modes - 1):
            remaining = suffixes[:, j]
            width = modes - 1 - j
            lost += tails_below[width][remaining] - tails_below[width][np.maximum(remaining - 1, 0)]
            self.below[j] = np.where(self.tails[:, j] > 0, ranks - lost, 0)

    def size(self, photons: int) -> int:
        """Return the number of patterns of this many photons."""
        return math.comb(photons + self.modes - 1, self.modes - 1)

    def patterns(self, photons: int, numbers: Array) -> Array:
        """Return the patterns (k, m) of this many photons with these numbers (k)."""
        chosen = self.tails[numbers]
        first = photons - self.sums[numbers]
        return np.concatenate([first[:, None].astype(chosen.dtype), chosen], axis=1)

    def front_roots(self, photons: int) -> Array:
        """Return the square roots of the counts in mode 0 of all patterns of this many photons."""
        return np.sqrt((photons - self.sums[: self.size(photons)]).astype(np.float64))


def _tails(photons: int, width: int) -> Array:
    """Return all vectors of this width with sums up to ``photons``, sorted by the sums of their suffixes, longest first."""
    dtype = np.uint8 if photons < 256 else np.uint16
    if width == 0:
        return np.zeros((1, 0), dtype=dtype)
    tails = np.arange(photons + 1, dtype=dtype)[:, None]
    for w in range(2, width + 1):
        # With the new count first, the vectors of sum s are the old ones with sums up to s, in the same order.
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
