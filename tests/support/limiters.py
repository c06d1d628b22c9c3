"""
Limits on requests per second as platforms have them, in the caller's time, and what they put into ``Retry-After``. Each
``take`` is None, or the seconds until it would have been let through.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

EARLY = 1e-9
"""Seconds. What comes at the very end of a wait is not refused for a rounding."""


class Limiter(Protocol):
    rate: float

    def take(self, now: float) -> float | None: ...


class Bucket:
    """Filled with ``rate`` tokens a second, never more than ``burst``."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._level, self._at = burst, 0.0

    def take(self, now: float) -> float | None:
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now
        if self._level < 1 - EARLY:
            return (1 - self._level) / self.rate
        self._level -= 1
        return None


class FixedWindow:
    """``rate`` requests in each second, which begins at ``phase``."""

    def __init__(self, rate: float, phase: float = 0.0) -> None:
        self.rate, self.phase = rate, phase
        self._window, self._taken = -1, 0

    def take(self, now: float) -> float | None:
        window = math.floor(now - self.phase + EARLY)
        if window != self._window:
            self._window, self._taken = window, 0
        if self._taken >= self.rate:
            return window + 1 + self.phase - now
        self._taken += 1
        return None


class SlidingWindow:
    """``rate`` requests in any second."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._taken: deque[float] = deque()

    def take(self, now: float) -> float | None:
        while self._taken and self._taken[0] <= now - 1 + EARLY:
            self._taken.popleft()
        if len(self._taken) >= self.rate:
            return self._taken[0] + 1 - now
        self._taken.append(now)
        return None


class Unlimited:
    rate = float("inf")

    def take(self, now: float) -> float | None:
        return None


Hint: TypeAlias = Callable[[float, float], float | None]
"""``Retry-After`` in seconds, made of the wait and the time."""

HINTS: Mapping[str, Hint] = {
    "none": lambda wait, now: None,
    "rounded up": lambda wait, now: float(math.ceil(wait - EARLY)),
    "rounded down": lambda wait, now: float(math.floor(wait)),
    "a date": lambda wait, now: max(0.0, math.ceil(now + wait - EARLY) - now),
}
