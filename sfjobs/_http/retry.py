"""
May this request be sent again, and when? Pure functions, a frozen policy and a count of what is left to be repeated;
``transport`` drives them.

Retrying is about one request. Asking again because a job is not done yet is polling, and lives in ``poller``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ..errors import ProtocolError, RequestFailedError, ResponseError, SFJobsError, TransportError

LONGEST_HINT = 60.0
"""Seconds. A ``Retry-After`` beyond this ends the retrying: nobody expects a single call to sleep longer by itself."""

BUDGET = 400
"""
Tries that a connection may repeat while nothing succeeds. Measured with ``create_job``: all of 1 000 calls at once come through
2 and 4 s of 503; where it stays, they make 1 400 requests and not 5 000. With 10 tries, none of 32 calls comes through 2 s.
"""

EARNED = 0.1
"""Tries that each success adds to what is left, up to ``BUDGET``: in the long run one repeated for ten that succeed."""

_NOTHING_WAS_DONE = frozenset({429, 503})
_SOMETHING_MAY_HAVE_BEEN_DONE = frozenset({408, 425, 500, 502, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """
    At most ``attempts`` tries, pausing up to ``base`` x 2^n seconds between them, never more than ``ceiling``. The last pause is
    at least half of that, so that an unlucky draw does not lose what a short outage would have spared: with five tries from
    half a second on, every call outlasts 2 s. Without it one in ten did not.
    """

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
        longest = min(self.ceiling, self.base * 2.0 ** min(attempt - 1, 1000))
        return longest * ((1.0 + draw()) / 2 if attempt == self.attempts - 1 else draw())


class RetryBudget:
    """
    What a connection may repeat when most of what it sends fails: a platform in trouble is not asked five times as much as one
    that is well. A call that comes through in the end gives back what it took, so an outage that passes leaves no trace.
    """

    def __init__(self, size: float = BUDGET) -> None:
        self._size = self._left = float(size)

    def spend(self) -> bool:
        """Takes one more try, if one is left."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def earn(self, tries: int) -> None:
        """A call has come through with so many."""
        self._left = min(self._left + (tries - 1) + EARNED, self._size)


def may_repeat(error: RequestFailedError, *, idempotent: bool) -> bool:
    """
    Whether the failed request may be sent again. ``idempotent`` says that doing it twice is the same as once: every GET, the
    cancelling PATCH, and a POST whose idempotency key the platform is known to honour.
    """
    idempotent = idempotent or not error.sent
    if isinstance(error, TransportError):
        return idempotent
    if isinstance(error, ResponseError):
        return error.status_code in _NOTHING_WAS_DONE or (
            idempotent and (error.status_code in _SOMETHING_MAY_HAVE_BEEN_DONE or _is_being_done(error))
        )
    return False


def _is_being_done(error: ResponseError) -> bool:
    """Whether the platform still works on an earlier try with the same idempotency key, and will have an answer soon."""
    return error.status_code == 409 and (error.code == "idempotency-key-in-use" or error.retry_after is not None)


def is_transient(error: SFJobsError) -> bool:
    """
    Whether waiting may help: the platform is away, busy or in trouble, or something in between answers in its place, as a
    proxy's page does.
    """
    if isinstance(error, ResponseError) and error.status_code in _SOMETHING_MAY_HAVE_BEEN_DONE:
        return True
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
