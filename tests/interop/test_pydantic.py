"""The public values as pydantic's types and as FastAPI's response models. Neither package is needed by sfjobs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import subprocess
import sys
from typing import Any

import httpx
import pytest

import sfjobs
from sfjobs._journal import State
from sfjobs.models import Cursor

pytest.importorskip("fastapi", reason="fastapi is not installed: run `nox -s interop`")

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

pytestmark = pytest.mark.interop

KEY = "a-key-that-must-never-be-seen"
NOON = dt.datetime(2026, 1, 27, 12, tzinfo=dt.UTC)
HOURS = (dt.time(9, tzinfo=dt.UTC), dt.time(17, 30, tzinfo=dt.UTC))
META: Any = {"a": [1, 2.5, None, True, "t", {"b": ["c"]}], "n": {"m": {"o": {}}}}
MEMBER: dict[str, Any] = {"index": 0, "attempt": 1, "key": "k", "target": "X8", "shots": 2, "name": "n", "digest": "d",
                          "job_id": None, "reason": None, "follows": None, "status": None}  # fmt: skip
SPECIFICATION = sfjobs.DeviceSpecification(
    target="X8", modes={"spatial": 2, "pnr_max": 4}, compiler=("x",), gate_parameters={"r": [0, [0.5, 1]]}
)
VALUES: list[Any] = [
    sfjobs.JobSnapshot(
        id="a", status=sfjobs.JobStatus.QUEUED, created_at=NOON, meta=META, cursor=Cursor("/jobs/changes", "e", 7)
    ),
    sfjobs.JobSnapshot(id="a", status=sfjobs.JobStatus("paused"), running_time=0.5),
    sfjobs.Device(target="X8", expected_uptime={"monday": HOURS}, specification=SPECIFICATION, certificate=META),
    SPECIFICATION,
    sfjobs.DeviceSpecification(target="X8", modes=8),
    sfjobs.GroupProgress(programs=3, failed=1),
    sfjobs.JobOutlook(job_id="a", status=sfjobs.JobStatus.QUEUED, age=1.5, is_told=True),
    sfjobs.GroupMember(state=State.SUBMITTED, **MEMBER),
    sfjobs.Recovery(
        outcomes=(sfjobs.Recovered(key="k", outcome="unknown", target="X8", name=None, group=None, opened_at=NOON),)
    ),
    sfjobs.Submission("MeasureFock() | 0", shots=3, params={"r": 0.5}),
    Cursor("/jobs/changes?since=e.1", "e", 1),
]


def dataclasses_of_the_package() -> dict[str, type]:
    found = {name: getattr(sfjobs, name) for name in sfjobs.__all__}
    return {name: kind for name, kind in found.items() if dataclasses.is_dataclass(kind)}


def client_of(application: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://here.test")


class Program:
    """An object that writes itself, as a BlackbirdProgram does."""

    def serialize(self) -> str:
        return "MeasureFock() | 1"


@pytest.mark.parametrize("kind", dataclasses_of_the_package().values(), ids=dataclasses_of_the_package())
def test_every_public_dataclass_has_a_schema(kind: type) -> None:
    schema = TypeAdapter(list[kind]).json_schema()  # type: ignore[valid-type]  # a value, for mypy
    assert schema["type"] == "array"


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_the_same_after_json(value: Any) -> None:
    adapter = TypeAdapter(type(value))
    assert adapter.validate_json(adapter.dump_json(value)) == value
    assert adapter.validate_python(value) is value
    assert adapter.validate_python(adapter.dump_python(value)) == value


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
async def test_a_value_is_a_response_model(value: Any) -> None:
    application = FastAPI()

    @application.get("/value", response_model=type(value))
    async def answer() -> Any:
        return value

    async with client_of(application) as client:
        assert (await client.get("/openapi.json")).status_code == 200
        response = await client.get("/value")
    assert TypeAdapter(type(value)).validate_json(response.content) == value


async def test_a_handler_returns_a_job_and_lists_of_snapshots() -> None:
    application = FastAPI()
    connection = sfjobs.Connection("http://platform.test", api_key=KEY)
    job = sfjobs.Job("a", "queued", connection, META)

    @application.get("/job")
    async def one() -> sfjobs.Job:
        return job

    @application.get("/jobs")
    async def many() -> list[sfjobs.JobSnapshot]:
        return [job.snapshot]

    @application.get("/event")
    async def event() -> sfjobs.JobEvent[sfjobs.Job]:
        return sfjobs.JobEvent(job, sfjobs.JobStatus.OPEN, sfjobs.JobStatus.QUEUED, None, NOON)

    async with client_of(application) as client:
        assert (await client.get("/job")).json() == job.to_dict()
        assert (await client.get("/jobs")).json()[0]["meta"] == META
        assert (await client.get("/event")).json()["job"]["id"] == "a"
        assert (await client.get("/openapi.json")).status_code == 200


def test_a_model_has_fields_of_our_types() -> None:
    class Order(BaseModel):
        model_config = ConfigDict(extra="forbid")
        submission: sfjobs.Submission
        latest: sfjobs.JobSnapshot | None = None

    order = Order.model_validate_json('{"submission": {"program": "MeasureFock() | 0", "shots": 2}}')
    assert order.submission == sfjobs.Submission("MeasureFock() | 0", shots=2)
    with pytest.raises(ValidationError, match="shots"):
        Order.model_validate_json('{"submission": {"program": "p", "shots": "many"}}')


def test_a_program_that_writes_itself_is_written_as_its_text() -> None:
    refusal = sfjobs.Refusal(3, Program(), ValueError("it does not fit"))
    written = TypeAdapter(sfjobs.Refusal).dump_python(refusal, mode="json")
    assert written == {"index": 3, "program": "MeasureFock() | 1", "error": "it does not fit"}
    assert TypeAdapter(sfjobs.Refusal).validate_python(refusal) is refusal


# -- secrets -----------------------------------------------------------------------------------------------------------------


def test_settings_are_written_without_their_key() -> None:
    adapter = TypeAdapter(sfjobs.Settings)
    settings = sfjobs.Settings(url="http://platform.test", api_key=KEY)
    assert KEY.encode() not in adapter.dump_json(settings)
    assert KEY not in repr(adapter.dump_python(settings))
    with pytest.raises(sfjobs.ConfigurationError, match="a secret that is not shown"):
        adapter.validate_json(adapter.dump_json(settings))


def test_settings_from_a_document_are_checked_as_those_of_a_caller() -> None:
    adapter = TypeAdapter(sfjobs.Settings)
    settings = adapter.validate_python({"url": "HTTP://Platform.test/", "api_key": KEY, "retries": 2})
    assert settings == sfjobs.Settings(url="http://platform.test", api_key=KEY, retries=2)
    for values in (
        {"url": "ftp://platform.test", "api_key": KEY},
        {"url": "http://platform.test", "api_key": f"{KEY} x"},
    ):
        with pytest.raises(sfjobs.ConfigurationError) as caught:
            adapter.validate_python(values)
        assert KEY not in str(caught.value)


def test_sfjobs_imports_neither_pydantic_nor_fastapi() -> None:
    code = (
        "import sys, sfjobs\nfor name in sfjobs.__all__: getattr(sfjobs, name)\n"
        "assert not {'pydantic', 'pydantic_core', 'fastapi'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
