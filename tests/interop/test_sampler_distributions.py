"""
Photon counts of the platform against the density matrices of thewalrus: displaced pure states for each shot, on up to 6 modes,
and the sampler that the platform chooses.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2
from thewalrus.quantum import density_matrix_element
from thewalrus.random import random_interferometer
from thewalrus.symplectic import interferometer

from sfjobs.platform.program import Operation, Program
from sfjobs.platform.simulation import simulate
from sfjobs.platform.simulation.pure_states import PureStateSampler
from sfjobs.platform.simulation.state import GaussianState

pytestmark = [pytest.mark.interop, pytest.mark.real_time]

SHOTS = 20_000


def patterns(modes: int, photons: int) -> np.ndarray:
    """All patterns of at most this many photons."""
    rows = np.zeros((1, 0), dtype=int)
    for _ in range(modes):
        rows = np.concatenate([np.column_stack([rows, np.full(len(rows), n)]) for n in range(photons + 1)])
        rows = rows[rows.sum(axis=1) <= photons]
    return rows


def probability(means: np.ndarray, cov: np.ndarray, pattern: np.ndarray) -> float:
    """thewalrus with hbar = 2 as here: a loop hafnian of twice the number of photons."""
    counts = [int(count) for count in pattern]
    return float(np.real(density_matrix_element(means, cov, counts, counts)))


def p_value(samples: np.ndarray, means: np.ndarray, cov: np.ndarray, photons: int) -> float:
    """Pearson's chi-square test; patterns of more photons, and those expected fewer than 10 times, share one bin."""
    listed = patterns(len(cov) // 2, photons)
    wanted = len(samples) * np.array([probability(means, cov, pattern) for pattern in listed])
    keys = (samples.astype(int) @ 32 ** np.arange(len(listed[0]))).tolist()
    counts = dict(zip(*np.unique(keys, return_counts=True), strict=True))
    observed = np.array(
        [counts.get(key, 0) for key in (listed @ 32 ** np.arange(len(listed[0]))).tolist()], dtype=float
    )
    frequent = wanted >= 10
    observed, wanted = (np.append(of[frequent], len(samples) - of[frequent].sum()) for of in (observed, wanted))
    return float(chi2.sf(np.sum((observed - wanted) ** 2 / wanted), len(wanted) - 1))


def state(modes: int, transmission: float, displacement: float, heat: float) -> GaussianState:
    np.random.seed(modes)  # noqa: NPY002  # thewalrus draws from numpy's global generator
    mix = interferometer(random_interferometer(modes))
    squeezing = np.linspace(0.2, 0.6, modes)
    warm = 1 + heat * np.linspace(0, 1, modes)
    cov = mix @ np.diag(np.concatenate([warm * np.exp(-2 * squeezing), warm * np.exp(2 * squeezing)])) @ mix.T
    means = displacement * mix @ np.cos(np.arange(2 * modes))
    return GaussianState(math.sqrt(transmission) * means, transmission * cov + (1 - transmission) * np.eye(2 * modes))


KINDS = {
    "pure": (1.0, 0.0, 0.0),
    "lossy": (0.6, 0.0, 0.0),
    "displaced": (1.0, 0.8, 0.0),
    "thermal": (1.0, 0.0, 0.4),
    "mixed and displaced": (0.7, -0.7, 0.3),
}


@pytest.mark.parametrize("modes", [1, 2, 4, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_displaced_pure_states_follow_thewalrus(modes: int, kind: str) -> None:
    given = state(modes, *KINDS[kind])
    samples = PureStateSampler(given).sample(SHOTS, np.random.default_rng(modes))
    assert p_value(samples, given.means, given.cov, 6 if modes < 4 else 4) > 1e-4


def test_many_means_with_one_covariance_follow_thewalrus() -> None:
    given = state(3, 0.8, 0.0, 0.2)
    means = np.array([[0.0] * 6, [1.0, 0.0, -0.5, 0.0, 0.8, 0.3], [-0.4, 1.2, 0.0, 0.2, -0.1, 0.9]])
    which = np.arange(SHOTS) % 3
    samples = PureStateSampler(given, means[which]).sample(SHOTS, np.random.default_rng(4))
    for index, own in enumerate(means):
        assert p_value(samples[which == index], own, given.cov, 5) > 1e-4


def op(name: str, *arguments: Any, modes: Any) -> Operation:
    return Operation(name, arguments, {}, tuple(modes))


@pytest.mark.parametrize("shots", [300, 20_000])
def test_the_chosen_sampler_of_a_lossy_circuit_follows_thewalrus(shots: int) -> None:
    """Few shots are drawn from pure states, many from a table."""
    np.random.seed(6)  # noqa: NPY002
    unitary = random_interferometer(6)
    squeezing = np.linspace(0.5, 0.8, 6)
    gates = [op("Sgate", r, modes=[mode]) for mode, r in enumerate(squeezing)]
    loss = [op("LossChannel", 0.5, modes=[mode]) for mode in range(6)]
    rotated = [op("Sgate", 0.1, modes=[0])]
    program = Program(operations=(*gates, *loss, *rotated, op("Interferometer", unitary, modes=range(6)), fock(6)))
    mix = interferometer(unitary)
    variances = 0.5 * np.exp(np.concatenate([-2 * squeezing, 2 * squeezing])) + 0.5
    variances[0] *= math.exp(-0.2)
    variances[6] *= math.exp(0.2)
    samples = simulate(program, shots=shots, seed=3).array
    assert p_value(samples, np.zeros(12), mix @ np.diag(variances) @ mix.T, 4) > 1e-4


def fock(modes: int) -> Operation:
    return op("MeasureFock", modes=range(modes))
