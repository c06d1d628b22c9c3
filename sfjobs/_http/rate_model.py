"""
The rate that the platform accepts, learnt from its 429 responses. Pure: the time comes in as an argument, in seconds, and
``rate_limiter`` does the waiting.

Without a limit in sight, a slow start bounds the requests in flight. A first 429 shows a burst, from which a careful rate (low)
and the highest likely one (high) follow. The rate climbs from low to high, stays, and then probes for more until the next 429.
"""

from __future__ import annotations

from collections import deque

from .retry import MAX_RETRY_AFTER_SECONDS

# Slow start: all requests in flight when a limit is first met are refused together. The width, how many may be in flight, grows
# until it exceeds that of the lanes.
INITIAL_WIDTH, WIDTH_GROWTH = 2, 1.5
# A limit of 5/s with a burst of 10 refuses one of these. Slow responses must be more, since the bucket fills meanwhile.
FIRST_STEP_RESPONSES, FIRST_STEP_RESPONSES_PER_SECOND, MAX_FIRST_STEP_RESPONSES = 12, 5.0, 24

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 1.0, 30.0
"""Pause of all requests after a 429 without ``Retry-After``. It doubles with each 429 in a row."""

USED_SHARE = 0.97
"""Share of a limit that is used, since networks are uneven."""

CLIMB_SECONDS = 20.0
"""Time from the lowest to the highest likely rate, most of the way in the first seconds."""

HOLD_SECONDS, MAX_HOLD_SECONDS = 120.0, 600.0
"""Time at the highest likely rate before more is tried. It doubles each time that trying meets a limit."""

DOUBLING_SECONDS, LIFTED_FACTOR = 30.0, 10.0
"""
While more is tried, the rate doubles within ``DOUBLING_SECONDS`` and grows with the cube of time, as CUBIC does (RFC 9438). After
62 s it exceeds the old limit by ``LIFTED_FACTOR``: the limit no longer exists.
"""

FORGET_SECONDS = 900.0
"""Age at which a 429 is forgotten, also where too few requests were sent to try more."""

BURST_SECONDS, SHORT_PAUSE_SECONDS = 0.15, 2.0
"""A longer first burst may have used two fixed windows of a second, if the pause after it is short."""

TIMER_TOLERANCE_SECONDS = 0.02
"""How late a request may be, as timers are, without delaying those after it."""


class RateModel:
    """
    When the next request may be sent. ``generation`` counts the setbacks, a 429 or a 503 with ``Retry-After``: a request that was
    sent before a setback and is refused after it belongs to that setback.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.resume_at = float("-inf")
        self._next_at = float("-inf")
        self._low = self._high = 0.0  # likely limits in requests a second; 0 where no limit is known
        self._used_seconds = 0.0  # time for which the limit has been used since it was learnt
        self._hold = HOLD_SECONDS
        self._may_be_window = False
        self._setbacks = 0  # in a row, until a request is accepted
        self._learnt_at = float("-inf")
        self._burst_generation = -1
        self._learnt_count = 0  # requests that the limits were learnt from
        self._learnt_span = 1.0  # the seconds of those requests
        self._accepted: deque[float] = deque(maxlen=4096)  # times since the last 429
        self._first_response_at = 0.0
        self._start_slowly()

    @property
    def rate(self) -> float | None:
        """Requests a second; None for no limit."""
        if not self._high:
            return None
        climb = max(0.0, 1.0 - self._used_seconds / CLIMB_SECONDS)
        probe = max(0.0, self._used_seconds - CLIMB_SECONDS - self._hold) / DOUBLING_SECONDS
        rate = (self._high - (self._high - self._low) * climb**3) * (1.0 + probe**3)
        return max(rate, 1.0 / MAX_RETRY_AFTER_SECONDS)

    @property
    def max_in_flight(self) -> float:
        if self._setbacks:
            return 1
        return float("inf") if self._high else int(self._width)

    @property
    def ready_at(self) -> float:
        """Time of the next request, if few enough are in flight."""
        return max(self.resume_at, self._next_at)

    def allows(self, now: float, in_flight: int) -> bool:
        return in_flight < self.max_in_flight and now >= self.ready_at - 1e-6  # a timer may be early by a rounding

    def record_sent(self, now: float, *, waited: bool) -> None:
        """Note a sent request. Only requests that ``waited`` show that the platform accepts the rate."""
        if (rate := self.rate) is None:
            return
        if rate >= LIFTED_FACTOR * self._high or now - self._learnt_at > FORGET_SECONDS:
            self._forget_limit()
            return
        if waited:
            self._used_seconds += 1.0 / rate
        self._next_at = max(self.ready_at, now - TIMER_TOLERANCE_SECONDS) + 1.0 / rate

    def undo_sent(self, now: float) -> None:
        """Note that the request recorded just now was not sent."""
        self._next_at = min(self._next_at, now)

    def record_accepted(self, now: float, generation: int, in_flight: int) -> None:
        """Note any response but 429 and 503."""
        if generation == self.generation:
            self._accepted.append(now)
            self._setbacks = 0
            if not self._high and in_flight >= int(self._width):
                self._widen(now)
        elif generation == self._burst_generation:
            self._rescale(self._learnt_count + 1, self._learnt_span)

    def record_refused(self, now: float, generation: int, retry_after: float | None) -> None:
        """Note a 429."""
        if generation != self.generation:
            self._pause(now, retry_after or 0.0)
            return
        if retry_after is None:
            pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._setbacks, 10), MAX_PAUSE_SECONDS)
        else:
            pause = max(retry_after, FIRST_PAUSE_SECONDS)
        paused_until = self.resume_at
        self._set_back(now, pause)
        if self._setbacks > 1:  # the last pause was too short
            self._rescale(self._learnt_count, self._learnt_span + self.resume_at - paused_until)
            return
        if self._high:
            self._learn_from_rate(now)
        elif self._accepted:  # otherwise another client has used up the limit
            self._learn_from_burst(now)
            self._burst_generation = generation
        self._learnt_at = now
        self._accepted.clear()
        self._used_seconds = 0.0

    def record_unavailable(self, now: float, generation: int, retry_after: float) -> None:
        """Note a 503 with ``Retry-After``: all requests pause, one goes first, and no rate is learnt."""
        if generation == self.generation:
            self._set_back(now, retry_after)
        self._pause(now, retry_after)

    def _set_back(self, now: float, pause: float) -> None:
        self.generation += 1
        self._setbacks += 1
        self._pause(now, pause)
        self._start_slowly()

    def _pause(self, now: float, seconds: float) -> None:
        # No caller expects a longer pause. After a longer Retry-After, one more request is refused.
        self.resume_at = max(self.resume_at, now + min(seconds, MAX_RETRY_AFTER_SECONDS))

    def _start_slowly(self) -> None:
        self._width = float(INITIAL_WIDTH)
        self._responses = 0  # at this width

    def _widen(self, now: float) -> None:
        if not self._responses:
            self._first_response_at = now
        self._responses += 1
        enough = self._width
        if self._width == INITIAL_WIDTH:
            seconds = now - self._first_response_at
            enough = min(FIRST_STEP_RESPONSES + FIRST_STEP_RESPONSES_PER_SECOND * seconds, MAX_FIRST_STEP_RESPONSES)
        if self._responses >= enough:
            self._responses = 0
            self._width *= WIDTH_GROWTH

    def _forget_limit(self) -> None:
        self._high = 0.0
        self._hold = HOLD_SECONDS
        self._start_slowly()

    def _learn_from_burst(self, now: float) -> None:
        """
        Take the highest rate of all stretches up to now, the pause included. ``Retry-After`` is in whole seconds, so the pause
        may be up to one second too long; a burst or the edge of a window may make it one too short.
        """
        pause = self.resume_at - now
        spans = [max(now - when + pause - 1.0, 1.0) for when in reversed(self._accepted)]
        highest, count, span = max((count / span, count, span) for count, span in enumerate(spans, 1))
        self._high = USED_SHARE * highest
        self._low = USED_SHARE * count / (span + 1.0)
        self._may_be_window = now - self._accepted[-count] > BURST_SECONDS and pause <= SHORT_PAUSE_SECONDS
        self._learnt_count, self._learnt_span = count, span

    def _learn_from_rate(self, now: float) -> None:
        """
        Take the rate from the last 429 to this one. A bucket was empty at both, so it is the bucket's rate. A fixed window has
        lost what the pause left of it: its rate is the count of the last second. That is tried once, where a window is likely.
        """
        rate = self.rate
        assert rate is not None
        if self._used_seconds > CLIMB_SECONDS + self._hold:
            self._hold = min(2.0 * self._hold, MAX_HOLD_SECONDS)
            self._may_be_window = self.resume_at - now <= SHORT_PAUSE_SECONDS
        is_full = len(self._accepted) == self._accepted.maxlen
        since = self._accepted[0] if is_full else self._learnt_at
        count, span = self._accepted_since(since), now - since
        self._low = USED_SHARE * count / span
        # One more would have been refused.
        highest = (count + 1) / span
        if self._may_be_window:
            highest = USED_SHARE * max(self._accepted_since(now - 1.0 + 1e-6), count / span)
            self._low = max(self._low, 0.9 * USED_SHARE * min(highest, rate))
            self._may_be_window = False
        self._high = max(USED_SHARE * min(highest, rate), self._low)
        self._learnt_count, self._learnt_span = count, span

    def _accepted_since(self, start: float) -> int:
        return sum(when > start for when in self._accepted)

    def _rescale(self, count: int, span: float) -> None:
        """Correct the limits: more requests were accepted before the 429, or the pause after it was too short."""
        if self._learnt_count:
            factor = count / self._learnt_count * self._learnt_span / span
            self._low, self._high = factor * self._low, factor * self._high
            self._learnt_count, self._learnt_span = count, span
