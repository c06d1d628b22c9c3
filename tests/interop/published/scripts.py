"""Blackbird scripts: squeezed light through interferometers, loops, arrays and variables, old scripts, templates, lossy light."""

from __future__ import annotations

from typing import Any

import numpy as np
import strawberryfields as sf
from strawberryfields import ops

from tests.interop.published.rows import array_text, check_of, haar, headed, meaning_of, published, script

script(
    "two squeezers on a beamsplitter",
    """
Sgate(0.7, 0.3) | 0
Sgate(-0.5) | 1
BSgate(0.9, 0.4) | [0, 1]
MeasureFock() | [0, 1]
""",
)
script(
    "Gaussian boson sampling with a matrix",
    f"""
{array_text("U", haar(4, 1))}

Sgate(0.8) | 0
Sgate(0.6) | 1
Sgate(0.7, 0.5) | 2
Sgate(0.3) | 3
Interferometer(U) | [0, 1, 2, 3]
MeasureFock() | [0, 1, 2, 3]
""",
    shots=10_000,
)
script(
    "coherent light on homodyne detectors",
    f"""
float alpha = 1.37
{array_text("U", haar(4, 2))}

Coherent(alpha, sqrt(pi)) | 0
Interferometer(U) | [0, 1, 2, 3]
MeasureX | 0
MeasureP | 1
MeasureHomodyne(0.4) | 2
MeasureX | 3
""",
)
script(
    "state preparations on heterodyne detectors",
    """
Vac | 0
Coherent(0.8, 2.1) | 1
Squeezed(0.9, 0.7) | 2
DisplacedSqueezed(0.6, -0.4, 0.7, 1.3) | 3
Thermal(0.7) | 4
MeasureHeterodyne() | 0
MeasureHeterodyne() | 1
MeasureHeterodyne() | 2
MeasureHeterodyne() | 3
MeasureHeterodyne() | 4
""",
)
script(
    "for loops over ranges and lists",
    f"""
{array_text("angles", [[0.3, 0.9, 1.4]])}

for int m in 0:4
    Sgate(0.3 + 0.1 * m, 0.2 * m) | m

for int k in [0, 1, 2]
    BSgate(0.4, 0.7) | [k, k + 1]

for float phi in [0.3, -0.8]
    Rgate(phi) | 2

MeasureFock() | [0, 1, 2, 3]
""",
    shots=8000,
)


@meaning_of("for loops over ranges and lists")
def _loops() -> sf.Program:
    program = sf.Program(4)
    with program.context as q:
        for mode in range(4):
            ops.Sgate(0.3 + 0.1 * mode, 0.2 * mode) | q[mode]
        for mode in range(3):
            ops.BSgate(0.4, 0.7) | (q[mode], q[mode + 1])
        ops.Rgate(0.3 - 0.8) | q[2]
        ops.MeasureFock() | q
    return program


script(
    "variables and functions",
    """
int n = 3
float r = 0.5432
float angle = 2.0*cos(r*pi) + n**2/10
complex z = 0.3-0.4j
float weight = exp(-r)*sqrt(n)

Sgate(r/2, angle) | 0
Dgate(weight, -angle) | 0
Squeezed(sin(r), n*pi/7) | 1
BSgate(arctan(weight), angle) | [0, 1]
MeasureHomodyne(angle/3) | 0
MeasureHeterodyne() | 1
""",
)


@meaning_of("variables and functions")
def _variables() -> sf.Program:
    program, r = sf.Program(2), 0.5432
    angle = 2 * np.cos(r * np.pi) + 0.9
    weight = np.exp(-r) * np.sqrt(3.0)
    with program.context as q:
        ops.Sgate(r / 2, angle) | q[0]
        ops.Dgate(weight, -angle) | q[0]
        ops.Squeezed(np.sin(r), 3 * np.pi / 7) | q[1]
        ops.BSgate(np.arctan(weight), angle) | (q[0], q[1])
        ops.MeasureHomodyne(angle / 3) | q[0]
        ops.MeasureHeterodyne() | q[1]
    return program


script(
    "an old script with complex amplitudes",
    """
complex alpha = 0.9+0.5j
Coherent(alpha) | 0
Squeezed(0.6) | 1
Dgate(-0.4+0.7j) | 1
Fouriergate(1.5707963267948966) | 1
BSgate() | [0, 1]
Measure | [0, 1]
""",
)


@meaning_of("an old script with complex amplitudes")
def _old_script() -> sf.Program:
    program = sf.Program(2)
    with program.context as q:
        ops.Coherent(abs(0.9 + 0.5j), 0.5070985043923369) | q[0]  # the angle is atan(5 / 9)
        ops.Squeezed(0.6) | q[1]
        ops.Xgate(-0.8) | q[1]
        ops.Zgate(1.4) | q[1]
        ops.Rgate(1.5707963267948966) | q[1]
        ops.BSgate() | (q[0], q[1])
        ops.MeasureFock() | q
    return program


script(
    "modes in parentheses, a with-free script of 2018",
    """
Squeezed(-1) | 0
Squeezed(1) | 1
BSgate(pi/4, 0) | (0, 1)
MeasureX | 0
MeasureX | 1
""",
)
script(
    "a template",
    """
Sgate({squeezing}, {angle}) | 0
Sgate({squeezing}/2) | 1
BSgate({angle}, 0.3) | [0, 1]
MeasureFock() | [0, 1]
""",
    params={"squeezing": 0.7, "angle": 0.6},
)


@meaning_of("a template")
def _template() -> sf.Program:
    program = sf.Program(2)
    with program.context as q:
        ops.Sgate(0.7, 0.6) | q[0]
        ops.Sgate(0.35) | q[1]
        ops.BSgate(0.6, 0.3) | (q[0], q[1])
        ops.MeasureFock() | q
    return program


script(
    "lossy two-mode squeezing",
    """
S2gate(0.9, 0.4) | [0, 1]
LossChannel(0.6) | 0
LossChannel(0.85) | 1
MeasureFock() | [0, 1]
""",
    shots=8000,
)
script(
    "loss before a beamsplitter",
    """
Sgate(0.9) | 0
Sgate(0.7, 1.1) | 1
LossChannel(0.5) | 0
BSgate(0.6, 0.9) | [0, 1]
LossChannel(0.8) | 1
Dgate(0.4, 0.8) | 1
MeasureFock() | [0, 1]
""",
    shots=8000,
)
script(
    "thermal light and thermal loss",
    """
Thermal(0.6) | 0
Sgate(0.4, 0.9) | 0
ThermalLossChannel(0.7, 0.3) | 0
BSgate(0.8, 0.2) | [0, 1]
MeasureFock() | [0, 1]
""",
    shots=8000,
)
script(
    "thermal loss on homodyne detectors",
    """
S2gate(1.1, 0.6) | [0, 1]
ThermalLossChannel(0.8, 0.5) | 0
Rgate(0.7) | 1
MeasureHomodyne(0.5) | 0
MeasureHomodyne(-0.9) | 1
""",
    shots=20_000,
)
script(
    "threshold detectors",
    """
for int m in 0:3
    Sgate(0.8, 0.3*m) | m
BSgate(0.7, 0.2) | [0, 1]
BSgate(0.5, 0.9) | [1, 2]
LossChannel(0.9) | 0
MeasureThreshold() | [0, 1, 2]
""",
)


@meaning_of("threshold detectors")
def _clicks() -> sf.Program:
    program = sf.Program(3)
    with program.context as q:
        for mode in range(3):
            ops.Sgate(0.8, 0.3 * mode) | q[mode]
        ops.BSgate(0.7, 0.2) | (q[0], q[1])
        ops.BSgate(0.5, 0.9) | (q[1], q[2])
        ops.LossChannel(0.9) | q[0]
        ops.MeasureThreshold() | q
    return program


script(
    "dark counts",
    """
S2gate(0.6) | [0, 1]
MeasureFock(dark_counts=[0.2, 0.05]) | [0, 1]
""",
    shots=8000,
)


@meaning_of("dark counts")
def _dark_counts() -> sf.Program:
    program = sf.Program(2)
    with program.context as q:
        ops.S2gate(0.6) | (q[0], q[1])
        ops.MeasureFock(dark_counts=[0.2, 0.05]) | q
    return program


MIXED = """
Sgate(0.8, 0.5) | 0
Dgate(0.5, 0.3) | 1
S2gate(0.4, 0.2) | [0, 1]
BSgate(0.7, 0.9) | [1, 2]
"""
script(
    "a measurement in another order",
    f"{MIXED}\nRgate(0.4) | 0\nMeasureFock() | [2, 0, 1]",
    shots=8000,
)
script("some modes are measured", f"{MIXED}\nBSgate(0.3) | [0, 2]\nMeasureFock() | [2, 0]", shots=8000)
script(
    "several measurement statements",
    f"{MIXED}\nMeasureFock() | 2\nRgate(0.2) | 0\nMeasureFock() | 0\nMeasureFock() | 1",
    shots=8000,
)
script("one shot", f"{MIXED}\nMeasureFock() | [0, 1, 2]", shots=1)


@check_of("one shot")
def _check_one_shot(samples: Any) -> None:
    assert samples.shape == (1, 3)
    assert np.issubdtype(samples.dtype, np.integer)
    assert 0 <= samples.min() <= samples.max() < 20


script(
    "modes that are far apart",
    """
Sgate(0.8, 0.4) | 3
Dgate(0.7, 0.9) | 9
BSgate(0.6, 0.5) | [9, 3]
S2gate(0.3, 0.8) | [3, 17]
MeasureFock() | [17, 3, 9]
""",
    shots=8000,
)
script(
    "photon counts beside quadratures",
    f"{MIXED}\nMeasureHomodyne(0.6) | 1\nMeasureFock() | [0]\nMeasureHeterodyne() | 2",
    shots=1500,
)
script(
    "clicks beside quadratures",
    f"{MIXED}\nMeasureX | 0\nMeasureThreshold() | [2, 1]",
    shots=1500,
)
script(
    "clicks beside photon counts",
    """
S2gate(0.5, 0.3) | [0, 1]
Sgate(0.3, 0.8) | 2
BSgate(0.6, 0.2) | [1, 2]
MeasureThreshold() | 0
MeasureFock() | [2, 1]
""",
    shots=8000,
)


@published("a mesh of Mach-Zehnder interferometers", shots=8000)
def mesh() -> str:
    """Return a rectangular mesh on six modes, as compilers write it."""
    lines = [f"Sgate({0.25 + 0.05 * mode}, {0.4 * mode}) | {mode}" for mode in range(6)]
    for layer in range(6):
        lines += [
            f"{'MZgate' if layer < 3 else 'sMZgate'}({0.3 + layer}, {0.2 * mode + 0.1}) | [{mode}, {mode + 1}]"
            for mode in range(layer % 2, 5, 2)
        ]
    return headed("\n".join([*lines, "MeasureFock() | [0, 1, 2, 3, 4, 5]"]), "simulon_gaussian", 8000)
