"""
A result as a matplotlib figure. Imports matplotlib, the extra ``plot``, but never pyplot with its global state and windows.
Called by ``Result.plot``, which imports this module when it is called.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, ResultError
from .counts import count_patterns
from .formats.npy import Array
from .statistics import by_modes, mean_photon_number, photon_number_distribution, samples_of, whole_numbers

try:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ImportError as error:
    raise ConfigurationError("plotting needs matplotlib, which is not installed: pip install 'sfjobs[plot]'") from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREY = "#3576b8", "#e07b39", "#6b7280"
_MODE_COLOURS = ("#3576b8", "#e07b39", "#3a9270", "#a55aa0", "#b8963e", "#6b7280")
_MAX_PATTERNS = 12
_MAX_BARS = 60
_MAX_LABELLED_MODES = 16


class NotebookFigure(Figure):
    """A figure that notebooks display as PNG, also without an inline backend."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def draw(outputs: Sequence[Array], job_id: str = "") -> Figure:
    """
    Draw the samples: two axes side by side for photon numbers, one for homodyne and heterodyne outcomes.

    Raises:
        ResultError: there is nothing to draw.
    """
    samples = samples_of(outputs, job_id)
    kind = samples.dtype.kind
    if kind not in "biufc" or not samples.size:
        raise ResultError(f"samples of type {samples.dtype} and shape {samples.shape} cannot be drawn")
    samples = by_modes(samples, job_id)
    figure = NotebookFigure(figsize=(10, 3.8) if kind in "biu" else (5.4, 4.2), dpi=120, layout="constrained")
    if kind in "biu":
        left, right = figure.subplots(1, 2)
        _draw_distribution(left, samples, job_id)
        _draw_patterns(right, samples, job_id)
    elif kind == "f":
        _draw_quadratures(figure.subplots(), samples.astype(np.float64))
    else:
        _draw_phase_space(figure, samples.astype(np.complex128))
    job = f" · job {job_id}" if job_id.isprintable() and job_id else ""
    # The id comes from the platform: matplotlib would read a formula between two dollars, and refuse most.
    figure.suptitle(f"{_description(samples.shape)}{job}", fontsize=10, color=_GREY, parse_math=False)
    return figure


def _draw_distribution(axes: Axes, samples: Array, job_id: str) -> None:
    probabilities = photon_number_distribution(samples, job_id)
    numbers = np.arange(len(probabilities))
    mean = float(numbers @ probabilities)
    if len(numbers) <= _MAX_BARS:
        # One standard deviation of a share of that many shots.
        errors = np.sqrt(probabilities * (1 - probabilities) / len(samples))
        error_style = {"ecolor": _GREY, "elinewidth": 1}
        axes.bar(numbers, probabilities, width=0.8, color=_BLUE, yerr=errors, error_kw=error_style)
        axes.set_xlim(-0.7, max(len(numbers) - 0.3, 5.7))
    else:
        first = int(np.flatnonzero(probabilities)[0])
        axes.stairs(probabilities[first:], np.arange(first, len(numbers) + 1) - 0.5, fill=True, color=_BLUE)
    axes.axvline(mean, color=_ORANGE, linewidth=1.5, linestyle="--", label=f"mean {mean:.3g}")
    axes.legend(frameon=False)
    axes.set_ylim(0, 1.2 * float(probabilities.max()))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _label(axes, "Photons in a shot", "total photon number", "probability")


def _draw_patterns(axes: Axes, samples: Array, job_id: str) -> None:
    counts = count_patterns(whole_numbers(samples, job_id))
    if counts.patterns[0].size > _MAX_LABELLED_MODES or counts.frequencies[0] == 1 < len(counts):
        _draw_modes(axes, samples, job_id)
        return
    common = counts.most_common(_MAX_PATTERNS)
    shares = np.array([frequency for _, frequency in common]) / len(samples)
    positions = np.arange(len(common))
    axes.barh(positions, shares, height=0.72, color=_BLUE)
    for position, share in zip(positions.tolist(), shares.tolist(), strict=True):
        axes.text(share, position, f" {share:.1%}", va="center", ha="left", fontsize=8, color=_GREY)
    axes.set_yticks(positions, [_ket(pattern) for pattern, _ in common], fontfamily="monospace", fontsize=8)
    axes.set_ylim(max(len(common), 6) - 0.5, -0.5)
    axes.set_xlim(0, 1.15 * float(shares.max()))
    shown = f"{len(common)} of {len(counts):,} patterns, {shares.sum():.0%} of the shots"
    _label(axes, "Most frequent patterns", f"share of the shots ({shown})", "")


def _draw_modes(axes: Axes, samples: Array, job_id: str) -> None:
    """Draw the mean photon number of each mode; used where all patterns are rare or too long to write."""
    means = mean_photon_number(samples, job_id)
    if means.ndim == 2:
        for spatial, row in enumerate(means):
            colour = _MODE_COLOURS[spatial % len(_MODE_COLOURS)]
            axes.step(np.arange(len(row)), row, where="mid", color=colour, label=f"spatial mode {spatial}")
        if len(means) > 1:
            axes.legend(frameon=False)
    else:
        axes.bar(np.arange(means.size), means.ravel(), width=0.8, color=_BLUE)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _label(axes, "Photons in each mode", "timebin" if means.ndim == 2 else "mode", "mean photon number")


def _draw_quadratures(axes: Axes, samples: npt.NDArray[np.float64]) -> None:
    modes = samples.reshape(len(samples), -1).T
    finite = _finite(samples)
    bins = np.histogram_bin_edges(finite, bins=60).tolist()
    if len(modes) <= len(_MODE_COLOURS):
        for index, values in enumerate(modes):
            histogram = partial(
                axes.hist, values[np.isfinite(values)], bins=bins, density=True, color=_MODE_COLOURS[index]
            )
            histogram(histtype="stepfilled", alpha=0.12)
            histogram(histtype="step", label=f"mode {index}")
    else:
        axes.hist(finite, bins=bins, density=True, color=_BLUE, label=f"all {len(modes)} modes")
    if len(modes) > 1:
        axes.legend(frameon=False)
    _label(axes, "Homodyne outcomes", "quadrature", "probability density")


def _draw_phase_space(figure: Figure, samples: npt.NDArray[np.complex128]) -> None:
    axes = figure.subplots()
    values = _finite(samples)
    limit = 1.02 * max(float(np.abs(values.real).max()), float(np.abs(values.imag).max()), 1e-9)
    square = [[-limit, limit], [-limit, limit]]
    *_, image = axes.hist2d(values.real, values.imag, bins=61, range=square, cmap="Blues")
    colours = figure.colorbar(image, ax=axes, label="outcomes")
    colours.outline.set_visible(False)
    axes.set_aspect("equal")
    _label(axes, "Heterodyne outcomes of all modes", "Re α", "Im α")


def _finite(samples: npt.NDArray[np.inexact]) -> npt.NDArray[np.inexact]:
    values: npt.NDArray[np.inexact] = samples[np.isfinite(samples)]
    if not values.size:
        raise ResultError("none of the outcomes is a finite number")
    return values


def _description(shape: tuple[int, ...]) -> str:
    shots, modes = shape[:2]
    timebins = f" in {shape[2]:,} timebins" if len(shape) > 2 else ""
    return f"{shots:,} shots of {modes} mode{'s' if modes != 1 else ''}{timebins}"


def _ket(pattern: tuple[int, ...]) -> str:
    separator = "" if max(pattern) < 10 else ","
    return f"|{separator.join(map(str, pattern))}⟩"


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(color=_GREY)
