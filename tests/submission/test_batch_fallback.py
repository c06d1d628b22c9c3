"""Batches whose responses are lost, that are refused, or that the platform no longer accepts. In virtual time."""

from __future__ import annotations

import json
import logging

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Refusal
from sfjobs._submission.capabilities import MAX_BATCH_SIZE
from sfjobs._submission.sender import MAX_CONCURRENT_BATCHES
from tests.support.batches import TARGET, connected, respond_after, respond_before, sizes, submitted
from tests.support.counter import Counter, circuit, circuits, circuits_of
from tests.support.fake_platform import BATCH, FakePlatform, is_batch, refusal

pytestmark = pytest.mark.submits("in batches")


# -- lost responses ------------------------------------------------------------------------------------------------------


async def test_a_batch_whose_response_is_lost_is_sent_again_and_makes_each_job_once(
    platform: FakePlatform, counter: Counter
) -> None:
    broken: list[httpx.Request] = []

    def break_off(request: httpx.Request) -> None:
        if not broken:
            broken.append(request)
            raise httpx.ReadError("the connection broke")

    respond_after(counter, break_off)
    async with connected(counter) as connection:
        items = await submitted(connection, 10)
    assert circuits_of(platform, items) == circuits(10)
    assert len(counter.accepted) == 10
    assert platform.submissions[0].content == platform.submissions[1].content


async def test_a_lost_response_without_honoured_keys_is_a_refusal_for_each(
    platform: FakePlatform, counter: Counter
) -> None:
    platform.honours_keys = False

    def break_off(request: httpx.Request) -> None:
        raise httpx.ReadError("the connection broke")

    respond_after(counter, break_off)
    async with connected(counter) as connection:
        items = await submitted(connection, 10)
    errors = [item.error for item in items if isinstance(item, Refusal)]
    unknown = [error for error in errors if isinstance(error, sfjobs.SubmissionUnknownError)]
    assert [error.idempotency_key for error in unknown] == [item["idempotency_key"] for item in platform.batches[0]]
    assert len(platform.submissions) == 1
    assert len(counter.accepted) == 10


@pytest.mark.usefixtures("no_slow_start")
async def test_a_cancelled_step_finishes_its_batches(platform: FakePlatform, counter: Counter) -> None:
    async with connected(counter) as connection:
        stream = connection.create_jobs(TARGET, circuits(1000), window=1000)
        with anyio.move_on_after(0.01):
            await anext(stream)
        assert counter.in_flight == 0
        assert len(stream.submitted) == len(counter.accepted) == MAX_CONCURRENT_BATCHES * MAX_BATCH_SIZE
        items = [item async for item in stream]
    assert circuits_of(platform, items) == circuits(1000)
    assert len(counter.accepted) == 1000


async def test_the_next_step_retries_what_a_cancelled_step_gave_up(platform: FakePlatform, counter: Counter) -> None:
    def break_off(request: httpx.Request) -> None:
        raise httpx.ReadError("the connection broke")

    respond_after(counter, break_off)
    async with connected(counter, retries=2) as connection:
        stream = connection.create_jobs(TARGET, circuits(10))
        with anyio.move_on_after(0.01):
            await anext(stream)
        items = [item async for item in stream]
    assert {type(item.error) for item in items if isinstance(item, Refusal)} == {sfjobs.SubmissionUnknownError}
    assert len(items) == len(counter.accepted) == 10
    assert len(platform.submissions) == 1 + 2, "a cancelled step ends with the attempt in flight"
    assert len({request.content for request in platform.submissions}) == 1


async def test_a_cancellation_loses_no_program_that_waits_for_a_retry(platform: FakePlatform, counter: Counter) -> None:
    is_away, awaited = True, (circuit(3), circuit(4))
    counter.refuse = lambda text: refusal(500, "no", "later") if is_away and text in awaited else None
    async with connected(counter, retries=1000) as connection:
        stream = connection.create_jobs(TARGET, circuits(10))
        with anyio.move_on_after(60):
            async for _ in stream:
                pass
        is_away = False
        items = [item async for item in stream]
    assert circuits_of(platform, items) == circuits(10)
    first, *later = platform.batches
    assert len(later) > 3
    assert all(
        [item["idempotency_key"] for item in batch] == [item["idempotency_key"] for item in first[3:5]]
        for batch in later
    )


# -- refused batches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 405, 415, 501, 200, 201, 202])
async def test_a_platform_that_refuses_batches_gets_single_submissions(
    platform: FakePlatform, counter: Counter, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    respond_before(counter, lambda _: refusal(status, "no", "one at a time"))
    async with connected(counter) as connection:
        with caplog.at_level(logging.INFO, "sfjobs"):
            items = await submitted(connection, 400)
        assert len(platform.batches) <= MAX_CONCURRENT_BATCHES
        await submitted(connection, 200)
    assert circuits_of(platform, items) == circuits(400)
    assert len(platform.batches) <= MAX_CONCURRENT_BATCHES
    assert sum("refuses batches" in line for line in caplog.messages) == 1


async def test_an_unexpected_success_without_honoured_keys_is_not_repeated(
    platform: FakePlatform, counter: Counter
) -> None:
    platform.honours_keys = False
    respond_after(counter, lambda _: httpx.Response(200, json={}))
    async with connected(counter) as connection:
        items = await submitted(connection, 10)
        assert {type(item.error) for item in items if isinstance(item, Refusal)} == {sfjobs.SubmissionUnknownError}
        assert len(counter.accepted) == 10
        items = await submitted(connection, 10)
    assert circuits_of(platform, items) == circuits(10)
    assert len(platform.batches) == 1


async def test_batches_end_when_the_platform_no_longer_offers_them(platform: FakePlatform, counter: Counter) -> None:
    async with connected(counter) as connection:
        await submitted(connection, 100)
        platform.offers_batches = False
        await submitted(connection, 100)
        batches = len(platform.batches)
        items = await submitted(connection, 100)
        assert len(items) == 100
        assert len(platform.batches) == batches == 2
        platform.offers_batches = True
        await submitted(connection, 100)
        await submitted(connection, 100)
    assert len(platform.batches) > batches


@pytest.mark.parametrize("status", [400, 422])
async def test_a_refused_batch_is_halved_until_the_bad_program_is_alone(
    platform: FakePlatform, counter: Counter, status: int
) -> None:
    def strict(request: httpx.Request) -> httpx.Response | None:
        texts = [item["circuit"].splitlines()[-1] + "\n" for item in json.loads(request.content)]
        return refusal(status, "bad", "one of them") if circuit(37) in texts else None

    respond_before(counter, strict)
    counter.refuse = lambda text: refusal(status, "bad", "this one") if text == circuit(37) else None
    async with connected(counter) as connection:
        items = await submitted(connection, 100)
        refused = items.pop(37)
        assert isinstance(refused, Refusal)
        assert isinstance(refused.error, sfjobs.InvalidRequestError)
        assert circuits_of(platform, items) == [text for text in circuits(100) if text != circuit(37)]
        counter.refuse = lambda _: None
        platform.requests.clear()
        respond_before(counter, lambda _: None)
        await submitted(connection, 100)
    assert sizes(platform) == [100]


async def test_a_batch_that_is_too_large_makes_later_ones_smaller(platform: FakePlatform, counter: Counter) -> None:
    respond_before(counter, lambda request: refusal(413, "", "") if len(request.content) > 5_000 else None)
    async with connected(counter) as connection:
        items = await submitted(connection, 200)
        assert circuits_of(platform, items) == circuits(200)
        platform.requests.clear()
        await submitted(connection, 200)
    assert max(len(request.content) for request in platform.submissions) <= 5_000
    assert max(sizes(platform)) > 10


@pytest.mark.parametrize(("status", "kind"), [(503, sfjobs.ServerError), (401, sfjobs.AuthenticationError)])
async def test_an_error_that_stops_every_batch_is_raised_and_loses_no_program(
    platform: FakePlatform, counter: Counter, status: int, kind: type[Exception]
) -> None:
    is_away = True
    respond_before(counter, lambda _: refusal(status, "no", "not now") if is_away else None)
    async with connected(counter, retries=1) as connection:
        stream = connection.create_jobs(TARGET, circuits(300), window=300)
        for _ in range(3):
            with pytest.raises(kind):
                await anext(stream)
        is_away = False
        items = [item async for item in stream]
    assert circuits_of(platform, items) == circuits(300)
    assert len(counter.accepted) == 300


async def test_a_429_for_a_batch_narrows_the_window(platform: FakePlatform, counter: Counter) -> None:
    refused_at: list[float] = []

    def refuse(_: httpx.Request) -> httpx.Response | None:
        refused_at.append(anyio.current_time())
        return refusal(429, "too-many-requests", "slowly", **{"retry-after": "90"}) if len(refused_at) == 1 else None

    respond_before(counter, refuse)
    async with connected(counter, retries=1) as connection:
        items = await submitted(connection, 80, window=80)
    assert circuits_of(platform, items) == circuits(80)
    assert refused_at[1] - refused_at[0] >= 90
    assert sizes(platform)[1] == 40


async def test_a_batch_sent_before_the_narrowing_does_not_widen(platform: FakePlatform, counter: Counter) -> None:
    refused: list[httpx.Request] = []

    async def handle(request: httpx.Request) -> httpx.Response | None:
        if refused or not is_batch(request):
            return await counter.handle(request)
        refused.append(request)
        await anyio.sleep(0.05)
        return refusal(429, "too-many-requests", "slowly")

    platform.trouble = handle
    async with connected(counter, retries=1) as connection:
        items = await submitted(connection, 400, window=300)
    assert circuits_of(platform, items) == circuits(400)
    # Of the 200 jobs of the other two batches, the first poll finds that 100 ended: 50 places of 150 are free.
    assert sizes(platform)[:4] == [100, 100, 100, 50]


async def test_a_batch_is_of_the_media_type_that_was_offered(platform: FakePlatform, counter: Counter) -> None:
    async with connected(counter) as connection:
        await submitted(connection, 2)
    (request,) = platform.submissions
    assert request.headers["content-type"] == BATCH
    assert "idempotency-key" not in request.headers
