"""Feed-forward between losses and gates, chains of it, selections that others depend on, and counts of what was displaced."""

from __future__ import annotations

from typing import Any

import numpy as np
import strawberryfields as sf
from strawberryfields import ops

from tests.interop.published.comparison import check_samples
from tests.interop.published.exact import Measured, Reading, measured
from tests.interop.published.rows import check_of, meaning_of, published, script

script(
    "feed-forward between losses",
    """
S2gate(0.8, 0.3) | [0, 1]
LossChannel(0.6) | 1
LossChannel(0.7) | 2
Dgate(0.5, 0.4) | 2
MeasureX | 0
Xgate(0.9*q0) | 1
Sgate(0.4, 0.5) | 1
LossChannel(0.8) | 1
BSgate(0.6, 0.9) | [1, 2]
MeasureHomodyne(0.7) | 1
Zgate(-0.6*q1 + 0.2) | 2
LossChannel(0.9) | 2
MeasureHeterodyne() | 2
""",
)


@meaning_of("feed-forward between losses")
def _between_losses() -> Any:
    program = sf.Program(3)
    with program.context as q:
        ops.S2gate(0.8, 0.3) | (q[0], q[1])
        ops.LossChannel(0.6) | q[1]
        ops.LossChannel(0.7) | q[2]
        ops.Dgate(0.5, 0.4) | q[2]
        ops.CXgate(0.9) | (q[0], q[1])
        ops.Sgate(0.4, 0.5) | q[1]
        ops.LossChannel(0.8) | q[1]
        ops.BSgate(0.6, 0.9) | (q[1], q[2])
        ops.Rgate(-0.7) | q[1]  # its x is what the detector reads
        ops.CZgate(-0.6) | (q[1], q[2])
        ops.Zgate(0.2) | q[2]
        ops.LossChannel(0.9) | q[2]
        ops.MeasureX | q[0]
        ops.MeasureX | q[1]
        ops.MeasureHeterodyne() | q[2]
    return program


script(
    "counts and clicks after feed-forward",
    """
Squeezed(0.5, 0.3) | 0
S2gate(0.4) | [0, 1]
S2gate(0.3, 0.2) | [1, 2]
LossChannel(0.7) | 2
MeasureP | 0
Zgate(0.5*q0) | 1
BSgate(0.5, 0.4) | [1, 2]
MeasureFock() | 1
MeasureThreshold() | 2
""",
    shots=1200,
)


@meaning_of("counts and clicks after feed-forward")
def _counts_after() -> Any:
    program = sf.Program(3)
    with program.context as q:
        ops.Squeezed(0.5, 0.3) | q[0]
        ops.S2gate(0.4) | (q[0], q[1])
        ops.S2gate(0.3, 0.2) | (q[1], q[2])
        ops.LossChannel(0.7) | q[2]
        ops.Rgate(-np.pi / 2) | q[0]
        ops.CZgate(0.5) | (q[0], q[1])
        ops.BSgate(0.5, 0.4) | (q[1], q[2])
        ops.MeasureX | q[0]
        ops.MeasureFock() | q[1]
        ops.MeasureThreshold() | q[2]
    return program


script(
    "the last reading of a mode counts",
    """
S2gate(0.7) | [0, 1]
MeasureX | 0
Xgate(0.4*q0) | 1
Squeezed(0.3) | 0
BSgate(0.6) | [0, 2]
MeasureX | 0
Xgate(0.8*q0) | 1
MeasureHeterodyne() | 1
MeasureHeterodyne() | 2
""",
)


@check_of("the last reading of a mode counts")
def _check_last(samples: Any) -> None:
    program = sf.Program(4)
    with program.context as q:
        ops.S2gate(0.7) | (q[0], q[1])
        ops.CXgate(0.4) | (q[0], q[1])
        ops.Squeezed(0.3) | q[3]
        ops.BSgate(0.6) | (q[3], q[2])
        ops.CXgate(0.8) | (q[3], q[1])
        ops.MeasureHeterodyne() | q[1]
        ops.MeasureHeterodyne() | q[2]
        ops.MeasureX | q[3]
    state = measured(program)
    first, second, third = state.detectors
    check_samples(Measured(state.means, state.cov, (third, first, second)), samples)


def _selected(last: Any) -> Any:
    def make() -> Any:
        program = sf.Program(4)
        with program.context as q:
            ops.Squeezed(0.5, 0.3) | q[0]
            ops.S2gate(0.6, 0.4) | (q[0], q[1])
            ops.S2gate(0.5, 0.9) | (q[1], q[2])
            ops.BSgate(0.4, 0.3) | (q[2], q[3])
            ops.MeasureHomodyne(0.5, select=0.8) | q[0]
            ops.Xgate(0.7 * q[0].par) | q[2]
            ops.LossChannel(0.8) | q[3]
            ops.MeasureHeterodyne(select=0.2 + 0.3j) | q[1]
            ops.BSgate(0.5, 0.2) | (q[2], q[3])
            if last is not None:
                last() | q[2]
                last() | q[3]
        return program

    return make


def _enter(name: str, last: Any, shots: int) -> None:
    def check(samples: Any) -> None:
        assert np.allclose(samples[:, 0], 0.8)
        state = sf.Engine("gaussian").run(_selected(None)()).state
        kind = type(last()).__name__
        check_samples(Measured(state.means(), state.cov(), (Reading(2, kind), Reading(3, kind))), samples[:, 2:])

    published(name, shots=shots, check=check)(_selected(last))


_enter("two selections and a displacement by one of them", ops.MeasureHeterodyne, 4000)
_enter("two selections, counted", ops.MeasureFock, 3000)
_enter("two selections, clicks", ops.MeasureThreshold, 4000)
