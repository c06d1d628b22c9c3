"""Homodyne and heterodyne detection, alone and beside photon counters, and time-domain programs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sfjobs.platform.program import ArrayParameter, Operation, Program, ProgramError, Samples
from sfjobs.platform.simulation import simulate

SHOTS = 40_000


def op(name: str, *arguments: Any, modes: Any, **keywords: Any) -> Operation:
    return Operation(name, arguments, keywords, tuple(modes), 3)


def run(*operations: Operation, shots: int = SHOTS) -> Samples:
    return simulate(Program(operations=operations), shots=shots, seed=9)


def test_homodyne_reads_the_rotated_quadrature_of_each_mode() -> None:
    gates = [op("Squeezed", 0.8, 0.0, modes=[0]), op("Coherent", 1.5, 0.4, modes=[1])]
    measures = [op("MeasureHomodyne", 0.3, modes=[0]), op("MeasureHomodyne", 1.2, modes=[1])]
    samples = run(*gates, *measures).array
    variance = math.exp(-1.6) * math.cos(0.3) ** 2 + math.exp(1.6) * math.sin(0.3) ** 2
    assert samples.dtype == np.float64
    assert samples[:, 0].var() == pytest.approx(variance, rel=0.04)
    assert samples[:, 1].mean() == pytest.approx(3 * math.cos(1.2 - 0.4), abs=0.03)
    assert samples[:, 1].var() == pytest.approx(1, rel=0.04)


def test_the_quadratures_of_twin_beams_agree() -> None:
    samples = run(op("S2gate", 2.0, modes=[0, 1]), op("MeasureX", modes=[0]), op("MeasureX", modes=[1])).array
    assert (samples[:, 0] - samples[:, 1]).var() == pytest.approx(2 * math.exp(-4), rel=0.04)


def test_heterodyne_gives_the_amplitude_with_the_noise_of_the_vacuum() -> None:
    samples = run(op("Coherent", 1.5, 0.4, modes=[0]), op("MeasureHeterodyne", modes=[0])).array
    assert samples.dtype == np.complex128
    assert samples.mean() == pytest.approx(1.5 * np.exp(0.4j), abs=0.02)
    assert samples.var() == pytest.approx(1, rel=0.04)


def test_loss_before_homodyne_mixes_in_vacuum() -> None:
    gates = [op("Squeezed", 1.0, modes=[0]), op("LossChannel", 0.5, modes=[0])]
    samples = run(*gates, op("MeasureX", modes=[0])).array
    assert samples.var() == pytest.approx(0.5 * math.exp(-2) + 0.5, rel=0.04)


def test_columns_ascend_in_mode_for_any_order_of_measurements() -> None:
    gates = [op("Coherent", 2.0, modes=[0]), op("Coherent", 5.0, modes=[1])]
    samples = run(*gates, op("MeasureX", modes=[1]), op("MeasureX", modes=[0])).array
    np.testing.assert_allclose(samples.mean(0), [4, 10], atol=0.05)


def test_a_count_beside_an_independent_quadrature_is_exact() -> None:
    gates = [op("Squeezed", 0.7, modes=[0]), op("Squeezed", 0.7, modes=[1])]
    samples = run(*gates, op("MeasureX", modes=[0]), op("MeasureFock", modes=[1])).array
    assert set(np.unique(samples[:, 1] % 2)) == {0.0}
    assert samples[:, 1].mean() == pytest.approx(math.sinh(0.7) ** 2, rel=0.05)


def test_a_count_follows_the_heterodyne_reading_of_its_twin() -> None:
    """A reading of alpha leaves the twin in the coherent state of amplitude tanh(r) conj(alpha)."""
    pair = op("S2gate", 1.0, modes=[0, 1])
    samples = run(pair, op("MeasureHeterodyne", modes=[0]), op("MeasureFock", modes=[1])).array
    expected = (math.tanh(1) * np.abs(samples[:, 0])) ** 2
    assert (samples[:, 1].real - expected).mean() == pytest.approx(0, abs=0.03)
    assert np.var(samples[:, 1].real - expected) == pytest.approx(expected.mean(), rel=0.05)


def test_a_count_follows_the_homodyne_reading_of_its_twin() -> None:
    """A reading of x leaves the twin squeezed, its mean x times tanh(2r), its variances 1/cosh(2r) and cosh(2r)."""
    shots = 1500
    pair = op("S2gate", 0.6, modes=[0, 1])
    samples = run(pair, op("MeasureX", modes=[0]), op("MeasureFock", modes=[1]), shots=shots).array
    narrow = math.cosh(1.2)
    expected = ((math.tanh(1.2) * samples[:, 0]) ** 2 + 1 / narrow + narrow - 2) / 4
    error = (samples[:, 1] - expected).std() / math.sqrt(shots)
    assert abs((samples[:, 1] - expected).mean()) < 4 * error


def loop(bins: int, measurement: Operation, **arrays: np.ndarray) -> Program:
    gates = (op("Sgate", 0.56, 0, modes=[1]), op("BSgate", ArrayParameter("p0"), 0.0, modes=[1, 0]), measurement)
    return Program(operations=gates, type="tdm", type_options={"temporal_modes": bins}, arrays=arrays)


def test_a_time_domain_program_gives_an_axis_of_time_bins() -> None:
    """A loop without coupling emits each squeezed pulse one time bin late, the last one in the next shot."""
    angles = np.array([[0.0, np.pi / 2, 0.0]])
    program = loop(3, op("MeasureHomodyne", ArrayParameter("p1"), modes=[0]), p0=np.full((1, 3), 0.0), p1=angles)
    samples = simulate(program, shots=SHOTS, seed=2)
    assert samples.array.shape == (SHOTS, 1, 3)
    variances = samples.array.var(axis=0).ravel()
    np.testing.assert_allclose(variances, [math.exp(-1.12), math.exp(1.12), math.exp(-1.12)], rtol=0.05)


def test_a_time_domain_program_counts_photons() -> None:
    program = loop(4, op("MeasureFock", modes=[0]), p0=np.zeros(4))
    samples = simulate(program, shots=SHOTS, seed=2).array
    assert samples.shape == (SHOTS, 1, 4)
    np.testing.assert_allclose(samples.mean(0).ravel(), [0, *[math.sinh(0.56) ** 2] * 3], rtol=0.06)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        (loop(3, op("MeasureFock", modes=[0]), p0=np.zeros(2)), "unsupported-circuit"),
        (loop(3, op("MeasureFock", modes=[0])), "unsupported-circuit"),
        (loop(3, op("MeasureFock", modes=[0, 1]), p0=np.zeros(3)), "unsupported-circuit"),
        (loop(0, op("MeasureFock", modes=[0]), p0=np.zeros(3)), "unsupported-circuit"),
        (loop(10**9, op("MeasureFock", modes=[0]), p0=np.zeros(3)), "simulation-limit"),
        (Program(type="spiral"), "unsupported-circuit"),
    ],
    ids=["short array", "no array", "two registers", "no bins", "endless", "unknown type"],
)
def test_an_unsupported_time_domain_program_is_rejected(program: Program, code: str) -> None:
    with pytest.raises(ProgramError) as caught:
        simulate(program, shots=1)
    assert caught.value.code == code
