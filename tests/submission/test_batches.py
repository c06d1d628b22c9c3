"""``create_jobs`` on a platform that offers batches: which programs share a request, and the outcome of each. In virtual time."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Job, Refusal, Submission
from sfjobs._submission import capabilities
from sfjobs._submission.capabilities import MAX_BATCH_BYTES
from sfjobs._submission.sender import MAX_CONCURRENT_BATCHES, MAX_CONCURRENT_SUBMISSIONS, PROGRAMS_PER_STEP
from tests.support.batches import TARGET, connected, edit_replies, respond_after, respond_before, sizes, submitted
from tests.support.counter import Counter, circuit, circuits, circuits_of
from tests.support.fake_platform import FakePlatform, is_batch, refusal

pytestmark = pytest.mark.submits("in batches")


# -- which programs share a request --------------------------------------------------------------------------------------


async def test_a_request_has_up_to_a_hundred_programs(platform: FakePlatform, counter: Counter) -> None:
    async with connected(counter) as connection:
        items = await submitted(connection, 350)
    assert circuits_of(platform, items) == circuits(350)
    assert sorted(sizes(platform)) == [50, 100, 100, 100], "two requests in flight may arrive in either order"
    assert len(platform.submissions) == 4


async def test_the_response_to_a_submission_offers_batches(platform: FakePlatform, counter: Counter) -> None:
    async with platform.connection() as connection:
        items = await submitted(connection, 300)
    assert circuits_of(platform, items) == circuits(300)
    single = [is_batch(request) for request in platform.submissions].count(False)
    assert single == MAX_CONCURRENT_SUBMISSIONS
    assert not any(map(is_batch, platform.submissions[:single]))


@pytest.mark.parametrize("version", ["0.2.0", "0.4.0"])
async def test_without_an_offer_in_this_version_programs_go_singly(
    platform: FakePlatform, counter: Counter, version: str
) -> None:
    platform.offers_batches = version == "0.2.0"

    async def legacy(request: httpx.Request) -> httpx.Response | None:
        if request.method == "POST" and request.url.path == "/jobs" and version == "0.2.0":
            return httpx.Response(201, json={"id": platform.add().id, "status": "open"})
        return await counter.handle(request)

    platform.trouble = legacy
    async with platform.connection(api_version=version) as connection:
        items = await submitted(connection, 200)
    assert len(platform.submissions) == len(items) == 200
    assert platform.batches == []


@pytest.mark.usefixtures("no_slow_start")
async def test_few_batches_are_in_flight_at_a_time(platform: FakePlatform, counter: Counter) -> None:
    async with connected(counter) as connection:
        await submitted(connection, 1000)
    assert counter.most_in_flight == MAX_CONCURRENT_BATCHES
    assert sizes(platform) == [100] * 10


@pytest.mark.usefixtures("no_slow_start")
async def test_few_of_the_workers_that_submit_singly_continue_with_batches(
    platform: FakePlatform, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capabilities, "MAX_BATCH_BYTES", 500)
    in_flight = most = 0

    async def handle(request: httpx.Request) -> httpx.Response | None:
        nonlocal in_flight, most
        in_flight += is_batch(request)
        most = max(most, in_flight)
        answer = await counter.handle(request)
        in_flight -= is_batch(request)
        return answer

    platform.trouble = handle
    async with platform.connection() as connection:
        await submitted(connection, PROGRAMS_PER_STEP)
    assert most == MAX_CONCURRENT_BATCHES


@pytest.mark.usefixtures("no_slow_start")
async def test_a_batch_has_the_programs_that_came_while_others_were_in_flight(
    platform: FakePlatform, counter: Counter
) -> None:
    async def made() -> AsyncIterator[str]:
        for number in range(60):
            await anyio.sleep(0.01)
            yield circuit(number)

    async with connected(counter) as connection:
        items = [item async for item in connection.create_jobs(TARGET, made())]
    assert circuits_of(platform, items) == circuits(60)
    # Ten programs come during one request, and three requests are in flight.
    assert len(platform.submissions) < 30
    assert counter.most_in_flight == MAX_CONCURRENT_BATCHES


async def test_a_program_of_a_slow_source_does_not_wait_for_a_batch(platform: FakePlatform, counter: Counter) -> None:
    async def made() -> AsyncIterator[str]:
        for number in range(3):
            await anyio.sleep(60)
            yield circuit(number)

    async with connected(counter) as connection:
        start = anyio.current_time()
        stream = connection.create_jobs(TARGET, made())
        for number in range(1, 4):
            await anext(stream)
            assert anyio.current_time() - start < 60 * number + 1
        assert [item async for item in stream] == []
    assert platform.batches == []


class SerializableProgram:
    """A program that is not text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def serialize(self) -> str:
        return self.text


async def test_a_program_that_compiles_slowly_does_not_wait_for_a_batch(
    platform: FakePlatform, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def compiled(target: str, program: SerializableProgram, *, shots: int | None = None) -> str:
        await anyio.sleep(10)
        return program.text

    programs = [SerializableProgram(text) for text in circuits(60)]
    async with connected(counter) as connection:
        monkeypatch.setattr(connection, "program_text", compiled)
        start = anyio.current_time()
        items = [item async for item in connection.create_jobs(TARGET, programs)]
    assert circuits_of(platform, items) == circuits(60)
    assert platform.times_of("/jobs")[0] - start < 11


async def test_a_batch_has_a_bounded_body(platform: FakePlatform, counter: Counter) -> None:
    long = [f"# {'x' * 2**20}\n{text}" for text in circuits(10)]
    async with connected(counter) as connection:
        items = [item async for item in connection.create_jobs(TARGET, long)]
    assert circuits_of(platform, items) == circuits(10)
    assert all(len(request.content) < 1.01 * MAX_BATCH_BYTES for request in platform.submissions)
    assert sizes(platform) == [3, 3, 3]


async def test_each_program_has_its_own_key(platform: FakePlatform, counter: Counter) -> None:
    async with connected(counter) as connection:
        await submitted(connection, 250)
    keys = {item["idempotency_key"] for batch in platform.batches for item in batch}
    assert len(keys) == 250


async def test_each_program_of_a_batch_has_its_own_options(platform: FakePlatform, counter: Counter) -> None:
    programs = [Submission(circuit(0), shots=7, name="mine", target="X8_01"), Submission(circuit(1))]
    async with connected(counter) as connection:
        jobs = [job async for job in connection.create_jobs(TARGET, programs, shots=3)]
    assert [(job.name, job.target) for job in jobs if isinstance(job, Job)] == [("mine", "X8_01"), (None, TARGET)]
    ((first, second),) = platform.batches
    assert "target X8_01 (shots=7)" in first["circuit"]
    assert f"target {TARGET} (shots=3)" in second["circuit"]


# -- one program fails ---------------------------------------------------------------------------------------------------

KINDS = [
    (400, sfjobs.InvalidRequestError),
    (413, sfjobs.InvalidRequestError),
    (422, sfjobs.InvalidRequestError),
    (403, sfjobs.PermissionDeniedError),
    (404, sfjobs.NotFoundError),
    (409, sfjobs.ConflictError),
    (410, sfjobs.ResponseError),
    (501, sfjobs.ServerError),
]


@pytest.mark.parametrize(("status", "kind"), KINDS)
async def test_a_refused_program_is_reported_in_its_place(
    platform: FakePlatform, counter: Counter, status: int, kind: type[sfjobs.ResponseError]
) -> None:
    words = {"code": "no", "detail": "not this one", "meta": {"modes": [9]}}
    counter.refuse = lambda text: httpx.Response(status, json=words) if text == circuit(7) else None
    async with connected(counter) as connection:
        items = await submitted(connection, 12)
    refused = items.pop(7)
    assert circuits_of(platform, items) == [text for text in circuits(12) if text != circuit(7)]
    assert isinstance(refused, Refusal)
    assert (refused.index, refused.program, type(refused.error)) == (7, circuit(7), kind)
    assert isinstance(refused.error, sfjobs.ResponseError)
    assert (refused.error.status_code, refused.error.code, refused.error.detail) == (status, "no", "not this one")
    assert refused.error.meta == {"modes": [9]}
    assert "refused with status" in str(refused.error)
    assert len(platform.submissions) == 1


async def test_a_program_that_cannot_be_sent_does_not_stop_the_others(platform: FakePlatform, counter: Counter) -> None:
    class Broken:
        def serialize(self) -> str:
            raise ZeroDivisionError("its own")

    programs = [circuit(0), Broken(), circuit(1), "\ud800", circuit(2), Submission(circuit(3), target="no target")]
    async with connected(counter) as connection:
        items = [item async for item in connection.create_jobs(TARGET, programs)]
    errors = [type(item.error) if isinstance(item, Refusal) else None for item in items]
    assert errors == [None, ZeroDivisionError, None, UnicodeEncodeError, None, ValueError]
    assert sizes(platform) == [3]


async def test_a_429_for_some_programs_narrows_the_window_and_submits_them_again(
    platform: FakePlatform, counter: Counter
) -> None:
    def refuse(_: str) -> httpx.Response | None:
        return refusal(429, "quota", "at most 30 jobs at a time") if counter.unfinished >= 30 else None

    counter.refuse = refuse
    async with connected(counter) as connection:
        with anyio.fail_after(3600):
            items = await submitted(connection, 300, window=200)
    assert circuits_of(platform, items) == circuits(300)
    assert counter.most_unfinished == 30
    assert sum(sizes(platform)) < 1200


async def test_a_429_for_some_programs_is_one_line_in_the_log(
    counter: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []

    def refuse(text: str) -> httpx.Response | None:
        refused.append(text)
        return refusal(429, "quota", "too many") if 10 < len(refused) <= 100 else None

    counter.refuse = refuse
    async with connected(counter) as connection:
        with caplog.at_level(logging.INFO, "sfjobs"):
            await submitted(connection, 100)
    assert sum("next submission in" in line for line in caplog.messages) == 1


TRANSIENT_ERRORS = [(500, "server-error"), (502, ""), (503, "busy"), (409, "idempotency-key-in-use")]


@pytest.mark.parametrize(("status", "code"), TRANSIENT_ERRORS)
async def test_a_program_with_a_transient_error_is_sent_again_with_its_key(
    platform: FakePlatform, counter: Counter, status: int, code: str
) -> None:
    left = 2

    def refuse(text: str) -> httpx.Response | None:
        nonlocal left
        if text != circuit(3) or not left:
            return None
        left -= 1
        return refusal(status, code, "later")

    counter.refuse = refuse
    async with connected(counter) as connection:
        items = await submitted(connection, 10)
    assert circuits_of(platform, items) == circuits(10)
    first = platform.batches[0][3]["idempotency_key"]
    assert [request.headers["idempotency-key"] for request in platform.submissions[1:]] == [first, first]


async def test_a_transient_error_that_stays_ends_in_a_refusal(platform: FakePlatform, counter: Counter) -> None:
    counter.refuse = lambda text: refusal(500, "server-error", "no") if text in (circuit(3), circuit(4)) else None
    async with connected(counter, retries=3) as connection:
        items = await submitted(connection, 10)
    refused = [item for item in items if isinstance(item, Refusal)]
    assert [(item.index, type(item.error)) for item in refused] == [(3, sfjobs.ServerError), (4, sfjobs.ServerError)]
    assert [item.error.attempts for item in refused if isinstance(item.error, sfjobs.ServerError)] == [3, 3]
    assert sizes(platform) == [10, 2, 2]


@pytest.mark.parametrize(("status", "again"), [(500, False), (409, False), (503, True)])
async def test_without_honoured_keys_only_a_program_that_was_not_accepted_is_sent_again(
    platform: FakePlatform, counter: Counter, status: int, again: bool
) -> None:
    platform.honours_keys = False
    refused: list[str] = []

    def refuse(text: str) -> httpx.Response | None:
        if text != circuit(3) or refused:
            return None
        refused.append(text)
        return refusal(status, "idempotency-key-in-use", "no")

    counter.refuse = refuse
    async with connected(counter) as connection:
        items = await submitted(connection, 10)
    assert isinstance(items[3], Job) is again
    assert len(platform.submissions) == (2 if again else 1)


async def test_a_503_for_one_program_that_stays_is_raised_and_loses_no_program(
    platform: FakePlatform, counter: Counter
) -> None:
    is_away = True
    counter.refuse = lambda text: refusal(503, "busy", "no") if is_away and text == circuit(0) else None
    async with connected(counter, retries=2) as connection:
        stream = connection.create_jobs(TARGET, circuits(10))
        for _ in range(2):
            with pytest.raises(sfjobs.ServerError):
                await anext(stream)
        is_away = False
        items = [item async for item in stream]
    assert circuits_of(platform, items) == circuits(10)
    assert len(counter.accepted) == 10


async def test_a_program_without_a_reply_may_have_a_job(platform: FakePlatform, counter: Counter) -> None:
    edit_replies(counter, lambda items: items[:8])
    async with connected(counter) as connection:
        items = [
            item
            async for item in connection.create_jobs(TARGET, [Submission(text, name="mine") for text in circuits(10)])
        ]
    assert [isinstance(item, Job) for item in items] == [True] * 8 + [False] * 2
    left_out = [item.error for item in items if isinstance(item, Refusal)]
    assert all(isinstance(error, sfjobs.SubmissionUnknownError) for error in left_out)
    assert [
        (error.idempotency_key, error.name) for error in left_out if isinstance(error, sfjobs.SubmissionUnknownError)
    ] == [(item["idempotency_key"], "mine") for item in platform.batches[0][8:]]


MALFORMED_REPLIES: list[object] = [
    None,
    7,
    [],
    {},
    {"status": "201", "job": {"id": "a", "status": "open"}},
    {"status": 201},
    {"status": 201, "job": {"id": "../x", "status": "open"}},
    {"status": 302, "job": {"id": "a", "status": "open"}},
    {"status": True, "job": {"id": "a", "status": "open"}},
]


@pytest.mark.parametrize("malformed", MALFORMED_REPLIES, ids=str)
async def test_a_malformed_reply_to_one_program_does_not_affect_the_others(counter: Counter, malformed: object) -> None:
    edit_replies(counter, lambda items: [*items[:4], malformed, *items[5:]])
    async with connected(counter) as connection:
        items = await submitted(connection, 10)
    assert [index for index, item in enumerate(items) if isinstance(item, Refusal)] == [4]
    assert isinstance(items[4], Refusal)
    assert type(items[4].error) is sfjobs.ProtocolError


async def test_a_refusal_without_a_message_is_a_refusal(counter: Counter) -> None:
    edit_replies(counter, lambda items: [*items[:4], {"status": 400, "error": "none"}, *items[5:]])
    async with connected(counter) as connection:
        items = await submitted(connection, 10)
    assert isinstance(items[4], Refusal)
    assert type(items[4].error) is sfjobs.InvalidRequestError


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(207, text="<html>"),
        httpx.Response(207, json=[]),
        httpx.Response(207, json={"data": {}}),
        httpx.Response(207, json={"data": [{"status": 201, "job": {"id": "a", "status": "open"}}] * 11}),
    ],
    ids=["no JSON", "no object", "no list", "too many"],
)
async def test_a_malformed_response_is_a_refusal_for_each(
    platform: FakePlatform, counter: Counter, answer: httpx.Response
) -> None:
    respond_after(counter, lambda _: answer)
    async with connected(counter) as connection:
        items = await submitted(connection, 10)
    errors = [item.error for item in items if isinstance(item, Refusal)]
    assert [type(error) for error in errors] == [sfjobs.ProtocolError] * 10
    assert len({id(error) for error in errors}) == 10
    assert len(platform.submissions) == 1


async def test_a_batch_that_is_forbidden_is_a_refusal_for_each(platform: FakePlatform, counter: Counter) -> None:
    respond_before(counter, lambda _: refusal(403, "forbidden", "not you"))
    async with connected(counter) as connection:
        items = await submitted(connection, 10)
    errors = [item.error for item in items if isinstance(item, Refusal)]
    assert [type(error) for error in errors] == [sfjobs.PermissionDeniedError] * 10
    assert len({id(error) for error in errors}) == 10
    assert len(platform.submissions) == 1
