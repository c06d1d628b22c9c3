"""
When no poll is sent: the pause after each sweep, the platform's ``Retry-After``, and a backoff during an outage, of which the log
warns. ``retry_until_available`` does the same for requests that are no polls.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from .._http.retry import MAX_RETRY_AFTER_SECONDS, Retry, is_transient
from ..errors import ProtocolError, ResponseError, SFJobsError
from .types import PollInterval

logger = logging.getLogger("sfjobs")

T = TypeVar("T")

OUTAGE_WARNING_SECONDS = 10.0
"""Time without a response after which the log warns, once an outage."""

SAME_ANSWERS = 5
SAME_ANSWER_SECONDS = 120.0
"""An unreadable response ends the polls when it has come so often, for so long, and nothing else has."""

SAME_PAGE_SECONDS = 2 * 3600.0
"""The same for an HTML page, as of a proxy in front of a platform that is down."""

EARLY_POLL_FRACTION = 0.5
"""Fraction of the pause between two sweeps by which a job may be polled before it is due, together with others."""


class SameAnswers:
    """Finds out that a response which cannot be read will not change: an address or a program is wrong."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Note any other response."""
        self._reason, self._count, self._since = "", 0, float("inf")

    def lasting_error(self, error: SFJobsError, now: float) -> SFJobsError | None:
        """Note a transient error. Return the error to raise if it has come too often, else None."""
        reason = error.reason if isinstance(error, ProtocolError) else ""
        if not reason or reason != self._reason:
            self._reason, self._count, self._since = reason, 0, now
        self._count += 1
        seconds = now - self._since
        least = SAME_PAGE_SECONDS if "html" in reason.lower() else SAME_ANSWER_SECONDS
        if not isinstance(error, ProtocolError) or not reason or self._count < SAME_ANSWERS or seconds < least:
            return None
        message = (
            f"{error.message}. The same response came {self._count} times in {seconds:.0f} s\n"
            "Check that url (SFJOBS_URL) is a platform's; if it is, ask the platform's owner. The jobs go on."
        )
        lasting = ProtocolError(message, method=error.method, url=error.url, attempts=error.attempts)
        lasting.reason, lasting.is_lasting = reason, True
        return lasting


class OutageMonitor:
    """The failures of one connection's polls. No sweep begins before ``paused_until``."""

    def __init__(self, interval: PollInterval) -> None:
        self._interval = interval
        self._backoff = 0.0
        self._has_backed_off = False
        self._failing_since: float | None = None
        self._has_warned = False
        self._logged: set[object] = set()
        self._same = SameAnswers()
        self.lasting_error = self._same.lasting_error
        self.paused_until = float("-inf")

    def begin_sweep(self, now: float) -> float:
        """Return the time until which jobs may be due that this sweep polls."""
        self.paused_until = max(self.paused_until, now + self._interval.least)
        self._has_backed_off = False
        # A job that is due soon after ``now`` would have to wait until the pause is over.
        return now + EARLY_POLL_FRACTION * self._interval.least

    def end_sweep_early(self, now: float) -> None:
        """Let the next sweep begin at once, unless there is an outage."""
        if self._backoff == 0.0:
            self.paused_until = min(self.paused_until, now)

    def note_failure(self, jobs: int, error: SFJobsError, now: float) -> None:
        """A poll of so many jobs met a transient error."""
        if not self._has_backed_off:  # once a sweep, however many of its requests fail
            self._has_backed_off = True
            self._backoff = min(max(2 * self._backoff, self._interval.least), self._interval.most)
        hint = retry_hint(error)
        self.paused_until = max(self.paused_until, now + (self._backoff if hint is None else hint))
        since = self._failing_since = now if self._failing_since is None else self._failing_since
        is_new = (kind := _kind(error)) not in self._logged
        self._logged.add(kind)
        if now - since >= OUTAGE_WARNING_SECONDS and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "polls have failed for %.0f s, the last one of %d job(s), and are retried: %s", now - since, jobs, error
            )
        elif is_new:
            logger.info("a poll of %d job(s) failed and is retried: %s", jobs, error)

    def note_response(self, now: float) -> None:
        """A poll or the change feed has brought a response."""
        if self._failing_since is not None:
            logger.info("the platform responds again, after %.0f s", now - self._failing_since)
        self._backoff, self._failing_since, self._has_warned = 0.0, None, False
        self._logged.clear()
        self._same.reset()


async def retry_until_available(
    call: Callable[[], Awaitable[T]],
    note: Callable[[SFJobsError], None],
    interval: PollInterval,
) -> T:
    """
    Return what ``call`` returns; call it again after each transient error. Pauses grow from ``interval.least`` to
    ``interval.most`` seconds with full jitter, unless the platform names one. ``note`` gets each transient error; any other
    error is raised, and an unreadable response that stays the same.
    """
    same = SameAnswers()
    retry, attempts, logged = Retry(attempts=sys.maxsize, base=interval.least, ceiling=interval.most), 0, set[object]()
    while True:
        try:
            return await call()
        except SFJobsError as error:
            if not is_transient(error):
                raise
            if (lasting := same.lasting_error(error, anyio.current_time())) is not None:
                raise lasting from error
            note(error)
            attempts += 1
            pause = retry.pause(attempts, retry_hint(error)) or 0.0
            if (kind := _kind(error)) not in logged:
                logged.add(kind)
                logger.info("a request failed and is retried until it succeeds: %s", error)
        await anyio.sleep(pause)


def retry_hint(error: SFJobsError) -> float | None:
    """Return the seconds in the response's ``Retry-After``, bounded; None without one."""
    hint = error.retry_after if isinstance(error, ResponseError) else None
    return None if hint is None else min(hint, MAX_RETRY_AFTER_SECONDS)


def _kind(error: SFJobsError) -> object:
    """Errors of one kind are logged once."""
    cause = error.__cause__
    what = (error.status_code, error.code) if isinstance(error, ResponseError) else (type(cause), str(cause)[:200])
    return type(error), what
