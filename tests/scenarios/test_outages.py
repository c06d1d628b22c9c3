"""Waits during outages, their messages, and the retries of a connection. In virtual time."""

from __future__ import annotations

import anyio
import httpx
import pytest
from rich.console import Console

import sfjobs
from sfjobs._http.retry import RETRY_BUDGET, Retry, RetryBudget
from sfjobs._progress.text import line
from sfjobs.cli.waiting.progress import job_line
from tests.support.fake_platform import FakePlatform, refusal

# trio warns of generators that are dropped half-way: httpx nests several and closes none of them.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object (.*Stream|_Dripping)")

PAGE = httpx.Response(200, text="<html>", headers={"content-type": "text/html"})
PROGRAM = "MeasureFock() | [0, 1]"


def out_of_reach(
    platform: FakePlatform, until: float, path: str = "/jobs", response: httpx.Response | None = None
) -> None:
    """Until this time of the loop, requests to ``path`` and below are refused or get ``response``."""

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.startswith(path) or anyio.current_time() >= until:
            return None
        if response is None:
            raise httpx.ConnectError("connection refused")
        return httpx.Response(response.status_code, content=response.content, headers=response.headers)

    platform.trouble = trouble


# -- waits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response", [None, PAGE, *(refusal(status, "trouble", "") for status in (408, 425, 429, 500, 502, 503))], ids=str
)
@pytest.mark.parametrize("what", ["the job", "its result"])
async def test_a_wait_survives_an_outage_of_an_hour(response: httpx.Response | None, what: str) -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        job = platform.add(status="complete")
        back_at = anyio.current_time() + 3600
        out_of_reach(platform, back_at, "/jobs" if what == "the job" else f"/jobs/{job.id}/result", response)
        result = await sfjobs.Job(job.id, "queued", connection)
        assert result.shots == 3
    # After an hour of 429 a connection sends one request a minute, and this takes two.
    assert back_at <= anyio.current_time() < back_at + 125
    assert len(platform.requests) < 800


async def test_results_and_iterations_of_many_jobs_survive_an_outage_of_an_hour() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        added = [platform.add(status="complete") for _ in range(40)]
        out_of_reach(platform, anyio.current_time() + 3600, response=refusal(502, "trouble", ""))
        jobs = [sfjobs.Job(one.id, "queued", connection) for one in added]
        await sfjobs.wait_all(jobs[:20])
        out_of_reach(platform, anyio.current_time() + 3600)
        assert len([job async for job in sfjobs.as_completed(jobs[20:])]) == 20
    assert all(job.has_result for job in jobs)


async def test_a_refused_key_ends_a_wait_at_once() -> None:
    platform = FakePlatform()
    out_of_reach(platform, float("inf"), response=refusal(401, "unauthenticated", "who are you?"))
    async with platform.connection() as connection:
        with pytest.raises(sfjobs.AuthenticationError):
            await sfjobs.Job(platform.add().id, "queued", connection).wait()
    assert anyio.current_time() < 1


async def test_an_invalid_result_ends_a_wait() -> None:
    platform = FakePlatform()
    platform.result = b"garbage"
    async with platform.connection() as connection:
        with pytest.raises(sfjobs.ResultCorruptError):
            await sfjobs.Job(platform.add(status="complete").id, "queued", connection).wait()


# -- messages ------------------------------------------------------------------------------------------------------------


async def test_the_last_error_is_in_why_in_the_timeout_and_in_the_progress_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform, shown = FakePlatform(), list[str]()

    class Display:
        def show(self, progress: sfjobs._progress.Progress) -> None:  # type: ignore[name-defined]
            shown.append(line(progress))

        def conclude(self, progress: sfjobs._progress.Progress) -> None:  # type: ignore[name-defined]
            pass

    monkeypatch.setattr("sfjobs._progress.live.fitting_display", Display)
    out_of_reach(platform, 100)
    async with platform.connection() as connection, anyio.create_task_group() as group:
        job = sfjobs.Job(platform.add(ends_at=150).id, "queued", connection)
        with pytest.raises(sfjobs.WaitTimeoutError, match="connection refused"):
            await sfjobs.wait_all([job], timeout=30, progress=True)
        assert "retrying after TransportError: GET" in shown[-1]
        group.start_soon(job.wait)
        await anyio.sleep(35)
        why = job.why()
        assert why.failing_for == pytest.approx(35, abs=2)
        assert " s now: TransportError: GET" in str(why)
        await anyio.sleep(70)
        assert (job.why().failing_for, job.why().last_error) == (None, None)


async def test_the_last_error_is_in_the_line_of_a_command() -> None:
    platform = FakePlatform()
    out_of_reach(platform, 100)
    console = Console(width=500)
    async with platform.connection() as connection:
        job = sfjobs.Job(platform.add(status="complete").id, "queued", connection)
        with pytest.raises(sfjobs.WaitTimeoutError):
            await job.wait(timeout=30)
        assert job_line(job, console, with_result=True).startswith(
            f"Job {job.id}: queued, retrying after TransportError: GET "
        )
        await job.wait()
        assert job_line(job, console, with_result=True) == f"Job {job.id}: complete"


async def test_why_names_the_error_of_a_missing_result() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection, anyio.create_task_group() as group:
        job = sfjobs.Job(platform.add(status="complete").id, "queued", connection)
        out_of_reach(platform, 100, f"/jobs/{job.id}/result")
        group.start_soon(job.wait)
        await anyio.sleep(60)
        assert "/result: the platform could not be reached" in str(job.why().last_error)
    assert job.why().last_error is None


async def test_why_names_the_rate_limit() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection, anyio.create_task_group() as group:
        job = sfjobs.Job(platform.add().id, "queued", connection)
        group.start_soon(job.wait)
        await anyio.sleep(1)
        assert (job.why().resting_for, job.why().rate) == (None, None)
        out_of_reach(platform, 10, response=refusal(429, "slow down", "", **{"retry-after": "40"}))
        await anyio.sleep(2)
        why = job.why()
        assert why.resting_for is not None
        assert 37 < why.resting_for < 40
        assert why.rate is not None
        assert "The platform accepts no requests for another 3" in str(why)
        group.cancel_scope.cancel()


# -- retries -----------------------------------------------------------------------------------------------------------


async def attempted(platform: FakePlatform, connection: sfjobs.Connection, calls: int) -> int:
    """Submit ``calls`` programs at once. Returns how many succeed."""
    done = 0

    async def submit() -> None:
        nonlocal done
        try:
            await connection.create_job("simulon_gaussian", PROGRAM, shots=1)
            done += 1
        except sfjobs.ServerError:
            pass

    async with anyio.create_task_group() as group:
        for _ in range(calls):
            group.start_soon(submit)
    return done


@pytest.mark.parametrize("calls", [32, 320, 1000])
async def test_concurrent_calls_survive_an_outage_of_two_seconds(calls: int) -> None:
    platform = FakePlatform(latency=0.02)
    async with platform.connection() as connection:
        out_of_reach(platform, anyio.current_time() + 2, response=refusal(503, "trouble", ""))
        assert await attempted(platform, connection, calls) == calls
    assert len(platform.jobs) == calls


async def test_a_long_outage_uses_up_the_retry_budget() -> None:
    platform = FakePlatform(latency=0.02)
    async with platform.connection() as connection:
        out_of_reach(platform, float("inf"), response=refusal(503, "trouble", ""))
        assert await attempted(platform, connection, 1000) == 0
        assert len(platform.submissions) == 1000 + RETRY_BUDGET


async def test_polls_continue_without_a_retry_budget() -> None:
    platform = FakePlatform(latency=0.02)
    async with platform.connection() as connection:
        out_of_reach(platform, 100, response=refusal(503, "trouble", ""))
        await attempted(platform, connection, 500)
        job = sfjobs.Job(platform.add(status="complete").id, "queued", connection)
        assert await job.wait() == "complete"


def test_the_budget_grows_slowly_and_a_successful_call_returns_its_retries() -> None:
    budget = RetryBudget(3)
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]
    for _ in range(9):
        budget.earn(attempts=1)
    assert not budget.spend()
    for _ in range(2):
        budget.earn(attempts=1)
    assert [budget.spend(), budget.spend()] == [True, False]
    budget.earn(attempts=4)
    budget.earn(attempts=4)
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(("attempts", "least"), [(2, 0.25), (5, 2.0), (8, 10.0)])
def test_the_last_pause_has_a_lower_bound(attempts: int, least: float) -> None:
    pauses = [Retry(attempts=attempts).pause(number, draw=lambda: 0.0) for number in range(1, attempts)]
    assert pauses == [*[0.0] * (attempts - 2), least]
