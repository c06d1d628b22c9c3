"""
The check of the simulator targets: they accept circuits of Gaussian states and gates with measurements and without free
parameters. The gates are those of the simulation.
"""

from __future__ import annotations

from ..program import GATE_MODES, Operation, Program, ProgramError, check_bound, operation_error

MEASUREMENTS = frozenset(
    {
        "Measure",
        "MeasureFock",
        "MeasureHD",
        "MeasureHeterodyne",
        "MeasureHomodyne",
        "MeasureP",
        "MeasureThreshold",
        "MeasureX",
    }
)


def check_gaussian(program: Program, *, target: str, max_modes: int) -> None:
    """Raise ``ProgramError`` ``unsupported-circuit`` for a program that is not Gaussian, measures nothing or is too large."""
    check_bound(program)
    for operation in program.operations:
        _check_operation(operation, target)
        if max(operation.modes, default=0) >= max_modes:
            raise operation_error(operation, f"{target} has {max_modes} modes, numbered from 0")
    if not any(operation.name in MEASUREMENTS for operation in program.operations):
        line = program.operations[-1].line if program.operations else 0
        raise ProgramError("unsupported-circuit", "the program measures nothing", line=line)


def _check_operation(operation: Operation, target: str) -> None:
    if operation.name in MEASUREMENTS:
        return
    modes = GATE_MODES.get(operation.name)
    if modes is None:
        raise operation_error(operation, f"{target} runs Gaussian circuits, and has no such operation")
    if modes and modes != len(operation.modes):
        raise operation_error(operation, f"it acts on {modes} modes, not on {len(operation.modes)}")
