"""
The check of a program against the layout of a device: the same gates in the same places, with allowed values for the parameters.
A layout is Blackbird text with free parameters. In a time-domain layout a parameter has a value for each time bin.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from ..program import (
    ArrayParameter,
    FreeParameter,
    Operation,
    Program,
    ProgramError,
    Value,
    check_bound,
    operation_error,
)

TOLERANCE: Final = 1e-5
"""Largest deviation of a parameter from an allowed value, as in Strawberry Fields, whose decompositions deviate by 1e-13."""

Allowed: TypeAlias = list[float | list[float]]
"""
Allowed values of a parameter, as in the JSON of a specification: numbers, and ranges ``[low, high]``. A range of a full turn or
more means an angle, which may have any value.
"""

_FULL_TURN: Final = 2 * math.pi


@dataclass(frozen=True)
class Template:
    """
    A parsed layout with the allowed values of its parameters. ``max_bins`` is the largest number of time bins, 0 for a layout
    without time bins. ``place`` completes the message about a gate in the wrong place, such as the delays of the loops.
    """

    operations: tuple[Operation, ...]
    num_modes: int
    allowed: Mapping[str, Allowed]
    max_bins: int = 0
    place: str = ""


def check_against(template: Template, program: Program, *, target: str) -> None:
    """
    Raise ``ProgramError`` ``unsupported-circuit`` unless ``program`` is ``template`` with values for its parameters.

    Gates on disjoint modes commute, so any order is accepted in which each mode has the same gates in the same order; two
    circuits are equal up to such swaps exactly if that holds. A value must be an allowed one within ``TOLERANCE``; an angle may
    differ by multiples of 2 pi, which is the same gate. A parameter that the layout uses twice (both halves of an X8) must have
    the same value in both places.
    """
    _check_type(template, program, target)
    check_bound(program)
    remaining: dict[int, list[int]] = defaultdict(list)
    for index in range(len(template.operations) - 1, -1, -1):
        for mode in template.operations[index].modes:
            remaining[mode].append(index)
    parameters = _Parameters(template, program, target)
    for operation in program.operations:
        parameters.check(operation, template.operations[_pop_expected(template, remaining, operation, target)])
    missing = sorted({modes[0] for modes in remaining.values() if modes})
    if missing:
        gate = template.operations[min(modes[-1] for modes in remaining.values() if modes)]
        detail = f"{target} also expects {_named(template, gate)}, which the program does not have"
        line = program.operations[-1].line if program.operations else 0
        raise ProgramError("unsupported-circuit", detail, line=line, operation=gate.name)


def _check_type(template: Template, program: Program, target: str) -> None:
    wanted = "tdm" if template.max_bins else None
    if program.type == wanted == "tdm":
        _check_time_bins(template, program, target)
    elif program.type != wanted:
        detail = f"{target} does not run programs of type {program.type}"
        if wanted == "tdm":
            detail = f"{target} runs time-domain programs only: the text needs a line 'type tdm (temporal_modes=...)'"
        raise ProgramError("unsupported-circuit", detail)


def _check_time_bins(template: Template, program: Program, target: str) -> None:
    options = dict(program.type_options)
    bins = options.pop("temporal_modes", None)
    copies = options.pop("copies", 1)
    bands = options.pop("N", template.num_modes)
    detail = ""
    if not _is_count(bins):
        detail = f"the type line must say how many time bins there are, as in temporal_modes=4, not {_shown(bins)}"
    elif bins > template.max_bins:  # type: ignore[operator]  # it is an integer
        detail = f"temporal_modes={bins} is more than the {template.max_bins} time bins of {target}"
    elif copies != 1 or not _is_count(copies):
        detail = f"copies={_shown(copies)} is not run on {target}: use shots"
    elif _as_list(bands) != [template.num_modes]:
        detail = f"N={_shown(bands)} does not fit {target}, which has one band of {template.num_modes} registers"
    elif options:
        detail = f"{target} does not know the option {next(iter(options))} of type tdm"
    if detail:
        raise ProgramError("unsupported-circuit", detail)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _as_list(value: Value) -> list[object]:
    if isinstance(value, np.ndarray):
        return list(value.ravel()[:2].tolist())
    return list(value) if isinstance(value, tuple) else [value]


def _pop_expected(template: Template, remaining: dict[int, list[int]], operation: Operation, target: str) -> int:
    """Remove the template's next gate on the modes of ``operation`` from ``remaining``, and return its index."""
    for mode in operation.modes:
        if mode >= template.num_modes:
            raise operation_error(operation, f"{target} has modes 0 to {template.num_modes - 1} only, not mode {mode}")
        if not remaining[mode]:
            raise operation_error(operation, f"{target} has no further gate on mode {mode}{template.place}")
    index = min(remaining[mode][-1] for mode in operation.modes)
    expected = template.operations[index]
    name = "MeasureFock" if operation.name == "Measure" else operation.name
    if expected.modes != operation.modes or expected.name != name:
        raise operation_error(operation, f"{target} expects {_named(template, expected)} here{template.place}")
    for mode in operation.modes:
        remaining[mode].pop()
    return index


def _named(template: Template, gate: Operation) -> str:
    """Return a gate of the template in words. In a time-domain layout its parameter says which of several it is."""
    texts = [value.text for value in gate.arguments if isinstance(value, FreeParameter)][
        : 1 if template.max_bins else 0
    ]
    return f"{' '.join([gate.name, *texts])} on modes {list(gate.modes)}"


class _Parameters:
    """The parameters of a template, with the values that a program gives them."""

    def __init__(self, template: Template, program: Program, target: str) -> None:
        self._template, self._program, self._target = template, program, target
        self._values: dict[str, Sequence[float]] = {}

    def check(self, operation: Operation, expected: Operation) -> None:
        """Raise ``ProgramError`` for an argument of ``operation`` that the gate ``expected`` of the template does not allow."""
        target = self._target
        if operation.keywords:
            raise operation_error(operation, f"{target} does not know the option {next(iter(operation.keywords))}")
        if len(operation.arguments) != len(expected.arguments):
            raise operation_error(operation, f"{target} expects {len(expected.arguments)} parameters")
        for wanted, argument in zip(expected.arguments, operation.arguments, strict=True):
            given = self._given(operation, argument)
            if isinstance(wanted, FreeParameter):
                self._check_free(wanted.names[0], given, operation, argument)
                continue
            exact = _real(expected, wanted)
            for time_bin, value in enumerate(given):
                if not _is_close(value, exact):
                    where = _where(argument, time_bin)
                    raise operation_error(operation, f"{value!r}{where} must be {wanted!r} on {target}")

    def _given(self, operation: Operation, argument: Value) -> Sequence[float]:
        if self._template.max_bins and isinstance(argument, ArrayParameter):
            return _numbers(operation, argument.name, self._program)
        return [_real(operation, argument)]

    def _check_free(self, name: str, given: Sequence[float], operation: Operation, argument: Value) -> None:
        allowed, target = self._template.allowed[name], self._target
        ranges = [entry for entry in allowed if isinstance(entry, list)]
        is_angle = any(high - low >= _FULL_TURN - TOLERANCE for low, high in ranges)
        for time_bin, value in enumerate(() if is_angle else given):
            if not _is_allowed(value, allowed):
                where = _where(argument, time_bin)
                detail = f"{value!r}{where} is not allowed for {name}, which takes {_choices(allowed)} on {target}"
                raise operation_error(operation, detail)
        known = self._values.setdefault(name, given)
        if known is not given and not _are_same(known, given, is_angle=is_angle):
            detail = f"{given[0]!r} differs from {known[0]!r}: {target} has one {name} for both halves"
            raise operation_error(operation, detail)


def _is_allowed(value: float, allowed: Allowed) -> bool:
    for entry in allowed:
        low, high = entry if isinstance(entry, list) else (entry, entry)
        if low - TOLERANCE <= value <= high + TOLERANCE:
            return True
    return False


def _choices(allowed: Allowed) -> str:
    texts = [f"{entry[0]:g} to {entry[1]:g}" if isinstance(entry, list) else f"{entry:g}" for entry in allowed]
    return " or ".join(texts)


def _where(argument: Value, time_bin: int) -> str:
    return f", {argument.name} in time bin {time_bin}," if isinstance(argument, ArrayParameter) else ""


def _numbers(operation: Operation, name: str, program: Program) -> Sequence[float]:
    """Return the values of an array of a time-domain program, one for each time bin."""
    bins, array = program.type_options["temporal_modes"], program.arrays.get(name)
    if array is None or array.size != bins:
        size = "no values" if array is None else f"{array.size} values"
        raise operation_error(operation, f"{name} has {size} for {bins} time bins")
    if array.dtype.kind not in "iuf" and (array.dtype.kind != "c" or array.imag.any()):
        raise operation_error(operation, f"{name} must have real numbers, not {array.dtype.name}")
    values: list[float] = array.ravel().real.astype(float).tolist()
    return values


def _real(operation: Operation, value: Value) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, complex) and value.imag == 0:
        return value.real
    raise operation_error(operation, f"a parameter must be a real number, not {_kind(value)}")


def _kind(value: Value) -> str:
    text = getattr(value, "text", None) or getattr(value, "name", None)
    return f"{text}" if isinstance(text, str) else f"a value of type {type(value).__name__}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_close(value: float, wanted: float) -> bool:
    return abs(value - wanted) <= TOLERANCE


def _are_same(first: Sequence[float], second: Sequence[float], *, is_angle: bool) -> bool:
    if len(first) != len(second):
        return False
    differences = (a - b for a, b in zip(first, second, strict=True))
    return all(abs(math.remainder(each, _FULL_TURN) if is_angle else each) <= TOLERANCE for each in differences)
