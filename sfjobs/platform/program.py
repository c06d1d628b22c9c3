"""
A photonic program as plain data: what ``blackbird`` makes of a text, what ``devices`` holds against a layout and what
``simulation`` runs. Every operation knows the line it came from, so that an error can name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class MeasuredParameter:
    """
    A parameter that is only known once ``modes`` have been measured, as in ``Xgate(0.5 * q0)``. ``text`` is the expression with
    its variables filled in; it means the same in Blackbird and in Python.
    """

    text: str
    modes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FreeParameter:
    """A parameter without a value yet, as in the layout of a device; ``text`` is the whole expression, ``{phase_0}`` say."""

    text: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArrayParameter:
    """A whole array of a TDM program used as a parameter: one value for each time bin, as in ``Rgate(p1)``."""

    name: str


Scalar: TypeAlias = bool | int | float | complex | str
Value: TypeAlias = Scalar | tuple[Scalar, ...] | Array | MeasuredParameter | FreeParameter | ArrayParameter


@dataclass(frozen=True, slots=True)
class Operation:
    """One statement, ``name(arguments, **keywords) | modes``, and the 1-based line it stands on."""

    name: str
    arguments: tuple[Value, ...] = ()
    keywords: Mapping[str, Value] = field(default_factory=dict)
    modes: tuple[int, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """
    A parsed program. ``options`` are those of the ``target`` line (``shots`` among them, if given), ``type_options`` those
    of a ``type`` line; ``arrays`` are the declared arrays by name.
    """

    name: str | None = None
    version: str = "1.0"
    target: str | None = None
    options: Mapping[str, Value] = field(default_factory=dict)
    type: str | None = None
    type_options: Mapping[str, Value] = field(default_factory=dict)
    operations: tuple[Operation, ...] = ()
    arrays: Mapping[str, Array] = field(default_factory=dict)
    free_parameters: tuple[str, ...] = ()

    @property
    def num_modes(self) -> int:
        """One more than the highest mode that any operation acts on; 0 for an empty program."""
        return 1 + max((mode for operation in self.operations for mode in operation.modes), default=-1)

    @property
    def shots(self) -> int | None:
        """The number of shots the target line asks for, if it does."""
        shots = self.options.get("shots")
        return int(shots) if isinstance(shots, (int, np.integer)) and not isinstance(shots, bool) else None


class ProgramError(Exception):
    """
    A program that cannot be run as it is. ``code`` is the protocol's word for it (``parse-error``, ``unsupported-circuit``,
    ``validation-error``); ``line`` and ``column`` are 1-based, 0 when unknown; ``operation`` is the gate to blame, if any.
    """

    def __init__(self, code: str, detail: str, *, line: int = 0, column: int = 0, operation: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.line = line
        self.column = column
        self.operation = operation

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.code, self.detail, self.line, self.column, self.operation)


def _rebuild(code: str, detail: str, line: int, column: int, operation: str | None) -> ProgramError:
    return ProgramError(code, detail, line=line, column=column, operation=operation)
