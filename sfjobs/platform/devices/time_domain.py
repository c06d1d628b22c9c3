"""
The time-domain devices: squeezed pulses, delay loops behind beam splitters, and one detector. ``borealis`` has three loops and
counts photons, ``TD2`` has one loop and measures quadratures. Here are their layouts, and the losses of borealis.

    Mode k of a layout is the pulse that reaches the detector k time bins later. A beam splitter on modes [a, b] lets a pulse into
    a loop or out of it; the loop delays by b - a time bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from ...models import JSONValue
from ..program import ArrayParameter, Operation, Program
from .layout import Allowed

BOREALIS_DELAYS: Final = (1, 6, 36)
"""Delays of the loops in time bins, in the order in which a pulse passes them."""

BOREALIS_MAX_BINS: Final = 331
TD2_MAX_BINS: Final = 100_000

LOOP_PHASES: Final = (0.9, -1.7, 2.3)
"""Phases that a pulse gets in one round trip through each loop, in radians. They cannot be set."""

COMMON_EFFICIENCY: Final = 0.44
LOOP_EFFICIENCIES: Final = (0.91, 0.88, 0.84)
RELATIVE_CHANNEL_EFFICIENCIES: Final = (
    *(0.95, 0.97, 0.93, 1.0, 0.92, 0.96, 0.94, 0.9),
    *(0.98, 0.91, 0.95, 0.99, 0.93, 0.89, 0.96, 0.92),
)
"""The detectors take turns: time bin t is measured by detector t mod 16."""

SQUEEZING: Final = {"low": 0.45, "medium": 0.7, "high": 1.0}
"""216 pulses of ``low`` squeezing have 13 detected photons, which can be simulated; higher levels need fewer pulses."""

_CHANNELS: Final = "relative_channel_efficiencies"


def borealis_layout() -> str:
    """Return the layout of borealis. ``s``, ``r0`` to ``r2`` and ``bs0`` to ``bs2`` have a value for each time bin."""
    names = ["s", *(f"{gate}{loop}" for loop in range(3) for gate in ("r", "bs"))]
    gates = [f"Sgate({{s}}, 0.0) | {sum(BOREALIS_DELAYS)}"]
    mode = sum(BOREALIS_DELAYS)
    for loop, delay in enumerate(BOREALIS_DELAYS):
        gates.append(f"Rgate({{r{loop}}}) | {mode}")
        gates.append(f"BSgate({{bs{loop}}}, {math.pi / 2!r}) | [{mode - delay}, {mode}]")
        gates.append(f"Rgate({{loop{loop}_phase}}) | {mode}")
        mode -= delay
    return _layout("borealis", names, BOREALIS_MAX_BINS, [*gates, "MeasureFock() | 0"])


def borealis_parameters() -> dict[str, Allowed]:
    """Return the allowed values of each parameter of the layout."""
    quarter = math.pi / 2
    allowed: dict[str, Allowed] = {"s": [[0.0, 2.0]]}
    for loop, phase in enumerate(LOOP_PHASES):
        allowed |= {f"r{loop}": [[-quarter, quarter]], f"bs{loop}": [[0.0, quarter]], f"loop{loop}_phase": [phase]}
    return allowed


def borealis_certificate() -> dict[str, JSONValue]:
    """Return what a certificate of borealis has beside target and time, with the keys that Strawberry Fields reads."""
    return {
        "loop_phases": list(LOOP_PHASES),
        "schmidt_number": 1.0,
        "common_efficiency": COMMON_EFFICIENCY,
        "loop_efficiencies": list(LOOP_EFFICIENCIES),
        "squeezing_parameters_mean": dict(SQUEEZING),
        "relative_channel_efficiencies": list(RELATIVE_CHANNEL_EFFICIENCIES),
    }


def td2_layout() -> str:
    """Return the layout of TD2, the circuit of EPR, GHZ and one-dimensional cluster states."""
    gates = ["Sgate({s}, 0.0) | 1", "BSgate({bs}, 0.0) | [1, 0]", "Rgate({r}) | 1", "MeasureHomodyne({m}) | 0"]
    return _layout("TD2", ["bs", "r", "m"], 2, gates)


def td2_parameters() -> dict[str, Allowed]:
    """Return the allowed values of each parameter of the layout: any squeezing up to 2, any angles."""
    angle: Allowed = [0, [-2 * math.pi, 2 * math.pi]]
    return {"s": [[-2.0, 2.0]], "bs": list(angle), "r": list(angle), "m": list(angle)}


def with_borealis_losses(program: Program) -> Program:
    """
    Return the program with the losses of the certificate: of the squeezer and the path, of each loop after its beam splitter, and
    of the detector of each time bin. ``realistic_loss`` of Strawberry Fields puts them at the same places.
    """
    bins = program.type_options["temporal_modes"]
    assert isinstance(bins, int)  # as the check against the layout has shown
    loop_efficiencies = iter(LOOP_EFFICIENCIES)
    operations: list[Operation] = []

    def lose(efficiency: float | ArrayParameter, mode: int, line: int) -> None:
        operations.append(Operation("LossChannel", (efficiency,), {}, (mode,), line))

    for operation in program.operations:
        if operation.name.startswith("Measure"):
            lose(ArrayParameter(_CHANNELS), operation.modes[0], operation.line)
        operations.append(operation)
        if operation.name == "Sgate":
            lose(COMMON_EFFICIENCY, operation.modes[0], operation.line)
        elif operation.name == "BSgate":
            lose(next(loop_efficiencies), operation.modes[1], operation.line)
    channels = np.resize(RELATIVE_CHANNEL_EFFICIENCIES, bins)
    return replace(program, operations=tuple(operations), arrays={**program.arrays, _CHANNELS: channels})


def place_of_loops(delays: tuple[int, ...]) -> str:
    """Return what completes a message about a gate in a wrong place."""
    if len(delays) == 1:
        return f": its loop delays a pulse by {delays[0]} time bin{'s' if delays[0] > 1 else ''}"
    return f": its loops delay a pulse by {', '.join(map(str, delays[:-1]))} and {delays[-1]} time bins"


def losses_in_meta(certificate: Mapping[str, JSONValue]) -> str:
    return f"those of the certificate of {certificate['target']}, finished at {certificate['finished_at']}"


def _layout(target: str, names: list[str], bins: int, gates: list[str]) -> str:
    lines = [f"name template_{target}", "version 1.0", f"target {target} (shots=1)"]
    lines += [f"type tdm (temporal_modes={bins}, copies=1)", ""]
    for index, name in enumerate(names):
        lines += [f"float array p{index}[1, {bins}] =", f"    {{{name}}}"]
    return "\n".join([*lines, "", *gates, ""])
