"""``serving``: a scripted platform on a socket, for async, blocking and foreign callers; and the embedded platform behind one."""

from __future__ import annotations

import socket
import threading
import time

import anyio
import httpx
import pytest

import sfjobs
from sfjobs.testing import EmbeddedPlatform, FakeJob, FakePlatform, Fault, Faults, serving
from tests.testing.conftest import PROGRAM

pytestmark = pytest.mark.real_time


async def test_it_serves_async_callers() -> None:
    async with serving(FakePlatform(run_time=0.1)) as platform, platform.connection() as connection:
        jobs = [job async for job in connection.create_jobs("X8_01", [PROGRAM] * 30, shots=2)]
        results = [await job for job in jobs if isinstance(job, sfjobs.Job)]
    assert [result.samples.shape for result in results] == [(2, 2)] * 30


def test_it_serves_blocking_callers_and_ends_with_the_block() -> None:
    platform = FakePlatform()
    with serving(platform) as served:
        assert served is platform
        url = platform.url
        with platform.blocking_connection() as connection:
            assert connection.create_job("X8_01", PROGRAM, shots=1).wait(timeout=60) == "complete"
    assert platform.url != url
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")
    assert [thread.name for thread in threading.enumerate() if thread.name == "sfjobs-testing"] == []
    with platform.blocking_connection() as connection:  # in memory again
        assert connection.ping()


def test_other_clients_can_use_it() -> None:
    with serving() as platform, httpx.Client(base_url=platform.url) as client:
        assert client.get("/jobs").json()["code"] == "unauthenticated"
        form = {"grant_type": "refresh_token", "refresh_token": platform.api_key, "client_id": "public"}
        token = client.post("/auth/realms/platform/protocol/openid-connect/token", data=form).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        job = client.post("/jobs", json={"name": None, "target": "X8_01", "circuit": PROGRAM}).json()
        assert job["status"] == "queued"
        assert client.head(f"/jobs/{job['id']}").status_code == 404
        answer = client.get(f"/jobs/{job['id']}")
        assert (answer.json()["status"], "date" in answer.headers) == ("complete", True)
        old = client.get(f"/jobs/{job['id']}/result", headers={"Accept-Version": "0.2.0"})
        assert old.content.startswith(b"\x93NUMPY")
        assert client.delete("/jobs").status_code == 404


def test_an_address_that_is_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(sfjobs.ConfigurationError, match=f"127.0.0.1:{port} cannot be used"):
            serving(port=port).__enter__()


def test_an_error_in_a_function_of_the_test_reaches_the_client(capfd: pytest.CaptureFixture[str]) -> None:
    def result(job: FakeJob) -> list[list[int]]:
        raise KeyError(f"no samples for {job.target}")

    with serving(FakePlatform(result=result)) as platform, platform.blocking_connection(retries=1) as connection:
        job = connection.create_job("X8_01", PROGRAM, shots=1)
        job.wait(timeout=60, fetch_result=False)
        with pytest.raises(sfjobs.ServerError, match="no samples for X8_01"):
            job.fetch_result()
    assert "in result" in capfd.readouterr().err


def test_jobs_may_be_ended_from_any_thread() -> None:
    with serving(FakePlatform(run_time=None)) as platform, platform.blocking_connection() as connection:
        job = connection.create_job("X8_01", PROGRAM, shots=1)
        timer = threading.Timer(0.2, lambda: platform.jobs[0].complete([[5]]))
        timer.start()
        assert job.wait(timeout=60) == "complete"
        assert job.result.samples.tolist() == [[5]]
        timer.join()


async def test_latency_and_faults_may_be_given_and_changed() -> None:
    faults = Faults(Fault.status(503, path="/healthz", times=2))
    async with serving(faults=faults, latency=0.2) as platform, platform.connection(retries=2) as connection:
        began = time.monotonic()
        with pytest.raises(sfjobs.ServerError):
            await connection.ping()
        assert time.monotonic() - began >= 0.6  # a token and two refusals
        platform.latency = 0.0
        platform.faults.clear()
        await connection.ping()


async def test_a_cancelled_caller_leaves_no_server_behind() -> None:
    with anyio.move_on_after(0.05):
        async with serving():
            await anyio.sleep_forever()
    assert [thread.name for thread in threading.enumerate() if thread.name == "sfjobs-testing"] == []


async def test_the_embedded_platform_runs_programs_behind_faults() -> None:
    faults = Faults(Fault.lost_answer(method="POST", path="/jobs", nth=2), Fault.feed_cut())
    async with serving(EmbeddedPlatform(), faults=faults) as platform, platform.connection() as connection:
        jobs = [await connection.create_job("simulon_gaussian", PROGRAM, shots=4) for _ in range(2)]
        results = [await job for job in jobs]
        assert [result.samples.tolist() for result in results] == [[[0, 0]] * 4] * 2
        assert len([job async for job in connection.list_jobs()]) == 2
        platform.expire_tokens()
        await connection.ping()
    assert platform.faults.applied("reset before answer") == 1
    assert platform.requests.count("POST", "/auth/*") == 2
    assert platform.api_key not in repr(list(platform.requests))
