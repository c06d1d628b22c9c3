"""
Time-domain multiplexed (TDM) programs unrolled in space: the statements of one time bin are repeated with each register shifted
by one, so that each pulse has its own mode. Every shot starts with empty delay loops.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..program import Array, ArrayParameter, Operation, Program, Value
from .limits import MAX_OPERATIONS, MAX_UNROLLED_MODES, beyond_limit, unsupported


def unrolled(program: Program) -> Program:
    """
    Return a program without time bins, of ``registers + time bins - 1`` modes. Register q in time bin t is mode q + t, as in the
    space unrolling of Strawberry Fields. One register is measured; the measured modes, ascending, are its time bins.
    """
    bins = _time_bins(program)
    modes = program.num_modes + bins - 1
    if modes > MAX_UNROLLED_MODES:
        raise beyond_limit(f"{bins} time bins need {modes} modes; at most {MAX_UNROLLED_MODES} are simulated")
    if bins * len(program.operations) > MAX_OPERATIONS:
        raise beyond_limit(f"{bins} time bins of {len(program.operations)} operations are more than {MAX_OPERATIONS}")
    measurements = [operation for operation in program.operations if operation.name.startswith("Measure")]
    if len({mode for operation in measurements for mode in operation.modes}) > 1:
        raise unsupported("TDM programs that measure more than one register are not simulated", measurements[-1])
    arrays = {name: array.ravel() for name, array in program.arrays.items()}
    operations = tuple(
        _in_bin(operation, time_bin, bins, arrays) for time_bin in range(bins) for operation in program.operations
    )
    return replace(program, type=None, operations=operations)


def _time_bins(program: Program) -> int:
    copies = program.type_options.get("copies", 1)
    if copies != 1:
        raise unsupported(f"TDM programs of {copies!r} copies are not simulated; use shots")
    longest = max((array.size for array in program.arrays.values()), default=0)
    given = program.type_options.get("temporal_modes", longest)
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
        raise unsupported(f"a TDM program needs a positive number of temporal_modes, not {given!r}")
    return int(given)


def _in_bin(operation: Operation, time_bin: int, bins: int, arrays: dict[str, Array]) -> Operation:
    def value(parameter: Value) -> Value:
        if not isinstance(parameter, ArrayParameter):
            return parameter
        array = arrays.get(parameter.name)
        if array is None or array.size != bins:
            size = "no values" if array is None else f"{array.size} values"
            raise unsupported(f"{parameter.name} has {size} for {bins} time bins", operation)
        item: bool | int | float | complex = array[time_bin].item()
        return item

    return replace(
        operation,
        arguments=tuple(value(argument) for argument in operation.arguments),
        keywords={name: value(argument) for name, argument in operation.keywords.items()},
        modes=tuple(mode + time_bin for mode in operation.modes),
    )
