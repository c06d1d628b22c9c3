"""The log of requests: what it has, what it masks, and how a test asks it."""

from __future__ import annotations

import pytest

import sfjobs
from sfjobs.testing import FakePlatform, Fault, Faults
from tests.testing.conftest import PROGRAM


async def logged_platform() -> FakePlatform:
    platform = FakePlatform(faults=Faults(Fault.status(503, path="/jobs"), Fault.lost_answer(path="/jobs/*/circuit")))
    async with platform.connection() as connection:
        job = await connection.create_job("simulon_gaussian", PROGRAM, shots=2, name="logged")
        await job.wait()
        await connection.get_job_circuit(job.id)
    return platform


async def test_it_has_each_request_with_its_answer_and_its_faults() -> None:
    requests = (await logged_platform()).requests
    token, refused, accepted = requests[0], *requests.matching("POST", "/jobs")
    assert (token.method, token.status) == ("POST", 200)
    assert [(refused.status, refused.faults), (accepted.status, accepted.faults)] == [(503, ("status",)), (201, ())]
    assert isinstance(accepted.json, dict)
    assert (accepted.json["name"], accepted.headers["content-type"]) == ("logged", "application/json")
    lost, answered = requests.matching("GET", "/jobs/*/circuit")
    assert [(lost.status, lost.faults), (answered.status, answered.faults)] == [
        (None, ("reset before answer",)),
        (200, ()),
    ]
    assert str(refused) == "POST /jobs -> 503 (status)"
    assert "reset before answer" in str(lost)


async def test_it_counts_by_method_and_path() -> None:
    requests = (await logged_platform()).requests
    assert requests.count("POST", "/jobs") == 2
    assert requests.count("POST") == 3
    assert requests.count(path="/auth/*") == 1
    assert requests.count() == len(requests) == len([*requests])
    assert requests.count("DELETE") == 0
    assert requests[-1] in requests
    assert "POST /jobs -> 201" in repr(requests)
    requests.clear()
    assert len(requests) == 0


async def test_it_shows_no_secret() -> None:
    platform = FakePlatform()
    key = platform.api_key
    async with platform.connection() as connection:
        await connection.ping()
        with pytest.raises(sfjobs.NotFoundError):
            await connection.get_job(key)
    shown = repr(
        [(request, request.body, request.headers, request.path, request.params) for request in platform.requests]
    )
    assert key not in shown
    assert platform.requests[0].body.endswith(b"refresh_token=***&client_id=public")
    assert platform.requests[1].headers["authorization"] == "Bearer ***"
    async with platform.connection(access_token="a-token-of-another-platform") as connection:
        await connection.ping()
    assert "a-token-of-another-platform" not in repr([request.headers for request in platform.requests])


async def test_its_queries_are_pairs() -> None:
    platform = FakePlatform()
    jobs = [platform.add_job(), platform.add_job()]
    async with platform.connection() as connection:
        [_ async for _ in connection.list_jobs(ids=[job.id for job in jobs], status="queued")]
    params = platform.requests.matching("GET", "/jobs")[0].params
    assert [value for name, value in params if name == "id"] == [job.id for job in jobs]
    assert ("status", "queued") in params
