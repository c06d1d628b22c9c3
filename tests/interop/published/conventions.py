"""
Every gate by itself, between displaced squeezed modes and heterodyne detectors on all of them: means and covariance show each
sign and each phase. Once as a statement of Blackbird, with defaults left out, and once as the inverse that an object has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import strawberryfields as sf
from strawberryfields import ops
from thewalrus.random import random_symplectic

from tests.interop.published.rows import ROWS, Make, Row, array_text, haar, headed

SHOTS = 3000

STATEMENTS = {
    "Dgate": "Dgate(0.8, 0.7) | 0",
    "Dgate without phase": "Dgate(0.8) | 0",
    "Dgate, negative": "Dgate(-0.8, 0.7) | 1",
    "Xgate": "Xgate(1.3) | 1",
    "Zgate": "Zgate(1.3) | 0",
    "Sgate": "Sgate(0.7, 0.9) | 0",
    "Sgate without phase": "Sgate(0.7) | 1",
    "Sgate, negative": "Sgate(-0.6, 0.9) | 1",
    "Rgate": "Rgate(0.8) | 0",
    "Fouriergate": "Fouriergate() | 1",
    "Pgate": "Pgate(0.7) | 0",
    "BSgate": "BSgate(0.6, 0.8) | [0, 1]",
    "BSgate without arguments": "BSgate() | [1, 0]",
    "BSgate without phase": "BSgate(0.7) | [1, 0]",
    "MZgate": "MZgate(0.7, 1.1) | [0, 1]",
    "sMZgate": "sMZgate(0.7, 1.1) | [0, 1]",
    "S2gate": "S2gate(0.6, 0.8) | [0, 1]",
    "S2gate without phase": "S2gate(0.6) | [1, 2]",
    "S2gate, negative": "S2gate(-0.6, 0.3) | [2, 0]",
    "CXgate": "CXgate(0.8) | [0, 1]",
    "CXgate without argument": "CXgate() | [1, 0]",
    "CZgate": "CZgate(-0.7) | [1, 0]",
    "CZgate without argument": "CZgate() | [0, 2]",
    "Vacuum": "Vacuum() | 1",
    "Coherent": "Coherent(0.9, 0.7) | 1",
    "Squeezed": "Squeezed(0.7, 0.9) | 0",
    "Squeezed without phase": "Squeezed(0.7) | 0",
    "DisplacedSqueezed": "DisplacedSqueezed(0.8, 0.5, 0.7, 1.2) | 1",
    "Thermal": "Thermal(0.8) | 0",
    "LossChannel": "LossChannel(0.55) | 0",
    "ThermalLossChannel": "ThermalLossChannel(0.6, 0.7) | 1",
}

INVERSES: dict[str, tuple[Any, int]] = {
    "Dgate": (lambda: ops.Dgate(0.8, 0.7).H, 1),
    "Xgate": (lambda: ops.Xgate(1.3).H, 1),
    "Zgate": (lambda: ops.Zgate(1.3).H, 1),
    "Sgate": (lambda: ops.Sgate(0.7, 0.9).H, 1),
    "Rgate": (lambda: ops.Rgate(0.8).H, 1),
    "Fouriergate": (lambda: ops.Fouriergate().H, 1),
    "Pgate": (lambda: ops.Pgate(0.7).H, 1),
    "BSgate": (lambda: ops.BSgate(0.6, 0.8).H, 2),
    "MZgate": (lambda: ops.MZgate(0.7, 1.1).H, 2),
    "sMZgate": (lambda: ops.sMZgate(0.7, 1.1).H, 2),
    "S2gate": (lambda: ops.S2gate(0.6, 0.8).H, 2),
    "CXgate": (lambda: ops.CXgate(0.8).H, 2),
    "CZgate": (lambda: ops.CZgate(0.7).H, 2),
    "Interferometer": (lambda: ops.Interferometer(haar(3, 5).conj().T), 3),
    "GaussianTransform": (lambda: ops.GaussianTransform(np.linalg.inv(_symplectic(3))), 3),
}


def _symplectic(modes: int) -> Any:
    np.random.seed(4)  # noqa: NPY002 - the random matrices of thewalrus
    return random_symplectic(modes)


def _prepared(q: Any) -> None:
    for mode in range(3):
        ops.Squeezed(0.3 + 0.2 * mode, 0.5 * mode + 0.2) | q[mode]
        ops.Dgate(0.7 - 0.2 * mode, 0.8 * mode + 0.3) | q[mode]
    ops.BSgate(0.7, 0.4) | (q[0], q[1])
    ops.BSgate(0.5, 0.2) | (q[1], q[2])


def _text(statement: str) -> Make:
    lines = []
    for mode in range(3):
        lines.append(f"Squeezed({0.3 + 0.2 * mode}, {0.5 * mode + 0.2}) | {mode}")
        lines.append(f"Dgate({0.7 - 0.2 * mode}, {0.8 * mode + 0.3}) | {mode}")
    lines += ["BSgate(0.7, 0.4) | [0, 1]", "BSgate(0.5, 0.2) | [1, 2]", statement]
    lines += [f"MeasureHeterodyne() | {mode}" for mode in range(3)]
    return lambda: headed("\n".join(lines), "simulon_gaussian", SHOTS)


def _meaning(statement: str) -> Make:
    name, _, rest = statement.partition("(")
    arguments, _, modes = rest.partition(") | ")

    def make() -> Any:
        program = sf.Program(3)
        with program.context as q:
            _prepared(q)
            operation = getattr(ops, name)(*(float(value) for value in arguments.split(",") if value))
            operation | [q[int(mode)] for mode in modes.strip("[]").split(",")]
            for mode in range(3):
                ops.MeasureHeterodyne() | q[mode]
        return program

    return make


def _inverse(operation: Any, modes: int) -> Make:
    def make() -> Any:
        program = sf.Program(3)
        with program.context as q:
            _prepared(q)
            operation() | [q[mode] for mode in [1, 0, 2][:modes]]
            for mode in range(3):
                ops.MeasureHeterodyne() | q[mode]
        return program

    return make


for _name, _statement in STATEMENTS.items():
    _row = f"convention of {_name}"
    ROWS[_row] = Row(name=_row, make=_text(_statement), meaning=_meaning(_statement), shots=SHOTS)
for _name, (_operation, _modes) in INVERSES.items():
    _row = f"inverse of {_name}"
    ROWS[_row] = Row(name=_row, make=_inverse(_operation, _modes), shots=SHOTS)


def _matrices() -> str:
    return headed(
        f"""
{array_text("U", haar(2, 8))}
{array_text("S", _symplectic(2))}
{array_text("V", _covariance())}
{array_text("mean", [[0.4, -0.9, 1.1, 0.3]])}

Gaussian(V, mean) | [0, 2]
Sgate(0.5, 0.4) | 1
Interferometer(U) | [1, 0]
GaussianTransform(S) | [2, 1]
MeasureHeterodyne() | 0
MeasureHeterodyne() | 1
MeasureHeterodyne() | 2
""",
        "simulon_gaussian",
        SHOTS,
    )


def _covariance() -> Any:
    symplectic = _symplectic(2)
    return symplectic @ np.diag([1.5, 1.1, 1.5, 1.1]) @ symplectic.T


def _matrices_meaning() -> Any:
    program = sf.Program(3)
    with program.context as q:
        ops.Gaussian(_covariance(), np.array([0.4, -0.9, 1.1, 0.3])) | (q[0], q[2])
        ops.Sgate(0.5, 0.4) | q[1]
        ops.Interferometer(haar(2, 8)) | (q[1], q[0])
        ops.GaussianTransform(_symplectic(2)) | (q[2], q[1])
        for mode in range(3):
            ops.MeasureHeterodyne() | q[mode]
    return program


ROWS["convention of matrices"] = Row(
    name="convention of matrices", make=_matrices, meaning=_matrices_meaning, shots=SHOTS
)
