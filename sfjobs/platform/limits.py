"""
The limits of one request, one account and one job, and their defaults. ``server/http_protocols`` and ``api/app`` enforce those of
requests, ``jobs/validation`` and ``jobs/acceptance`` those of submissions, ``execution`` those of running jobs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from ..errors import ConfigurationError

SIMULATED_MODES: Final = 216
"""Modes of a simulator: of its programs without time bins, and registers of those with."""

SIMULATED_SHOTS: Final = 10_000_000

_MAY_BE_ZERO: Final = frozenset({"memory", "running", "connections"})
_UPPER_BOUND: Final = 1 << 62
"""More than databases and system calls accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    The limits of a request, an account and a job.

    A request: ``head`` (request line and headers), ``query``, ``body`` and ``circuit`` (one program) in bytes, and the number of
    ``headers``. A larger request is refused with 400, 413, 414 or 431 before it is held in memory. An interferometer
    of 216 modes with all digits has 2 MB, a Gaussian transformation of them 4 MB.

    An account: ``quota``, the number of its unfinished jobs. Further submissions get 429 ``quota-exceeded`` with ``Retry-After``.
    ``running`` is the number of its jobs that run at the same time (0 for no limit); the others wait.

    Of an account at the same time: ``requests``, ``streams`` of the change feed and ``downloads``. Further ones get 429 with
    ``Retry-After``. ``bodies`` are the bytes of all request bodies in memory, of which one account may hold a quarter, or one
    body. ``connections`` is their number in all, of which one address may hold half; 0 is as many as the system's limit of
    open files allows.

    A job: ``shots`` and ``modes``, checked at submission and again in the worker; ``time`` in seconds of wall clock and of
    processor; ``memory`` in bytes of the worker's address space (``RLIMIT_AS``; 0 for no limit; without effect on Windows and
    macOS). A job that exceeds one fails with the ``error-code`` ``shot-limit``, ``mode-limit``, ``time-limit`` or
    ``out-of-memory`` in its ``meta``.

    Raises:
        ConfigurationError: a limit is 0 or larger than systems accept.
    """

    head: int = 64 << 10
    headers: int = 100
    query: int = 16 << 10
    body: int = 8 << 20
    circuit: int = 6 << 20
    quota: int = 10_000
    running: int = 0
    requests: int = 500
    streams: int = 50
    downloads: int = 50
    bodies: int = 256 << 20
    connections: int = 0
    shots: int = SIMULATED_SHOTS
    modes: int = SIMULATED_MODES
    time: float = 3600.0
    memory: int = 4 << 30

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < _UPPER_BOUND and not (field.name in _MAY_BE_ZERO and value == 0):
                raise ConfigurationError(
                    f"the limit '{field.name}' must be more than 0 and less than {_UPPER_BOUND}, not {value}"
                )


DEFAULTS: Final = Limits()
