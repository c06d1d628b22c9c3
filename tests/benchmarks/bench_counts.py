"""
Counting patterns in a million shots: ``Result.counts`` and ``numpy.unique`` over rows. The same run compares their results.

``BENCH_REPETITIONS`` changes how often each is measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sfjobs.results import Result

from .arena import QUICK, Table, median, touch_memory

REPETITIONS = int(os.environ.get("BENCH_REPETITIONS") or (2 if QUICK else 5))
SHOTS = 100_000 if QUICK else 1_000_000
MEAN = 0.5
"""Photons in a mode."""

Samples = npt.NDArray[np.integer]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row:
    """Medians in seconds; ``ratio`` is the time of numpy over that of sfjobs."""

    samples: str
    shots: int
    patterns: int
    sfjobs_s: float
    numpy_s: float
    ratio: float


def cases() -> dict[str, Callable[[], Samples]]:
    """Samples by name, created when they are measured: together they are a few GB."""
    source = np.random.default_rng(1)

    def photons(modes: int, shots: int = SHOTS) -> Samples:
        return source.poisson(MEAN, (shots, modes))

    return {
        "8 modes, uint8": lambda: photons(8).astype(np.uint8),
        "8 modes, int64": lambda: photons(8),
        "8 modes, clicks": lambda: (photons(8) > 0).astype(np.uint8),
        "24 modes, uint8": lambda: photons(24).astype(np.uint8),
        "24 modes, int64": lambda: photons(24),
        "216 modes, uint8": lambda: photons(216, SHOTS // 10).astype(np.uint8),
        "216 modes, 1000 patterns": lambda: photons(216, 1000).astype(np.uint8)[source.integers(0, 1000, SHOTS // 10)],
    }


def run() -> list[Row]:
    """Measure all cases in rounds; each round measures each case once."""
    return [_row(name, make()) for name, make in cases().items()]


def _row(name: str, samples: Samples) -> Row:
    ours: list[float] = []
    numpys: list[float] = []
    for _ in range(REPETITIONS):
        taken, counts = _timed(lambda: Result([samples]).counts())
        ours.append(taken)
        taken, (patterns, frequencies) = _timed(lambda: np.unique(samples, axis=0, return_counts=True))
        numpys.append(taken)
        # The same patterns in two orders: sfjobs by frequency, then pattern; numpy by pattern.
        order = np.argsort(-frequencies, kind="stable")
        assert np.array_equal(counts.patterns, patterns[order])
        assert np.array_equal(counts.frequencies, frequencies[order])
    return Row(
        samples=name,
        shots=len(samples),
        patterns=len(patterns),
        sfjobs_s=median(ours),
        numpy_s=median(numpys),
        ratio=median(numpys) / median(ours),
    )


def _timed(count: Callable[[], T]) -> tuple[float, T]:
    touch_memory(1 << 30)
    start = time.perf_counter()
    found = count()
    return time.perf_counter() - start, found


def main() -> dict[str, object]:
    """Print a table and return it for a file of results."""
    table = Table(
        f"Counting patterns, medians of {REPETITIONS}",
        "samples",
        "shots",
        "patterns",
        "sfjobs s",
        "numpy s",
        "numpy/it",
    )
    rows = run()
    for row in rows:
        table.row(row.samples, row.shots, row.patterns, row.sfjobs_s, row.numpy_s, row.ratio)
    return {"name": "counts", "rows": [asdict(row) for row in rows]}


if __name__ == "__main__":
    main()
