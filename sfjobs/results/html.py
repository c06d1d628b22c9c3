"""
A result as an HTML fragment for notebooks: lines of text and a small drawing, without script and style sheet. Text has the
notebook's own colour and the bars a medium one, so both show on light and on dark. Called by ``Result._repr_html_``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import islice

import numpy as np
import numpy.typing as npt

from .._util.html import FRAME_STYLE, escaped
from ..errors import ResultError
from .formats.npy import Array
from .statistics import photon_number_distribution

# Displaying a result must not take longer than fetching it: more values than this are cut to the first shots.
_MAX_DRAWN_VALUES = 10_000_000
_MAX_BARS = 100
# The platform may send thousands of names of thousands of letters.
_MAX_NAMES = 20
_MAX_NAME_CHARS = 80
_WIDTH, _HEIGHT, _BASE = 420, 110, 92
_BAR_COLOUR = "#4c8dd6"


def result_html(outputs: Sequence[Array], metadata: Mapping[str, object], job_id: str) -> str:
    """Return a result as an HTML fragment, without a drawing for samples that have no natural one. Never raises."""
    job = f" of job <code>{escaped(job_id)}</code>" if job_id else ""
    lines = [f"<b>Result</b>{job}"]
    lines += [escape(_description(output.shape, str(output.dtype))) for output in outputs[:_MAX_NAMES]]
    if more := len(outputs[_MAX_NAMES:]):
        lines.append(f"and {more:,} more")
    if metadata:
        lines.append(f"metadata: {_names(metadata)}")
    return f'<div style="{FRAME_STYLE}">{"<br/>".join(lines)}{_drawing(outputs[0]) if outputs else ""}</div>'


def _names(metadata: Mapping[str, object]) -> str:
    names = [f"<code>{escaped(name, _MAX_NAME_CHARS)}</code>" for name in islice(metadata, _MAX_NAMES)]
    more = len(metadata) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def _description(shape: tuple[int, ...], dtype: str) -> str:
    names = {2: ("shots", "modes"), 3: ("shots", "spatial modes", "timebins")}.get(len(shape))
    if names is None:
        return f"array of shape {shape}, {dtype}"
    return " × ".join(f"{size:,} {name}" for size, name in zip(shape, names, strict=True)) + f", {dtype}"


def _drawing(samples: Array) -> str:
    if samples.ndim < 1 or not samples.size:
        return ""
    shots = max(1, _MAX_DRAWN_VALUES * len(samples) // samples.size)
    cut = f", first {shots:,} shots" if shots < len(samples) else ""
    drawn = samples[:shots]
    if drawn.dtype.kind in "biu":
        try:
            distribution = photon_number_distribution(drawn)
        except ResultError:
            return ""
        mean = float(np.arange(len(distribution)) @ distribution)
        return _photon_bars(distribution, f"photons in a shot{cut}: mean {mean:.3g}")
    if drawn.dtype.kind == "f":
        return _outcome_bars(drawn, f"outcomes of all modes{cut}")
    if drawn.dtype.kind == "c":
        return _outcome_bars(drawn.real, f"real parts of the outcomes of all modes{cut}")
    return ""


def _photon_bars(distribution: npt.NDArray[np.float64], title: str) -> str:
    if len(distribution) <= _MAX_BARS:
        return _bars(distribution, title, ("0", f"{len(distribution) - 1}"))
    first, last = int(np.flatnonzero(distribution)[0]), len(distribution) - 1
    group = -(-(last + 1 - first) // _MAX_BARS)
    heights = np.add.reduceat(distribution[first:], np.arange(0, last + 1 - first, group))
    return _bars(heights, title, (f"{first}", f"{last}"))


def _outcome_bars(outcomes: Array, title: str) -> str:
    values = outcomes.astype(np.float64).ravel()
    values = values[np.abs(values) < 1e100]  # neither infinities nor NaN, and no range that overflows
    if not values.size:
        return ""
    heights, edges = np.histogram(values, bins=60)
    return _bars(heights / values.size, title, (f"{edges[0]:.3g}", f"{edges[-1]:.3g}"))


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
        f'<text x="0" y="12" {text}>{escape(title)}</text><g fill="{_BAR_COLOUR}">{bars}</g>'
        f'<path d="M0 {_BASE}.5H{_WIDTH}" stroke="currentColor" stroke-opacity="0.5"/>'
        f'<text x="{0.5 * step:.1f}" y="106" text-anchor="{"start" if step < 20 else "middle"}" {text}>{ends[0]}</text>'
        f'<text x="{_WIDTH - 0.5 * step:.1f}" y="106" text-anchor="{"end" if step < 20 else "middle"}" {text}>{ends[1]}'
        "</text></svg>"
    )
