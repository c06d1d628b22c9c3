"""One odd record or field is its own trouble: the other jobs are delivered, in time. In virtual time."""

from __future__ import annotations

import logging
from collections import Counter as Counts
from typing import Any

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Connection, Job, JobStatus
from sfjobs._client.connection import internals
from sfjobs.errors import ProtocolError
from tests.support.fake_platform import FakePlatform, refusal
from tests.support.feeding_platform import Script
from tests.support.odd_records import (
    ODD_FIELDS,
    PLACES,
    SETUPS,
    UNREADABLE,
    OddPlatform,
    bad_ones,
    with_broken_json,
)

COUNT = 9


def handles(platform: FakePlatform, connection: Connection) -> list[Job]:
    return [Job(job_id, "queued", connection) for job_id in platform.jobs]


def warnings_in(log: pytest.LogCaptureFixture) -> Counts[str]:
    found = [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]
    assert all("cannot be read" in message for message in found), found
    return Counts(
        message.partition(" that cannot be read")[0].removeprefix("the platform sent a ") for message in found
    )


# -- fields --


@pytest.mark.parametrize("setup", SETUPS)
async def test_odd_fields_hold_up_no_wait_and_each_is_logged_once(setup: str, caplog: pytest.LogCaptureFixture) -> None:
    platform = OddPlatform(setup)
    platform.add_many([anyio.current_time() + 10] * COUNT, range(COUNT), **ODD_FIELDS)
    async with platform.connection() as connection:
        jobs = handles(platform, connection)
        began = anyio.current_time()
        assert await sfjobs.wait_all(jobs, timeout=60) == ["complete"] * COUNT
        assert anyio.current_time() - began < 13
        assert [(job.name, job.running_time, job.created_at, job.finished_at, job.meta) for job in jobs] == [
            (None, None, None, None, {})
        ] * COUNT
        assert all(job.started_at is not None for job in jobs), "the other fields are kept"
    assert warnings_in(caplog) == {f"job.{field}": 1 for field in ODD_FIELDS}


@pytest.mark.parametrize(("field", "value"), ODD_FIELDS.items())
async def test_a_job_with_an_odd_field_is_a_job_everywhere(field: str, value: object) -> None:
    platform = OddPlatform()
    platform.add_many([0.0], [0], **{field: value})
    [job_id] = platform.jobs
    async with platform.connection() as connection:
        job = await connection.get_job(job_id)
        assert await job.wait() is JobStatus.COMPLETED
        [listed] = [job async for job in connection.list_jobs()]
        assert (listed.id, listed.status, getattr(listed.snapshot, field)) == (
            job_id, "complete", {} if field == "meta" else None,
        )  # fmt: skip


@pytest.mark.parametrize("offers_batches", [False, True])
async def test_a_submission_whose_record_has_odd_fields_is_a_job(offers_batches: bool) -> None:
    platform = FakePlatform(offers_batches=offers_batches)
    make = platform.add

    def add(**fields: Any) -> Any:
        job = make(**fields)
        plain = job.json
        job.json = lambda: {**plain(), **ODD_FIELDS}  # type: ignore[method-assign]
        return job

    platform.add = add  # type: ignore[method-assign]
    async with platform.connection() as connection:
        programs = [f"Sgate({number}) | 0\n" for number in range(9)]
        items = [item async for item in connection.create_jobs("X8_01", programs)]
    assert [item.id for item in items if isinstance(item, Job)] == [*platform.jobs]


# -- whole records --


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("setup", SETUPS)
async def test_a_record_that_is_never_readable_ends_only_its_own_wait(setup: str, place: str, kind: str) -> None:
    platform = OddPlatform(setup)
    bad = bad_ones(place, COUNT)
    platform.add_many([anyio.current_time() + 10] * COUNT, bad, **UNREADABLE[kind])
    async with platform.connection() as connection:
        jobs = handles(platform, connection)
        began, ended = anyio.current_time(), list[tuple[int, float]]()

        async def watch(number: int) -> None:
            await jobs[number].wait()
            ended.append((number, anyio.current_time() - began))

        async with anyio.create_task_group() as group:
            for number in set(range(COUNT)) - set(bad):
                group.start_soon(watch, number)
            with pytest.raises(ProtocolError) as caught:
                await sfjobs.wait_all(jobs, timeout=300)
        assert sorted(number for number, _ in ended) == sorted(set(range(COUNT)) - set(bad))
        assert all(10 <= seconds < 13 for _, seconds in ended)
        assert 10 < anyio.current_time() - began < 60, "it was polled for a while, and not for ever"
        assert "/jobs/" in caught.value.url
        assert internals(connection).poller.is_idle


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("setup", ["feed", "list"])
async def test_a_record_that_only_lists_cannot_show_is_asked_for_singly(setup: str, place: str) -> None:
    platform = OddPlatform(setup)
    platform.is_odd = lambda kind: kind in ("list", "feed")
    platform.add_many([anyio.current_time() + 10] * COUNT, bad_ones(place, COUNT), status=None)
    async with platform.connection() as connection:
        began = anyio.current_time()
        assert await sfjobs.wait_all(handles(platform, connection), timeout=60) == ["complete"] * COUNT
        assert anyio.current_time() - began < 13
        assert {job.id async for job in connection.list_jobs()} == {*platform.jobs}


@pytest.mark.parametrize("place", PLACES)
async def test_a_list_leaves_out_what_cannot_be_read_at_all(place: str) -> None:
    platform = OddPlatform()
    platform.add_many([0.0] * COUNT, bad_ones(place, COUNT), status=None)
    good = [job_id for job_id in platform.jobs if job_id not in platform.changes]
    async with platform.connection() as connection:
        assert [job.id async for job in connection.list_jobs()] == good[::-1]


BROKEN = {
    "a number of 5 000 digits": "1" * 5000,
    "lists 100 000 deep": "[" * 100_000 + "]" * 100_000,
    "bytes that are not UTF-8": '"\udcff\udcfe"',
    "a line break in a text": '"a\nb"',
    "no value": "",
    "two values": "1 2",
    "a comma too many": '{"a": 1,}',
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
async def test_invalid_json_in_one_record_costs_no_other(broken: str) -> None:
    platform = OddPlatform()
    jobs = platform.add_many([anyio.current_time() + 10] * COUNT)
    platform.garble = with_broken_json(jobs[COUNT // 2], broken)
    async with platform.connection() as connection:
        began = anyio.current_time()
        assert await sfjobs.wait_all(handles(platform, connection), timeout=60) == ["complete"] * COUNT
        assert anyio.current_time() - began < 13
        assert [job.id async for job in connection.list_jobs()] == [*platform.jobs][::-1]


async def test_of_two_records_of_one_job_the_later_stage_counts() -> None:
    platform = OddPlatform()
    [job] = platform.add_many([0.0])

    def twice(body: bytes) -> bytes:
        return b'{"data": [%s, {"id": "%s", "status": "queued"}]}' % (body[9:-2], job.id.encode())

    platform.garble = twice
    async with platform.connection() as connection:
        assert await sfjobs.wait_all(handles(platform, connection), timeout=60) == ["complete"]


@pytest.mark.parametrize("word", ["paused", "COMPLETE", "läuft"])
@pytest.mark.parametrize("setup", SETUPS)
async def test_an_unknown_status_is_not_final_and_holds_up_no_other(setup: str, word: str) -> None:
    platform = OddPlatform(setup)
    jobs = platform.add_many([anyio.current_time() + 10] * 3, [1], status=word)
    async with platform.connection() as connection:
        waited = handles(platform, connection)
        with pytest.raises(sfjobs.WaitTimeoutError) as caught:
            await sfjobs.wait_all(waited, timeout=20)
        assert caught.value.pending == (jobs[1].id,)
        platform.changes.clear()
        assert await waited[1].wait(timeout=400) is JobStatus.COMPLETED


# -- the change feed --


async def test_an_event_that_names_no_job_makes_the_covered_jobs_be_polled() -> None:
    platform = OddPlatform("feed")
    platform.is_odd = lambda kind: kind == "feed"
    platform.add_many([anyio.current_time() + 100] * 5, [2], id=None)
    async with platform.connection() as connection:
        began = anyio.current_time()
        await sfjobs.wait_all(handles(platform, connection), timeout=400)
        assert anyio.current_time() - began < 102
    assert len(platform.streams) == 1, "the feed is not lost"


async def test_a_job_that_the_feed_covered_is_not_left_alone_after_an_odd_record() -> None:
    """Regression: it was covered by the feed, as if its state were known, and polled after five minutes only."""
    platform = OddPlatform("feed")
    async with platform.connection() as connection:
        job = await connection.create_job("X8_01", "Vac | 0\n")
        other = await connection.create_job("X8_01", "Vac | 0\n")
        async with anyio.create_task_group() as group:
            group.start_soon(other.wait)
            await anyio.sleep(5)  # the feed is open
            platform.changes[job.id] = {"status": None}
            platform.touch(platform.jobs[job.id])  # type: ignore[arg-type]
            began = anyio.current_time()
            with pytest.raises(ProtocolError):
                await job.wait(timeout=200)
            assert anyio.current_time() - began < 60
            group.cancel_scope.cancel()


async def test_a_feed_whose_events_are_of_no_jobs_is_replaced_by_polls() -> None:
    platform = OddPlatform("feed")
    platform.is_odd = lambda kind: kind == "feed"
    now = anyio.current_time()
    platform.add_many([now + 10 * number for number in range(1, 9)], range(8), id=None)
    async with platform.connection() as connection:
        await sfjobs.wait_all(handles(platform, connection), timeout=400)
        assert anyio.current_time() - now < 92


@pytest.mark.parametrize("epoch", ["épochs", "a b", "x" * 5000, "tab\there", "€"])
async def test_an_event_id_that_is_no_header_value_ends_no_wait(epoch: str) -> None:
    """Regression: the stream that was opened after it could not be requested, which ended all waits with a UnicodeError."""
    platform = OddPlatform("feed")
    platform.script = lambda number: Script(trouble="bye", after=5.0)
    now = anyio.current_time()
    platform.add_many([now + 3, now + 8, now + 30])
    plain = platform.handle

    async def handle(request: httpx.Request) -> httpx.Response:
        platform.epoch = "e1" if request.url.path != "/jobs/changes" else platform.epoch
        answer = await plain(request)
        platform.epoch = epoch
        return answer

    platform.handle = handle  # type: ignore[method-assign]
    async with platform.connection() as connection:
        assert await sfjobs.wait_all(handles(platform, connection), timeout=400) == ["complete"] * 3


# -- devices --


async def test_an_odd_device_does_not_hide_the_others(caplog: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()
    devices = [
        {"target": "X8_01", "status": "online", "expected_uptime": {"monday": ["00:00", "24:00"]}},
        {"target": None},
        {"target": "X12_01", "status": 7, "created_at": "soon"},
    ]

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        path = request.url.path
        if path == "/devices":
            return httpx.Response(200, json={"data": devices})
        if path == "/devices/X8_01/certificate":
            return httpx.Response(200, json=["of what?"])
        if path == "/devices/X8_01/specifications":
            return httpx.Response(200, json={"modes": "eight", "compiler": ["Xunitary"]})
        return httpx.Response(200, json=devices[0]) if path == "/devices/X8_01" else None

    platform.trouble = trouble
    async with platform.connection() as connection:
        assert [device.target for device in await connection.list_devices()] == ["X8_01", "X12_01"]
        device = await connection.get_device("X8_01")
        assert (device.is_online, device.expected_uptime, device.certificate) == (True, {}, None)
        assert device.specification is not None
        assert (device.specification.modes, device.specification.compiler) == (0, ("Xunitary",))
    noted = ["device", "device.created_at", "device.status", "device.expected_uptime", "specification.modes"]
    assert warnings_in(caplog) == dict.fromkeys([*noted, "certificate"], 1)


async def test_a_single_job_that_cannot_be_asked_for_is_left_out_of_a_list() -> None:
    platform = OddPlatform()
    platform.is_odd = lambda kind: kind == "list"
    jobs = platform.add_many([0.0] * 3, [1], status=None)

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        return refusal(500, "server-error", "no") if request.url.path == f"/jobs/{jobs[1].id}" else None

    platform.trouble = trouble
    async with platform.connection() as connection:
        assert {job.id async for job in connection.list_jobs()} == {jobs[0].id, jobs[2].id}
