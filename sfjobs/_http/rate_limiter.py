"""
How fast one connection may ask. Nothing is held back until the platform says 429; from then on all requests of the connection
together go evenly spaced, and no faster than it has shown to accept. Each takes a ``Permit`` of the one ``RateLimiter``, which
does the waiting inside its callers' tasks; ``RateModel`` has the rules, and is handed the time. How often a request is tried is the
business of ``retry``, and how many jobs are unfinished that of ``window``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio
import anyio.lowlevel

from ..errors import RateLimitedError
from .messages import Lane, Response
from .retry import LONGEST_HINT

# A slow start: whatever is under way when a limit is met comes back refused. What a limit of 5/s with a burst of 10 would not
# have let through is ENOUGH to go faster; AMPLE is, when answers take too long to tell. The lanes are narrower than BOUNDLESS.
SHY, ENOUGH, TRICKLE, AMPLE = 2, 12, 5.0, 24
GROWTH, BOUNDLESS = 1.5, 64

FIRST_REST, LONGEST_REST = 1.0, 30.0
"""Seconds that everyone rests after a 429 that does not say how long, doubled with each in a row."""

MARGIN = 0.97
"""Share of a limit that is used. Networks are uneven."""

CLIMB = 20.0
"""Seconds from the lowest to the highest rate that fits what was seen, most of the way in the first ones."""

HOLD, LONGEST_HOLD = 120.0, 600.0
"""Seconds at a rate that is accepted before more is tried; twice as long each time that this meets a limit again."""

STRIDE, GONE = 30.0, 10.0
"""Trying, the rate has doubled after ``STRIDE`` s and grows with the cube of time, as CUBIC's does (RFC 9438). After 62 s it
has passed the limit by the factor ``GONE``, which then is there no more."""

FORGET = 900.0
"""Seconds after which a 429 means nothing any more, even where too little was asked to try."""

LOOK_BACK = 60.0
"""Seconds. What was accepted earlier may have been under another limit."""

EDGE, BRIEF = 0.15, 2.0
"""Seconds. A first burst that took longer may have had two fixed windows' worth, where a rest shows them to be this brief."""

STEEPEST = 0.4
"""No less than this share of a rate is left of it at once."""

LATENESS = 0.02
"""Seconds that a request may be late, as timers are, without moving those after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """What holds requests back now: ``rate`` in 1/s, ``paused_until`` in the loop's time, both None where nothing does."""

    rate: float | None = None
    paused_until: float | None = None


class RateModel:
    """
    When the next request may go. ``generation`` changes with each setback: what was sent in an older one and is refused, is
    refused by the same setback.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.resume_at = float("-inf")
        self._next_at = float("-inf")
        self._is_paced = False
        self._is_trying = False  # after a setback, until one request has been accepted
        self._width = float(SHY)
        self._answers = 0
        self._crowded_since: float | None = None
        self._accepted: deque[float] = deque(maxlen=4096)  # when, since the last setback
        self._setback_at = float("-inf")
        self._setbacks = 0  # in a row
        self._judged = -1  # the generation whose burst the rates below were learned from
        self._count = 0
        self._span = 1.0
        self._low = self._high = 0.0
        self._is_in_doubt = False
        self._tested = 0.0  # seconds
        self._hold = HOLD

    @property
    def rate(self) -> float | None:
        """Requests a second; None for as many as there are."""
        if not self._is_paced:
            return None
        below = max(0.0, 1.0 - self._tested / CLIMB)
        beyond = max(0.0, self._tested - CLIMB - self._hold) / STRIDE
        return max((self._high - (self._high - self._low) * below**3) * (1.0 + beyond**3), 1.0 / LONGEST_HINT)

    @property
    def width(self) -> float:
        """How many requests may be under way."""
        if self._is_trying:
            return 1
        return float("inf") if self._is_paced or self._width >= BOUNDLESS else int(self._width)

    @property
    def ready_at(self) -> float:
        """When the next request may go, if there are few enough under way."""
        return max(self.resume_at, self._next_at)

    def lets_go(self, now: float, under_way: int) -> bool:
        return under_way < self.width and now >= self.ready_at - 1e-6  # a timer may be early by a rounding

    def go(self, now: float, *, waited: bool) -> None:
        """A request goes out. That a rate is borne shows only where requests have ``waited`` for it."""
        if (rate := self.rate) is None:
            return
        if rate >= GONE * self._high or now - self._setback_at > FORGET:
            self._let_loose()
            return
        if waited:
            self._tested += 1.0 / rate
        self._next_at = max(self.ready_at, now - LATENESS) + 1.0 / rate

    def take_back(self, now: float) -> None:
        """What was let go just now did not go out after all."""
        self._next_at = min(self._next_at, now)

    def accept(self, now: float, generation: int, under_way: int) -> None:
        """A request was let through, whatever its answer says."""
        if generation != self.generation:
            if generation == self._judged and self._setbacks:
                self._adjust(count=self._count + 1, span=self._span)
            return
        self._accepted.append(now)
        self._is_trying = False
        self._setbacks = 0
        if not self._is_paced and self._width < BOUNDLESS and under_way >= int(self._width):
            self._widen(now)

    def refuse(self, now: float, generation: int, hint: float | None) -> None:
        """429, with or without ``Retry-After``."""
        if generation != self.generation:
            self._rest(now, hint or 0.0)
            return
        rest = min(FIRST_REST * 2.0 ** min(self._setbacks, 10), LONGEST_REST) if hint is None else max(hint, FIRST_REST)
        before = self.resume_at
        self._set_back(now, rest)
        self._setbacks += 1
        if self._setbacks > 1:
            self._adjust(count=self._count, span=self._span + self.resume_at - before)
            return
        if self._is_paced:
            self._learn_from_rate(now)
        else:
            self._learn_from_burst(now)
            self._judged = generation
        self._setback_at = now
        self._accepted.clear()
        self._tested = 0.0

    def pause(self, now: float, generation: int, hint: float) -> None:
        """503 with ``Retry-After``: everyone waits, and one goes first, but it says nothing of a rate."""
        if generation == self.generation:
            self._set_back(now, hint)
        self._rest(now, hint)

    def _set_back(self, now: float, rest: float) -> None:
        self.generation += 1
        self._is_trying = True
        self._rest(now, rest)
        self._begin_shyly()

    def _rest(self, now: float, seconds: float) -> None:
        # Nobody expects to be kept longer; whoever was told a longer time is refused once more.
        self.resume_at = max(self.resume_at, now + min(seconds, LONGEST_HINT))

    def _begin_shyly(self) -> None:
        self._width, self._answers, self._crowded_since = float(SHY), 0, None

    def _let_loose(self) -> None:
        self._is_paced = self._is_in_doubt = False
        self._next_at = float("-inf")
        self._hold = HOLD
        self._begin_shyly()

    def _widen(self, now: float) -> None:
        if self._crowded_since is None:
            self._crowded_since = now
        self._answers += 1
        enough = self._width
        if self._width == SHY:
            enough = min(AMPLE, ENOUGH + TRICKLE * (now - self._crowded_since))
        if self._answers >= enough:
            self._answers = 0
            self._width *= GROWTH

    def _learn_from_burst(self, now: float) -> None:
        """
        The most that any stretch up to now has had accepted a second, the rest included. ``Retry-After`` is in whole seconds,
        so the rest may be up to one too long, and a burst or the edge of a window may make it one too short.
        """
        if not self._accepted:
            return  # somebody else has used it up
        rest = self.resume_at - now
        spans = [max(now - when + rest - 1.0, 1.0) for when in reversed(self._accepted)]
        highest, self._count, self._span = max((count / span, count, span) for count, span in enumerate(spans, 1))
        self._high = MARGIN * highest
        self._low = MARGIN * self._count / (self._span + 1.0)
        self._is_paced = True
        self._is_in_doubt = now - self._accepted[-self._count] > EDGE and rest <= BRIEF

    def _learn_from_rate(self, now: float) -> None:
        """
        What was accepted from setback to setback. A bucket was empty at both, so this is its rate. A fixed window has lost
        what the rest left of it: it is what the last second had. Only where a window is likely, that is tried once.
        """
        rate = self.rate
        assert rate is not None, "paced"
        if self._tested > CLIMB + self._hold:
            self._hold = min(2.0 * self._hold, LONGEST_HOLD)
            self._is_in_doubt = self.resume_at - now <= BRIEF
        since = max(self._setback_at, now - LOOK_BACK)
        if len(self._accepted) == self._accepted.maxlen:
            since = max(since, self._accepted[0])
        self._count, self._span = self._accepted_since(since), now - since
        self._low = max(MARGIN * self._count / self._span, STEEPEST * rate)
        # One more would have been refused.
        highest = (self._count + 1) / self._span
        if self._is_in_doubt:
            highest = MARGIN * max(self._accepted_since(now - 1.0 + 1e-6), self._count / self._span)
            self._low = max(self._low, 0.9 * MARGIN * min(highest, rate))
            self._is_in_doubt = False
        self._high = max(MARGIN * min(highest, rate), self._low)

    def _accepted_since(self, start: float) -> int:
        return sum(when > start for when in self._accepted)

    def _adjust(self, *, count: int, span: float) -> None:
        """Known only later: what else was accepted, or that the rest was not long enough."""
        if self._is_paced and self._count:
            factor = count / self._count * self._span / span
            self._low, self._high = factor * self._low, factor * self._high
            self._count, self._span = count, span


class RateLimiter:
    """The turns of one connection. Belongs to one event loop, as its connection does."""

    def __init__(self) -> None:
        self.tempo = RateModel()
        self.under_way = 0  # turns that have begun and of which nothing is known yet
        self._lines: dict[Lane, deque[Permit]] = {"poll": deque(), "bulk": deque()}
        self._last: Lane = "bulk"
        self._timekeeper: Permit | None = None
        self._alarm = float("inf")

    def turn(self, lane: Lane) -> Permit:
        """
        ``async with governor.turn(lane) as turn:`` around one exchange: waits until it may go. Then say what came of it, as
        soon as that is known: ``turn.accepted()``, ``turn.refused(hint)`` or ``turn.unavailable(hint)``; nothing when nothing
        is known.
        """
        return Permit(self, lane)

    def due(self, lane: Lane) -> float:
        """When a request that came now would go at the earliest, in the loop's time: not before what is known by now."""
        now, rate = anyio.current_time(), self.tempo.rate
        if rate is None:
            return max(now, self.tempo.resume_at)
        mine = len(self._lines[lane])
        others = sum(map(len, self._lines.values())) - mine
        return max(now, self.tempo.ready_at) + (mine + min(mine, others)) / rate

    def outlook(self) -> RateLimit:
        """What holds requests back now."""
        until = self.tempo.resume_at
        return RateLimit(rate=self.tempo.rate, paused_until=until if until > anyio.current_time() else None)

    async def begin(self, turn: Permit) -> None:
        """For ``Permit``: returns when it is under way. Cancelled, it gives its turn up."""
        now = anyio.current_time()
        if self._next() is None and self.tempo.lets_go(now, self.under_way):
            self._let_go(turn, now, waited=False)
            return
        self._lines[turn.lane].append(turn)
        try:
            while not turn.is_under_way:
                await self._wait(turn)
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            self._withdraw(turn)
            raise

    def end(self, turn: Permit) -> None:
        """For ``Permit``: it is under way no more."""
        if turn.is_under_way:
            turn.is_under_way = False
            self.under_way -= 1
            if self._next() is not None:
                self._serve(anyio.current_time())

    async def _wait(self, turn: Permit) -> None:
        """One of those that wait, whichever, sees to the time; the others sleep until they are called."""
        turn.call = anyio.Event()
        if self._timekeeper not in (None, turn):
            await turn.call.wait()
            return
        self._timekeeper = turn
        # While too many are under way, whoever ends calls the next one.
        self._alarm = self.tempo.ready_at if self.under_way < self.tempo.width else float("inf")
        with anyio.CancelScope(deadline=self._alarm):
            await turn.call.wait()
        self._alarm = float("inf")
        if not turn.is_under_way:
            self._serve(anyio.current_time())

    def _next(self) -> Permit | None:
        """The lanes take turns where both wait, so neither starves."""
        poll, bulk = self._lines["poll"], self._lines["bulk"]
        if poll and (self._last == "bulk" or not bulk):
            return poll[0]
        return bulk[0] if bulk else None

    def _serve(self, now: float) -> None:
        while (turn := self._next()) is not None and self.tempo.lets_go(now, self.under_way):
            self._lines[turn.lane].popleft()
            self._let_go(turn, now, waited=True)
            turn.call.set()
        if turn is not None and self.under_way < self.tempo.width and self._alarm > self.tempo.ready_at:
            (self._timekeeper or turn).call.set()

    def _let_go(self, turn: Permit, now: float, *, waited: bool) -> None:
        self.tempo.go(now, waited=waited)
        self.under_way += 1
        self._last = turn.lane
        turn.is_under_way = True
        turn.generation = self.tempo.generation
        self._relieve(turn)

    def _withdraw(self, turn: Permit) -> None:
        now = anyio.current_time()
        if turn.is_under_way:
            self.tempo.take_back(now)
            turn.is_under_way = False
            self.under_way -= 1
        else:
            self._lines[turn.lane].remove(turn)
        self._relieve(turn)
        self._serve(now)

    def _relieve(self, turn: Permit) -> None:
        if self._timekeeper is turn:
            self._timekeeper, self._alarm = None, float("inf")


class Permit:
    """One exchange's turn. What is said first of its outcome counts, and ends it."""

    __slots__ = ("_governor", "call", "generation", "is_under_way", "lane")

    call: anyio.Event

    def __init__(self, governor: RateLimiter, lane: Lane) -> None:
        self._governor = governor
        self.lane = lane
        self.generation = 0
        self.is_under_way = False

    async def __aenter__(self) -> Self:
        await self._governor.begin(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._governor.end(self)

    def observe(self, response: Response) -> None:
        """Report the response to the rate limiter: a 429, a 503, or any other, which was accepted."""
        if response.status_code not in (429, 503):
            self.accepted()
            return
        error = response.refusal()
        if isinstance(error, RateLimitedError):
            self.refused(error.retry_after, is_quota=error.is_quota)
        else:
            self.unavailable(error.retry_after)

    def accepted(self) -> None:
        """It was let through, whatever else the answer says."""
        if self.is_under_way:
            self._governor.tempo.accept(anyio.current_time(), self.generation, self._governor.under_way)
            self._governor.end(self)

    def refused(self, hint: float | None, *, is_quota: bool = False) -> None:
        """429, and how many seconds from now to stay away. A quota is about unfinished jobs, not about requests a second."""
        if is_quota:
            self.accepted()
        elif self.is_under_way:
            self._governor.tempo.refuse(anyio.current_time(), self.generation, hint)
            self._governor.end(self)

    def unavailable(self, hint: float | None) -> None:
        """503. Without a ``hint`` it says nothing to the others."""
        if self.is_under_way:
            if hint is not None:
                self._governor.tempo.pause(anyio.current_time(), self.generation, hint)
            self._governor.end(self)
