"""
How many jobs may be unfinished at a time: a window that a 429 halves and every job that is taken widens again, as TCP's does
(RFC 5681, additive increase and multiplicative decrease). Pure: ``dispatch`` brings the clock and does the waiting.
"""

from __future__ import annotations

WIDENING = 0.25
"""A window that was narrowed grows by this with every job that the platform takes."""

FIRST_REST = 0.5
LONGEST_REST = 30.0
"""Seconds between two tries of a platform that says 429 and not until when: each rest is twice as long as the last one."""


class Window:
    """
    ``size`` is what it is now, ``widest`` what it was made with. ``generation`` changes when it is narrowed: an answer to what
    was sent in an older one is no news.
    """

    def __init__(self, widest: int) -> None:
        if widest < 1:
            raise ValueError(f"a window of {widest} lets nothing through: it is at least 1")
        self.widest = widest
        self.generation = 0
        self.rest_until = float("-inf")
        self._size = float(widest)
        self._setbacks = 0

    @property
    def size(self) -> int:
        return int(self._size)

    @property
    def is_narrowed(self) -> bool:
        return self._size < self.widest

    def narrow(self, generation: int, now: float, hint: float | None) -> float:
        """Halves the window, unless that was done for this generation. Seconds to rest from ``now``: ``hint`` if there is one."""
        if generation == self.generation:
            rest = min(FIRST_REST * 2.0 ** min(self._setbacks, 10), LONGEST_REST)
            self.generation += 1
            self._setbacks += 1
            self._size = float(max(1, self.size // 2))
            self.rest_until = now + rest
        if hint is not None:
            self.rest_until = max(self.rest_until, now + hint)
        return max(self.rest_until - now, 0.0)

    def widen(self, generation: int, jobs: int = 1) -> None:
        """The platform has taken this many jobs that were sent in this generation."""
        if generation == self.generation:
            self._setbacks = 0
            self._size = min(self._size + WIDENING * jobs, float(self.widest))
