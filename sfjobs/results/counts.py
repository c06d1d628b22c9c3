"""
Counts of measured patterns. Rows are packed into integers: sorting those is many times faster than sorting rows as
``numpy.unique(axis=0)`` does. Called by ``Result.counts`` and ``plotting``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .statistics import as_int64

_CODE_BITS = 64
# Wider values are replaced by their ranks first; this leaves 40 bits for the number of the row.
_MAX_VALUE_BITS = 24
_NARROWED_COLUMNS = 16


class Counts(Mapping[tuple[int, ...], int]):
    """
    A read-only mapping from pattern to frequency: the most frequent first, equal ones in lexicographic order.

    ``patterns`` and ``frequencies`` hold the same as int64 arrays, of shapes (distinct, modes) and (distinct,). A time-domain
    pattern has the shape (spatial modes, timebins) in ``patterns``; as a key it is flattened, timebins last.
    """

    def __init__(self, patterns: npt.NDArray[np.integer], frequencies: npt.NDArray[np.int64]) -> None:
        self._patterns = patterns
        self.frequencies = frequencies

    @cached_property
    def patterns(self) -> npt.NDArray[np.int64]:
        """
        The patterns as an array, in the order of ``frequencies``.

        Raises:
            ResultError: they have numbers that int64 does not hold.
        """
        return as_int64(self._patterns)

    @property
    def shots(self) -> int:
        """Number of counted shots."""
        return int(self.frequencies.sum())

    def most_common(self, n: int | None = None) -> list[tuple[tuple[int, ...], int]]:
        """Return the ``n`` most frequent patterns with their frequencies; all without ``n``."""
        keys = _as_rows(self._patterns[:n]).tolist()
        return [(tuple(key), frequency) for key, frequency in zip(keys, self.frequencies[:n].tolist(), strict=True)]

    def __getitem__(self, pattern: tuple[int, ...]) -> int:
        return self._by_pattern[pattern]

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return iter(self._by_pattern)

    def __len__(self) -> int:
        return len(self.frequencies)

    def __repr__(self) -> str:
        shown = ", ".join(f"{pattern}: {frequency}" for pattern, frequency in self.most_common(3))
        return f"Counts({{{shown}{', ...' if len(self) > 3 else ''}}}, {len(self)} patterns in {self.shots} shots)"

    @cached_property
    def _by_pattern(self) -> dict[tuple[int, ...], int]:
        # Made on first use: a million tuples take as long as the counting.
        return dict(self.most_common())


def count_patterns(samples: npt.NDArray[np.integer]) -> Counts:
    """Count equal entries along the first axis of ``samples``."""
    rows, frequencies = _distinct_rows(_as_rows(samples))
    return Counts(rows.reshape(len(rows), *samples.shape[1:]), frequencies)


def _as_rows(samples: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    return samples.reshape(len(samples), math.prod(samples.shape[1:]))


def _distinct_rows(
    rows: npt.NDArray[np.integer],
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.int64]]:
    """Return the distinct rows in the order of ``Counts``, and how often each occurs."""
    shots, modes = rows.shape
    if not shots or not modes:
        return rows[:1], np.full(min(shots, 1), shots)
    low = int(rows.min())
    bits = (int(rows.max()) - low).bit_length()
    if bits > _MAX_VALUE_BITS:
        values, ranks = np.unique(rows, return_inverse=True)
        ranked, frequencies = _distinct_rows(ranks.reshape(rows.shape))
        return values[ranked], frequencies

    # Columns are shifted into 64-bit codes. When they do not fit, the codes so far are replaced by their ranks, which keeps
    # their order; the tables map the ranks back.
    tables: list[npt.NDArray[np.uint64]] = []
    ranked_at: list[int] = []
    codes = np.zeros(shots, np.uint64)
    used = 0
    for column in range(modes):
        if used + bits > _CODE_BITS:
            table, ranks = np.unique(codes, return_inverse=True)
            if len(table) == shots:  # all rows differ already
                return rows[np.argsort(ranks)], np.ones(shots, np.int64)
            tables.append(table)
            ranked_at.append(column)
            codes, used = ranks.astype(np.uint64), (len(table) - 1).bit_length()
        codes <<= np.uint64(bits)
        if not column % _NARROWED_COLUMNS:
            narrow = _narrowed(rows[:, column : column + _NARROWED_COLUMNS], low, bits)
        codes |= narrow[:, column % _NARROWED_COLUMNS]
        used += bits

    distinct, frequencies = _distinct_codes(codes, used)
    order = np.argsort(-frequencies, kind="stable")
    distinct, frequencies = distinct[order], frequencies[order]
    narrow = np.empty((len(distinct), modes), narrow.dtype, order="F")
    mask = np.uint64((1 << bits) - 1)
    for column in reversed(range(modes)):
        narrow[:, column] = distinct & mask
        distinct >>= np.uint64(bits)
        if ranked_at and ranked_at[-1] == column:
            ranked_at.pop()
            distinct = tables.pop()[distinct]
    return _widened(narrow, low, rows.dtype), frequencies


def _narrowed(rows: npt.NDArray[np.integer], low: int, bits: int) -> npt.NDArray[np.unsignedinteger]:
    """Return the values minus ``low``, column-major: columns are read one by one, and lie far apart in ``rows``."""
    kind = np.min_scalar_type((1 << bits) - 1)
    narrow = np.empty(rows.shape, kind, order="F")
    np.subtract(rows, rows.dtype.type(low), out=narrow, casting="unsafe")  # _widened wraps back
    return narrow


def _widened(narrow: npt.NDArray[np.unsignedinteger], low: int, dtype: np.dtype[np.integer]) -> npt.NDArray[np.integer]:
    """Undo ``_narrowed``."""
    rows = np.empty(narrow.shape, dtype)
    np.add(narrow, dtype.type(low), out=rows, dtype=dtype.newbyteorder("="), casting="unsafe")
    return rows


def _distinct_codes(codes: npt.NDArray[np.uint64], bits: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    if 1 << bits <= 4 * len(codes):  # a table of all codes is small, and needs no sorting
        table = np.bincount(codes.view(np.int64), minlength=1)
        found = np.flatnonzero(table)
        return found.astype(np.uint64), table[found]
    return np.unique(codes, return_counts=True)
