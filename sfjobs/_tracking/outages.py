"""
How long the poller leaves the platform alone: a pause after each sweep, what the platform has asked for, and a backoff while
nothing is answered. And when somebody must be told that it stays away. ``retry_until_available`` is the same for what is no
question of the poller's, and must not fail because of weather either.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from .._http.retry import MAX_RETRY_AFTER_SECONDS, Retry, is_transient
from ..errors import ResponseError, SFJobsError
from .types import PollInterval

logger = logging.getLogger("sfjobs")

T = TypeVar("T")

WORRY = 10.0
"""Seconds without an answer after which the log warns, once until there is one."""


class OutageMonitor:
    """The state of affairs between one connection and its platform. Nothing is asked before ``resting_until``."""

    def __init__(self, interval: PollInterval) -> None:
        self._interval = interval
        self._backoff = 0.0
        self._has_backed_off = False
        self._failing_since: float | None = None
        self._has_warned = False
        self._told: set[object] = set()
        self.resting_until = float("-inf")

    def begin_sweep(self, now: float) -> None:
        self.resting_until = max(self.resting_until, now + self._interval.least)
        self._has_backed_off = False

    def break_off_sweep(self, now: float) -> None:
        """Whoever goes on with what a sweep has left over need not rest first, unless there is a reason to."""
        if self._backoff == 0.0:
            self.resting_until = min(self.resting_until, now)

    def worsen(self, jobs: int, error: SFJobsError, now: float) -> None:
        """A question about so many jobs was not answered."""
        if not self._has_backed_off:  # once a sweep, however many of its requests fail
            self._has_backed_off = True
            self._backoff = min(max(2 * self._backoff, self._interval.least), self._interval.most)
        hint = _hint(error)
        self.resting_until = max(self.resting_until, now + (self._backoff if hint is None else hint))
        since = self._failing_since = now if self._failing_since is None else self._failing_since
        is_new = (kind := _kind(error)) not in self._told
        self._told.add(kind)
        if now - since >= WORRY and not self._has_warned:
            self._has_warned = True
            logger.warning("the platform has not said for %.0f s how %d jobs stand: %s", now - since, jobs, error)
        elif is_new:
            logger.info("asking about %d jobs failed, and is tried until it is answered: %s", jobs, error)

    def clear_up(self, now: float) -> None:
        """The platform has answered."""
        if self._failing_since is not None:
            logger.info("the platform answers again, after %.0f s", now - self._failing_since)
        self._backoff, self._failing_since, self._has_warned = 0.0, None, False
        self._told.clear()


async def retry_until_available(
    call: Callable[[], Awaitable[T]],
    note: Callable[[SFJobsError], None],
    interval: PollInterval,
    *,
    draw: Callable[[], float] = random.random,
) -> T:
    """
    What ``call`` returns, called again for as long as there is weather: after ``interval.least`` seconds at first and
    ``interval.most`` in the end, with full jitter, or when the platform says. ``note`` hears of each error that is waited out;
    any other is raised.
    """
    retry, tries, told = Retry(attempts=sys.maxsize, base=interval.least, ceiling=interval.most), 0, set[object]()
    while True:
        try:
            return await call()
        except SFJobsError as error:
            if not is_transient(error):
                raise
            note(error)
            tries += 1
            pause = retry.pause(tries, _hint(error), draw=draw) or 0.0
            if (kind := _kind(error)) not in told:
                told.add(kind)
                logger.info("tried until it comes through: %s", error)
        await anyio.sleep(pause)


def _hint(error: SFJobsError) -> float | None:
    hint = error.retry_after if isinstance(error, ResponseError) else None
    return None if hint is None else min(hint, MAX_RETRY_AFTER_SECONDS)


def _kind(error: SFJobsError) -> object:
    """The same for what need not be told twice."""
    cause = error.__cause__
    what = (error.status_code, error.code) if isinstance(error, ResponseError) else (type(cause), str(cause)[:200])
    return type(error), what
