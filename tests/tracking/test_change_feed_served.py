"""The change feed between the client's own connections and the embedded platform, on real sockets."""

from __future__ import annotations

import gc
import logging
import random
import weakref
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import sfjobs
from sfjobs import Connection, Job, JobStatus
from sfjobs._client.connection import internals
from sfjobs.platform import Platform, serving

pytestmark = pytest.mark.real_time

PROGRAM = "name v\nversion 1.0\n\nVac | 0\nMeasureFock() | 0\n"


class Requests(logging.Handler):
    """Counts the requests in the client's log."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.count: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and record.args and record.args[0] in ("GET", "POST"):
            self.count[f"{record.args[0]} {record.args[1]}"] += 1


@pytest.fixture
def requests() -> Any:
    handler, logger = Requests(), logging.getLogger("sfjobs")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler.count
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    async with serving(workers=2) as platform:
        yield platform


def connected(platform: Platform) -> Connection:
    return Connection(settings=sfjobs.Settings(url=platform.url, api_key=platform.api_key))


async def submitted(connection: Connection, count: int) -> list[Job]:
    jobs = [job async for job in connection.create_jobs("simulon_gaussian", [PROGRAM] * count, shots=2)]
    assert all(isinstance(job, Job) for job in jobs)
    return [job for job in jobs if isinstance(job, Job)]


async def test_many_jobs_are_waited_for_with_one_request(platform: Platform, requests: Counter[str]) -> None:
    async with connected(platform) as connection:
        jobs = await submitted(connection, 40)
        with anyio.fail_after(60):
            assert await sfjobs.wait_all(jobs) == [JobStatus.COMPLETED] * 40
    assert all(job.has_result for job in jobs)
    assert (requests["GET /jobs/changes"], requests["GET /jobs"]) == (1, 0)


async def test_waiters_that_are_cancelled_all_the_time_hand_the_stream_on(
    platform: Platform, requests: Counter[str]
) -> None:
    draw = random.Random(1)
    async with connected(platform) as connection:
        jobs = await submitted(connection, 40)
        ended: list[JobStatus] = []

        async def to_the_end(job: Job) -> None:
            ended.append(await job.wait(fetch_result=False))

        async def with_short_timeouts() -> None:
            while len(ended) < len(jobs):
                with anyio.move_on_after(draw.uniform(0, 0.02)):
                    await draw.choice(jobs).wait(fetch_result=False)

        async def opens_the_stream(scope: anyio.CancelScope) -> None:
            with scope:
                await jobs[-1].wait(fetch_result=False)

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                # A leader that is cancelled before the answer takes its request with it, so the first one waits for that.
                group.start_soon(opens_the_stream, first := anyio.CancelScope())
                while not requests["GET /jobs/changes"]:  # noqa: ASYNC110 - a log has no event
                    await anyio.sleep(0.001)
                for job in jobs:
                    group.start_soon(to_the_end, job)
                for _ in range(3):
                    group.start_soon(with_short_timeouts)
                first.cancel()
        assert ended == [JobStatus.COMPLETED] * 40
        assert internals(connection).poller.is_idle
    assert requests["GET /jobs/changes"] == 1


async def test_events_arrive_as_they_happen(platform: Platform) -> None:
    async with connected(platform) as connection:
        jobs = await submitted(connection, 5)
        last: dict[Job, JobStatus] = {}
        with anyio.fail_after(60):
            async for event in connection.events(jobs):
                assert last.get(event.job, event.old) == event.old
                last[event.job] = event.new
        assert last == dict.fromkeys(jobs, JobStatus.COMPLETED)


def test_events_in_the_blocking_twin() -> None:
    with serving(workers=1) as platform, sfjobs.sync.Connection(platform.url, api_key=platform.api_key) as connection:
        jobs = [connection.create_job("simulon_gaussian", PROGRAM, shots=2) for _ in range(3)]
        ends = [event.job for event in connection.events(jobs, timeout=60) if event.new.is_final]
        assert {id(job) for job in ends} == {id(job) for job in jobs}
        assert all(job.status == JobStatus.COMPLETED for job in jobs)


@pytest.mark.parametrize("kind", ["wait", "wait_all", "as_completed"])
async def test_dropped_jobs_and_results_are_free_at_once(platform: Platform, kind: str) -> None:
    async with connected(platform) as connection:
        jobs = await submitted(connection, 20)
        if kind == "wait":
            async with anyio.create_task_group() as group:
                for job in jobs:
                    group.start_soon(job.wait)
        elif kind == "wait_all":
            await sfjobs.wait_all(jobs)
        else:
            assert {job async for job in sfjobs.as_completed(jobs)} == {*jobs}
        alive = [weakref.ref(job) for job in jobs] + [weakref.ref(job.result) for job in jobs]
        job = None  # type: ignore[assignment]
        jobs.clear()
        gc.collect()
        assert not [reference for reference in alive if reference() is not None]


async def test_a_wait_that_begins_after_a_restart_of_the_platform_sees_the_end(tmp_path: Path) -> None:
    async with serving(workers=1, data_dir=tmp_path) as platform:
        connection, port = connected(platform), int(platform.url.rpartition(":")[2])
        jobs = await submitted(connection, 3)
        await sfjobs.wait_all(jobs, timeout=60, fetch_results=False)
        later = await connection.create_job("simulon_gaussian", PROGRAM, shots=2)
    async with connection, serving(workers=1, data_dir=tmp_path, port=port):
        with anyio.fail_after(60):
            assert await later.wait(fetch_result=False) == JobStatus.COMPLETED
