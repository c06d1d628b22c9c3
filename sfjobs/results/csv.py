"""
Samples as CSV (RFC 4180) for spreadsheets and pandas: a header that names the modes, then a line for each shot. The bytes are the
same on every system and in every locale. Called by ``storage``.
"""

from __future__ import annotations

import math
from itertools import product
from typing import IO

import numpy as np

from .formats.npy import Array

# Numbers converted to text at once, of some 20 bytes each.
_PIECE_NUMBERS = 1 << 18
# Whole numbers from so small a range are looked up, which takes a tenth of the time of formatting them.
_MAX_TABLE_NUMBERS = 1 << 16


def write_table(file: IO[bytes], samples: Array) -> None:
    """
    Write ``samples`` as a table whose numbers read back exactly.

    The header is ``mode_0,mode_1,...`` for the shape (shots, modes), and ``mode_0_timebin_0,mode_0_timebin_1,...`` for (shots,
    spatial modes, timebins). A complex number takes two columns, ``..._real`` and ``..._imag``; clicks are 0 and 1.

    Raises:
        ValueError: the array is no table of numbers.
    """
    columns = math.prod(samples.shape[1:])
    if samples.dtype.kind not in "biufc" or not samples.ndim or not columns:
        raise ValueError(f"an array of {samples.dtype} and shape {samples.shape} is no table of numbers; use .npz")
    names = _names(samples.shape[1:], ("_real", "_imag") if samples.dtype.kind == "c" else ("",))
    file.write(f"{','.join(names)}\n".encode("ascii"))
    table = _NumberTable.of(samples)
    step = max(1, _PIECE_NUMBERS // columns)
    for first in range(0, len(samples), step):
        rows = _plain(samples[first : first + step]).reshape(-1, len(names))
        file.write(_formatted(rows) if table is None else table.formatted(rows))


def _names(shape: tuple[int, ...], parts: tuple[str, ...]) -> list[str]:
    """Return the names of the columns, in the order of the array's memory."""
    labels = ("mode", "timebin") if len(shape) <= 2 else [f"axis{number}" for number in range(1, len(shape) + 1)]
    places = product(*map(range, shape or (1,)))
    names = ["_".join(f"{label}_{index}" for label, index in zip(labels, place, strict=False)) for place in places]
    return [f"{name}{part}" for name in names for part in parts]


def _plain(rows: Array) -> Array:
    """Replace complex numbers by their real and imaginary parts, side by side."""
    rows = np.ascontiguousarray(rows)
    return rows.view(rows.real.dtype)


def _formatted(rows: Array) -> bytes:
    if rows.dtype.kind == "f" and rows.dtype.itemsize != 8:
        # numpy knows the shortest text of its other floats; Python writes a float32 of 0.1 as 0.10000000149011612.
        text = "\n".join(map(",".join, rows.astype(np.str_).tolist()))
    else:
        # One text of all lists, split where they end: no Python code runs for each number.
        text = repr(rows.tolist())[2:-2].replace("], [", "\n").replace(", ", ",")
    return f"{text}\n".encode("ascii")


class _NumberTable:
    """The text of all whole numbers from ``low`` to ``high``, followed by a comma, or by the end of the line."""

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._inner = np.array([f"{number}," for number in range(low, high + 1)], np.bytes_)
        self._last = np.array([f"{number}\n" for number in range(low, high + 1)], np.bytes_)

    @classmethod
    def of(cls, samples: Array) -> _NumberTable | None:
        """Return the table for ``samples``; None unless they are whole numbers or clicks from a small range."""
        if samples.dtype.kind not in "biu" or not samples.size:
            return None
        low, high = int(samples.min()), int(samples.max())
        limit = min(_MAX_TABLE_NUMBERS, samples.size)
        return cls(low, high) if high - low < limit and high < 1 << 63 else None

    def formatted(self, rows: Array) -> bytes:
        indices = rows.astype(np.int64) - self._low
        texts = self._inner[indices]
        texts[:, -1] = self._last[indices[:, -1]]
        return texts.tobytes().translate(None, b"\0")  # numpy pads the shorter ones
