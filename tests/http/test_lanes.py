"""Lanes: what one kind of request holds never delays another, and tokens that expire in the queue are renewed."""

from __future__ import annotations

from itertools import count
from typing import Any

import anyio
import httpx
import pytest

from sfjobs import JobStatus
from sfjobs._http.transport import MAX_CONNECTIONS
from sfjobs.errors import RequestTimeoutError
from tests.support.fake_platform import FakePlatform, refusal
from tests.support.limiters import Bucket

STREAMS = MAX_CONNECTIONS["stream"]


class ExpiringPlatform(FakePlatform):
    """Refuses tokens that are older than their lifetime."""

    def _token(self, request: httpx.Request) -> httpx.Response:
        before = set(self.valid_tokens)
        response = super()._token(request)
        self.issued = {**getattr(self, "issued", {}), **dict.fromkeys(self.valid_tokens - before, anyio.current_time())}
        return response

    def _answer(self, request: httpx.Request) -> httpx.Response:
        lifetime, now = self.token_lifetime or 0, anyio.current_time()
        self.valid_tokens -= {token for token in self.valid_tokens if now > self.issued[token] + lifetime}
        return super()._answer(request)


async def test_calls_that_wait_longer_than_a_token_lives_are_sent_with_a_new_one() -> None:
    platform = ExpiringPlatform(latency=0.05, token_lifetime=15)
    limiter = Bucket(rate=5, burst=5)

    async def limited(request: httpx.Request) -> httpx.Response | None:
        wait = None if request.url.path.endswith("/token") else limiter.admit(anyio.current_time())
        return None if wait is None else httpx.Response(429, headers={"retry-after": "1"})

    platform.trouble = limited
    jobs = [platform.add() for _ in range(200)]
    async with platform.connection(retries=30) as connection, anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(connection.get_job, job.id)
    assert platform.token_requests < 10
    assert not [request for request in platform.requests if request.headers.get("authorization") == "Bearer "]


async def test_a_token_is_fetched_while_every_connection_and_turn_is_taken() -> None:
    """The first refusal leaves one turn, which its holder keeps while it waits for the token."""
    platform = FakePlatform(latency=0.05)
    refusals = iter([httpx.Response(429, headers={"retry-after": "1"})])

    async def refuse_once(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/token"):
            return None
        platform.revoke_tokens()  # each token serves one request
        if (response := next(refusals, None)) is None:
            platform.valid_tokens.add(request.headers["authorization"].removeprefix("Bearer "))
        return response

    platform.trouble = refuse_once
    jobs = [platform.add() for _ in range(60)]
    async with platform.connection() as connection:
        with anyio.fail_after(120):
            async with anyio.create_task_group() as group:
                for job in jobs:
                    group.start_soon(connection.get_job, job.id)


async def test_slow_queries_do_not_delay_a_wait() -> None:
    platform = FakePlatform()
    slow, awaited = [platform.add() for _ in range(40)], platform.add(ends_at=anyio.current_time() + 1)

    async def handle(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.removeprefix("/jobs/") in {job.id for job in slow}:
            await anyio.sleep(10)
        return None

    platform.trouble = handle
    async with platform.connection() as connection:
        job = await connection.get_job(awaited.id)
        async with anyio.create_task_group() as group:
            for other in slow:
                group.start_soon(connection.get_job, other.id)
            await anyio.sleep(0.1)
            begin = anyio.current_time()
            assert await job.wait(fetch_result=False) == JobStatus.COMPLETED
            assert anyio.current_time() - begin < 3
            group.cancel_scope.cancel()


async def finished(platform: FakePlatform, connection: Any, number: int) -> list[Any]:
    added = [platform.add(ends_at=0) for _ in range(number)]
    return [await connection.get_job(job.id) for job in added]


async def test_tasks_that_hold_a_result_open_may_request_anything_else() -> None:
    platform = FakePlatform(latency=0.01)
    async with platform.connection() as connection:
        jobs = await finished(platform, connection, STREAMS)
        all_open, number = anyio.Event(), count(1)

        async def hold_and_request(job: Any) -> None:
            async with connection.open_result(job.id) as stream:
                if next(number) == STREAMS:
                    all_open.set()
                await all_open.wait()
                await job.refresh()
                await job.fetch_result()
                await connection.create_job("simulon_gaussian", "Vac | 0\nMeasureFock() | 0", shots=1)
                assert [output async for output in stream]

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for job in jobs:
                    group.start_soon(hold_and_request, job)


async def test_more_open_results_than_connections_end_with_the_reason() -> None:
    platform = FakePlatform()
    async with platform.connection(attempt_timeout=20) as connection:
        jobs = await finished(platform, connection, STREAMS + 1)
        async with anyio.create_task_group() as group:
            for job in jobs[:STREAMS]:
                group.start_soon(hold, connection, job)
            await anyio.sleep(1)
            begin = anyio.current_time()
            with pytest.raises(RequestTimeoutError, match="32 results are open") as caught:
                async with connection.open_result(jobs[-1].id):
                    pass
            assert anyio.current_time() - begin == pytest.approx(20)
            assert not caught.value.sent
            group.cancel_scope.cancel()
        assert platform.count("GET", f"/jobs/{jobs[-1].id}/result") == 0


async def hold(connection: Any, job: Any) -> None:
    async with connection.open_result(job.id):
        await anyio.sleep_forever()


async def test_a_queue_for_open_results_that_moves_has_no_limit() -> None:
    platform, opened = FakePlatform(), list[str]()
    async with platform.connection(attempt_timeout=20) as connection:
        jobs = await finished(platform, connection, 4 * STREAMS)

        async def read_slowly(job: Any) -> None:
            async with connection.open_result(job.id):
                opened.append(job.id)
                await anyio.sleep(15)

        async with anyio.create_task_group() as group:
            for job in jobs:
                group.start_soon(read_slowly, job)
    assert len(opened) == 4 * STREAMS


async def test_the_error_of_a_token_is_not_multiplied_by_those_who_wait_for_it() -> None:
    platform = FakePlatform(latency=0.05)

    async def refuse(request: httpx.Request) -> httpx.Response | None:
        return refusal(400, "invalid_grant", "no") if request.url.path.endswith("/token") else None

    platform.trouble = refuse
    errors = []
    async with platform.connection() as connection:

        async def call() -> None:
            try:
                await connection.ping()
            except Exception as error:  # noqa: BLE001 - checked below
                errors.append(error)

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(call)
    assert {type(error).__name__ for error in errors} == {"AuthenticationError"}
    assert len(errors) == 50
    assert platform.token_requests == 1
