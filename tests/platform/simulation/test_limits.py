"""Programs that the simulation rejects: error code, gate and line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sfjobs.platform.program import ArrayParameter, FreeParameter, MeasuredParameter, Operation, Program, ProgramError
from sfjobs.platform.simulation import simulate


def op(name: str, *arguments: Any, modes: Any, line: int = 0, **keywords: Any) -> Operation:
    return Operation(name, arguments, keywords, tuple(modes), line)


UNSUPPORTED = {
    "a cubic phase": (op("Vgate", 0.1, modes=[0]), "not a Gaussian operation"),
    "a photon": (op("Fock", 1, modes=[0]), "not a Gaussian operation"),
    "an unknown gate": (op("Wgate", modes=[0]), "not an operation"),
    "not a number": (op("Sgate", math.nan, modes=[0]), "must be finite"),
    "infinity": (op("Rgate", math.inf, modes=[0]), "must be finite"),
    "a huge integer": (op("Rgate", 10**400, modes=[0]), "must be finite"),
    "a complex number": (op("Sgate", 1 + 1j, modes=[0]), "must be a real number"),
    "a text": (op("Rgate", "x", modes=[0]), "must be a real number"),
    "no parameter": (op("Rgate", modes=[0]), "needs the parameter"),
    "too many": (op("Rgate", 1, 2, modes=[0]), "at most 1"),
    "a strange keyword": (op("Rgate", modes=[0], angle=1), "no parameter 'angle'"),
    "a value twice": (op("Rgate", 1, modes=[0], theta=1), "twice"),
    "too few modes": (op("BSgate", modes=[0]), "acts on 2 modes"),
    "no mode": (op("Rgate", 1, modes=[]), "no mode"),
    "a mode twice": (op("BSgate", modes=[0, 0]), "different"),
    "gain": (op("LossChannel", 1.2, modes=[0]), "between 0 and 1"),
    "no unitary": (op("Interferometer", np.ones((2, 2)), modes=[0, 1]), "not unitary"),
    "a wrong shape": (op("Interferometer", np.eye(3), modes=[0, 1]), "must be (2, 2)"),
    "nan in a matrix": (op("Interferometer", np.full((2, 2), np.nan), modes=[0, 1]), "not finite"),
    "not symplectic": (op("GaussianTransform", 2 * np.eye(2), modes=[0]), "not symplectic"),
    "no state": (op("Gaussian", 0.5 * np.eye(2), modes=[0]), "uncertainty"),
    "an amplifier": (op("PassiveChannel", 1.1 * np.eye(2), modes=[0, 1]), "amplifies"),
    "a graph with a direction": (op("GraphEmbed", np.array([[0, 1], [0, 0]]), modes=[0, 1]), "not symmetric"),
    "feed-forward": (op("Xgate", MeasuredParameter("0.5 * q0", (0,)), modes=[1]), "before mode 0 is measured"),
    "a template": (op("Rgate", FreeParameter("{a}", ("a",)), modes=[1]), "theta = {a} has no value"),
    "a loop": (op("Rgate", ArrayParameter("p0"), modes=[1]), "TDM"),
    "post-selection": (op("MeasureFock", modes=[0], select=(1,)), "post-selection"),
    "negative dark counts": (op("MeasureFock", modes=[0], dark_counts=-0.1), "dark_counts"),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_an_unsupported_operation_is_rejected_with_name_and_line(case: str) -> None:
    operation, reason = UNSUPPORTED[case]
    faulty = Operation(operation.name, operation.arguments, operation.keywords, operation.modes, 7)
    with pytest.raises(ProgramError) as caught:
        simulate(Program(operations=(faulty, op("MeasureFock", modes=[2]))), shots=10)
    assert caught.value.code == "unsupported-circuit"
    assert caught.value.detail.startswith(f"line 7: {operation.name}: ")
    assert reason in caught.value.detail
    assert (caught.value.line, caught.value.operation) == (7, operation.name)


@pytest.mark.parametrize("second", ["MeasureFock", "Fouriergate"])
def test_a_measured_mode_cannot_be_used_again(second: str) -> None:
    program = Program(operations=(op("MeasureFock", modes=[0]), op(second, modes=[0], line=2)))
    with pytest.raises(ProgramError, match=r"line 2: .* has been measured before"):
        simulate(program, shots=1)


def test_a_program_without_a_measurement_is_rejected() -> None:
    with pytest.raises(ProgramError, match="measures nothing"):
        simulate(Program(operations=(op("Rgate", 0.1, modes=[0]),)), shots=1)


SQUEEZED = op("Sgate", 50.0, modes=[0])
TOO_LARGE = {
    "squeezing": (Program(operations=(SQUEEZED, op("MeasureFock", modes=[0]))), 1),
    "squeezing step by step": (
        Program(operations=(*[op("Sgate", 2.0, modes=[0])] * 9, op("MeasureHomodyne", 0, modes=[0]))),
        1,
    ),
    "modes": (Program(operations=(op("MeasureFock", modes=[10**9]),)), 1),
    "shots": (Program(operations=(op("MeasureFock", modes=[0]),)), 10**9),
    "no shots": (Program(operations=(op("MeasureFock", modes=[0]),)), 0),
    "bytes": (Program(operations=(op("MeasureFock", modes=range(200)),)), 10**6),
    "bytes of quadratures": (Program(operations=tuple(op("MeasureX", modes=[mode]) for mode in range(8))), 10**7),
    "photons": (Program(operations=(op("Sgate", 9.0, modes=[0]), op("MeasureFock", modes=[0]))), 1),
    "bright light": (
        Program(operations=(op("Thermal", 5e7, modes=[0]), op("Dgate", 9e4, modes=[0]), op("MeasureFock", modes=[0]))),
        1,
    ),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_a_program_beyond_a_limit_is_rejected_at_once(case: str) -> None:
    program, shots = TOO_LARGE[case]
    with pytest.raises(ProgramError) as caught:
        simulate(program, shots=shots)
    assert caught.value.code == "simulation-limit"
