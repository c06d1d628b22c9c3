"""
The real xanadu-cloud-client 0.3.2, library and command line, against a started platform: existing code runs unchanged.
``nox -s interop`` installs it; without it, or without ``-m interop``, nothing here runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfjobs.cli.application import run
from sfjobs.platform import Platform, serving

xcc = pytest.importorskip("xcc")
requests = pytest.importorskip("requests")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.real_time,
    pytest.mark.filterwarnings("ignore::ResourceWarning:requests"),
]

PROGRAM = """name interop
version 1.0
target simulon_gaussian (shots=6)

Sgate(0.5) | 0
MeasureFock() | [0, 1]
"""
NEVER = PROGRAM.replace("simulon_gaussian", "never")


@pytest.fixture
def connection(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NO_PROXY", "*")
    return xcc.Connection(refresh_token=platform.api_key, host=platform.host, port=platform.port, tls=False)


def submit(connection: Any, circuit: str = PROGRAM, target: str = "simulon_gaussian", name: str | None = "mine") -> Any:
    return xcc.Job.submit(connection, name=name, target=target, circuit=circuit, language="blackbird:1.0")


def test_ping(connection: Any) -> None:
    assert connection.ping().ok


def test_a_bad_key_is_named_as_such(platform: Platform, connection: Any) -> None:
    stranger = xcc.Connection(refresh_token="wrong", host=platform.host, port=platform.port, tls=False)
    with pytest.raises(requests.exceptions.HTTPError, match=r"Refresh token .* is invalid"):
        stranger.ping()


def test_an_expired_access_token_is_refreshed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(access_token_lifetime=0.2) as platform:
        stale = xcc.Connection(refresh_token=platform.api_key, host=platform.host, port=platform.port, tls=False)
        stale.ping()
        used = stale.access_token
        while stale.access_token == used:  # until the platform has refused it once and it was replaced
            assert stale.ping().ok


def test_devices_are_listed_by_status(connection: Any) -> None:
    targets = [device.target for device in xcc.Device.list(connection, status="online")]
    assert {"simulon_gaussian", "X8_01"} <= set(targets)


def test_a_paused_device_is_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(data_dir=tmp_path) as platform:
        connection = xcc.Connection(refresh_token=platform.api_key, host=platform.host, port=platform.port, tls=False)
        assert run(["platform", "pause", "X8_01", "--reason", "calibration", "--data-dir", str(tmp_path)]) == 0
        deadline = time.monotonic() + 30
        while xcc.Device("X8_01", connection).up:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert xcc.Device("X8_01", connection).status == "offline"
        assert [device.target for device in xcc.Device.list(connection, status="offline")] == ["X8_01"]


def test_a_device_shows_all_its_sides(connection: Any) -> None:
    device = xcc.Device("X8_01", connection)
    assert device.up
    assert device.specification["modes"] == 8
    assert device.certificate["target"] == "X8_01"
    assert set(device.overview) == {"target", "status"}
    assert len(device.expected_uptime) == 7


def test_a_job_goes_all_the_way(connection: Any) -> None:
    job = submit(connection)
    job.wait(delay=0.05)
    (samples,) = job.result["output"]
    assert (job.status, job.name, samples.shape, samples.dtype) == ("complete", "mine", (6, 2), np.int64)
    assert (job.circuit, job.language, job.target) == (PROGRAM, "blackbird:1.0", "simulon_gaussian")
    assert job.created_at <= job.started_at <= job.finished_at
    assert job.running_time == job.finished_at - job.started_at


def test_a_job_without_a_name(connection: Any) -> None:
    assert submit(connection, PROGRAM.replace("name interop", "name None"), name=None).name is None


def test_a_failed_job_has_metadata(connection: Any) -> None:
    job = submit(connection, PROGRAM.replace("simulon_gaussian", "always_fails"), "always_fails")
    job.wait(delay=0.05)
    assert (job.status, set(job.metadata)) == ("failed", {"error-code", "error-detail"})


def test_a_job_is_cancelled(connection: Any) -> None:
    job = submit(connection, NEVER, "never")
    job.cancel()
    assert job.status == "cancelled"


def test_cancelling_a_job_that_has_ended_tells_why_not(connection: Any) -> None:
    job = submit(connection, NEVER, "never")
    job.cancel()
    late = xcc.Job(job.id, connection)
    with pytest.raises(requests.exceptions.HTTPError, match="cannot be cancelled: it is cancelled"):
        connection.request("PATCH", f"/jobs/{late.id}", json={"status": "cancelled"})


def test_jobs_are_listed_newest_first_by_limit_ids_and_status(connection: Any) -> None:
    first, second = [submit(connection, NEVER, "never") for _ in range(2)]
    first.cancel()
    assert [job.id for job in xcc.Job.list(connection, limit=2)] == [second.id, first.id]
    assert {job.id for job in xcc.Job.list(connection, ids=[first.id, second.id])} == {first.id, second.id}
    assert xcc.Job.list(connection, limit=1, status="cancelled")[0].id == first.id
    second.cancel()


@pytest.mark.parametrize(
    ("circuit", "target", "message"),
    [
        (PROGRAM, "X8_01", "target is 'X8_01', but its circuit is written for 'simulon_gaussian'"),
        (PROGRAM.replace(" (shots=6)", ""), "simulon_gaussian", "must say how many shots"),
        (PROGRAM.replace("simulon_gaussian", "nope"), "nope", "no target 'nope'"),
        (PROGRAM.replace("Sgate(0.5)", "Sgate(0.5"), "simulon_gaussian", "line 5"),
    ],
)
def test_a_refused_program_says_why(connection: Any, circuit: str, target: str, message: str) -> None:
    with pytest.raises(requests.exceptions.HTTPError, match=message):
        submit(connection, circuit, target)


def test_the_result_of_an_unfinished_job_is_an_http_error(connection: Any) -> None:
    job = submit(connection, NEVER, "never")
    with pytest.raises(requests.exceptions.HTTPError, match="404"):
        job.get_result()
    job.cancel()


def test_another_jobs_id_is_not_found(connection: Any) -> None:
    with pytest.raises(requests.exceptions.HTTPError, match="There is no job"):
        _ = xcc.Job("9d2e6a0c-3a5c-4c55-8d1a-4f0f6f0b7a11", connection).status


class CommandLine:
    def __init__(self, platform: Platform, home: Path) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        self._environment = {
            **kept,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "NO_PROXY": "*",
            "PAGER": "cat",
            "XANADU_CLOUD_REFRESH_TOKEN": platform.api_key,
            "XANADU_CLOUD_HOST": platform.host,
            "XANADU_CLOUD_PORT": str(platform.port),
            "XANADU_CLOUD_TLS": "False",
        }

    def __call__(self, *arguments: str) -> str:
        command = [sys.executable, "-c", "from xcc.commands import main; main()", *arguments]
        ran = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=False)
        assert ran.stderr == "", ran.stderr
        return ran.stdout.strip()


@pytest.fixture
def command_line(platform: Platform, tmp_path: Path) -> CommandLine:
    return CommandLine(platform, tmp_path)


def test_the_command_line_pings(command_line: CommandLine) -> None:
    assert command_line("ping") == "Successfully connected to the Xanadu Cloud."


def test_the_command_line_lists_devices(command_line: CommandLine) -> None:
    assert {"target": "X8_01", "status": "online"} in json.loads(command_line("device", "list"))


@pytest.mark.parametrize(
    ("flag", "key"), [("--availability", "monday"), ("--certificate", "target"), ("--specification", "layout")]
)
def test_the_command_line_shows_a_device(command_line: CommandLine, flag: str, key: str) -> None:
    assert key in json.loads(command_line("device", "get", "X8_01", flag))


def test_the_command_line_runs_a_job(command_line: CommandLine, connection: Any) -> None:
    circuit = PROGRAM.replace("\n", "\\n")
    submitted = json.loads(command_line("job", "submit", "--target", "simulon_gaussian", "--circuit", circuit))
    xcc.Job(submitted["id"], connection).wait(delay=0.05)
    result = json.loads(command_line("job", "get", submitted["id"], "--result"))
    assert np.shape(result["output"]) == (1, 6, 2)
    assert command_line("job", "get", submitted["id"], "--status") == "complete"
    assert command_line("job", "get", submitted["id"], "--circuit") == PROGRAM.strip()


def test_the_command_line_lists_and_cancels_jobs(command_line: CommandLine, connection: Any) -> None:
    job = submit(connection, NEVER, "never")
    listed = json.loads(command_line("job", "list", "--limit", "1"))
    by_id = json.loads(command_line("job", "list", "--ids", json.dumps([job.id])))
    assert [listed[0]["id"], by_id[0]["id"]] == [job.id, job.id]
    assert command_line("job", "cancel", job.id) == f"Successfully cancelled job with ID '{job.id}'."
