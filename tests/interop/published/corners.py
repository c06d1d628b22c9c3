"""Corners of published programs: keywords, meshes, idle modes, resets amid a circuit, trivial and extreme parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import strawberryfields as sf
from strawberryfields import ops

from tests.interop.published.rows import array_text, check_of, haar, meaning_of, published, script

script(
    "arguments by name",
    """
Sgate(r=0.6, phi=0.7) | 0
Dgate(phi=0.4, r=0.8) | 1
BSgate(theta=0.7, phi=0.9) | [1, 0]
MeasureHomodyne(phi=0.6) | 0
MeasureHomodyne(phi=-0.4) | 1
""",
)
script(
    "a loop with a step",
    """
for int m in 0:6:2
    Squeezed(0.4 + m/10, m) | m
    S2gate(0.3, m/5) | [m, m + 1]

for int m in [4, 2]
    BSgate(m/7, m/3) | [m, m - 1]

MeasureFock() | [0, 1, 2, 3, 4, 5]
""",
    shots=8000,
)


@meaning_of("a loop with a step")
def _steps() -> Any:
    program = sf.Program(6)
    with program.context as q:
        for mode in (0, 2, 4):
            ops.Squeezed(0.4 + mode / 10, mode) | q[mode]
            ops.S2gate(0.3, mode / 5) | (q[mode], q[mode + 1])
        for mode in (4, 2):
            ops.BSgate(mode / 7, mode / 3) | (q[mode], q[mode - 1])
        ops.MeasureFock() | q
    return program


for _mesh in ("rectangular", "rectangular_phase_end", "rectangular_symmetric", "triangular"):

    def _meshed(mesh: str = _mesh) -> Any:
        program = sf.Program(4)
        with program.context as q:
            for mode in range(3):
                ops.Sgate(0.6, 0.4 * mode) | q[mode]
            ops.Dgate(0.5, 0.3) | q[3]
            ops.Interferometer(haar(4, 70), mesh=mesh) | q
            for mode in q:
                ops.MeasureHeterodyne() | mode
        return program

    published(f"an interferometer as a {_mesh} mesh")(_meshed)

script(
    "a mesh in a script",
    f"""
{array_text("U", haar(3, 71))}

Sgate(0.7, 0.2) | 0
Coherent(0.6, 0.9) | 1
Interferometer(U, mesh="triangular") | [2, 0, 1]
MeasureHeterodyne() | 0
MeasureHeterodyne() | 1
MeasureHeterodyne() | 2
""",
)


@meaning_of("a mesh in a script")
def _mesh_meaning() -> Any:
    program = sf.Program(3)
    with program.context as q:
        ops.Sgate(0.7, 0.2) | q[0]
        ops.Coherent(0.6, 0.9) | q[1]
        ops.Interferometer(haar(3, 71)) | (q[2], q[0], q[1])
        for mode in q:
            ops.MeasureHeterodyne() | mode
    return program


@published("a lossy interferometer", shots=8000)
def passive_channel() -> Any:
    program = sf.Program(3)
    transfer = haar(3, 72) @ np.diag([0.95, 0.8, 0.6]) @ haar(3, 73)
    with program.context as q:
        for mode in range(3):
            ops.Squeezed(0.7, 0.5 * mode) | q[mode]
        ops.PassiveChannel(transfer) | q
        ops.MeasureFock() | q
    return program


@published("one gate for all modes")
def all_modes() -> Any:
    program = sf.Program(3)
    with program.context as q:
        ops.All(ops.Squeezed(0.6, 0.3)) | q
        ops.BSgate(0.4, 0.2) | (q[0], q[2])
        ops.All(ops.Dgate(0.5, 0.7)) | q
        ops.All(ops.MeasureHeterodyne()) | q
    return program


@published("idle modes", shots=8000)
def idle_modes() -> Any:
    program = sf.Program(6)
    with program.context as q:
        ops.Squeezed(0.7, 0.3) | q[2]
        ops.BSgate(0.6, 0.4) | (q[2], q[5])
        ops.Dgate(0.5, 0.9) | q[5]
        ops.MeasureFock() | q
    return program


script(
    "modes are prepared anew amid a circuit",
    """
S2gate(0.9, 0.3) | [0, 1]
LossChannel(0.5) | 0
Squeezed(0.6, 0.4) | 0
BSgate(0.5, 0.8) | [0, 1]
LossChannel(0.7) | 1
Thermal(0.3) | 2
BSgate(0.7, 0.1) | [1, 2]
Coherent(0.4, 0.6) | 2
S2gate(0.2, 0.5) | [2, 0]
MeasureFock() | [0, 1, 2]
""",
    shots=8000,
)
script(
    "loss again and again",
    """
DisplacedSqueezed(0.9, 0.4, 0.8, 1.1) | 0
LossChannel(0.05) | 0
Dgate(0.7, 0.3) | 0
LossChannel(0.9) | 0
S2gate(0.4, 0.7) | [0, 1]
LossChannel(0.3) | 1
LossChannel(0.6) | 1
Dgate(0.5, 0.8) | 1
BSgate(0.8, 0.4) | [0, 1]
LossChannel(0.8) | 0
LossChannel(0.8) | 1
Rgate(0.4) | 1
BSgate(0.3, 0.2) | [0, 1]
MeasureFock() | [0, 1]
""",
    shots=10_000,
)
script(
    "trivial parameters",
    """
Sgate(0) | 0
Thermal(0) | 1
S2gate(0, 0.4) | [0, 1]
LossChannel(1) | 0
LossChannel(0) | 1
ThermalLossChannel(0.0, 0.8) | 2
ThermalLossChannel(1.0, 0.8) | 0
Dgate(0.7) | 0
Rgate(0) | 1
BSgate(0, 0) | [0, 1]
MeasureFock() | [0, 1, 2]
""",
    shots=8000,
)
script(
    "strong squeezing",
    """
Squeezed(-6) | 0
Squeezed(6, 0.3) | 1
BSgate(pi/4, 0.7) | [0, 1]
MeasureHomodyne(0.2) | 0
MeasureHomodyne(1.3) | 1
""",
)
script(
    "counts of bright light",
    """
Coherent(12, 0.4) | 0
Sgate(0.3, 0.9) | 0
BSgate(0.9, 0.2) | [0, 1]
MeasureFock() | [0, 1]
""",
    shots=4000,
)
script(
    "counts given readings in between",
    """
S2gate(0.5, 0.3) | [3, 1]
Sgate(0.4) | 0
MeasureHeterodyne() | 3
BSgate(0.6, 0.8) | [0, 1]
MeasureHomodyne(0.7) | 2
MeasureFock() | [1, 0]
""",
    shots=1500,
)
script("no light", "MeasureFock() | [0, 1, 2]", shots=1000)


@check_of("no light")
def _check_no_light(samples: Any) -> None:
    assert samples.shape == (1000, 3)
    assert not samples.any()
