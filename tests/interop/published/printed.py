"""Matrices as papers and terminals print them, with six to eight digits: the samples are those of the matrices in full."""

from __future__ import annotations

from typing import Any

import numpy as np
import strawberryfields as sf
from strawberryfields import ops
from thewalrus.symplectic import interferometer

from tests.interop.published.objects import check_x8
from tests.interop.published.rows import array_text, haar, meaning_of, script

MODES = "[0, 1, 2, 3]"

for _digits, _r in ((6, 1.0), (7, 0.4), (8, 1.0)):
    script(
        f"the circuit of an X8, printed with {_digits} digits",
        f"""
{array_text("U", haar(4, 40 + _digits), _digits)}

S2gate({_r}) | [0, 4]
S2gate({_r}) | [1, 5]
S2gate({_r}) | [3, 7]
Interferometer(U) | {MODES}
Interferometer(U) | [4, 5, 6, 7]
MeasureFock() | [0, 1, 2, 3, 4, 5, 6, 7]
""",
        shots=20_000,
        check=check_x8(haar(4, 40 + _digits), (0, 1, 3), _r),
    )


def _symplectic() -> Any:
    squeezers = np.diag(np.exp([0.5, -0.4, 0.3, -0.5, 0.4, -0.3]))
    return interferometer(haar(3, 52)) @ squeezers @ interferometer(haar(3, 53))


def _covariance() -> Any:
    matrix = _symplectic()
    return matrix @ matrix.T


script(
    "a printed transformation",
    f"""
{array_text("S", _symplectic(), 6)}

GaussianTransform(S) | [0, 1, 2]
Dgate(0.4, 0.3) | 1
MeasureFock() | [0, 1, 2]
""",
    shots=8000,
)
script(
    "a printed covariance",
    f"""
{array_text("V", _covariance(), 6)}

Gaussian(V) | [0, 1, 2]
MeasureFock() | [0, 1, 2]
""",
    shots=8000,
)
script(
    "a printed interferometer between squeezed modes",
    f"""
{array_text("U", haar(4, 50), 7)}

Sgate(0.7) | 0
Sgate(-0.6, 0.3) | 1
Sgate(0.5) | 2
Interferometer(U) | {MODES}
LossChannel(0.9) | 2
MeasureFock() | {MODES}
""",
    shots=8000,
)
script(
    "a matrix that is not unitary",
    f"""
{array_text("U", haar(4, 51), 2)}

Sgate(0.7) | 0
Interferometer(U) | {MODES}
MeasureFock() | {MODES}
""",
    refused=r"line \d+.*Interferometer.*unitary",
)


@meaning_of("a printed transformation")
def _transformed() -> Any:
    program = sf.Program(3)
    with program.context as q:
        ops.GaussianTransform(_symplectic()) | q
        ops.Dgate(0.4, 0.3) | q[1]
        ops.MeasureFock() | q
    return program


@meaning_of("a printed covariance")
def _prepared() -> Any:
    program = sf.Program(3)
    with program.context as q:
        ops.Gaussian(_covariance(), decomp=False) | q
        ops.MeasureFock() | q
    return program


@meaning_of("a printed interferometer between squeezed modes")
def _mixed() -> Any:
    program = sf.Program(4)
    with program.context as q:
        ops.Sgate(0.7) | q[0]
        ops.Sgate(-0.6, 0.3) | q[1]
        ops.Sgate(0.5) | q[2]
        ops.Interferometer(haar(4, 50)) | q
        ops.LossChannel(0.9) | q[2]
        ops.MeasureFock() | q
    return program
