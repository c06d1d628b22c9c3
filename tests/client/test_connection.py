"""The requests of a connection and its use of the responses, in both versions of the protocol."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest

import sfjobs
from sfjobs import Job, JobStatus
from sfjobs._client.connection import internals
from tests.support.fake_platform import SAMPLES, FakePlatform, npy, refusal

PROGRAM = """name demo
version 1.0
target simulon_gaussian (shots=100)

Sgate(0.5, 0.0) | 0
MeasureFock() | [0, 1]
"""


async def test_a_submission_carries_name_target_circuit_and_language() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        job = await connection.create_job("X8_01", PROGRAM, shots=7, name="my sweep: 1/2")
    request = platform.requests[-1]
    assert json.loads(request.content) == {
        "name": "my sweep: 1/2",
        "target": "X8_01",
        "circuit": PROGRAM.replace("simulon_gaussian (shots=100)", "X8_01 (shots=7)"),
        "language": "blackbird:1.0",
    }
    assert request.headers["accept-version"] == "0.4.0"
    assert request.headers["user-agent"] == f"sfjobs/{sfjobs.__version__}"
    assert (job.name, job.target, job.status) == ("my sweep: 1/2", "X8_01", JobStatus.OPEN)


async def test_version_0_2_0_carries_the_circuit_alone() -> None:
    platform = FakePlatform()
    async with platform.connection(api_version="0.2.0") as connection:
        await connection.create_job("X8_01", PROGRAM, shots=7, name="renamed")
    request = platform.requests[-1]
    circuit = PROGRAM.replace("simulon_gaussian (shots=100)", "X8_01 (shots=7)").replace("name demo", "name renamed")
    assert json.loads(request.content) == {"circuit": circuit}
    assert request.headers["accept-version"] == "0.2.0"


async def test_version_0_2_0_accepts_only_201_and_204() -> None:
    platform = FakePlatform()
    async with platform.connection(api_version="0.2.0") as connection:
        job = await connection.create_job("X8_01", PROGRAM)
        platform.submit_status, platform.cancel_status = 200, 200
        with pytest.raises(sfjobs.SubmissionUnknownError, match="only 201"):
            await connection.create_job("X8_01", PROGRAM)
        with pytest.raises(sfjobs.ProtocolError, match="only 204"):
            await job.cancel()


async def test_version_0_4_0_accepts_any_success() -> None:
    platform = FakePlatform()
    platform.submit_status, platform.cancel_status = 200, 200
    async with platform.connection() as connection:
        job = await connection.create_job("X8_01", PROGRAM)
        assert await job.cancel() == JobStatus.CANCEL_PENDING


async def test_version_0_2_0_polls_each_job_alone_and_reads_npy() -> None:
    platform = FakePlatform()
    platform.result = npy(SAMPLES)
    jobs = [platform.add(ends_at=anyio.current_time() + 2) for _ in range(10)]
    async with platform.connection(api_version="0.2.0") as connection:
        handles = [Job(job.id, "open", connection) for job in jobs]
        assert await sfjobs.wait_all(handles) == [JobStatus.COMPLETED] * 10
        np.testing.assert_array_equal(handles[0].result.samples, SAMPLES)
    assert not platform.polls
    accepts = {request.headers["accept"] for request in platform.requests if request.url.path.endswith("/result")}
    assert accepts == {"application/x-numpy"}


async def test_without_a_list_each_job_is_polled_alone() -> None:
    platform = FakePlatform()

    async def no_list(request: httpx.Request) -> httpx.Response | None:
        return refusal(405, "method-not-allowed", "") if request.url.path == "/jobs" else None

    platform.trouble = no_list
    jobs = [platform.add(ends_at=anyio.current_time() + 2) for _ in range(10)]
    async with platform.connection() as connection:
        await sfjobs.wait_all([Job(job.id, "open", connection) for job in jobs])
    assert len(platform.polls) == 1


async def test_a_program_may_be_a_path(tmp_path: Path) -> None:
    path = tmp_path / "demo.xbb"
    path.write_text(PROGRAM)
    platform = FakePlatform()
    async with platform.connection() as connection:
        await connection.create_job("simulon_gaussian", path)
        await connection.create_job("simulon_gaussian", str(path))
    assert [json.loads(request.content)["circuit"] for request in platform.requests[-2:]] == [PROGRAM] * 2


async def test_a_job_shows_all_that_the_platform_reports() -> None:
    platform = FakePlatform()
    added = platform.add(status="complete", name="n", meta={"a": 1})
    async with platform.connection() as connection:
        job = await connection.get_job(added.id)
    assert job.created_at == datetime(2026, 1, 27, 15, 15, 25, 801308, tzinfo=UTC)
    assert job.finished_at is not None
    assert (job.name, job.target, job.running_time, job.meta) == ("n", "simulon_gaussian", 0.5, {"a": 1})


async def test_lists_are_paged_as_they_are_consumed() -> None:
    platform = FakePlatform()
    for _ in range(250):
        platform.add()
    async with platform.connection() as connection:
        some = [job async for job in connection.list_jobs(limit=120)]
        assert len(platform.polls) == 2
        everything = [job async for job in connection.list_jobs()]
    assert [job.id for job in everything] == [*platform.jobs][::-1]
    assert some == everything[:120]


async def test_a_list_may_be_filtered_by_ids_and_status() -> None:
    platform = FakePlatform()
    done = [platform.add(status="complete").id for _ in range(130)]
    platform.add(status="failed")
    async with platform.connection() as connection:
        assert len([job async for job in connection.list_jobs(ids=done)]) == 130
        assert len([job async for job in connection.list_jobs(status="failed")]) == 1


async def test_an_empty_filter_sends_no_request_and_finds_no_job() -> None:
    platform = FakePlatform()
    platform.add()
    async with platform.connection() as connection:
        assert [job async for job in connection.list_jobs(ids=[])] == []
    assert not platform.requests


async def test_a_list_that_is_abandoned_leaves_no_request_open() -> None:
    platform = FakePlatform()
    for _ in range(250):
        platform.add()
    async with platform.connection() as connection:
        jobs = connection.list_jobs()
        assert (await anext(jobs)).id
        await jobs.aclose()
    assert platform.in_flight == 0


async def test_a_device_comes_with_specification_certificate_and_uptime() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        device = await connection.get_device("X8_01")
    assert device.is_online
    assert device.specification is not None
    assert device.specification.modes == 8
    assert device.certificate == {"target": "X8_01", "laser_wavelength_meters": 1.55e-06}
    assert device.expected_uptime["monday"] == (time(15, tzinfo=UTC), time(19, 59, 59, tzinfo=UTC))


async def test_version_0_2_0_knows_only_specifications() -> None:
    platform = FakePlatform()
    async with platform.connection(api_version="0.2.0") as connection:
        device = await connection.get_device("X8_01")
    assert device.specification is not None
    assert device.status is None
    assert [request.url.path for request in platform.requests][-1] == "/devices/X8_01/specifications"


async def test_an_unknown_device_is_not_found() -> None:
    async with FakePlatform().connection() as connection:
        with pytest.raises(sfjobs.NotFoundError):
            await connection.get_device("unknown")


@pytest.mark.parametrize("job_id", ["", "../devices", "a/b", "a?b", "a b", "a\n", ".", "..", "é", "x" * 300])
async def test_an_impossible_id_never_reaches_the_wire(job_id: str) -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        with pytest.raises(ValueError, match="not a job id"):
            await connection.get_job(job_id)
        with pytest.raises(ValueError, match="not a job id"):
            await connection.get_job_circuit(job_id)
    assert not platform.requests


async def test_the_circuit_comes_back_as_it_was_sent() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        job = await connection.create_job("simulon_gaussian", PROGRAM)
        assert await connection.get_job_circuit(job.id) == PROGRAM


def test_a_connection_without_settings_says_how_to_set_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in __import__("os").environ if name.startswith(("SFJOBS_", "XANADU_", "SF_API", "SF_CONF"))
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(sfjobs.ConfigurationError, match="sfjobs serve"):
        sfjobs.Connection()


@pytest.mark.usefixtures("no_slow_start")
async def test_a_thousand_waiters_over_http_make_ten_list_requests_a_sweep_on_four_connections() -> None:
    platform = FakePlatform(latency=0.05)
    ends = anyio.current_time() + 0.4
    jobs = [platform.add(ends_at=ends) for _ in range(1000)]
    async with platform.connection() as connection:
        handles = [Job(job.id, "open", connection) for job in jobs]
        await connection.ping()
        platform.most_in_flight = 0
        async with anyio.create_task_group() as group:
            for handle in handles:
                group.start_soon(lambda handle=handle: handle.wait(fetch_result=False))
        assert internals(connection).poller.is_idle
    assert len(platform.polls) == 20
    assert [len(request.url.params.get_list("id")) for request in platform.polls] == [100] * 20
    assert max(len(str(request.url)) for request in platform.polls) < 6000
    assert platform.most_in_flight == 4
    assert all(job.status == JobStatus.COMPLETED for job in handles)


async def test_cancelling_a_thousand_waiters_leaves_no_waiter_and_no_request() -> None:
    platform = FakePlatform(latency=0.05)
    jobs = [platform.add() for _ in range(1000)]
    async with platform.connection() as connection:
        with anyio.move_on_after(3):
            async with anyio.create_task_group() as group:
                for job in jobs:
                    group.start_soon(Job(job.id, "open", connection).wait)
        assert internals(connection).poller.is_idle
        assert platform.in_flight == 0
        before = len(platform.requests)
        await anyio.sleep(1000)
        assert len(platform.requests) == before


async def test_pages_that_shift_while_they_are_read_show_each_job_once() -> None:
    platform = FakePlatform()
    for _ in range(250):
        platform.add()
    present = [*platform.jobs][::-1]
    async with platform.connection() as connection:
        listed = []
        async for job in connection.list_jobs():
            listed.append(job.id)
            if len(listed) in (50, 150):
                for _ in range(30):
                    platform.add()
    assert listed == present
