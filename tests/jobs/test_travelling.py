"""Jobs and values that leave their process, by JSON, pickles and copies; what cannot be pickled says what to keep."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pytest

import sfjobs
from sfjobs import sync
from tests.support.fake_platform import KEY, SAMPLES, URL, FakePlatform

PROGRAM = "Vac | 0\nMeasureFock() | 0\n"


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


def through_json(job: sfjobs.Job | sync.Job) -> Any:
    return json.loads(json.dumps(job.to_dict(), allow_nan=False))


# -- dictionaries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["queued", "complete", "failed", "cancelled", "paused"])
async def test_a_job_is_the_same_after_json(platform: FakePlatform, status: str) -> None:
    added = platform.add(name="Ätna", meta={"a": [1, 2.5, None, True, {"b": "c"}]})
    added.status = status
    async with platform.connection() as connection, platform.connection() as other:
        job = await connection.get_job(added.id)
        again = sfjobs.Job.from_dict(through_json(job), other)
        assert again.snapshot == job.snapshot
        assert again.connection is other


async def test_a_job_from_a_dictionary_is_waited_for(platform: FakePlatform) -> None:
    added = platform.add(ends_at=anyio.current_time() + 20)
    async with platform.connection() as connection:
        data = through_json(await connection.get_job(added.id))
    async with platform.connection() as connection:
        result = await sfjobs.Job.from_dict(data, connection)
    assert np.array_equal(result.raw, SAMPLES)


async def test_a_dictionary_holds_no_secret_that_the_platform_repeats(platform: FakePlatform) -> None:
    added = platform.add(name=f"my {KEY}", meta={"detail": f"for {KEY}", KEY: [KEY]})
    async with platform.connection() as connection:
        job = await connection.get_job(added.id)
        text = json.dumps(job.to_dict())
    assert KEY not in text
    assert added.id in text


def test_an_id_is_enough_and_what_a_later_version_adds_is_ignored(platform: FakePlatform) -> None:
    connection = platform.connection()
    job = sfjobs.Job.from_dict({"id": "a", "colour": "blue"}, connection)
    assert (job.id, job.status) == ("a", sfjobs.JobStatus.OPEN)
    assert job.to_dict()["url"] == URL


def test_a_job_with_the_metadata_of_a_caller_is_written(platform: FakePlatform) -> None:
    job = sfjobs.Job("a", "open", platform.connection(), {"pair": (1, 2)})  # type: ignore[dict-item]  # as in a script
    assert through_json(job)["meta"] == {"pair": [1, 2]}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "Job.to_dict returned: the job's id"),
        ({"id": "../devices"}, "Job.to_dict returned: the job's id"),
        ({"id": "a", "status": 5}, "Job.to_dict returned: "),
        ({"id": "a", "url": "http://other.test"}, "use a connection to http://other.test"),
    ],
)
def test_another_dictionary_is_refused(platform: FakePlatform, data: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sfjobs.Job.from_dict(data, platform.connection())


def test_a_text_is_no_dictionary(platform: FakePlatform) -> None:
    with pytest.raises(TypeError, match="a job is a dictionary"):
        sfjobs.Job.from_dict("an-id", platform.connection())  # type: ignore[arg-type]


# -- copies ----------------------------------------------------------------------------------------------------------------


class NamedJob(sfjobs.Job):
    """A job with an attribute of its own."""

    note = ""


@dataclasses.dataclass
class Row:
    job: sfjobs.Job
    note: str = ""


COPIES: list[Callable[[sfjobs.Job], sfjobs.Job]] = [
    copy.copy,
    copy.deepcopy,
    lambda job: dataclasses.asdict(Row(job))["job"],
    lambda job: copy.deepcopy([job, {"job": job}])[0],  # type: ignore[return-value]
]


@pytest.mark.parametrize("copied", COPIES)
async def test_a_copied_job_is_a_handle_of_its_own(
    platform: FakePlatform, copied: Callable[[sfjobs.Job], sfjobs.Job]
) -> None:
    added = platform.add()
    async with platform.connection() as connection:
        job = await connection.get_job(added.id)
        other = copied(job)
        assert other == job
        assert other is not job
        added.status = "complete"
        await job.refresh()
        assert (job.status, other.status) == ("complete", "queued")
        assert copied(job).result is job.result
        await other.wait()
        assert other.status == "complete"


def test_the_copy_of_a_subclass_has_its_attributes(platform: FakePlatform) -> None:
    job = NamedJob("a", "open", platform.connection())
    job.note = "mine"
    other = copy.copy(job)
    assert (type(other), other.note) == (NamedJob, "mine")


def test_a_connection_is_shared_by_copies(platform: FakePlatform) -> None:
    connection = platform.connection()
    assert copy.copy(connection) is connection
    assert copy.deepcopy({"connection": connection})["connection"] is connection


# -- pickles ---------------------------------------------------------------------------------------------------------------


def handles(connection: sfjobs.Connection) -> Iterator[tuple[object, str]]:
    """Yield each kind of handle, and what the error says about it."""
    job = sfjobs.Job("a", "open", connection)
    yield job, r"keep job\.id, or job\.to_dict\(\)"
    yield connection, "open one in each process"
    yield sfjobs.JobGroup("g", connection), r"JobGroup\.open\(name, connection\)"
    yield sfjobs.RemoteEngine("X8", connection), "in each process"
    yield connection.create_jobs("X8", []), "keep the id of each job"
    yield connection.events([job]), "keep the id of each job"
    yield sfjobs.as_completed([job]), "keep the id of each job"
    yield connection.open_result("a"), r"Connection\.open_result\(job_id\)"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_a_handle_says_what_to_keep(platform: FakePlatform, tmp_path: Path, protocol: int) -> None:
    for handle, words in handles(platform.connection(journal=str(tmp_path / "j.db"))):
        with pytest.raises(TypeError, match=f"a {type(handle).__name__} is not pickled.*{words}") as caught:
            pickle.dumps([handle], protocol)
        assert KEY not in str(caught.value)


VALUES: list[Any] = [
    sfjobs.JobSnapshot(id="a", status=sfjobs.JobStatus("paused"), meta={"a": [1]}),
    sfjobs.JobOutlook(job_id="a", status=sfjobs.JobStatus.QUEUED),
    sfjobs.Device(target="X8", specification=sfjobs.DeviceSpecification(target="X8", modes={"spatial": 1})),
    sfjobs.GroupProgress(programs=2, failed=1),
    sfjobs.Recovery(),
    sfjobs.Submission(PROGRAM, shots=3),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_pickled_and_copied(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.deepcopy(value) == value == copy.copy(value)
    assert dataclasses.asdict(value).keys() == {field.name for field in dataclasses.fields(value)}


def test_a_result_is_pickled_and_copied() -> None:
    result = sfjobs.Result([SAMPLES], {"seed": np.int64(5)}, job_id="a")
    for again in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), copy.copy(result)):
        assert np.array_equal(again.samples, SAMPLES)
        assert (again.metadata["seed"], again.job_id) == (5, "a")


def test_settings_are_copied_without_showing_their_key(platform: FakePlatform) -> None:
    settings = platform.settings()
    assert copy.deepcopy(settings) == settings
    assert KEY not in repr(dataclasses.asdict(settings))
    with pytest.raises(TypeError, match="load the settings again"):
        pickle.dumps(settings)


def test_an_event_is_a_dictionary_with_a_copy_of_its_job(platform: FakePlatform) -> None:
    job = sfjobs.Job("a", "queued", platform.connection())
    event = sfjobs.JobEvent(job, sfjobs.JobStatus.OPEN, sfjobs.JobStatus.QUEUED, None, None)  # type: ignore[arg-type]
    assert dataclasses.asdict(event)["job"] == job


# -- the blocking API ------------------------------------------------------------------------------------------------------


@pytest.mark.real_time
def test_the_blocking_handles_do_the_same(platform: FakePlatform, tmp_path: Path) -> None:
    added = platform.add(meta={"a": 1})
    settings = platform.settings(journal=str(tmp_path / "j.db"))
    with sync.Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        job = connection.get_job(added.id)
        again = sync.Job.from_dict(through_json(job), connection)
        assert again.snapshot == job.snapshot
        assert (type(again), again.connection) == (sync.Job, connection)
        for other in (copy.copy(job), copy.deepcopy(job)):
            assert other == job
            assert other is not job
            assert other.why().job_id == job.id
        assert copy.deepcopy(connection) is connection
        for handle, words in [
            (job, "keep job.id"),
            (connection, "open one in each process"),
            (sync.JobGroup("g", connection), "JobGroup.open"),
            (sync.RemoteEngine("X8", connection), "in each process"),
            (connection.create_jobs("X8", []), "keep the id of each job"),
            (connection.events([job]), "keep the id of each job"),
            (sync.as_completed([job]), "keep the id of each job"),
            (connection.open_result("a"), "open_result"),
        ]:
            with pytest.raises(TypeError, match=f"a {type(handle).__name__} is not pickled.*{words}"):
                pickle.dumps(handle)
