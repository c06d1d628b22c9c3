"""
A platform that is killed again and again while jobs are submitted and run: no job is lost, none exists twice, and each ends
with its complete result. Servers and workers are real processes, the kills are SIGKILL, and their times are drawn from a seed.
"""

from __future__ import annotations

import hashlib
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np
import pytest

from sfjobs.models import JobStatus
from sfjobs.platform import PlatformSettings, serving
from sfjobs.platform.api.routes.account import TOKEN_PATH
from sfjobs.platform.jobs.attempt import MAX_LOST_WORKERS
from sfjobs.platform.records import JobRecord
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.runners import Meeting
from tests.platform.server.test_serving import client_of, final, submit
from tests.platform.stand_ins import PROGRAM

pytestmark = [pytest.mark.real_time, pytest.mark.skipif(sys.platform == "win32", reason="fork, named pipes, signals")]

SEED = 20261125
KILLS = 50
JOBS_PER_GENERATION = 20
CLIENTS = 2
UNFINISHED = "status=open&status=queued&status=cancel_pending"

FORKING_SCRIPT = """
import os, sys
from pathlib import Path
from sfjobs.platform import PlatformSettings, run_server
for workers in sys.stdin:
    settings = PlatformSettings(
        data_dir=Path(sys.argv[1]), workers=int(workers), runner="tests.platform.runners:pass_by"
    )
    pid = os.fork()
    if not pid:
        run_server(settings=settings, port=0, on_ready=lambda info: print("ready", info.url, info.api_key, flush=True))
        os._exit(0)
    print("started", pid, flush=True)
    os.waitpid(pid, 0)
    print("ended", flush=True)
"""


class ForkedServers:
    """Servers on one data directory, one after another, each forked from a process that has imported everything already."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", FORKING_SCRIPT, str(folder)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._pid: int | None = None

    def start(self, workers: int = 2) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{workers}\n")
        self._process.stdin.flush()
        self._pid = int(self._words("started")[0])

    def ready(self) -> tuple[str, str]:
        """Return URL and API key when the server listens."""
        url, api_key = self._words("ready")
        return url, api_key

    def kill(self) -> None:
        assert self._pid is not None
        os.kill(self._pid, signal.SIGKILL)
        while self._line() != "ended":  # it may have become ready before
            pass
        self._pid = None

    def _words(self, first: str) -> list[str]:
        word, *rest = self._line().split()
        assert word == first
        return rest

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the forking process has ended"
        return line.rstrip("\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
        with self._process:
            self._process.kill()


@dataclass(frozen=True)
class SubmissionRequest:
    """Submissions in one request, a batch or a single one, by their idempotency keys."""

    keys: tuple[str, ...]

    def request(self) -> dict[str, Any]:
        if len(self.keys) == 1:
            return {"json": {"circuit": PROGRAM}, "headers": {"idempotency-key": self.keys[0]}}
        items = [{"circuit": PROGRAM, "idempotency_key": key} for key in self.keys]
        return {"json": items, "headers": {"content-type": "application/jobs+json"}}

    def jobs(self, response: httpx.Response) -> list[dict[str, Any]]:
        if len(self.keys) == 1:
            return [response.json()]
        return [item["job"] for item in response.json()["data"]]


class Submitters:
    """Clients that repeat each request until it is answered, through all restarts of the server."""

    def __init__(self) -> None:
        self.requests: queue.SimpleQueue[SubmissionRequest | None] = queue.SimpleQueue()
        self.sent: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.responses: dict[SubmissionRequest, list[dict[str, Any]]] = {}
        self._place = threading.Condition()
        self._generation = 0
        self._url = ""
        self._headers: dict[str, str] = {}

    def connect(self, url: str, api_key: str) -> None:
        """Use a new server. Access tokens outlive the server that gave them."""
        if not self._headers:
            form = {"grant_type": "refresh_token", "refresh_token": api_key}
            response = httpx.post(url + TOKEN_PATH, data=form, trust_env=False)
            self._headers = {"authorization": f"Bearer {response.json()['access_token']}"}
        with self._place:
            self._generation += 1
            self._url = url
            self._place.notify_all()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self._url, headers=self._headers, trust_env=False, timeout=60)

    def run(self) -> None:
        seen = 0
        with httpx.Client(trust_env=False, timeout=60) as client:
            while (submission := self.requests.get()) is not None:
                response = None
                while response is None:
                    with self._place:
                        assert self._place.wait_for(lambda seen=seen: self._generation > seen, timeout=60), (
                            "no server comes"
                        )
                        generation, url = self._generation, self._url
                    self.sent.put(generation)
                    try:
                        request = submission.request()
                        response = client.post(
                            f"{url}/jobs", json=request["json"], headers={**self._headers, **request["headers"]}
                        )
                    except httpx.TransportError:
                        seen = generation
                assert response.status_code in {201, 207}, response.text
                self.responses[submission] = submission.jobs(response)


def requests_of(rng: random.Random) -> list[list[SubmissionRequest]]:
    """Return the requests of each generation: the same number of jobs, in batches and singly."""
    generations = []
    for _ in range(KILLS):
        keys = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(JOBS_PER_GENERATION)]
        requests = []
        while keys:
            size = rng.choice([1, 1, 1, 2, 8])
            requests.append(SubmissionRequest(tuple(keys[:size])))
            keys = keys[size:]
        generations.append(requests)
    return generations


def wait_for_kill(
    kind: str, rng: random.Random, submitters: Submitters, meeting: Meeting, requests: Sequence[SubmissionRequest]
) -> None:
    if kind == "while jobs come":
        for _ in range(rng.randint(1, len(requests))):
            submitters.sent.get(timeout=60)
        time.sleep(rng.uniform(0, 0.008))
    else:
        for _ in range(rng.randint(1, 15)):
            meeting.arrival()
        time.sleep(rng.uniform(0, 0.004))


@pytest.mark.timeout(300)  # some 15 s of two cores, more where they are shared
def test_a_platform_that_is_killed_fifty_times_loses_no_job_and_doubles_none(tmp_path: Path, meeting: Meeting) -> None:
    rng = random.Random(SEED)
    generations = requests_of(rng)
    submitters = Submitters()
    data = tmp_path / "data"
    with ForkedServers(data) as servers, ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(submitters.run) for _ in range(CLIENTS)]
        for number, requests in enumerate(generations):
            while not submitters.sent.empty():
                submitters.sent.get()
            meeting.forget()
            for submission in requests:
                submitters.requests.put(submission)
            servers.start(workers=rng.choice([1, 1, 1, 2]))
            kind = rng.choice(["while it starts", "while jobs come", "while jobs run", "while jobs run"])
            if kind == "while it starts" and number:
                time.sleep(rng.uniform(0, 0.12))
            else:
                submitters.connect(*servers.ready())
                wait_for_kill(kind, rng, submitters, meeting, requests)
            servers.kill()
        servers.start()
        submitters.connect(*servers.ready())
        for _ in clients:
            submitters.requests.put(None)
        for client in clients:
            client.result(timeout=60)
        wait_for_the_last(submitters)
        servers.kill()

        jobs = {
            key: job["id"]
            for submission, found in submitters.responses.items()
            for key, job in zip(submission.keys, found, strict=True)
        }
        records = stored(data)
        assert len(jobs) == len(set(jobs.values())) == len(records) == KILLS * JOBS_PER_GENERATION
        assert {record.id for record in records} == set(jobs.values())
        assert Counter(record.status for record in records) == {JobStatus.COMPLETED: KILLS * JOBS_PER_GENERATION}
        assert any(record.attempt > 1 for record in records), "no kill has hit a job"
        for record in records:
            assert whole(data / "results", record)
            assert ("rerun_reason" in record.meta) == (record.attempt > 1)

        servers.start()
        submitters.connect(*servers.ready())
        with submitters.client() as client:
            for submission, found in submitters.responses.items():
                request = submission.request()
                assert submission.jobs(client.post("/jobs", json=request["json"], headers=request["headers"])) == found
        assert {path.name for path in (data / "results").iterdir() if path.is_file()} == {
            record.result.name for record in records if record.result
        }
        servers.kill()
    assert len(stored(data)) == KILLS * JOBS_PER_GENERATION


def wait_for_the_last(submitters: Submitters) -> None:
    with submitters.client() as client, client.stream("GET", "/jobs/changes") as stream:
        lines = stream.iter_lines()
        assert next(lines)
        while client.get(f"/jobs?size=1&{UNFINISHED}").json()["data"]:
            while '"status":"complete"' not in next(lines):
                pass


def stored(data: Path) -> list[JobRecord]:
    """Return all jobs, from the log of changes, which must have each of them once and in order."""
    with closing(SQLiteStore(data / "platform.sqlite3")) as store:
        records = store.changes(store.ensure_account("local"), after=0, size=10**6)
        assert records[-1].change <= store.newest_change(records[-1].account)
    changes = [record.change for record in records]
    assert changes == sorted(set(changes))
    assert len({record.id for record in records}) == len(records)
    return records


def whole(results: Path, record: JobRecord) -> bool:
    assert record.result is not None
    path = results / record.result.name
    content = path.read_bytes()
    with np.load(path) as archive:
        samples = archive["arr_0"]
    return (len(content), hashlib.sha256(content).hexdigest(), samples.shape) == (
        record.result.size,
        record.result.digest,
        (4, 4),
    )


def test_workers_that_are_killed_lose_no_job_and_three_in_a_row_end_one(tmp_path: Path, meeting: Meeting) -> None:
    rng = random.Random(SEED)
    settings = PlatformSettings(data_dir=tmp_path / "data", runner="tests.platform.runners:meet")
    with serving(settings=settings) as platform, client_of(platform) as client:
        ids = [submit(client) for _ in range(12)]
        kills: Counter[str] = Counter()
        under_way = set(ids)
        while under_way:
            job_id, pid, attempt = meeting.arrival()
            assert attempt == kills[job_id] + 1
            if rng.random() < 0.6:
                kills[job_id] += 1
                os.kill(pid, signal.SIGKILL)
            else:
                meeting.let_go()
            if attempt == MAX_LOST_WORKERS or attempt > kills[job_id]:
                under_way.remove(job_id)
        jobs = {job_id: final(client, job_id) for job_id in ids}
    assert set(kills.values()) | {0} == {0, 1, 2, 3}, "the seed leaves something out"
    for job_id, job in jobs.items():
        lost = kills[job_id]
        assert job["status"] == ("failed" if lost == MAX_LOST_WORKERS else "complete")
        assert job["meta"].get("attempts", 1) == min(lost + 1, MAX_LOST_WORKERS)
        assert ("status -9" in job["meta"].get("rerun_reason", "")) == (lost > 0)
        assert ("given up after 3 workers" in job["meta"].get("error-detail", "")) == (lost == MAX_LOST_WORKERS)
