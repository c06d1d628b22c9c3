"""Deletion of jobs: where it is offered, lost responses, and waits for a job that is deleted. In virtual time."""

from __future__ import annotations

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Job
from tests.jobs.test_cancellation import failing, gone, lost
from tests.support.fake_platform import FakePlatform, refusal
from tests.support.feeding_platform import FeedingPlatform


@pytest.fixture
def platform() -> FakePlatform:
    platform = FakePlatform()
    platform.offers_deletion = True
    return platform


async def test_a_job_that_has_ended_is_deleted(platform: FakePlatform) -> None:
    made = platform.add(status="complete")
    async with platform.connection() as connection:
        job = await connection.get_job(made.id)
        await job.delete()
        assert (made.id in platform.jobs, job.status) == (False, "complete")
        with pytest.raises(sfjobs.NotFoundError):
            await connection.get_job(made.id)


async def test_it_is_looked_up_once_whether_deletion_is_offered(platform: FakePlatform) -> None:
    ids = [platform.add(status="failed").id for _ in range(3)]
    async with platform.connection() as connection:
        for job_id in ids:
            await connection.delete_job(job_id)
    assert platform.jobs == {}
    assert (platform.count("GET", "/jobs"), sum(request.method == "DELETE" for request in platform.requests)) == (1, 3)


async def test_nothing_is_sent_to_a_platform_that_does_not_offer_it() -> None:
    platform = FakePlatform()
    made = platform.add(status="complete")
    async with platform.connection() as connection:
        with pytest.raises(sfjobs.InvalidJobOperationError, match="does not offer the deletion of jobs") as caught:
            await connection.delete_job(made.id)
    assert caught.value.job_id == made.id
    assert not any(request.method == "DELETE" for request in platform.requests)


async def test_a_platform_that_offers_it_later_is_noticed() -> None:
    platform = FakePlatform()
    made = platform.add(status="complete")
    async with platform.connection() as connection:
        with pytest.raises(sfjobs.InvalidJobOperationError):
            await connection.delete_job(made.id)
        platform.offers_deletion = True
        await connection.delete_job(made.id)
    assert platform.jobs == {}


@pytest.mark.parametrize("status", ["open", "queued", "cancel_pending"])
async def test_a_job_that_has_not_ended_is_to_be_cancelled_first(platform: FakePlatform, status: str) -> None:
    made = platform.add(status=status)
    async with platform.connection() as connection:
        with pytest.raises(sfjobs.InvalidJobOperationError, match="cancel it first"):
            await Job(made.id, status, connection).delete()
    assert made.id in platform.jobs


async def test_an_unknown_job_is_not_found(platform: FakePlatform) -> None:
    async with platform.connection() as connection:
        with pytest.raises(sfjobs.NotFoundError):
            await connection.delete_job("00000000-0000-4000-8000-000000000000")


async def test_a_deletion_whose_response_was_lost_has_happened(platform: FakePlatform) -> None:
    made = platform.add(status="complete")
    platform.trouble = failing(1, lost(platform), "DELETE")
    async with platform.connection() as connection:
        await connection.delete_job(made.id)
    assert platform.jobs == {}


async def test_a_deletion_that_did_not_arrive_is_sent_again(platform: FakePlatform) -> None:
    made = platform.add(status="complete")
    platform.trouble = failing(2, gone, "DELETE")
    async with platform.connection() as connection:
        await connection.delete_job(made.id)
    assert platform.jobs == {}


async def test_a_refusal_is_raised(platform: FakePlatform) -> None:
    made = platform.add(status="complete")

    def forbid(_: httpx.Request) -> httpx.Response:
        return refusal(403, "forbidden", "not you")

    platform.trouble = failing(1, forbid, "DELETE")
    async with platform.connection() as connection:
        with pytest.raises(sfjobs.PermissionDeniedError):
            await connection.delete_job(made.id)


async def test_a_wait_for_a_job_that_the_feed_says_is_deleted_ends_soon() -> None:
    platform = FeedingPlatform()
    async with platform.connection() as connection, anyio.create_task_group() as group:
        deleted, other = platform.stage(), platform.stage((100.0, "complete"))
        job = Job(deleted.id, "queued", connection)

        async def delete_later() -> None:
            await anyio.sleep(50)
            platform.delete(deleted)

        async def wait_for_other() -> None:
            assert await Job(other.id, "queued", connection).wait(fetch_result=False) == "complete"

        group.start_soon(delete_later)
        group.start_soon(wait_for_other)
        with pytest.raises(sfjobs.NotFoundError):
            await job.wait()
        assert anyio.current_time() < 65
        assert len(platform.streams) == 1
