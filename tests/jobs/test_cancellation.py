"""Cancellations: jobs that end first, lost responses, many at once, an unreachable platform. In virtual time."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Job
from sfjobs._jobs.cancellation import MAX_CONCURRENT_CANCELLATIONS
from tests.support.fake_platform import FakePlatform, Handler, refusal


def failing(times: int, failure: Callable[[httpx.Request], httpx.Response], method: str = "PATCH") -> Handler:
    """The first ``times`` requests with this method end in ``failure``."""
    left = [failure] * times

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        return left.pop()(request) if request.method == method and left else None

    return trouble


def lost(platform: FakePlatform) -> Callable[[httpx.Request], httpx.Response]:
    """The platform handles the request, and its response is lost."""

    def fail(request: httpx.Request) -> httpx.Response:
        platform._answer(request)
        raise httpx.ReadError("reset")

    return fail


def gone(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def handle(platform: FakePlatform, connection: sfjobs.Connection, **fields: object) -> Job:
    return Job(platform.add(**fields).id, "queued", connection)


async def test_a_job_that_had_ended_keeps_its_status() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        job = handle(platform, connection, ends_at=anyio.current_time())
        assert await job.cancel(wait=True) == "complete"


async def test_a_job_that_ends_during_its_cancellation_keeps_its_status() -> None:
    platform = FakePlatform()
    platform.cancelling = 60
    async with platform.connection() as connection, anyio.create_task_group() as group:
        job = handle(platform, connection)

        async def complete() -> None:
            await anyio.sleep(30)
            platform.jobs[job.id].status = "complete"

        group.start_soon(complete)
        assert await job.cancel(wait=True) == "complete"


async def test_a_job_that_is_known_to_have_ended_cannot_be_cancelled() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        job = Job(platform.add(status="complete").id, "complete", connection)
        with pytest.raises(sfjobs.InvalidJobOperationError, match="complete"):
            await job.cancel()
    assert not platform.requests


@pytest.mark.parametrize("status", ["complete", "failed", "cancelled"])
@pytest.mark.parametrize("known", [True, False])
async def test_with_wait_a_job_that_has_ended_keeps_its_status(status: str, known: bool) -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        job = Job(platform.add(status=status).id, status if known else "open", connection)
        assert await job.cancel(wait=True) == status
    assert bool(platform.requests) != known


async def test_without_wait_a_job_that_turns_out_to_have_ended_raises() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        job = handle(platform, connection, status="failed")
        with pytest.raises(sfjobs.InvalidJobOperationError, match="failed") as caught:
            await job.cancel()
    assert isinstance(caught.value.__cause__, sfjobs.ConflictError)


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("cancelling", [0.0, 60.0])
async def test_a_cancellation_counts_although_its_response_was_lost(wait: bool, cancelling: float) -> None:
    platform = FakePlatform()
    platform.cancelling = cancelling
    platform.trouble = failing(2, lost(platform))
    async with platform.connection() as connection:
        status = await handle(platform, connection).cancel(wait=wait)
    assert status == ("cancelled" if wait or not cancelling else "cancel_pending")
    assert platform.count("PATCH", f"/jobs/{next(iter(platform.jobs))}") == 3


async def test_an_accepted_cancellation_succeeds_although_the_next_poll_fails() -> None:
    platform = FakePlatform()
    platform.cancelling = 1000
    async with platform.connection() as connection:
        await connection.ping()
        platform.trouble = failing(99, gone, "GET")
        assert await handle(platform, connection).cancel() == "cancel_pending"


async def test_an_html_page_is_not_a_cancellation() -> None:
    platform = FakePlatform()
    page = httpx.Response(200, text="<html>", headers={"content-type": "text/html; charset=utf-8"})
    platform.trouble = failing(99, lambda request: page)
    async with platform.connection() as connection:
        job = handle(platform, connection)
        with pytest.raises(sfjobs.ProtocolError, match="HTML page"):
            await job.cancel()
        assert job.status == "queued"


async def test_with_wait_an_unreachable_platform_is_retried_for_an_hour() -> None:
    platform = FakePlatform()
    back_at = anyio.current_time() + 3600

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        return gone(request) if anyio.current_time() < back_at else None

    platform.trouble = trouble
    async with platform.connection() as connection:
        assert await handle(platform, connection).cancel(wait=True) == "cancelled"
    assert anyio.current_time() < back_at + 35


async def test_the_timeout_of_a_cancellation_bounds_its_retries_and_names_the_error() -> None:
    platform = FakePlatform()
    platform.trouble = failing(10**6, gone)
    async with platform.connection() as connection:
        started = anyio.current_time()
        with pytest.raises(sfjobs.WaitTimeoutError, match="could not be reached"):
            await handle(platform, connection).cancel(wait=True, timeout=45)
        assert anyio.current_time() - started == pytest.approx(45, abs=0.01)


# -- many ----------------------------------------------------------------------------------------------------------------


async def test_many_are_cancelled_a_few_at_a_time_and_each_by_one_request() -> None:
    platform = FakePlatform(latency=0.5)
    async with platform.connection() as connection:
        await connection.ping()
        jobs = [handle(platform, connection) for _ in range(200)]
        before = len(platform.requests)
        assert await sfjobs.cancel_all(jobs) == ["cancel_pending"] * 200
        assert len(platform.requests) - before == 200
    assert platform.most_in_flight <= MAX_CONCURRENT_CANCELLATIONS


async def test_waiting_for_many_polls_them_together() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        jobs = [handle(platform, connection) for _ in range(200)]
        assert await sfjobs.cancel_all(jobs, wait=True) == ["cancelled"] * 200
    assert len(platform.requests) < 200 + 20


async def test_jobs_that_had_ended_keep_their_status() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        known = Job(platform.add(status="complete").id, "complete", connection)
        jobs = [known, handle(platform, connection, status="failed"), handle(platform, connection)]
        assert await sfjobs.cancel_all(jobs) == ["complete", "failed", "cancel_pending"]
        assert platform.count("PATCH", f"/jobs/{known.id}") == 0


async def test_an_error_about_one_job_is_raised_once_all_others_are_cancelled() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        jobs = [Job("0-unknown", "queued", connection), *(handle(platform, connection) for _ in range(50))]
        with pytest.raises(sfjobs.NotFoundError, match="0-unknown"):
            await sfjobs.cancel_all(jobs, wait=True)
    assert {job.now() for job in platform.jobs.values()} == {"cancelled"}


async def test_an_error_that_each_would_meet_stops_the_others() -> None:
    platform = FakePlatform()
    async with platform.connection(retries=1) as connection:
        await connection.ping()
        platform.trouble = failing(10**6, gone)
        with pytest.raises(sfjobs.TransportError):
            await sfjobs.cancel_all([handle(platform, connection) for _ in range(500)])
    assert len(platform.requests) < 2 * MAX_CONCURRENT_CANCELLATIONS + 5


async def test_two_handles_of_a_job_are_cancelled_with_one_request() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        job = handle(platform, connection)
        other = Job(job.id, "queued", connection)
        assert await sfjobs.cancel_all([job, other]) == ["cancel_pending"] * 2
    assert platform.count("PATCH", f"/jobs/{job.id}") == 1


async def test_the_timeout_error_says_which_jobs_have_ended() -> None:
    platform = FakePlatform()
    platform.cancelling = 1000
    async with platform.connection() as connection:
        jobs = [handle(platform, connection, status="complete"), handle(platform, connection)]
        with pytest.raises(sfjobs.WaitTimeoutError) as caught:
            await sfjobs.cancel_all(jobs, wait=True, timeout=5)
    assert (caught.value.done, caught.value.pending) == ((jobs[0].id,), (jobs[1].id,))


async def test_cancelling_no_jobs_sends_no_request() -> None:
    assert await sfjobs.cancel_all([]) == []


async def test_a_refused_key_is_raised_at_once_with_and_without_retries() -> None:
    platform = FakePlatform()
    platform.trouble = failing(10**6, lambda request: refusal(401, "unauthenticated", "who are you?"))
    async with platform.connection() as connection:
        with pytest.raises(sfjobs.AuthenticationError):
            await sfjobs.cancel_all([handle(platform, connection) for _ in range(5)], wait=True)
        with pytest.raises(sfjobs.AuthenticationError):
            await handle(platform, connection).cancel(wait=True)


@pytest.mark.real_time
def test_the_blocking_twin_cancels_many() -> None:
    platform = FakePlatform()
    platform.cancelling = 0.0
    transport = httpx.MockTransport(platform.handle)
    with sfjobs.sync.Connection(settings=platform.settings(), transport=transport) as connection:
        jobs = [sfjobs.sync.Job(platform.add().id, "queued", connection) for _ in range(20)]
        assert sfjobs.sync.cancel_all(jobs, wait=True) == ["cancelled"] * 20
        assert sfjobs.sync.cancel_all([]) == []
