"""
Programs whose matrices were printed with few digits: they have the sampler and the distribution of the exact ones. The oracle is
the formula of photon-number probabilities as loop hafnians, expanded here term by term.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, unitary_group

from sfjobs.platform.program import ArrayParameter, Operation, Program, ProgramError, Samples
from sfjobs.platform.simulation import simulate

U2, V2, U4 = (unitary_group.rvs(size, random_state=seed) for size, seed in ((2, 6), (2, 7), (4, 5)))
DIGITS = [6, 7, 8, 10, 16]
SHOTS = 20_000


def op(name: str, *arguments: Any, modes: Any, **keywords: Any) -> Operation:
    return Operation(name, arguments, keywords, tuple(modes), 3)


def run(*operations: Operation, shots: int = SHOTS) -> Samples:
    modes = sorted({mode for operation in operations for mode in operation.modes})
    return simulate(Program(operations=(*operations, op("MeasureFock", modes=modes))), shots=shots, seed=11)


def printed(matrix: np.ndarray, digits: int, form: str = "f") -> np.ndarray:
    """The matrix read back from a text with this many digits; of 16 digits as many as there are."""
    form = f".{digits}{form}" if digits < 16 else ".17g"
    numbers = [float(f"{part:{form}}") for part in np.stack([matrix.real, matrix.imag]).ravel()]
    real, imag = np.reshape(numbers, (2, *matrix.shape))
    return np.asarray(real + 1j * imag if np.iscomplexobj(matrix) else real)


def quadratures(passive: np.ndarray) -> np.ndarray:
    return np.block([[passive.real, -passive.imag], [passive.imag, passive.real]])


def squeezers(*strengths: float) -> np.ndarray:
    return np.diag(np.exp([*np.negative(strengths), *strengths]))


def two_mode_squeezers(*strengths: float) -> np.ndarray:
    c, s = np.diag(np.cosh(strengths)), np.diag(np.sinh(strengths))
    nothing = np.zeros((2 * len(c), 2 * len(c)))
    return np.block([[np.block([[c, s], [s, c]]), nothing], [nothing, np.block([[c, -s], [-s, c]])]])


def on_halves(unitary: np.ndarray) -> np.ndarray:
    return quadratures(np.kron(np.eye(2), unitary))


def loop_hafnian(matrix: np.ndarray, loops: np.ndarray) -> complex:
    if not len(loops):
        return 1.0
    total = loops[0] * loop_hafnian(matrix[1:, 1:], loops[1:])
    for k in range(1, len(loops)):
        rest = [j for j in range(1, len(loops)) if j != k]
        total += matrix[0, k] * loop_hafnian(matrix[np.ix_(rest, rest)], loops[rest])
    return complex(total)


def probabilities(cov: np.ndarray, means: np.ndarray | None = None, photons: int = 3) -> dict[tuple[int, ...], float]:
    """Exact probabilities of all patterns with few photons of the Gaussian state (hbar = 2, all x before all p)."""
    m = len(cov) // 2
    ladder = np.block([[np.eye(m), 1j * np.eye(m)], [np.eye(m), -1j * np.eye(m)]]) / 2  # (x, p) to (a, a^dagger)
    q = ladder @ cov @ ladder.conj().T + np.eye(2 * m) / 2
    beta = ladder @ (np.zeros(2 * m) if means is None else means)
    inverse = np.linalg.inv(q)
    exchanged = np.roll(np.eye(2 * m), m, axis=0)
    matrix, loops = exchanged @ (np.eye(2 * m) - inverse), beta.conj() @ inverse
    vacuum = math.exp(-(beta.conj() @ inverse @ beta).real / 2) / math.sqrt(np.linalg.det(q).real)
    result = {}
    for pattern in product(range(photons + 1), repeat=m):
        if sum(pattern) <= photons:
            index = np.repeat(np.arange(2 * m), pattern * 2)
            value = loop_hafnian(matrix[np.ix_(index, index)], loops[index]).real
            result[pattern] = vacuum * value / math.prod(math.factorial(n) for n in pattern)
    return result


def p_value(samples: np.ndarray, exact: dict[tuple[int, ...], float]) -> float:
    """Pearson's chi-square test; patterns expected fewer than 8 times and all others share one bin."""
    observed, shots = Counter(map(tuple, samples.tolist())), len(samples)
    frequent = [pattern for pattern, probability in exact.items() if probability * shots >= 8]
    seen = [observed[pattern] for pattern in frequent]
    wanted = [exact[pattern] * shots for pattern in frequent]
    seen, wanted = np.array([*seen, shots - sum(seen)]), np.array([*wanted, shots - sum(wanted)])
    assert len(frequent) >= 3
    return float(chi2.sf(np.sum((seen - wanted) ** 2 / np.maximum(wanted, 1)), len(frequent)))


@dataclass
class Case:
    """``operations`` of a matrix with ``digits``; the state has this covariance if they are exact."""

    operation: str
    matrix: np.ndarray
    cov: np.ndarray
    sampler: str
    before: tuple[Operation, ...] = ()
    means: tuple[float, ...] | None = None

    @property
    def modes(self) -> range:
        return range(len(self.cov) // 2)


ACTIVE = quadratures(U2) @ squeezers(0.7, -0.4) @ quadratures(V2)
TWIN_BEAMS = on_halves(U2) @ two_mode_squeezers(0.7, 0.5)
WEAKER = U2 @ np.diag([1, 0.8]) @ V2
TWO_MODE_SQUEEZED = (op("S2gate", 0.7, 0.0, modes=[0, 2]), op("S2gate", 0.5, 0.0, modes=[1, 3]))
SQUEEZED = (op("Sgate", 0.7, 0.0, modes=[0]), op("Sgate", -0.4, 0.0, modes=[1]))


def noisy(*nu: float) -> np.ndarray:
    return np.asarray(ACTIVE @ np.diag([*nu, *nu]) @ ACTIVE.T)


def after(channel: np.ndarray) -> np.ndarray:
    real = quadratures(channel)
    return np.asarray(real @ squeezers(1.4, -0.8) @ real.T + np.eye(4) - real @ real.T)


TABLE, PAIRS = "amplitude table", "x-series exact"
CASES = {
    "interferometer": Case("Interferometer", U2, after(U2), TABLE, SQUEEZED),
    "symplectic": Case("GaussianTransform", ACTIVE, noisy(1, 1), TABLE),
    "orthogonal symplectic": Case("GaussianTransform", quadratures(U2), after(U2), TABLE, SQUEEZED),
    "symplectic of twin beams": Case("GaussianTransform", TWIN_BEAMS, TWIN_BEAMS @ TWIN_BEAMS.T, PAIRS),
    "pure": Case("Gaussian", noisy(1, 1), noisy(1, 1), TABLE),
    "pure and displaced": Case("Gaussian", noisy(1, 1), noisy(1, 1), TABLE, means=(0.4, -0.7, 0.2, 0.9)),
    "thermal": Case("Gaussian", noisy(1.3, 1.1), noisy(1.3, 1.1), TABLE),
    "thermal and displaced": Case("Gaussian", noisy(1.3, 1.1), noisy(1.3, 1.1), TABLE, means=(0.4, -0.7, 0.2, 0.9)),
    "one thermal normal mode": Case("Gaussian", noisy(1, 1.4), noisy(1, 1.4), TABLE),
    "twin beams": Case("Gaussian", TWIN_BEAMS @ TWIN_BEAMS.T, TWIN_BEAMS @ TWIN_BEAMS.T, PAIRS),
    "lossless channel": Case("PassiveChannel", U2, after(U2), TABLE, SQUEEZED),
    "lossless channel behind pairs": Case(
        "PassiveChannel", np.kron(np.eye(2), U2), TWIN_BEAMS @ TWIN_BEAMS.T, PAIRS, TWO_MODE_SQUEEZED
    ),
    "channel with one lossy mode": Case("PassiveChannel", WEAKER, after(WEAKER), TABLE, SQUEEZED),
}


@pytest.mark.parametrize("name", CASES)
def test_the_sampler_and_the_distribution_do_not_depend_on_the_digits(name: str) -> None:
    case = CASES[name]
    exact = probabilities(case.cov, None if case.means is None else np.array(case.means))
    keywords = {} if case.means is None else {"r": np.array(case.means)}
    sizes = []
    for digits in DIGITS:
        samples = run(*case.before, op(case.operation, printed(case.matrix, digits), modes=case.modes, **keywords))
        assert samples.meta["sampler"] == case.sampler
        assert p_value(samples.array, exact) > 1e-4
        correction = samples.meta.get("matrix_correction", 0.0)
        assert isinstance(correction, float)
        assert correction <= 0.95 * 10.0**-digits
        if digits == 16:
            assert "matrix_correction" not in samples.meta
        sizes.append(samples.meta["discarded_probability"])
    np.testing.assert_allclose(sizes, sizes[-1], rtol=1e-2)


@pytest.mark.parametrize("r", [0.2, 0.6, 1.0, 1.5])
def test_pairs_through_a_printed_unitary_have_the_exact_distribution(r: float) -> None:
    transform = on_halves(U2) @ two_mode_squeezers(r, r)
    exact = probabilities(transform @ transform.T, photons=4)
    totals = {(n,): (n + 1) * math.tanh(r) ** (2 * n) / math.cosh(r) ** 4 for n in range(300)}
    for digits in DIGITS:
        counts = _pairs_through(printed(U2, digits), r)
        assert np.array_equal(counts[:, :2].sum(1), counts[:, 2:].sum(1))
        assert p_value(counts, exact) > 1e-4
        assert p_value(counts[:, :2].sum(1, keepdims=True), totals) > 1e-4


def _pairs_through(unitary: np.ndarray, r: float) -> np.ndarray:
    pairs = [op("S2gate", r, 0.0, modes=[k, k + 2]) for k in range(2)]
    halves = [op("Interferometer", unitary, modes=modes) for modes in ([0, 1], [2, 3])]
    samples = run(*pairs, *halves, shots=4_000)
    assert samples.meta["sampler"] == PAIRS
    return samples.array.astype(int)


@pytest.mark.parametrize("form", ["f", "g", "e"])
def test_an_x8_program_of_seven_digits_has_the_exact_sampler(form: str) -> None:
    pairs = [op("S2gate", 0.5, 0.0, modes=[k, k + 4]) for k in range(4)]
    halves = [op("Interferometer", printed(U4, 7, form), modes=range(first, first + 4)) for first in (0, 4)]
    samples = run(*pairs, *halves)
    transform = on_halves(U4) @ two_mode_squeezers(*[0.5] * 4)
    both = np.array([0, 4, 8, 12])
    assert samples.meta["sampler"] == PAIRS
    assert p_value(samples.array, probabilities(transform @ transform.T, photons=2)) > 1e-4
    cov = (transform @ transform.T)[np.ix_(both, both)]
    assert p_value(samples.array[:, [0, 4]], probabilities(cov, photons=4)) > 1e-4


def test_loss_moves_past_a_printed_orthogonal_symplectic() -> None:
    lossy = [op("S2gate", 0.8, 0.0, modes=[0, 1]), *[op("LossChannel", 0.5, modes=[mode]) for mode in (0, 1)]]
    runs = [
        run(*lossy, op("GaussianTransform", printed(quadratures(np.diag(np.exp([1j, 2j]))), digits), modes=[0, 1]))
        for digits in (7, 16)
    ]
    assert [samples.meta["sampler"] for samples in runs] == [PAIRS, PAIRS]


FAR = {
    "Interferometer": (lambda d: U2 * (1 + d / np.max(np.abs(U2))), "U is not unitary: the nearest unitary matrix"),
    "GaussianTransform": (lambda d: np.eye(4) * (1 + d), "S is not symplectic: the nearest symplectic matrix"),
    "Gaussian": (
        lambda d: np.eye(4) * (1 - d),
        "uncertainty relation for hbar = 2: the nearest covariance matrix of a state",
    ),
    "PassiveChannel": (
        lambda d: np.eye(2) * (1 + d),
        r"T amplifies \(a singular value is above 1\): the nearest passive",
    ),
    "GraphEmbed": (lambda d: np.array([[0, 1 + 2 * d], [1, 0]]), "A is not symmetric: the nearest symmetric matrix"),
    "BipartiteGraphEmbed": (lambda d: np.array([[d, 1], [1, 0]]), "A has entries within the halves: the nearest graph"),
}


@pytest.mark.parametrize("name", FAR)
def test_a_distance_of_9e_5_is_corrected_and_2e_4_is_refused(name: str) -> None:
    matrix, fault = FAR[name]
    samples = run(op(name, matrix(9e-5), modes=[0, 1]), shots=10)
    assert samples.meta["matrix_correction"] == pytest.approx(9e-5, rel=1e-3)
    with pytest.raises(
        ProgramError, match=rf"^line 3: {name}: .*{fault}.* is 0.0002 away; .* at most 0.0001"
    ) as caught:
        run(op(name, matrix(2e-4), modes=[0, 1]), shots=10)
    assert caught.value.code == "unsupported-circuit"


def test_the_limit_grows_with_much_squeezing() -> None:
    strong = squeezers(8.0)
    for size, taken in ((2e-3, True), (2e-2, False)):
        gates = (op("GaussianTransform", strong + np.diag([size, 0]), modes=[0]), op("MeasureX", modes=[0]))
        if taken:
            assert 1e-4 < float(str(simulate(Program(operations=gates), shots=1).meta["matrix_correction"])) < 3e-3
        else:
            with pytest.raises(ProgramError, match="S is not symplectic"):
                simulate(Program(operations=gates), shots=1)


def test_a_small_graph_is_not_made_symmetric() -> None:
    with pytest.raises(ProgramError, match="A is not symmetric"):
        run(op("GraphEmbed", np.array([[0, 2e-5], [0, 0]]), modes=[0, 1]), shots=10)


def test_readings_of_delay_loops_state_the_correction() -> None:
    operations = (
        op("Sgate", 0.5, 0.0, modes=[1]),
        op("Interferometer", printed(U2, 7), modes=[0, 1]),
        op("MeasureHomodyne", ArrayParameter("p0"), modes=[0]),
    )
    program = Program(
        type="tdm", type_options={"temporal_modes": 3}, arrays={"p0": np.zeros((1, 3))}, operations=operations
    )
    meta = simulate(program, shots=2, seed=1).meta
    assert 1e-9 < float(str(meta["matrix_correction"])) < 1e-7


HOSTILE = {
    "nan": np.full((2, 2), np.nan),
    "infinite": np.full((2, 2), -np.inf),
    "1e300": 1e300 * np.eye(2),
    "largest": np.full((2, 2), (1 + 1j) * np.finfo(float).max),
    "empty": np.zeros((0, 0)),
    "not square": np.zeros((2, 3)),
    "a cube": np.zeros((2, 2, 2)),
    "texts": np.array([["1", "0"], ["0", "1"]]),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize(("name", "modes"), [(name, 1 if name.startswith("Gaussian") else 2) for name in FAR])
def test_a_hostile_matrix_is_refused_without_a_warning(name: str, modes: int, kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ProgramError, match=f"^line 3: {name}: [USVTA] ") as caught:
            run(op(name, HOSTILE[kind], modes=range(modes)), shots=10)
    assert caught.value.code == "unsupported-circuit"


@pytest.mark.parametrize(
    "matrix", [np.zeros((2, 2)), -np.eye(2), -5 * np.eye(2), np.diag([3, -1 / 3]), 1e-200 * np.eye(2)]
)
def test_a_covariance_that_is_not_positive_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ProgramError, match="V violates the uncertainty relation"):
        run(op("Gaussian", matrix, modes=[0]), shots=10)


@pytest.mark.parametrize("matrix", [np.zeros((2, 2)), 1e-200 * np.eye(2), 1e90 * np.eye(2), np.ones((2, 2))])
def test_a_singular_or_huge_transform_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ProgramError, match="S is not symplectic"):
        run(op("GaussianTransform", matrix, modes=[0]), shots=10)
