"""
Feed-forward, post-selection and modes that are measured again: published circuits (teleportation, cloning, gate teleportation) by
their exact moments, post-selection by Schur complements, nonlinear formulas by samplers written here. hbar = 2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import linalg, stats

from sfjobs.platform.blackbird import parse
from sfjobs.platform.program import Array, MeasuredParameter, Operation, Program, ProgramError, Samples
from sfjobs.platform.simulation import prepare, simulate
from sfjobs.platform.simulation.factor_state import FactorState
from sfjobs.platform.simulation.gate_arrays import ARRAY_GATES, matrices
from sfjobs.platform.simulation.gate_reader import read_gate
from sfjobs.platform.simulation.trajectory_reader import read_trajectories

SHOTS = 100_000
ALPHA = 0.7 - 0.4j


def program(*lines: str) -> Program:
    return parse("\n".join(["name test", "version 1.0", "target simulon_gaussian (shots=1)", "", *lines, ""]))


def run(*lines: str, shots: int = SHOTS, seed: int = 7) -> Samples:
    return simulate(program(*lines), shots=shots, seed=seed)


def is_normal(values: Array, mean: float, variance: float) -> bool:
    """Whether independent values have this normal distribution, by Kolmogorov-Smirnov and by chi-square of the variance."""
    scaled = (values - mean) / math.sqrt(variance)
    total = float(np.sum(np.square(scaled)))
    return bool(stats.kstest(scaled, "norm").pvalue > 1e-4 and 1e-4 < stats.chi2.cdf(total, len(scaled)) < 1 - 1e-4)


def is_correlation(first: Array, second: Array, exact: float) -> bool:
    """Whether normal values have this correlation, by Fisher's transformation."""
    deviations = (np.arctanh(np.corrcoef(first, second)[0, 1]) - np.arctanh(exact)) * math.sqrt(len(first) - 3)
    return bool(abs(deviations) < 3.9)


def follows(counts: Array, probabilities: Array) -> bool:
    """Whether counts have this distribution, by chi-square at p > 1e-4; rare values are put together."""
    observed = np.bincount(counts.astype(int), minlength=len(probabilities))
    wanted = len(counts) * np.asarray(probabilities)
    kept = wanted > 10
    observed = np.append(observed[: len(wanted)][kept], len(counts) - observed[: len(wanted)][kept].sum())
    wanted = np.append(wanted[kept], max(len(counts) - wanted[kept].sum(), 1e-3))
    return bool(stats.chi2.sf(np.sum((observed - wanted) ** 2 / wanted), len(wanted) - 1) > 1e-4)


# ---- precision


@pytest.mark.parametrize("r", range(1, 10))
def test_the_squeezed_combinations_of_twin_beams_are_exact_at_any_squeezing(r: int) -> None:
    """The variance e^-2r is 1e-16 of that of a reading at r = 9; in a covariance matrix it was lost."""
    network = ["BSgate(0.7, 0.3) | [0, 1]", "Rgate(0.4) | 0", "Rgate(-0.4) | 0", "BSgate(-0.7, 0.3) | [0, 1]"]
    for measurement, sign in (("MeasureX", -1), ("MeasureP", 1)):
        samples = run(
            f"S2gate({r}, 0) | [0, 1]", *network, f"{measurement} | 0", f"{measurement} | 1", shots=10_000
        ).array
        assert is_normal(samples[:, 0] + sign * samples[:, 1], 0, 2 * math.exp(-2 * r))
        assert is_normal(samples[:, 0], 0, math.cosh(2 * r))


def test_the_small_variance_is_kept_beside_a_photon_counter() -> None:
    samples = run("S2gate(9, 0) | [0, 1]", "MeasureX | 0", "MeasureX | 1", "MeasureFock() | 2", shots=10_000).array
    assert is_normal(samples[:, 0] - samples[:, 1], 0, 2 * math.exp(-18))
    assert not samples[:, 2].any()


def test_a_squeezed_preparation_keeps_its_small_variance_at_an_angle() -> None:
    samples = run("Squeezed(9, 0.6) | 0", "MeasureHomodyne(0.3) | 0", shots=10_000).array
    assert is_normal(samples[:, 0], 0, math.exp(-18))


# ---- published circuits


@pytest.mark.parametrize("r", [0.5, 1.5, 3.0])
def test_teleportation_moves_a_coherent_state(r: float) -> None:
    """The output has the input's amplitude and 2 e^-2r of noise in each quadrature: a fidelity of 1 / (1 + e^-2r)."""
    lines = [
        f"Coherent({abs(ALPHA)}, {np.angle(ALPHA)}) | 0",
        f"Squeezed({-r}) | 1",
        f"Squeezed({r}) | 2",
        "BSgate(pi/4, pi) | [1, 2]",
        "BSgate(pi/4, pi) | [0, 1]",
        "MeasureX | 0",
        "MeasureP | 1",
        "Xgate(sqrt(2)*q0) | 2",
        "Zgate(-sqrt(2)*q1) | 2",
    ]
    noise = 2 * math.exp(-2 * r)
    variances = []
    for angle, mean in ((0.0, 2 * ALPHA.real), (math.pi / 2, 2 * ALPHA.imag)):
        samples = run(*lines, f"MeasureHomodyne({angle}) | 2").array
        assert is_normal(samples[:, 2], mean, 1 + noise)
        variances.append(samples[:, 2].var())
    fidelity = 2 / math.sqrt((variances[0] + 1) * (variances[1] + 1))
    assert fidelity == pytest.approx(1 / (1 + math.exp(-2 * r)), abs=0.01)


def test_a_cloner_makes_two_copies_with_a_fidelity_of_two_thirds() -> None:
    lines = [
        f"Coherent({abs(ALPHA)}, {np.angle(ALPHA)}) | 0",
        "BSgate(pi/4, 0) | [0, 1]",
        "BSgate(pi/4, 0) | [1, 2]",
        "MeasureX | 1",
        "MeasureP | 2",
        "Xgate(sqrt(2)*q1) | 0",
        "Zgate(sqrt(2)*q2) | 0",
        "BSgate(pi/4, 0) | [0, 3]",
    ]
    x = run(*lines, "MeasureX | 0", "MeasureX | 3").array
    p = run(*lines, "MeasureP | 0", "MeasureP | 3").array
    for clone in (0, 3):
        assert is_normal(x[:, clone], 2 * ALPHA.real, 2)
        assert is_normal(p[:, clone], 2 * ALPHA.imag, 2)
    assert is_correlation(x[:, 0], x[:, 3], 0.5)
    assert is_correlation(p[:, 0], p[:, 3], 0.5)


def test_a_gate_is_teleported_onto_its_input() -> None:
    """A shear of the ancilla, with the correction that depends on it: x -> -p, p -> x - 0.5 p, and the ancilla's noise in p."""
    r, shear = 2.0, 0.5
    lines = [
        f"Coherent({abs(ALPHA)}, {np.angle(ALPHA)}) | 0",
        f"Squeezed({r}, pi) | 1",
        f"Pgate({shear}) | 1",
        "CZgate(1) | [0, 1]",
        "MeasureP | 0",
        "Xgate(-q0) | 1",
        f"Zgate(-{shear}*q0) | 1",
    ]
    x, p = 2 * ALPHA.real, 2 * ALPHA.imag
    assert is_normal(run(*lines, "MeasureX | 1").array[:, 1], -p, 1)
    assert is_normal(run(*lines, "MeasureP | 1").array[:, 1], x - shear * p, 1 + shear**2 + math.exp(-2 * r))


# ---- post-selection


def quadratures(state: FactorState, modes: list[int]) -> tuple[Array, Array]:
    where = state.indices(modes)
    rows = state.rows[where]
    return state.constants[where], rows @ rows.T


def twin(r: float) -> Array:
    """The covariance of twin beams, in the order x_0 x_1 p_0 p_1."""
    c, s = math.cosh(2 * r), math.sinh(2 * r)
    return np.array([[c, s, 0, 0], [s, c, 0, 0], [0, 0, c, -s], [0, 0, -s, c]])


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2])
def test_a_selected_homodyne_reading_leaves_the_conditional_state(angle: float) -> None:
    gates = ["S2gate(0.8, 0) | [0, 1]", "Xgate(0.3) | 0", "Zgate(-0.5) | 1"]
    plan = read_trajectories(program(*gates, f"MeasureHomodyne({angle}, select=0.9) | 0", "Measure | 1"))
    cov, means = twin(0.8), np.array([0.3, 0, 0, -0.5])
    row = np.array([math.cos(angle), 0, math.sin(angle), 0])
    gain = cov @ row / (row @ cov @ row)
    wanted_means, wanted_cov = means + gain * (0.9 - row @ means), cov - np.outer(gain, row @ cov)
    ours_means, ours_cov = quadratures(plan.head, [1])
    np.testing.assert_allclose(ours_means, wanted_means[[1, 3]], atol=1e-12)
    np.testing.assert_allclose(ours_cov, wanted_cov[np.ix_([1, 3], [1, 3])], atol=1e-12)


def test_a_selected_heterodyne_reading_leaves_the_conditional_state() -> None:
    plan = read_trajectories(program("S2gate(0.8, 0) | [0, 1]", "MeasureHD(select=0.4-0.6j) | 0", "Measure | 1"))
    means, cov = quadratures(plan.head, [1])
    np.testing.assert_allclose(means, [0.8 * math.tanh(0.8), 1.2 * math.tanh(0.8)], atol=1e-12)
    np.testing.assert_allclose(cov, np.eye(2), atol=1e-12)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["selected first", "selected last"])
def test_all_readings_are_conditioned_on_the_selected_one(order: tuple[int, int]) -> None:
    measurements = ["MeasureX(select=1.2) | 0", "MeasureX | 1"]
    samples = run("S2gate(0.8, 0) | [0, 1]", *[measurements[index] for index in order]).array
    assert np.all(samples[:, 0] == 1.2)
    assert is_normal(samples[:, 1], 1.2 * math.tanh(1.6), 1 / math.cosh(1.6))


def test_a_reading_that_was_fed_forward_is_conditioned_by_a_later_selection() -> None:
    """x_1 + 2 x_0 = 1.5 with x_0 normal: x_0 has the mean and the variance of a linear regression."""
    samples = run("S2gate(0.5, 0) | [0, 1]", "MeasureX | 0", "Xgate(2*q0) | 1", "MeasureX(select=1.5) | 1").array
    cov = twin(0.5)[:2, :2]
    total = np.array([2.0, 1.0]) @ cov @ [2.0, 1.0]
    link = cov[0] @ [2.0, 1.0]
    assert is_normal(samples[:, 0], link / total * 1.5, cov[0, 0] - link**2 / total)


# ---- formulas


def twin_readings(r: float, shots: int) -> tuple[Array, Array]:
    """Draw x_0 and x_1 of twin beams without the simulation."""
    x = np.random.default_rng(99).multivariate_normal([0, 0], twin(r)[:2, :2], size=shots)
    return x[:, 0], x[:, 1]


def agree(ours: Array, theirs: Array) -> bool:
    return bool(stats.ks_2samp(ours, theirs).pvalue > 1e-4)


FORMULAS = {
    "sin(q0)": np.sin,
    "sqrt(abs(q0)) - q0**2/3": lambda x: np.sqrt(np.abs(x)) - x**2 / 3,
    "exp(-(q0**2))*q0": lambda x: np.exp(-(x**2)) * x,
    "arctan(2*q0) + 1/(1+q0**2)": lambda x: np.arctan(2 * x) + 1 / (1 + x**2),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_displacement_by_a_nonlinear_formula(formula: str) -> None:
    lines = ["S2gate(0.6, 0) | [0, 1]", "MeasureX | 0", f"Xgate({formula}) | 1", "MeasureX | 1"]
    samples = run(*lines, shots=20_000).array
    x0, x1 = twin_readings(0.6, 20_000)
    shifted = x1 + FORMULAS[formula](x0)
    assert agree(samples[:, 1], shifted)
    assert agree(samples[:, 1] * samples[:, 0], shifted * x0)


def test_a_nonlinear_shift_of_momentum() -> None:
    samples = run("MeasureX | 0", "Zgate(q0**2) | 1", "MeasureP | 1").array
    assert is_normal(samples[:, 1] - samples[:, 0] ** 2, 0, 1)


def test_a_linear_formula_of_several_readings() -> None:
    gates = ["S2gate(0.6, 0) | [0, 1]", "MeasureX | 0", "MeasureX | 1"]
    samples = run(*gates, "Xgate(q1 - 2*(q0 - q1/4) - 1) | 2", "MeasureX | 2").array
    assert is_normal(samples[:, 2] - (1.5 * samples[:, 1] - 2 * samples[:, 0] - 1), 0, 1)


def test_a_formula_of_several_readings() -> None:
    gates = ["S2gate(0.6, 0) | [0, 1]", "Squeezed(0.5) | 2", "MeasureX | 0", "MeasureX | 1"]
    samples = run(*gates, "Xgate(cos(q0 + q1)*q1 - q0) | 2", "MeasureX | 2", shots=20_000).array
    x0, x1 = twin_readings(0.6, 20_000)
    x2 = np.random.default_rng(5).normal(0, math.exp(-0.5), 20_000) + np.cos(x0 + x1) * x1 - x0
    assert agree(samples[:, 2], x2)
    assert agree(samples[:, 2] * samples[:, 1], x2 * x1)


@pytest.mark.parametrize(
    "correction",
    [
        ["Xgate(2*re(q0)) | 1", "Zgate(-2*im(q0)) | 1"],
        ["Dgate(conjugate(q0)) | 1"],
        ["Dgate(abs(q0), -arg(q0)) | 1"],
    ],
    ids=["parts", "amplitude", "modulus and phase"],
)
def test_a_heterodyne_reading_is_fed_forward(correction: list[str]) -> None:
    """The twin is in a coherent state of amplitude tanh(r) conj(alpha); conj(alpha) more keeps it coherent."""
    for measurement, part in (("MeasureX", 1), ("MeasureP", 1j)):
        samples = run("S2gate(0.8, 0) | [0, 1]", "MeasureHD | 0", *correction, f"{measurement} | 1", shots=20_000).array
        mean = 2 * (1 + math.tanh(0.8)) * (samples[:, 0].conj() / part).real
        assert is_normal(samples[:, 1].real - mean, 0, 1)


@pytest.mark.parametrize(
    ("gate", "mean"),
    [
        ("Rgate(q0)", lambda x, p, q: np.cos(q) * x - np.sin(q) * p),
        ("Sgate(0.3*q0)", lambda x, _, q: np.exp(-0.3 * q) * x),
        (
            "Sgate(0.3*q0, q0)",
            lambda x, p, q: np.cosh(0.3 * q) * x - np.sinh(0.3 * q) * (np.cos(q) * x + np.sin(q) * p),
        ),
        ("Rgate(pi/2)", lambda x, p, q: -p + 0 * q),
        ("Coherent(abs(q0), 0.3)", lambda x, p, q: x / x * 0 + 2 * np.abs(q) * math.cos(0.3)),
    ],
)
def test_a_gate_whose_matrix_depends_on_a_reading(gate: str, mean: Any) -> None:
    lines = ["Squeezed(0.5) | 0", "Coherent(0.9, 0.4) | 1", "MeasureX | 0", f"{gate} | 1", "MeasureX | 1"]
    samples = run(*lines, shots=20_000).array
    generator = np.random.default_rng(3)
    q = generator.normal(0, math.exp(-0.5), 20_000)
    x, p = generator.normal(1.8 * math.cos(0.4), 1, 20_000), generator.normal(1.8 * math.sin(0.4), 1, 20_000)
    wanted = mean(x, p, q) + (generator.normal(0, 1, 20_000) if gate.startswith("Coherent") else 0)
    assert agree(samples[:, 1], wanted)
    assert agree(samples[:, 1] * samples[:, 0], wanted * q)


def test_an_angle_of_measurement_may_depend_on_a_reading() -> None:
    lines = ["Squeezed(0.5) | 0", "Squeezed(1, 0.8) | 1", "MeasureX | 0", "MeasureHomodyne(q0) | 1"]
    samples = run(*lines, shots=20_000).array
    generator = np.random.default_rng(3)
    q = generator.normal(0, math.exp(-0.5), 20_000)
    width = np.sqrt(np.cos(q - 0.4) ** 2 * math.exp(-2) + np.sin(q - 0.4) ** 2 * math.exp(2))
    assert agree(samples[:, 1], generator.normal(0, width))
    assert agree(np.abs(samples[:, 1]) * samples[:, 0], np.abs(generator.normal(0, width)) * q)


@pytest.mark.parametrize("name", sorted(ARRAY_GATES))
def test_the_matrices_of_many_shots_are_those_of_the_gate(name: str) -> None:
    generator = np.random.default_rng(4)
    names = {"Rgate": ["theta"], "BSgate": ["theta", "phi"], "Sgate": ["r", "phi"], "S2gate": ["r", "phi"]}.get(
        name, ["s"]
    )
    modes = (0, 1) if name in {"BSgate", "S2gate", "CXgate", "CZgate"} else (0,)
    parameters = {each: generator.normal(size=5) for each in names}
    found = matrices(Operation(name, modes=modes), parameters)
    for shot in range(5):
        keywords = {each: float(values[shot]) for each, values in parameters.items()}
        np.testing.assert_allclose(found[shot], read_gate(Operation(name, (), keywords, modes))[0].matrix, atol=1e-14)


# ---- measuring again


def test_a_measured_mode_is_in_the_vacuum_and_its_last_reading_is_shown() -> None:
    lines = [
        "S2gate(1, 0) | [0, 1]",
        "MeasureX | 0",
        "Xgate(q0) | 0",
        "MeasureX | 0",
        "Xgate(-tanh(2)*q0) | 1",
        "MeasureX | 1",
    ]
    samples = run(*lines).array
    assert samples.shape == (SHOTS, 2)
    assert is_normal(samples[:, 0], 0, math.cosh(2) + 1)
    # x_1 is tanh(2) times the first reading, and noise; the displacement takes off tanh(2) times the second.
    assert is_normal(samples[:, 1], 0, 1 / math.cosh(2) + math.tanh(2) ** 2)
    assert is_correlation(
        samples[:, 0], samples[:, 1], -math.tanh(2) / math.sqrt((math.cosh(2) + 1) * np.var(samples[:, 1]))
    )


def test_a_formula_keeps_the_reading_of_its_time() -> None:
    lines = ["Squeezed(-1) | 0", "MeasureX | 0", "Xgate(sin(q0)) | 1", "MeasureX | 0", "MeasureX | 1"]
    samples = run(*lines, shots=20_000).array
    generator = np.random.default_rng(3)
    wanted = np.sin(generator.normal(0, math.e, 20_000)) + generator.normal(0, 1, 20_000)
    assert agree(samples[:, 1], wanted)
    assert is_normal(samples[:, 0], 0, 1)


def test_a_mode_is_measured_again_a_thousand_times() -> None:
    """Each round adds the last reading to a new vacuum: a random walk."""
    samples = run("MeasureX | 0", *["Xgate(q0) | 0", "MeasureX | 0"] * 1000, shots=2000).array
    assert is_normal(samples[:, 0], 0, 1001)


def test_measuring_again_after_a_gate_that_depends_on_a_reading() -> None:
    rounds = ["Sgate(-0.5) | 0", "Rgate(q1) | 0", "MeasureX | 0", "Xgate(0.5*q0) | 0", "MeasureX | 0"]
    samples = run("MeasureX | 1", *rounds, shots=20_000).array
    generator = np.random.default_rng(3)
    q = generator.normal(0, 1, 20_000)
    first = generator.normal(0, np.sqrt(np.cos(q) ** 2 * math.e + np.sin(q) ** 2 / math.e))
    wanted = generator.normal(0.5 * first, 1)
    assert agree(samples[:, 0], wanted)
    assert agree(np.abs(samples[:, 0]) * samples[:, 1] ** 2, np.abs(wanted) * q**2)


# ---- measurement-based squeezing


def measured_squeezing(r: float, phi: float, r_anc: float, efficiency: float) -> list[str]:
    """The circuit of MSgate on mode 0 with an ancilla in mode 1, statement by statement."""
    theta = math.acos(math.exp(-abs(r)))
    turn = (phi + (math.pi if r < 0 else 0)) / 2
    return [
        f"Rgate({-turn}) | 0",
        f"Squeezed({r_anc}) | 1",
        f"BSgate({theta}, 0) | [0, 1]",
        f"LossChannel({efficiency}) | 1",
        "MeasureP | 1",
        f"Zgate({math.tan(theta) / math.sqrt(efficiency)}*q1) | 0",
        f"Rgate({turn}) | 0",
    ]


@pytest.mark.parametrize(("r", "phi"), [(0.4, 0.0), (0.7, 1.1), (-0.6, 0.5)])
@pytest.mark.parametrize("average", [True, False])
def test_measurement_based_squeezing_is_the_circuit_of_its_definition(r: float, phi: float, average: bool) -> None:
    gates = ["Coherent(0.6, 0.7) | 0", "Sgate(0.2, 0.4) | 0"]
    whole = read_trajectories(
        program(*gates, f"MSgate({r}, {phi}, 1.3, 0.9, {average}) | 0", "Vac | 1", "MeasureX | 1")
    )
    parts = read_trajectories(program(*gates, *measured_squeezing(r, phi, 1.3, 0.9), "Measure | 2"))
    counted = read_trajectories(
        program(*gates, f"MSgate({r}, {phi}, 1.3, 0.9, {average}) | 0", "MeasureX | 1", "Measure | 2")
    )
    assert whole.readings.keys() == {1}
    for ours, wanted in zip(quadratures(counted.head, [0]), quadratures(parts.head, [0]), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-12)


def test_measurement_based_squeezing_has_its_average_moments() -> None:
    """e^-r in x with the ancilla's noise, e^r in p with that of the detector."""
    shrink = math.exp(-0.8)
    gates = ["Coherent(0.6, 0.7) | 0", "MSgate(0.8, 0, 1.5, 0.95, False) | 0"]
    x, p = 1.2 * math.cos(0.7), 1.2 * math.sin(0.7)
    variance = shrink**2 + (1 - shrink**2) * math.exp(-3)
    assert is_normal(run(*gates, "MeasureX | 0").array[:, 0], x * shrink, variance)
    variance = shrink**-2 + (shrink**-2 - 1) * 0.05 / 0.95
    assert is_normal(run(*gates, "MeasureP | 0").array[:, 0], p / shrink, variance)


# ---- photon counts


def squeezed_counts(r: float) -> Array:
    """The photon-number distribution of a squeezed vacuum."""
    n = np.arange(0, 40)
    even = np.array([math.comb(2 * k, k) * (math.tanh(abs(r)) / 2) ** (2 * k) / math.cosh(r) for k in n])
    distribution = np.zeros(80)
    distribution[::2] = even
    return distribution


def test_the_photons_of_a_corrected_twin_are_those_of_a_squeezed_vacuum() -> None:
    """The reading squeezes the twin to variances 1 / cosh(2r) and cosh(2r), around a mean that the displacement takes off."""
    lines = ["S2gate(0.7, 0) | [0, 1]", "MeasureX | 0", f"Xgate({-math.tanh(1.4)}*q0) | 1", "MeasureFock() | 1"]
    samples = run(*lines, shots=50_000).array
    assert follows(samples[:, 1], squeezed_counts(math.log(math.cosh(1.4)) / 2))


def test_the_photons_after_a_gate_whose_matrix_depends_on_a_reading() -> None:
    """A mixture of squeezed vacuums; the readings are normal, and their photons follow each one."""
    samples = run("Squeezed(-0.2) | 0", "MeasureX | 0", "Sgate(0.4*q0) | 1", "MeasureFock() | 1", shots=500).array
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    mixture = sum(
        weight * squeezed_counts(0.4 * math.exp(0.2) * point) for point, weight in zip(points, weights, strict=True)
    )
    assert follows(samples[:, 1], mixture / weights.sum())
    bright = np.abs(samples[:, 0]) > 1.5
    assert samples[bright, 1].mean() > 3 * samples[~bright, 1].mean()


def test_photons_are_counted_after_many_channels_that_follow_a_gate_by_a_reading() -> None:
    """Fifty losses that leave half of a coherent state that was turned: Poisson counts of half the energy."""
    losses = [f"LossChannel({0.5**0.01}) | 1", "Rgate(0.1) | 1", "Sgate(0.0) | 1"] * 100
    samples = run("MeasureX | 0", "Coherent(2, 0) | 1", "Rgate(q0) | 1", *losses, "MeasureFock() | 1", shots=40).array
    total = samples[:, 1].sum()
    assert 1e-4 < stats.poisson.cdf(total, 40 * 2) < 1 - 1e-4


def test_the_photons_of_a_turned_twin_follow_its_reading() -> None:
    """The twin has the mean 1 + x tanh(2r); a rotation by the reading changes no photon number."""
    lines = ["S2gate(0.6, 0) | [0, 1]", "Xgate(1) | 1", "MeasureX | 0", "Rgate(q0) | 1", "MeasureFock() | 1"]
    samples = run(*lines, shots=500).array
    narrow = math.cosh(1.2)
    excess = samples[:, 1] - ((1 + math.tanh(1.2) * samples[:, 0]) ** 2 + 1 / narrow + narrow - 2) / 4
    for weights in (np.ones(500), samples[:, 0]):
        assert abs((weights * excess).mean()) < 4 * (weights * excess).std() / math.sqrt(500)


def test_the_photons_after_a_selected_reading() -> None:
    lines = ["S2gate(0.7, 0) | [0, 1]", "MeasureX(select=0) | 0", "MeasureFock() | 1"]
    samples = run(*lines, shots=50_000).array
    assert follows(samples[:, 1], squeezed_counts(math.log(math.cosh(1.4)) / 2))


def test_many_shots_of_coherent_light_are_counted_after_feed_forward() -> None:
    """A displaced vacuum: Poisson counts whose mean is the square of the reading over 4."""
    samples = run("Squeezed(0.3) | 0", "MeasureX | 0", "Xgate(q0) | 1", "MeasureFock() | 1").array
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    means = (math.exp(-0.3) * points) ** 2 / 4
    mixture = (weights / weights.sum()) @ stats.poisson.pmf(np.arange(30), means[:, np.newaxis])
    assert follows(samples[:, 1], mixture)


def test_many_shots_of_a_lossy_pair_are_counted_after_feed_forward() -> None:
    """
    The reading of one mode displaces a pair, so that each shot has other means. The exact distribution is the mean over the
    readings of that of displaced twin beams in the Fock basis.
    """
    gates = [
        "Squeezed(0.2) | 0",
        "S2gate(0.5, 0) | [1, 2]",
        "Sgate(0.3) | 2",
        "MeasureX | 0",
        "Xgate(q0) | 1",
        "Zgate(0.8) | 2",
    ]
    samples = run(*gates, "LossChannel(0.7) | 2", "MeasureFock() | [1, 2]", shots=50_000)
    assert samples.meta["sampler"] == "displaced table + multivariate normal"
    points, weights = np.polynomial.hermite_e.hermegauss(24)
    mixture = sum(
        weight * displaced_pair(0.5, math.exp(-0.2) * point / 2, 0.4j, 0.7)
        for point, weight in zip(points, weights / weights.sum(), strict=True)
    )
    size = len(mixture)
    counts = samples.array[:, 1:].astype(int)
    inside = np.all(counts < size, axis=1)
    assert follows(np.where(inside, counts[:, 0] * size + counts[:, 1], size**2), np.append(mixture.ravel(), 0.0))


def displaced_pair(r: float, first: complex, second: complex, transmission: float) -> Array:
    """Return P(n_1, n_2) of twin beams, the second squeezed, displaced by two amplitudes, and with loss in the second mode."""
    size, kept = 40, 16
    lower = np.diag(np.sqrt(np.arange(1.0, size)), 1)
    pair = np.diag(np.tanh(r) ** np.arange(size)) / np.cosh(r)
    pair = pair @ linalg.expm(0.15 * (lower @ lower - lower.T @ lower.T)).T
    displaced = [linalg.expm(each * lower.T - np.conj(each) * lower) for each in (first, second)]
    probabilities = np.abs(displaced[0] @ pair @ displaced[1].T) ** 2
    loss = stats.binom.pmf(np.arange(size)[:, np.newaxis], np.arange(size), transmission)
    return (probabilities @ loss.T)[:kept, :kept]


# ---- refused


REFUSED = {
    "before it exists": (["Xgate(q0) | 1", "MeasureX | 0"], "q0 is used before mode 0 is measured"),
    "a cycle": (["Xgate(q1) | 0", "MeasureX | 0", "Xgate(q0) | 1", "MeasureX | 1"], "before mode 1 is measured"),
    "its own angle": (["MeasureHomodyne(q0) | 0"], "before mode 0 is measured"),
    "photons": (["MeasureFock() | 0", "Xgate(q0) | 1", "MeasureX | 1"], "photon counts cannot be fed forward"),
    "a complex displacement": (["MeasureHD | 0", "Xgate(q0) | 1", "MeasureX | 1"], "must be real"),
    "a complex angle": (["MeasureHD | 0", "Rgate(q0) | 1", "MeasureX | 1"], "must be real"),
    "a matrix": (["MeasureX | 0", "Interferometer(q0) | 1", "MeasureX | 1"], "U must be a matrix"),
    "a graph": (["MeasureX | 0", "GraphEmbed(q0) | 1", "MeasureX | 1"], "cannot depend on a reading"),
    "a selection by a reading": (["MeasureX | 0", "MeasureX(select=q0) | 1"], "select = q0 depends on a measurement"),
    "a selection and an angle": (
        ["MeasureX | 0", "MeasureHomodyne(q0, select=q0) | 1"],
        "select = q0 depends on a measurement",
    ),
    "far off": (["MeasureX(select=40) | 0"], "40 standard deviations off"),
    "far off by heterodyne": (["MeasureHD(select=60j) | 0"], "standard deviations off"),
    "a complex quadrature": (["MeasureX(select=1j) | 0"], "select must be a real number"),
    "a text": (['MeasureX(select="a") | 0'], "select must be a real number"),
    "selected photons": (["MeasureFock(select=[1]) | 0"], "post-selection (select=) of photon counts is not simulated"),
    "after a nonlinear gate": (
        ["MeasureX | 0", "Xgate(sin(q0)) | 1", "MeasureX(select=0.1) | 1"],
        "only after feed-forward that is linear",
    ),
    "after a gate": (
        ["MeasureX | 0", "Rgate(q0) | 1", "MeasureX(select=0.1) | 1"],
        "only after feed-forward that is linear",
    ),
    "twice": (["MeasureX(select=1) | 0", "MeasureFock() | 0", "Rgate(1) | 0"], "has been measured before"),
    "a wrong argument beside": (["MeasureX | 0", 'Dgate(q0, "x") | 1', "MeasureX | 1"], "phi must be a real number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_program_that_cannot_run_is_refused_before_anything_is_drawn(case: str) -> None:
    lines, words = REFUSED[case]
    with pytest.raises(ProgramError) as caught:
        prepare(program(*lines), 10)
    assert (caught.value.code, words in caught.value.detail) == ("unsupported-circuit", True), caught.value.detail
    assert caught.value.line


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_selected_value_must_be_finite(value: float) -> None:
    operation = Operation("MeasureX", (), {"select": value}, (0,), 4)
    with pytest.raises(ProgramError, match="line 4: MeasureX: select must be finite"):
        prepare(Program(operations=(operation,)), 10)


@pytest.mark.parametrize("measurement", ["MeasureX", "MeasureFock"])
def test_feed_forward_in_a_time_domain_program_is_refused(measurement: str) -> None:
    shift = Operation("Xgate", (MeasuredParameter("q0", (0,)),), {}, (1,), 5)
    operations = (shift, Operation(measurement, (), {}, (0,), 6))
    with pytest.raises(ProgramError, match="line 5: Xgate: feed-forward is not simulated in TDM programs"):
        prepare(Program(operations=operations, type="tdm", type_options={"temporal_modes": 3}), 10)


RUNTIME = {
    "a root": ("Xgate(sqrt(q0)) | 1", "sqrt(q0) has no finite real value in some shots"),
    "a quotient": ("Xgate(1/(q0-q0)) | 1", "has no finite real value in some shots"),
    "a logarithm": ("Rgate(log(q0)) | 1", "log(q0) has no finite real value in some shots"),
    "too bright": ("Xgate(exp(exp(q0+3))) | 1", "light"),
    "too much squeezing": ("Sgate(30*q0) | 1", "more squeezing than double precision holds"),
    "a gain": ("LossChannel(q0) | 1", "T must be between 0 and 1"),
}


@pytest.mark.parametrize("case", RUNTIME)
def test_a_formula_without_a_value_fails_with_its_text_and_line(case: str) -> None:
    line, words = RUNTIME[case]
    with pytest.raises(ProgramError) as caught:
        run("MeasureX | 0", line, "MeasureX | 1", shots=1000)
    assert words in caught.value.detail, caught.value.detail
    assert caught.value.line == 6


def test_a_hundred_thousand_statements_that_depend_on_readings_are_refused_or_prepared() -> None:
    shift = Operation("Xgate", (MeasuredParameter("sin(q0)", (0,)),), {}, (1,), 5)
    measured = Operation("MeasureX", (), {}, (0,), 4)
    with pytest.raises(ProgramError, match="at most 5000 statements"):
        prepare(Program(operations=(measured, *[shift] * 100_000)), 1_000_000)


def test_shots_alone_are_limited_where_each_has_a_state_of_its_own() -> None:
    lines = ["MeasureX | 0", "Sgate(q0) | 1", "MeasureFock() | 1"]
    with pytest.raises(ProgramError, match="for 20000 shots at most, not 100000"):
        prepare(program(*lines), 100_000)


def test_the_same_seed_gives_the_same_samples_and_the_target_accepts_the_program() -> None:
    lines = ["S2gate(1, 0) | [0, 1]", "MeasureX | 0", "Rgate(q0) | 1", "MeasureHD | 1"]
    np.testing.assert_array_equal(run(*lines, shots=50).array, run(*lines, shots=50).array)
