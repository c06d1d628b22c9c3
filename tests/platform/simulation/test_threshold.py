"""
Clicks of threshold detectors on more modes than a table holds. Exact probabilities come from thewalrus, pair correlations from
vacuum probabilities that are written out here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, unitary_group
from thewalrus import threshold_detection_prob
from thewalrus.symplectic import interferometer

from sfjobs.platform.program import Operation, Program, ProgramError, Samples
from sfjobs.platform.simulation import simulate
from sfjobs.platform.simulation.state import GaussianState
from sfjobs.platform.simulation.torontonian import TorontonianSampler

SHOTS = 20_000


def squeezed_state(modes: int, transmission: float, displacement: float) -> tuple[np.ndarray, np.ndarray]:
    """Squeezed and displaced modes, an interferometer and loss: means and covariance, hbar = 2, all x before all p."""
    squeezing = np.linspace(0.2, 0.7, modes)
    mix = interferometer(unitary_group.rvs(modes, random_state=modes))
    cov = mix @ np.diag(np.exp(np.concatenate([-2 * squeezing, 2 * squeezing]))) @ mix.T
    means = mix @ (2 * displacement * np.cos(np.arange(2 * modes)))
    return math.sqrt(transmission) * means, transmission * cov + (1 - transmission) * np.eye(2 * modes)


def p_value(observed: np.ndarray, wanted: np.ndarray) -> float:
    """Pearson's chi-square test; outcomes expected fewer than 10 times share one bin."""
    rare = wanted < 10
    observed = np.append(observed[~rare], observed[rare].sum())
    wanted = np.append(wanted[~rare], wanted[rare].sum())
    return float(chi2.sf(np.sum((observed - wanted) ** 2 / np.maximum(wanted, 1e-9)), len(wanted) - 1))


STATES = {
    "6 modes, pure": (6, 1.0, 0.0),
    "6 modes, lossy": (6, 0.6, 0.0),
    "6 modes, displaced": (6, 1.0, 0.3),
    "6 modes, lossy and displaced": (6, 0.7, 0.4),
    "8 modes, lossy": (8, 0.5, 0.0),
}


@pytest.mark.parametrize("case", STATES)
def test_clicks_follow_the_exact_probabilities(case: str) -> None:
    modes, transmission, displacement = STATES[case]
    means, cov = squeezed_state(modes, transmission, displacement)
    patterns = np.arange(1 << modes)[:, None] >> np.arange(modes) & 1
    exact = np.array([threshold_detection_prob(means, cov, pattern) for pattern in patterns]).real
    assert exact.sum() == pytest.approx(1, abs=1e-9)
    clicks, error = TorontonianSampler(GaussianState(means, cov)).sample(SHOTS, np.random.default_rng(5))
    counts = np.bincount(clicks.astype(int) @ (1 << np.arange(modes)), minlength=1 << modes)
    assert p_value(counts, SHOTS * exact) > 1e-4
    assert error < 1e-9


@pytest.mark.parametrize(("transmission", "displacement"), [(1.0, 0.0), (0.6, 0.0), (0.8, 0.2)])
def test_frequent_patterns_of_twelve_modes_follow_the_exact_probabilities(
    transmission: float, displacement: float
) -> None:
    means, cov = squeezed_state(12, transmission, displacement)
    clicks, _ = TorontonianSampler(GaussianState(means, cov)).sample(SHOTS, np.random.default_rng(6))
    patterns = [np.zeros(12, dtype=int), *np.eye(12, dtype=int), *(np.arange(12) >= first for first in range(8, 11))]
    patterns = [np.asarray(pattern, dtype=int) for pattern in patterns]
    wanted = SHOTS * np.array([threshold_detection_prob(means, cov, pattern).real for pattern in patterns])
    counts = np.array([np.sum(np.all(clicks == pattern, axis=1)) for pattern in patterns])
    others = np.append(counts, SHOTS - counts.sum()), np.append(wanted, SHOTS - wanted.sum())
    assert p_value(*others) > 1e-4


def op(name: str, *arguments: Any, modes: int, **keywords: Any) -> Operation:
    return Operation(name, arguments, keywords, tuple(range(modes)))


def planted_graph(nodes: int) -> np.ndarray:
    """A random graph with a dense part."""
    rng = np.random.default_rng(nodes)
    dense = np.arange(nodes) < nodes // 3
    chance = np.where(dense[:, None] & dense, 0.9, 0.3)
    upper = np.triu(rng.random((nodes, nodes)) < chance, 1).astype(float)
    return upper + upper.T


def sample_graph(nodes: int, mean: float, shots: int) -> Samples:
    embed = op("GraphEmbed", planted_graph(nodes), modes=nodes, mean_photon_per_mode=mean)
    return simulate(Program(operations=(embed, op("MeasureThreshold", modes=nodes))), shots=shots, seed=11)


def graph_husimi(adjacency: np.ndarray, mean: float) -> np.ndarray:
    """Return ``<a a^dagger>`` of the embedded graph, with all moments (2n, 2n); its minors are vacuum probabilities."""
    values, vectors = np.linalg.eigh(adjacency)
    low, high = 0.0, 1 / np.max(np.abs(values))
    for _ in range(100):
        scale = (low + high) / 2
        squares = (scale * values) ** 2
        low, high = (low, scale) if np.sum(squares / (1 - squares)) > mean * len(values) else (scale, high)
    tanh = low * values
    number = (vectors / (1 - tanh**2)) @ vectors.T
    anomalous = (vectors * (tanh / (1 - tanh**2))) @ vectors.T
    return np.block([[number, anomalous], [anomalous, number]])


@pytest.mark.parametrize(("nodes", "mean", "shots"), [(14, 0.5, SHOTS), (30, 0.1, 4000)])
def test_pairs_of_a_graph_click_with_their_exact_probabilities(nodes: int, mean: float, shots: int) -> None:
    samples = sample_graph(nodes, mean, shots)
    assert samples.meta["sampler"] == "torontonian"
    husimi = graph_husimi(planted_graph(nodes), mean)

    def dark(*modes: int) -> float:
        where = np.concatenate([modes, np.array(modes) + nodes])
        return float(1 / math.sqrt(np.linalg.det(husimi[np.ix_(where, where)])))

    deviations = []
    for first in range(nodes):
        for second in range(first):
            a, b, both = dark(first), dark(second), dark(first, second)
            exact = np.array([both, a - both, b - both, 1 - a - b + both])
            patterns = 2 * samples.array[:, first].astype(int) + samples.array[:, second]
            counts = np.bincount(patterns, minlength=4)[[0, 1, 2, 3]]
            deviations.append((counts - shots * exact) / np.sqrt(shots * exact * (1 - exact)))
    # Normal deviates, at most 4 * 435 of them and correlated.
    assert np.max(np.abs(deviations)) < 5.3
    assert 0.8 < np.sqrt(np.mean(np.square(deviations))) < 1.25


def test_few_modes_still_use_the_table_of_patterns() -> None:
    assert sample_graph(10, 0.5, 50).meta["sampler"] == "click table"


def test_a_shot_with_too_many_clicks_is_refused_before_the_run() -> None:
    """Forty bright modes: 2^35 terms."""
    with pytest.raises(ProgramError) as caught:
        sample_graph(40, 5.0, 100)
    assert caught.value.code == "simulation-limit"
