"""
Waiting for the rate limit. Nothing waits until the platform answers 429. From then on all requests of a connection are evenly
spaced, no faster than the platform has shown to accept. Each request needs a ``Permit`` of the one ``RateLimiter``, which
waits inside the tasks of its callers. ``rate_model`` has the rules, ``retry`` decides how often a request is sent, and ``window``
bounds the unfinished jobs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, get_args

import anyio
import anyio.lowlevel

from ..errors import RateLimitedError
from .messages import Lane, Response
from .rate_model import RateModel

_LANES: Final[tuple[Lane, ...]] = get_args(Lane)
_ORDER_AFTER: Final = {lane: (*_LANES[i + 1 :], *_LANES[: i + 1]) for i, lane in enumerate(_LANES)}


_MAX_POLL_DELAY_SECONDS: Final = 1.0
"""How long slow requests of other lanes, which fill the width of the slow start, may delay the next poll."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """The limit in force: ``rate`` in 1/s, ``paused_until`` in the event loop's time. None means no limit."""

    rate: float | None = None
    paused_until: float | None = None


class RateLimiter:
    """The permits of one connection. Belongs to one event loop, as its connection does."""

    def __init__(self) -> None:
        self.model = RateModel()
        self.in_flight = 0
        """Permits in use whose outcome is not known yet."""
        self._polls_in_flight = 0
        self._granted_at = float("-inf")
        self._queues: dict[Lane, deque[Permit]] = {lane: deque() for lane in _LANES}
        self._last_lane: Lane = "bulk"

    def permit(self, lane: Lane) -> Permit:
        """
        Return the permit for one request. ``async with`` waits until the request may go out. Inside the block, report the
        outcome as soon as it is known, by ``Permit.observe``; without a response, report nothing.
        """
        return Permit(self, lane)

    def token_permit(self) -> Permit:
        """
        Return the permit for a request of an access token. It waits only for the end of a pause, since requests that hold a
        permit may wait for the token.
        """
        return Permit(self, "query", is_for_token=True)

    def earliest_start(self, lane: Lane) -> float:
        """Return the earliest time at which a new request would go out, in the event loop's time."""
        now, rate = anyio.current_time(), self.model.rate
        if rate is None:
            return max(now, self.model.resume_at)
        same_lane = len(self._queues[lane])
        earlier = sum(min(len(queue), same_lane) for queue in self._queues.values())
        return max(now, self.model.ready_at) + earlier / rate

    def current_limit(self) -> RateLimit:
        until = self.model.resume_at
        return RateLimit(rate=self.model.rate, paused_until=until if until > anyio.current_time() else None)

    async def acquire(self, permit: Permit) -> None:
        """Wait until the request may go out. Called by ``Permit``; when cancelled, the permit goes to the next request."""
        now = anyio.current_time()
        if permit.is_for_token:
            while now < self.model.resume_at:
                await anyio.sleep_until(self.model.resume_at)
                now = anyio.current_time()
            # It does not delay the next request: where tokens have a limit, it is mostly another one.
            self.in_flight += 1
            permit.is_in_flight, permit.generation = True, self.model.generation
            return
        if self._next() is None and self.model.allows(now, self.in_flight):
            self._grant(permit, now, waited=False)
            return
        self._queues[permit.lane].append(permit)
        try:
            while not permit.is_in_flight:
                permit.woken = anyio.Event()
                with anyio.CancelScope(deadline=self._timer_of(permit)):
                    await permit.woken.wait()
                if not permit.is_in_flight:
                    self._grant_waiting(anyio.current_time())
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            self._withdraw(permit)
            raise

    def release(self, permit: Permit) -> None:
        """Note that the request is in flight no more. Called by ``Permit``; idempotent."""
        if permit.is_in_flight:
            permit.is_in_flight = False
            self.in_flight -= 1
            self._polls_in_flight -= permit.lane == "poll"
            if self._next() is not None:
                self._grant_waiting(anyio.current_time())

    def _next(self) -> Permit | None:
        """The lanes with waiters take turns, so that none starves."""
        for lane in _ORDER_AFTER[self._last_lane]:
            if queue := self._queues[lane]:
                return queue[0]
        return None

    def _next_poll(self) -> Permit | None:
        """
        Return the next poll if only slow requests of other lanes hold it up: the slow start allows no more in flight. A wait must
        not depend on them.
        """
        polls = self._queues["poll"]
        is_held_up = polls and not self._polls_in_flight and self.in_flight >= self.model.max_in_flight > 1
        return polls[0] if is_held_up else None

    def _timer_of(self, permit: Permit) -> float:
        """Only the next waiter runs a timer. While too many requests are in flight, the one that ends first wakes it."""
        if self._next_poll() is permit:
            return max(self._granted_at + _MAX_POLL_DELAY_SECONDS, self.model.ready_at)
        runs_timer = self._next() is permit and self.in_flight < self.model.max_in_flight
        return self.model.ready_at if runs_timer else float("inf")

    def _grant_waiting(self, now: float) -> None:
        while (permit := self._next()) is not None and self.model.allows(now, self.in_flight):
            self._queues[permit.lane].popleft()
            self._grant(permit, now, waited=True)
            permit.woken.set()
        poll = self._next_poll()
        if poll is not None:
            if now >= self._timer_of(poll) - 1e-6:
                self._queues["poll"].popleft()
                self._grant(poll, now, waited=True)
            poll.woken.set()  # also so that it sets its timer
        if permit is not None and self.in_flight < self.model.max_in_flight:
            permit.woken.set()  # so that it sets its timer

    def _grant(self, permit: Permit, now: float, *, waited: bool) -> None:
        self.model.record_sent(now, waited=waited)
        self._granted_at = now
        self.in_flight += 1
        self._polls_in_flight += permit.lane == "poll"
        self._last_lane = permit.lane
        permit.is_in_flight = True
        permit.generation = self.model.generation

    def _withdraw(self, permit: Permit) -> None:
        now = anyio.current_time()
        if permit.is_in_flight:
            self.model.undo_sent(now)
            self.release(permit)
        else:
            self._queues[permit.lane].remove(permit)
            self._grant_waiting(now)


class Permit:
    """The permission to send one request. The first outcome that is reported counts, and ends it."""

    __slots__ = ("_limiter", "generation", "is_for_token", "is_in_flight", "lane", "woken")

    woken: anyio.Event

    def __init__(self, limiter: RateLimiter, lane: Lane, *, is_for_token: bool = False) -> None:
        self._limiter = limiter
        self.lane = lane
        self.is_for_token = is_for_token
        self.generation = 0
        self.is_in_flight = False

    async def __aenter__(self) -> Self:
        await self._limiter.acquire(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limiter.release(self)

    def observe(self, response: Response) -> None:
        """Report the response to the rate limiter: 429, 503, or any other, which means that the request was accepted."""
        if response.status_code not in (429, 503):
            self.accepted()
            return
        error = response.error()
        if isinstance(error, RateLimitedError):
            self.refused(error.retry_after, is_quota=error.is_quota)
        else:
            self.unavailable(error.retry_after)

    def accepted(self) -> None:
        if self.is_in_flight:
            self._limiter.model.record_accepted(anyio.current_time(), self.generation, self._limiter.in_flight)
            self._limiter.release(self)

    def refused(self, retry_after: float | None, *, is_quota: bool = False) -> None:
        """Report a 429. A quota limits unfinished jobs, not requests a second."""
        if is_quota:
            self.accepted()
        elif self.is_in_flight:
            self._limiter.model.record_refused(anyio.current_time(), self.generation, retry_after)
            self._limiter.release(self)

    def unavailable(self, retry_after: float | None) -> None:
        """Report a 503. Without ``retry_after`` it concerns this request only."""
        if self.is_in_flight:
            if retry_after is not None:
                self._limiter.model.record_unavailable(anyio.current_time(), self.generation, retry_after)
            self._limiter.release(self)
