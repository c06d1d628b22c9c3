"""The platform's clock: this machine's may be hours away from it, and nothing changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import httpx
import pytest

from sfjobs._http.clock import PlatformClock
from sfjobs._http.messages import Request, Response
from sfjobs._http.retry import retry_after
from tests.support.fake_platform import FakePlatform, refusal

SKEWS = [timedelta(hours=-5), timedelta(0), timedelta(hours=5)]
NO_DATES = [None, "", "soon", "Tue, 99 Jan 2026 15:00:00 GMT", "Thu, 01 Jan 1970 00:00:07 GMT", "\x00", "2026-01-27"]


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


def words(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def response(**headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(request=Request(method="GET", path="/jobs"), url="u", status_code=200, headers=names)


@pytest.mark.parametrize("skew", SKEWS, ids=str)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_retry_after_date_is_counted_on_the_platforms_clock(
    platform: FakePlatform, skew: timedelta, status: int
) -> None:
    """Five hours ahead a pause of 5 s was five hours and ended the call; five hours behind it was no pause."""
    refused: list[float] = []

    async def refuse(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/jobs" or refused:
            return None
        refused.append(anyio.current_time())
        now = datetime.now(UTC) + skew
        headers = {"Date": words(now), "Retry-After": words(now + timedelta(seconds=5))}
        return refusal(status, "no", "not now", **headers)

    platform.trouble = refuse
    async with platform.connection() as connection:
        assert [job async for job in connection.list_jobs()] == []
    assert platform.times_of("/jobs")[1] - refused[0] == pytest.approx(5, abs=1.5)


@pytest.mark.parametrize("skew", SKEWS, ids=str)
@pytest.mark.parametrize("date", NO_DATES, ids=str)
async def test_a_refusal_without_a_usable_date_is_read_by_the_dates_before_it(
    platform: FakePlatform, skew: timedelta, date: str | None
) -> None:
    async def answer(request: httpx.Request) -> httpx.Response | None:
        now = datetime.now(UTC) + skew
        if request.url.path == "/jobs" and platform.count("GET", "/jobs") == 2:
            dated = {} if date is None else {"Date": date}
            return refusal(503, "no", "not now", **{"Retry-After": words(now + timedelta(seconds=5)), **dated})
        answer = platform._answer(request)
        answer.headers["Date"] = words(now)
        return answer

    platform.trouble = answer
    async with platform.connection() as connection:
        for _ in range(2):
            assert [job async for job in connection.list_jobs()] == []
    _, refused, again = platform.times_of("/jobs")
    assert again - refused == pytest.approx(5, abs=1.5)


@pytest.mark.parametrize("skew", SKEWS, ids=str)
async def test_a_token_lives_as_long_on_any_clock(platform: FakePlatform, skew: timedelta) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        answer = platform._answer(request)
        answer.headers["Date"] = words(datetime.now(UTC) + skew)
        return answer

    platform.trouble, platform.token_lifetime = answer, 100
    async with platform.connection() as connection:
        for _ in range(10):  # each token is renewed after 90 s
            await connection.ping()
            await anyio.sleep(30)
    assert platform.token_requests == 4


@pytest.mark.parametrize("skew", SKEWS, ids=str)
def test_the_clock_is_as_far_ahead_as_the_latest_date(skew: timedelta) -> None:
    clock = PlatformClock()
    assert clock.offset is None
    clock.dated(response(date=words(datetime.now(UTC) + timedelta(days=1))))
    clock.dated(response(date=words(datetime.now(UTC) + skew)))
    assert clock.offset == pytest.approx(skew.total_seconds(), abs=1)
    assert clock.now() == pytest.approx((datetime.now(UTC) + skew).timestamp(), abs=1)


@pytest.mark.parametrize("date", [*NO_DATES, "Fri, 31 Dec 9999 23:59:59 GMT"], ids=str)
def test_what_is_no_date_changes_no_clock(date: str | None) -> None:
    clock, fields = PlatformClock(), {} if date is None else {"date": date}
    assert clock.dated(response(retry_after="7", **fields)).headers == {"retry-after": "7", **fields}
    assert clock.offset is None
    clock.dated(response(date=words(datetime.now(UTC) + timedelta(hours=5))))
    clock.dated(response(**fields))
    assert clock.offset == pytest.approx(5 * 3600, abs=1)


@pytest.mark.parametrize("date", NO_DATES, ids=str)
def test_a_retry_after_date_without_any_date_counts_on_this_machine(date: str | None) -> None:
    assert retry_after(words(datetime.now(UTC) + timedelta(seconds=9)), date) == pytest.approx(9, abs=1.5)
