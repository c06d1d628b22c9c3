"""The log of sfjobs: requests, changes of jobs, errors, and warnings about connections left open."""

from __future__ import annotations

import gc
import logging
import os
import re
import subprocess
import sys
import warnings

import anyio
import httpx
import pytest

import sfjobs
from tests.support.fake_platform import KEY, URL, FakePlatform, refusal
from tests.support.paths import ROOT

PROGRAM = "Vac | 0\nMeasureFock() | 0\n"


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="sfjobs")
    return caplog


def lines(log: pytest.LogCaptureFixture, level: str) -> list[str]:
    return [record.getMessage() for record in log.records if (record.name, record.levelname) == ("sfjobs", level)]


async def unreachable(request: httpx.Request) -> httpx.Response | None:
    if request.url.path == "/jobs":
        raise httpx.ConnectError("no route")
    return None


# -- requests ------------------------------------------------------------------------------------------------------------


async def test_each_request_is_one_line(log: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform(latency=0.25)
    async with platform.connection() as connection:
        job = await connection.create_job("X8_01", PROGRAM)
        await connection.get_job(job.id)
    requests = lines(log, "DEBUG")
    assert requests[1:] == ["POST /jobs 201 250 ms, attempt 1", f"GET /jobs/{job.id} 200 250 ms, attempt 1"]
    assert re.fullmatch(r"POST /auth/\S+/token 200 250 ms, attempt 1", requests[0])
    assert len(requests) == len(platform.requests)


async def test_the_line_of_a_download_counts_its_whole_time(log: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform(latency=0.25)
    added = platform.add(status="complete")
    async with platform.connection() as connection:
        await connection.get_job_result(added.id)
    assert lines(log, "DEBUG")[-1] == f"GET /jobs/{added.id}/result 200 250 ms, attempt 1"


async def test_the_line_of_a_list_holds_no_ids(log: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()
    added = platform.add()
    async with platform.connection() as connection:
        assert [job.id async for job in connection.list_jobs(ids=[added.id])] == [added.id]
    assert lines(log, "DEBUG")[-1] == "GET /jobs 200 0 ms, attempt 1"


async def test_a_request_without_a_response_has_a_line_for_each_attempt(log: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()
    platform.trouble = unreachable
    async with platform.connection(retries=3) as connection:
        with pytest.raises(sfjobs.TransportError):
            await connection.create_job("X8_01", PROGRAM)
    assert [line for line in lines(log, "DEBUG") if " /jobs " in line] == [
        f"POST /jobs no response 0 ms, attempt {number}" for number in (1, 2, 3)
    ]


async def test_a_retry_says_what_went_wrong_and_how_long_it_waits(log: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()
    platform.trouble = unreachable
    async with platform.connection(retries=2) as connection:
        with pytest.raises(sfjobs.TransportError):
            await connection.create_job("X8_01", PROGRAM)
    (retry,) = lines(log, "INFO")
    assert re.fullmatch(rf"attempt 1 failed, another follows in \d\.\d s: POST {URL}/jobs: .*no route.*", retry)


# -- jobs ----------------------------------------------------------------------------------------------------------------


async def test_each_change_of_a_job_is_one_line(log: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        job = await connection.create_job("X8_01", PROGRAM)
        platform.jobs[job.id].status = "queued"
        await job.refresh()
        platform.jobs[job.id].ends_at = anyio.current_time() + 10
        await job.wait()
    assert lines(log, "INFO") == [
        f"job {job.id}: submitted to X8_01, open",
        f"job {job.id}: open -> queued",
        f"job {job.id}: queued -> complete",
    ]


async def test_a_short_outage_during_a_wait_is_no_warning(log: pytest.LogCaptureFixture) -> None:
    await wait_through_outages(lasting=3)
    informed = lines(log, "INFO")
    assert lines(log, "WARNING") == []
    assert informed[0].startswith("a poll of 1 job(s) failed and is retried: ")
    assert re.fullmatch(r"the platform responds again, after \d s", informed[-2])


async def test_a_long_outage_during_a_wait_is_one_warning(log: pytest.LogCaptureFixture) -> None:
    await wait_through_outages(lasting=50)
    (warning,) = lines(log, "WARNING")
    assert re.match(
        r"polls have failed for \d\d s, the last one of 1 job\(s\), and are retried: GET .*no route", warning
    )


async def test_each_long_outage_is_a_warning(log: pytest.LogCaptureFixture) -> None:
    await wait_through_outages(lasting=50, outages=2)
    assert len(lines(log, "WARNING")) == 2


async def wait_through_outages(*, lasting: float, outages: int = 1) -> None:
    """Waits for a job that ends with the last spell of trouble; the outages last as long as the peace between them."""
    platform = FakePlatform()
    began = anyio.current_time()
    added = platform.add(ends_at=began + (2 * outages - 1) * lasting)

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        spell, rest = divmod(anyio.current_time() - began, 2 * lasting)
        return await unreachable(request) if spell < outages and rest < lasting else None

    platform.trouble = trouble
    async with platform.connection() as connection:
        await sfjobs.Job(added.id, "queued", connection).wait()


async def test_no_line_holds_a_secret(log: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()

    async def echoing(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/jobs":
            return refusal(503, "unavailable", f"{KEY} {request.headers['authorization']}")
        return None

    platform.trouble = echoing
    async with platform.connection(retries=2) as connection:
        with pytest.raises(sfjobs.ServerError):
            _ = [job async for job in connection.list_jobs()]
    assert "attempt 1 failed" in log.text
    assert "must-never-be-seen" not in log.text


# -- connections left open-------------------------------------------------------------------------------------------------


def collected(connections: list[sfjobs.Connection]) -> list[str]:
    """The ResourceWarnings of the last reference to these going away."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        connections.clear()
        gc.collect()
    return [str(warning.message) for warning in caught if warning.category is ResourceWarning]


async def test_an_unclosed_connection_is_warned_about_once() -> None:
    connections = [FakePlatform().connection()]
    await connections[0].ping()
    (warning,) = collected(connections)
    assert URL in warning


async def test_an_unused_connection_needs_no_close() -> None:
    assert collected([FakePlatform().connection()]) == []


async def test_a_closed_connection_is_not_warned_about() -> None:
    connections = [FakePlatform().connection()]
    await connections[0].ping()
    await connections[0].aclose()
    assert collected(connections) == []


async def test_refused_settings_leave_nothing_to_close() -> None:
    with pytest.raises(sfjobs.ConfigurationError):
        sfjobs.Connection("not a url")
    assert collected([]) == []


@pytest.mark.real_time
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_connection_that_lives_until_the_interpreter_exits_is_not_warned_about(backend: str) -> None:
    script = f"""
import anyio
from tests.support.fake_platform import FakePlatform
connection = FakePlatform().connection()
anyio.run(connection.ping, backend={backend!r})
"""
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
