"""Sending requests: slots, deadlines, safe retries and closing."""

from __future__ import annotations

import contextlib

import anyio
import httpx
import pytest

from sfjobs.errors import (
    ConflictError,
    ConnectionClosedError,
    NotFoundError,
    RateLimitedError,
    RequestTimeoutError,
    ServerError,
    SFJobsError,
    SubmissionUnknownError,
    TransportError,
)
from tests.support.fake_platform import FakePlatform, Handler, refusal

PROGRAM = "MeasureFock() | [0, 1]"


def failing(times: int, failure: Exception | httpx.Response, path: str = "/healthz") -> Handler:
    """The first ``times`` requests for ``path`` fail with ``failure``."""
    left = [failure] * times

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != path or not left:
            return None
        failure = left.pop()
        if isinstance(failure, Exception):
            raise failure
        return failure

    return trouble


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout(""),
        httpx.ReadError("reset"),
        httpx.ReadTimeout(""),
        httpx.WriteError("reset"),
        httpx.RemoteProtocolError("Server disconnected"),
        *[httpx.Response(status) for status in (408, 425, 429, 500, 502, 503, 504)],
    ],
    ids=str,
)
async def test_an_idempotent_request_is_retried(failure: Exception | httpx.Response) -> None:
    platform = FakePlatform()
    platform.trouble = failing(3, failure)
    async with platform.connection() as connection:
        assert await connection.ping()
    assert platform.count("GET", "/healthz") == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
async def test_an_error_response_is_not_retried(status: int) -> None:
    platform = FakePlatform()
    platform.trouble = failing(99, refusal(status, "no", "no"))
    async with platform.connection() as connection:
        with pytest.raises(Exception, match=f"refused with status {status}"):
            await connection.ping()
    assert platform.count("GET", "/healthz") == (2 if status == 401 else 1)


@pytest.mark.parametrize(
    ("failure", "repeated"),
    [
        (httpx.ConnectError("refused"), True),
        (httpx.ConnectTimeout(""), True),
        (httpx.Response(429), True),
        (httpx.Response(503), True),
        (httpx.ReadError("reset"), False),
        (httpx.ReadTimeout(""), False),
        (httpx.RemoteProtocolError("gone"), False),
        (httpx.Response(500), False),
        (httpx.Response(502), False),
        (httpx.Response(504), False),
    ],
    ids=str,
)
async def test_a_submission_is_retried_only_if_it_was_certainly_not_processed(
    failure: Exception | httpx.Response, repeated: bool
) -> None:
    platform = FakePlatform()
    platform.trouble = failing(1, failure, "/jobs")
    async with platform.connection() as connection:
        if repeated:
            await connection.create_job("simulon_gaussian", PROGRAM, shots=1)
        else:
            with pytest.raises((SubmissionUnknownError, ServerError)):
                await connection.create_job("simulon_gaussian", PROGRAM, shots=1)
    assert platform.count("POST", "/jobs") == 1 + repeated


async def test_the_error_of_a_submission_that_may_have_arrived_says_how_to_find_it() -> None:
    platform = FakePlatform()
    platform.trouble = failing(1, httpx.ReadError("reset"), "/jobs")
    async with platform.connection() as connection:
        with pytest.raises(SubmissionUnknownError, match="may or may not have the job") as caught:
            await connection.create_job("simulon_gaussian", PROGRAM, shots=1, name="findme")
    assert caught.value.name == "findme"
    assert platform.requests[-1].headers["idempotency-key"] == caught.value.idempotency_key


async def test_a_submission_is_retried_with_the_same_key_where_keys_are_honoured() -> None:
    platform = FakePlatform()
    respond = platform._answer
    platform._answer = lambda request: _echoing(respond(request), request)  # type: ignore[method-assign]
    async with platform.connection() as connection:
        await connection.create_job("simulon_gaussian", PROGRAM, shots=1)
        platform.trouble = failing(1, httpx.ReadError("reset"), "/jobs")
        await connection.create_job("simulon_gaussian", PROGRAM, shots=1)
    keys = [request.headers["idempotency-key"] for request in platform.requests if request.url.path == "/jobs"]
    assert len(keys) == 3
    assert keys[1] == keys[2] != keys[0]


def _echoing(response: httpx.Response, request: httpx.Request) -> httpx.Response:
    if "idempotency-key" in request.headers:
        response.headers["idempotency-key"] = request.headers["idempotency-key"]
    return response


async def test_retry_after_is_followed() -> None:
    platform = FakePlatform()
    platform.trouble = failing(1, refusal(503, "busy", "", **{"retry-after": "7"}))
    async with platform.connection() as connection:
        await connection.ping()
    first, second = platform.times_of("/healthz")
    assert second - first == pytest.approx(7, abs=0.01)


async def test_a_pause_beyond_the_callers_deadline_gives_the_real_error_at_once() -> None:
    platform = FakePlatform()
    platform.trouble = failing(9, refusal(429, "busy", "", **{"retry-after": "7"}))
    async with platform.connection() as connection:
        started = anyio.current_time()
        with anyio.fail_after(10), pytest.raises(RateLimitedError) as caught:
            await connection.ping()
    assert anyio.current_time() - started == pytest.approx(7, abs=0.01)
    assert caught.value.attempts == 2
    assert caught.value.retry_after == 7


async def test_a_call_that_cannot_be_sent_before_the_callers_deadline_fails_at_once() -> None:
    platform = FakePlatform()
    platform.trouble = failing(1, refusal(429, "busy", "", **{"retry-after": "40"}))
    async with platform.connection(retries=1) as connection:
        with pytest.raises(RateLimitedError):
            await connection.ping()
        started, sent = anyio.current_time(), len(platform.requests)
        with (
            anyio.fail_after(10),
            pytest.raises(RateLimitedError, match="accepts no requests for another 40 s") as caught,
        ):
            await connection.create_job("simulon_gaussian", PROGRAM, shots=1)
        assert (anyio.current_time(), len(platform.requests)) == (started, sent)
        assert (caught.value.sent, caught.value.retry_after) == (False, 40)
        with anyio.fail_after(60):
            await connection.create_job("simulon_gaussian", PROGRAM, shots=1)


async def test_a_dripping_response_is_bounded_as_a_whole() -> None:
    platform = FakePlatform(latency=1000)
    async with platform.connection(attempt_timeout=10, retries=1) as connection:
        started = anyio.current_time()
        with pytest.raises(RequestTimeoutError, match="10 s"):
            await connection.ping()
    assert anyio.current_time() - started == pytest.approx(10, abs=0.01)


async def test_the_callers_own_deadline_stays_the_callers_own() -> None:
    platform = FakePlatform(latency=1000)
    async with platform.connection() as connection:
        with anyio.move_on_after(3) as scope:
            await connection.ping()
    assert scope.cancelled_caught


async def test_many_submissions_queue_for_slots_without_timing_out() -> None:
    platform = FakePlatform(latency=20)
    async with platform.connection(attempt_timeout=50) as connection, anyio.create_task_group() as group:
        for _ in range(320):
            group.start_soon(connection.create_job, "simulon_gaussian", PROGRAM)
    assert len(platform.jobs) == 320
    assert platform.most_in_flight == 32


@pytest.mark.usefixtures("no_slow_start")
async def test_no_slot_is_lost_when_requests_are_cancelled() -> None:
    platform = FakePlatform(latency=1)
    async with platform.connection() as connection:
        for _ in range(20):
            with anyio.move_on_after(0.5):
                async with anyio.create_task_group() as group:
                    for _ in range(100):
                        group.start_soon(connection.create_job, "simulon_gaussian", PROGRAM)
        platform.most_in_flight = 0
        async with anyio.create_task_group() as group:
            for _ in range(64):
                group.start_soon(connection.create_job, "simulon_gaussian", PROGRAM)
    assert platform.most_in_flight == 32


async def test_a_closed_connection_raises() -> None:
    platform = FakePlatform()
    connection = platform.connection()
    await connection.ping()
    await connection.aclose()
    await connection.aclose()
    with pytest.raises(ConnectionClosedError, match="closed"):
        await connection.ping()
    with pytest.raises(ConnectionClosedError):
        async with connection:
            pass


async def test_a_connection_may_be_entered_and_left_in_different_tasks() -> None:
    platform = FakePlatform()
    connection = platform.connection()
    async with anyio.create_task_group() as group:
        group.start_soon(connection.__aenter__)
    await connection.ping()
    async with anyio.create_task_group() as group:
        group.start_soon(connection.__aexit__, None, None, None)


async def test_an_error_in_the_with_block_is_raised_unchanged() -> None:
    platform = FakePlatform()
    with pytest.raises(ZeroDivisionError):
        async with platform.connection() as connection:
            await connection.ping()
            raise ZeroDivisionError


def test_a_second_event_loop_is_an_error() -> None:
    platform = FakePlatform()
    connection = platform.connection()
    anyio.run(connection.ping)
    with pytest.raises(ConnectionClosedError, match="another event loop"):
        anyio.run(connection.ping)
    anyio.run(connection.aclose)


@pytest.mark.parametrize(("status", "kind"), [(404, NotFoundError), (409, ConflictError), (418, Exception)])
async def test_an_error_has_the_platforms_code_and_detail(status: int, kind: type[Exception]) -> None:
    platform = FakePlatform()
    platform.trouble = failing(9, refusal(status, "some-code", "some detail"))
    async with platform.connection() as connection:
        with pytest.raises(kind) as caught:
            await connection.ping()
    error = caught.value
    assert (error.status_code, error.code, error.detail) == (status, "some-code", "some detail")  # type: ignore[attr-defined]
    assert (error.method, error.url) == ("GET", "http://platform.test:8080/healthz")  # type: ignore[attr-defined]


async def test_the_error_of_a_broken_connection_names_request_cause_and_attempts() -> None:
    platform = FakePlatform()
    platform.trouble = failing(9, httpx.ReadError("connection reset by peer"))
    async with platform.connection(retries=3) as connection:
        with pytest.raises(TransportError, match=r"GET http://platform.test:8080/healthz: .*reset by peer") as caught:
            await connection.ping()
    assert caught.value.attempts == 3
    assert isinstance(caught.value.__cause__, httpx.ReadError)


# -- what is sent again: section by section of the promise, through the whole client --------------------------------------

NEVER_SENT = [httpx.ConnectError("refused"), httpx.ConnectTimeout(""), httpx.PoolTimeout("")]
MAYBE_SENT = [
    httpx.ReadError("reset"),
    httpx.ReadTimeout(""),
    httpx.WriteError("reset"),
    httpx.RemoteProtocolError("gone"),
]
NOTHING_DONE, MAYBE_DONE = (429, 503), (408, 425, 500, 502, 504)
SAID_NO = (400, 402, 403, 404, 409, 410, 413, 415, 418, 422, 451)
VERDICTS: list[tuple[Exception | int, bool, bool]] = [  # met; whether it is sent again where twice is as once, and else
    *[(error, True, True) for error in NEVER_SENT],
    *[(error, True, False) for error in MAYBE_SENT],
    *[(status, True, True) for status in NOTHING_DONE],
    *[(status, True, False) for status in MAYBE_DONE],
    *[(status, False, False) for status in SAID_NO],
]


@pytest.mark.parametrize(("met", "idempotent", "harmful"), VERDICTS, ids=repr)
@pytest.mark.parametrize("operation", ["GET", "PATCH", "POST with key", "POST without"])
async def test_failures_are_retried_only_where_that_is_idempotent(
    met: Exception | int, idempotent: bool, harmful: bool, operation: str
) -> None:
    platform = FakePlatform(honours_keys=operation == "POST with key")
    method, path = operation.split(maxsplit=1)[0], "/jobs" if operation.startswith("POST") else "/jobs/a-job"
    platform.add(id="a-job")
    async with platform.connection() as connection:
        await connection.create_job("simulon_gaussian", PROGRAM, shots=1)
        before = platform.count(method, path)

        async def trouble(request: httpx.Request) -> httpx.Response | None:
            if (request.method, request.url.path) != (method, path) or platform.count(method, path) > before + 1:
                return None
            if isinstance(met, Exception):
                raise met
            return refusal(met, "trouble", "")

        platform.trouble = trouble
        calls = {
            "GET": lambda: connection.get_job("a-job"),
            "PATCH": lambda: connection.cancel_job("a-job"),
            "POST": lambda: connection.create_job("simulon_gaussian", PROGRAM, shots=1),
        }
        is_repeated = harmful if operation == "POST without" else idempotent
        with contextlib.nullcontext() if is_repeated else pytest.raises(SFJobsError):
            await calls[method]()
    assert platform.count(method, path) - before == 1 + is_repeated
