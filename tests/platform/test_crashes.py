"""
A platform that is killed again and again while jobs are submitted and run: none is lost, none is there twice, each ends with its
whole result. Servers and workers are real processes and the kills are SIGKILL; where they fall is drawn from a seed.
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
from sfjobs.platform.jobs.scheduler import MAX_LOST_WORKERS
from sfjobs.platform.records import JobRecord
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.runners import Meeting
from tests.platform.server.test_serving import client_of, final, submit
from tests.platform.stand_ins import PROGRAM

pytestmark = [pytest.mark.real_time, pytest.mark.skipif(sys.platform == "win32", reason="fork, named pipes, signals")]

SEED = 20261125
KILLS = 50
JOBS_A_LIFE = 20
CLIENTS = 2
UNFINISHED = "status=open&status=queued&status=cancel_pending"

NURSERY = """
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
    print("born", pid, flush=True)
    os.waitpid(pid, 0)
    print("dead", flush=True)
"""


class Nursery:
    """Servers on one data directory, one after another, each forked from a process that has imported everything already."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", NURSERY, str(folder)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._pid: int | None = None

    def bear(self, workers: int = 2) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{workers}\n")
        self._process.stdin.flush()
        self._pid = int(self._words("born")[0])

    def ready(self) -> tuple[str, str]:
        """Url and API key, when the server listens."""
        url, api_key = self._words("ready")
        return url, api_key

    def kill(self) -> None:
        assert self._pid is not None
        os.kill(self._pid, signal.SIGKILL)
        while self._line() != "dead":  # it may have become ready before
            pass
        self._pid = None

    def _words(self, first: str) -> list[str]:
        word, *rest = self._line().split()
        assert word == first
        return rest

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery has ended"
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
class Order:
    """Submissions that go in one request, a batch or a single one, by their idempotency keys."""

    keys: tuple[str, ...]

    def request(self) -> dict[str, Any]:
        if len(self.keys) == 1:
            return {"json": {"circuit": PROGRAM}, "headers": {"idempotency-key": self.keys[0]}}
        items = [{"circuit": PROGRAM, "idempotency_key": key} for key in self.keys]
        return {"json": items, "headers": {"content-type": "application/jobs+json"}}

    def jobs(self, answer: httpx.Response) -> list[dict[str, Any]]:
        if len(self.keys) == 1:
            return [answer.json()]
        return [item["job"] for item in answer.json()["data"]]


class Crowd:
    """Clients that submit orders until each is answered, whatever becomes of the server meanwhile."""

    def __init__(self) -> None:
        self.orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self.sent: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.answers: dict[Order, list[dict[str, Any]]] = {}
        self._place = threading.Condition()
        self._life = 0
        self._url = ""
        self._headers: dict[str, str] = {}

    def meet(self, url: str, api_key: str) -> None:
        """A new server listens there. Access tokens outlive the server that gave them."""
        if not self._headers:
            form = {"grant_type": "refresh_token", "refresh_token": api_key}
            answer = httpx.post(url + TOKEN_PATH, data=form, trust_env=False)
            self._headers = {"authorization": f"Bearer {answer.json()['access_token']}"}
        with self._place:
            self._life += 1
            self._url = url
            self._place.notify_all()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self._url, headers=self._headers, trust_env=False, timeout=60)

    def run(self) -> None:
        met = 0
        with httpx.Client(trust_env=False, timeout=60) as client:
            while (order := self.orders.get()) is not None:
                answer = None
                while answer is None:
                    with self._place:
                        assert self._place.wait_for(lambda met=met: self._life > met, timeout=60), "no server comes"
                        life, url = self._life, self._url
                    self.sent.put(life)
                    try:
                        request = order.request()
                        answer = client.post(
                            f"{url}/jobs", json=request["json"], headers={**self._headers, **request["headers"]}
                        )
                    except httpx.TransportError:
                        met = life
                assert answer.status_code in {201, 207}, answer.text
                self.answers[order] = order.jobs(answer)


def orders_of(rng: random.Random) -> list[list[Order]]:
    """What is submitted in each life: as many jobs in each, in batches and singly."""
    lives = []
    for _ in range(KILLS):
        keys = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(JOBS_A_LIFE)]
        orders = []
        while keys:
            size = rng.choice([1, 1, 1, 2, 8])
            orders.append(Order(tuple(keys[:size])))
            keys = keys[size:]
        lives.append(orders)
    return lives


def wait_for_kill(kind: str, rng: random.Random, crowd: Crowd, meeting: Meeting, orders: Sequence[Order]) -> None:
    if kind == "while jobs come":
        for _ in range(rng.randint(1, len(orders))):
            crowd.sent.get(timeout=60)
        time.sleep(rng.uniform(0, 0.008))
    else:
        for _ in range(rng.randint(1, 15)):
            meeting.arrival()
        time.sleep(rng.uniform(0, 0.004))


@pytest.mark.timeout(300)  # some 15 s of two cores, more where they are shared
def test_a_platform_that_is_killed_fifty_times_loses_no_job_and_doubles_none(tmp_path: Path, meeting: Meeting) -> None:
    rng = random.Random(SEED)
    lives = orders_of(rng)
    crowd = Crowd()
    data = tmp_path / "data"
    with Nursery(data) as nursery, ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(crowd.run) for _ in range(CLIENTS)]
        for number, orders in enumerate(lives):
            while not crowd.sent.empty():
                crowd.sent.get()
            meeting.forget()
            for order in orders:
                crowd.orders.put(order)
            nursery.bear(workers=rng.choice([1, 1, 1, 2]))
            kind = rng.choice(["while it starts", "while jobs come", "while jobs run", "while jobs run"])
            if kind == "while it starts" and number:
                time.sleep(rng.uniform(0, 0.12))
            else:
                crowd.meet(*nursery.ready())
                wait_for_kill(kind, rng, crowd, meeting, orders)
            nursery.kill()
        nursery.bear()
        crowd.meet(*nursery.ready())
        for _ in clients:
            crowd.orders.put(None)
        for client in clients:
            client.result(timeout=60)
        wait_for_the_last(crowd)
        nursery.kill()

        jobs = {
            key: job["id"] for order, found in crowd.answers.items() for key, job in zip(order.keys, found, strict=True)
        }
        records = stored(data)
        assert len(jobs) == len(set(jobs.values())) == len(records) == KILLS * JOBS_A_LIFE
        assert {record.id for record in records} == set(jobs.values())
        assert Counter(record.status for record in records) == {JobStatus.COMPLETED: KILLS * JOBS_A_LIFE}
        assert any(record.attempt > 1 for record in records), "no kill has hit a job"
        for record in records:
            assert whole(data / "results", record)
            assert ("rerun_reason" in record.meta) == (record.attempt > 1)

        nursery.bear()
        crowd.meet(*nursery.ready())
        with crowd.client() as client:
            for order, found in crowd.answers.items():
                request = order.request()
                assert order.jobs(client.post("/jobs", json=request["json"], headers=request["headers"])) == found
        assert {path.name for path in (data / "results").iterdir()} == {
            record.result.name for record in records if record.result
        }
        nursery.kill()
    assert len(stored(data)) == KILLS * JOBS_A_LIFE


def wait_for_the_last(crowd: Crowd) -> None:
    with crowd.client() as client, client.stream("GET", "/jobs/changes") as stream:
        lines = stream.iter_lines()
        assert next(lines)
        while client.get(f"/jobs?size=1&{UNFINISHED}").json()["data"]:
            while '"status":"complete"' not in next(lines):
                pass


def stored(data: Path) -> list[JobRecord]:
    """All jobs, from the log of changes, which must have each of them once and in order."""
    with closing(SQLiteStore(data / "platform.sqlite3")) as store:
        records = store.changes(store.ensure_account("local"), after=0, size=10**6)
        assert records[-1].change <= store.newest_change()
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
