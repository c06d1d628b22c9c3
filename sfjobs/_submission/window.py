"""
How many jobs may be unfinished at a time. A 429 halves the window, and each accepted job widens it again, as in TCP (RFC 5681,
additive increase and multiplicative decrease). No I/O and no clock: ``pipeline`` waits.
"""

from __future__ import annotations

WIDENING_PER_JOB = 0.25
"""How much a narrowed window grows with each job that the platform accepts."""

FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 30.0
"""The pause after a 429 without Retry-After. Each pause is twice as long as the one before."""


class Window:
    """
    ``size`` is the present bound and ``widest`` the initial one. ``generation`` counts how often the window was narrowed: a
    response to a request of an older generation changes nothing.
    """

    def __init__(self, widest: int) -> None:
        if widest < 1:
            raise ValueError(f"a window of {widest} submits nothing: it has to be at least 1")
        self.widest = widest
        self.generation = 0
        self.paused_until = float("-inf")
        self._size = float(widest)
        self._refusals = 0

    @property
    def size(self) -> int:
        return int(self._size)

    @property
    def is_narrowed(self) -> bool:
        return self._size < self.widest

    def narrow(self, generation: int, now: float, retry_after: float | None) -> float:
        """Halve the window, once a generation. Returns the seconds to pause from ``now``, at least ``retry_after``."""
        if generation == self.generation:
            pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._refusals, 10), MAX_PAUSE_SECONDS)
            self.generation += 1
            self._refusals += 1
            self._size = float(max(1, self.size // 2))
            self.paused_until = now + pause
        if retry_after is not None:
            self.paused_until = max(self.paused_until, now + retry_after)
        return max(self.paused_until - now, 0.0)

    def widen(self, generation: int, jobs: int = 1) -> None:
        """Widen the window for ``jobs`` accepted jobs that were sent in this generation."""
        if generation == self.generation:
            self._refusals = 0
            self._size = min(self._size + WIDENING_PER_JOB * jobs, float(self.widest))
