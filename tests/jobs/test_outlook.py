"""``job.why()``: why a job is not done yet, without a request."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import sync
from sfjobs.models import JobOutlook, JobStatus, in_seconds
from tests.support.fake_platform import FakeJob, FakePlatform, refusal

NOT_THERE = "11111111-1111-1111-1111-111111111111"


async def after_a_while(connection: sfjobs.Connection, job: sfjobs.Job, seconds: float) -> JobOutlook:
    """The outlook of ``job`` during a wait, ``seconds`` after its begin."""
    async with anyio.create_task_group() as group:
        group.start_soon(job.wait)
        await anyio.sleep(seconds)
        outlook = job.why()
        group.cancel_scope.cancel()
    return outlook


def failing(error: httpx.TransportError) -> FakePlatform:
    platform = FakePlatform()

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.startswith("/jobs"):
            raise error
        return None

    platform.trouble = trouble
    return platform


# -- times and places ------------------------------------------------------------------------------------------------------


async def test_a_job_without_a_waiter_has_no_next_check() -> None:
    platform = FakePlatform()
    added = platform.add()
    async with platform.connection() as connection:
        job = await connection.get_job(added.id)
        await anyio.sleep(12)
        outlook = job.why()
    assert (outlook.status, outlook.next_check, outlook.last_error) == (JobStatus.QUEUED, None, None)
    assert outlook.age == pytest.approx(12)
    assert outlook.last_check == pytest.approx(12)


async def test_a_job_that_was_never_polled_has_no_age() -> None:
    async with FakePlatform().connection() as connection:
        outlook = sfjobs.Job(NOT_THERE, "open", connection).why()
    assert outlook == JobOutlook(job_id=NOT_THERE, status=JobStatus.OPEN)


async def test_a_job_with_a_waiter_has_a_next_check() -> None:
    platform = FakePlatform()
    added = platform.add()
    async with platform.connection() as connection:
        job = sfjobs.Job(added.id, "open", connection)
        outlook = await after_a_while(connection, job, 100)
        asked = platform.times_of("/jobs")[-1] - platform.times_of("/jobs")[0]
    assert outlook.age == pytest.approx(100, abs=0.1)
    assert outlook.last_check == pytest.approx(100 - asked, abs=0.1)
    assert outlook.last_check is not None
    assert outlook.next_check is not None
    assert 8 <= outlook.last_check + outlook.next_check <= 11  # a tenth of the time it is watched


async def test_the_next_poll_is_sent_at_the_next_check() -> None:
    platform = FakePlatform()
    added = platform.add()
    async with platform.connection() as connection, anyio.create_task_group() as group:
        job = sfjobs.Job(added.id, "open", connection)
        group.start_soon(job.wait)
        await anyio.sleep(50)
        before, now, said = len(platform.polls), anyio.current_time(), job.why().next_check
        assert said is not None
        await anyio.sleep(said + 0.02)
        assert len(platform.polls) == before + 1
        assert platform.times_of("/jobs")[-1] == pytest.approx(now + said, abs=0.02)
        group.cancel_scope.cancel()


async def test_a_poll_under_way_is_the_next_check() -> None:
    platform = FakePlatform(latency=5)
    added = platform.add()
    async with platform.connection() as connection:
        outlook = await after_a_while(connection, sfjobs.Job(added.id, "open", connection), 7)
    assert outlook.next_check == 0


async def test_the_queue_position_comes_from_the_platform() -> None:
    platform = FakePlatform()
    added = platform.add(meta={"queue_position": 3})
    async with platform.connection() as connection:
        assert (await connection.get_job(added.id)).why().queue_position == 3


@pytest.mark.parametrize("position", ["3", 3.5, True, None, [3]])
async def test_a_queue_position_that_is_not_a_number_is_none(position: object) -> None:
    platform = FakePlatform()
    added = platform.add(meta={"queue_position": position})
    async with platform.connection() as connection:
        assert (await connection.get_job(added.id)).why().queue_position is None


async def test_two_handles_of_one_job_share_its_next_check() -> None:
    platform = FakePlatform()
    added = platform.add()
    async with platform.connection() as connection, anyio.create_task_group() as group:
        waited, idle = (sfjobs.Job(added.id, "open", connection) for _ in range(2))
        group.start_soon(waited.wait)
        await anyio.sleep(10)
        assert idle.why().next_check == waited.why().next_check is not None
        group.cancel_scope.cancel()


def test_where_no_loop_runs_times_are_left_out() -> None:
    platform = FakePlatform()
    added = platform.add(meta={"queue_position": 1})

    async def get() -> sfjobs.Job:
        async with platform.connection() as connection:
            return await connection.get_job(added.id)

    assert anyio.run(get).why() == JobOutlook(job_id=added.id, status=JobStatus.QUEUED, queue_position=1)


# -- errors --------------------------------------------------------------------------------------------------------------


async def test_a_platform_that_cannot_be_reached_is_the_last_error_of_a_wait() -> None:
    platform = failing(httpx.ConnectError("no route"))
    async with platform.connection() as connection:
        outlook = await after_a_while(connection, sfjobs.Job(NOT_THERE, "open", connection), 5)
    assert outlook.last_error is not None
    assert outlook.last_error.startswith("TransportError: GET http://platform.test:8080/jobs")
    assert outlook.next_check is not None


async def test_the_last_error_is_kept_after_the_wait() -> None:
    platform = failing(httpx.ConnectError("no route"))
    async with platform.connection() as connection:
        job = sfjobs.Job(NOT_THERE, "open", connection)
        with pytest.raises(sfjobs.WaitTimeoutError):
            await job.wait(timeout=5)
        outlook = job.why()
    assert "no route" in str(outlook.last_error)
    assert outlook.next_check is None


async def test_the_next_response_clears_the_last_error() -> None:
    platform = failing(httpx.ConnectError("no route"))
    async with platform.connection() as connection:
        job = sfjobs.Job(NOT_THERE, "open", connection)
        with pytest.raises(sfjobs.WaitTimeoutError):
            await job.wait(timeout=5)
        platform.trouble = None
        platform.jobs[NOT_THERE] = FakeJob(id=NOT_THERE)
        await job.refresh()
    assert job.why().last_error is None


async def test_the_next_response_clears_the_last_error_during_a_wait() -> None:
    platform = failing(httpx.ConnectError("no route"))
    platform.add(id=NOT_THERE)
    async with platform.connection() as connection, anyio.create_task_group() as group:
        job = sfjobs.Job(NOT_THERE, "open", connection)
        group.start_soon(job.wait)
        await anyio.sleep(5)
        platform.trouble = None
        await anyio.sleep(30)
        assert job.why().last_error is None
        group.cancel_scope.cancel()


async def test_a_job_that_the_response_left_out_has_a_last_error() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        outlook = await after_a_while(connection, sfjobs.Job(NOT_THERE, "open", connection), 0.1)
    assert outlook.last_error == "the platform's answer left it out (1 times in a row)"


async def test_the_error_that_ended_a_wait_is_the_last_error() -> None:
    async with FakePlatform().connection() as connection:
        job = sfjobs.Job(NOT_THERE, "open", connection)
        with pytest.raises(sfjobs.NotFoundError):
            await job.wait()
        assert str(job.why().last_error).startswith("NotFoundError: ")


async def test_a_failed_refresh_is_the_last_error() -> None:
    platform = FakePlatform()

    async def refusing(request: httpx.Request) -> httpx.Response | None:
        return refusal(403, "forbidden", "not yours") if request.url.path.startswith("/jobs") else None

    platform.trouble = refusing
    async with platform.connection() as connection:
        job = sfjobs.Job(NOT_THERE, "open", connection)
        with pytest.raises(sfjobs.PermissionDeniedError):
            await job.refresh()
        assert str(job.why().last_error).startswith("PermissionDeniedError: ")


# -- as text -------------------------------------------------------------------------------------------------------------

STARTED = datetime(2026, 1, 27, 15, 15, 26, tzinfo=UTC)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (
            {"status": "queued", "queue_position": 3, "age": 12.0, "last_check": 0.42, "next_check": 0.78},
            (
                "Job 1 is queued and has not started, number 3 in the queue. It was first seen 12 s ago and last polled "
                "0.4 s ago. The next poll is due in 0.8 s."
            ),
        ),
        (
            {"status": "queued", "started_at": STARTED, "age": 70.0, "last_check": 70.0},
            (
                "Job 1 has been running since 2026-01-27 15:15:26+00:00 (queued). It was first seen 70 s ago and last polled "
                "70 s ago. It is not polled, because no call waits for it."
            ),
        ),
        (
            {"status": "open", "last_error": "TransportError: no route", "next_check": 0.0},
            (
                "Job 1 is open and has not started. The last poll failed: TransportError: no route. The next "
                "poll is under way."
            ),
        ),
        ({"status": "cancel_pending"}, "Job 1 is being cancelled. It is not polled, because no call waits for it."),
        ({"status": "complete"}, "Job 1 is complete: it has ended."),
        ({"status": "paused"}, "Job 1 is paused and has not started. It is not polled, because no call waits for it."),
    ],
)
def test_an_outlook_prints_as_sentences(known: dict[str, object], words: str) -> None:
    outlook = JobOutlook(job_id="1", **{**known, "status": JobStatus(str(known["status"]))})  # type: ignore[arg-type]
    assert str(outlook) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (119.4, "119 s"), (120, "2 min"), (3599.4, "59 min 59 s"),
     (3599.6, "1 h"), (7500, "2 h 5 min")],
)  # fmt: skip
def test_seconds_are_rounded_for_people(seconds: float, words: str) -> None:
    assert in_seconds(seconds) == words


async def test_an_outlook_with_an_error_can_be_pickled() -> None:
    outlook = JobOutlook(job_id="1", status=JobStatus.OPEN, last_error="TransportError: no route")
    assert pickle.loads(pickle.dumps(outlook)) == outlook


@pytest.mark.real_time
def test_the_blocking_twin_returns_the_same() -> None:
    platform = FakePlatform()
    added = platform.add(meta={"queue_position": 2})
    transport = httpx.MockTransport(platform.handle)
    with sync.Connection(settings=platform.settings(), transport=transport) as connection:
        outlook = connection.get_job(added.id).why()
    assert (outlook.queue_position, outlook.next_check) == (2, None)
    assert outlook.age is not None
