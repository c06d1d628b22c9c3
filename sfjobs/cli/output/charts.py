"""
A summary for people: a table of the most frequent samples and a bar chart of the photon-number distribution, in 80 columns, of
block characters, or of ``#`` in encodings without them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..context import can_draw
from ..errors import printable
from .summary import ArraySummary, PhotonSummary, QuadratureSummary, Summary
from .tables import counted, indented, table

_MAX_ROWS = 10
"""Patterns in a table; twice as many modes."""
_MAX_BARS = 16
"""Bars of a chart; more photon numbers than that share bars."""
_TAIL_PROBABILITY = 1e-3
"""Probability of the highest photon numbers, which share the last bar."""
_EIGHTHS = " ▏▎▍▌▋▊▉"
_BAR_STYLE = "blue"


def headline(summary: Summary, target: str | None) -> str:
    """Return the numbers of shots and modes, and the target."""
    origin = f" from {printable(target)}" if target else ""
    if isinstance(summary, ArraySummary):
        return f"A result{origin}"
    bins = f" and {summary.shape[2]:,} timebins" if len(summary.shape) == 3 else ""
    return f"{counted(summary.shots, 'shot')} of {counted(summary.shape[1], 'mode')}{bins}{origin}"


def show(console: Console, summary: Summary) -> None:
    """Print a summary."""
    match summary:
        case PhotonSummary():
            _show_photons(console, summary)
        case QuadratureSummary():
            _show_quadratures(console, summary)
        case ArraySummary():
            console.print(f"No summary: {summary.reason}")


def _show_photons(console: Console, photons: PhotonSummary) -> None:
    shots = photons.shots
    if photons.num_patterns == shots > 1:
        console.print(f"All {shots:,} samples differ from each other.")
    else:
        indented(console, _pattern_table(console, photons))
    console.print()
    console.print(f"Photons in a shot: mean {photons.mean:.4g}", style="bold")
    indented(console, *bars(photons.distribution, width=min(console.width, 80) - 2, blocks=can_draw(console)))
    if 1 < len(photons.mean_per_mode) <= 2 * _MAX_BARS:
        console.print()
        console.print("Mean photon number of each mode", style="bold")
        indented(console, Text("  ".join(f"{mean:.3f}" for mean in photons.mean_per_mode)))


def _pattern_table(console: Console, photons: PhotonSummary) -> Table:
    shots = photons.shots
    shown = photons.patterns[:_MAX_ROWS]
    grid = table("sample", "count", "probability", justify="right")
    width = max(min(console.width, 80) - 28, 12)
    for pattern, count in shown:
        grid.add_row(_ket(pattern, width, can_draw(console)), f"{count:,}", f"{count / shots:.4f}")
    if photons.num_patterns > len(shown):
        rest = shots - sum(count for _, count in shown)
        others = photons.num_patterns - len(shown)
        grid.add_row(f"{others:,} other{'s' if others > 1 else ''}", f"{rest:,}", f"{rest / shots:.4f}", style="dim")
    return grid


def _show_quadratures(console: Console, quadratures: QuadratureSummary) -> None:
    grid = table("mode", "mean", "standard deviation", justify="right")
    for mode, (mean, deviation) in enumerate(zip(quadratures.means, quadratures.deviations, strict=True)):
        if mode == 2 * _MAX_ROWS:
            grid.add_row(f"{len(quadratures.means) - mode} more", "", "", style="dim")
            break
        written = f"{mean.real:+.4f} {mean.imag:+.4f}i" if quadratures.is_complex else f"{mean.real:+.4f}"
        grid.add_row(str(mode), written, f"{deviation:.4f}")
    indented(console, grid)


def bars(distribution: Sequence[float], *, width: int, blocks: bool) -> Iterator[Text]:
    """Yield a line for each photon number or range of them, at most ``width`` columns wide; the longest bar fills its column."""
    groups = list(_grouped(distribution))
    label_width = max(len(label) for label, _ in groups)
    room = max(width - label_width - 10, 10)
    top = max(share for _, share in groups) or 1.0
    for label, share in groups:
        bar = _bar(share / top * room, blocks=blocks)
        yield Text.assemble(f"{label:>{label_width}} ", (f"{bar:<{room}}", _BAR_STYLE), f" {share:.4f}")


def _grouped(distribution: Sequence[float]) -> Iterator[tuple[str, float]]:
    """
    Yield labels and probabilities. A long tail of low probability becomes one bar, which leaves more bars for the rest. Odd
    numbers are left out where photons come in pairs only, as from a squeezed state without loss. A bar never covers an odd number
    of photon numbers: every other bar would hold one pair more, and the chart would show a zigzag that the data do not have.
    """
    end, tail = len(distribution), 0.0
    while end > _MAX_BARS and tail + distribution[end - 1] <= _TAIL_PROBABILITY:
        end -= 1
        tail += distribution[end]
    unit = 2 if len(distribution) > 2 and not any(distribution[1::2]) else 1
    step = unit * math.ceil(end / unit / _MAX_BARS)
    step += step % 2 if step > 1 else 0
    for start in range(0, end, step):
        last = min(start + step, end) - unit
        yield (
            (str(start) if last <= start else f"{start}-{last}"),
            math.fsum(distribution[start : start + step][: end - start]),
        )
    if end < len(distribution):
        yield f"{end}+", tail


def _bar(length: float, *, blocks: bool) -> str:
    if not blocks:
        return "#" * max(round(length), length > 0)
    eighths = max(round(length * 8), length > 0)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _ket(pattern: Sequence[int], width: int, blocks: bool) -> str:
    """Return ``|0102⟩``, with commas once a number has two digits, without its middle where it is too wide."""
    separator = "" if max(pattern, default=0) < 10 else ","
    digits = separator.join(map(str, pattern))
    left, right, dots = ("|", "⟩", "…") if blocks else ("|", ">", "..")
    if len(digits) > width - 2:
        half = (width - 2 - len(dots)) // 2
        digits = digits[:half] + dots + digits[-half:]
    return f"{left}{digits}{right}"
