"""The rounds of a client: its programs in groups, spread evenly over the time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .programs import Program

Way = Literal["singly", "many", "group", "cancelling", "watching"]
_WAYS: dict[Way, tuple[float, int, int]] = {
    "singly": (3, 1, 3),
    "many": (4, 5, 20),
    "group": (2, 5, 15),
    "cancelling": (1, 2, 6),
    "watching": (1, 3, 10),
}
"""Weight, and the least and the greatest number of programs."""


@dataclass(frozen=True, slots=True)
class Round:
    """Programs that are submitted in one way, ``at`` seconds from the start."""

    way: Way
    at: float
    programs: Sequence[Program]
    seed: int


def rounds(client: int, first: int, count: int, seconds: float, seed: int) -> list[Round]:
    """Return the rounds of one client, whose programs are numbered from ``first`` on."""
    draw = random.Random(f"{seed}/{client}")
    planned: list[Round] = []
    given = 0
    while given < count:
        way = draw.choices([*_WAYS], [share for share, _, _ in _WAYS.values()])[0]
        _, least, most = _WAYS[way]
        size = min(draw.randint(least, most), count - given)
        at = seconds * (given + draw.random() * size) / count
        numbers = range(first + given, first + given + size)
        planned.append(Round(way, at, [Program(number) for number in numbers], draw.randrange(1 << 30)))
        given += size
    return planned
