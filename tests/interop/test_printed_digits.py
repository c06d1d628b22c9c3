"""
X8 programs whose unitary was printed with 6 to 16 digits, and printed symplectics and covariances, from Blackbird text: the same
sampler, and the exact distribution by thewalrus.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from sfjobs.platform.blackbird import parse
from sfjobs.platform.program import Samples
from sfjobs.platform.simulation import simulate


def imported(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed: run `nox -s interop`")


thewalrus = imported("thewalrus")
quantum = importlib.import_module("thewalrus.quantum")
symplectic = importlib.import_module("thewalrus.symplectic")
stats = importlib.import_module("scipy.stats")

pytestmark = [pytest.mark.interop]

U4 = stats.unitary_group.rvs(4, random_state=5)
U2, V2 = (stats.unitary_group.rvs(2, random_state=seed) for seed in (6, 7))
DIGITS = [6, 7, 8, 10, 16]
SHOTS = {0.2: 20_000, 0.6: 20_000, 1.0: 8_000, 1.5: 2_000}


def rows(matrix: np.ndarray, digits: int) -> Iterator[str]:
    for row in matrix:
        if np.iscomplexobj(matrix):
            yield "    " + ", ".join(f"{value.real:.{digits}f}{value.imag:+.{digits}f}j" for value in row)
        else:
            yield "    " + ", ".join(f"{value:.{digits}f}" for value in row)


def run(declaration: str, matrix: np.ndarray, digits: int, statements: list[str], shots: int) -> Samples:
    head = ["name printed", "version 1.0", "target gaussian (shots=1)", "", declaration]
    return simulate(parse("\n".join([*head, *rows(matrix, digits), "", *statements, ""])), shots=shots, seed=3)


def p_value(seen: np.ndarray, probabilities: np.ndarray, shots: int) -> float:
    """Pearson's chi-square test; outcomes expected fewer than 8 times and all others share one bin."""
    frequent = probabilities * shots >= 8
    observed = np.append(seen[frequent], shots - seen[frequent].sum())
    wanted = np.append(probabilities[frequent] * shots, shots * (1 - probabilities[frequent].sum()))
    assert np.count_nonzero(frequent) >= 3
    return float(stats.chi2.sf(np.sum((observed - wanted) ** 2 / np.maximum(wanted, 1)), np.count_nonzero(frequent)))


def table(samples: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    seen = np.zeros(shape)
    inside = samples[np.all(samples < shape, axis=1)].astype(int)
    np.add.at(seen, tuple(inside.T), 1)
    return seen


@cache
def pair_probabilities(r: float) -> dict[tuple[int, ...], float]:
    """The probabilities of up to two pairs of photons of ``exp(tanh(r) sum C_ij a_i^dagger b_j^dagger) |0>``."""
    coupling = math.tanh(r) * U4 @ U4.T
    result = {}
    for pairs in range(3):
        sides = [pattern for pattern in product(range(pairs + 1), repeat=4) if sum(pattern) == pairs]
        for signal, idler in product(sides, sides):
            index = np.ix_(np.repeat(range(4), signal), np.repeat(range(4), idler))
            amplitude = thewalrus.perm(np.ascontiguousarray(coupling[index])) if pairs else 1.0
            factorials = math.prod(math.factorial(n) for n in signal + idler)
            result[signal + idler] = abs(amplitude) ** 2 / factorials / math.cosh(r) ** 8
    return result


def two_mode_table(means: np.ndarray, cov: np.ndarray, cutoff: int = 5) -> np.ndarray:
    """The probabilities of fewer photons than ``cutoff`` in each of two modes, each by thewalrus' loop hafnian."""
    result = np.empty((cutoff, cutoff))
    for pattern in product(range(cutoff), repeat=2):
        result[pattern] = quantum.density_matrix_element(means, cov, list(pattern), list(pattern)).real
    return result


@cache
def coincidences(r: float, mode: int) -> np.ndarray:
    """The joint probabilities of the counts of one mode and of the same mode of the other half."""
    transform = np.eye(16)
    for k in range(4):
        transform = symplectic.expand(symplectic.two_mode_squeezing(r, 0), [k, k + 4], 8) @ transform
    for half in ([0, 1, 2, 3], [4, 5, 6, 7]):
        transform = symplectic.expand(symplectic.interferometer(U4), half, 8) @ transform
    both = [mode, mode + 4, mode + 8, mode + 12]
    return two_mode_table(np.zeros(4), (transform @ transform.T)[np.ix_(both, both)])


@pytest.mark.parametrize("r", SHOTS)
@pytest.mark.parametrize("digits", DIGITS)
def test_an_x8_program_with_a_printed_unitary_has_the_exact_distribution(digits: int, r: float) -> None:
    shots = SHOTS[r]
    gates = [f"S2gate({r}, 0.0) | [{k}, {k + 4}]" for k in range(4)]
    halves = [f"Interferometer(U) | {half}" for half in ([0, 1, 2, 3], [4, 5, 6, 7])]
    measured = [f"MeasureFock() | {list(range(8))}"]
    samples = run("complex array U[4, 4] =", U4, digits, [*gates, *halves, *measured], shots)
    counts = samples.array.astype(int)
    assert samples.meta["sampler"] == "x-series exact"
    assert ("matrix_correction" in samples.meta) == (digits < 12)
    assert np.array_equal(counts[:, :4].sum(1), counts[:, 4:].sum(1))

    pairs = np.arange(200)
    totals = [math.comb(n + 3, 3) * math.tanh(r) ** (2 * n) / math.cosh(r) ** 8 for n in pairs]
    seen = np.bincount(counts[:, :4].sum(1), minlength=200)[:200]
    assert p_value(seen, np.array(totals), shots) > 1e-4

    exact = pair_probabilities(r)
    drawn = [tuple(row) for row in counts.tolist()]
    patterns = {pattern: index for index, pattern in enumerate(exact)}
    seen = np.bincount([patterns[row] for row in drawn if row in patterns], minlength=len(exact))
    expected = np.array(list(exact.values()))
    if r <= 1:
        assert p_value(seen, expected, shots) > 1e-4
    for mode in range(4):
        joint = coincidences(r, mode)
        assert p_value(table(counts[:, [mode, mode + 4]], joint.shape), joint, shots) > 1e-4


ACTIVE = symplectic.interferometer(U2) @ np.diag(np.exp([-0.7, 0.4, 0.7, -0.4])) @ symplectic.interferometer(V2)
MEANS = np.array([0.4, -0.7, 0.2, 0.9])
NOISE = {"pure": [1, 1], "thermal": [1.6, 1.3], "one thermal normal mode": [1, 1.5]}


@cache
def state(noise: str, displaced: bool) -> tuple[np.ndarray, np.ndarray]:
    """A covariance, and the probabilities of its counts, which are displaced by ``MEANS`` if asked."""
    cov = ACTIVE @ np.diag(NOISE[noise] * 2) @ ACTIVE.T
    return (cov + cov.T) / 2, two_mode_table(MEANS * displaced, cov)


@pytest.mark.parametrize("digits", DIGITS)
def test_a_printed_symplectic_has_the_exact_distribution(digits: int) -> None:
    statements = ["GaussianTransform(S) | [0, 1]", "MeasureFock() | [0, 1]"]
    samples = run("float array S[4, 4] =", ACTIVE, digits, statements, 20_000)
    _, exact = state("pure", False)
    assert samples.meta["sampler"] == "amplitude table"
    assert p_value(table(samples.array, exact.shape), exact, 20_000) > 1e-4


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("displaced", [False, True])
@pytest.mark.parametrize("digits", DIGITS)
def test_a_printed_covariance_has_the_exact_distribution(digits: int, displaced: bool, noise: str) -> None:
    cov, exact = state(noise, displaced)
    shifts = [f"Xgate({MEANS[k] * displaced}) | {k}\nZgate({MEANS[k + 2] * displaced}) | {k}" for k in range(2)]
    statements = ["Gaussian(V) | [0, 1]", *shifts, "MeasureFock() | [0, 1]"]
    samples = run("float array V[4, 4] =", cov, digits, statements, 20_000)
    assert samples.meta["sampler"] == "amplitude table"
    assert p_value(table(samples.array, exact.shape), exact, 20_000) > 1e-4
