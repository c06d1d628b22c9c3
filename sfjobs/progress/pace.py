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

SHORTEST_WINDOW = 30.0
LONGEST_WINDOW = 120.0
"""Seconds over which the rate is taken; in between, long enough for three of the longest pauses between two endings."""

LEAST_SPAN = 2.0
LEAST_ENDINGS = 3
"""A rate from fewer seconds or fewer endings would be a guess."""

_FEWEST_POINTS = 4
MOST_GENTLE = 10.0
"""Seconds in which an estimate goes most of the way to where new endings call it; less towards the end."""

HISTORY = 100
"""Jobs whose durations are remembered."""


class Pace:
    """
    Endings are seen in bursts, whenever the platform has been asked, so the rate is taken from one burst to another: whether
    the last question was a moment or half a minute ago makes no difference to it. Only when a burst is later than any pause
    before it does the rate go down, and in the end no rate is claimed any more.
    """

    def __init__(self, now: float) -> None:
        self._points: deque[tuple[float, int]] = deque([(now, 0)])
        self._ended = 0
        self._longest_pause = 0.0
        self._durations: deque[float] = deque(maxlen=HISTORY)
        self._last_ending = now
        self._end: float | None = None
        self._estimated_at = now

    def restart(self, now: float) -> None:
        """Takes the rate from now on."""
        self._points = deque([(now, self._ended)])

    def remember(self, durations: Iterable[float]) -> None:
        """Seconds that jobs took from their start to their end, whenever that was."""
        self._durations.extend(durations)

    def note(self, now: float, ended: int) -> None:
        """That many have been seen to end since the last time; call it also with none, which is news as well."""
        if ended:
            self._ended += ended
            self._longest_pause = max(self._longest_pause, now - self._points[-1][0])
            self._points.append((now, self._ended))
            self._last_ending = now
        window = min(max(SHORTEST_WINDOW, 3 * self._longest_pause), LONGEST_WINDOW)
        while len(self._points) > _FEWEST_POINTS and self._points[1][0] <= now - window:
            self._points.popleft()

    def rate(self, now: float) -> float | None:
        """Jobs a second; None while there is too little to tell by."""
        (first, before), (last, after) = self._points[0], self._points[-1]
        span, endings, overdue = last - first, after - before, self._overdue(now)
        if span < LEAST_SPAN or endings < LEAST_ENDINGS or overdue > span:
            return None
        return endings / (span + overdue)

    def left(self, now: float, unfinished: int, running: int) -> float | None:
        """Seconds until that many have ended; None while there is too little to tell by."""
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
        rate = self.rate(now)
        if rate is not None:
            last, pause = self._points[-1][0], self._pause()
            # Some of them may have ended since the last burst, and there is no hearing of it before the next.
            return now + max(unfinished / rate, pause) - min(now - last, pause)
        if not running or not self._durations:
            return None
        # As many at once as are running now, each as long as those before: Little's law. It holds until they should have ended.
        duration = fmean(self._durations)
        if now - self._last_ending > 2 * duration:
            return None
        return max(self._last_ending + max(unfinished / running, 1.0) * duration, now)

    def _pause(self) -> float:
        return max((later - earlier for (earlier, _), (later, _) in pairwise(self._points)), default=0.0)

    def _overdue(self, now: float) -> float:
        return max(now - self._points[-1][0] - self._pause(), 0.0)
