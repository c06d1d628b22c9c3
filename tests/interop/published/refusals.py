"""Published programs that no Gaussian platform runs: each is refused at submission, with a message that says why."""

from __future__ import annotations

from typing import Any

import numpy as np
import strawberryfields as sf
from strawberryfields import ops

from tests.interop.published.rows import array_text, haar, published, script

script(
    "boson sampling with single photons",
    f"""
{array_text("U", haar(4, 3))}

Fock(1) | 0
Fock(1) | 1
Vac | 2
Fock(1) | 3
Interferometer(U) | [0, 1, 2, 3]
MeasureFock() | [0, 1, 2, 3]
""",
    refused=r"line \d+.*Fock",
)
script("a cat state", "Catstate(0.9, 0.3) | 0\nMeasureX | 0", refused=r"line \d+.*Catstate")
script("a Kerr gate", "Coherent(0.8) | 0\nKgate(0.4) | 0\nMeasureHeterodyne() | 0", refused=r"line \d+.*Kgate")
script("a cubic phase gate", "Sgate(0.5) | 0\nVgate(0.2) | 0\nMeasureX | 0", refused=r"line \d+.*Vgate")
script(
    "an IQP circuit",
    """
Sgate(-1) | 0
Sgate(-1) | 1
Pgate(0.5) | 0
Vgate(0.7) | 1
CXgate(0.4) | [0, 1]
CZgate(0.3) | [0, 1]
MeasureP | 0
MeasureP | 1
""",
    refused=r"line \d+.*Vgate",
)


@published("a Hamiltonian simulation", refused=r"Fock|Kgate")
def bose_hubbard() -> Any:
    program = sf.Program(2)
    with program.context as q:
        ops.Fock(2) | q[0]
        for _ in range(4):
            ops.BSgate(-0.05, np.pi / 2) | (q[0], q[1])
            for mode in q:
                ops.Kgate(-0.04) | mode
                ops.Rgate(0.04) | mode
        ops.MeasureFock() | q
    return program


@published("a layer of a neural network", refused=r"Kgate")
def neural_network() -> Any:
    program = sf.Program(1)
    with program.context as q:
        ops.Dgate(0.3, 0.1) | q[0]
        ops.Rgate(0.5) | q[0]
        ops.Sgate(0.2, 0.3) | q[0]
        ops.Kgate(0.1) | q[0]
        ops.MeasureX | q[0]
    return program


@published("a phase gate on a GKP state", refused=r"GKP")
def gkp() -> Any:
    program = sf.Program(1)
    with program.context as q:
        ops.GKP([0.7, 0.3], epsilon=0.1) | q[0]
        ops.Pgate(1) | q[0]
        ops.MeasureHomodyne(np.pi / 4) | q[0]
    return program


script("nothing is measured", "Sgate(0.4) | 0\nS2gate(0.3) | [0, 1]", refused="measures nothing")
script(
    "a template without its number",
    "Sgate({r}) | 0\nMeasureFock() | 0",
    refused=r"\br\b",
)
script("a mode twice", "Sgate(0.4) | 0\nBSgate(0.3) | [0, 0]\nMeasureFock() | [0, 1]", refused=r"line \d+.*BSgate")
script("a gate that does not exist", "Tgate(0.4) | 0\nMeasureFock() | 0", refused=r"line \d+.*Tgate")
script(
    "the wrong squeezing on an X8",
    "S2gate(0.7) | [0, 4]\nMeasureFock() | [0, 1, 2, 3, 4, 5, 6, 7]",
    target="X8_01",
    refused=r"X8_01",
)


@published("different unitaries on the halves of an X8", target="X8_01", refused=r"X8_01|[Uu]nitar")
def unequal_halves() -> Any:
    program = sf.Program(8)
    with program.context as q:
        ops.S2gate(1.0) | (q[0], q[4])
        ops.Interferometer(haar(4, 1)) | q[:4]
        ops.Interferometer(haar(4, 2)) | q[4:]
        ops.MeasureFock() | q
    return program


@published("a ket on an X8", target="X8_01", refused=r"(?i)ket|fock|X8")
def fock_on_chip() -> Any:
    program = sf.Program(8)
    with program.context as q:
        ops.Fock(1) | q[0]
        ops.MeasureFock() | q
    return program
