"""
How a result looks in a notebook: a line of text and a small drawing, no script and no style sheet. Text takes the notebook's own
colour and the bars a middle one, so both show on light and on dark. Called by ``Result._repr_html_``.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .._util.html import FRAME_STYLE
from ..errors import ResultError

if TYPE_CHECKING:
    from .result import Result

# Looking at a result must not take longer than fetching it; beyond this the drawing is of the first shots.
_DRAWN_VALUES = 10_000_000
_MOST_BARS = 100
# The platform may send thousands of names of thousands of letters.
_MOST_NAMED = 20
_LONGEST_NAME = 80
_WIDTH, _HEIGHT, _BASE = 420, 110, 92
_BAR = "#4c8dd6"


def result_html(result: Result) -> str:
    """The result as an HTML fragment. Draws nothing for samples that have no natural drawing, and never raises."""
    job = f" of job <code>{escape(result.job_id)}</code>" if result.job_id else ""
    lines = [f"<b>Result</b>{job}"]
    lines += [escape(_described(output.shape, str(output.dtype))) for output in result.outputs[:_MOST_NAMED]]
    if more := len(result.outputs[_MOST_NAMED:]):
        lines.append(f"and {more:,} more")
    if result.metadata:
        lines.append(f"metadata: {_names(result)}")
    drawing = _drawing(result)
    return f'<div style="{FRAME_STYLE}">{"<br/>".join(lines)}{drawing}</div>'


def _names(result: Result) -> str:
    names = [f"<code>{escape(_short(name))}</code>" for name in islice(result.metadata, _MOST_NAMED)]
    more = len(result.metadata) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…"


def _described(shape: tuple[int, ...], dtype: str) -> str:
    names = {2: ("shots", "modes"), 3: ("shots", "spatial modes", "timebins")}.get(len(shape))
    if names is None:
        return f"array of shape {shape}, {dtype}"
    return " × ".join(f"{size:,} {name}" for size, name in zip(shape, names, strict=True)) + f", {dtype}"


def _drawing(result: Result) -> str:
    if not result.outputs or result.samples.ndim < 1 or not result.samples.size:
        return ""
    shots = max(1, _DRAWN_VALUES * len(result.samples) // result.samples.size)
    drawn = type(result)([result.samples[:shots]])
    part = f", first {shots:,} shots" if shots < len(result.samples) else ""
    kind = result.samples.dtype.kind
    if kind in "biu":
        try:
            heights = drawn.photon_number_distribution()
        except ResultError:
            return ""
        title = f"photons in a shot{part}: mean {_mean(heights):.3g}"
        return _photon_bars(heights, title)
    if kind == "f":
        return _outcomes(drawn.samples.astype(np.float64).ravel(), f"outcomes of all modes{part}")
    if kind == "c":
        return _outcomes(
            drawn.samples.real.astype(np.float64).ravel(), f"real parts of the outcomes of all modes{part}"
        )
    return ""


def _photon_bars(distribution: npt.NDArray[np.float64], title: str) -> str:
    if len(distribution) <= _MOST_BARS:
        return _bars(distribution, title, ("0", f"{len(distribution) - 1}"))
    first, last = int(np.flatnonzero(distribution)[0]), len(distribution) - 1
    group = -(-(last + 1 - first) // _MOST_BARS)
    heights = np.add.reduceat(distribution[first:], np.arange(0, last + 1 - first, group))
    return _bars(heights, title, (f"{first}", f"{last}"))


def _outcomes(values: npt.NDArray[np.float64], title: str) -> str:
    values = values[np.abs(values) < 1e100]  # neither infinities nor NaN, and no range that overflows
    if not values.size:
        return ""
    heights, edges = np.histogram(values, bins=60)
    return _bars(heights / values.size, title, (f"{edges[0]:.3g}", f"{edges[-1]:.3g}"))


def _mean(distribution: npt.NDArray[np.float64]) -> float:
    return float(np.arange(len(distribution)) @ distribution)


def _bars(heights: npt.NDArray[np.float64], title: str, ends: Sequence[str]) -> str:
    step = _WIDTH / len(heights)
    width = min(step * 0.82, 28.0)
    top = float(heights.max())
    bars = "".join(
        f'<rect x="{(index + 0.5) * step - width / 2:.2f}" y="{_BASE - 70 * height / top:.2f}" width="{width:.2f}" '
        f'height="{70 * height / top:.2f}"><title>{height:.4g}</title></rect>'
        for index, height in enumerate(heights.tolist())
        if height
    )
    text = 'fill="currentColor" font-size="11" font-family="sans-serif"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'style="display:block;max-width:100%" role="img" aria-label="{escape(title)}">'
        f'<text x="0" y="12" {text}>{escape(title)}</text><g fill="{_BAR}">{bars}</g>'
        f'<path d="M0 {_BASE}.5H{_WIDTH}" stroke="currentColor" stroke-opacity="0.5"/>'
        f'<text x="{0.5 * step:.1f}" y="106" text-anchor="{"start" if step < 20 else "middle"}" {text}>{ends[0]}</text>'
        f'<text x="{_WIDTH - 0.5 * step:.1f}" y="106" text-anchor="{"end" if step < 20 else "middle"}" {text}>{ends[1]}'
        "</text></svg>"
    )
