"""Time-domain programs: entangled pairs, GHZ states, clusters in one and two dimensions, boson sampling in delay loops."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import strawberryfields as sf
from strawberryfields import ops

from tests.interop.published.rows import ROWS, Make, Row, headed
from tests.interop.published.streams import check_counts, check_stream

SHOTS = 1500
Circuit = Callable[[Any, Any], None]


def tdm(bands: Any, columns: Any, circuit: Circuit) -> Make:
    """Return the maker of a time-domain program: ``columns`` has the values of each parameter in all time bins."""

    def make() -> Any:
        program = sf.TDMProgram(N=bands)
        with program.context(*columns) as (p, q):
            circuit(p, q)
        return program

    return make


def _enter(name: str, make: Make, check: Any, shots: int = SHOTS, **options: Any) -> None:
    ROWS[name] = Row(name=name, make=make, check=lambda samples: check(make(), samples), shots=shots, **options)


stream = partial(_enter, check=check_stream)
counts = partial(_enter, check=check_counts)


def one_loop(r: float) -> Circuit:
    def circuit(p: Any, q: Any) -> None:
        ops.Sgate(r, 0) | q[1]
        ops.BSgate(p[0]) | (q[0], q[1])
        ops.Rgate(p[1]) | q[1]
        ops.MeasureHomodyne(p[2]) | q[0]

    return circuit


stream(
    "entangled pairs of a loop",
    tdm(2, [[np.pi / 4, 0] * 3, [0, np.pi / 2] * 3, [0.0, 0, np.pi / 2, np.pi / 2, 0.4, 1]], one_loop(1.5)),
)


def ghz(parties: int) -> Any:
    angles = [float(np.arccos(np.sqrt(1 / (parties - k + 1)))) if k > 1 else np.pi / 2 for k in range(1, parties + 1)]
    swap = [0.0, *angles[1:]]
    return [swap, [np.pi / 2, *[0.0] * (parties - 1)], [0.0, 0.7, *[np.pi / 2] * (parties - 2)]]


stream("a GHZ state of four time bins", tdm(2, ghz(4), one_loop(1.2)))
stream(
    "a cluster in one dimension",
    tdm(2, [[np.pi / 4] * 6, [np.pi / 2] * 6, [0.0, np.pi / 2, 0.0, 0.5, 1.0, 2.0]], one_loop(0.9)),
)


def cluster_2d(p: Any, q: Any) -> None:
    ops.Sgate(0.8, 0) | q[0]
    ops.Sgate(0.8, np.pi / 2) | q[1]
    ops.BSgate(np.pi / 4, 0) | (q[0], q[1])
    ops.BSgate(np.pi / 4, 0.2) | (q[0], q[2])
    ops.Rgate(p[0]) | q[2]
    ops.MeasureHomodyne(p[1]) | q[0]
    ops.MeasureHomodyne(p[2]) | q[1]


stream(
    "a cluster of two bands",
    tdm([1, 3], [[0.3, 0.8, 1.4, 0.2], [0.0, 0.6, 1.2, 2.0], [0.5, np.pi / 2, 0.0, 1.1]], cluster_2d),
)


def two_bands(p: Any, q: Any) -> None:
    ops.Sgate(1.1, 0) | q[0]
    ops.Sgate(-0.7, 0.4) | q[2]
    ops.BSgate(p[0], 0.3) | (q[0], q[2])
    ops.BSgate(np.pi / 4, 0.5) | (q[1], q[0])
    ops.Dgate(0.5, 0.8) | q[1]
    ops.MeasureHomodyne(p[1]) | q[0]
    ops.MeasureHomodyne(p[2]) | q[1]


stream("two bands", tdm([1, 2], [[0.4, 0.9, 1.3, 0.2], [0.0, 1.0, 2.0, 0.5], [0.3, 1.5, 0.6, 0.9]], two_bands))


def four_bands(p: Any, q: Any) -> None:
    ops.Sgate(0.9, 0) | q[0]
    ops.Sgate(0.6, 0.7) | q[9]
    ops.BSgate(p[0], 0.2) | (q[0], q[2])
    ops.BSgate(0.8, 0.6) | (q[2], q[8])
    ops.BSgate(0.7, p[1]) | (q[9], q[1])
    ops.BSgate(0.4, 0.9) | (q[3], q[9])
    ops.LossChannel(0.9) | q[1]
    ops.MeasureHomodyne(p[2]) | q[0]
    ops.MeasureHomodyne(0.3) | q[1]
    ops.MeasureHomodyne(p[1]) | q[3]
    ops.MeasureHomodyne(1.2) | q[9]


stream("four bands", tdm([1, 2, 6, 1], [[0.5, 1.1, 0.7], [0.2, 0.9, 1.6], [0.0, 0.8, 1.4]], four_bands))


def one_register(p: Any, q: Any) -> None:
    ops.Sgate(p[0], 0.3) | q[0]
    ops.Dgate(0.6, p[1]) | q[0]
    ops.MeasureHomodyne(0.5) | q[0]


stream("a source without loop", tdm([1], [[0.2, 0.5, 0.9, -0.4], [0.1, 0.6, 1.3, 2.2]], one_register))


def heterodyne_loop(p: Any, q: Any) -> None:
    ops.Sgate(0.8, 0.3) | q[2]
    ops.Dgate(0.4, 0.9) | q[2]
    ops.BSgate(p[0], 0.7) | (q[0], q[2])
    ops.BSgate(p[1]).H | (q[1], q[2])
    ops.LossChannel(0.85) | q[1]
    ops.MeasureHeterodyne() | q[0]


stream(
    "a lossy loop on heterodyne detectors",
    tdm(3, [[0.5, 1.0, 0.8, 1.2, 0.4], [0.3, 0.6, 1.2, 0.2, 0.9]], heterodyne_loop),
)


def loops(delays: list[int], measurement: Callable[[], Any]) -> Circuit:
    """Squeezed pulses through loops one after the other, as in the published boson samplers in time."""
    places = [sum(delays) - sum(delays[:k]) for k in range(len(delays) + 1)]

    def circuit(p: Any, q: Any) -> None:
        ops.Sgate(p[0]) | q[places[0]]
        for k in range(len(delays)):
            ops.Rgate(p[2 * k + 1]) | q[places[k]]
            ops.BSgate(p[2 * k + 2], np.pi / 2) | (q[places[k + 1]], q[places[k]])
        measurement() | q[0]

    return circuit


def _gates(delays: list[int], bins: int, r: float, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    angles = [column for _ in delays for column in (rng.uniform(-1.5, 1.5, bins), rng.uniform(0.3, 1.3, bins))]
    return [[r] * bins, *(column.tolist() for column in angles)]


stream(
    "three loops on homodyne detectors",
    tdm(8, _gates([1, 2, 4], 5, 0.9, 1), loops([1, 2, 4], lambda: ops.MeasureHomodyne(0.4))),
)
counts(
    "boson sampling in one loop",
    tdm(2, _gates([1], 5, 0.5, 2), loops([1], ops.MeasureFock)),
    shots=4000,
)
counts(
    "boson sampling in two loops",
    tdm(4, _gates([1, 2], 6, 0.45, 3), loops([1, 2], ops.MeasureFock)),
    shots=3000,
)
counts(
    "clicks in two loops",
    tdm(4, _gates([1, 2], 7, 0.7, 4), loops([1, 2], ops.MeasureThreshold)),
    shots=4000,
)


def _two_counted(p: Any, q: Any) -> None:
    ops.S2gate(p[0], 0.3) | (q[0], q[2])
    ops.BSgate(p[1], 0.4) | (q[1], q[2])
    ops.Rgate(p[1]) | q[2]
    ops.MeasureFock() | q[0]
    ops.MeasureFock() | q[1]


counts(
    "two bands of photon counts",
    tdm([1, 2], [[0.6, 0.3, 0.5], [0.5, 0.9, 0.7]], _two_counted),
    shots=6000,
)


def _space_unrolled() -> Any:
    program = tdm(2, _gates([1], 4, 0.7, 5), loops([1], ops.MeasureFock))()
    program.space_unroll(1)
    return program


def _check_space_unrolled(samples: Any) -> None:
    program = tdm(2, _gates([1], 4, 0.7, 5), loops([1], ops.MeasureFock))()
    # An unrolled program has a shape of its own; the time bins come in the same order.
    check_counts(program, samples.reshape(len(samples), 1, -1)[:, :, -program.timebins :])


ROWS["unrolled in space"] = Row(name="unrolled in space", make=_space_unrolled, check=_check_space_unrolled, shots=6000)

_TEXT = """
float array p0[1, 4] =
    0.7853981633974483, 0.4, 1.1, 0.6
float array p1[1, 4] =
    0.0, 1.5707963267948966, 0.3, 0.9
float array p2[1, 4] =
    0.0, 0.5, 1.0, 1.5707963267948966

Sgate(0.9, 0.0) | 1
BSgate(p0, 0.0) | [0, 1]
Rgate(p1) | 1
MeasureHomodyne(p2) | 0
"""
_IN_TEXT = tdm(
    2,
    [
        [0.7853981633974483, 0.4, 1.1, 0.6],
        [0.0, 1.5707963267948966, 0.3, 0.9],
        [0.0, 0.5, 1.0, 1.5707963267948966],
    ],
    one_loop(0.9),
)


def _script_in_time(name: str, header: str) -> None:
    ROWS[name] = Row(
        name=name,
        make=lambda: headed(_TEXT, "simulon_gaussian", SHOTS, header=header),
        check=lambda samples: check_stream(_IN_TEXT(), samples),
        shots=SHOTS,
    )


_script_in_time("a script in time", "type tdm (temporal_modes=4)")
_script_in_time("a script in time with copies", "type tdm (temporal_modes=4, copies=1)")
_script_in_time("a script in time with its band", "type tdm (temporal_modes=4, N=[2])")
