"""
Time-domain multiplexed (TDM) programs: the statements of one time bin are repeated for each bin, and the registers shift by one
after each. Here are their layout and their unrolling in space for photon counters; ``delay_loops`` samples quadratures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeGuard

import numpy as np

from ..program import Array, ArrayParameter, Operation, Program, Value
from .limits import MAX_MODES, MAX_OPERATIONS, MAX_UNROLLED_MODES, beyond_limit, unsupported


@dataclass(frozen=True, slots=True)
class TimeDomain:
    """
    The layout of a TDM program. Band i holds ``bands[i]`` registers, numbered after those of the bands before it; one register of
    each band is measured. ``arrays`` maps the name of a parameter to its values in the ``bins`` time bins.
    """

    bins: int
    bands: tuple[int, ...]
    operations: tuple[Operation, ...]
    arrays: dict[str, Array]

    @property
    def starts(self) -> tuple[int, ...]:
        """The first register of each band."""
        return tuple(sum(self.bands[:band]) for band in range(len(self.bands)))

    @property
    def measured(self) -> tuple[int, ...]:
        """The measured register of each band."""
        return tuple(sorted(mode for operation in _measurements(self.operations) for mode in operation.modes))

    @property
    def counts_photons(self) -> bool:
        return any(
            item.name in {"Measure", "MeasureFock", "MeasureThreshold"} for item in _measurements(self.operations)
        )

    def band_of(self, register: int) -> int:
        return int(np.searchsorted(np.cumsum(self.bands), register, side="right"))

    def in_bin(self, operation: Operation, time_bin: int) -> Operation:
        """Return the operation with the values of this time bin in the place of its arrays."""

        def value(parameter: Value) -> Value:
            if not isinstance(parameter, ArrayParameter):
                return parameter
            array = self.arrays.get(parameter.name)
            if array is None or array.size != self.bins:
                size = "no values" if array is None else f"{array.size} values"
                raise unsupported(f"{parameter.name} has {size} for {self.bins} time bins", operation)
            item: bool | int | float | complex = array[time_bin].item()
            return item

        return replace(
            operation,
            arguments=tuple(value(argument) for argument in operation.arguments),
            keywords={name: value(argument) for name, argument in operation.keywords.items()},
        )


def read_time_domain(program: Program) -> TimeDomain:
    """
    Return the layout of a TDM program: the options ``temporal_modes=T`` and ``N=[1, 2]``, the registers of each band. Without
    ``N`` all registers are one band.
    """
    arrays = {name: array.ravel() for name, array in program.arrays.items()}
    bands = _bands(program)
    layout = TimeDomain(_time_bins(program), bands, program.operations, arrays)
    measurements = _measurements(program.operations)
    measured_bands = [layout.band_of(register) for register in layout.measured]
    if not measurements:
        raise unsupported("the program measures nothing")
    if measured_bands != list(range(len(bands))):
        given = f"N={list(bands)}" if "N" in program.type_options else "without N, all registers are one band"
        raise unsupported(
            f"one register of each band must be measured once; measured are {list(layout.measured)} ({given})."
            " Write the registers of each band as type tdm (temporal_modes=…, N=[1, 2])",
            measurements[-1],
        )
    return layout


def is_space_unrolled(program: Program) -> bool:
    """
    Return whether the statements are those of ``space_unroll()`` of Strawberry Fields, whose text still says ``type tdm``: no
    parameter is an array, and each time bin repeats the one before on registers that are higher by one.
    """
    operations, bins = program.operations, _time_bins(program)
    in_bin, rest = divmod(len(operations), bins)
    measured = sorted(mode for operation in _measurements(operations) for mode in operation.modes)
    if rest or bins < 2 or "N" in program.type_options or measured != list(range(bins)) or program.num_modes <= bins:
        return False
    return all(
        later.name == earlier.name
        and later.modes == tuple(mode + 1 for mode in earlier.modes)
        and not any(isinstance(value, ArrayParameter) for value in (*earlier.arguments, *later.arguments))
        for earlier, later in zip(operations, operations[in_bin:], strict=False)
    )


def unrolled(layout: TimeDomain, program: Program) -> Program:
    """
    Return a program without time bins, in which each pulse has its own mode and each shot starts with empty delay loops. Register
    q in time bin t is mode q + t of its band, as in the space unrolling of Strawberry Fields; a band of n registers becomes
    ``n + bins - 1`` modes. The measured modes, ascending, are the time bins of the first band, then of the next.
    """
    bins = layout.bins
    modes = program.num_modes + len(layout.bands) * (bins - 1)
    if modes > MAX_UNROLLED_MODES:
        raise beyond_limit(f"{bins} time bins need {modes} modes; at most {MAX_UNROLLED_MODES} are simulated")
    if bins * len(program.operations) > MAX_OPERATIONS:
        raise beyond_limit(f"{bins} time bins of {len(program.operations)} operations are more than {MAX_OPERATIONS}")
    registers = range(sum(layout.bands))
    first_mode = [register + layout.band_of(register) * (bins - 1) for register in registers]
    operations = tuple(
        replace(
            layout.in_bin(operation, time_bin),
            modes=tuple(first_mode[register] + time_bin for register in operation.modes),
        )
        for time_bin in range(bins)
        for operation in program.operations
    )
    return replace(program, type=None, operations=operations)


def crop_of(layout: TimeDomain) -> int | None:
    """
    Return the number of time bins in which the detector sees only the vacuum, because the first pulse is still in the loops:
    ``get_crop_value`` of Strawberry Fields. None unless one band has its loops one after the other.

    A pulse that reaches a loop in time bin t is delayed by it until the beam splitter opens, and at most by the loop's delay.
    """
    splitters = [operation for operation in layout.operations if operation.name == "BSgate"]
    ends = [tuple(sorted(operation.modes)) for operation in splitters]
    if len(layout.bands) != 1 or any(later[-1] != earlier[0] for earlier, later in pairwise(ends)):
        return None
    arrival = 0
    for operation, (low, high) in zip(splitters, ends, strict=True):
        angle = operation.arguments[0] if operation.arguments else 1.0
        if isinstance(angle, ArrayParameter):
            opened = np.flatnonzero(layout.arrays[angle.name][arrival:])
            closed = int(opened[0]) if opened.size else layout.bins - arrival
        else:
            closed = layout.bins - arrival if angle == 0 else 0
        arrival += min(closed, high - low)
    return arrival


def _measurements(operations: tuple[Operation, ...]) -> list[Operation]:
    return [operation for operation in operations if operation.name.startswith("Measure")]


def _time_bins(program: Program) -> int:
    copies = program.type_options.get("copies", 1)
    if copies != 1:
        raise unsupported(f"TDM programs of {copies!r} copies are not simulated; use shots")
    longest = max((array.size for array in program.arrays.values()), default=0)
    given = program.type_options.get("temporal_modes", longest)
    if not _is_count(given):
        raise unsupported(f"a TDM program needs a positive number of temporal_modes, not {given!r}")
    return int(given)


def _bands(program: Program) -> tuple[int, ...]:
    given = program.type_options.get("N", program.num_modes)
    sizes = list(given) if isinstance(given, (tuple, np.ndarray)) else [given]
    if program.num_modes > MAX_MODES:
        raise beyond_limit(f"the program has {program.num_modes} registers; at most {MAX_MODES} are simulated")
    if not sizes or len(sizes) > MAX_MODES or not all(_is_count(size) for size in sizes):
        raise unsupported("N must be a list of positive numbers, the registers of each band")
    bands = tuple(int(size) for size in sizes if _is_count(size))
    if not program.num_modes <= sum(bands) <= MAX_MODES:
        raise unsupported(
            f"N={list(bands)} must add up to the {program.num_modes} registers that the program uses, or to {MAX_MODES} at most"
        )
    return bands


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= 1
