"""
Reading the arguments of one operation: by position or name, with defaults, as finite real numbers and finite matrices.
Whatever does not fit is refused with the gate's name and line.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ..program import Array, ArrayParameter, FreeParameter, MeasuredParameter, Operation, Value
from .limits import unsupported

REQUIRED: Final = object()
"""The default of a parameter that has none."""

_TOLERANCE: Final = 1e-6
"""How far a matrix may be from unitary, symplectic or symmetric: Strawberry Fields' own for most of them."""


class Arguments:
    """The arguments of ``operation``, bound to parameter names in the order of ``defaults``."""

    def __init__(self, operation: Operation, defaults: dict[str, object]) -> None:
        self.operation = operation
        if len(operation.arguments) > len(defaults):
            raise unsupported(f"takes at most {len(defaults)} arguments, not {len(operation.arguments)}", operation)
        given: dict[str, object] = dict(zip(defaults, operation.arguments, strict=False))
        for name, value in operation.keywords.items():
            if name not in defaults:
                raise unsupported(f"has no parameter {name!r}", operation)
            if name in given:
                raise unsupported(f"was given {name!r} twice", operation)
            given[name] = value
        for name, default in defaults.items():
            if name not in given and default is REQUIRED:
                raise unsupported(f"needs the parameter {name!r}", operation)
        self._values = {**defaults, **given}

    def value(self, name: str) -> object:
        """The argument as it came, or its default; one that is only known later is refused."""
        value = self._values[name]
        if isinstance(value, MeasuredParameter):
            raise unsupported(
                f"feed-forward is not simulated: {name} = {value.text} depends on a measurement", self.operation
            )
        if isinstance(value, FreeParameter):
            raise unsupported(f"{name} = {value.text} has no value", self.operation)
        if isinstance(value, ArrayParameter):
            raise unsupported(
                f"{name} = {value.name} is an array, which only a TDM program steps through", self.operation
            )
        return value

    def real(self, name: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite real number within bounds; a complex one without imaginary part will do."""
        value = self.value(name)
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        if isinstance(value, (complex, np.complexfloating)) and value.imag == 0:
            value = value.real
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise unsupported(f"{name} must be a real number, not {_shown(value)}", self.operation)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise unsupported(f"{name} must be finite, not {number}", self.operation)
        if not low <= number <= high:
            raise unsupported(f"{name} must be between {low:g} and {high:g}, not {number:g}", self.operation)
        return number

    def flag(self, name: str) -> bool:
        value = self.value(name)
        if not isinstance(value, (bool, np.bool_)):
            raise unsupported(f"{name} must be True or False, not {_shown(value)}", self.operation)
        return bool(value)

    def matrix(self, name: str, *sizes: int, real: bool = False) -> Array:
        """A finite square matrix of one of these sizes, complex unless ``real``."""
        value = self.value(name)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iufc":
            raise unsupported(f"{name} must be a matrix of numbers, not {_shown(value)}", self.operation)
        if value.ndim == 0 and 1 in sizes:
            value = value.reshape(1, 1)
        if value.ndim != 2 or value.shape[0] != value.shape[1] or len(value) not in sizes:
            wanted = " or ".join(f"({size}, {size})" for size in sizes)
            raise unsupported(
                f"{name} has shape {value.shape}; on {len(self.operation.modes)} modes it must be {wanted}",
                self.operation,
            )
        matrix = value.astype(np.complex128)
        if not np.isfinite(matrix).all():
            raise unsupported(f"{name} has an entry that is not finite", self.operation)
        if not real:
            return matrix
        if matrix.imag.any():
            raise unsupported(f"{name} must be real", self.operation)
        return np.ascontiguousarray(matrix.real)

    def vector(self, name: str, size: int) -> Array:
        """A finite real vector."""
        value = self.value(name)
        array = np.asarray(value)
        if array.dtype.kind not in "iuf" or array.size != size:
            raise unsupported(f"{name} must be {size} real numbers", self.operation)
        vector = array.astype(np.float64).ravel()
        if not np.isfinite(vector).all():
            raise unsupported(f"{name} has an entry that is not finite", self.operation)
        return vector

    def check(self, difference: Array, scale: Array, claim: str) -> None:
        """Refuse the operation unless a difference that ought to vanish does, relative to the size of the matrix."""
        bound = _TOLERANCE * max(1.0, float(np.max(np.abs(scale), initial=0.0)))
        if not np.max(np.abs(difference), initial=0.0) <= bound:
            raise unsupported(claim, self.operation)


def _shown(value: Value | object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
