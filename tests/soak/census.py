"""Samples of the memory, descriptors, threads and tasks of processes, and how much they have grown. Linux."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, get_args

Measure = Literal["memory", "descriptors", "threads", "tasks"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

SLACK: dict[Measure, float] = {"memory": 0, "descriptors": 10, "threads": 4, "tasks": 10}
"""Permitted growth on top of the share: numbers this small vary with the requests in flight."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment: ``at`` in seconds from the start, memory in bytes (resident), ``tasks`` -1 where unknown."""

    at: float
    memory: int
    descriptors: int
    threads: int
    tasks: int = -1


@dataclass(frozen=True, slots=True)
class Growth:
    """Medians of a measure after the warm-up and at the end."""

    process: str
    measure: Measure
    early: float
    late: float

    @property
    def share(self) -> float:
        return self.late / self.early - 1 if self.early else 0.0

    def is_more_than(self, share: float) -> bool:
        return self.late > self.early * (1 + share) + SLACK[self.measure]

    def __str__(self) -> str:
        unit, scale = (" MB", 1e6) if self.measure == "memory" else ("", 1)
        early, late = self.early / scale, self.late / scale
        return f"{self.process}: {self.measure} {early:.1f}{unit} -> {late:.1f}{unit} ({self.share:+.1%})"


def sample(pid: int, at: float, tasks: int = -1) -> Sample | None:
    """Return a sample, None for a process that has ended."""
    try:
        return Sample(at, _status(pid, "VmRSS") * 1024, descriptors(pid), threads(pid), tasks)
    except (OSError, LookupError):
        return None


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) - (pid == os.getpid())  # the listing holds one itself


def threads(pid: int) -> int:
    return _status(pid, "Threads")


def children(pid: int) -> list[int]:
    """Return the living child processes."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def growth(process: str, samples: Sequence[Sample], warm_up: float, end: float) -> list[Growth]:
    """Compare the window after the warm-up with the last one before ``end``; each has half of the time, a minute at most."""
    window = min(60.0, (end - warm_up) / 2)
    early = [one for one in samples if warm_up <= one.at < warm_up + window]
    late = [one for one in samples if end - window <= one.at < end]
    if not early or not late:
        return []
    return [
        Growth(process, measure, _median(early, measure), _median(late, measure))
        for measure in MEASURES
        if measure != "tasks" or _median(early, measure) >= 0
    ]


def _median(samples: Iterable[Sample], measure: Measure) -> float:
    return float(median(getattr(one, measure) for one in samples))


def _status(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    raise LookupError(f"process {pid} has no {field}")  # a zombie has no memory
