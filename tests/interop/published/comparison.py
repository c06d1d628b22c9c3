"""Samples against the exact state: every comparison gives p-values, and the least of them times their number is tested."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from scipy import stats

from tests.interop.published.exact import (
    Array,
    Measured,
    Reading,
    click_table,
    is_pure,
    photon_moments,
    photon_table,
    quadratures,
    vacuum_probability,
)

SMALLEST_P = 1e-4
_MAX_JOINT = 8
_MAX_MIXED = 6
"""Modes whose counts are compared in one table: of pure states; of others, and of clicks."""
_MAX_GROUPS = 8
_LEAST_EXPECTED = 8.0

PValues = Iterator[tuple[str, float]]
"""What was compared, and the p-value."""


def check_samples(state: Measured, samples: Array) -> None:
    """Raise ``AssertionError`` unless ``samples`` (shots, detectors) follow the state."""
    assert samples.ndim == 2
    assert len(samples) >= 1000, "too few for statistics"
    assert samples.shape[1] == len(state.detectors), f"{samples.shape[1]} columns for {len(state.detectors)} detectors"
    found = list(p_values(state, samples))
    assert found
    least, where = min((p, name) for name, p in found)
    assert least * len(found) > SMALLEST_P, f"{where}: p = {least:.3g}, the least of {len(found)}"


def p_values(state: Measured, samples: Array) -> PValues:
    """Compare each kind of detectors, and the kinds with each other."""
    columns = list(enumerate(state.detectors))
    dyne = [(k, reading) for k, reading in columns if reading.kind in {"MeasureHomodyne", "MeasureHeterodyne"}]
    counters = [(k, reading) for k, reading in columns if reading.kind in {"MeasureFock", "MeasureThreshold"}]
    readings = np.empty((len(samples), 0))
    if dyne:
        readings = real_readings(samples[:, [k for k, _ in dyne]], [reading for _, reading in dyne])
        means, cov, _ = quadratures(state, [reading for _, reading in dyne])
        yield from normal_p_values(readings, means, cov)
    if counters:
        counts = np.real(samples[:, [k for k, _ in counters]])
        assert np.array_equal(counts, np.round(counts))
        detectors = [reading for _, reading in counters]
        yield from _counts(state, counts.astype(int), detectors)
        if dyne:
            yield from _crossed(state, readings, [reading for _, reading in dyne], counts, detectors)


def real_readings(samples: Array, detectors: list[Reading]) -> Array:
    """Return the readings (shots, readings): x and p of a heterodyne detector are twice the parts of its amplitude."""
    columns = []
    for column, detector in zip(samples.T, detectors, strict=True):
        if detector.kind == "MeasureHomodyne":
            assert not np.iscomplexobj(column) or not column.imag.any()
            columns.append(column.real)
        else:
            columns += [2 * column.real, 2 * column.imag]
    return np.stack(columns, axis=1)


def normal_p_values(readings: Array, means: Array, cov: Array) -> PValues:
    """Compare with a normal distribution: each reading, then each principal axis and all their products."""
    shots = len(readings)
    for k, column in enumerate(readings.T):
        yield f"reading {k}", stats.kstest(column, stats.norm(means[k], np.sqrt(cov[k, k])).cdf).pvalue
    values, vectors = np.linalg.eigh(cov)
    assert values[0] > 1e-13 * values[-1], "the exact covariance is singular"
    axes = (readings - means) @ vectors / np.sqrt(values)
    for k, column in enumerate(axes.T):
        yield f"axis {k}", stats.kstest(column, stats.norm.cdf).pvalue
        yield f"variance of axis {k}", _two_sided((np.sum(column**2) - shots) / np.sqrt(2 * shots))
    for i, j in combinations(range(len(values)), 2):
        yield f"axes {i} and {j}", _two_sided(np.sum(axes[:, i] * axes[:, j]) / np.sqrt(shots))


def _counts(state: Measured, counts: Array, detectors: list[Reading]) -> PValues:
    only_clicks = all(detector.kind == "MeasureThreshold" for detector in detectors)
    if not any(detector.kind == "MeasureThreshold" for detector in detectors):
        yield from _moments(counts, *photon_moments(state, detectors))
    most = _MAX_JOINT if not only_clicks and is_pure(state, detectors) else _MAX_MIXED
    for size in sorted({min(len(detectors), size) for size in (2, 3, most)}):
        groups = list(combinations(range(len(detectors)), size))
        for group in groups[:: 1 + (len(groups) - 1) // _MAX_GROUPS]:
            chosen = [detectors[k] for k in group]
            if only_clicks:
                table = click_table(state, [detector.mode for detector in chosen])
            else:
                table = photon_table(state, chosen)
                has_click = any(detector.kind == "MeasureThreshold" for detector in chosen)
                assert not has_click or table.sum() > 1 - 1e-5, "the cutoff is too low to tell clicks"
            yield f"counts of columns {group}", chi_square(counts[:, group], table)


def chi_square(counts: Array, table: Array) -> float:
    """Return the p-value of counts (shots, k) against their joint probabilities; rare patterns are one cell together."""
    shots = len(counts)
    assert table.min() > -1e-9
    assert table.sum() < 1 + 1e-9
    inside = np.all(counts < table.shape, axis=1)
    observed = np.zeros(table.shape)
    np.add.at(observed, tuple(counts[inside].T), 1)
    expected = np.maximum(table, 0) * shots
    often = expected >= _LEAST_EXPECTED
    cells, wanted = list(observed[often]), list(expected[often])
    seen, rest = shots - sum(cells), shots - sum(wanted)
    impossible = observed[table < 1e-12].sum()
    if impossible:
        return 0.0
    if rest < _LEAST_EXPECTED and cells:
        least = int(np.argmin(wanted))
        cells[least], wanted[least] = cells[least] + seen, wanted[least] + rest
    else:
        cells, wanted = [*cells, seen], [*wanted, rest]
    if len(cells) == 1:
        return 1.0
    statistic = sum((np.array(cells) - wanted) ** 2 / np.array(wanted))
    return float(stats.chi2(len(cells) - 1).sf(statistic))


def _moments(counts: Array, means: Array, cov: Array) -> PValues:
    centred = counts - means
    for i, column in enumerate(centred.T):
        yield f"mean of column {i}", _against(column, 0.0)
        for j in range(i, len(means)):
            yield f"covariance of columns {i} and {j}", _against(column * centred[:, j], cov[i, j])


def _crossed(state: Measured, readings: Array, dyne: list[Reading], counts: Array, counters: list[Reading]) -> PValues:
    """Compare moments of quadratures with counts: n is (x^2 + p^2) / 4 in phase space, no click the vacuum's projection."""
    means, _, rows = quadratures(state, dyne)
    centred = readings - means
    m = len(state.means) // 2
    for k, counter in enumerate(counters):
        mean, own = state.reduced([counter.mode])
        link = (rows @ state.cov)[:, [counter.mode, counter.mode + m]]
        if counter.kind == "MeasureFock":
            number = counts[:, k] - (np.trace(own) / 4 + mean @ mean / 4 - 0.5 + counter.dark_counts)
            first, second = link @ mean / 2, link @ link.T / 2
        else:
            vacuum = vacuum_probability(state, [counter.mode])
            gain = link @ np.linalg.inv(own + np.eye(2))
            number = (counts[:, k] == 0) - vacuum
            shift = -gain @ mean
            first = vacuum * shift
            second = vacuum * (np.outer(shift, shift) - gain @ link.T)
        for i in range(len(means)):
            yield f"reading {i} with column {k} of the counts", _against(centred[:, i] * number, first[i])
            for j in range(i, len(means)):
                value = centred[:, i] * centred[:, j] * number
                yield f"readings {i} and {j} with column {k} of the counts", _against(value, second[i, j])


def _against(values: Array, expected: float) -> float:
    """Return the p-value of the mean of ``values``, by their own standard error."""
    error = values.std() / np.sqrt(len(values))
    if error == 0:
        return 1.0 if abs(values.mean() - expected) < 1e-6 else 0.0
    return _two_sided((values.mean() - expected) / error)


def _two_sided(z: float) -> float:
    return float(2 * stats.norm.sf(abs(z)))
