"""
Feed-forward, post-selection and modes that are used again: teleportation of states and gates, cloning, squeezing by measurement.
A displacement by a reading is, for the readings of all modes, the controlled gate before that measurement; so the exact states
are those of programs without feed-forward.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import strawberryfields as sf
from scipy import stats
from strawberryfields import ops

from tests.interop.published.comparison import SMALLEST_P, check_samples
from tests.interop.published.exact import Measured, Reading, measured
from tests.interop.published.rows import check_of, meaning_of, published, script

ROOT = float(np.sqrt(2))
HALF_TURN = np.pi / 2


def _displaced_by_p(control: Any, target: Any, gain: float) -> None:
    """The p of ``control``, times ``gain``, is added to the p of ``target``; ``control`` is turned, so that its x is read."""
    ops.Rgate(-HALF_TURN) | control
    ops.CZgate(gain) | (control, target)


def _in_order(program: Any, modes: list[int]) -> Measured:
    """The state of a program, with the detectors on ``modes`` in this order."""
    state = measured(program)
    by_mode = {reading.mode: reading for reading in state.detectors}
    return Measured(state.means, state.cov, tuple(by_mode[mode] for mode in modes))


script(
    "teleportation of a state",
    """
complex alpha = 0.8+0.5j
Coherent(alpha) | 0
Squeezed(-2) | 1
Squeezed(2) | 2
BSgate(pi/4, 0) | (1, 2)

BSgate(pi/4, 0) | (0, 1)
MeasureX | 0
MeasureP | 1

Xgate(sqrt(2)*q0) | 2
Zgate(sqrt(2)*q1) | 2
MeasureHeterodyne() | 2
""",
    shots=4000,
)


@meaning_of("teleportation of a state")
def _teleported() -> Any:
    program = sf.Program(3)
    with program.context as q:
        ops.Coherent(abs(0.8 + 0.5j), float(np.angle(0.8 + 0.5j))) | q[0]
        ops.Squeezed(-2) | q[1]
        ops.Squeezed(2) | q[2]
        ops.BSgate(np.pi / 4, 0) | (q[1], q[2])
        ops.BSgate(np.pi / 4, 0) | (q[0], q[1])
        ops.CXgate(ROOT) | (q[0], q[2])
        _displaced_by_p(q[1], q[2], ROOT)
        ops.MeasureX | q[0]
        ops.MeasureX | q[1]
        ops.MeasureHeterodyne() | q[2]
    return program


@published("teleportation of a squeezed state, counted", shots=1500)
def teleported_object() -> Any:
    program = sf.Program(3)
    with program.context as q:
        ops.DisplacedSqueezed(0.5, 0.3, 0.4, 0.9) | q[0]
        ops.S2gate(1.1) | (q[1], q[2])
        ops.BSgate() | (q[0], q[1])
        ops.MeasureX | q[1]
        ops.MeasureP | q[0]
        ops.Xgate(-ROOT * q[1].par * 0.8) | q[2]
        ops.Zgate(ROOT * q[0].par * 0.8) | q[2]
        ops.MeasureFock() | q[2]
    return program


@meaning_of("teleportation of a squeezed state, counted")
def _teleported_object() -> Any:
    program = sf.Program(3)
    with program.context as q:
        ops.DisplacedSqueezed(0.5, 0.3, 0.4, 0.9) | q[0]
        ops.S2gate(1.1) | (q[1], q[2])
        ops.BSgate() | (q[0], q[1])
        ops.CXgate(-ROOT * 0.8) | (q[1], q[2])
        _displaced_by_p(q[0], q[2], ROOT * 0.8)
        ops.MeasureX | q[0]
        ops.MeasureX | q[1]
        ops.MeasureFock() | q[2]
    return program


@published("cloning of a coherent state", shots=4000)
def cloning() -> Any:
    program = sf.Program(4)
    with program.context as q:
        ops.Coherent(0.9, 1.1) | q[0]
        ops.BSgate() | (q[0], q[1])
        ops.BSgate() | (q[1], q[2])
        ops.MeasureX | q[1]
        ops.MeasureP | q[2]
        ops.Xgate(q[1].par * ROOT) | q[0]
        ops.Zgate(q[2].par * ROOT) | q[0]
        ops.BSgate() | (q[0], q[3])
        ops.MeasureHeterodyne() | q[0]
        ops.MeasureHeterodyne() | q[3]
    return program


@meaning_of("cloning of a coherent state")
def _cloned() -> Any:
    program = sf.Program(4)
    with program.context as q:
        ops.Coherent(0.9, 1.1) | q[0]
        ops.BSgate() | (q[0], q[1])
        ops.BSgate() | (q[1], q[2])
        ops.CXgate(ROOT) | (q[1], q[0])
        _displaced_by_p(q[2], q[0], ROOT)
        ops.BSgate() | (q[0], q[3])
        ops.MeasureHeterodyne() | q[0]
        ops.MeasureX | q[1]
        ops.MeasureX | q[2]
        ops.MeasureHeterodyne() | q[3]
    return program


@published("teleportation of a gate", shots=4000)
def gate_teleportation() -> Any:
    program = sf.Program(4)
    with program.context as q:
        ops.Squeezed(0.2) | q[0]
        ops.Squeezed(-1.5) | q[1]
        ops.Squeezed(-1.5) | q[2]
        ops.Pgate(0.6) | q[1]
        ops.CZgate(1) | (q[0], q[1])
        ops.CZgate(1) | (q[1], q[2])
        ops.Fourier.H | q[0]
        ops.MeasureX | q[0]
        ops.Fourier.H | q[1]
        ops.MeasureX | q[1]
        ops.Squeezed(0.2) | q[3]
        ops.Fourier | q[3]
        ops.Xgate(q[0].par) | q[3]
        ops.Pgate(0.6) | q[3]
        ops.Fourier | q[3]
        ops.Xgate(q[1].par) | q[3]
        ops.MeasureHeterodyne() | q[2]
        ops.MeasureHeterodyne() | q[3]
    return program


@meaning_of("teleportation of a gate")
def _gate_teleported() -> Any:
    program = sf.Program(4)
    with program.context as q:
        ops.Squeezed(0.2) | q[0]
        ops.Squeezed(-1.5) | q[1]
        ops.Squeezed(-1.5) | q[2]
        ops.Pgate(0.6) | q[1]
        ops.CZgate(1) | (q[0], q[1])
        ops.CZgate(1) | (q[1], q[2])
        ops.Rgate(-HALF_TURN) | q[0]
        ops.Rgate(-HALF_TURN) | q[1]
        ops.Squeezed(0.2) | q[3]
        ops.Rgate(HALF_TURN) | q[3]
        ops.CXgate(1) | (q[0], q[3])
        ops.Pgate(0.6) | q[3]
        ops.Rgate(HALF_TURN) | q[3]
        ops.CXgate(1) | (q[1], q[3])
        ops.MeasureX | q[0]
        ops.MeasureX | q[1]
        ops.MeasureHeterodyne() | q[2]
        ops.MeasureHeterodyne() | q[3]
    return program


script(
    "a rotation by a reading",
    """
S2gate(0.8) | [0, 2]
Coherent(1.2, 0.4) | 1
MeasureX | 0
Rgate(0.7*q0) | 1
MeasureHomodyne(0.3) | 1
""",
    shots=4000,
)


@check_of("a rotation by a reading")
def _check_rotation(samples: Any) -> None:
    readings = samples[:, 0]
    _normal(readings / np.sqrt(np.cosh(1.6)))
    _normal(samples[:, 1] - 2.4 * np.cos(0.4 + 0.7 * readings - 0.3))


script(
    "a squeezing by the square of a reading",
    """
Squeezed(0.3) | 0
MeasureP | 0
Sgate(0.2*q0**2) | 1
Xgate(sin(q0)) | 1
MeasureX | 1
""",
    shots=2000,
)


@check_of("a squeezing by the square of a reading")
def _check_squeezing(samples: Any) -> None:
    readings = samples[:, 0]
    _normal(readings * np.exp(-0.3))
    _normal((samples[:, 1] - np.sin(readings)) * np.exp(0.2 * readings**2))


def _normal(values: Any) -> None:
    """Raise ``AssertionError`` unless the values are normal, and each half of them is."""
    for part in (values, values[::2], values[1::2]):
        assert stats.kstest(part, stats.norm.cdf).pvalue > SMALLEST_P
    z = (np.sum(values**2) - len(values)) / np.sqrt(2 * len(values))
    assert 2 * stats.norm.sf(abs(z)) > SMALLEST_P


def _selected(measurement: Any, last: Any) -> Any:
    def make() -> Any:
        program = sf.Program(3)
        with program.context as q:
            ops.S2gate(0.7, 0.4) | (q[0], q[1])
            ops.Dgate(0.5, 0.9) | q[1]
            ops.BSgate(0.6, 0.3) | (q[1], q[2])
            measurement() | q[0]
            if last is not None:
                last() | q[1]
                last() | q[2]
        return program

    return make


def _enter_selected(name: str, measurement: Any, value: complex, last: Any) -> None:
    """A program whose first mode is post-selected: the others are in the state that the Gaussian backend leaves."""

    def check(samples: Any) -> None:
        assert np.allclose(samples[:, 0], value)
        state = sf.Engine("gaussian").run(_selected(measurement, None)()).state
        kind = type(last()).__name__
        others = Measured(state.means(), state.cov(), (Reading(1, kind), Reading(2, kind)))
        check_samples(others, samples[:, 1:])

    published(name, shots=4000, check=check)(_selected(measurement, last))


_enter_selected("a selected quadrature", lambda: ops.MeasureHomodyne(0.4, select=0.9), 0.9, ops.MeasureHeterodyne)
_enter_selected("a selected quadrature, counted", lambda: ops.MeasureHomodyne(1.1, select=-0.6), -0.6, ops.MeasureFock)
_enter_selected(
    "a selected amplitude", lambda: ops.MeasureHeterodyne(select=0.4 - 0.3j), 0.4 - 0.3j, ops.MeasureHeterodyne
)


@published("a measured mode is used again", shots=4000)
def used_again() -> Any:
    program = sf.Program(2)
    with program.context as q:
        ops.S2gate(0.8, 0.3) | (q[0], q[1])
        ops.MeasureHomodyne(0.3) | q[0]
        ops.Dgate(0.6, 0.2) | q[0]
        ops.BSgate(0.7, 0.5) | (q[0], q[1])
        ops.MeasureHeterodyne() | q[0]
        ops.MeasureHeterodyne() | q[1]
    return program


@check_of("a measured mode is used again")
def _check_used_again(samples: Any) -> None:
    program = sf.Program(3)
    with program.context as q:
        ops.S2gate(0.8, 0.3) | (q[0], q[1])
        ops.Dgate(0.6, 0.2) | q[2]  # the mode begins again in the vacuum
        ops.BSgate(0.7, 0.5) | (q[2], q[1])
        ops.MeasureHeterodyne() | q[2]
        ops.MeasureHeterodyne() | q[1]
    check_samples(_in_order(program, [2, 1]), samples)


script(
    "a mode is reset and counted",
    """
S2gate(0.6) | [0, 1]
MeasureX | 0
Squeezed(0.7, 0.4) | 0
BSgate(0.6, 0.8) | [0, 1]
MeasureFock() | [0, 1]
""",
    shots=1500,
)


@check_of("a mode is reset and counted")
def _check_reset(samples: Any) -> None:
    program = sf.Program(3)
    with program.context as q:
        ops.S2gate(0.6) | (q[0], q[1])
        ops.Squeezed(0.7, 0.4) | q[2]
        ops.BSgate(0.6, 0.8) | (q[2], q[1])
        ops.MeasureFock() | q[2]
        ops.MeasureFock() | q[1]
    check_samples(_in_order(program, [2, 1]), np.real(samples))


def _check_squeezed_by_measurement(samples: Any) -> None:
    program = sf.Program(2)
    with program.context as q:
        ops.Dgate(0.6, 0.8) | q[0]
        ops.S2gate(0.4) | (q[0], q[1])
        ops.MSgate(0.5, 0.7, r_anc=1.2, eta_anc=0.9, avg=True) | q[0]
    state = sf.Engine("bosonic").run(program).state
    order = [0, 2, 1, 3]  # theirs has x and p of each mode side by side
    means, cov = state.means()[0].real[order], state.covs()[0].real[np.ix_(order, order)]
    check_samples(Measured(means, cov, (Reading(0, "MeasureHeterodyne"), Reading(1, "MeasureHeterodyne"))), samples)


for _name, _average in (("average", True), ("single shot", False)):
    # Single shots have the average map, too, for what is measured afterwards.
    script(
        f"squeezing by measurement, {_name}",
        f"""
Dgate(0.6, 0.8) | 0
S2gate(0.4) | [0, 1]
MSgate(0.5, 0.7, 1.2, 0.9, {_average}) | 0
MeasureHeterodyne() | 0
MeasureHeterodyne() | 1
""",
        shots=4000,
        check=_check_squeezed_by_measurement,
    )


@published("squeezing by measurement, as an object", shots=4000, check=_check_squeezed_by_measurement)
def squeezing_by_measurement() -> Any:
    program = sf.Program(2)
    with program.context as q:
        ops.Dgate(0.6, 0.8) | q[0]
        ops.S2gate(0.4) | (q[0], q[1])
        ops.MSgate(0.5, 0.7, r_anc=1.2, eta_anc=0.9, avg=True) | q[0]
        ops.MeasureHD | q[0]
        ops.MeasureHD | q[1]
    return program
