"""The stop of a platform: running jobs may finish, no others start, and clients get an error; and the restart after a kill."""

from __future__ import annotations

import inspect
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path

import httpx
import pytest

from sfjobs.cli.commands.serve import serve
from sfjobs.models import JobStatus
from sfjobs.platform import run_server
from sfjobs.platform.records import JobRecord
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.runners import Meeting, has_ended, is_alive
from tests.platform.server.test_serving import client_of, final, submit
from tests.platform.servers import ServerProcess
from tests.platform.stand_ins import PROGRAM

pytestmark = [pytest.mark.real_time, pytest.mark.skipif(sys.platform == "win32", reason="named pipes and signals")]

FOR_EVER = 3600.0


def left_behind(folder: Path, job_id: str) -> JobRecord:
    """Return the job as the stopped platform left it, before the next start changes it."""
    with closing(SQLiteStore(folder / "platform.sqlite3")) as store:
        job = store.job(job_id)
    assert job is not None
    return job


def test_running_jobs_may_finish_and_no_others_begin(tmp_path: Path, meeting: Meeting) -> None:
    server = ServerProcess(tmp_path, runner="meet", grace=FOR_EVER)
    with client_of(server.ready()) as client:
        running, waiting = submit(client), submit(client)
        meeting.arrival()
        server.signal(signal.SIGTERM)
        assert server.line() == "stopping 1"
        meeting.let_go()
        assert server.end() == (0, "stopped cleanly\n", "")
    assert left_behind(tmp_path, running).status == JobStatus.COMPLETED
    job = left_behind(tmp_path, waiting)
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 0)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ({}, {"circuit": PROGRAM}),
        ({"idempotency-key": "a-key"}, {"circuit": PROGRAM}),
        ({"content-type": "application/jobs+json"}, [{"circuit": PROGRAM}]),
    ],
)
def test_while_jobs_finish_new_ones_are_refused_and_other_requests_answered(
    tmp_path: Path, meeting: Meeting, kind: dict[str, str], body: object
) -> None:
    server = ServerProcess(tmp_path, runner="meet", grace=FOR_EVER)
    platform = server.ready()
    with client_of(platform) as client:
        job_id = submit(client)
        meeting.arrival()
        server.signal(signal.SIGTERM)
        server.line()
        refused = client.post("/jobs", json=body, headers=kind)
        seen = client.get(f"/jobs/{job_id}")
        for _ in range(20):  # over new connections, too
            assert httpx.get(f"{platform.url}/healthz", trust_env=False).status_code == 401
        meeting.let_go()
        server.end()
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "stopping", "5")
    assert (seen.status_code, seen.json()["status"]) == (200, "queued")


def test_a_job_that_does_not_finish_in_time_is_put_back_uncounted(tmp_path: Path, meeting: Meeting) -> None:
    server = ServerProcess(tmp_path, runner="meet", grace=0.01)
    with client_of(server.ready()) as client:
        job_id = submit(client)
        _, pid, _ = meeting.arrival()
    assert server.stop(signal.SIGTERM) == (0, "stopping 1\nstopped cleanly\n", "")
    job = left_behind(tmp_path, job_id)
    assert (job.status, job.started, job.attempt, dict(job.meta)) == (JobStatus.QUEUED, None, 0, {})
    assert not is_alive(pid)


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path, meeting: Meeting) -> None:
    server = ServerProcess(tmp_path, runner="meet", grace=FOR_EVER)
    with client_of(server.ready()) as client:
        job_id = submit(client)
        _, pid, _ = meeting.arrival()
        server.signal(signal.SIGINT)
        assert server.line() == "stopping 1"
        assert server.stop(signal.SIGINT) == (0, "stopped cleanly\n", "")
    assert (left_behind(tmp_path, job_id).attempt, is_alive(pid)) == (0, False)


def test_without_a_running_job_nothing_is_waited_for(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, grace=FOR_EVER)
    server.ready()
    assert server.stop(signal.SIGTERM) == (0, "stopping 0\nstopped cleanly\n", "")


def test_the_feed_has_the_finished_jobs_and_then_its_end(tmp_path: Path, meeting: Meeting) -> None:
    server = ServerProcess(tmp_path, runner="meet", grace=FOR_EVER)
    with client_of(server.ready()) as client, client.stream("GET", "/jobs/changes") as stream:
        lines = stream.iter_lines()
        assert "event: hello" in next(line for line in lines if line.startswith("event"))
        submit(client)
        meeting.arrival()
        server.signal(signal.SIGTERM)
        server.line()
        meeting.let_go()
        rest = list(lines)
    server.end()
    assert any('"status":"complete"' in line for line in rest)
    assert [line for line in rest if line.startswith("event")][-1] == "event: bye"


def test_a_third_signal_ends_the_process_like_any_other() -> None:
    script = (
        "import asyncio, signal\n"
        "from sfjobs.platform.server.shutdown import Stop, stop_on_signals\n"
        "async def main():\n"
        "    stop = Stop()\n"
        "    with stop_on_signals(stop):\n"
        "        for _ in range(3):\n"
        "            signal.raise_signal(signal.SIGTERM)\n"
        "            await asyncio.sleep(0)\n"
        "            print(stop.requested.done(), stop.requested_at_once.done(), flush=True)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "True False\nTrue True\n")


def test_a_job_that_ran_when_the_platform_was_killed_runs_again_and_says_so(tmp_path: Path, meeting: Meeting) -> None:
    server = ServerProcess(tmp_path, runner="meet")
    with client_of(server.ready()) as client:
        running, waiting = submit(client), submit(client)
        meeting.arrival()
    server.stop(signal.SIGKILL)
    server = ServerProcess(tmp_path, runner="meet")
    with client_of(server.ready()) as client:
        meeting.let_go(2)
        assert [meeting.arrival()[::2] for _ in range(2)] == [(running, 2), (waiting, 1)]
        metas = [final(client, job_id)["meta"] for job_id in (running, waiting)]
    server.stop(signal.SIGTERM)
    assert (metas[0]["attempts"], "ended without a stop" in metas[0]["rerun_reason"]) == (2, True)
    assert "attempts" not in metas[1]


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
def test_a_killed_platform_leaves_no_worker_even_in_the_middle_of_native_code(tmp_path: Path, meeting: Meeting) -> None:
    server = ServerProcess(tmp_path, runner="grasp")
    with client_of(server.ready()) as client:
        submit(client)
        _, pid, _ = meeting.arrival()
    server.stop(signal.SIGKILL)
    assert has_ended(pid)


def test_a_platform_that_is_killed_while_it_stops_counts_no_attempt(tmp_path: Path, meeting: Meeting) -> None:
    """As by a supervisor that waits for less time than ``grace``: each restart counted as a crash of the job."""
    job_id = None
    for _ in range(3):
        server = ServerProcess(tmp_path, runner="meet", grace=FOR_EVER)
        platform = server.ready()
        if job_id is None:
            with client_of(platform) as client:
                job_id = submit(client)
        assert meeting.arrival()[::2] == (job_id, 1)
        server.signal(signal.SIGTERM)
        assert server.line() == "stopping 1"
        while not stop_is_noted(tmp_path):
            pass
        server.stop(signal.SIGKILL)
    assert job_id is not None
    job = left_behind(tmp_path, job_id)
    assert (job.status, job.attempt, dict(job.meta)) == (JobStatus.QUEUED, 0, {})


def stop_is_noted(folder: Path) -> bool:
    with closing(sqlite3.connect(folder / "platform.sqlite3")) as database:
        return bool(database.execute("SELECT count(*) FROM meta WHERE key = 'stop'").fetchone()[0])


def test_the_default_grace_leaves_room_below_the_ten_seconds_of_docker_stop() -> None:
    requests = import_module("sfjobs.platform.server.serving")._STOP_TIMEOUT_SECONDS
    for function in (run_server, serve):
        assert inspect.signature(function).parameters["grace"].default + requests + 1 < 10


def test_a_stop_whose_report_cannot_be_written_puts_jobs_back_all_the_same(tmp_path: Path, meeting: Meeting) -> None:
    """As after ``sfjobs serve | head``, or with a log on a full disk."""
    server = ServerProcess(tmp_path, runner="meet", grace=0.01)
    with client_of(server.ready()) as client:
        job_id = submit(client)
        meeting.arrival()
    assert server.process.stdout is not None
    server.process.stdout.close()
    server.signal(signal.SIGTERM)
    assert server.process.wait(timeout=60) in {0, 1, 120}  # the script prints again at its end
    assert server.process.stderr is not None
    server.process.stderr.close()
    job = left_behind(tmp_path, job_id)
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 0)
