"""
How long the poller leaves the platform alone: a pause after each sweep, what the platform has asked for, and a backoff while
nothing is answered. And when somebody must be told that it stays away.
"""

from __future__ import annotations

import logging

from .errors import ResponseError, SFJobsError
from .retry import LONGEST_HINT
from .tickets import Cadence

logger = logging.getLogger("sfjobs")

WORRY = 10.0
"""Seconds without an answer after which the log warns, once until there is one."""


class Weather:
    """The state of affairs between one connection and its platform. Nothing is asked before ``resting_until``."""

    def __init__(self, cadence: Cadence) -> None:
        self._cadence = cadence
        self._backoff = 0.0
        self._has_backed_off = False
        self._failing_since: float | None = None
        self._has_warned = False
        self.resting_until = float("-inf")

    def begin_sweep(self, now: float) -> None:
        self.resting_until = max(self.resting_until, now + self._cadence.least)
        self._has_backed_off = False

    def break_off_sweep(self, now: float) -> None:
        """Whoever goes on with what a sweep has left over need not rest first, unless there is a reason to."""
        if self._backoff == 0.0:
            self.resting_until = min(self.resting_until, now)

    def worsen(self, jobs: int, error: SFJobsError, now: float) -> None:
        """A question about so many jobs was not answered."""
        hint = error.retry_after if isinstance(error, ResponseError) else None
        if not self._has_backed_off:  # once a sweep, however many of its requests fail
            self._has_backed_off = True
            self._backoff = min(max(2 * self._backoff, self._cadence.least), self._cadence.most)
        pause = self._backoff if hint is None else min(hint, LONGEST_HINT)
        self.resting_until = max(self.resting_until, now + pause)
        since = self._failing_since = now if self._failing_since is None else self._failing_since
        if now - since >= WORRY and not self._has_warned:
            self._has_warned = True
            logger.warning("the platform has not said for %.0f s how %d jobs stand: %s", now - since, jobs, error)
        else:
            logger.info("asking about %d jobs failed, trying again: %s", jobs, error)

    def clear_up(self, now: float) -> None:
        """The platform has answered."""
        if self._failing_since is not None:
            logger.info("the platform answers again, after %.0f s", now - self._failing_since)
        self._backoff, self._failing_since, self._has_warned = 0.0, None, False
