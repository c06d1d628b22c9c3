"""
Samples as a table of text (CSV, RFC 4180) for spreadsheets, pandas and the like: a head that names the modes, then a line for
each shot. The same bytes on every system and in every locale. Called by ``files``.
"""

from __future__ import annotations

import math
from itertools import product
from typing import IO, TypeAlias

import numpy as np
import numpy.typing as npt

Rows: TypeAlias = npt.NDArray[np.generic]

# Numbers that are text at the same time, of some 20 bytes each.
_PIECE_NUMBERS = 1 << 18
# Whole numbers that lie this close together are looked up, which takes a tenth of the time of spelling them out.
_MOST_WORDS = 1 << 16


def write_table(file: IO[bytes], samples: Rows) -> None:
    """
    Write ``samples`` of shape (shots, modes) under the head ``mode_0,mode_1,...``, and those of shape (shots, spatial modes,
    timebins) under ``mode_0_timebin_0,mode_0_timebin_1,...``. A complex number takes two columns, ``..._real`` and
    ``..._imag``; clicks are 0 and 1. Every number reads back as it was.

    Raises ``ValueError`` for what is no table of numbers.
    """
    columns = math.prod(samples.shape[1:])
    if samples.dtype.kind not in "biufc" or not samples.ndim or not columns:
        raise ValueError(f"an array of {samples.dtype} and shape {samples.shape} is no table of numbers; use .npz")
    names = _names(samples.shape[1:], ("_real", "_imag") if samples.dtype.kind == "c" else ("",))
    file.write(f"{','.join(names)}\n".encode("ascii"))
    words = _Words.of(samples)
    step = max(1, _PIECE_NUMBERS // columns)
    for first in range(0, len(samples), step):
        rows = _plain(samples[first : first + step]).reshape(-1, len(names))
        file.write(_spelled(rows) if words is None else words.looked_up(rows))


def _names(shape: tuple[int, ...], parts: tuple[str, ...]) -> list[str]:
    """What the columns are called, in the order of the array's memory."""
    labels = ("mode", "timebin") if len(shape) <= 2 else [f"axis{number}" for number in range(1, len(shape) + 1)]
    places = product(*map(range, shape or (1,)))
    names = ["_".join(f"{label}_{index}" for label, index in zip(labels, place, strict=False)) for place in places]
    return [f"{name}{part}" for name in names for part in parts]


def _plain(rows: Rows) -> Rows:
    """Without complex numbers: their real and imaginary parts side by side."""
    rows = np.ascontiguousarray(rows)
    return rows.view(rows.real.dtype)


def _spelled(rows: Rows) -> bytes:
    if rows.dtype.kind == "f" and rows.dtype.itemsize != 8:
        # numpy knows the shortest text of its other floats; Python's would show a float32 of 0.1 as 0.10000000149011612.
        text = "\n".join(map(",".join, rows.astype(np.str_).tolist()))
    else:
        # One text of all lists, cut where they end: no step of Python for each number.
        text = repr(rows.tolist())[2:-2].replace("], [", "\n").replace(", ", ",")
    return f"{text}\n".encode("ascii")


class _Words:
    """The text of all whole numbers from ``low`` on, with what follows them: a comma, or at the end of a line its end."""

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._inner = np.array([f"{number}," for number in range(low, high + 1)], np.bytes_)
        self._last = np.array([f"{number}\n" for number in range(low, high + 1)], np.bytes_)

    @classmethod
    def of(cls, samples: Rows) -> _Words | None:
        """None for what is no whole numbers or clicks, and for numbers too far apart."""
        if samples.dtype.kind not in "biu" or not samples.size:
            return None
        low, high = int(samples.min()), int(samples.max())
        few = min(_MOST_WORDS, samples.size)
        return cls(low, high) if high - low < few and high < 1 << 63 else None

    def looked_up(self, rows: Rows) -> bytes:
        indices = rows.astype(np.int64) - self._low
        words = self._inner[indices]
        words[:, -1] = self._last[indices[:, -1]]
        return words.tobytes().translate(None, b"\0")  # numpy fills up the shorter ones
