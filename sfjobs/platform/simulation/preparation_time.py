"""How long ``prepare`` takes, estimated from the program alone: by it the platform decides when to prepare a program."""

from __future__ import annotations

from typing import Final

from ..program import Program, ProgramError
from .limits import MAX_OPERATIONS, MAX_UNROLLED_MODES
from .time_domain import is_space_unrolled, read_time_domain

_SECONDS_PER_OPERATION: Final = 1.3e-4
_SECONDS_PER_MODE: Final = 3e-3
"""For distributions of photon numbers: 0.2 ms of a dim state, 20 ms of one with thousands of photons."""

_SECONDS_PER_CUBED_MODE: Final = 3e-8
"""For eigenvalues of the covariance matrix, by which a sampler is chosen: 0.35 s for 216 modes."""


def preparation_seconds(program: Program) -> float:
    """
    Return the seconds of one core that ``prepare`` takes for ``program``: less for dim states, and up to 6 times as many for the
    brightest. It needs memory for some 20 covariance matrices (2m, 2m): 150 MB for 5 s.
    """
    operations, modes = _size(program)
    if operations > MAX_OPERATIONS or modes > MAX_UNROLLED_MODES:
        return 0.0  # refused before anything of that size is made
    return _SECONDS_PER_OPERATION * operations + _SECONDS_PER_MODE * modes + _SECONDS_PER_CUBED_MODE * float(modes) ** 3


def _size(program: Program) -> tuple[int, int]:
    """Return the operations and modes of a program, after unrolling where each time bin gets its own modes."""
    operations, modes = len(program.operations), program.num_modes
    if program.type != "tdm":
        return operations, modes
    try:
        layout = None if is_space_unrolled(program) else read_time_domain(program)
    except ProgramError:
        return 0, 0  # refused at once
    if layout is None or not layout.counts_photons:
        return operations, modes
    return operations * layout.bins, modes + len(layout.bands) * (layout.bins - 1)
