"""
A summary for people: a table of the most frequent samples and a bar picture of the photon-number distribution, in 80 columns,
with block characters where the output can hold them and ``#`` where it cannot.
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

_ROWS = 10
"""Patterns, or modes, shown in a table."""
_BARS = 16
"""Lines of the bar picture; more photon numbers than that share lines."""
_NEGLECTED = 1e-3
"""Probability of the highest photon numbers that are put into one last line."""
_EIGHTHS = " ▏▎▍▌▋▊▉"
_BAR_STYLE = "blue"


def headline(summary: Summary, target: str | None) -> str:
    """What was measured, where."""
    origin = f" from {printable(target)}" if target else ""
    if isinstance(summary, ArraySummary):
        return f"A result{origin}"
    bins = f" and {summary.shape[2]:,} timebins" if len(summary.shape) == 3 else ""
    return f"{counted(summary.shots, 'shot')} of {counted(summary.shape[1], 'mode')}{bins}{origin}"


def show(console: Console, summary: Summary) -> None:
    """Prints ``summary``."""
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
    if 1 < len(photons.mean_per_mode) <= 2 * _BARS:
        console.print()
        console.print("Mean photon number of each mode", style="bold")
        indented(console, Text("  ".join(f"{mean:.3f}" for mean in photons.mean_per_mode)))


def _pattern_table(console: Console, photons: PhotonSummary) -> Table:
    shots = photons.shots
    shown = photons.patterns[:_ROWS]
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
        if mode == 2 * _ROWS:
            grid.add_row(f"{len(quadratures.means) - mode} more", "", "", style="dim")
            break
        written = f"{mean.real:+.4f} {mean.imag:+.4f}i" if quadratures.is_complex else f"{mean.real:+.4f}"
        grid.add_row(str(mode), written, f"{deviation:.4f}")
    indented(console, grid)


def bars(distribution: Sequence[float], *, width: int, blocks: bool) -> Iterator[Text]:
    """One line for each photon number or range of them, ``width`` columns wide at most, the longest bar filling its place."""
    groups = list(_grouped(distribution))
    label_width = max(len(label) for label, _ in groups)
    room = max(width - label_width - 10, 10)
    top = max(share for _, share in groups) or 1.0
    for label, share in groups:
        bar = _bar(share / top * room, blocks=blocks)
        yield Text.assemble(f"{label:>{label_width}} ", (f"{bar:<{room}}", _BAR_STYLE), f" {share:.4f}")


def _grouped(distribution: Sequence[float]) -> Iterator[tuple[str, float]]:
    """
    Labels and probabilities. A long thin tail becomes one line, so that it does not squeeze what matters. Where photons only
    come in pairs, as a lossless squeezed state makes them, odd numbers are left out; and no line ever covers an odd stretch
    of numbers, because then every other line would hold one pair more and the picture a zigzag that is not there.
    """
    end, tail = len(distribution), 0.0
    while end > _BARS and tail + distribution[end - 1] <= _NEGLECTED:
        end -= 1
        tail += distribution[end]
    unit = 2 if len(distribution) > 2 and not any(distribution[1::2]) else 1
    step = unit * math.ceil(end / unit / _BARS)
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
    """``|0102⟩``, with commas once a number has two digits, and its middle left out where it is too wide."""
    separator = "" if max(pattern, default=0) < 10 else ","
    digits = separator.join(map(str, pattern))
    left, right, dots = ("|", "⟩", "…") if blocks else ("|", ">", "..")
    if len(digits) > width - 2:
        half = (width - 2 - len(dots)) // 2
        digits = digits[:half] + dots + digits[-half:]
    return f"{left}{digits}{right}"
