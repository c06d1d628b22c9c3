"""
Programs with homodyne or heterodyne detection, which may go on after a reading: gates that depend on readings, post-selection,
and modes that are measured again.

All that is linear in the readings becomes one linear map of normal numbers, the ``head``, which is the same for all
shots. Gates whose matrix depends on a reading, and what follows them on the same modes, are the ``tail``, which runs for each
shot. Statements on different modes commute, so a statement is in the tail only if it acts on a mode that the tail has changed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np

from ..program import MeasuredParameter, Operation, Program
from . import embedding
from .circuit import Detector, check_size, is_counter, is_measurement, read_detectors
from .factor_state import FactorState
from .feed_forward import DISPLACEMENTS, PREPARATIONS, check_real, linear_shift, measured_parameters, parts_of, probe
from .gate_reader import GateReader, check_modes, read_gate
from .gates import ALIASES
from .limits import MAX_MODES, beyond_limit, unsupported
from .trajectories import Displacement, Reading, Sources, TailStatement, Trajectories

_MAX_HEAD: Final = 1 << 22
"""Numbers in the linear map, at most; the statements after it belong to the tail."""

_MAX_DEVIATIONS: Final = 37.5
"""A reading this many standard deviations off its mean has a density below 1e-300, the least that a double holds."""

_MAX_DISPLACEMENTS: Final = 256
"""Displacements in the head that are not linear, each with two columns; those after them belong to the tail."""

_MAX_DEPENDENT: Final = 5_000
"""Statements that depend on readings, at most."""

_INDEPENDENT: Final = 1e-12
_NOT_LINEAR: Final = "select= is exact only after feed-forward that is linear: move it before the gate that is not"


def reads_quadratures(program: Program) -> bool:
    """Return whether a program is read here: it has homodyne or heterodyne detection, or parameters that depend on readings."""
    return any(
        (is_measurement(operation) and not is_counter(operation)) or measured_parameters(operation)
        for operation in program.operations
    )


def read_trajectories(program: Program, max_modes: int = MAX_MODES) -> Trajectories:
    """
    Return the linear map of a program and the statements that are not linear.

    Raises:
        ProgramError: ``unsupported-circuit`` if it is not simulated, if it uses a reading before it is measured, or selects a
            value that has no probability; ``simulation-limit`` if it is too large.
    """
    check_size(program, max_modes)
    dependent = sum(bool(measured_parameters(operation)) for operation in program.operations)
    if dependent > _MAX_DEPENDENT:
        raise beyond_limit(f"{dependent} statements depend on readings; at most {_MAX_DEPENDENT} statements may")
    reader = _TrajectoryReader(program.num_modes)
    for operation in program.operations:
        reader.read(operation)
    return reader.finished()


class _TrajectoryReader:
    def __init__(self, modes: int) -> None:
        self._head = FactorState(modes)
        self._gates = GateReader(self._head)
        self._displacements: list[Displacement] = []
        self._tail: list[TailStatement] = []
        self._tail_modes: set[int] = set()
        self._readings: dict[int, Reading] = {}
        self._counters: dict[int, Detector] = {}
        self._to_reset: set[int] = set()

    def read(self, operation: Operation) -> None:
        check_modes(operation, self._counters)
        if not is_measurement(operation):
            self._gate(operation)
        elif is_counter(operation):
            self._prepare(operation)
            for detector in read_detectors(operation):
                self._counters[detector.mode] = detector
                self._readings.pop(detector.mode, None)
        else:
            self._measure(operation)

    def finished(self) -> Trajectories:
        if not (self._readings or self._counters):
            raise unsupported("the program measures nothing")
        if self._counters:
            for mode in self._to_reset:
                self._reset(mode)
            if self._tail:
                self._gates.apply_loss(range(self._head.num_modes))
        elif not self._tail:
            displacements = [source for displacement in self._displacements for source in displacement.sources.values()]
            self._head.keep([row for source in (*self._readings.values(), *displacements) for row in source.rows])
        self._head.compress()
        return Trajectories(
            self._head,
            tuple(self._displacements),
            tuple(self._tail),
            dict(self._readings),
            dict(self._counters),
            self._gates.transmission,
            self._gates.correction,
        )

    # ---- statements

    def _gate(self, operation: Operation) -> None:
        sources = self._sources(operation)
        name = ALIASES.get(operation.name, operation.name)
        if name in embedding.NAMES:
            if sources or self._prepare(operation):
                raise unsupported("cannot depend on a reading", operation)
            self._gates.apply(operation)
            return
        gaussian_map, needs_vacuum = read_gate(probe(operation))
        check_real(operation, _complex_modes(sources))
        if name in PREPARATIONS:
            for part in parts_of(operation):
                self._gate(part)
            return
        in_tail = self._prepare(operation)
        if needs_vacuum and (sources or in_tail):
            raise unsupported("with vacuum=True cannot depend on a reading", operation)
        if sources and name in DISPLACEMENTS and not in_tail and all(source.rows for source in sources.values()):
            self._gates.apply_loss(operation.modes)
            self._displace(operation, sources)
        elif sources or in_tail:
            self._to_tail(TailStatement(operation, sources, None if sources else gaussian_map))
        else:
            self._gates.apply_map(operation, gaussian_map, needs_vacuum)

    def _measure(self, operation: Operation) -> None:
        angle = operation.arguments[0] if operation.arguments else operation.keywords.get("phi")
        if operation.name == "MeasureHomodyne" and isinstance(angle, MeasuredParameter):
            straight = _without_angle(operation)
            read_detectors(straight)
            self._gate(_turned_back(operation, angle))
            operation = straight
        (detector,) = read_detectors(operation)
        mode, is_complex = detector.mode, detector.kind == "heterodyne"
        if self._prepare(operation):
            if detector.select is not None:
                raise unsupported(_NOT_LINEAR, operation)
            number = len(self._tail)
            self._to_tail(TailStatement(operation, {}, detector=detector, number=number))
            self._readings[mode] = Reading(is_complex, number=number)
            return
        self._gates.apply_loss([mode])
        angles = (0.0, math.pi / 2) if is_complex else (detector.angle,)
        rows = tuple([self._head.read(mode, angle, 1.0 if is_complex else 0.0) for angle in angles])
        if detector.select is not None:
            selected = 2 * detector.select if is_complex else detector.select
            for row, value in zip(rows, (selected.real, selected.imag), strict=False):
                self._select(row, value, operation)
        self._readings[mode] = Reading(is_complex, rows)
        self._to_reset.add(mode)

    def _select(self, row: int, value: float, operation: Operation) -> None:
        head = self._head
        if np.max(np.abs(head.rows[row, ~head.normal]), initial=0.0) > _INDEPENDENT:
            raise unsupported(_NOT_LINEAR, operation)
        deviations = head.deviation(row, value)
        if not deviations <= _MAX_DEVIATIONS:
            raise unsupported(
                f"the selected value is {deviations:.3g} standard deviations off the mean reading, where its density is below"
                " what double precision holds",
                operation,
            )
        head.condition(row, value)

    # ---- displacements that depend on readings

    def _displace(self, operation: Operation, sources: Sources) -> None:
        head, where = self._head, self._head.indices(operation.modes)
        linear = linear_shift(operation, _complex_modes(sources))
        if linear is None:
            columns = head.add_columns(2, normal=False)
            head.rows[where, columns] = np.eye(2)
            self._displacements.append(Displacement(operation, sources))
        else:
            for quadrature, shift in zip(where, linear, strict=True):
                head.constants[quadrature] += complex(shift.constant).real
                for (mode, part), factor in shift.coefficients.items():
                    source = sources[mode]
                    row, scale = source.rows[part], complex(factor).real / (2 if source.is_complex else 1)
                    head.constants[quadrature] += scale * head.constants[row]
                    head.rows[quadrature] += scale * head.rows[row]
        if head.is_too_bright(operation.modes):
            raise beyond_limit("displaces by more than double precision holds", operation)

    # ---- what a statement depends on

    def _prepare(self, operation: Operation) -> bool:
        """Reset the modes that were measured before. Return whether the statement belongs to the tail."""
        modes = operation.modes
        for mode in self._to_reset.intersection(modes):
            self._to_reset.discard(mode)
            self._reset(mode)
        is_full = len(self._head.constants) * len(self._head.normal) > _MAX_HEAD
        is_full = is_full or len(self._displacements) >= _MAX_DISPLACEMENTS
        return is_full or not self._tail_modes.isdisjoint(modes)

    def _reset(self, mode: int) -> None:
        self._head.reset(mode)
        self._gates.transmission[mode] = 1.0

    def _to_tail(self, step: TailStatement) -> None:
        self._gates.apply_loss([mode for mode in step.operation.modes if mode not in self._tail_modes])
        self._tail_modes.update(step.operation.modes)
        self._tail.append(step)
        if step.gaussian_map is not None:
            self._gates.correction = max(self._gates.correction, step.gaussian_map.correction)

    def _sources(self, operation: Operation) -> Sources:
        """Return the readings that a statement depends on. Raises ``ProgramError`` for one that is not made yet."""
        sources: dict[int, Reading] = {}
        for parameter in measured_parameters(operation):
            for mode in parameter.modes:
                if mode in self._counters:
                    raise unsupported(
                        f"{parameter.text}: photon counts cannot be fed forward, only quadratures", operation
                    )
                if mode not in self._readings:
                    raise unsupported(f"{parameter.text} is used before mode {mode} is measured", operation)
                sources[mode] = self._readings[mode]
        return sources


def _complex_modes(sources: Sources) -> frozenset[int]:
    return frozenset(mode for mode, source in sources.items() if source.is_complex)


def _without_angle(operation: Operation) -> Operation:
    if operation.arguments:
        return replace(operation, arguments=(0.0, *operation.arguments[1:]))
    return replace(operation, keywords={**operation.keywords, "phi": 0.0})


def _turned_back(operation: Operation, angle: MeasuredParameter) -> Operation:
    """Return the rotation before a measurement of x that makes it one of the quadrature ``angle``."""
    rotation = MeasuredParameter(f"-({angle.text})", angle.modes)
    return replace(operation, name="Rgate", arguments=(rotation,), keywords={})
