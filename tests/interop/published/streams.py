"""
The exact readings of time-domain programs: the program is unrolled in space, each time bin with modes of its own, and run on the
Gaussian backend of Strawberry Fields. Loops run on between shots where quadratures are measured, and start empty in each shot
where photons are counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import strawberryfields as sf
from strawberryfields import ops

from tests.interop.published.comparison import SMALLEST_P, check_samples, normal_p_values, real_readings
from tests.interop.published.exact import Array, Measured, Reading, quadratures

_WARM_UP = 15
"""Shots after which the loops are in their steady state."""


def unrolled(program: Any, shots: int = 1) -> Measured:
    """Return the state of ``shots`` shots, with its detectors in the order shot, band, time bin."""
    bands, bins = list(program.N), program.timebins
    names = [variable.name for variable in program.loop_vars]
    flat = sf.Program(sum(bands) + shots * bins * len(bands))
    registers = list(range(sum(bands)))
    fresh = sum(bands)
    starts = np.concatenate([[0], np.cumsum(bands)[:-1]])
    detectors: dict[tuple[int, int, int], Reading] = {}
    with flat.context as q:
        for shot in range(shots):
            for time_bin in range(bins):
                values = {name: float(column[time_bin]) for name, column in zip(names, program.tdm_params, strict=True)}
                for command in program.rolled_circuit:
                    own = [register.ind for register in command.reg]
                    arguments = [_value(argument, values) for argument in command.op.p]
                    if isinstance(command.op, ops.Measurement):
                        band = int(np.flatnonzero(starts == own[0])[0])
                        kind = type(command.op).__name__
                        angle = arguments[0] if kind == "MeasureHomodyne" else 0.0
                        detectors[shot, band, time_bin] = Reading(registers[own[0]], kind, angle)
                        continue
                    operation = type(command.op)(*arguments)
                    (operation.H if getattr(command.op, "dagger", False) else operation) | [
                        q[registers[index]] for index in own
                    ]
                for start, size in zip(starts, bands, strict=True):
                    registers[start : start + size] = [*registers[start + 1 : start + size], fresh]
                    fresh += 1
    state = sf.Engine("gaussian").run(flat).state
    return Measured(state.means(), state.cov(), tuple(detectors[key] for key in sorted(detectors)))


def _value(argument: Any, values: dict[str, float]) -> Any:
    if hasattr(argument, "free_symbols"):
        return float(argument.subs({symbol: values[symbol.name] for symbol in argument.free_symbols}))
    return argument


def check_counts(program: Any, samples: Array) -> None:
    """Raise ``AssertionError`` unless photon counts or clicks (shots, bands, bins) are those of empty loops at each shot."""
    state = unrolled(program)
    assert samples.shape[1:] == (len(program.N), program.timebins)
    check_samples(state, samples.reshape(len(samples), -1))


def check_stream(program: Any, samples: Array, history: int = 2) -> None:
    """
    Raise ``AssertionError`` unless the readings (shots, bands, bins) of running loops follow the exact state: those of a shot,
    given those of ``history`` shots before it, are normal with its covariance. The first shots are left out.
    """
    assert samples.shape[1:] == (len(program.N), program.timebins)
    shots = history + _WARM_UP + 1
    state = unrolled(program, shots)
    means, cov, _ = quadratures(state, list(state.detectors))
    size = len(means) // shots
    last, before = slice(-size, None), slice(-2 * size, -size)
    assert np.allclose(cov[last, last], cov[before, before], rtol=0, atol=1e-5 * cov.max()), (
        "the loops are not steady yet"
    )
    assert np.allclose(means[last], means[before], rtol=0, atol=1e-5 * cov.max())
    flat = samples.reshape(len(samples), -1)
    readings = real_readings(flat, [*state.detectors[: flat.shape[1]]])
    lagged = [readings[k : len(readings) - history + k] for k in range(1, history)]
    past, present = np.concatenate([readings[:-history], *lagged], axis=1), readings[history:]
    known, new = slice(-(history + 1) * size, -size), last
    gain = np.linalg.solve(cov[known, known], cov[known, new]).T
    residual = cov[new, new] - gain @ cov[known, new]
    errors = present - means[new] - (past - means[known]) @ gain.T
    found = list(normal_p_values(errors[_WARM_UP:], np.zeros(size), (residual + residual.T) / 2))
    found += [(f"{name} alone", p) for name, p in normal_p_values(present[_WARM_UP::5], means[new], cov[new, new])]
    least, where = min((p, name) for name, p in found)
    assert least * len(found) > SMALLEST_P, f"{where}: p = {least:.3g}, the least of {len(found)}"
