"""
A program as a circuit: its gates act on a Gaussian state, its measurements become detectors. Loss at the end of the circuit, or
that can be moved there, is kept apart from the state, which may then stay pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from ..program import GATE_MODES, Array, Operation, Program
from . import embedding
from .arguments import Arguments
from .gates import ALIASES, GATES, NON_GAUSSIAN, GaussianMap
from .limits import MAX_MODES, MAX_OPERATIONS, MAX_VARIANCE, beyond_limit, unsupported
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
_MIN_TRANSMISSION: Final = 0.1
"""A displacement after more loss than this is not moved before it, since it would have to grow too much."""


@dataclass(frozen=True, slots=True)
class Detector:
    """The detector on one mode: quadrature ``angle`` in radians, and ``dark_counts``, the mean number of false counts."""

    mode: int
    kind: Detection
    angle: float = 0.0
    dark_counts: float = 0.0


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
        return {"matrix_correction": self.correction} if self.correction > _MAX_ROUNDING else {}


def read_circuit(program: Program, max_modes: int = MAX_MODES) -> Circuit:
    """
    Return the circuit of a program without time bins.

    Raises:
        ProgramError: ``unsupported-circuit`` if it is not Gaussian or not simulated, ``simulation-limit`` if it is too large.
    """
    if program.num_modes > max_modes:
        raise beyond_limit(f"the program has {program.num_modes} modes; at most {max_modes} are simulated")
    if len(program.operations) > MAX_OPERATIONS:
        raise beyond_limit(
            f"the program has {len(program.operations)} operations; at most {MAX_OPERATIONS} are simulated"
        )
    reader = _CircuitReader(program.num_modes)
    for operation in program.operations:
        reader.read(operation)
    if not reader.detectors:
        raise unsupported("the program measures nothing")
    ordered = tuple(reader.detectors[mode] for mode in sorted(reader.detectors))
    return Circuit(reader.state, reader.transmission, ordered, reader.correction)


class _CircuitReader:
    def __init__(self, modes: int) -> None:
        self.state = GaussianState.vacuum(modes)
        self.transmission = np.ones(modes)
        self.detectors: dict[int, Detector] = {}
        self.correction = 0.0

    def read(self, operation: Operation) -> None:
        name = ALIASES.get(operation.name, operation.name)
        self._check_modes(operation)
        if name in _MEASUREMENTS:
            self._measure(operation, name)
        elif name in embedding.NAMES:
            self._embed(operation)
        elif name in GATES:
            self._apply(operation, name)
        elif name in NON_GAUSSIAN:
            raise unsupported("is not a Gaussian operation; only Gaussian circuits are simulated", operation)
        else:
            raise unsupported("is not an operation that is simulated", operation)

    def _check_modes(self, operation: Operation) -> None:
        modes = operation.modes
        if not modes:
            raise unsupported("acts on no mode", operation)
        if min(modes) < 0 or len(set(modes)) != len(modes):
            raise unsupported(f"acts on modes {list(modes)}: they must be different and not negative", operation)
        measured = [mode for mode in modes if mode in self.detectors]
        if measured:
            raise unsupported(f"mode {measured[0]} has been measured before and cannot be used again", operation)

    def _apply(self, operation: Operation, name: str) -> None:
        gate, modes = GATES[name], GATE_MODES[name]
        if modes and len(operation.modes) != modes:
            raise unsupported(f"acts on {modes} modes, not on {len(operation.modes)}", operation)
        arguments = Arguments(operation, gate.defaults)
        gaussian_map = gate.transform(arguments)
        self.correction = max(self.correction, arguments.correction)
        if name == "GaussianTransform" and arguments.flag("vacuum"):
            self._require_vacuum(operation, "with vacuum=True")
        shift = self._move_loss_past(gaussian_map, operation.modes)
        if gaussian_map.kind == "loss":
            self.transmission[list(operation.modes)] *= gaussian_map.transmission
            return
        self.state.apply(operation.modes, gaussian_map.matrix, gaussian_map.noise, shift)
        largest = np.max(np.abs(self.state.cov[self.state.indices(operation.modes)]), initial=0.0)
        if not largest <= MAX_VARIANCE:
            raise beyond_limit("leads to more squeezing than double precision holds", operation)

    def _move_loss_past(self, gaussian_map: GaussianMap, modes: Sequence[int]) -> Array | None:
        """Keep the pending loss of these modes after ``gaussian_map`` where that is exact. Return the shift before the loss."""
        pending = self.transmission[list(modes)]
        kind, shift = gaussian_map.kind, gaussian_map.shift
        if kind == "preparation":
            self.transmission[list(modes)] = 1.0
        elif kind == "displacement" and shift is not None and pending[0] >= _MIN_TRANSMISSION:
            return np.asarray(shift / np.sqrt(pending[0]))
        elif kind != "loss" and not (kind == "passive" and np.all(pending == pending[0])):
            self._apply_loss(modes)
        return shift

    def _apply_loss(self, modes: Sequence[int]) -> None:
        pending = self.transmission[list(modes)]
        if np.all(pending == 1):
            return
        doubled = np.concatenate([pending, pending])
        self.state.apply(modes, np.diag(np.sqrt(doubled)), np.diag(1 - doubled))
        self.transmission[list(modes)] = 1.0

    def _require_vacuum(self, operation: Operation, when: str) -> None:
        self._apply_loss(operation.modes)
        if not self.state.is_vacuum(operation.modes):
            raise unsupported(f"{when} its modes must still be in the vacuum", operation)

    def _embed(self, operation: Operation) -> None:
        self._require_vacuum(operation, "what it does depends on a choice of decomposition unless")
        state, correction = embedding.embedded_state(operation)
        self.correction = max(self.correction, correction)
        if not np.max(np.abs(state.cov)) <= MAX_VARIANCE:
            raise beyond_limit("needs more squeezing than double precision holds", operation)
        self.state.apply(operation.modes, np.zeros_like(state.cov), state.cov)

    def _measure(self, operation: Operation, name: str) -> None:
        kind, defaults = _MEASUREMENTS[name]
        arguments = Arguments(operation, defaults)
        if arguments.value("select") is not None:
            raise unsupported("post-selection (select=) is not simulated", operation)
        if kind in {"homodyne", "heterodyne"} and len(operation.modes) != 1:
            raise unsupported(f"measures one mode, not {len(operation.modes)}", operation)
        angle = np.pi / 2 if name == "MeasureP" else 0.0
        if name == "MeasureHomodyne":
            angle = arguments.real("phi")
        dark_counts = np.zeros(len(operation.modes))
        if kind == "fock" and arguments.value("dark_counts") is not None:
            dark_counts = arguments.vector("dark_counts", len(operation.modes))
            if dark_counts.min() < 0 or dark_counts.max() > _MAX_DARK_COUNTS:
                raise arguments.error("dark_counts must be between 0 and 10000")
        for mode, rate in zip(operation.modes, dark_counts, strict=True):
            self.detectors[mode] = Detector(mode, kind, angle, float(rate))
