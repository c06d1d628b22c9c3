"""
The limits of one request, one account and one job, and their defaults. ``server/http_protocols`` and ``api/app`` enforce those of
requests, ``jobs/validation`` and ``jobs/acceptance`` those of submissions, ``execution`` those of running jobs. ``jobs/cleaner``
deletes what ``Retention`` does not keep.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Final

from ..errors import ConfigurationError

SIMULATED_MODES: Final = 216
"""Modes of a simulator: of its programs without time bins, and registers of those with."""

SIMULATED_SHOTS: Final = 10_000_000

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhdw])", re.ASCII)
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

_MAY_BE_ZERO: Final = frozenset({"memory", "running", "connections", "storage"})
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
    ``storage``, the bytes of its programs and results (0 for no limit). While it stores more, further submissions get 403
    ``storage-quota-exceeded``, and jobs that were accepted before still store their results.

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
    storage: int = 0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """
    How long the platform keeps ``results`` and ``jobs``, in seconds from the end of a job; None for ever. With a job its program
    and result are deleted. Unfinished jobs are never deleted. ``free_disk`` is in bytes: while the disk of the data directory
    has less, no job starts.

    Raises:
        ConfigurationError: a time is not more than 0, or ``free_disk`` is less than 0.
    """

    results: float | None = None
    jobs: float | None = None
    free_disk: int = 256 << 20

    def __post_init__(self) -> None:
        for name, value in (("results", self.results), ("jobs", self.jobs)):
            if value is not None and not 0 < value < _UPPER_BOUND:
                raise ConfigurationError(f"the time to keep {name} must be more than 0 s, not {value:g} s")
        if not 0 <= self.free_disk < _UPPER_BOUND:
            raise ConfigurationError(f"the free disk space to leave must be at least 0 bytes, not {self.free_disk}")


KEEP_ALL: Final = Retention()


def parse_duration(text: str) -> float | None:
    """
    Return the seconds of a time such as ``30d``, ``12h``, ``90m``, ``45s`` or ``2w``, and None for ``never``.

    Raises:
        ConfigurationError: the text is not such a time, or it is 0.
    """
    if text.strip().lower() == "never":
        return None
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _UNIT_SECONDS[match[2]] if match is not None else 0.0
    if not 0 < seconds < _UPPER_BOUND:
        raise ConfigurationError(f"'{text}' is not a time to keep something: write 30d, 12h, 90m, 45s, 2w or never")
    return seconds
