"""
Which programs the simulator targets take: circuits of Gaussian states and gates that end in measurements, without free
parameters. The gates are those that the ``gaussian`` compiler of Strawberry Fields lets through, and what it makes them from.
"""

from __future__ import annotations

from ..program import MeasuredParameter, Operation, Program, ProgramError

_ANY = 0

GATES: dict[str, int] = {
    **dict.fromkeys(("Vac", "Vacuum", "Coherent", "Squeezed", "DisplacedSqueezed", "Thermal"), 1),
    **dict.fromkeys(("Dgate", "Xgate", "Zgate", "Rgate", "Sgate", "Pgate", "Fouriergate", "Fourier"), 1),
    **dict.fromkeys(("LossChannel", "ThermalLossChannel"), 1),
    **dict.fromkeys(("BSgate", "MZgate", "sMZgate", "S2gate", "CXgate", "CZgate"), 2),
    **dict.fromkeys(("Interferometer", "GaussianTransform", "Gaussian", "PassiveChannel"), _ANY),
    **dict.fromkeys(("GraphEmbed", "BipartiteGraphEmbed"), _ANY),
}
"""Preparations, gates and channels by name, with the number of modes each acts on (0: any)."""

COUNTING = frozenset({"MeasureFock", "MeasureThreshold"})
"""Measurements of photons, of any number of modes."""

DYNE = frozenset({"MeasureHomodyne", "MeasureHeterodyne", "MeasureHD", "MeasureX", "MeasureP"})
"""Measurements of quadratures."""


def check_gaussian(program: Program, *, target: str, most_modes: int) -> None:
    """Raise ``ProgramError`` ``unsupported-circuit`` for a program that is not Gaussian, measures nothing or is too large."""
    if program.free_parameters:
        detail = f"the free parameter {program.free_parameters[0]} has no value"
        raise ProgramError("unsupported-circuit", detail)
    for operation in program.operations:
        _check_operation(operation, target)
        if max(operation.modes, default=0) >= most_modes:
            raise _refusal(operation, f"{target} has {most_modes} modes, numbered from 0")
    if not any(operation.name in COUNTING or operation.name in DYNE for operation in program.operations):
        line = program.operations[-1].line if program.operations else 0
        raise ProgramError("unsupported-circuit", "the program measures nothing", line=line)


def _check_operation(operation: Operation, target: str) -> None:
    if operation.name in COUNTING or operation.name in DYNE:
        return
    modes = GATES.get(operation.name)
    if modes is None:
        raise _refusal(operation, f"{target} runs Gaussian circuits, and has no such operation")
    if modes not in {_ANY, len(operation.modes)}:
        raise _refusal(operation, f"it acts on {modes} modes, not on {len(operation.modes)}")
    for value in (*operation.arguments, *operation.keywords.values()):
        if isinstance(value, MeasuredParameter):
            raise _refusal(operation, f"{value.text} depends on a measurement, and {target} has no feed-forward")


def _refusal(operation: Operation, reason: str) -> ProgramError:
    detail = f"line {operation.line}: {operation.name} on modes {list(operation.modes)}: {reason}"
    return ProgramError("unsupported-circuit", detail, line=operation.line, operation=operation.name)
