"""
Rate limits as platforms have them, in the caller's time, and the ``Retry-After`` they send. ``admit`` returns None for an
accepted request, or the seconds until it would be accepted.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

TOLERANCE_SECONDS = 1e-9
"""A request at the very end of a wait is not refused because of a rounding."""


class Limiter(Protocol):
    rate: float

    def admit(self, now: float) -> float | None: ...


class Bucket:
    """Filled with ``rate`` tokens a second, never more than ``burst``."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._level, self._at = burst, 0.0

    def admit(self, now: float) -> float | None:
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now
        if self._level < 1 - TOLERANCE_SECONDS:
            return (1 - self._level) / self.rate
        self._level -= 1
        return None


class FixedWindow:
    """``rate`` requests in each second, which begins at ``phase``."""

    def __init__(self, rate: float, phase: float = 0.0) -> None:
        self.rate, self.phase = rate, phase
        self._window, self._count = -1, 0

    def admit(self, now: float) -> float | None:
        window = math.floor(now - self.phase + TOLERANCE_SECONDS)
        if window != self._window:
            self._window, self._count = window, 0
        if self._count >= self.rate:
            return window + 1 + self.phase - now
        self._count += 1
        return None


class SlidingWindow:
    """``rate`` requests in any second."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._accepted: deque[float] = deque()

    def admit(self, now: float) -> float | None:
        while self._accepted and self._accepted[0] <= now - 1 + TOLERANCE_SECONDS:
            self._accepted.popleft()
        if len(self._accepted) >= self.rate:
            return self._accepted[0] + 1 - now
        self._accepted.append(now)
        return None


class Unlimited:
    rate = float("inf")

    def admit(self, now: float) -> float | None:
        return None


Hint: TypeAlias = Callable[[float, float], float | None]
"""``Retry-After`` in seconds, from the wait and the time."""

HINTS: Mapping[str, Hint] = {
    "none": lambda wait, now: None,
    "rounded up": lambda wait, now: float(math.ceil(wait - TOLERANCE_SECONDS)),
    "rounded down": lambda wait, now: float(math.floor(wait)),
    "a date": lambda wait, now: max(0.0, math.ceil(now + wait - TOLERANCE_SECONDS) - now),
}
