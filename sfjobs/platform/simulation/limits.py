"""The limits of the simulation and the errors beyond them. Each limit is checked before anything of that size is allocated."""

from __future__ import annotations

from typing import Final

from ..limits import SIMULATED_MODES, SIMULATED_SHOTS
from ..program import Operation, ProgramError

MAX_MODES: Final = SIMULATED_MODES
"""Modes of a program without time bins."""

MAX_UNROLLED_MODES: Final = 1024
"""Modes of a TDM program after unrolling, where each time bin has its own modes."""

MAX_OPERATIONS: Final = 200_000
"""Gates and measurements; those of a TDM program count once per time bin."""

MAX_SHOTS: Final = SIMULATED_SHOTS

MAX_OUTPUT_BYTES: Final = 1 << 29
"""Bytes of the samples as they are stored."""

MAX_COUNTS: Final = 100_000_000
"""
Photon counts and clicks of all shots and modes. They are stored in one or two bytes each and take up to 30 while they are drawn
(twin beams): 3 GB.
"""

MAX_VARIANCE: Final = 1e9
"""Largest entry of a covariance matrix (vacuum: 1). It is squeezing of 90 dB; beyond it double precision is not enough."""

MAX_PHOTONS: Final = 1 << 16
"""Photons in one shot, at most, for which the distribution of the total is computed."""

MAX_CUTOFF: Final = 120
"""Fock cutoff per mode of the hafnian sampler; its factorials are doubles."""

MAX_LATTICE_POINTS: Final = 1 << 15
"""Points of the lattice of one shot's photon pattern. With more, a sieve is faster."""

MAX_SIEVE_TERMS: Final = 1 << 24
"""Terms of the sieve of one shot's photon pattern, 50 photons in different modes: an hour for each mode that follows."""

TAIL: Final = 1e-9
"""Total probability of the outcomes that a sampler with a cutoff may discard; ``meta`` states the actual value."""

MAX_TABLE_BYTES: Final = 400_000_000
"""Memory of one table of photon patterns, with the indices of their neighbours and the amplitudes."""

MAX_TWIN_BYTES: Final = 1_200_000_000
"""
Memory of the same table for twin beams, if the rarest outcome within ``TAIL`` occurred. The table covers only the outcomes that
were drawn, so it rarely gets that large: 10 000 shots of an X12 with all squeezers on take a tenth of it.
"""

MAX_CLICKS: Final = 25
"""Clicks in one shot of threshold detectors on many modes. 2^25 terms of a torontonian take some seconds for each mode."""

MAX_WORK: Final = 2e11
"""Elementary complex operations of one program: half an hour to an hour on one core."""


def check_size(shots: int, *, counts: int, quadratures: int = 0, is_complex: bool = False) -> None:
    """
    Raise ``ProgramError`` if the samples of ``counts`` photon counters and ``quadratures`` are too large to be stored, or the
    counts too many to be drawn.
    """
    if shots * counts > MAX_COUNTS:
        raise beyond_limit(f"{shots} shots are {shots * counts} photon counts; at most {MAX_COUNTS} are drawn")
    modes = counts + quadratures
    # Without quadratures the counts are stored in one or two bytes each, which is always less than the limit.
    bytes_per_value = 16 if is_complex else 8 if quadratures else 1
    if (size := shots * bytes_per_value * modes) > MAX_OUTPUT_BYTES:
        raise beyond_limit(f"{shots} shots of {modes} modes are {size} bytes; at most {MAX_OUTPUT_BYTES} are stored")


def unsupported(detail: str, operation: Operation | None = None) -> ProgramError:
    """Return the error for a program that no sampler can run, with the gate and its line."""
    return _error("unsupported-circuit", detail, operation)


def beyond_limit(detail: str, operation: Operation | None = None) -> ProgramError:
    """Return the error for a program that is too large to run."""
    return _error("simulation-limit", detail, operation)


def _error(code: str, detail: str, operation: Operation | None) -> ProgramError:
    if operation is None:
        return ProgramError(code, detail)
    detail = f"line {operation.line}: {operation.name}: {detail}"
    return ProgramError(code, detail, line=operation.line, operation=operation.name)
