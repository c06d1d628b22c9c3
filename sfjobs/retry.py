"""
May this request be sent again, and when? Two pure functions and a frozen policy; ``transport`` drives them.

Retrying is about one request. Asking again because a job is not done yet is polling, and lives in ``poller``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .errors import ProtocolError, RequestFailedError, ResponseError, SFJobsError, TransportError

LONGEST_HINT = 60.0
"""Seconds. A ``Retry-After`` beyond this ends the retrying: nobody expects a single call to sleep longer by itself."""

_NOTHING_WAS_DONE = frozenset({429, 503})
_SOMETHING_MAY_HAVE_BEEN_DONE = frozenset({408, 425, 500, 502, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """At most ``attempts`` tries, pausing up to ``base`` x 2^n seconds between them, never more than ``ceiling``."""

    attempts: int = 5
    base: float = 0.5
    ceiling: float = 20.0

    def pause(
        self, attempt: int, hint: float | None = None, *, draw: Callable[[], float] = random.random
    ) -> float | None:
        """
        Seconds to wait after the ``attempt``-th try (from 1), or None to give up. A server's ``hint`` is obeyed as it is;
        otherwise full jitter, which spreads a crowd best (Brooker, "Exponential Backoff And Jitter", 2015).
        """
        if attempt >= self.attempts:
            return None
        if hint is not None:
            return hint if hint <= LONGEST_HINT else None
        # A float has no room for more than 1023 doublings.
        return draw() * min(self.ceiling, self.base * 2.0 ** min(attempt - 1, 1000))


def may_repeat(error: RequestFailedError, *, harmless: bool) -> bool:
    """
    Whether the failed request may be sent again. ``harmless`` says that doing it twice is the same as once: every GET, the
    cancelling PATCH, and a POST whose idempotency key the platform is known to honour.
    """
    harmless = harmless or not error.sent
    if isinstance(error, TransportError):
        return harmless
    if isinstance(error, ResponseError):
        return error.status_code in _NOTHING_WAS_DONE or (
            harmless and (error.status_code in _SOMETHING_MAY_HAVE_BEEN_DONE or _is_being_done(error))
        )
    return False


def _is_being_done(error: ResponseError) -> bool:
    """Whether the platform still works on an earlier try with the same idempotency key, and will have an answer soon."""
    return error.status_code == 409 and (error.code == "idempotency-key-in-use" or error.retry_after is not None)


def is_weather(error: SFJobsError) -> bool:
    """
    Whether waiting may help: the platform is away, busy or in trouble, or something in between answers in its place, as a
    proxy's page does.
    """
    return error.retryable or isinstance(error, ProtocolError)


def retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds asked for by a ``Retry-After`` header (RFC 9110, 10.2.3): digits or an HTTP date; anything else is None."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
