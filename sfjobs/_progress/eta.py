"""
How fast jobs end, and how long the others will take, from when they were seen to end. Pure: times come in as arguments, in
seconds of any one clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from statistics import fmean

WINDOW = 60.0
"""Seconds over which the rate is taken, more where jobs end seldom; the platform is asked twice in it at the least."""

LEAST_SPAN = 2.0
LEAST_ENDINGS = 3
"""A rate from fewer seconds or fewer endings would be a guess."""

MOST_GENTLE = 10.0
"""Seconds in which an estimate goes most of the way to where new endings call it; less towards the end."""

PRIOR = 5
"""As many endings count what the running jobs promise; it steadies the estimate where a job takes minutes."""

HISTORY = 100
"""Jobs whose durations are remembered."""

_FEWEST_POINTS = 4


class TimeEstimator:
    """
    Endings are seen in bursts, whenever the platform has been asked, so the rate is taken from one burst to another: whether
    the last question was a moment or half a minute ago makes no difference to it. Only when a burst is later than any pause
    before it does the rate go down, and in the end no rate is claimed any more.
    """

    def __init__(self, now: float) -> None:
        self._began = now
        self._ended = 0
        self._points: deque[tuple[float, int]] = deque([(now, 0)])
        self._pause = 0.0  # the longest one between two points
        self._least_span = LEAST_SPAN
        self._durations: deque[float] = deque(maxlen=HISTORY)
        self._end: float | None = None
        self._estimated_at = now

    def restart(self, now: float) -> None:
        """Takes the rate from now on. After a long time the platform is asked seldom, and what it says comes in pieces."""
        self._points = deque([(now, self._ended)])
        self._least_span = min(max(LEAST_SPAN, 0.15 * (now - self._began)), WINDOW / 2)

    def remember(self, durations: Iterable[float]) -> None:
        """Seconds that jobs took from their start to their end, whenever that was."""
        self._durations.extend(durations)

    def note(self, now: float, ended: int) -> None:
        """That many have been seen to end since the last time."""
        if ended:
            self._ended += ended
            self._points.append((now, self._ended))
        while len(self._points) > _FEWEST_POINTS and self._points[1][0] <= now - WINDOW:
            self._points.popleft()
        self._pause = max((later - earlier for (earlier, _), (later, _) in pairwise(self._points)), default=0.0)

    def rate(self, now: float) -> float | None:
        """Jobs a second; None while there is too little to tell by."""
        measured = self._measured(now)
        return None if measured is None else measured[0] / measured[1]

    def left(self, now: float, unfinished: int, running: int) -> float | None:
        """Seconds until ``unfinished`` jobs have ended, ``running`` at a time; None while there is too little to tell by."""
        end = self._expected_end(now, unfinished, running)
        if end is None or self._end is None:
            self._end = end
        else:
            # Gently, so that it counts down and does not jump about.
            gentleness = min(max((min(end, self._end) - now) / 10, 1.0), MOST_GENTLE)
            self._end += (end - self._end) * -math.expm1((self._estimated_at - now) / gentleness)
        self._estimated_at = now
        return None if self._end is None else max(self._end - now, 0.0)

    def _expected_end(self, now: float, unfinished: int, running: int) -> float | None:
        last, duration = self._points[-1][0], self._duration()
        # As many at a time as are running, each as long as those before it: Little's law.
        promised = duration / running if running and duration else None
        measured = self._measured(now)
        if measured is None:
            # It holds until one of them should have ended.
            is_credible = promised is not None and now - last <= 2 * duration
            return max(last + unfinished * promised, now) if promised is not None and is_credible else None
        endings, seconds = measured
        each = seconds / endings if promised is None else (seconds + PRIOR * promised) / (endings + PRIOR)
        if now - last > self._pause + max(self._pause, unfinished * each):
            return None  # these few are slower than all others
        # Some of them may have ended since the last burst, and there is no hearing of it before the next.
        return now + max(unfinished * each, self._pause) - min(now - last, self._pause)

    def _measured(self, now: float) -> tuple[int, float] | None:
        """So many endings in so many seconds."""
        (first, before), (last, after) = self._points[0], self._points[-1]
        span, overdue = last - first, max(now - last - self._pause, 0.0)
        if span < self._least_span or after - before < LEAST_ENDINGS or overdue > span:
            return None
        return after - before, span + overdue

    def _duration(self) -> float:
        return fmean(self._durations) if self._durations else 0.0
