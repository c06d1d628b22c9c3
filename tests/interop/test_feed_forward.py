"""
Feed-forward, post-selection, modes that are measured again and MSgate: programs of Strawberry Fields 0.23 on its own backends,
and their texts by our simulation. Shots are compared by Kolmogorov-Smirnov, also their products; states by their moments.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sfjobs._submission.blackbird_writer import written
from sfjobs._submission.strawberryfields import compiled_text
from sfjobs.models import Device, DeviceSpecification
from sfjobs.platform.blackbird import parse
from sfjobs.platform.blackbird.formulas import read_formula
from sfjobs.platform.program import Array, MeasuredParameter
from sfjobs.platform.simulation import simulate
from sfjobs.platform.simulation.trajectory_reader import read_trajectories


def imported(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed: run `nox -s interop`")


sf = imported("strawberryfields")
ops = importlib.import_module("strawberryfields.ops")

pytestmark = [pytest.mark.interop]

RUNS = 400


def made(modes: int, build: Callable[[Any], None]) -> Any:
    program = sf.Program(modes)
    with program.context as q:
        build(q)
    return program


def text_of(program: Any) -> str:
    return written(program, name="feed", target="simulon_gaussian", options={"shots": 10})


def teleportation(q: Any) -> None:
    ops.Coherent(0.8, -0.5) | q[0]
    ops.Squeezed(-1) | q[1]
    ops.Squeezed(1) | q[2]
    ops.BSgate(math.pi / 4, math.pi) | (q[1], q[2])
    ops.BSgate(math.pi / 4, math.pi) | (q[0], q[1])
    ops.MeasureX | q[0]
    ops.MeasureP | q[1]
    ops.Xgate(math.sqrt(2) * q[0].par) | q[2]
    ops.Zgate(-math.sqrt(2) * q[1].par) | q[2]
    ops.MeasureHomodyne(0.3) | q[2]


def gates_by_readings(q: Any) -> None:
    ops.S2gate(0.7) | (q[0], q[1])
    ops.MeasureHD | q[0]
    ops.Rgate(sf.math.re(q[0].par)) | q[1]
    ops.Xgate(sf.math.Abs(q[0].par) ** 2 - sf.math.im(q[0].par)) | q[1]
    ops.MeasureX | q[1]
    ops.Sgate(-0.3 * sf.math.sin(-(q[1].par ** 2))) | q[0]
    ops.CZgate(q[1].par / 3) | (q[0], q[1])
    ops.MeasureP | q[1]
    ops.MeasureX | q[0]


def measured_again(q: Any) -> None:
    ops.S2gate(0.9) | (q[0], q[1])
    ops.MeasureX | q[0]
    ops.Squeezed(-0.4) | q[0]
    ops.BSgate(0.5, 0.2) | (q[0], q[1])
    ops.Dgate(sf.math.sqrt(1 + q[0].par ** 2), q[0].par).H | q[1]
    ops.MeasureHomodyne(0.4) | q[0]
    ops.Zgate(-q[0].par) | q[1]
    ops.MeasureP | q[1]


def angles_by_readings(q: Any) -> None:
    ops.Squeezed(0.6) | q[0]
    ops.Squeezed(-0.9, 0.3) | q[1]
    ops.MeasureX | q[0]
    ops.MeasureHomodyne(sf.math.exp(-(q[0].par ** 2))) | q[1]


@pytest.mark.parametrize(
    ("modes", "circuit"),
    [(3, teleportation), (2, gates_by_readings), (2, measured_again), (2, angles_by_readings)],
)
def test_shots_are_distributed_as_those_of_the_local_engine(modes: int, circuit: Callable[[Any], None]) -> None:
    ours = simulate(parse(text_of(made(modes, circuit))), shots=20 * RUNS, seed=1).array
    np.random.seed(5)  # noqa: NPY002 - the local engine draws from the global generator
    theirs = np.array([sf.Engine("gaussian").run(made(modes, circuit)).samples[0] for _ in range(RUNS)])
    for columns in (np.real, np.imag, lambda samples: np.real(samples) * np.real(np.roll(samples, 1, axis=1))):
        for first, second in zip(columns(ours).T, columns(theirs).T, strict=True):
            if first.any():
                assert stats.ks_2samp(first, second).pvalue > 1e-4


def moments(text: str, modes: list[int]) -> tuple[Array, Array]:
    head = read_trajectories(parse(text)).head
    where = head.indices(modes)
    return head.constants[where], head.rows[where] @ head.rows[where].T


def selected_homodyne(q: Any) -> None:
    ops.S2gate(0.8, 0.3) | (q[0], q[1])
    ops.Dgate(0.4, 0.2) | q[0]
    ops.BSgate(0.6, 0.1) | (q[1], q[2])
    ops.MeasureHomodyne(0.7, select=0.9) | q[0]
    ops.Xgate(0.5 * q[0].par) | q[1]


def selected_heterodyne(q: Any) -> None:
    ops.S2gate(0.8, 0.3) | (q[0], q[1])
    ops.BSgate(0.6, 0.1) | (q[1], q[2])
    ops.LossChannel(0.8) | q[0]
    ops.MeasureHeterodyne(select=0.5 - 0.2j) | q[0]
    ops.Sgate(0.2) | q[2]


@pytest.mark.parametrize("circuit", [selected_homodyne, selected_heterodyne])
def test_a_selected_reading_leaves_the_state_of_the_local_backend(circuit: Callable[[Any], None]) -> None:
    program = made(3, circuit)
    ours = moments(text_of(program) + "Measure | [1, 2]\n", [1, 2])
    backend = sf.backends.load_backend("gaussian")
    backend.begin_circuit(3)
    for command in program.compile(compiler="gaussian").circuit:
        command.op.apply(command.reg, backend, eps=1e-6)  # the variance of its homodyne detector, 0 here
    state = backend.state([1, 2])
    np.testing.assert_allclose(ours[0], state.means(), atol=1e-9)
    np.testing.assert_allclose(ours[1], state.cov(), atol=1e-9)


@pytest.mark.parametrize(
    ("r", "phi", "r_anc", "efficiency"), [(0.4, 0.0, 1.2, 1.0), (0.7, 1.1, 2.0, 0.9), (-0.6, 0.5, 1.0, 0.7)]
)
def test_measurement_based_squeezing_has_the_moments_of_the_bosonic_backend(
    r: float, phi: float, r_anc: float, efficiency: float
) -> None:
    def circuit(q: Any) -> None:
        ops.Coherent(0.6, 0.7) | q[0]
        ops.Sgate(0.3, 0.4) | q[0]
        ops.MSgate(r, phi, r_anc, efficiency) | q[0]

    program = made(1, circuit)
    state = sf.Engine("bosonic").run(program).state
    means, covariance = moments(text_of(program) + "MeasureX | 1\nMeasure | 0\n", [0])
    np.testing.assert_allclose(means, np.real(state.means()[0]), atol=1e-9)
    np.testing.assert_allclose(covariance, np.real(state.covs()[0]), atol=1e-9)


def test_single_shots_of_measurement_based_squeezing_add_up_to_ours() -> None:
    def circuit(q: Any) -> None:
        ops.Coherent(0.6, 0.7) | q[0]
        ops.MSgate(0.7, 0.3, 0.8, 0.8, False) | q[0]
        ops.MeasureHomodyne(0.2) | q[0]

    ours = simulate(parse(text_of(made(1, circuit))), shots=20 * RUNS, seed=1).array[:, 0]
    np.random.seed(6)  # noqa: NPY002 - the local engine draws from the global generator
    theirs = [float(np.squeeze(sf.Engine("bosonic").run(made(1, circuit)).samples)) for _ in range(RUNS)]
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-4


SIMULATOR = Device(
    target="simulon_gaussian",
    specification=DeviceSpecification(target="simulon_gaussian", modes={"pnr_max": 216}, compiler=("gaussian",)),
)


@pytest.mark.parametrize("circuit", [gates_by_readings, measured_again])
def test_a_program_handed_over_for_a_simulator_keeps_its_formulas(circuit: Callable[[Any], None]) -> None:
    """Its compiler would write ``CZgate(q1 / 3)`` as beam splitters by functions that Blackbird lacks."""
    program = made(2, circuit)
    assert (
        compiled_text(program, "simulon_gaussian", SIMULATOR, 10).partition("\n\n")[2]
        == text_of(program).partition("\n\n")[2]
    )


def test_minus_a_square_stays_minus_a_square() -> None:
    """In Blackbird a sign binds closer than a power."""

    def circuit(q: Any) -> None:
        ops.MeasureX | q[0]
        ops.Xgate(-(q[0].par ** 2) / 3 + 2 / q[0].par - sf.math.sqrt(q[0].par ** 2)) | q[1]

    parameter = parse(text_of(made(2, circuit))).operations[1].arguments[0]
    assert isinstance(parameter, MeasuredParameter)
    values = np.array([-1.5, 0.5, 2.0])
    wanted = -(values**2) / 3 + 2 / values - np.abs(values)
    np.testing.assert_allclose(read_formula(parameter.text)({0: values}), wanted, atol=1e-15)
