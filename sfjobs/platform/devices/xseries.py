"""
The layout of the X-series devices (two-mode squeezers, the same interferometer on signal and idler modes, photon counting) and
the check of a program against it. A layout is Blackbird text with free parameters, which ``blackbird.parse`` reads.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..program import FreeParameter, Operation, Program, ProgramError, Value, check_bound, operation_error

TOLERANCE = 1e-5
"""Largest deviation of a parameter from an allowed value, as in Strawberry Fields, whose decompositions deviate by 1e-13."""

Allowed: TypeAlias = list[float | list[float]]
"""
Allowed values of a parameter, as in the JSON of a specification: numbers, and ranges ``[low, high]``. The only ranges here are
full turns, so a parameter with a range is an angle, and any value is allowed.
"""

_FULL_TURN = 2 * math.pi


def xseries_layout(target: str, pairs: int) -> str:
    """Return the layout of a device with ``pairs`` squeezers: signal modes 0 to ``pairs - 1``, then as many idler modes."""
    modes = 2 * pairs
    lines = [f"name template_{pairs}x2_X{modes}", "version 1.0", f"target {target} (shots=1)", ""]
    lines += [f"S2gate({{squeezing_amplitude_{k}}}, 0.0) | [{k}, {k + pairs}]" for k in range(pairs)]
    for half in (0, pairs):
        for index, mode in enumerate(_mesh(pairs)):
            first = half + mode
            lines.append(f"MZgate({{phase_{2 * index}}}, {{phase_{2 * index + 1}}}) | [{first}, {first + 1}]")
    lines += [f"Rgate({{final_phase_{mode}}}) | [{mode}]" for mode in range(modes)]
    lines += [f"MeasureFock() | [{', '.join(map(str, range(modes)))}]", ""]
    return "\n".join(lines)


def xseries_parameters(pairs: int) -> dict[str, Allowed]:
    """Return the allowed values of each parameter of the layout: the first is the default."""
    phase: Allowed = [0, [0, _FULL_TURN]]
    allowed: dict[str, Allowed] = {f"squeezing_amplitude_{k}": [0, 1] for k in range(pairs)}
    allowed |= {f"phase_{k}": phase for k in range(2 * len(_mesh(pairs)))}
    return allowed | {f"final_phase_{k}": phase for k in range(2 * pairs)}


def _mesh(pairs: int) -> list[int]:
    """Return the first mode of each Mach-Zehnder interferometer of one half, in order: even and odd neighbours alternate."""
    return [mode for layer in range(pairs) for mode in range(layer % 2, pairs - 1, 2)]


@dataclass(frozen=True)
class Template:
    """A parsed layout with the allowed values of its parameters."""

    operations: tuple[Operation, ...]
    num_modes: int
    allowed: Mapping[str, Allowed]


def check_against(template: Template, program: Program, *, target: str) -> None:
    """
    Raise ``ProgramError`` ``unsupported-circuit`` unless ``program`` is ``template`` with values for its parameters.

    Gates on disjoint modes commute, so any order is accepted in which each mode has the same gates in the same order; two
    circuits are equal up to such swaps exactly if that holds. A value must be an allowed one within ``TOLERANCE``; an angle may
    differ by multiples of 2 pi, which is the same gate. A parameter that the layout uses twice (both halves of an X8) must have
    the same value in both places.
    """
    if program.type is not None:
        raise ProgramError("unsupported-circuit", f"{target} does not run programs of type {program.type}")
    check_bound(program)
    remaining: dict[int, list[int]] = defaultdict(list)
    for index in range(len(template.operations) - 1, -1, -1):
        for mode in template.operations[index].modes:
            remaining[mode].append(index)
    values: dict[str, float] = {}
    for operation in program.operations:
        expected = template.operations[_pop_expected(template, remaining, operation, target)]
        _check_arguments(template, expected, operation, values, target)
    missing = sorted({modes[0] for modes in remaining.values() if modes})
    if missing:
        gate = template.operations[min(modes[-1] for modes in remaining.values() if modes)]
        detail = f"{target} also expects {gate.name} on modes {list(gate.modes)}, which the program does not have"
        line = program.operations[-1].line if program.operations else 0
        raise ProgramError("unsupported-circuit", detail, line=line, operation=gate.name)


def _pop_expected(template: Template, remaining: dict[int, list[int]], operation: Operation, target: str) -> int:
    """Remove the template's next gate on the modes of ``operation`` from ``remaining``, and return its index."""
    for mode in operation.modes:
        if mode >= template.num_modes:
            raise operation_error(operation, f"{target} has modes 0 to {template.num_modes - 1} only, not mode {mode}")
        if not remaining[mode]:
            raise operation_error(operation, f"{target} has no further gate on mode {mode}")
    index = min(remaining[mode][-1] for mode in operation.modes)
    expected = template.operations[index]
    name = "MeasureFock" if operation.name == "Measure" else operation.name
    if expected.modes != operation.modes or expected.name != name:
        raise operation_error(operation, f"{target} expects {expected.name} on modes {list(expected.modes)} here")
    for mode in operation.modes:
        remaining[mode].pop()
    return index


def _check_arguments(
    template: Template, expected: Operation, operation: Operation, values: dict[str, float], target: str
) -> None:
    if operation.keywords:
        raise operation_error(operation, f"{target} does not know the option {next(iter(operation.keywords))}")
    if len(operation.arguments) != len(expected.arguments):
        raise operation_error(operation, f"{target} expects {len(expected.arguments)} parameters")
    for wanted, given in zip(expected.arguments, operation.arguments, strict=True):
        value = _real(operation, given)
        if not isinstance(wanted, FreeParameter):
            if not _is_close(value, _real(expected, wanted)):
                raise operation_error(operation, f"{value!r} must be {wanted!r} on {target}")
            continue
        name = wanted.names[0]
        allowed = template.allowed[name]
        numbers = [entry for entry in allowed if not isinstance(entry, list)]
        is_angle = len(numbers) < len(allowed)
        if not is_angle and not any(_is_close(value, number) for number in numbers):
            choices = " or ".join(f"{number:g}" for number in numbers)
            raise operation_error(operation, f"{value!r} is not allowed for {name}, which takes {choices} on {target}")
        if not _is_same(values.setdefault(name, value), value, is_angle=is_angle):
            detail = f"{value!r} differs from {values[name]!r}: {target} has one {name} for both halves"
            raise operation_error(operation, detail)


def _real(operation: Operation, value: Value) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, complex) and value.imag == 0:
        return value.real
    raise operation_error(operation, f"a parameter must be a real number, not {_kind(value)}")


def _kind(value: Value) -> str:
    text = getattr(value, "text", None) or getattr(value, "name", None)
    return f"{text}" if isinstance(text, str) else f"a value of type {type(value).__name__}"


def _is_close(value: float, wanted: float) -> bool:
    return abs(value - wanted) <= TOLERANCE


def _is_same(first: float, second: float, *, is_angle: bool) -> bool:
    difference = math.remainder(first - second, _FULL_TURN) if is_angle else first - second
    return abs(difference) <= TOLERANCE
