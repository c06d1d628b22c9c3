"""The limits of a request, an account and a job, and the errors beyond them."""

from __future__ import annotations

import inspect
import math
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, get_type_hints

import anyio
import httpx
import numpy as np
import pytest
import typer

from sfjobs.cli.commands.serve import serve
from sfjobs.errors import ConfigurationError
from sfjobs.platform import PlatformSettings, serving
from sfjobs.platform.blackbird.limits import MAX_SOURCE_BYTES
from sfjobs.platform.execution.executor import Work, WorkFailed
from sfjobs.platform.execution.process_executor import ProcessExecutor
from sfjobs.platform.limits import SIMULATED_MODES, Limits
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.server.test_serving import client_of, submit
from tests.platform.stand_ins import PROGRAM, Bench, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

JOB = {"circuit": PROGRAM}


@asynccontextmanager
async def limited(folder: Path, **limits: Any) -> AsyncIterator[tuple[Bench, httpx.AsyncClient]]:
    async with open_bench(folder, limits=Limits(**limits)) as bench, bench.client() as client:
        yield bench, client


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


# --- requests --------------------------------------------------------------------------------------------------------


async def test_a_body_with_a_length_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async with limited(tmp_path, body=100) as (bench, _):
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/jobs",
            "query_string": b"",
            "headers": [
                (b"authorization", f"Bearer {bench.token()}".encode()),
                (b"content-length", b"101"),
            ],
        }
        await bench.app(scope, receive, send)
    assert sent[0]["status"] == 413


@pytest.mark.parametrize("declared", [b"1", None])
async def test_a_body_longer_than_its_length_is_refused_where_it_passes_the_limit(
    tmp_path: Path, declared: bytes | None
) -> None:
    given = 0
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal given
        given += 1
        return {"type": "http.request", "body": b"x" * 40, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async with limited(tmp_path, body=100) as (bench, _):
        authorization = f"Bearer {bench.token()}".encode()
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/jobs",
            "query_string": b"",
            "headers": [(b"authorization", authorization), *([(b"content-length", declared)] if declared else [])],
        }
        await bench.app(scope, receive, send)
    assert (sent[0]["status"], given) == (413, 3)


async def test_a_batch_has_the_limit_of_any_body(tmp_path: Path) -> None:
    async with limited(tmp_path, body=1000) as (_, client):
        batch = {"content-type": "application/jobs+json"}
        responses = [await client.post("/jobs", json=[JOB] * count, headers=batch) for count in (2, 20)]
    assert [response.status_code for response in responses] == [207, 413]


async def test_a_circuit_has_a_limit_of_its_own(tmp_path: Path) -> None:
    async with limited(tmp_path, circuit=len(PROGRAM)) as (_, client):
        fits = await client.post("/jobs", json=JOB)
        response = await client.post("/jobs", json={"circuit": PROGRAM + "#"})
    assert (fits.status_code, code(response)) == (201, (413, "payload-too-large"))


def interferometer(modes: int) -> str:
    """A program with a dense interferometer, whose entries have all digits."""
    source = np.random.default_rng(4)
    matrix = source.standard_normal((modes, modes)) + 1j * source.standard_normal((modes, modes))
    unitary, _ = np.linalg.qr(matrix)
    rows = "\n".join("    " + ", ".join(repr(value).strip("()") for value in row) for row in unitary.tolist())
    every = list(range(modes))
    return f"""name large
version 1.0
target simulon_gaussian (shots=1)

complex array U[{modes}, {modes}] =
{rows}

Sgate(0.1) | 0
Interferometer(U) | {every}
MeasureFock() | {every}
"""


async def test_an_interferometer_of_all_modes_is_taken_with_all_digits(tmp_path: Path) -> None:
    text = interferometer(SIMULATED_MODES)
    async with limited(tmp_path) as (_, client):
        alone = await client.post("/jobs", json={"circuit": text})
        batch = [JOB, {"circuit": text}, JOB]
        together = await client.post("/jobs", json=batch, headers={"content-type": "application/jobs+json"})
        shown = await client.get(f"/jobs/{alone.json()['id']}/circuit")
    assert len(text) > 2_000_000
    assert (alone.status_code, [item["status"] for item in together.json()["data"]]) == (201, [201, 201, 201])
    assert shown.json()["circuit"] == text


@pytest.mark.parametrize(
    ("limits", "size", "option"),
    [
        ({"circuit": 1000}, 1001, "--max-program"),
        ({"circuit": 1000}, 3000, "--max-program"),
        ({"body": 1000}, 3000, "--max-body"),
    ],
)
async def test_what_is_too_large_is_refused_with_the_option_of_its_limit(
    tmp_path: Path, limits: dict[str, int], size: int, option: str
) -> None:
    async with limited(tmp_path, **limits) as (_, client):
        response = await client.post("/jobs", json={"circuit": "#" * size})
    assert (code(response), response.json()["detail"].endswith(f"sfjobs serve {option}")) == (
        (413, "payload-too-large"),
        True,
    )


async def test_the_query_is_limited(tmp_path: Path) -> None:
    async with limited(tmp_path, query=20) as (_, client):
        responses = [await client.get("/jobs?status=" + word) for word in ("queued", "x" * 21)]
    assert [responses[0].status_code, code(responses[1])] == [200, (414, "uri-too-long")]


async def test_the_number_of_headers_is_limited(tmp_path: Path) -> None:
    async with limited(tmp_path, headers=20) as (_, client):
        responses = [await client.get("/healthz", headers={f"x-{n}": "x" for n in range(count)}) for count in (5, 20)]
    assert [responses[0].status_code, code(responses[1])] == [200, (431, "too-many-headers")]


def test_the_size_of_the_head_is_limited(tmp_path: Path) -> None:
    settings = PlatformSettings(data_dir=tmp_path / "data", limits=Limits(head=1000))
    with serving(settings=settings) as platform:
        statuses = []
        for length in (100, 2000):
            with socket.create_connection((platform.host, platform.port), timeout=30) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: " + b"x" * length + b"\r\n\r\n")
                statuses.append(connection.recv(100)[:12])
    assert statuses == [b"HTTP/1.1 401", b"HTTP/1.1 431"]


# --- accounts --------------------------------------------------------------------------------------------------------


async def test_an_account_has_a_quota_of_unfinished_jobs(tmp_path: Path) -> None:
    async with limited(tmp_path, quota=2) as (_, client):
        responses = [await client.post("/jobs", json=JOB) for _ in range(3)]
    assert [response.status_code for response in responses] == [201, 201, 429]
    assert (code(responses[2]), responses[2].headers["retry-after"]) == ((429, "quota-exceeded"), "5")


async def test_a_job_that_ends_makes_room_for_another(tmp_path: Path) -> None:
    async with limited(tmp_path, quota=1) as (bench, client):
        job_id = (await client.post("/jobs", json=JOB)).json()["id"]
        full = await client.post("/jobs", json=JOB)
        await bench.executor.started()
        bench.executor.finish(job_id)
        await bench.store.ended(job_id)
        again = await client.post("/jobs", json=JOB)
    assert (full.status_code, again.status_code) == (429, 201)


async def test_without_room_nothing_is_parsed(tmp_path: Path) -> None:
    async with limited(tmp_path, quota=1) as (_, client):
        await client.post("/jobs", json=JOB)
        responses = [
            await client.post("/jobs", json={"circuit": "x"}, headers=key) for key in ({}, {"idempotency-key": "k"})
        ]
    assert [response.status_code for response in responses] == [429, 429]


async def test_an_account_without_room_leaves_others_alone(tmp_path: Path) -> None:
    async with limited(tmp_path, quota=1) as (bench, client):
        await client.post("/jobs", json=JOB)
        async with bench.client(bench.store.ensure_account("another")) as other:
            assert (await other.post("/jobs", json=JOB)).status_code == 201


async def test_of_a_batch_the_first_that_fit_are_taken(tmp_path: Path) -> None:
    async with limited(tmp_path, quota=3) as (_, client):
        batch = [JOB, {"circuit": "nonsense"}, JOB, JOB, JOB]
        response = await client.post("/jobs", json=batch, headers={"content-type": "application/jobs+json"})
        data = response.json()["data"]
        jobs = (await client.get("/jobs")).json()["data"]
    assert [item["status"] for item in data] == [201, 400, 201, 201, 429]
    assert (data[4]["error"]["code"], len(jobs)) == ("quota-exceeded", 3)


async def test_submissions_at_the_same_time_do_not_pass_the_quota_together(tmp_path: Path) -> None:
    async with limited(tmp_path, quota=5) as (bench, client):
        statuses: list[int] = []

        async def submit_one() -> None:
            statuses.append((await client.post("/jobs", json=JOB)).status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(submit_one)
        assert (statuses.count(201), statuses.count(429)) == (5, 25)
        assert bench.store.count_unfinished(bench.account) == 5


async def test_a_response_that_is_given_again_needs_no_room(tmp_path: Path) -> None:
    async with limited(tmp_path, quota=1) as (_, client):
        responses = [await client.post("/jobs", json=JOB, headers={"idempotency-key": "a-key"}) for _ in range(2)]
    assert responses[0].content == responses[1].content


async def test_a_submission_that_was_beyond_the_quota_does_not_use_up_its_key(tmp_path: Path) -> None:
    async with limited(tmp_path, quota=1) as (bench, client):
        first = (await client.post("/jobs", json=JOB)).json()["id"]
        refused = await client.post("/jobs", json=JOB, headers={"idempotency-key": "a-key"})
        await bench.executor.started()
        bench.executor.finish(first)
        await bench.store.ended(first)
        taken = await client.post("/jobs", json=JOB, headers={"idempotency-key": "a-key"})
    assert (refused.status_code, taken.status_code) == (429, 201)


async def test_the_quota_counts_what_was_there_before_a_restart(tmp_path: Path) -> None:
    async with limited(tmp_path, quota=2) as (_, client):
        await client.post("/jobs", json=JOB)
    with closing(SQLiteStore(tmp_path / "platform.sqlite3")) as store:
        assert store.count_unfinished(store.ensure_account("someone")) == 1


# --- jobs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limits", "word"), [({"shots": 3}, "shots"), ({"modes": 1}, "modes")])
async def test_a_job_that_is_too_large_is_refused(tmp_path: Path, limits: dict[str, int], word: str) -> None:
    async with limited(tmp_path, **limits) as (_, client):
        response = await client.post("/jobs", json=JOB)
    assert (code(response), word in response.json()["meta"]["circuit"][0]) == ((400, "validation-error"), True)


@pytest.mark.parametrize(("limits", "word"), [({"shots": 3}, "shot-limit"), ({"modes": 1}, "mode-limit")])
async def test_a_job_that_was_accepted_under_other_limits_fails_in_the_worker(
    tmp_path: Path, limits: dict[str, Any], word: str
) -> None:
    work = Work(job_id="job", attempt=1, target="simulon_gaussian", circuit=PROGRAM, shots=4, seed=1)
    async with ProcessExecutor(tmp_path, limits=Limits(**limits)) as processes, processes.acquire_slot() as run:
        with pytest.raises(WorkFailed) as caught:
            await run(work)
    assert caught.value.code == word


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_CPU")
async def test_processor_time_is_limited_by_the_system_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(job_id="job", attempt=1, target="simulon_gaussian", circuit=PROGRAM, shots=4, seed=1)
    async with ProcessExecutor(tmp_path, runner="tests.platform.runners:spin", limits=Limits(time=1)) as processes:
        monkeypatch.setattr(processes, "_time_limit", 3600.0)  # as if the platform did not check the time
        async with processes.acquire_slot() as run:
            with pytest.raises(WorkFailed, match="processor time") as caught:
                await run(work)
    assert caught.value.code == "time-limit"


def test_a_job_beyond_its_time_fails_and_the_next_one_runs(tmp_path: Path) -> None:
    settings = PlatformSettings(
        data_dir=tmp_path / "data", runner="tests.platform.runners:spin", limits=Limits(time=0.05)
    )
    with serving(settings=settings) as platform, client_of(platform) as client:
        jobs = [submit(client) for _ in range(2)]
        metas = []
        for job_id in jobs:
            while (job := client.get(f"/jobs/{job_id}").json())["status"] != "failed":
                pass
            metas.append(job["meta"])
    assert [meta["error-code"] for meta in metas] == ["time-limit", "time-limit"]
    assert "0.05 s" in metas[0]["error-detail"]


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["head", "headers", "query", "body", "circuit", "quota", "shots", "modes", "time"])
def test_a_limit_that_lets_nothing_pass_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Limits(**{name: 0})


@pytest.mark.parametrize(
    ("name", "value"), [("time", math.inf), ("time", math.nan), ("memory", 10**20), ("quota", 10**20)]
)
def test_a_limit_that_no_system_holds_is_refused(name: str, value: float) -> None:
    """Workers died of it, and so did submissions with a quota that the database cannot compare."""
    with pytest.raises(ConfigurationError, match=name):
        Limits(**{name: value})


def test_memory_may_be_unlimited() -> None:
    assert Limits(memory=0).memory == 0


def test_the_command_line_offers_the_same_limits() -> None:
    offered = {name: parameter.default for name, parameter in inspect.signature(serve).parameters.items()}
    limits = Limits()
    assert (offered["quota"], offered["max_shots"], offered["max_modes"]) == (limits.quota, limits.shots, limits.modes)
    assert (offered["time_limit"], offered["memory_limit"] << 20) == (limits.time, limits.memory)
    assert (offered["max_program"] << 20, offered["max_body"] << 20) == (limits.circuit, limits.body)
    assert limits.circuit < limits.body


def test_the_command_line_offers_no_program_that_the_parser_refuses() -> None:
    (option,) = get_type_hints(serve, vars(sys.modules[serve.__module__]), include_extras=True)[
        "max_program"
    ].__metadata__
    assert option.max << 20 == MAX_SOURCE_BYTES


def test_the_command_line_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    # by its module, since the package's attribute of this name is the function
    monkeypatch.setattr(
        sys.modules["sfjobs.platform.server.serving"], "run_server", lambda **options: given.update(options)
    )
    app = typer.Typer()
    app.command()(serve)
    words = (
        "--quota 1 --max-shots 2 --max-modes 3 --time-limit 4.5 --memory-limit 5 --max-program 8 --max-body 6 --grace 7"
    )
    app(words.split(), standalone_mode=False)
    expected = Limits(quota=1, shots=2, modes=3, time=4.5, memory=5 << 20, circuit=8 << 20, body=6 << 20)
    assert (given["settings"].limits, given["grace"]) == (expected, 7.0)
