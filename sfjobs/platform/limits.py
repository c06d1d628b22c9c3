"""
How much one request, one account and one job may take: the only place where these numbers are chosen. Whoever enforces one is
handed the whole: ``app`` and ``connections`` for requests, ``submission`` and ``intake`` for jobs that come, ``execution`` for
jobs that run.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from ..errors import ConfigurationError

_MOST: Final = 1 << 62
"""Beyond what databases and system calls take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    Of a request, in bytes: ``head`` (request line and headers together), ``query``, ``body`` (a batch of submissions is the
    largest there is) and ``circuit`` (one program); ``headers`` is their number. What is beyond is refused before it is held in
    memory, with 400, 414, 413 and 431.

    Of an account: ``quota``, its unfinished jobs; further submissions get 429 ``quota-exceeded`` with ``Retry-After``.

    Of a job: ``shots`` and ``modes``, checked when it comes and again in the worker; ``time`` in seconds, of the clock and of the
    processor; ``memory`` in bytes of the worker's address space (``RLIMIT_AS``; 0 for no limit; without effect on Windows, and
    macOS does not enforce it). A job beyond them fails, and its ``meta`` has the ``error-code`` ``shot-limit``, ``mode-limit``,
    ``time-limit`` or ``out-of-memory``.

    Raises ``ConfigurationError`` for a limit that would let nothing pass, or that no system can hold.
    """

    head: int = 64 << 10
    headers: int = 100
    query: int = 16 << 10
    body: int = 8 << 20
    circuit: int = 1 << 20
    quota: int = 10_000
    shots: int = 10_000_000
    modes: int = 216
    time: float = 3600.0
    memory: int = 4 << 30

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < _MOST and not (field.name == "memory" and value == 0):
                raise ConfigurationError(
                    f"the limit '{field.name}' must be more than 0 and less than {_MOST}, not {value}"
                )


DEFAULTS: Final = Limits()
