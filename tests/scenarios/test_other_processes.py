"""Jobs in the workers of a process pool, as joblib, multiprocessing and Dask use them: what goes there and what comes back."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

import sfjobs
from sfjobs import sync
from sfjobs.platform import Platform

pytestmark = pytest.mark.real_time

PROGRAM = "Sgate(0.5) | 0\nMeasureFock() | 0\n"


def wait_there(data: dict[str, Any], key: str) -> tuple[str, sfjobs.JobSnapshot, sfjobs.Result]:
    """Wait for a job from a dictionary, with a connection of this process."""
    with sync.Connection(data["url"], api_key=key) as connection:
        job = sync.Job.from_dict(data, connection)
        result = job.finish()
        return json.dumps(job.to_dict()), job.snapshot, result


def return_the_job(data: dict[str, Any], key: str) -> sync.Job:
    with sync.Connection(data["url"], api_key=key) as connection:
        return sync.Job.from_dict(data, connection)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """One worker that shares nothing with this process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def connection(platform: Platform) -> Iterator[sync.Connection]:
    with sync.Connection(platform.url, api_key=platform.api_key) as connection:
        yield connection


def test_a_worker_waits_for_a_job_and_returns_its_result(
    pool: ProcessPoolExecutor, platform: Platform, connection: sync.Connection
) -> None:
    job = connection.create_job("simulon_gaussian", PROGRAM, shots=50)
    text, snapshot, result = pool.submit(wait_there, job.to_dict(), platform.api_key).result(100)
    assert result.samples.shape == (50, 1)
    again = sync.Job.from_dict(json.loads(text), connection)
    assert (again, again.snapshot) == (job, snapshot)
    assert again.status == "complete"


def test_a_job_from_a_worker_is_an_error_that_says_what_to_return(
    pool: ProcessPoolExecutor, platform: Platform, connection: sync.Connection
) -> None:
    """The error was about a secret, or about a lock."""
    data = {"id": "11111111-1111-1111-1111-111111111111", "url": platform.url}
    with pytest.raises(TypeError, match=r"a Job is not pickled.*keep job\.id, or job\.to_dict\(\)") as caught:
        pool.submit(return_the_job, data, platform.api_key).result(100)
    assert platform.api_key not in str(caught.value)
    with pytest.raises(TypeError, match=r"a Connection is not pickled.*open one in each process"):
        pool.submit(print, connection).result(100)
