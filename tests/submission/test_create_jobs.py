"""``create_jobs``: order, the window, sources of programs, and programs that are refused. In virtual time."""

from __future__ import annotations

import itertools
import json
import random
import re
import weakref
from collections.abc import AsyncIterator, Iterator

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Job, Refusal, Submission, sync
from sfjobs._submission.programs import ProgramLike
from sfjobs._submission.sender import MAX_CONCURRENT_SUBMISSIONS, PROGRAMS_PER_STEP
from tests.support.counter import Counter, Numbered, circuit, circuits, circuits_of
from tests.support.fake_platform import FakePlatform, refusal

pytestmark = pytest.mark.submits("singly", "in batches")


# -- order and window ----------------------------------------------------------------------------------------------------


async def test_jobs_come_in_the_order_of_their_programs(platform: FakePlatform, counter: Counter) -> None:
    counter.duration = lambda: random.Random(len(counter.accepted)).uniform(0.1, 20)
    async with platform.connection() as connection:
        items = [item async for item in connection.create_jobs("simulon_gaussian", circuits(300), window=40)]
    assert circuits_of(platform, items) == circuits(300)


@pytest.mark.parametrize("window", [1, 2, 7, 40])
async def test_no_more_jobs_than_the_window_are_unfinished(
    platform: FakePlatform, counter: Counter, window: int
) -> None:
    async with platform.connection() as connection:
        async for _ in connection.create_jobs("simulon_gaussian", circuits(90), window=window):
            pass
    assert counter.most_unfinished == window


async def test_the_window_counts_jobs_that_were_returned(platform: FakePlatform, counter: Counter) -> None:
    counter.duration = lambda: float("inf")
    async with platform.connection() as connection:
        stream = connection.create_jobs("simulon_gaussian", Numbered(), window=5)
        for _ in range(5):
            await anext(stream)
        with anyio.move_on_after(3600):
            await anext(stream)
    assert len(counter.accepted) == 5


async def test_the_window_is_refilled_before_all_jobs_are_returned(platform: FakePlatform, counter: Counter) -> None:
    async with platform.connection() as connection:
        stream = connection.create_jobs("simulon_gaussian", circuits(200), window=20)
        for _ in range(11):
            job = await anext(stream)
            assert isinstance(job, Job)
            await job.wait(fetch_result=False)
    assert len(counter.accepted) == 30


@pytest.mark.parametrize("window", [1, 10, 100, 1000])
async def test_an_endless_source_is_read_as_far_as_the_window(
    platform: FakePlatform, counter: Counter, window: int
) -> None:
    counter.duration = lambda: float("inf")
    programs = Numbered()
    async with platform.connection() as connection:
        stream = connection.create_jobs("simulon_gaussian", programs, window=window)
        await anext(stream)
    assert programs.read == min(window, PROGRAMS_PER_STEP)


async def test_programs_that_are_all_refused_are_not_read_further(platform: FakePlatform, counter: Counter) -> None:
    counter.refuse = lambda _: refusal(409, "conflict", "no")
    programs = Numbered()
    async with platform.connection() as connection:
        stream = connection.create_jobs("simulon_gaussian", programs, window=10)
        for taken in range(1, 100):
            await anext(stream)
            assert programs.read <= taken + 10


async def test_jobs_that_have_ended_are_freed(platform: FakePlatform, counter: Counter) -> None:
    alive: weakref.WeakSet[Job] = weakref.WeakSet()
    counter.duration = lambda: 0.1
    most = 0
    async with platform.connection() as connection:
        async for job in connection.create_jobs("simulon_gaussian", circuits(200), window=10):
            assert isinstance(job, Job)
            alive.add(job)
            most = max(most, len(alive))
    assert most <= 2 * 10


@pytest.mark.usefixtures("no_slow_start")
async def test_submissions_use_the_whole_bulk_lane(platform: FakePlatform, counter: Counter) -> None:
    async with platform.connection() as connection:
        await anext(connection.create_jobs("simulon_gaussian", circuits(200), window=200))
    assert counter.most_in_flight == MAX_CONCURRENT_SUBMISSIONS


async def test_the_stream_ends_before_any_job_has_ended(platform: FakePlatform, counter: Counter) -> None:
    counter.duration = lambda: float("inf")
    async with platform.connection() as connection:
        with anyio.fail_after(60):
            jobs = [job async for job in connection.create_jobs("simulon_gaussian", circuits(5), window=5)]
    assert len(jobs) == 5


async def test_no_programs_make_no_request(platform: FakePlatform) -> None:
    async with platform.connection() as connection:
        assert [item async for item in connection.create_jobs("simulon_gaussian", [])] == []
    assert platform.requests == []


async def test_several_tasks_may_share_a_stream(platform: FakePlatform, counter: Counter) -> None:
    items: list[Job | Refusal] = []

    async def consume(stream: AsyncIterator[Job | Refusal]) -> None:
        async for item in stream:
            items.append(item)

    async with platform.connection() as connection:
        stream = connection.create_jobs("simulon_gaussian", circuits(50), window=10)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(consume, stream)
    assert sorted(circuits_of(platform, items)) == sorted(circuits(50))


@pytest.mark.usefixtures("counter")
async def test_a_submission_has_its_own_options(platform: FakePlatform) -> None:
    programs: list[ProgramLike | Submission] = [
        circuit(0),
        Submission(circuit(1), shots=7, name="mine", target="X8_01"),
    ]
    async with platform.connection() as connection:
        jobs = [job async for job in connection.create_jobs("simulon_gaussian", programs, shots=3)]
    names = [(job.name, job.target) for job in jobs if isinstance(job, Job)]
    assert names == [(None, "simulon_gaussian"), ("mine", "X8_01")]
    sent = [json.loads(request.content)["circuit"] for request in platform.requests if request.url.path == "/jobs"]
    assert [re.findall(r"^target.*$", text, re.MULTILINE) for text in sorted(sent)] == [
        ["target X8_01 (shots=7)"],
        ["target simulon_gaussian (shots=3)"],
    ]


# -- sources -------------------------------------------------------------------------------------------------------------


async def made(count: int, seconds: float = 0.0) -> AsyncIterator[str]:
    for number in range(count):
        await anyio.sleep(seconds)
        yield circuit(number)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
@pytest.mark.usefixtures("counter")
async def test_programs_may_come_from_an_async_iterable(platform: FakePlatform, seconds: float) -> None:
    async with platform.connection() as connection:
        items = [item async for item in connection.create_jobs("simulon_gaussian", made(70, seconds), window=9)]
    assert circuits_of(platform, items) == circuits(70)


@pytest.mark.usefixtures("no_slow_start")
async def test_programs_of_a_fast_async_source_are_submitted_concurrently(
    platform: FakePlatform, counter: Counter
) -> None:
    async with platform.connection() as connection:
        items = [item async for item in connection.create_jobs("simulon_gaussian", made(100))]
    assert len(items) == 100
    assert counter.most_in_flight == MAX_CONCURRENT_SUBMISSIONS


@pytest.mark.usefixtures("counter")
async def test_a_slow_source_delays_no_job(platform: FakePlatform) -> None:
    async with platform.connection() as connection:
        stream = connection.create_jobs("simulon_gaussian", made(3, 60.0))
        for number in range(1, 4):
            await anext(stream)
            assert anyio.current_time() < 60 * number + 1 + number
        assert [item async for item in stream] == []


async def test_an_error_of_the_source_is_raised_after_the_jobs_before_it(
    platform: FakePlatform, counter: Counter
) -> None:
    def broken() -> Iterator[str]:
        yield from circuits(3)
        raise LookupError("no more")

    async with platform.connection() as connection:
        stream = connection.create_jobs("simulon_gaussian", broken())
        jobs = [await anext(stream) for _ in range(3)]
        with pytest.raises(LookupError, match="no more"):
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert circuits_of(platform, jobs) == circuits(3)


async def test_one_text_is_not_accepted_as_many_programs(platform: FakePlatform) -> None:
    async with platform.connection() as connection:
        with pytest.raises(TypeError, match="create_job"):
            connection.create_jobs("simulon_gaussian", circuit(0))


async def test_a_window_is_at_least_one(platform: FakePlatform) -> None:
    async with platform.connection() as connection:
        with pytest.raises(ValueError, match="at least 1"):
            connection.create_jobs("simulon_gaussian", [], window=0)


# -- refused programs ----------------------------------------------------------------------------------------------------


async def test_a_refused_program_is_reported_in_its_place(platform: FakePlatform, counter: Counter) -> None:
    statuses = {circuit(3): 400, circuit(7): 409, circuit(8): 403, circuit(9): 404}
    counter.refuse = lambda text: refusal(statuses[text], "no", "not this one") if text in statuses else None
    async with platform.connection() as connection:
        items = [item async for item in connection.create_jobs("simulon_gaussian", circuits(12), window=4)]
    refused = {item.index: (item.program, type(item.error)) for item in items if isinstance(item, Refusal)}
    assert refused == {
        3: (circuit(3), sfjobs.InvalidRequestError),
        7: (circuit(7), sfjobs.ConflictError),
        8: (circuit(8), sfjobs.PermissionDeniedError),
        9: (circuit(9), sfjobs.NotFoundError),
    }
    assert [index for index, item in enumerate(items) if isinstance(item, Refusal)] == [3, 7, 8, 9]


@pytest.mark.usefixtures("counter")
async def test_an_object_that_is_not_a_program_stops_no_other(platform: FakePlatform) -> None:
    class Broken:
        def serialize(self) -> str:
            raise ZeroDivisionError("of its own")

    programs: list[ProgramLike] = [circuit(0), "missing.xbb", Broken(), circuit(3)]
    async with platform.connection() as connection:
        items = [item async for item in connection.create_jobs("simulon_gaussian", programs)]
    errors = [type(item.error) if isinstance(item, Refusal) else None for item in items]
    assert errors == [None, FileNotFoundError, ZeroDivisionError, None]


async def test_a_submission_with_an_unknown_outcome_is_not_repeated(platform: FakePlatform, counter: Counter) -> None:
    def break_off(text: str) -> None:
        if text == circuit(1):
            raise httpx.ReadError("the connection broke")

    counter.refuse = break_off
    async with platform.connection() as connection:
        items = [item async for item in connection.create_jobs("simulon_gaussian", circuits(3))]
    assert isinstance(items[1], Refusal)
    assert isinstance(items[1].error, sfjobs.SubmissionUnknownError)
    assert platform.count("POST", "/jobs") == 3


@pytest.mark.parametrize(("status", "kind"), [(503, sfjobs.ServerError), (401, sfjobs.AuthenticationError)])
async def test_an_error_that_stops_every_program_is_raised_and_loses_none(
    platform: FakePlatform, counter: Counter, status: int, kind: type[Exception]
) -> None:
    async with platform.connection(retries=1) as connection:
        stream = connection.create_jobs("simulon_gaussian", circuits(20), window=4)
        items = [await anext(stream) for _ in range(4)]
        counter.refuse = lambda _: refusal(status, "no", "not now")
        for _ in range(3):
            with pytest.raises(kind):
                await anext(stream)
        counter.refuse = lambda _: None
        items += [item async for item in stream]
    assert circuits_of(platform, items) == circuits(20)


async def test_a_closed_connection_is_an_error(platform: FakePlatform, counter: Counter) -> None:
    connection = platform.connection()
    stream = connection.create_jobs("simulon_gaussian", circuits(20), window=4)
    await anext(stream)
    await connection.aclose()
    assert len(stream.submitted) == 3
    with pytest.raises(sfjobs.ConnectionClosedError):
        while True:
            await anext(stream)
    assert len(counter.accepted) == 4


# -- the blocking twin ---------------------------------------------------------------------------------------------------


@pytest.mark.real_time
def test_the_blocking_twin_returns_the_same(platform: FakePlatform, counter: Counter) -> None:
    counter.duration = lambda: 0.02
    counter.refuse = lambda text: refusal(400, "no", "not this one") if text == circuit(4) else None
    settings = platform.settings(poll_interval_min=0.01)
    with sync.Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        # A source that uses the connection would deadlock if it ran in the connection's own loop.
        programs = (circuit(number) for number in range(20) if connection.ping())
        with connection.create_jobs("simulon_gaussian", programs, window=5) as stream:
            items = list(itertools.islice(stream, 12))
        left = stream.submitted
    assert [index for index, item in enumerate(items) if isinstance(item, Refusal)] == [4]
    found = [platform.jobs[job.id].circuit for job in [*items, *left] if isinstance(job, sync.Job)]
    assert found == [circuit(number) for number in range(len(found) + 1) if number != 4]
    assert len(found) == len(counter.accepted)


@pytest.mark.real_time
def test_an_error_of_the_source_is_raised_after_the_jobs_in_the_blocking_twin(
    platform: FakePlatform, counter: Counter
) -> None:
    def broken() -> Iterator[str]:
        yield from circuits(3)
        raise LookupError("no more")

    with sync.Connection(settings=platform.settings(), transport=httpx.MockTransport(platform.handle)) as connection:
        stream = connection.create_jobs("simulon_gaussian", broken())
        jobs = [next(stream) for _ in range(3)]
        with pytest.raises(LookupError, match="no more"):
            next(stream)
        assert list(stream) == []
    assert len(jobs) == len(counter.accepted) == 3
