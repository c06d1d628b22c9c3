"""Programs of Strawberry Fields handed over as objects: entanglement, X8 programs, compiled programs, parameters, new modes."""

from __future__ import annotations

from typing import Any

import numpy as np
import strawberryfields as sf
from strawberryfields import ops
from thewalrus.symplectic import expand, interferometer, two_mode_squeezing

from sfjobs.platform.devices import build_devices
from tests.interop.published.comparison import check_samples
from tests.interop.published.exact import Measured, Reading
from tests.interop.published.rows import haar, published


@published("two-mode squeezed vacuum", shots=5000)
def two_mode_squeezed() -> Any:
    program = sf.Program(2)
    with program.context as q:
        ops.S2gate(1.0) | (q[0], q[1])
        ops.MeasureFock() | q
    return program


@published("an entangled pair on homodyne detectors")
def entangled_pair() -> Any:
    program = sf.Program(2)
    with program.context as q:
        ops.Squeezed(-2) | q[0]
        ops.Squeezed(2) | q[1]
        ops.BSgate() | (q[0], q[1])
        ops.Rgate(0.3).H | q[0]
        ops.MeasureX | q[0]
        ops.MeasureP | q[1]
    return program


@published("a cluster of four modes by controlled phases")
def cluster() -> Any:
    program = sf.Program(4)
    with program.context as q:
        for mode in q:
            ops.Squeezed(-1.2) | mode
        for left, right in ((0, 1), (1, 2), (2, 3), (0, 3)):
            ops.CZgate(1) | (q[left], q[right])
        ops.MeasureP | q[0]
        ops.MeasureX | q[1]
        ops.MeasureHomodyne(0.3) | q[2]
        ops.MeasureX | q[3]
    return program


@published("squeezed and rotated modes through a random unitary", shots=8000)
def random_unitary() -> Any:
    program = sf.Program(4)
    with program.context as q:
        for mode, r in enumerate([0.4, 0.7, -0.3, 0.5]):
            ops.Sgate(r, 0.3 * mode) | q[mode]
        ops.Interferometer(haar(4, 11)) | q
        ops.LossChannel(0.8) | q[1]
        ops.LossChannel(0.8) | q[2]
        ops.MeasureFock() | q
    return program


@published("compiled for the Gaussian backend before it is sent", shots=8000)
def compiled() -> Any:
    program = sf.Program(4)
    with program.context as q:
        ops.S2gate(0.6, 0.4) | (q[0], q[2])
        ops.Pgate(0.3) | q[1]
        ops.CXgate(0.4) | (q[1], q[3])
        ops.MZgate(0.5, 0.9) | (q[0], q[1])
        ops.S2gate(0.3).H | (q[1], q[2])
        ops.MeasureFock() | q
    return program.compile(compiler="gaussian")


@published("compiled to one Gaussian transformation", shots=8000)
def gaussian_unitary() -> Any:
    program = sf.Program(3)
    with program.context as q:
        ops.Sgate(0.6, 0.2) | q[0]
        ops.S2gate(0.5, 0.7) | (q[1], q[2])
        ops.BSgate(0.4, 0.3) | (q[0], q[1])
        ops.Dgate(0.5, 0.6) | q[2]
    measured = sf.Program(3)
    with measured.context as q:
        for command in program.compile(compiler="gaussian_unitary").circuit:
            command.op | [q[register.ind] for register in command.reg]
        ops.MeasureFock() | q
    return measured


@published("bound parameters", shots=8000)
def bound_parameters() -> Any:
    # Strawberry Fields has one parameter of each name for all programs: the names differ from those of other rows.
    program = sf.Program(2)
    r, theta = program.params("squeezing", "angle")
    with program.context as q:
        ops.Sgate(2 * r, theta / 3) | q[0]
        ops.Sgate(r).H | q[1]
        ops.BSgate(sf.math.sin(theta), theta) | (q[0], q[1])
        ops.MeasureFock() | q
    program.bind_params({"squeezing": 0.35, "angle": 0.8})
    return program


def _free() -> Any:
    program = sf.Program(2)
    r, theta = program.params("r", "theta")
    with program.context as q:
        ops.Sgate(2 * r, theta / 3) | q[0]
        ops.Sgate(r).H | q[1]
        ops.BSgate(theta, 0.2) | (q[0], q[1])
        ops.MeasureFock() | q
    return program


def _freed() -> Any:
    program = sf.Program(2)
    with program.context as q:
        ops.Sgate(0.7, 0.8 / 3) | q[0]
        ops.Sgate(-0.35) | q[1]
        ops.BSgate(0.8, 0.2) | (q[0], q[1])
        ops.MeasureFock() | q
    return program


published("free parameters", shots=8000, params={"r": 0.35, "theta": 0.8}, meaning=_freed)(_free)


def _new_modes() -> Any:
    program = sf.Program(2)
    with program.context as q:
        ops.Squeezed(0.6, 0.2) | q[0]
        ops.S2gate(0.7, 0.3) | (q[0], q[1])
        ops.Del | q[0]
        (new,) = ops.New(1)
        ops.BSgate(0.6, 0.7) | (q[1], new)
        ops.MeasureFock() | (q[1], new)
    return program


def _without_deleting() -> Any:
    program = sf.Program(3)
    with program.context as q:
        ops.Squeezed(0.6, 0.2) | q[0]
        ops.S2gate(0.7, 0.3) | (q[0], q[1])
        ops.BSgate(0.6, 0.7) | (q[1], q[2])
        ops.MeasureFock() | (q[1], q[2])
    return program


published("deleted and new modes", shots=8000, meaning=_without_deleting)(_new_modes)


@published("a Gaussian state that is not decomposed")
def whole_gaussian() -> Any:
    state = sf.Program(2)
    with state.context as q:
        ops.Thermal(0.3) | q[0]
        ops.S2gate(0.5, 0.3) | (q[0], q[1])
        ops.Dgate(0.4, 0.9) | q[0]
    prepared = sf.Engine("gaussian").run(state).state
    program = sf.Program(2)
    with program.context as q:
        ops.Gaussian(prepared.cov(), prepared.means(), decomp=False) | q
        ops.MeasureFock() | q
    return program


def _x8(unitary: Any, pairs: tuple[int, ...]) -> Any:
    program = sf.Program(8)
    with program.context as q:
        for mode in pairs:
            ops.S2gate(1.0) | (q[mode], q[mode + 4])
        ops.Interferometer(unitary) | q[:4]
        ops.Interferometer(unitary) | q[4:]
        ops.MeasureFock() | q
    return program


def check_x8(unitary: Any, pairs: tuple[int, ...], r: float = 1.0) -> Any:
    """Return the check of an X8 program: its state by the symplectic matrices of thewalrus."""

    def check(samples: Any) -> None:
        cov = np.eye(16)
        for mode in pairs:
            # thewalrus has the other sign of the squeezing
            matrix = expand(two_mode_squeezing(-r, 0.0), [mode, mode + 4], 8)
            cov = matrix @ cov @ matrix.T
        for half in (range(4), range(4, 8)):
            matrix = expand(interferometer(unitary), list(half), 8)
            cov = matrix @ cov @ matrix.T
        check_samples(Measured(np.zeros(16), cov, tuple(Reading(mode, "MeasureFock") for mode in range(8))), samples)

    return check


@published("X8 tutorial", target="X8_01", shots=20_000, check=check_x8(haar(4, 21), (0, 1, 2, 3)))
def x8() -> Any:
    return _x8(haar(4, 21), (0, 1, 2, 3))


@published("X8 with two squeezers", target="X8", shots=20_000, check=check_x8(haar(4, 22), (0, 2)))
def x8_two_pairs() -> Any:
    return _x8(haar(4, 22), (0, 2))


@published("the circuit of an X8 on the simulator", shots=20_000, check=check_x8(haar(4, 23), (0, 1, 3)))
def x8_on_simulator() -> Any:
    return _x8(haar(4, 23), (0, 1, 3))


@published("X8 compiled before it is sent", target="X8_01", shots=20_000, check=check_x8(haar(4, 24), (0, 1, 2, 3)))
def x8_compiled() -> Any:
    device = build_devices()["X8_01"]
    compiler = sf.compilers.compiler_db["Xunitary"]
    compiler.reset_circuit()  # which keeps the layout of the first device
    compiled = _x8(haar(4, 24), (0, 1, 2, 3)).compile(device=sf.Device(device.specification, device.certificate))
    compiler.reset_circuit()
    return compiled


@published("a bipartite graph on an X8", target="X8_01", shots=20_000)
def bipartite_on_x8() -> Any:
    # The published example: a graph whose weights need equal squeezing of all pairs, here 1.
    block = np.tanh(1.0) * haar(4, 25) @ haar(4, 25).T
    zero = np.zeros((4, 4))
    graph = np.block([[zero, block], [block.T, zero]])
    program = sf.Program(8)
    mean = float(np.sinh(1.0) ** 2)
    with program.context as q:
        ops.BipartiteGraphEmbed(graph, mean_photon_per_mode=mean) | q
        ops.MeasureFock() | q
    return program


@published("X12", target="X12_01", shots=5000)
def x12() -> Any:
    program, unitary = sf.Program(12), haar(6, 26)
    with program.context as q:
        for mode in (0, 2, 3, 5):
            ops.S2gate(1.0) | (q[mode], q[mode + 6])
        ops.Interferometer(unitary) | q[:6]
        ops.Interferometer(unitary) | q[6:]
        ops.MeasureFock() | q
    return program
