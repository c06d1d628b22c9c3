"""
How much work the simulation takes on, and the words in which it refuses the rest. Every limit is checked before anything
of that size is allocated or begun.
"""

from __future__ import annotations

from typing import Final

from ..program import Operation, ProgramError

MAX_MODES: Final = 216
"""Modes of an ordinary program."""

MAX_UNROLLED_MODES: Final = 1024
"""Modes of a TDM program once every time bin has modes of its own."""

MAX_OPERATIONS: Final = 200_000
"""Gates and measurements, time bins counted one by one."""

MAX_SHOTS: Final = 10_000_000

MAX_OUTPUT_BYTES: Final = 1 << 29

MAX_VARIANCE: Final = 1e9
"""Largest entry of a covariance matrix (vacuum: 1): squeezing of 90 dB, beyond which double precision holds no state."""

MAX_PHOTONS: Final = 1 << 16
"""Photons in one shot that the photon-number statistics reach."""

MAX_CUTOFF: Final = 120
"""Photons in one mode that the hafnian sampler reaches; its factorials are doubles."""

TAIL: Final = 1e-9
"""Probability that a sampler with a cutoff may leave out: of all outcomes together, and said in the metadata."""

MAX_TABLE_BYTES: Final = 400_000_000
"""Memory of one table of photon patterns with its neighbours and amplitudes."""

MAX_TWIN_BYTES: Final = 1_200_000_000
"""
Memory of the same table for twin beams if the rarest outcome within ``TAIL`` were drawn. The table is only made as large as
the outcomes that were drawn, so this is met about never: 10 000 shots of an X12 with all squeezers on take a tenth of it.
"""

MAX_WORK: Final = 2e11
"""Elementary complex operations of one program; about half an hour to an hour of one core."""


def unsupported(detail: str, operation: Operation | None = None) -> ProgramError:
    """The error for a program that no sampler here can run; it names the gate and its line."""
    return _error("unsupported-circuit", detail, operation)


def beyond_limit(detail: str, operation: Operation | None = None) -> ProgramError:
    """The error for a program that would be run if it were smaller."""
    return _error("simulation-limit", detail, operation)


def _error(code: str, detail: str, operation: Operation | None) -> ProgramError:
    if operation is None:
        return ProgramError(code, detail)
    return ProgramError(
        code, f"line {operation.line}: {operation.name}: {detail}", line=operation.line, operation=operation.name
    )
