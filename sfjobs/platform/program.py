"""
A photonic program and its samples as plain data. ``blackbird`` parses text to a ``Program``, ``devices`` check one, and
``simulation`` runs one and returns ``Samples``. Each operation keeps its line in the text, for error messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ..models import JSONValue

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class MeasuredParameter:
    """
    A parameter that depends on the measurement of ``modes``, as in ``Xgate(0.5 * q0)``. ``text`` is the expression with its
    variables replaced by their values, in Blackbird; ``blackbird.formulas`` evaluates it.
    """

    text: str
    modes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FreeParameter:
    """A parameter without a value, as in the layout of a device; ``text`` is the whole expression, such as ``{phase_0}``."""

    text: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArrayParameter:
    """An array of a TDM program as a parameter, one value per time bin, as in ``Rgate(p1)``."""

    name: str


Scalar: TypeAlias = bool | int | float | complex | str
Value: TypeAlias = Scalar | tuple[Scalar, ...] | Array | MeasuredParameter | FreeParameter | ArrayParameter


@dataclass(frozen=True, slots=True)
class Operation:
    """One statement, ``name(arguments, **keywords) | modes``, and its 1-based line."""

    name: str
    arguments: tuple[Value, ...] = ()
    keywords: Mapping[str, Value] = field(default_factory=dict)
    modes: tuple[int, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """
    A parsed program. ``options`` are those of the ``target`` line, such as ``shots``; ``type_options`` are those of the
    ``type`` line; ``arrays`` maps the names of declared arrays to their values.
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
        """One more than the highest mode of any operation; 0 for an empty program."""
        return 1 + max((mode for operation in self.operations for mode in operation.modes), default=-1)

    @property
    def shots(self) -> int | None:
        """The number of shots given on the target line, or None."""
        shots = self.options.get("shots")
        return int(shots) if isinstance(shots, (int, np.integer)) and not isinstance(shots, bool) else None


@dataclass(frozen=True, slots=True)
class Samples:
    """
    The samples of one run. ``array`` has shape (shots, measured modes), modes ascending; that of a TDM program has shape
    (shots, spatial modes, time bins). ``meta`` goes into the job's ``meta``, such as the name of the sampler.
    """

    array: Array
    meta: Mapping[str, JSONValue]


GATE_MODES: Final[Mapping[str, int]] = {
    **dict.fromkeys(("Vac", "Vacuum", "Coherent", "Squeezed", "DisplacedSqueezed", "Thermal"), 1),
    **dict.fromkeys(("Dgate", "Xgate", "Zgate", "Rgate", "Sgate", "Pgate", "Fouriergate", "Fourier"), 1),
    **dict.fromkeys(("LossChannel", "ThermalLossChannel", "MSgate"), 1),
    **dict.fromkeys(("BSgate", "MZgate", "sMZgate", "S2gate", "CXgate", "CZgate"), 2),
    **dict.fromkeys(("Interferometer", "GaussianTransform", "Gaussian", "PassiveChannel"), 0),
    **dict.fromkeys(("GraphEmbed", "BipartiteGraphEmbed"), 0),
}
"""
The preparations, gates and channels that are simulated, with the number of modes they act on (0: any number). They are those
that the ``gaussian`` compiler of Strawberry Fields accepts, and those that it compiles to.
"""


@dataclass(eq=False)
class ProgramError(Exception):
    """
    A program that cannot be parsed or run. ``code`` is the protocol's error code, such as ``parse-error`` or
    ``unsupported-circuit``. ``line`` and ``column`` are 1-based, 0 if unknown; ``operation`` is the name of the gate, if known.
    """

    code: str
    detail: str
    line: int = 0
    column: int = 0
    operation: str | None = None

    def __str__(self) -> str:
        return self.detail


def check_bound(program: Program) -> None:
    """Raise ``ProgramError`` ``unsupported-circuit`` for a program with free parameters, with the names of the first ones."""
    if names := program.free_parameters:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        detail = (
            f"{len(names)} free parameters have no value ({shown}): bind each {{name}} to a number before submission"
        )
        if len(names) == 1:
            detail = f"the free parameter {shown} has no value: bind {{{shown}}} to a number before submission"
        raise ProgramError("unsupported-circuit", detail)


def operation_error(operation: Operation, reason: str) -> ProgramError:
    """Return the error for an operation that a device cannot run, with its line, name and modes."""
    detail = f"line {operation.line}: {operation.name} on modes {list(operation.modes)}: {reason}"
    return ProgramError("unsupported-circuit", detail, line=operation.line, operation=operation.name)
