"""How much memory and event loop time ``create_jobs`` needs, on platforms with batches and without."""

from __future__ import annotations

import gc
import itertools
import json
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

import sfjobs
from sfjobs import Job, sync
from sfjobs._submission.capabilities import MAX_BATCH_SIZE
from sfjobs._submission.types import YIELD_EVERY
from sfjobs.platform.server.serving import serving
from tests.support.batches import connected, submitted
from tests.support.counter import Counter, Numbered, circuit, circuits
from tests.support.fake_platform import BATCH, KEY, URL, FakePlatform, is_batch, refusal

MEBIBYTE = 2**20


class StatelessPlatform:
    """Stores nothing: a job is open when it is submitted and complete in every poll."""

    def __init__(self, *, offers_batches: bool) -> None:
        self.offers = {"accept-post": f"application/json, {BATCH}"} if offers_batches else {}
        self.numbers = itertools.count()
        self.posts = 0

    async def handle(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        await anyio.sleep(0.01)
        if request.method == "GET":
            ids = request.url.params.get_list("id")
            return httpx.Response(200, json={"data": [self.job(job_id, "complete") for job_id in ids]})
        self.posts += 1
        new = [self.job(f"job-{next(self.numbers)}", "open") for _ in range(_count(request))]
        if is_batch(request):
            items = [{"status": 201, "job": job} for job in new]
            return httpx.Response(207, json={"data": items}, headers=self.offers)
        return httpx.Response(201, json=new[0], headers=self.offers)

    def job(self, job_id: str, status: str) -> dict[str, Any]:
        return {"id": job_id, "status": status, "meta": {}}


def _count(request: httpx.Request) -> int:
    return len(json.loads(request.content)) if is_batch(request) else 1


@pytest.mark.parametrize(
    ("offers_batches", "count", "window"), [(True, 8_000, 100), (False, 1_000, 20)], ids=["in batches", "singly"]
)
async def test_a_stream_of_many_programs_needs_the_memory_of_its_window(
    offers_batches: bool, count: int, window: int
) -> None:
    length = 40 * MEBIBYTE // count
    platform = StatelessPlatform(offers_batches=offers_batches)

    def programs() -> Iterator[str]:
        for number in range(count):
            yield f"# {'x' * length}\n{circuit(number)}"

    settings = sfjobs.Settings(url=URL, api_key=KEY, access_token="token")
    done = 0
    async with sfjobs.Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        tracemalloc.start()
        gc.freeze()
        try:
            async for job in connection.create_jobs("simulon_gaussian", programs(), window=window):
                assert isinstance(job, Job)
                done += 1
                if done % (2 * window) == 0:
                    gc.collect()  # httpx leaves each request in a circle with its response
                if done == 2 * window:
                    before = tracemalloc.get_traced_memory()[0]
                    tracemalloc.reset_peak()
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            gc.unfreeze()
            tracemalloc.stop()
    assert done == count
    assert peak < 2 * MEBIBYTE + 8 * window * length < 10 * MEBIBYTE
    assert platform.posts < count / 10 or not offers_batches


# -- other tasks ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["singly", "in batches"])
def platform(request: pytest.FixtureRequest) -> FakePlatform:
    """A platform that responds at once: virtual time stands still while a task never waits."""
    return FakePlatform(offers_batches=request.param == "in batches")


async def test_a_consumer_that_never_waits_lets_other_tasks_run(platform: FakePlatform) -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    taken_at: list[int] = []
    async with platform.connection() as connection, anyio.create_task_group() as group:
        group.start_soon(turn)
        async for _ in connection.create_jobs("simulon_gaussian", circuits(400), window=400):
            taken_at.append(turns)
        group.cancel_scope.cancel()
    in_a_row = [len(list(same)) for _, same in itertools.groupby(taken_at)]
    assert len(taken_at) == 400
    assert max(in_a_row) <= 2 * (YIELD_EVERY + 1)  # trio may run the consumer last in one round and first in the next


async def test_a_consumer_that_never_waits_notices_a_cancellation(platform: FakePlatform) -> None:
    taken = 0
    async with platform.connection() as connection:
        stream = connection.create_jobs("simulon_gaussian", circuits(400), window=400)
        with anyio.CancelScope() as scope:
            async for _ in stream:
                taken += 1
                scope.cancel()
        assert taken <= YIELD_EVERY + 1
        assert taken + len([item async for item in stream]) == 400


async def test_a_source_that_never_waits_lets_other_tasks_run(platform: FakePlatform) -> None:
    turns: list[int] = []
    programs = Numbered()

    async def turn() -> None:
        while True:
            turns.append(programs.read)
            await anyio.lowlevel.checkpoint()

    async with platform.connection() as connection, anyio.create_task_group() as group:
        group.start_soon(turn)
        stream = connection.create_jobs("simulon_gaussian", programs, window=2000)
        for _ in range(1000):
            await anext(stream)
        group.cancel_scope.cancel()
    assert max(later - sooner for sooner, later in itertools.pairwise(turns)) <= 2 * MAX_BATCH_SIZE


# -- a large window ------------------------------------------------------------------------------------------------------


@pytest.fixture
def counter() -> Counter:
    counter = Counter(FakePlatform(offers_batches=True, honours_keys=True))
    counter.platform.trouble = counter.handle
    return counter


async def test_a_large_window_is_not_refilled_one_job_at_a_time(counter: Counter) -> None:
    draw = random.Random(1)
    counter.duration = lambda: draw.uniform(1, 60)
    async with connected(counter, poll_interval_min=0.02, poll_interval_max=0.02) as connection:
        await submitted(connection, 650, window=500)
    assert counter.most_unfinished == 500
    assert len(counter.platform.submissions) < 90  # 107 one job at a time, 70 otherwise


async def test_a_large_window_needs_only_one_free_place(counter: Counter) -> None:
    lengths = iter([30.0] + [1e6] * 600)
    async with connected(counter) as connection:
        counter.duration = lambda: next(lengths)
        with anyio.fail_after(60):
            assert len(await submitted(connection, 501, window=500)) == 501


# -- in real time --------------------------------------------------------------------------------------------------------


@pytest.mark.real_time
async def test_the_embedded_platform_accepts_batches() -> None:
    text = "name p\nversion 1.0\ntarget simulon_gaussian (shots=2)\n\nSgate(0.{}) | 0\nMeasureFock() | 0\n"
    programs = [text.format(number) for number in range(150)]
    programs[70] = "this is not Blackbird"
    with serving() as platform:
        async with sfjobs.Connection(platform.url, api_key=platform.api_key) as connection:
            await connection.create_job("simulon_gaussian", programs[0])  # whose response offers batches
            items = [item async for item in connection.create_jobs("simulon_gaussian", programs, window=150)]
            refused = items.pop(70)
            jobs = [item for item in items if isinstance(item, Job)]
            sent = [await connection.get_job_circuit(job.id) for job in jobs]
            listed = [job.id async for job in connection.list_jobs()]
            await sfjobs.wait_all(jobs[:5])
    assert isinstance(refused, sfjobs.Refusal)
    assert isinstance(refused.error, sfjobs.InvalidRequestError)
    assert refused.error.code == "parse-error"
    assert sent == programs[:70] + programs[71:]
    assert sorted(listed[:-1]) == sorted(job.id for job in jobs)
    assert all(job.result.shots == 2 for job in jobs[:5])


@pytest.mark.real_time
def test_the_blocking_twin_submits_in_batches() -> None:
    platform = FakePlatform(offers_batches=True, honours_keys=True)
    counter = Counter(platform, refuse=lambda text: refusal(400, "no", "no") if text == circuit(150) else None)
    platform.trouble = counter.handle
    with sync.Connection(settings=platform.settings(), transport=httpx.MockTransport(platform.handle)) as connection:
        connection.create_job("simulon_gaussian", circuit(-1))
        items = list(connection.create_jobs("simulon_gaussian", circuits(350), window=350))
    assert [index for index, item in enumerate(items) if isinstance(item, sfjobs.Refusal)] == [150]
    assert [platform.jobs[item.id].circuit for item in items if isinstance(item, sync.Job)] == [
        text for text in circuits(350) if text != circuit(150)
    ]
    assert sum(map(len, platform.batches)) == 350
    assert len(platform.batches) < 20


@pytest.mark.real_time
def test_a_closed_blocking_stream_returns_no_more_jobs_and_keeps_those_submitted() -> None:
    platform = FakePlatform()
    counter = Counter(platform)
    platform.trouble = counter.handle
    with sync.Connection(settings=platform.settings(), transport=httpx.MockTransport(platform.handle)) as connection:
        with connection.create_jobs("simulon_gaussian", circuits(30), window=30) as stream:
            taken = [next(stream) for _ in range(3)]
        assert list(stream) == []
        jobs = [item for item in [*taken, *stream.submitted] if isinstance(item, sync.Job)]
    assert [platform.jobs[job.id].circuit for job in jobs] == circuits(len(counter.accepted))
