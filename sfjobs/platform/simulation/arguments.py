"""
The arguments of one operation, by position or name, with defaults, checked to be finite real numbers or finite matrices. An
argument that does not fit raises ``ProgramError`` with the gate's name and line.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from ..program import Array, ArrayParameter, FreeParameter, MeasuredParameter, Operation, ProgramError, Value
from .limits import unsupported
from .projection import distance

REQUIRED: Final = object()
"""The default of a required parameter."""

_MAX_CORRECTION: Final = 1e-4
"""Largest move of an entry to the nearest unitary, symplectic or symmetric matrix, or to the nearest covariance."""

_MAX_RELATIVE_CORRECTION: Final = 1e-6
"""The same relative to the largest entry, for much squeezing."""

_MAX_ENTRY: Final = 1e100
"""Largest entry of a matrix whose products are finite."""


class Arguments:
    """The arguments of ``operation``, bound to parameter names in the order of ``defaults``."""

    def __init__(self, operation: Operation, defaults: Mapping[str, object]) -> None:
        self.operation = operation
        if len(operation.arguments) > len(defaults):
            raise self.error(f"takes at most {len(defaults)} arguments, not {len(operation.arguments)}")
        given: dict[str, object] = dict(zip(defaults, operation.arguments, strict=False))
        for name, value in operation.keywords.items():
            if name not in defaults:
                raise self.error(f"has no parameter {name!r}")
            if name in given:
                raise self.error(f"was given {name!r} twice")
            given[name] = value
        for name, default in defaults.items():
            if name not in given and default is REQUIRED:
                raise self.error(f"needs the parameter {name!r}")
        self._given = given.keys()
        self._values = {**defaults, **given}
        self.correction = 0.0
        """The largest move of an entry of a matrix by ``corrected``."""

    def error(self, detail: str) -> ProgramError:
        return unsupported(detail, self.operation)

    def value(self, name: str) -> object:
        """Return the argument or its default. Raises ``ProgramError`` for one whose value is not known yet."""
        value = self._values[name]
        if isinstance(value, MeasuredParameter):
            raise self.error(f"{name} = {value.text} depends on a measurement: feed-forward is not simulated here")
        if isinstance(value, FreeParameter):
            raise self.error(f"{name} = {value.text} has no value")
        if isinstance(value, ArrayParameter):
            raise self.error(f"{name} = {value.name} is an array, which only a TDM program steps through")
        return value

    def given(self, name: str) -> Value | None:
        """Return the argument as it was given, with its value known or not; None for a default."""
        return self._values[name] if name in self._given else None  # type: ignore[return-value]  # given ones are values

    def is_given(self, name: str) -> bool:
        return name in self._given

    def number(self, name: str) -> complex:
        """Return a finite real or complex number."""
        value = self.value(name)
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        if not isinstance(value, (complex, np.complexfloating)) or value.imag == 0:
            return self.real(name)
        number = complex(value)
        if not cmath.isfinite(number):
            raise self.error(f"{name} must be finite, not {number}")
        return number

    def real(self, name: str, low: float = -math.inf, high: float = math.inf) -> float:
        """Return a finite real number within bounds; a complex number without imaginary part counts as real."""
        value = self.value(name)
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        if isinstance(value, (complex, np.complexfloating)) and value.imag == 0:
            value = value.real
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise self.error(f"{name} must be a real number, not {_shown(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.error(f"{name} must be finite, not {number}")
        if not low <= number <= high:
            raise self.error(f"{name} must be between {low:g} and {high:g}, not {number:g}")
        return number

    def flag(self, name: str) -> bool:
        value = self.value(name)
        if not isinstance(value, (bool, np.bool_)):
            raise self.error(f"{name} must be True or False, not {_shown(value)}")
        return bool(value)

    def matrix(self, name: str, *sizes: int, real: bool = False) -> Array:
        """Return a finite square matrix of one of these sizes, complex unless ``real``."""
        value = self.value(name)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iufc":
            raise self.error(f"{name} must be a matrix of numbers, not {_shown(value)}")
        if value.ndim == 0 and 1 in sizes:
            value = value.reshape(1, 1)
        if value.ndim != 2 or value.shape[0] != value.shape[1] or len(value) not in sizes:
            wanted = " or ".join(f"({size}, {size})" for size in sizes)
            modes = len(self.operation.modes)
            raise self.error(f"{name} has shape {value.shape}; on {modes} modes it must be {wanted}")
        matrix = value.astype(np.complex128)
        if not np.isfinite(matrix).all():
            raise self.error(f"{name} has an entry that is not finite")
        largest = max(float(np.max(np.abs(part), initial=0.0)) for part in (matrix.real, matrix.imag))
        if largest > _MAX_ENTRY:
            raise self.error(f"{name} has an entry of {largest:g}; at most {_MAX_ENTRY:g} is simulated")
        if not real:
            return matrix
        if matrix.imag.any():
            raise self.error(f"{name} must be real")
        return np.ascontiguousarray(matrix.real)

    def vector(self, name: str, size: int) -> Array:
        """Return a finite real vector of this size."""
        array = np.asarray(self.value(name))
        if array.dtype.kind not in "iuf" or array.size != size:
            raise self.error(f"{name} must be {size} real numbers")
        vector = array.astype(np.float64).ravel()
        if not np.isfinite(vector).all():
            raise self.error(f"{name} has an entry that is not finite")
        return vector

    def corrected(
        self, given: Array, project: Callable[[Array], Array], fault: str, wanted: str, *, scale_free: bool = False
    ) -> Array:
        """
        Return the nearest valid matrix, ``project(given)``. ``scale_free`` makes the limit of its distance relative to small
        entries as well. Raises ``ProgramError`` with ``fault`` and with the distance to the nearest ``wanted`` if it is too far.
        """
        largest = float(np.max(np.abs(given), initial=0.0))
        limit = max(_MAX_CORRECTION * (min(1.0, largest) if scale_free else 1.0), _MAX_RELATIVE_CORRECTION * largest)
        try:
            with np.errstate(all="ignore"):
                nearest = project(given)
                moved = distance(given, nearest)
        except np.linalg.LinAlgError:
            moved = math.inf
        if not moved <= limit:
            where = f"the nearest {wanted} is {moved:.2g} away" if moved < math.inf else f"no {wanted} is near"
            raise self.error(f"{fault}: {where}; a distance of at most {limit:.2g} is corrected")
        self.correction = max(self.correction, moved)
        return nearest


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
