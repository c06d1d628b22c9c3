"""
The rate at which jobs end, and the time until the others have ended. Pure: times are arguments, in seconds of any one clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from statistics import fmean

RATE_WINDOW_SECONDS = 60.0
"""Time over which the rate is measured, more where jobs end seldom. It has at least two polls."""

MIN_RATE_SPAN_SECONDS = 2.0
MIN_RATE_ENDINGS = 3
"""A rate from less time or fewer endings would be a guess."""

MAX_SMOOTHING_SECONDS = 10.0
"""Time in which an estimate moves most of the way to a new one; less towards the end."""

PRIOR_ENDINGS = 5
"""Weight of the running jobs' expected rate, in endings. It steadies the estimate where a job takes minutes."""

MAX_DURATIONS = 100
"""Jobs whose durations are kept."""

_MIN_POINTS = 4


class TimeEstimator:
    """
    Measures the rate between bursts of endings: a poll shows several at once, so the time since the last poll must not matter.
    Only when a burst is later than any pause before it does the rate fall, and in the end it is None.
    """

    def __init__(self, now: float) -> None:
        self._began = now
        self._ended = 0
        self._points: deque[tuple[float, int]] = deque([(now, 0)])
        self._pause = 0.0  # the longest one between two points
        self._min_span = MIN_RATE_SPAN_SECONDS
        self._durations: deque[float] = deque(maxlen=MAX_DURATIONS)
        self._end: float | None = None
        self._estimated_at = now

    def restart(self, now: float) -> None:
        """Measure the rate from now on. After a long time polls are rare, and their responses come in pieces."""
        self._points = deque([(now, self._ended)])
        self._min_span = min(max(MIN_RATE_SPAN_SECONDS, 0.15 * (now - self._began)), RATE_WINDOW_SECONDS / 2)

    def add_durations(self, durations: Iterable[float]) -> None:
        """Note how many seconds jobs took from their start to their end, whenever that was."""
        self._durations.extend(durations)

    def add_endings(self, now: float, ended: int) -> None:
        """Note that so many jobs have ended since the last call."""
        if ended:
            self._ended += ended
            self._points.append((now, self._ended))
        while len(self._points) > _MIN_POINTS and self._points[1][0] <= now - RATE_WINDOW_SECONDS:
            self._points.popleft()
        self._pause = max((later - earlier for (earlier, _), (later, _) in pairwise(self._points)), default=0.0)

    def rate(self, now: float) -> float | None:
        """Return jobs per second, None before there are enough endings."""
        measured = self._measured(now)
        return None if measured is None else measured[0] / measured[1]

    def left(self, now: float, unfinished: int, running: int) -> float | None:
        """Return the seconds until ``unfinished`` jobs have ended, ``running`` at a time; None without an estimate."""
        end = self._expected_end(now, unfinished, running)
        if end is None or self._end is None:
            self._end = end
        else:
            # Smoothed, so that it counts down without jumps.
            smoothing = min(max((min(end, self._end) - now) / 10, 1.0), MAX_SMOOTHING_SECONDS)
            self._end += (end - self._end) * -math.expm1((self._estimated_at - now) / smoothing)
        self._estimated_at = now
        return None if self._end is None else max(self._end - now, 0.0)

    def _expected_end(self, now: float, unfinished: int, running: int) -> float | None:
        last, duration = self._points[-1][0], fmean(self._durations) if self._durations else 0.0
        # As many at a time as are running, each as long as those before it: Little's law.
        expected = duration / running if running and duration else None
        measured = self._measured(now)
        if measured is None:
            # It holds until one of them should have ended.
            if expected is None or now - last > 2 * duration:
                return None
            return max(last + unfinished * expected, now)
        endings, seconds = measured
        each = (
            seconds / endings if expected is None else (seconds + PRIOR_ENDINGS * expected) / (endings + PRIOR_ENDINGS)
        )
        if now - last > self._pause + max(self._pause, unfinished * each):
            return None  # these few are slower than all others
        # Some of them may have ended since the last burst, which the next poll will show.
        return now + max(unfinished * each, self._pause) - min(now - last, self._pause)

    def _measured(self, now: float) -> tuple[int, float] | None:
        """Return a number of endings and the seconds they took."""
        (first, before), (last, after) = self._points[0], self._points[-1]
        span, overdue = last - first, max(now - last - self._pause, 0.0)
        if span < self._min_span or after - before < MIN_RATE_ENDINGS or overdue > span:
            return None
        return after - before, span + overdue
