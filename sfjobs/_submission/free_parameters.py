"""
Puts numbers in the place of the free parameters of a ``strawberryfields.Program`` before it is compiled: the compilers of devices
compare numbers. The caller's program stays as it is. Its parameters must not be bound for that: parameters of the same name are
one sympy symbol in all programs of the process.
"""

from __future__ import annotations

import cmath
import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, cast

from .._protocol.blackbird_template import Number, Params, numbers_for
from .programs import Compilable


class _Parameter(Protocol):
    """A ``FreeParameter``: the value that it is bound to, and the one that counts otherwise."""

    @property
    def val(self) -> object: ...

    @property
    def default(self) -> object: ...


class _Expression(Protocol):
    """A sympy expression."""

    @property
    def free_symbols(self) -> Iterable[object]: ...

    def subs(self, values: Mapping[object, Number]) -> _Expression: ...

    def __complex__(self) -> complex: ...


class _ParametrizedGate(Protocol):
    p: Sequence[object]


class _ParametrizedCommand(Protocol):
    op: _ParametrizedGate


def with_numbers(program: Compilable, params: Params | None) -> Compilable:
    """
    Return a copy of ``program`` without free parameters. ``params`` come before the values that they are bound to, and those
    before default values. Loop variables of time-domain programs and measured parameters stay.

    Raises:
        ValueError: a parameter has no value, a value has no parameter, or an argument has no finite value.
        TypeError: a value is not a number.
    """
    circuit = cast("Sequence[_ParametrizedCommand]", program.circuit)
    loops = {variable.name for variable in getattr(program, "loop_vars", ())}
    symbols: Mapping[str, _Parameter] = getattr(program, "free_params", {})
    used = {symbol for command in circuit for value in command.op.p for symbol in getattr(value, "free_symbols", ())}
    free = {name: symbol for name, symbol in symbols.items() if symbol in used and name not in loops}
    if not free and not params:
        return program
    numbers = numbers_for(free, {**_bound(free), **(params or {})})
    values: dict[object, Number] = {free[name]: number for name, number in numbers.items()}
    filled = copy.copy(program)
    for attribute in ("circuit", "rolled_circuit"):
        if commands := getattr(program, attribute, None):
            setattr(filled, attribute, [_filled(command, values) for command in commands])
    return filled


def _bound(free: Mapping[str, _Parameter]) -> Mapping[str, Number]:
    """Return what numbers the program itself has. They are checked with the others."""
    values = {name: symbol.default if symbol.val is None else symbol.val for name, symbol in free.items()}
    return cast("Mapping[str, Number]", {name: value for name, value in values.items() if value is not None})


def _filled(command: _ParametrizedCommand, values: Mapping[object, Number]) -> _ParametrizedCommand:
    if not any(symbol in values for value in command.op.p for symbol in getattr(value, "free_symbols", ())):
        return command
    filled, operation = copy.copy(command), copy.copy(command.op)
    operation.p = [_number(value, values, operation) for value in command.op.p]
    filled.op = operation
    return filled


def _number(value: object, values: Mapping[object, Number], operation: _ParametrizedGate) -> object:
    """Return ``value`` with numbers for its free parameters: a number, unless it has measured parameters or loop variables."""
    if not any(symbol in values for symbol in getattr(value, "free_symbols", ())):
        return value
    if value in values:
        return values[value]
    filled = cast("_Expression", value).subs(values)
    if list(filled.free_symbols):
        return filled
    number = _finite(filled)
    if number is None:
        raise ValueError(
            f"the argument {value} of {type(operation).__name__} is not finite for the values that are given"
        )
    return number if number.imag else number.real


def _finite(value: _Expression) -> complex | None:
    try:
        number = complex(value)
    except TypeError:  # a pole of sympy
        return None
    return number if cmath.isfinite(number) else None
