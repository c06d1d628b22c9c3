"""
Applies the gates of a program to a Gaussian state. Loss that can be moved to the end of the circuit is kept apart from the state,
which may then stay pure.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Final, Generic, Protocol, TypeVar

import numpy as np

from ..program import GATE_MODES, Array, Operation
from . import embedding
from .arguments import Arguments
from .gates import ALIASES, GATES, NON_GAUSSIAN, GaussianMap
from .limits import MAX_VARIANCE, beyond_limit, unsupported

_MIN_TRANSMISSION: Final = 0.1
"""A displacement after more loss than this is not moved before it, since it would have to grow too much."""


class EvolvingState(Protocol):
    """A Gaussian state that gates change in place; see ``GaussianState``."""

    @property
    def num_modes(self) -> int: ...

    def apply(
        self, modes: Sequence[int], matrix: Array | None, noise: Array | None = None, shift: Array | None = None
    ) -> None: ...

    def is_vacuum(self, modes: Sequence[int]) -> bool: ...

    def is_too_bright(self, modes: Sequence[int]) -> bool: ...


StateT = TypeVar("StateT", bound=EvolvingState)


def check_modes(operation: Operation, measured: Container[int]) -> None:
    """Raise ``ProgramError`` for modes that an operation cannot act on, such as those in ``measured``."""
    modes = operation.modes
    if not modes:
        raise unsupported("acts on no mode", operation)
    if min(modes) < 0 or len(set(modes)) != len(modes):
        raise unsupported(f"acts on modes {list(modes)}: they must be different and not negative", operation)
    again = [mode for mode in modes if mode in measured]
    if again:
        raise unsupported(f"mode {again[0]} has been measured before and cannot be used again", operation)


def read_gate(operation: Operation) -> tuple[GaussianMap, bool]:
    """
    Return the map of a gate, a channel or a preparation, and whether its modes must be in the vacuum. Raises ``ProgramError``.
    """
    name = ALIASES.get(operation.name, operation.name)
    if name in NON_GAUSSIAN:
        raise unsupported("is not a Gaussian operation; only Gaussian circuits are simulated", operation)
    if name not in GATES:
        raise unsupported("is not an operation that is simulated", operation)
    gate, modes = GATES[name], GATE_MODES[name]
    if modes and len(operation.modes) != modes:
        raise unsupported(f"acts on {modes} modes, not on {len(operation.modes)}", operation)
    arguments = Arguments(operation, gate.defaults)
    gaussian_map = gate.transform(arguments)
    if arguments.correction:
        gaussian_map = replace(gaussian_map, correction=arguments.correction)
    return gaussian_map, name == "GaussianTransform" and arguments.flag("vacuum")


class GateReader(Generic[StateT]):
    """Gates that act on ``state``, and then a loss channel of energy ``transmission`` (m) on each mode."""

    def __init__(self, state: StateT) -> None:
        self.state = state
        self.transmission = np.ones(state.num_modes)
        self.correction = 0.0

    def apply(self, operation: Operation) -> None:
        """Apply a gate, a channel or a preparation. Raises ``ProgramError``."""
        if operation.name in embedding.NAMES:
            self._embed(operation)
            return
        self.apply_map(operation, *read_gate(operation))

    def apply_map(self, operation: Operation, gaussian_map: GaussianMap, needs_vacuum: bool) -> None:
        """Apply an operation that ``read_gate`` has read."""
        self.correction = max(self.correction, gaussian_map.correction)
        if needs_vacuum:
            self._require_vacuum(operation, "with vacuum=True")
        shift = self._move_loss_past(gaussian_map, operation.modes)
        if gaussian_map.kind == "loss":
            self.transmission[list(operation.modes)] *= gaussian_map.transmission
            return
        self.state.apply(operation.modes, gaussian_map.matrix, gaussian_map.noise, shift)
        if self.state.is_too_bright(operation.modes):
            raise beyond_limit("leads to more squeezing than double precision holds", operation)

    def apply_loss(self, modes: Sequence[int]) -> None:
        """Apply the loss of these modes to the state."""
        pending = self.transmission[list(modes)]
        if np.all(pending == 1):
            return
        doubled = np.concatenate([pending, pending])
        self.state.apply(modes, np.diag(np.sqrt(doubled)), np.diag(1 - doubled))
        self.transmission[list(modes)] = 1.0

    def _move_loss_past(self, gaussian_map: GaussianMap, modes: Sequence[int]) -> Array | None:
        """Keep the pending loss of these modes after ``gaussian_map`` where that is exact. Return the shift before the loss."""
        pending = self.transmission[list(modes)]
        kind, shift = gaussian_map.kind, gaussian_map.shift
        if kind == "preparation":
            self.transmission[list(modes)] = 1.0
        elif kind == "displacement" and shift is not None and pending[0] >= _MIN_TRANSMISSION:
            return np.asarray(shift / np.sqrt(pending[0]))
        elif kind != "loss" and not (kind == "passive" and np.all(pending == pending[0])):
            self.apply_loss(modes)
        return shift

    def _require_vacuum(self, operation: Operation, when: str) -> None:
        self.apply_loss(operation.modes)
        if not self.state.is_vacuum(operation.modes):
            raise unsupported(f"{when} its modes must still be in the vacuum", operation)

    def _embed(self, operation: Operation) -> None:
        self._require_vacuum(operation, "what it does depends on a choice of decomposition unless")
        state, correction = embedding.embedded_state(operation)
        self.correction = max(self.correction, correction)
        if not np.max(np.abs(state.cov)) <= MAX_VARIANCE:
            raise beyond_limit("needs more squeezing than double precision holds", operation)
        self.state.apply(operation.modes, np.zeros_like(state.cov), state.cov)
