"""Parameters of gates that are formulas of earlier readings: as linear functions where they are, and as values for many shots."""

from __future__ import annotations

import cmath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from ..blackbird.expressions import EvaluationError
from ..blackbird.formulas import Affine, Formula, Values, read_formula
from ..program import Array, MeasuredParameter, Operation, Value
from .arguments import Arguments
from .gates import ALIASES, GATES, MAX_AMPLITUDE
from .limits import beyond_limit, unsupported

DISPLACEMENTS: Final = frozenset({"Xgate", "Zgate", "Dgate"})

PREPARATIONS: Final[Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "Coherent": (("Vacuum", ()), ("Dgate", ("r", "phi"))),
    "Squeezed": (("Vacuum", ()), ("Sgate", ("r", "p"))),
    "DisplacedSqueezed": (("Vacuum", ()), ("Sgate", ("r_s", "phi_s")), ("Dgate", ("r_d", "phi_d"))),
}
"""Preparations as gates on the vacuum, with their parameters in order."""

_ONE_COMPLEX_ARGUMENT: Final = frozenset({"Dgate", "Coherent"})


def measured_parameters(operation: Operation) -> list[MeasuredParameter]:
    values = (*operation.arguments, *operation.keywords.values())
    return [value for value in values if isinstance(value, MeasuredParameter)]


def probe(operation: Operation) -> Operation:
    """Return the operation with a number in the place of each formula, so that its other arguments can be checked."""
    return _replaced(operation, lambda _: 0.5)


def parts_of(operation: Operation) -> list[Operation]:
    """Return the gates that are the same as a preparation of ``PREPARATIONS``."""
    name = ALIASES.get(operation.name, operation.name)
    arguments = Arguments(operation, GATES[name].defaults)
    parts = []
    for gate, parameters in PREPARATIONS[name]:
        given = [(parameter, arguments.given(parameter)) for parameter in parameters]
        names = list(GATES[gate].defaults)
        keywords = {names[index]: value for index, (_, value) in enumerate(given) if value is not None}
        if gate != "Vacuum":
            keywords.setdefault("r", 0.0)
        parts.append(replace(operation, name=gate, arguments=(), keywords=keywords))
    return parts


def formula_of(parameter: MeasuredParameter, operation: Operation) -> Formula:
    try:
        return read_formula(parameter.text)
    except EvaluationError as error:
        raise unsupported(str(error), operation) from None


def check_real(operation: Operation, complex_modes: frozenset[int]) -> None:
    """Raise ``ProgramError`` for a formula whose values may be complex where the gate takes a real number."""
    arguments = (*operation.arguments, *operation.keywords.values())
    if operation.name in _ONE_COMPLEX_ARGUMENT and len(arguments) == 1:
        return
    for parameter in measured_parameters(operation):
        formula = formula_of(parameter, operation)
        linear = formula.affine(complex_modes)
        if formula.is_complex(complex_modes) and not (linear and linear.is_real):
            raise unsupported(
                f"{parameter.text} must be real, and a heterodyne reading is complex: write re(...), im(...) or abs(...)",
                operation,
            )


def linear_shift(operation: Operation, complex_modes: frozenset[int]) -> tuple[Affine, Affine] | None:
    """Return the displacement of x and of p as linear functions of the readings, None if they are not linear."""
    arguments = Arguments(operation, GATES[operation.name].defaults)
    first, *others = GATES[operation.name].defaults
    amplitude = arguments.given(first)
    if not isinstance(amplitude, MeasuredParameter) or any(
        isinstance(arguments.given(name), MeasuredParameter) for name in others
    ):
        return None
    linear = formula_of(amplitude, operation).affine(complex_modes)
    if linear is None:
        return None
    factor = {"Xgate": 1, "Zgate": 1j}.get(operation.name)
    if factor is None:
        factor = 2 * cmath.exp(1j * arguments.real("phi"))
    shift = linear.scaled(factor)
    return shift.mapped(lambda value: complex(value).real), shift.mapped(lambda value: complex(value).imag)


def shifts(operation: Operation, readings: Values) -> Array:
    """Return the displacements of x and p (2, shots). Raises ``ProgramError`` for a value out of bounds."""
    arguments = Arguments(operation, GATES[operation.name].defaults)
    values = {}
    for name, default in GATES[operation.name].defaults.items():
        value = arguments.given(name)
        if isinstance(value, MeasuredParameter):
            values[name] = _values(value, operation, readings)
        else:
            values[name] = np.asarray(default if value is None else arguments.number(name))
    if operation.name == "Dgate":
        amplitude = 2 * values["r"] * np.exp(1j * values["phi"])
    else:
        amplitude = values["x"] + 0j if operation.name == "Xgate" else 1j * values["p"]
    largest = float(np.max(np.abs(amplitude)))
    if largest > 2 * MAX_AMPLITUDE:
        raise beyond_limit(f"displaces by {largest:g}, which is more light than is simulated", operation)
    return np.stack([amplitude.real, amplitude.imag])


def parameters_of_shots(operation: Operation, readings: Values, shots: int) -> dict[str, Array]:
    """Return the parameters of a gate by name, as arrays (shots). Raises ``ProgramError`` for one that is not a number."""
    defaults = GATES[operation.name].defaults
    arguments = Arguments(operation, defaults)
    parameters = {}
    for name in defaults:
        value = arguments.given(name)
        known = _values(value, operation, readings) if isinstance(value, MeasuredParameter) else arguments.real(name)
        parameters[name] = np.broadcast_to(known, (shots,))
    return parameters


def operations_of_shots(operation: Operation, readings: Values, shots: int) -> Iterator[Operation]:
    """Yield the operation of each shot, with the values of its formulas."""
    values = {
        parameter.text: np.broadcast_to(_values(parameter, operation, readings), (shots,))
        for parameter in measured_parameters(operation)
    }
    for shot in range(shots):
        yield _replaced(operation, lambda parameter, shot=shot: values[parameter.text][shot].item())  # type: ignore[misc]


def _values(parameter: MeasuredParameter, operation: Operation, readings: Values) -> Array:
    formula = formula_of(parameter, operation)
    try:
        values = formula(readings)
    except EvaluationError as error:
        detail = (
            f"{parameter.text} has no finite real value in some shots ({error}): such as a root of a negative reading"
        )
        raise unsupported(detail, operation) from None
    if np.iscomplexobj(values) and not values.imag.any():
        return values.real
    return values


def _replaced(operation: Operation, value_of: Callable[[MeasuredParameter], Value]) -> Operation:
    def value(argument: Value) -> Value:
        return value_of(argument) if isinstance(argument, MeasuredParameter) else argument

    return replace(
        operation,
        arguments=tuple(value(argument) for argument in operation.arguments),
        keywords={name: value(argument) for name, argument in operation.keywords.items()},
    )
