"""
A program as a circuit: its gates act on a Gaussian state, and all its measurements become detectors at the end. Programs with
homodyne or heterodyne detection, which may go on after it, are read by ``trajectory_reader``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from ..program import Array, Operation, Program
from .arguments import Arguments
from .gate_reader import GateReader, check_modes
from .gates import ALIASES
from .limits import MAX_MODES, MAX_OPERATIONS, beyond_limit, unsupported
from .state import GaussianState

Detection: TypeAlias = Literal["fock", "threshold", "homodyne", "heterodyne"]

_MEASUREMENTS: Final[dict[str, tuple[Detection, dict[str, object]]]] = {
    "MeasureFock": ("fock", {"select": None, "dark_counts": None}),
    "MeasureThreshold": ("threshold", {"select": None}),
    "MeasureHomodyne": ("homodyne", {"phi": 0.0, "select": None}),
    "MeasureX": ("homodyne", {"select": None}),
    "MeasureP": ("homodyne", {"select": None}),
    "MeasureHeterodyne": ("heterodyne", {"select": None}),
}
"""Measurements by name, with the kind of detector and the parameters in order."""

_MAX_DARK_COUNTS: Final = 10_000
_MAX_ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Detector:
    """
    The detector on one mode: quadrature ``angle`` in radians, and ``dark_counts``, the mean number of false counts. ``select`` is
    the value that it is to read, None for any.
    """

    mode: int
    kind: Detection
    angle: float = 0.0
    dark_counts: float = 0.0
    select: complex | None = None


@dataclass(frozen=True, slots=True)
class Circuit:
    """
    ``state``, then a loss channel of energy ``transmission`` (m) on each mode, then ``detectors`` in ascending modes.
    ``correction`` is the largest move of an entry of a printed matrix.
    """

    state: GaussianState
    transmission: Array
    detectors: tuple[Detector, ...]
    correction: float = 0.0

    @property
    def corrections(self) -> dict[str, float]:
        """What ``meta`` states of ``correction``: nothing if the matrices had full digits."""
        return stated_corrections(self.correction)


def stated_corrections(correction: float) -> dict[str, float]:
    """Return what ``meta`` states of the largest move of an entry of a printed matrix."""
    return {"matrix_correction": correction} if correction > _MAX_ROUNDING else {}


def read_circuit(program: Program, max_modes: int = MAX_MODES) -> Circuit:
    """
    Return the circuit of a program without time bins.

    Raises:
        ProgramError: ``unsupported-circuit`` if it is not Gaussian or not simulated, ``simulation-limit`` if it is too large.
    """
    check_size(program, max_modes)
    reader = GateReader(GaussianState.vacuum(program.num_modes))
    detectors: dict[int, Detector] = {}
    for operation in program.operations:
        check_modes(operation, detectors)
        if not is_measurement(operation):
            reader.apply(operation)
            continue
        for detector in read_detectors(operation):
            if detector.select is not None:
                raise unsupported("post-selection (select=) is not simulated in this program", operation)
            detectors[detector.mode] = detector
    if not detectors:
        raise unsupported("the program measures nothing")
    ordered = tuple(detectors[mode] for mode in sorted(detectors))
    return Circuit(reader.state, reader.transmission, ordered, reader.correction)


def check_size(program: Program, max_modes: int) -> None:
    """Raise ``ProgramError`` ``simulation-limit`` for a program with too many modes or operations."""
    if program.num_modes > max_modes:
        raise beyond_limit(f"the program has {program.num_modes} modes; at most {max_modes} are simulated")
    if len(program.operations) > MAX_OPERATIONS:
        raise beyond_limit(
            f"the program has {len(program.operations)} operations; at most {MAX_OPERATIONS} are simulated"
        )


def is_measurement(operation: Operation) -> bool:
    return ALIASES.get(operation.name, operation.name) in _MEASUREMENTS


def is_counter(operation: Operation) -> bool:
    """Return whether an operation counts photons or clicks."""
    name = ALIASES.get(operation.name, operation.name)
    return name in _MEASUREMENTS and _MEASUREMENTS[name][0] in {"fock", "threshold"}


def read_detectors(operation: Operation) -> list[Detector]:
    """Return the detectors of a measurement, one for each mode. Raises ``ProgramError``."""
    name = ALIASES.get(operation.name, operation.name)
    kind, defaults = _MEASUREMENTS[name]
    arguments = Arguments(operation, defaults)
    if kind in {"homodyne", "heterodyne"} and len(operation.modes) != 1:
        raise unsupported(f"measures one mode, not {len(operation.modes)}", operation)
    select: complex | None = None
    if arguments.value("select") is not None:
        if kind in {"fock", "threshold"}:
            raise unsupported(
                "post-selection (select=) of photon counts is not simulated: select shots afterwards", operation
            )
        select = arguments.real("select") if kind == "homodyne" else arguments.number("select")
    angle = np.pi / 2 if name == "MeasureP" else 0.0
    if name == "MeasureHomodyne":
        angle = arguments.real("phi")
    dark_counts = np.zeros(len(operation.modes))
    if kind == "fock" and arguments.value("dark_counts") is not None:
        dark_counts = arguments.vector("dark_counts", len(operation.modes))
        if dark_counts.min() < 0 or dark_counts.max() > _MAX_DARK_COUNTS:
            raise arguments.error("dark_counts must be between 0 and 10000")
    return [
        Detector(mode, kind, angle, float(rate), select)
        for mode, rate in zip(operation.modes, dark_counts, strict=True)
    ]
