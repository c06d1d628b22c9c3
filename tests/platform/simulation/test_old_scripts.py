"""Scripts of earlier versions of Strawberry Fields: complex amplitudes, ``Fouriergate`` with its angle, ``Measure``."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sfjobs.platform.blackbird import parse
from sfjobs.platform.devices import build_devices
from sfjobs.platform.program import ProgramError
from sfjobs.platform.simulation.circuit import Circuit, read_circuit


def circuit(body: str) -> Circuit:
    text = f"name old\nversion 1.0\ntarget simulon_gaussian (shots=5)\n\n{body}\n"
    if "Measure" not in body:
        text += "MeasureFock() | 0\n"
    program = parse(text)
    build_devices()["simulon_gaussian"].check(program)
    return read_circuit(program)


@pytest.mark.parametrize("gate", ["Dgate", "Coherent"])
@pytest.mark.parametrize(
    ("arguments", "means"),
    [
        ("0.3j", (0, 0.6)),
        ("0.5+0.2j", (1, 0.4)),
        ("-0.5-0.2j", (-1, -0.4)),
        ("(0.1 + 0.2j)*2", (0.4, 0.8)),
        ("r=0.3j", (0, 0.6)),
        ("0.5+0.0j", (1, 0)),
        ("-0.5", (-1, 0)),
        ("0.5+0.0j, 0.0", (1, 0)),
        (f"0.5, {math.pi / 2}", (0, 1)),
    ],
)
def test_a_complex_amplitude_is_its_polar_form(gate: str, arguments: str, means: tuple[float, float]) -> None:
    np.testing.assert_allclose(circuit(f"{gate}({arguments}) | 0").state.means, means, atol=1e-12)


def test_a_complex_variable_is_an_amplitude() -> None:
    np.testing.assert_allclose(circuit("complex alpha = 0.5+0.2j\nDgate(alpha) | 0").state.means, (1, 0.4))


@pytest.mark.parametrize(
    ("arguments", "alpha", "r", "p"),
    [
        ("0.5+0.2j, 0.4, 0.3", 0.5 + 0.2j, 0.4, 0.3),
        ("0.3j, 0.4", 0.3j, 0.4, 0),
        ("-0.2-0.3j", -0.2 - 0.3j, 0, 0),
        ("0.5+0.0j, 0.4, -0.3", 0.5, 0.4, -0.3),
        ("0.5, 0.4, 0.3", 0.5 * np.exp(0.4j), 0.3, 0),  # real: as it is now, r_d, phi_d, r_s
        ("0.5, 0.4, 0.3, 0.2", 0.5 * np.exp(0.4j), 0.3, 0.2),
        ("0.5+0.0j, 0.4, 0.3, 0.2", 0.5 * np.exp(0.4j), 0.3, 0.2),
        ("r_s=0.3, phi_s=0.2", 0, 0.3, 0.2),
    ],
)
def test_a_displaced_squeezed_state_has_an_amplitude_or_its_polar_form(
    arguments: str, alpha: complex, r: float, p: float
) -> None:
    state = circuit(f"DisplacedSqueezed({arguments}) | 0").state
    cosh, sinh = math.cosh(2 * r), math.sinh(2 * r)
    expected = [
        [cosh - math.cos(p) * sinh, -math.sin(p) * sinh],
        [-math.sin(p) * sinh, cosh + math.cos(p) * sinh],
    ]
    np.testing.assert_allclose(state.means, (2 * complex(alpha).real, 2 * complex(alpha).imag), atol=1e-12)
    np.testing.assert_allclose(state.cov, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("Dgate(0.3j, 0.1) | 0", "r must be a real number"),
        ("Coherent(0.3j, 0.0) | 0", "r must be a real number"),
        ("Dgate(1e6j) | 0", "more light than is simulated"),
        ("DisplacedSqueezed(1e6j, 0.1, 0.2) | 0", "more light than is simulated"),
        ("DisplacedSqueezed(0.3j, 0.1j, 0.2) | 0", "r must be a real number"),
        ("DisplacedSqueezed(0.3j, 0.1, 0.2, 0.4) | 0", "r_d must be a real number"),
        ("Sgate(0.3j) | 0", "r must be a real number"),
        ("Fouriergate(1.5) | 0", "write Rgate for another angle"),
        ("Fourier(-1.5707963267948966) | 0", "write Rgate for another angle"),
        ("Fouriergate(1.57, 0) | 0", "takes at most 1 arguments"),
    ],
)
def test_an_argument_without_a_meaning_is_refused(statement: str, reason: str) -> None:
    with pytest.raises(ProgramError, match=reason):
        circuit(statement)


@pytest.mark.parametrize(
    "gate", ["Fouriergate()", "Fouriergate(1.5707963267948966)", "Fouriergate(1.57)", "Fourier", "Fourier(pi/2)"]
)
def test_a_fourier_gate_turns_by_a_quarter(gate: str) -> None:
    means = circuit(f"Dgate(0.5, 0.0) | 0\n{gate} | 0").state.means
    np.testing.assert_allclose(means, (0, 1), atol=1e-12)


def test_measure_counts_photons() -> None:
    detectors = circuit("Measure | [0, 1]").detectors
    assert [(detector.mode, detector.kind) for detector in detectors] == [(0, "fock"), (1, "fock")]


def test_measure_fits_the_layout_of_a_device() -> None:
    device = build_devices()["X8_01"]
    layout = str(device.specification["layout"])
    names = parse(layout).free_parameters
    for name in names:
        layout = layout.replace(f"{{{name}}}", "0.0")
    device.check(parse(layout.replace("MeasureFock()", "Measure")))
