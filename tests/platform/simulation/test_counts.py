"""
Photon counts compared with exact probabilities from thewalrus. These are amplitudes of a pure state built from symplectic
matrices; loss and thermal noise are couplings to further modes, which are summed over.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, unitary_group
from thewalrus import symplectic
from thewalrus.quantum import state_vector

from sfjobs.platform.program import Operation, Program, ProgramError, Samples
from sfjobs.platform.simulation import simulate
from sfjobs.platform.simulation.amplitude_table import amplitude_layers
from sfjobs.platform.simulation.circuit import read_circuit
from sfjobs.platform.simulation.fock_basis import Basis
from sfjobs.platform.simulation.hafnian import HafnianSampler
from sfjobs.platform.simulation.photons import total_distribution

U2 = unitary_group.rvs(2, random_state=11)
V2 = unitary_group.rvs(2, random_state=12)
U3 = unitary_group.rvs(3, random_state=13)
SHOTS = 20_000


def op(name: str, *arguments: Any, modes: Any, **keywords: Any) -> Operation:
    return Operation(name, arguments, keywords, tuple(modes))


def run(*operations: Operation, shots: int = SHOTS, seed: int | None = 7) -> Samples:
    return simulate(Program(operations=operations), shots=shots, seed=seed)


def probabilities(matrix: np.ndarray, means: np.ndarray | None = None, cutoff: int = 12) -> np.ndarray:
    """Photon-number probabilities of a symplectic matrix on the vacuum, as an array with an axis for each mode."""
    means = np.zeros(len(matrix)) if means is None else means
    return np.abs(state_vector(means, matrix @ matrix.T, cutoff=cutoff, check_purity=False)) ** 2


def squeezed_pairs(*strengths: float) -> np.ndarray:
    """Two-mode squeezers between modes k and k + n."""
    n = len(strengths)
    matrix = np.eye(4 * n)
    for k, r in enumerate(strengths):
        matrix = symplectic.expand(symplectic.two_mode_squeezing(r, 0), [k, k + n], 2 * n) @ matrix
    return matrix


def passive(unitary: np.ndarray, modes: list[int], total: int) -> np.ndarray:
    return symplectic.expand(symplectic.interferometer(unitary), modes, total)


def leak(transmission: float, mode: int, into: int, total: int) -> np.ndarray:
    t, r = math.sqrt(transmission), math.sqrt(1 - transmission)
    return passive(np.array([[t, -r], [r, t]]), [mode, into], total)


def clicks(of: np.ndarray) -> np.ndarray:
    for axis in range(of.ndim):
        of = np.stack([of.take(0, axis), of.sum(axis) - of.take(0, axis)], axis)
    return of


def p_value(samples: np.ndarray, exact: np.ndarray) -> float:
    """Pearson's chi-square test; outcomes expected fewer than 10 times or beyond the cutoff share one bin."""
    shots, cutoff = len(samples), exact.shape[0]
    inside = np.all(samples < cutoff, axis=1)
    counts = np.zeros(exact.shape)
    np.add.at(counts, tuple(samples[inside].astype(int).T), 1)
    expected = exact * shots
    frequent = expected >= 10
    observed = np.append(counts[frequent], shots - counts[frequent].sum())
    wanted = np.append(expected[frequent], shots - expected[frequent].sum())
    return float(chi2.sf(np.sum((observed - wanted) ** 2 / wanted), len(wanted) - 1))


def pairs(*strengths: float) -> list[Operation]:
    n = len(strengths)
    return [op("S2gate", r, 0.0, modes=[k, k + n]) for k, r in enumerate(strengths)]


def test_x_series_counts_follow_the_exact_distribution() -> None:
    samples = run(
        *pairs(0.6, 0.6), op("Interferometer", U2, modes=[0, 1]), op("Interferometer", U2, modes=[2, 3]), fock(4)
    )
    exact = probabilities(passive(U2, [2, 3], 4) @ passive(U2, [0, 1], 4) @ squeezed_pairs(0.6, 0.6))
    assert samples.meta["sampler"] == "x-series exact"
    assert p_value(samples.array, exact) > 1e-4


def test_unequal_squeezers_and_interferometers_are_still_exact() -> None:
    samples = run(
        *pairs(0.9, 0.3), op("Interferometer", U2, modes=[0, 1]), op("Interferometer", V2, modes=[2, 3]), fock(4)
    )
    exact = probabilities(passive(V2, [2, 3], 4) @ passive(U2, [0, 1], 4) @ squeezed_pairs(0.9, 0.3))
    assert samples.meta["sampler"] == "x-series exact"
    assert p_value(samples.array, exact) > 1e-4


def test_loss_before_photon_counters_is_exact() -> None:
    lossy = [op("LossChannel", t, modes=[mode]) for mode, t in ((0, 0.5), (1, 0.8))]
    samples = run(*pairs(0.7), op("Rgate", 0.3, modes=[0]), *lossy, fock(2))
    matrix = leak(0.8, 1, 3, 4) @ leak(0.5, 0, 2, 4) @ symplectic.expand(squeezed_pairs(0.7), [0, 1], 4)
    assert samples.meta["sampler"] == "x-series exact"
    assert p_value(samples.array, probabilities(matrix).sum((2, 3))) > 1e-4


def squeezed_network() -> tuple[list[Operation], np.ndarray]:
    strengths = [0.6, -0.5, 0.3]
    gates = [op("Sgate", r, modes=[mode]) for mode, r in enumerate(strengths)]
    matrix = symplectic.interferometer(U3) @ np.diag([*np.exp(np.negative(strengths)), *np.exp(strengths)])
    return [*gates, op("Interferometer", U3, modes=[0, 1, 2])], matrix


def test_squeezed_light_through_an_interferometer_follows_the_exact_distribution() -> None:
    gates, matrix = squeezed_network()
    samples = run(*gates, fock(3))
    assert samples.meta["sampler"] == "amplitude table"
    assert p_value(samples.array, probabilities(matrix, cutoff=16)) > 1e-4


def test_displaced_light_follows_the_exact_distribution() -> None:
    gates, matrix = squeezed_network()
    samples = run(*gates, op("Dgate", 0.8, 0.4, modes=[1]), fock(3))
    means = np.array([0, 1.6 * math.cos(0.4), 0, 0, 1.6 * math.sin(0.4), 0])
    assert samples.meta["sampler"] == "amplitude table"
    assert p_value(samples.array, probabilities(matrix, means, cutoff=16)) > 1e-4


def test_loss_inside_the_circuit_follows_the_exact_distribution() -> None:
    gates = [op("Sgate", 0.6, modes=[0]), op("LossChannel", 0.6, modes=[0]), op("Sgate", 0.4, modes=[1])]
    samples = run(*gates, op("Interferometer", U2, modes=[0, 1]), fock(2))
    squeezers = np.diag([*np.exp([-0.6, -0.4, 0.0]), *np.exp([0.6, 0.4, 0.0])])
    exact = probabilities(passive(U2, [0, 1], 3) @ leak(0.6, 0, 2, 3) @ squeezers, cutoff=20).sum(2)
    assert samples.meta["sampler"] == "amplitude table"
    assert p_value(samples.array, exact) > 1e-4


def test_thermal_light_follows_the_exact_distribution() -> None:
    hot = [op("Thermal", n, modes=[mode]) for mode, n in ((0, 0.5), (1, 0.2))]
    samples = run(*hot, op("Interferometer", U2, modes=[0, 1]), fock(2))
    heat = squeezed_pairs(math.asinh(math.sqrt(0.5)), math.asinh(math.sqrt(0.2)))
    assert samples.meta["sampler"] == "coherent mix"
    assert p_value(samples.array, probabilities(passive(U2, [0, 1], 4) @ heat).sum((2, 3))) > 1e-4


@pytest.mark.parametrize("displacement", [0.0, 0.5])
def test_threshold_detectors_follow_the_exact_distribution(displacement: float) -> None:
    gates, matrix = squeezed_network()
    shift = op("Dgate", displacement, modes=[0])
    samples = run(*gates, shift, op("MeasureThreshold", modes=[0, 1, 2]))
    means = np.array([2 * displacement, 0, 0, 0, 0, 0])
    exact = clicks(probabilities(matrix, means, cutoff=20))
    assert samples.meta["sampler"] == "click table"
    assert p_value(samples.array, exact) > 1e-4


def test_counts_and_clicks_can_be_measured_together() -> None:
    samples = run(*pairs(0.8), op("MeasureThreshold", modes=[0]), op("MeasureFock", modes=[1]))
    np.testing.assert_array_equal(samples.array[:, 0], samples.array[:, 1] > 0)


def test_piquasso_follows_the_exact_distribution() -> None:
    gates = [op("Sgate", 0.6, modes=[0]), op("Dgate", 0.3, modes=[0]), op("BSgate", modes=[0, 1])]
    state = read_circuit(Program(operations=(*gates, fock(2)))).state
    sampler = HafnianSampler(state)
    half = np.array([[1, -1], [1, 1]]) / math.sqrt(2)
    matrix = symplectic.interferometer(half) @ np.diag(np.exp([-0.6, 0, 0.6, 0]))
    means = symplectic.interferometer(half) @ [0.6, 0, 0, 0]
    drawn = sampler.sample(3000, np.random.default_rng(3))
    assert p_value(drawn, probabilities(matrix, means, cutoff=16)) > 1e-4


def test_the_cutoff_discards_less_than_a_millionth() -> None:
    sampler = HafnianSampler(read_circuit(Program(operations=(op("Sgate", 1.0, modes=[0]), fock(1)))).state)
    lost = 1 - probabilities(np.diag(np.exp([-1.0, 1.0])), cutoff=sampler.cutoff).sum()
    assert sampler.discarded == pytest.approx(lost, rel=1e-6)
    assert lost < 1e-6


def test_without_piquasso_its_sampler_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "piquasso", None)
    state = read_circuit(Program(operations=(op("Sgate", 0.6, modes=[0]), fock(1)))).state
    with pytest.raises(ProgramError, match=r"pip install 'sfjobs\[simulators\]'") as caught:
        HafnianSampler(state).sample(1, np.random.default_rng(1))
    assert caught.value.code == "simulator-missing"


def test_eight_lossy_modes_need_numpy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "piquasso", None)
    gates = [*pairs(*[0.5] * 4), op("LossChannel", 0.5, modes=[1]), *[op("BSgate", modes=[k, k + 1]) for k in range(3)]]
    assert run(*gates, fock(8), shots=20).meta["sampler"] == "pure states"


def test_an_error_of_piquasso_names_its_class_and_the_size_of_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr("piquasso.GaussianSimulator.execute", fail)
    state = read_circuit(Program(operations=(op("Sgate", 0.6, modes=[0]), op("BSgate", modes=[0, 1]), fock(2)))).state
    with pytest.raises(ProgramError, match=r"2 modes with 0\.405 photons .* LinAlgError: Singular matrix") as caught:
        HafnianSampler(state).sample(3, np.random.default_rng(1))
    assert caught.value.code == "simulator-failed"


def test_a_job_that_needs_too_much_work_is_rejected() -> None:
    """As many modes as the time bins of a large time-domain machine."""
    gates = [op("Sgate", 1.0 + mode / 100, modes=[mode]) for mode in range(40)]
    with pytest.raises(ProgramError, match="times the time allowed") as caught:
        run(*gates, *[op("BSgate", 0.3, 0.2, modes=[mode, mode + 1]) for mode in range(39)], fock(40))
    assert caught.value.code == "simulation-limit"


def fock(modes: int, **keywords: Any) -> Operation:
    return op("MeasureFock", modes=range(modes), **keywords)


def x8(r: float) -> list[Operation]:
    u = unitary_group.rvs(4, random_state=5)
    return [*pairs(*[r] * 4), op("Interferometer", u, modes=range(4)), op("Interferometer", u, modes=range(4, 8))]


def test_signal_and_idler_of_x8_agree_in_every_shot() -> None:
    samples = run(*x8(0.658), fock(8)).array
    np.testing.assert_array_equal(samples[:, :4].sum(1), samples[:, 4:].sum(1))


def test_an_x12_with_all_its_squeezers_on_needs_numpy_alone() -> None:
    unitary = unitary_group.rvs(6, random_state=5)
    signals, idlers = list(range(6)), list(range(6, 12))
    squeezers = [op("S2gate", 1.0, 0.0, modes=(mode, mode + 6)) for mode in range(6)]
    mixers = [op("Interferometer", unitary, modes=signals), op("Interferometer", unitary, modes=idlers)]
    samples = run(*squeezers, *mixers, fock(12), shots=400)
    assert samples.meta["sampler"] == "x-series exact"
    assert (samples.array[:, :6].sum(axis=1) == samples.array[:, 6:].sum(axis=1)).all()
    # 12 sinh(1)^2 photons a shot, whose standard deviation over the mean of 400 shots is 0.45
    assert samples.array.sum(axis=1).mean() == pytest.approx(12 * math.sinh(1) ** 2, abs=2)


def test_strong_squeezing_keeps_its_mean_photon_number() -> None:
    """The default cutoff of the simulators loses a fifth of it."""
    samples = run(*x8(1.0), fock(8), shots=200_000).array
    assert samples.mean() == pytest.approx(math.sinh(1) ** 2, rel=0.01)


def test_a_part_of_x8_is_counted_like_the_whole() -> None:
    every, some = run(*x8(0.5), fock(8)).array, run(*x8(0.5), op("MeasureFock", modes=[7, 0, 1, 2, 3])).array
    np.testing.assert_array_equal(some, every[:, [0, 1, 2, 3, 7]])


def test_vacuum_gives_zeros() -> None:
    samples = run(op("Vacuum", modes=[0]), fock(3), shots=50).array
    assert samples.shape == (50, 3)
    assert samples.dtype == np.uint8
    assert not samples.any()


def test_bright_light_needs_wider_integers() -> None:
    samples = run(op("Coherent", 30.0, modes=[0]), fock(1), shots=100).array
    assert samples.dtype == np.uint16
    assert samples.mean() == pytest.approx(900, rel=0.02)


def test_dark_counts_are_added() -> None:
    samples = run(fock(2, dark_counts=(0.5, 0.0))).array
    assert samples[:, 0].mean() == pytest.approx(0.5, rel=0.05)
    assert not samples[:, 1].any()


@pytest.mark.parametrize("gates", [x8(0.6), squeezed_network()[0]], ids=["twin beams", "table"])
def test_a_seed_determines_the_samples(gates: list[Operation]) -> None:
    first, again, other = (run(*gates, fock(3), shots=200, seed=seed).array for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("displacement", [0.0, 0.7])
def test_amplitudes_equal_those_of_thewalrus(displacement: float) -> None:
    """They were once wrong by 1e-4, because numpy takes square roots of small integers in float16."""
    gates, _ = squeezed_network()
    state = read_circuit(Program(operations=(*gates, op("Dgate", displacement, 0.3, modes=[2]), fock(3)))).state
    expected = state_vector(state.means, state.cov, cutoff=9, check_purity=False)
    basis = Basis(8, 3)
    for n, layer in enumerate(amplitude_layers(state, basis)):
        patterns = basis.patterns(n, np.arange(basis.size(n)))
        np.testing.assert_allclose(layer * expected[0, 0, 0], expected[tuple(patterns.T)], rtol=0, atol=1e-13)


def test_the_total_photon_number_has_its_exact_distribution() -> None:
    gates, matrix = squeezed_network()
    exact = probabilities(matrix, cutoff=12)
    totals = np.indices(exact.shape).sum(0)
    ours = total_distribution(read_circuit(Program(operations=(*gates, fock(3)))).state)
    for n in range(10):
        assert ours[n] == pytest.approx(exact[totals == n].sum(), abs=1e-13)
