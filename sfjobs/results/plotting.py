"""
A result as a matplotlib figure. matplotlib is the extra ``plot`` and is imported here when a figure is wanted; pyplot, with
its global state and its windows, never is. Called by ``Result.plot``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, ResultError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .result import Result

_BLUE, _ORANGE, _GREY = "#3576b8", "#e07b39", "#6b7280"
_MODE_COLOURS = ("#3576b8", "#e07b39", "#3a9270", "#a55aa0", "#b8963e", "#6b7280")
_PATTERNS = 12
_MOST_BARS = 60
_MOST_LABELLED_MODES = 16


def draw(result: Result) -> Figure:
    """Two pictures side by side for photon numbers, one for homodyne and heterodyne outcomes."""
    try:
        import matplotlib.figure
    except ImportError as error:
        raise ConfigurationError(
            "plotting needs matplotlib, which is not installed: pip install 'sfjobs[plot]'"
        ) from error

    from .picture import Picture

    kind = result.samples.dtype.kind
    if kind not in "biufc" or not result.samples.size:
        raise ResultError(f"samples of type {result.samples.dtype} and shape {result.samples.shape} have no picture")
    figure: matplotlib.figure.Figure = Picture(
        figsize=(10, 3.8) if kind in "biu" else (5.4, 4.2), dpi=120, layout="constrained"
    )
    if kind in "biu":
        distribution, patterns = figure.subplots(1, 2)
        _draw_distribution(distribution, result)
        _draw_patterns(patterns, result)
    elif kind == "f":
        _draw_quadratures(figure.subplots(), result.samples.astype(np.float64))
    else:
        _draw_phase_space(figure, result.samples.astype(np.complex128))
    job = f" · job {result.job_id}" if result.job_id.isprintable() and result.job_id else ""
    # An id is not ours: matplotlib would read a formula between two dollars, and refuse most.
    figure.suptitle(f"{_described(result)}{job}", fontsize=10, color=_GREY, parse_math=False)
    return figure


def _draw_distribution(axes: Axes, result: Result) -> None:
    from matplotlib.ticker import MaxNLocator

    probabilities = result.photon_number_distribution()
    numbers = np.arange(len(probabilities))
    mean = float(numbers @ probabilities)
    if len(numbers) <= _MOST_BARS:
        # One standard deviation of a share of that many shots.
        errors = np.sqrt(probabilities * (1 - probabilities) / result.shots)
        axes.bar(
            numbers, probabilities, width=0.8, color=_BLUE, yerr=errors, error_kw={"ecolor": _GREY, "elinewidth": 1}
        )
        axes.set_xlim(-0.7, max(len(numbers) - 0.3, 5.7))
    else:
        first = int(np.flatnonzero(probabilities)[0])
        axes.stairs(probabilities[first:], np.arange(first, len(numbers) + 1) - 0.5, fill=True, color=_BLUE)
    axes.axvline(mean, color=_ORANGE, linewidth=1.5, linestyle="--", label=f"mean {mean:.3g}")
    axes.legend(frameon=False)
    axes.set_ylim(0, 1.2 * float(probabilities.max()))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _name(axes, "Photons in a shot", "total photon number", "probability")


def _draw_patterns(axes: Axes, result: Result) -> None:
    counts = result.counts()
    modes = counts.patterns[0].size
    if modes > _MOST_LABELLED_MODES or counts.frequencies[0] == 1 < len(counts):
        _draw_modes(axes, result)
        return
    common = counts.most_common(_PATTERNS)
    shares = np.array([frequency for _, frequency in common]) / result.shots
    places = np.arange(len(common))
    axes.barh(places, shares, height=0.72, color=_BLUE)
    for place, share in zip(places.tolist(), shares.tolist(), strict=True):
        axes.text(share, place, f" {share:.1%}", va="center", ha="left", fontsize=8, color=_GREY)
    axes.set_yticks(places, [_ket(pattern) for pattern, _ in common], fontfamily="monospace", fontsize=8)
    axes.set_ylim(max(len(common), 6) - 0.5, -0.5)
    axes.set_xlim(0, 1.15 * float(shares.max()))
    shown = f"{len(common)} of {len(counts):,} patterns, {shares.sum():.0%} of the shots"
    _name(axes, "Most frequent patterns", f"share of the shots ({shown})", "")


def _draw_modes(axes: Axes, result: Result) -> None:
    """Where no pattern stands out, or none can be written down: the mean photon number of each mode."""
    from matplotlib.ticker import MaxNLocator

    means = result.mean_photon_number()
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
    _name(axes, "Photons in each mode", "timebin" if means.ndim == 2 else "mode", "mean photon number")


def _draw_quadratures(axes: Axes, samples: npt.NDArray[np.float64]) -> None:
    modes = samples.reshape(len(samples), -1).T
    finite = samples[np.isfinite(samples)]
    if not finite.size:
        raise ResultError("none of the outcomes is a finite number")
    bins = np.histogram_bin_edges(finite, bins=60).tolist()
    if len(modes) <= len(_MODE_COLOURS):
        for index, values in enumerate(modes):
            colour = _MODE_COLOURS[index]
            axes.hist(
                values[np.isfinite(values)], bins=bins, density=True, histtype="stepfilled", alpha=0.12, color=colour
            )
            axes.hist(
                values[np.isfinite(values)],
                bins=bins,
                density=True,
                histtype="step",
                color=colour,
                label=f"mode {index}",
            )
        if len(modes) > 1:
            axes.legend(frameon=False)
    else:
        axes.hist(finite, bins=bins, density=True, color=_BLUE, label=f"all {len(modes)} modes")
        axes.legend(frameon=False)
    _name(axes, "Homodyne outcomes", "quadrature", "probability density")


def _draw_phase_space(figure: Figure, samples: npt.NDArray[np.complex128]) -> None:
    axes = figure.subplots()
    values = samples[np.isfinite(samples)]
    if not values.size:
        raise ResultError("none of the outcomes is a finite number")
    reach = 1.02 * max(float(np.abs(values.real).max()), float(np.abs(values.imag).max()), 1e-9)
    square = [[-reach, reach], [-reach, reach]]
    *_, image = axes.hist2d(values.real, values.imag, bins=61, range=square, cmap="Blues")
    colours = figure.colorbar(image, ax=axes, label="outcomes")
    colours.outline.set_visible(False)
    axes.set_aspect("equal")
    _name(axes, "Heterodyne outcomes of all modes", "Re α", "Im α")


def _described(result: Result) -> str:
    modes = result.samples.shape[1] if result.samples.ndim > 1 else 1
    timebins = f" in {result.samples.shape[2]:,} timebins" if result.samples.ndim > 2 else ""
    return f"{result.shots:,} shots of {modes} mode{'s' if modes != 1 else ''}{timebins}"


def _ket(pattern: tuple[int, ...]) -> str:
    separator = "" if max(pattern) < 10 else ","
    return f"|{separator.join(map(str, pattern))}⟩"


def _name(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(color=_GREY)
