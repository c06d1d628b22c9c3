"""
Whether and when a failed request is retried: pure functions, a frozen policy and a budget. ``transport`` drives them.

A retry repeats one request. Repeated requests because a job is not done yet are polling, in ``_tracking.poller``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ..errors import ProtocolError, RequestFailedError, ResponseError, SFJobsError, TransportError

MAX_RETRY_AFTER_SECONDS = 60.0
"""A longer ``Retry-After`` ends the retries: no caller expects one call to sleep longer."""

RETRY_BUDGET = 400
"""
Retries that a connection may make while nothing succeeds. Measured with ``create_job``: 1 000 calls at once all succeed after 2 s
and 4 s of 503; where the 503 stays, they make 1 400 requests and not 5 000. With a budget of 10, none of 32 calls survives 2 s.
"""

BUDGET_PER_SUCCESS = 0.1
"""Retries that each success adds to the budget, up to ``RETRY_BUDGET``: in the long run one retry for ten successes."""

FIRST_YEAR = 2000
"""Of a date in a header that is believed."""

_NOT_PROCESSED = frozenset({429, 503})
_MAYBE_PROCESSED = frozenset({408, 425, 500, 502, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """
    At most ``attempts`` attempts, with pauses of up to ``base`` x 2^n seconds, never more than ``ceiling``.

    The last pause is at least half of that, so that bad luck does not lose a call that a short outage would have spared: with
    five attempts and a base of half a second, every call survives an outage of 2 s. Without this rule one in ten did not.
    """

    attempts: int = 5
    base: float = 0.5
    ceiling: float = 20.0

    def pause(
        self, attempt: int, retry_after: float | None = None, *, draw: Callable[[], float] = random.random
    ) -> float | None:
        """
        Return the seconds to wait after the ``attempt``-th attempt, from 1, or None to give up. A server's ``retry_after`` is
        followed exactly. Otherwise full jitter, which spreads many clients best (Brooker, "Exponential Backoff And Jitter",
        2015).
        """
        if attempt >= self.attempts:
            return None
        if retry_after is not None:
            return retry_after if retry_after <= MAX_RETRY_AFTER_SECONDS else None
        # A float holds at most 1023 doublings.
        longest = min(self.ceiling, self.base * 2.0 ** min(attempt - 1, 1000))
        return longest * ((1.0 + draw()) / 2 if attempt == self.attempts - 1 else draw())


class RetryBudget:
    """
    The retries left to a connection. While most requests fail, it bounds the extra load on the platform. A call that succeeds
    in the end gives back its retries, so a short outage leaves no trace.
    """

    def __init__(self, size: float = RETRY_BUDGET) -> None:
        self._size = self._left = float(size)

    def spend(self) -> bool:
        """Return whether a retry was left, and use it."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def earn(self, attempts: int) -> None:
        """Note a call that succeeded after this many attempts."""
        self._left = min(self._left + (attempts - 1) + BUDGET_PER_SUCCESS, self._size)


def may_retry(error: RequestFailedError, *, idempotent: bool) -> bool:
    """
    Return whether the failed request may be sent again. ``idempotent``: sending it twice is the same as once, as for every GET,
    the cancelling PATCH, and a POST with an idempotency key that the platform is known to honour.
    """
    idempotent = idempotent or not error.sent
    if isinstance(error, TransportError):
        return idempotent and error.retryable
    if isinstance(error, ResponseError):
        return error.status_code in _NOT_PROCESSED or (
            idempotent and (error.status_code in _MAYBE_PROCESSED or _is_in_progress(error))
        )
    return False


def _is_in_progress(error: ResponseError) -> bool:
    """Whether the platform still processes an earlier attempt with the same idempotency key."""
    return error.status_code == 409 and (error.code == "idempotency-key-in-use" or error.retry_after is not None)


def is_transient(error: SFJobsError) -> bool:
    """
    Return whether a later attempt may succeed: the platform cannot be reached, is busy or fails, or an intermediary responds in
    its place, such as a proxy with an HTML page.
    """
    if isinstance(error, ResponseError) and error.status_code in _MAYBE_PROCESSED:
        return True
    return error.retryable or (isinstance(error, ProtocolError) and not error.is_lasting)


def retry_after(value: str | None, date: str | None = None, *, now: datetime | None = None) -> float | None:
    """
    Return the seconds of a ``Retry-After`` header (RFC 9110, 10.2.3), digits or an HTTP date; None for anything else. A date is
    counted from ``date``, the response's own ``Date``: this machine's clock may be hours away from the platform's.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    when = http_date(text)
    if when is None:
        return None
    return max(0.0, (when - (http_date(date) or now or datetime.now(UTC))).total_seconds())


def http_date(text: str | None) -> datetime | None:
    """Return the moment of an HTTP date, or None for anything that is none."""
    if text is None:
        return None
    try:
        when = parsedate_to_datetime(text.strip())
        # A device without a clock counts from 1970 or 1980: its dates say nothing.
        return None if when.year < FIRST_YEAR else when.replace(tzinfo=when.tzinfo or UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
