"""A platform that listens: started and stopped from any kind of program, without leftovers, and with its jobs after a restart."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from sfjobs.errors import ConfigurationError
from sfjobs.platform import Platform, PlatformSettings, serving
from tests.platform.runners import Meeting, is_alive
from tests.platform.servers import ServerProcess
from tests.platform.stand_ins import PROGRAM

pytestmark = [pytest.mark.real_time, pytest.mark.skipif(sys.platform == "win32", reason="named pipes and signals")]


def settings(folder: Path, runner: str = "meet", **options: Any) -> PlatformSettings:
    return PlatformSettings(data_dir=folder / "data", runner=f"tests.platform.runners:{runner}", **options)


def client_of(platform: Platform) -> httpx.Client:
    form = {"grant_type": "refresh_token", "refresh_token": platform.api_key, "client_id": "public"}
    response = httpx.post(
        f"{platform.url}/auth/realms/platform/protocol/openid-connect/token", data=form, trust_env=False
    )
    headers = {"authorization": f"Bearer {response.json()['access_token']}", "accept-version": "0.4.0"}
    return httpx.Client(base_url=platform.url, headers=headers, trust_env=False, timeout=30)


def submit(client: httpx.Client, circuit: str = PROGRAM) -> str:
    response = client.post("/jobs", json={"circuit": circuit})
    assert response.status_code == 201, response.text
    job_id: str = response.json()["id"]
    return job_id


def final(client: httpx.Client, job_id: str) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = client.get(f"/jobs/{job_id}").json()
        if job["status"] in {"complete", "failed", "cancelled"}:
            return job


def test_a_program_is_really_run() -> None:
    with serving() as platform, client_of(platform) as client:
        job_id = submit(client)
        job = final(client, job_id)
        samples = np.load(BytesIO(client.get(f"/jobs/{job_id}/result").content))["arr_0"]
    assert (job["status"], samples.shape) == ("complete", (4, 2))


async def test_it_serves_asyncio_and_trio_programs() -> None:
    async with serving() as platform, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{platform.url}/healthz")).status_code == 401


def test_two_platforms_stand_side_by_side() -> None:
    with serving() as first, serving() as second, client_of(first) as client:
        submit(client)
        with client_of(second) as other:
            assert other.get("/jobs").json() == {"data": []}


def test_nothing_is_left_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(threading.enumerate())
    with serving() as platform, client_of(platform) as client:
        final(client, submit(client))
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=30)  # anyio's threads end a moment later
    assert set(threading.enumerate()) <= before
    assert list(tmp_path.iterdir()) == []
    with socket.socket() as probe:
        assert probe.connect_ex((platform.host, platform.port)) != 0


def test_the_key_is_not_in_the_repr() -> None:
    with serving() as platform:
        assert platform.api_key not in repr(platform)


def test_requests_are_answered_while_all_workers_are_busy(tmp_path: Path, meeting: Meeting) -> None:
    with serving(settings=settings(tmp_path)) as platform, client_of(platform) as client:
        job_id = submit(client)
        meeting.arrival()
        responses = [client.get("/healthz").status_code for _ in range(50)]
        unfinished = client.get(f"/jobs/{job_id}").json()
        meeting.let_go()
        job = final(client, job_id)
    assert (responses, unfinished["status"], job["status"]) == ([200] * 50, "queued", "complete")
    assert unfinished["started_at"] is not None


def test_cancelling_a_running_job_ends_its_process(tmp_path: Path, meeting: Meeting) -> None:
    with serving(settings=settings(tmp_path)) as platform, client_of(platform) as client:
        job_id = submit(client)
        _, pid, _ = meeting.arrival()
        assert client.patch(f"/jobs/{job_id}", json={"status": "cancelled"}).status_code == 204
        job = final(client, job_id)
        assert (job["status"], is_alive(pid)) == ("cancelled", False)


def test_a_job_whose_worker_is_killed_runs_again(tmp_path: Path, meeting: Meeting) -> None:
    with serving(settings=settings(tmp_path)) as platform, client_of(platform) as client:
        job_id = submit(client)
        _, pid, _ = meeting.arrival()
        os.kill(pid, signal.SIGKILL)
        again, other_pid, attempt = meeting.arrival()
        meeting.let_go()
        assert (again, other_pid != pid, attempt, final(client, job_id)["status"]) == (job_id, True, 2, "complete")


def test_a_restart_keeps_what_is_done_and_runs_what_is_not(tmp_path: Path, meeting: Meeting) -> None:
    with serving(settings=settings(tmp_path)) as platform, client_of(platform) as client:
        meeting.let_go()
        done = submit(client)
        final(client, done)
        content = client.get(f"/jobs/{done}/result").content
        meeting.arrival()
        running, waiting = submit(client), submit(client)
        meeting.arrival()
    with serving(settings=settings(tmp_path)) as again, client_of(again) as client:
        meeting.let_go(2)
        statuses = [final(client, job_id)["status"] for job_id in (done, running, waiting)]
        assert client.get(f"/jobs/{done}/result").content == content
    assert (statuses, again.api_key) == (["complete"] * 3, platform.api_key)


def test_an_access_token_survives_a_restart(tmp_path: Path) -> None:
    with serving(data_dir=tmp_path / "data") as platform, client_of(platform) as client:
        token = client.headers["authorization"]
    with serving(data_dir=tmp_path / "data") as platform:
        response = httpx.get(f"{platform.url}/healthz", headers={"authorization": token}, trust_env=False)
    assert response.status_code == 200


def test_a_second_platform_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with (
        serving(data_dir=tmp_path / "data"),
        pytest.raises(ConfigurationError, match=rf"process {os.getpid()}"),
        serving(data_dir=tmp_path / "data"),
    ):
        pass


def test_a_lock_that_outlives_its_killed_holder_for_a_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "data").mkdir()
    lock = (tmp_path / "data" / "lock").open("w+")
    lock.write(f"{ended.pid}\n")
    lock.flush()
    fcntl.flock(lock, fcntl.LOCK_EX)
    waits: list[float] = []

    def let_go(seconds: float) -> None:
        waits.append(seconds)
        lock.close()

    with monkeypatch.context() as patched:
        patched.setattr("sfjobs.platform.settings.time.sleep", let_go)
        with serving(data_dir=tmp_path / "data"):
            assert (tmp_path / "data" / "lock").read_text() == f"{os.getpid()}\n"
    assert len(waits) == 1


def test_a_taken_port_is_refused() -> None:
    with (
        serving() as platform,
        pytest.raises(ConfigurationError, match=str(platform.port)),
        serving(port=platform.port),
    ):
        pass


def test_the_data_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    with serving(data_dir=tmp_path / "data"):
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert {mode for name, mode in files.items() if name != "results"} == {0o600}


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_NOFILE")
def test_a_server_takes_more_connections_than_it_was_given_files_at_first(tmp_path: Path) -> None:
    import resource

    few = (
        max(int(file.name) for file in Path("/dev/fd").iterdir()) + 50
    )  # for a moment also the limit of this process, which starts the server
    many = few + 64
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    try:
        server = ServerProcess(tmp_path / "data")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    platform = server.ready()
    with ExitStack() as stack:
        for _ in range(many):
            stack.enter_context(socket.create_connection((platform.host, platform.port), timeout=30))
        assert httpx.get(f"{platform.url}/healthz", trust_env=False).status_code == 401
    assert server.stop(signal.SIGTERM)[0] == 0


def test_a_head_without_an_end_is_refused(tmp_path: Path) -> None:
    with serving() as platform, socket.create_connection((platform.host, platform.port), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: ")
        received = b""
        try:
            for _ in range(64):
                connection.sendall(b"x" * 65536)
            received = connection.recv(65536)
        except ConnectionError:
            received = b"HTTP/1.1 431"
    assert received.startswith(b"HTTP/1.1 431")


def test_an_unguarded_script_can_serve(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from sfjobs.platform import serving\n"
        "from tests.platform.server.test_serving import client_of, submit, final\n"
        "with serving() as platform, client_of(platform) as client:\n"
        "    print(final(client, submit(client))['status'])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "complete\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server_cleanly(tmp_path: Path, number: int) -> None:
    server = ServerProcess(tmp_path / "data")
    with client_of(server.ready()) as client:
        final(client, submit(client))
    assert server.stop(number) == (0, "stopping 0\nstopped cleanly\n", "")


def test_a_killed_server_leaves_every_accepted_job_to_the_next(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    first = server.ready()
    with client_of(first) as client:
        ids = [submit(client) for _ in range(5)]
    server.stop(signal.SIGKILL)
    with serving(data_dir=tmp_path / "data") as platform, client_of(platform) as client:
        statuses = [final(client, job_id)["status"] for job_id in ids]
    assert (statuses, platform.api_key) == (["complete"] * 5, first.api_key)


@pytest.mark.parametrize(
    "first", ["from sfjobs.platform.server.serving import Platform", "from sfjobs.platform import Platform", ""]
)
def test_serving_is_the_function_whatever_was_imported_before(first: str) -> None:
    script = f"{first}\nfrom sfjobs.platform import serving\nassert serving.__name__ == 'serving', serving\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, timeout=60, check=False)
    assert ran.stderr == b""
