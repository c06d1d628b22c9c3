"""Access tokens: one fetch for concurrent requests, and requests that survive an expired token."""

from __future__ import annotations

import anyio
import httpx
import pytest

from sfjobs._http.auth import Token, TokenSource
from sfjobs.config import Secret
from sfjobs.errors import AuthenticationError, ServerError, TransportError
from tests.support.fake_platform import KEY, FakePlatform, refusal

LATENCY = 0.1


async def test_a_hundred_first_requests_make_one_token_request() -> None:
    platform = FakePlatform(latency=LATENCY)
    async with platform.connection() as connection, anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(connection.ping)
    assert platform.token_requests == 1
    assert platform.count("GET", "/healthz") == 100


async def test_a_hundred_requests_with_an_expired_token_make_one_token_request() -> None:
    platform = FakePlatform(latency=LATENCY)
    async with platform.connection() as connection:
        await connection.ping()
        platform.revoke_tokens()
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(connection.get_job_circuit, platform.add(circuit="x").id)
    assert platform.token_requests == 2


async def test_a_token_is_renewed_before_it_expires() -> None:
    platform = FakePlatform(token_lifetime=300)
    async with platform.connection() as connection:
        await connection.ping()
        await anyio.sleep(271)
        await connection.ping()
    assert platform.token_requests == 2
    assert all(answered != 401 for answered in [request.url.path for request in platform.requests])


async def test_a_token_without_a_lifetime_is_used_until_it_is_refused() -> None:
    platform = FakePlatform(token_lifetime=None)
    async with platform.connection() as connection:
        await connection.ping()
        await anyio.sleep(80_000)
        await connection.ping()
    assert platform.token_requests == 1


async def test_a_retried_request_differs_in_the_token_only() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        await connection.ping()
        platform.revoke_tokens()
        await connection.create_job("simulon_gaussian", "Vac | 0\nMeasureFock() | 0", shots=5, name="twice")
    first, second = [request for request in platform.requests if request.url.path == "/jobs"]
    assert first.url == second.url
    assert first.content == second.content
    headers = [{**request.headers, "authorization": ""} for request in (first, second)]
    assert headers[0] == headers[1]
    assert first.headers["authorization"] != second.headers["authorization"]


@pytest.mark.usefixtures("no_slow_start")
async def test_requests_continue_concurrently_once_there_is_a_token() -> None:
    platform = FakePlatform(latency=LATENCY)
    async with platform.connection() as connection:
        jobs = [platform.add(circuit="x").id for _ in range(30)]
        async with anyio.create_task_group() as group:
            for job_id in jobs:
                group.start_soon(connection.get_job_circuit, job_id)
    assert platform.most_in_flight == 30


async def test_a_refused_key_names_the_setting() -> None:
    platform = FakePlatform()
    async with platform.connection(api_key="wrong") as connection:
        with pytest.raises(AuthenticationError, match="api_key") as caught:
            await connection.ping()
    assert "argument" in str(caught.value)
    assert not caught.value.retryable
    assert platform.token_requests == 1


async def test_an_expired_access_token_without_a_key_names_the_setting() -> None:
    platform = FakePlatform()
    async with platform.connection(api_key=None, access_token="stale") as connection:
        with pytest.raises(AuthenticationError, match="access_token"):
            await connection.ping()
    assert platform.token_requests == 0


async def test_a_given_access_token_is_used_as_it_is() -> None:
    platform = FakePlatform()
    platform.valid_tokens.add("given")
    async with platform.connection(api_key=None, access_token="given") as connection:
        assert await connection.ping()
    assert platform.token_requests == 0


async def test_a_token_refused_again_right_after_renewal_is_an_error_not_a_loop() -> None:
    platform = FakePlatform()

    async def refuse(request: httpx.Request) -> httpx.Response | None:
        return None if request.method == "POST" else refusal(401, "unauthenticated", "never")

    platform.trouble = refuse
    async with platform.connection() as connection:
        with pytest.raises(AuthenticationError, match="never"):
            await connection.ping()
    assert platform.token_requests == 2


@pytest.mark.parametrize(("status", "error"), [(500, ServerError), (503, ServerError)])
async def test_a_failed_token_request_is_retried_even_for_a_submission(status: int, error: type) -> None:
    platform = FakePlatform()
    troubles = [status] * 2

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/token") and troubles:
            return httpx.Response(troubles.pop())
        return None

    platform.trouble = trouble
    async with platform.connection() as connection:
        job = await connection.create_job("simulon_gaussian", "MeasureFock() | 0", shots=1)
    assert list(platform.jobs) == [job.id]


async def test_a_broken_token_request_never_makes_a_submission_unknown() -> None:
    platform = FakePlatform()

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        raise httpx.ReadError("reset")

    platform.trouble = trouble
    async with platform.connection(retries=2) as connection:
        with pytest.raises(TransportError, match="reset") as caught:
            await connection.create_job("simulon_gaussian", "MeasureFock() | 0", shots=1)
    assert caught.value.attempts == 2


# -- Tokens by itself ----------------------------------------------------------------------------------------------------


class Mint:
    def __init__(self, *, seconds: float = 1.0, error: Exception | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.begun = 0

    async def __call__(self) -> Token:
        self.begun += 1
        number = self.begun
        await anyio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return Token(Secret(f"token-{number}"), 300)


async def test_exactly_one_other_task_fetches_when_the_fetching_one_is_cancelled() -> None:
    mint = Mint()
    tokens = TokenSource(mint)
    got: list[str] = []

    async def ask() -> None:
        got.append((await tokens.get()).reveal())

    async with anyio.create_task_group() as group, anyio.create_task_group() as impatient:
        impatient.start_soon(tokens.get)
        await anyio.sleep(0.1)
        for _ in range(10):
            group.start_soon(ask)
        await anyio.sleep(0.4)
        impatient.cancel_scope.cancel()
    assert got == ["token-2"] * 10
    assert mint.begun == 2


async def test_waiting_tasks_share_a_failure_as_a_copy_each() -> None:
    mint = Mint(error=AuthenticationError("no", status_code=401))
    tokens = TokenSource(mint)
    errors: list[Exception] = []

    async def ask() -> None:
        try:
            await tokens.get()
        except AuthenticationError as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask)
    assert mint.begun == 1
    assert len({id(error) for error in errors}) == 20


async def test_a_call_after_a_failure_fetches_again() -> None:
    mint = Mint(error=ServerError("down", status_code=503))
    tokens = TokenSource(mint)
    with pytest.raises(ServerError):
        await tokens.get()
    mint.error = None
    assert (await tokens.get()).reveal() == "token-2"


async def test_a_rejected_token_is_fetched_again_once() -> None:
    mint = Mint()
    tokens = TokenSource(mint)
    old = await tokens.get()
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(lambda: tokens.get(rejected=old))
    assert mint.begun == 2


def test_the_fake_platform_expects_the_key() -> None:
    assert FakePlatform().settings().api_key == Secret(KEY)
