"""``/livez`` and ``/readyz``: for anyone, about the parts that jobs need, and without a word that is not fixed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from sfjobs.platform.execution.result_space import ResultSpace
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.stand_ins import Bench, new_job
from tests.platform.store.test_disk_full import contents

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

READY = {"status": "ready", "draining": False, "disk": "ok", "database": "ok", "workers": "ok"}


@pytest.fixture
def anyone(bench: Bench) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(bench.app)
    return httpx.AsyncClient(transport=transport, base_url="http://platform")


@pytest.fixture(autouse=True)
def _checks_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfjobs.platform.jobs.readiness._FRESH_SECONDS", 0.0)


async def full(*_: Any) -> None:
    raise sqlite3.OperationalError("unable to open database file /secret/path")


async def test_a_platform_in_order_is_live_and_ready(anyone: httpx.AsyncClient) -> None:
    live, ready = await anyone.get("/livez"), await anyone.get("/readyz")
    assert (live.status_code, live.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json(), ready.headers["cache-control"]) == (200, READY, "no-store")


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("workers", {"workers": "cannot be started"}),
        ("disk", {"disk": "not writable"}),
        ("database", {"database": "not writable"}),
        ("drain", {"draining": True}),
    ],
)
async def test_what_is_missing_is_named_and_the_platform_stays_live_and_its_jobs_run(
    bench: Bench, anyone: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, part: str, change: dict[str, Any]
) -> None:
    (job,) = await bench.scheduler.submit([new_job(bench.account)])
    await bench.executor.started()
    async with anyio.create_task_group() as tasks:
        if part == "workers":
            bench.executor.worker_problem = "no /usr/bin/python at /secret/path"
        elif part == "disk":
            bench.executor.disk_problem = "no space at /secret/path"
        elif part == "database":
            monkeypatch.setattr(SQLiteStore, "check_writable", full)
        else:
            tasks.start_soon(bench.scheduler.drain)
            await anyio.lowlevel.checkpoint()
        response, live = await anyone.get("/readyz"), await anyone.get("/livez")
        bench.executor.finish(job.id)
        assert (await bench.store.ended(job.id)).status == "complete"
    assert (response.status_code, response.json()) == (503, {**READY, "status": "not ready", **change})
    assert (live.status_code, "secret" in response.text, response.headers["retry-after"]) == (200, False, "5")


async def test_a_store_whose_writes_are_being_repeated_is_not_ready(
    bench: Bench, anyone: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfjobs.platform.jobs.durable_writes._RETRY_SECONDS", 0.001)
    start, is_full = SQLiteStore.start, True

    async def full_for_now(store: SQLiteStore, job_id: str) -> Any:
        return await (full() if is_full else start(store, job_id))

    monkeypatch.setattr(SQLiteStore, "start", full_for_now)
    await bench.scheduler.submit([new_job(bench.account)])
    with anyio.fail_after(30):
        while bench.scheduler.store_problem is None:
            await anyio.lowlevel.checkpoint()
    before = await anyone.get("/readyz")
    is_full = False
    await bench.executor.started()
    after = await anyone.get("/readyz")
    assert (before.json()["database"], after.json()) == ("not writable", READY)


async def test_a_disk_that_does_not_respond_is_no_answer_that_never_comes(
    bench: Bench, anyone: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfjobs.platform.jobs.readiness._TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(bench.executor, "storage_problem", anyio.sleep_forever)
    responses = [await anyone.get("/readyz") for _ in range(2)]
    assert [response.json()["disk"] for response in responses] == ["no response"] * 2


async def test_a_flood_of_questions_writes_once(
    bench: Bench, anyone: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfjobs.platform.jobs.readiness._FRESH_SECONDS", 3600.0)
    check, checks = SQLiteStore.check_writable, 0

    async def counted(store: SQLiteStore) -> None:
        nonlocal checks
        checks += 1
        await check(store)

    monkeypatch.setattr(SQLiteStore, "check_writable", counted)
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(anyone.get, "/readyz")
    assert checks <= 1  # none, if the first check of this app was a moment ago


async def test_the_probe_of_the_disk_leaves_nothing(tmp_path: Path) -> None:
    assert await ResultSpace(tmp_path).check() is None
    assert contents(tmp_path) == []
    gone = ResultSpace(tmp_path / "gone")
    assert (await gone.check(), gone.has_room(1)) == ("No such file or directory", False)
