"""
A served platform whose workers cannot start, before and after it has announced itself: it says so, and no account loses a job.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from sfjobs.errors import ConfigurationError
from sfjobs.platform import Limits, Platform, PlatformSettings, serving
from tests.platform.runners import Meeting, flag, has_ended
from tests.platform.server.test_serving import client_of, final, submit
from tests.platform.servers import ServerProcess

pytestmark = [pytest.mark.real_time, pytest.mark.skipif(sys.platform == "win32", reason="named pipes and signals")]

BROKEN = "tests.platform.broken_start:run"


def wait_for(platform: Platform, condition: Callable[[httpx.Response], bool]) -> dict[str, Any]:
    """Return the readiness of the platform when it meets the condition."""
    while not condition(response := httpx.get(f"{platform.url}/readyz", trust_env=False, timeout=30)):
        pass
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_without_a_worker_says_why_and_ends(tmp_path: Path, workers: int) -> None:
    server = ServerProcess(tmp_path, runner="there_is_no_such_runner", workers=workers)
    status, out, error = server.end()
    assert (status != 0, out) == (True, "")
    assert "no worker can be started" in error
    assert "there_is_no_such_runner" in error


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_a_memory_limit_that_is_too_small_is_refused_at_the_start(tmp_path: Path) -> None:
    settings = PlatformSettings(data_dir=tmp_path, limits=Limits(memory=60 << 20))
    with pytest.raises(ConfigurationError, match="--memory-limit"), serving(settings=settings):
        pass


def test_while_workers_cannot_start_jobs_wait_and_then_all_complete(tmp_path: Path, meeting: Meeting) -> None:
    """Each start that failed was charged to the next job: three for each, within seconds for a whole queue."""
    with (
        serving(settings=PlatformSettings(data_dir=tmp_path, runner=BROKEN)) as platform,
        client_of(platform) as client,
    ):
        ids = [submit(client) for _ in range(10)]
        _, pid, _ = meeting.arrival()
        flag("broken").touch()
        os.kill(pid, signal.SIGKILL)
        red = wait_for(platform, lambda response: response.status_code == 503)
        shown = [client.get(f"/jobs/{job_id}").json() for job_id in ids]
        live = httpx.get(f"{platform.url}/livez", trust_env=False).status_code
        flag("broken").unlink()
        meeting.let_go(len(ids))
        jobs = [final(client, job_id) for job_id in ids]
        wait_for(platform, lambda response: response.status_code == 200)
    assert (red["workers"], red["disk"], red["database"], live) == ("cannot be started", "ok", "ok", 200)
    assert {job["status"] for job in shown} == {"queued"}
    assert {job["status"] for job in jobs} == {"complete"}
    assert [job["meta"].get("attempts", 1) for job in jobs] == [2] + [1] * 9  # the first lost the worker it had


def test_readiness_is_red_while_running_jobs_finish(tmp_path: Path, meeting: Meeting) -> None:
    server = ServerProcess(tmp_path, runner="meet", grace=3600.0)
    platform = server.ready()
    with client_of(platform) as client:
        submit(client)
        _, pid, _ = meeting.arrival()
        server.signal(signal.SIGTERM)
        server.line()
        red = wait_for(platform, lambda response: response.status_code == 503)
        live = httpx.get(f"{platform.url}/livez", trust_env=False).status_code
        meeting.let_go()
        server.end()
    assert (red["draining"], red["workers"], live) == (True, "ok", 200)
    assert has_ended(pid)
