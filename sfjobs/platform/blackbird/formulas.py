"""
Formulas of measured values, such as ``0.5 * q0`` in ``Xgate(0.5 * q0) | 1``, on arrays with one value per shot.
The text comes from ``expressions``; it is read as a Python expression, and no part of it is run by Python.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np

from ..program import Array
from .expressions import COMPLEX_FUNCTIONS, FUNCTIONS, EvaluationError, binary, call, sign

_OPERATORS: Final[Mapping[type[ast.operator], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
}

_KNOWN: Final = frozenset({*FUNCTIONS, *COMPLEX_FUNCTIONS})
_LINEAR: Final[Mapping[str, Callable[[complex], complex]]] = {
    "re": lambda value: complex(value).real,
    "im": lambda value: complex(value).imag,
    "conjugate": lambda value: complex(value).conjugate(),
}

Values: TypeAlias = Mapping[int, Array]


Part: TypeAlias = tuple[int, int]
"""A mode, and 0 for the (real part of the) value that was measured there, 1 for its imaginary part."""


@dataclass(frozen=True, slots=True)
class Affine:
    """A sum of a constant and multiples of the real and imaginary parts of measured values."""

    constant: complex
    coefficients: Mapping[Part, complex]

    @property
    def is_real(self) -> bool:
        return not any(complex(value).imag for value in (self.constant, *self.coefficients.values()))

    def mapped(self, function: Callable[[complex], complex]) -> Affine:
        """Return the sum with a function of its numbers that is linear over the real numbers."""
        return Affine(function(self.constant), {part: function(value) for part, value in self.coefficients.items()})

    def scaled(self, factor: complex) -> Affine:
        return self.mapped(lambda value: factor * value)

    def plus(self, other: Affine) -> Affine:
        parts = {**self.coefficients, **other.coefficients}
        sums = {part: self.coefficients.get(part, 0) + other.coefficients.get(part, 0) for part in parts}
        return Affine(self.constant + other.constant, sums)


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula in postfix order: numbers, modes, and functions with their numbers of operands."""

    text: str
    _steps: tuple[tuple[str, Any, int], ...]

    def __call__(self, values: Values) -> Array:
        """
        Return the values of the formula for arrays of measured values by mode.

        Raises:
            EvaluationError: a result is not finite, such as the square root of a negative number or a division by zero.
        """
        stack: list[Any] = []
        with np.errstate(all="ignore"):
            for kind, payload, count in self._steps:
                if kind == "number":
                    stack.append(payload)
                elif kind == "mode":
                    stack.append(values[payload])
                else:
                    operands = stack[-count:]
                    del stack[-count:]
                    stack.append(payload(*operands))
        return np.asarray(stack[-1])

    def is_complex(self, complex_modes: frozenset[int]) -> bool:
        """Return whether the values may be complex, if those of ``complex_modes`` are."""
        stack: list[bool] = []
        for kind, payload, count in self._steps:
            if kind != "apply":
                stack.append(isinstance(payload, complex) if kind == "number" else payload in complex_modes)
                continue
            operands = stack[-count:]
            del stack[-count:]
            stack.append(any(operands) and not getattr(payload, "is_real", False))
        return stack[-1]

    def affine(self, complex_modes: frozenset[int]) -> Affine | None:
        """Return the formula as an affine function, None if it is not known to be one. The values of other modes are real."""
        stack: list[Affine | None] = []
        for kind, payload, count in self._steps:
            if kind == "number":
                stack.append(Affine(payload, {}))
            elif kind == "mode":
                stack.append(Affine(0, {(payload, 0): 1, **({(payload, 1): 1j} if payload in complex_modes else {})}))
            else:
                operands = stack[-count:]
                del stack[-count:]
                stack.append(payload.affine(*operands))
        return stack[-1]


@dataclass(frozen=True, slots=True)
class _Sign:
    operator: str

    def __call__(self, operand: Any) -> Any:
        return sign(self.operator, operand)

    def affine(self, operand: Affine | None) -> Affine | None:
        return operand.scaled(-1 if self.operator == "-" else 1) if operand else None


@dataclass(frozen=True, slots=True)
class _Call:
    function: str

    @property
    def is_real(self) -> bool:
        return self.function in COMPLEX_FUNCTIONS and self.function != "conjugate"

    def __call__(self, operand: Any) -> Any:
        return call(self.function, operand)

    def affine(self, operand: Affine | None) -> Affine | None:
        if operand is None:
            return None
        if operand.coefficients:
            linear = _LINEAR.get(self.function)
            return operand.mapped(linear) if linear else None
        try:
            return Affine(call(self.function, operand.constant), {})  # type: ignore[arg-type]  # a number
        except EvaluationError:
            return None


@dataclass(frozen=True, slots=True)
class _Binary:
    operator: str

    def __call__(self, left: Any, right: Any) -> Any:
        return binary(self.operator, left, right)

    def affine(self, left: Affine | None, right: Affine | None) -> Affine | None:
        if left is None or right is None:
            return None
        if not left.coefficients and not right.coefficients:
            try:
                return Affine(binary(self.operator, left.constant, right.constant), {})  # type: ignore[arg-type]
            except EvaluationError:
                return None
        if self.operator in "+-":
            return left.plus(right.scaled(1 if self.operator == "+" else -1))
        if self.operator == "*" and not (left.coefficients and right.coefficients):
            return right.scaled(left.constant) if right.coefficients else left.scaled(right.constant)
        if self.operator == "/" and not right.coefficients and right.constant:
            return left.scaled(1 / right.constant)
        return None


@lru_cache(maxsize=1024)
def read_formula(text: str) -> Formula:
    """Return the formula of a ``MeasuredParameter``. Raises ``EvaluationError`` for a text that is none."""
    try:
        tree = ast.parse(text, mode="eval")
        steps: list[tuple[str, Any, int]] = []
        _append(tree.body, steps)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise EvaluationError(f"{text} cannot be read") from None
    return Formula(text, tuple(steps))


def _append(node: ast.expr, steps: list[tuple[str, Any, int]]) -> None:
    match node:
        case ast.Constant(value=int() | float() | complex() as number) if not isinstance(number, bool):
            steps.append(("number", number, 0))
        case ast.Name(id=name) if name[:1] == "q" and name[1:].isdecimal():
            steps.append(("mode", int(name[1:]), 0))
        case ast.UnaryOp(op=ast.UAdd() | ast.USub() as operator, operand=operand):
            _append(operand, steps)
            steps.append(("apply", _Sign("-" if isinstance(operator, ast.USub) else "+"), 1))
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            _append(left, steps)
            _append(right, steps)
            steps.append(("apply", _Binary(_OPERATORS[type(operator)]), 2))
        case ast.Call(func=ast.Name(id=function), args=[operand], keywords=[]) if function in _KNOWN:
            _append(operand, steps)
            steps.append(("apply", _Call(function), 1))
        case _:
            raise ValueError
