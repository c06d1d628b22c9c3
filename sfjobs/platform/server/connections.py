"""
How many connections there may be: of one address, and in all, below the system's limit of open files. A connection above that
gets an error response at once. Without this the next connection, file or worker of anyone would fail.
"""

from __future__ import annotations

import ipaddress
import sys
from collections import Counter
from typing import Final

from ..errors import ApiError
from ..limits import Limits

_MOST: Final = 10_000
_RESERVED_FILES: Final = 64
"""For the database, the log and the like, and for refused connections."""

_FILES_OF_WORKER: Final = 16
_FEWEST: Final = 16
MAX_REFUSED: Final = 32
"""Refused connections that are kept for a moment, so that their clients can read the response."""


class ConnectionCount:
    """Up to ``total`` connections, and ``share`` of one address. Those of this machine, such as a proxy's, may be all."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._share = max(1, total // 2)
        self._of_address: Counter[str] = Counter()
        self.open = 0
        self.refused = 0

    def enter(self, address: str) -> ApiError | None:
        """Count a connection, or return the error response to it."""
        if self.open >= self._total:
            return self._error(503, "overloaded", f"The platform has {self._total} connections, the most it may have.")
        if self._of_address[address] >= self._share and not _is_local(address):
            detail = f"The address {address} has {self._share} connections, the most it may have."
            return self._error(429, "too-much-at-once", detail)
        self._of_address[address] += 1
        self.open += 1
        return None

    def leave(self, address: str) -> None:
        self.open -= 1
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]

    def _error(self, status: int, code: str, detail: str) -> ApiError:
        return ApiError(status, code, f"{detail} Try again later.", headers={"retry-after": "5"})


def connection_limit(limits: Limits, workers: int) -> int:
    """
    Return how many connections there may be. A download has a file open beside its connection, so a part of the system's limit
    is left for these.
    """
    files = _file_limit()
    most = _MOST if files is None else files * 5 // 8 - _RESERVED_FILES - _FILES_OF_WORKER * workers
    return max(_FEWEST, min(limits.connections or _MOST, most))


def _file_limit() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return True  # no internet address
