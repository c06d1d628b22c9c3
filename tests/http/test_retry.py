"""Which requests are retried, and after which pause: tables, no I/O."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from sfjobs._http.retry import MAX_RETRY_AFTER_SECONDS, Retry, may_retry, retry_after
from sfjobs.errors import (
    AuthenticationError,
    ProtocolError,
    RateLimitedError,
    RequestFailedError,
    RequestTimeoutError,
    ResponseError,
    ServerError,
    SubmissionUnknownError,
    TransportError,
)

ALWAYS, IF_IDEMPOTENT, NEVER = "always", "only idempotent", "never"


def answered(status: int) -> ResponseError:
    return ResponseError("no", status_code=status)


def being_done(**words: Any) -> ResponseError:
    return ResponseError("wait", status_code=409, **words)


def of_the_token(error: RequestFailedError) -> RequestFailedError:
    """The error of a token request: the request itself was not sent."""
    error.sent = False
    return error


VERDICTS: list[tuple[RequestFailedError, str]] = [
    (TransportError("refused", sent=False), ALWAYS),
    (RequestTimeoutError("could not be reached", sent=False), ALWAYS),
    (TransportError("reset", sent=True), IF_IDEMPOTENT),
    (RequestTimeoutError("silent", sent=True), IF_IDEMPOTENT),
    (answered(429), ALWAYS),
    (answered(503), ALWAYS),
    (being_done(code="idempotency-key-in-use"), IF_IDEMPOTENT),
    (being_done(retry_after=1.0), IF_IDEMPOTENT),
    (RateLimitedError("slower", status_code=429), ALWAYS),
    (ServerError("full", status_code=503), ALWAYS),
    *[(answered(status), IF_IDEMPOTENT) for status in (408, 425, 500, 502, 504)],
    *[(answered(status), NEVER) for status in (400, 401, 402, 403, 404, 405, 406, 409, 410, 412, 413, 415, 418, 422)],
    *[(answered(status), NEVER) for status in (426, 428, 431, 451, 501, 505, 507, 508, 511, 599)],
    (AuthenticationError("who?", status_code=401), NEVER),
    (ProtocolError("html"), NEVER),
    (SubmissionUnknownError("maybe"), NEVER),
    *[(of_the_token(answered(status)), ALWAYS) for status in (429, 500, 502, 503, 504)],
    *[(of_the_token(answered(status)), NEVER) for status in (400, 401, 403, 404)],
    (of_the_token(ProtocolError("html")), NEVER),
]


@pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent", "harmful"])
@pytest.mark.parametrize(("error", "verdict"), VERDICTS, ids=lambda value: repr(value)[:40])
def test_which_requests_are_retried(error: RequestFailedError, verdict: str, idempotent: bool) -> None:
    assert may_retry(error, idempotent=idempotent) is (verdict == ALWAYS or (verdict == IF_IDEMPOTENT and idempotent))


NOW = datetime(2026, 1, 27, 15, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 120\t", 120),
        ("007", 7),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30),
        (format_datetime(NOW + timedelta(hours=2), usegmt=True), 7200),
        (format_datetime(NOW - timedelta(hours=2), usegmt=True), 0),
        (format_datetime((NOW + timedelta(seconds=5)).astimezone(timezone(timedelta(hours=5)))), 5),
        ("Tuesday, 27-Jan-26 15:00:09 GMT", 9),
        ("Tue Jan 27 15:00:09 2026", 9),
    ],
)
def test_retry_after_is_read(value: str, seconds: float) -> None:
    assert retry_after(value, now=NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "-5",
        "+5",
        "1.5",
        "1e3",
        "5s",
        "5, 6",
        "0x10",
        "soon",
        "nan",
        "inf",
        "٣",
        "²",
        "\x00",
        "2026-01-27T15:00:00Z",
    ],
)
def test_an_invalid_retry_after_is_ignored(value: str | None) -> None:
    assert retry_after(value, now=NOW) is None


@pytest.mark.parametrize(
    "value",
    [
        "Tue, 99 Jan 2026 15:00:00 GMT",
        "Tue, 27 Jan 99999 15:00:00 GMT",
        "Tue, 27 Jan 2026 25:00:00 GMT",
        "Tue, 27 Jan 2026 15:00:00 +9999999999",
        "Tue, 27 Jan 2026 15:00:00 -99999999999999999999",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "9" * 100_000,
        "Tue, " * 20_000,
    ],
)
def test_a_malicious_retry_after_is_a_number_or_nothing(value: str) -> None:
    seconds = retry_after(value, now=NOW)
    assert seconds is None or 0 <= seconds < math.inf


def test_retry_after_as_a_date_counts_from_now() -> None:
    assert retry_after(format_datetime(datetime.now(UTC) - timedelta(minutes=1), usegmt=True)) == 0


def test_a_huge_retry_after_never_becomes_a_short_one() -> None:
    assert (retry_after("9" * 100) or 0) > MAX_RETRY_AFTER_SECONDS


@pytest.mark.parametrize("hint", [0.0, 0.25, 7.0, MAX_RETRY_AFTER_SECONDS])
def test_retry_after_is_followed_exactly(hint: float) -> None:
    assert Retry().pause(1, hint) == hint


@pytest.mark.parametrize("hint", [MAX_RETRY_AFTER_SECONDS + 1, 1e11, math.inf])
def test_a_retry_after_beyond_the_limit_ends_the_retries(hint: float) -> None:
    assert Retry().pause(1, hint) is None


@pytest.mark.parametrize(("attempts", "attempt"), [(1, 1), (5, 5), (5, 6), (2, 100)])
@pytest.mark.parametrize("hint", [None, 1.0])
def test_no_pause_follows_the_last_attempt(attempts: int, attempt: int, hint: float | None) -> None:
    assert Retry(attempts=attempts).pause(attempt, hint) is None


@pytest.mark.parametrize(
    ("attempt", "most"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (6, 16.0), (7, 20.0), (99, 20.0)]
)
def test_a_pause_doubles_up_to_its_ceiling(attempt: int, most: float) -> None:
    assert Retry(attempts=1000).pause(attempt, draw=lambda: 1.0) == most


@pytest.mark.parametrize("attempt", range(1, 12))
def test_a_pause_may_be_zero(attempt: int) -> None:
    assert Retry(attempts=1000).pause(attempt, draw=lambda: 0.0) == 0.0


def test_pauses_stay_bounded_after_thousands_of_attempts() -> None:
    assert Retry(attempts=10_000).pause(9_999, draw=lambda: 1.0) == 20.0


def test_jitter_spreads_many_clients() -> None:
    pauses = {Retry().pause(3) for _ in range(50)}
    assert len(pauses) > 40
