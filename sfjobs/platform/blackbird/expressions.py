"""
The arithmetic of Blackbird: operators and functions on numbers and arrays. Expressions with measured modes or free parameters
stay text. Each result is finite and bounded. Evaluation is a loop without recursion, because the text is untrusted.
"""

from __future__ import annotations

import cmath
import math
import operator as operators
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from lark.lexer import Token

from ..program import Array, ArrayParameter, FreeParameter, MeasuredParameter, Scalar, Value
from .limits import MAX_INTEGER, MAX_PARAMETER_CHARACTERS, error_at

_SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(5)
_OPERATORS: Final[dict[str, tuple[Callable[[Any, Any], Any], np.ufunc, int]]] = {
    "+": (operators.add, np.add, _SUM),
    "-": (operators.sub, np.subtract, _SUM),
    "*": (operators.mul, np.multiply, _PRODUCT),
    "/": (operators.truediv, np.divide, _PRODUCT),
    "**": (operators.pow, np.power, _POWER),
}
"""Each operator on numbers and on arrays, and its precedence."""
FUNCTIONS: Final = (
    *("sqrt", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh"),
    *("arcsinh", "arccosh", "arctanh", "exp", "log"),
)
COMPLEX_FUNCTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "re": np.real,
    "im": np.imag,
    "abs": np.abs,
    "arg": np.angle,
    "conjugate": np.conjugate,
}
"""Functions that Blackbird does not have, and that heterodyne readings need. All but ``conjugate`` have real results."""
_MAX_EXACT_FLOAT: Final = 2**53


@dataclass(frozen=True, slots=True)
class Symbolic:
    """An expression with measured modes or free parameters; ``text`` has the same meaning in Blackbird and in Python."""

    text: str
    precedence: int = _ATOM
    modes: frozenset[int] = frozenset()
    names: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(self.text) > MAX_PARAMETER_CHARACTERS:
            raise EvaluationError(f"the parameter has more than {MAX_PARAMETER_CHARACTERS} characters")


Number: TypeAlias = int | float | complex
Operand: TypeAlias = Scalar | Array | Symbolic | ArrayParameter


@dataclass(frozen=True, slots=True)
class Step:
    """
    One step of an expression in postfix order: ``push`` the constant ``payload``, push the value of a ``name``, an ``array``, a
    ``measured`` mode or a ``free`` parameter, or ``apply`` the function ``payload`` to the last ``count`` values. ``token`` is
    the name or operator, and the place for errors.
    """

    kind: Literal["push", "name", "array", "measured", "free", "apply"]
    token: Token
    payload: Any = None
    count: int = 0


class Code(list[Step]):
    """An expression with a name, a measured mode or a free parameter, in postfix order."""


def steps_of(values: Iterable[object]) -> int:
    """Return the number of calculation steps of values; a number counts as one."""
    return sum(len(value) if isinstance(value, Code) else 1 for value in values)


class EvaluationError(Exception):
    """A calculation that is not possible; the caller adds the place."""


def run(code: Code, lookup: Callable[[Step], Operand], spend: Callable[[int], None]) -> Operand:
    """
    Return the value of ``code``. ``lookup`` returns the value of a name, a measured mode or a free parameter; ``spend`` is called
    with the number of elements of each new array. Raises ``ProgramError`` with the place of the step that fails.
    """
    stack: list[Operand] = []
    for step in code:
        if step.kind == "push":
            stack.append(step.payload)
        elif step.kind != "apply":
            stack.append(lookup(step))
        else:
            operands = stack[-step.count :]
            del stack[-step.count :]
            try:
                result = step.payload(str(step.token), *operands)
            except EvaluationError as error:
                raise error_at(step.token, str(error)) from None
            stack.append(result)
            if isinstance(result, np.ndarray):
                spend(result.size)
    return stack[-1]


def binary(operator: str, left: Operand, right: Operand) -> Operand:
    """Return ``left operator right``. Raises ``EvaluationError`` unless the result is finite and in range."""
    left, right = _number(left), _number(right)
    if isinstance(left, Symbolic) or isinstance(right, Symbolic):
        return _symbolic_binary(operator, _symbolic(left), _symbolic(right))
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return _array_binary(operator, np.asarray(left), np.asarray(right))
    try:
        return _checked(_scalar_binary(operator, left, right))
    except ZeroDivisionError:
        raise EvaluationError("division by zero") from None
    except OverflowError:
        raise EvaluationError("the result is too large") from None


def sign(operator: str, operand: Operand) -> Operand:
    """Return ``+operand`` or ``-operand``."""
    operand = _number(operand)
    if operator == "+":
        return operand
    if isinstance(operand, Symbolic):
        text = operand.text if operand.precedence == _ATOM else f"({operand.text})"
        return Symbolic(f"-{text}", _SIGN, operand.modes, operand.names)
    if isinstance(operand, np.ndarray):
        return np.negative(operand)
    return -operand


def call(function: str, operand: Operand) -> Operand:
    """Return ``function(operand)``. Real arguments have real results: ``sqrt(-1)`` is an error, ``sqrt(-1+0j)`` is not."""
    operand = _number(operand)
    if isinstance(operand, Symbolic):
        return Symbolic(f"{function}({operand.text})", _ATOM, operand.modes, operand.names)
    known = COMPLEX_FUNCTIONS.get(function)
    if isinstance(operand, np.ndarray):
        with np.errstate(all="ignore"):
            return _finite_array((known or getattr(np, function))(operand))
    if known:
        return _checked(known(operand).item())
    short = function.replace("arc", "a")
    try:
        return _checked(getattr(cmath if isinstance(operand, complex) else math, short)(operand))
    except (ValueError, ZeroDivisionError):
        raise EvaluationError(f"{function}({operand!r}) is not a finite number") from None
    except OverflowError:
        raise EvaluationError(f"{function}({operand!r}) is too large") from None


def finished(value: Operand) -> Value:
    """Return a value as it is in a ``Program``."""
    if not isinstance(value, Symbolic):
        return value
    if value.modes:
        return MeasuredParameter(value.text, tuple(sorted(value.modes)))
    return FreeParameter(value.text, tuple(sorted(value.names)))


def _number(value: Operand) -> Number | Array | Symbolic:
    if isinstance(value, str):
        raise EvaluationError("a text is not a number")
    if isinstance(value, ArrayParameter):
        raise EvaluationError(f"{value.name} stands for one value in each time bin and cannot be calculated with")
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            raise EvaluationError("an array with free parameters cannot be calculated with")
        return value.astype(np.int64) if value.dtype == np.bool_ else value
    return int(value) if isinstance(value, bool) else value


def _scalar_binary(operator: str, left: Number, right: Number) -> Number:
    if operator == "**" and isinstance(left, int) and isinstance(right, int) and right > 63 and abs(left) > 1:
        raise OverflowError  # before it is calculated: the result could have any number of digits
    result: Number = _OPERATORS[operator][0](left, right)
    if isinstance(result, complex) and not isinstance(left, complex) and not isinstance(right, complex):
        raise EvaluationError(f"{left!r} ** {right!r} is not a real number")
    return result


def _checked(value: Number) -> Number:
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise EvaluationError("the result is an integer of more than 63 bits")
    elif not (math.isfinite(value.real) and math.isfinite(value.imag)):
        raise EvaluationError("the result is not a finite number")
    return value


def _array_binary(operator: str, left: Array, right: Array) -> Array:
    integers = left.dtype.kind == right.dtype.kind == "i"
    if left.ndim and right.ndim and left.shape != right.shape:
        raise EvaluationError(f"arrays of shapes {left.shape} and {right.shape} do not fit")
    if integers:  # int64 would wrap around silently
        left, right = left.astype(np.float64), right.astype(np.float64)
    with np.errstate(all="ignore"):
        result = _finite_array(_OPERATORS[operator][1](left, right))
    if integers and operator != "/" and bool(np.all(result == np.rint(result))):
        if float(np.max(np.abs(result), initial=0.0)) >= _MAX_EXACT_FLOAT:
            raise EvaluationError("the result is too large")
        return result.astype(np.int64)
    return result


def _finite_array(result: Array) -> Array:
    if not bool(np.all(np.isfinite(result))):
        raise EvaluationError("the result is not finite everywhere")
    return result


def _symbolic(value: Number | Array | Symbolic) -> Symbolic:
    if isinstance(value, Symbolic):
        return value
    if isinstance(value, np.ndarray):
        raise EvaluationError("an array cannot be combined with a measured or free parameter")
    text = repr(value)
    return Symbolic(text, _SIGN if text[0] == "-" else _ATOM)


def _symbolic_binary(operator: str, left: Symbolic, right: Symbolic) -> Symbolic:
    precedence = _OPERATORS[operator][2]
    left_least, right_least = (_ATOM, _SIGN) if operator == "**" else (precedence, precedence + 1)
    left_text = left.text if left.precedence >= left_least else f"({left.text})"
    right_text = right.text if right.precedence >= right_least else f"({right.text})"
    text = f"{left_text} {operator} {right_text}"
    return Symbolic(text, precedence, left.modes | right.modes, left.names | right.names)


def element(name: str, array: Operand, *indices: Operand) -> Operand:
    """Return ``name[indices]`` of an array."""
    if not isinstance(array, np.ndarray):
        raise EvaluationError(f"{name} is not an array")
    whole = [index for index in indices if isinstance(index, int) and not isinstance(index, bool)]
    if len(whole) != len(indices) or len(whole) > array.ndim:
        raise EvaluationError(f"{name} takes one index (row by row) or {array.ndim}, all integers")
    try:
        element = array.flat[whole[0]] if len(whole) == 1 else array[tuple(whole)]
    except IndexError:
        raise EvaluationError(f"the index is outside of {name}, whose shape is {array.shape}") from None
    if isinstance(element, FreeParameter):
        return Symbolic(element.text, _SUM, names=frozenset(element.names))
    value: Scalar = element.item() if isinstance(element, np.generic) else element
    return value
