"""The service of the examples, run as its readers run it: many clients at once, errors, and an end in the midst of requests."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sfjobs import sync
from sfjobs.platform import Platform
from tests.support.environment import clean_environment
from tests.support.paths import ROOT
from tests.support.processes import Child

pytest.importorskip("fastapi", reason="fastapi is not installed: run `nox -s interop`")

EXAMPLES = ROOT / "examples"
SECONDS = 60
NEVER = "Vac | 0\nMeasureFock() | 0\n"

pytestmark = pytest.mark.interop


@contextmanager
def started(folder: Path, **settings: str) -> Iterator[tuple[Child, httpx.Client]]:
    """The service in a process of its own, and a client of it."""
    environment = clean_environment(folder, PORT="0", PYTHONWARNINGS="error:::sfjobs", **settings)
    command = [sys.executable, str(EXAMPLES / "fastapi_service.py")]
    with Child(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process, httpx.Client(base_url=url_of(process), timeout=SECONDS, trust_env=False)
        finally:
            process.terminate()
            process.communicate(timeout=SECONDS)


def url_of(process: Child) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"running on (http://[\w.:]+)", line):
            return found[1]
    raise AssertionError("the service has ended")


def settings_of(platform: Platform) -> dict[str, str]:
    return {"SFJOBS_URL": platform.url, "SFJOBS_API_KEY": platform.api_key, "SFJOBS_POLL_INTERVAL_MIN": "0.05"}


def run_squeezer(client: httpx.Client, squeezing: float) -> float:
    """Submit, wait and return the mean photon number."""
    job = client.post("/squeezers", json={"squeezing": squeezing}).raise_for_status().json()
    answer = client.get(f"/jobs/{job['id']}/result", params={"wait": 20}).raise_for_status()
    while answer.status_code == 202:
        answer = client.get(f"/jobs/{job['id']}/result", params={"wait": 20}).raise_for_status()
    return float(answer.json()["mean_photon_number"][0])


def test_many_clients_share_one_connection(platform: Platform, tmp_path: Path) -> None:
    with started(tmp_path, **settings_of(platform)) as (_, client), client, ThreadPoolExecutor(8) as threads:
        means = list(threads.map(lambda _: run_squeezer(client, 0.5), range(8)))
        assert all(0.2 < mean < 0.35 for mean in means)  # sinh(0.5)^2 = 0.272, and 10 000 shots
        assert len(client.get("/jobs").json()) >= 8
        assert {device["target"] for device in client.get("/devices").json()} >= {"X8_01", "simulon_gaussian"}
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
        assert {"JobSnapshot", "Device", "JobStatus"} <= schemas.keys()


def test_errors_have_statuses_for_the_clients_of_the_service(platform: Platform, tmp_path: Path) -> None:
    with started(tmp_path, **settings_of(platform)) as (_, client), client:
        assert client.post("/squeezers", json={"squeezing": 30.0}).status_code == 422  # the platform refuses 260 dB
        assert client.post("/squeezers", json={"squeezing": "much"}).status_code == 422
        assert client.get("/jobs/11111111-1111-1111-1111-111111111111").status_code == 404
        assert client.get("/jobs", params={"limit": 0}).status_code == 422
    unreachable = {"SFJOBS_URL": "http://127.0.0.1:1", "SFJOBS_API_KEY": "key", "SFJOBS_RETRIES": "1"}
    with started(tmp_path, **unreachable) as (_, client), client:
        answer = client.get("/devices")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_a_request_that_waits_is_answered_before_the_service_ends(platform: Platform, tmp_path: Path) -> None:
    with (
        sync.Connection(platform.url, api_key=platform.api_key) as connection,
        started(tmp_path, **settings_of(platform)) as (process, client),
        client,
        ThreadPoolExecutor(1) as threads,
    ):
        job = connection.create_job("never", NEVER, shots=1)
        sent = threading.Event()

        def trace(name: str, details: object) -> None:
            if name == "http11.send_request_body.complete":
                sent.set()

        extensions = {"trace": trace}
        waiting = threads.submit(client.get, f"/jobs/{job.id}/result", params={"wait": 3}, extensions=extensions)
        assert sent.wait(SECONDS)
        assert client.get(f"/jobs/{job.id}").is_success  # sent later, so the service has begun the other one
        process.send_signal(signal.SIGTERM)
        assert waiting.result(SECONDS).status_code == 202
        assert process.stdout is not None
        assert "The connection is closed; the jobs go on." in process.stdout.read()
        assert not connection.get_job(job.id).status.is_final
        job.cancel(wait=True)
