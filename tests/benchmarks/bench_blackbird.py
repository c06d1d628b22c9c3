"""
The Blackbird parser of sfjobs and quantum-blackbird on an X8 program as Strawberry Fields emits it. The two alternate, so that
other load on the machine affects both; the result is the ratio of the medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import blackbird  # type: ignore[import-untyped]  # it has no types

from sfjobs.platform.blackbird import parse

REPETITIONS = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One program: its size, the median times of both parsers in milliseconds, and their ratio."""

    program: str
    statements: int
    ours_ms: float
    theirs_ms: float
    ratio: float


def x8_program() -> str:
    """Four squeezers, the same interferometer on both halves, photon counting: 25 statements."""
    lines = ["name bench", "version 1.0", "target X8_01 (shots=100)", ""]
    lines += [f"S2gate(1.0, 0.0) | [{mode}, {mode + 4}]" for mode in range(4)]
    for half in (0, 4):
        for index, mode in enumerate((0, 2, 1, 0, 2, 1)):
            inner, outer = 1.2659197699219948 + index / 7, 0.4082916168089255 + index / 3
            lines.append(f"MZgate({inner!r}, {outer!r}) | [{half + mode}, {half + mode + 1}]")
        lines += [f"Rgate({4.1276587550387 - mode / 3!r}) | {half + mode}" for mode in range(4)]
    return "\n".join([*lines, "MeasureFock() | [0, 1, 2, 3, 4, 5, 6, 7]", ""])


def written_by_hand() -> str:
    """The same circuit with names, arithmetic and loops, which needs the whole grammar."""
    lines = ["name bench", "version 1.0", "target X8_01 (shots=100)", "", "float alpha = pi/4", ""]
    lines += ["for int m in 0:4", "    S2gate(1.0, 0.0) | [m, m+4]"]
    for half in (0, 4):
        for index, mode in enumerate((0, 2, 1, 0, 2, 1)):
            lines.append(f"MZgate(alpha + {index}/7, 2*alpha - {index}/3) | [{half + mode}, {half + mode + 1}]")
        lines += [f"for int m in {half}:{half + 4}", "    Rgate(m*alpha/3) | m"]
    return "\n".join([*lines, "MeasureFock() | [0, 1, 2, 3, 4, 5, 6, 7]", ""])


def run(repetitions: int = REPETITIONS) -> list[Row]:
    """Measure both programs."""
    return [_row(name, text, repetitions) for name, text in (("X8", x8_program()), ("by hand", written_by_hand()))]


def _row(name: str, text: str, repetitions: int) -> Row:
    statements = len(parse(text).operations)
    assert statements == len(blackbird.loads(text).operations)  # also initializes both parsers
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(repetitions):
        ours.append(_milliseconds(parse, text))
        theirs.append(_milliseconds(blackbird.loads, text))
    median, other = statistics.median(ours), statistics.median(theirs)
    return Row(name, statements, round(median, 4), round(other, 4), round(other / median, 1))


def _milliseconds(function: Callable[[str], object], text: str) -> float:
    start = time.perf_counter()
    function(text)
    return 1000 * (time.perf_counter() - start)


def main() -> dict[str, object]:
    """Print a table and return it for a file of results."""
    rows = run()
    print(f"{'program':10} {'statements':>10} {'sfjobs ms':>10} {'quantum-blackbird ms':>21} {'ratio':>6}")
    for row in rows:
        print(f"{row.program:10} {row.statements:10} {row.ours_ms:10.3f} {row.theirs_ms:21.3f} {row.ratio:6.1f}")
    return {"name": "blackbird", "rows": [asdict(row) for row in rows]}


if __name__ == "__main__":
    main()
