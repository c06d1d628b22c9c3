"""Idempotency keys: one job for each, however often its submission arrives."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from sfjobs.platform.blackbird import parse
from sfjobs.platform.program import Program
from sfjobs.platform.records import IdempotencyKey
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.stand_ins import PROGRAM, Bench, add_job, new_job, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

KEY = {"idempotency-key": "8c5b2f0e-1f4e-4b8e-9d57-0a8f3c0b7a11"}
HOUR = 3600 * 1_000_000


async def submit(client: httpx.AsyncClient, headers: dict[str, str] = KEY, **fields: Any) -> httpx.Response:
    return await client.post("/jobs", json={"circuit": PROGRAM, **fields}, headers=headers)


async def test_the_first_response_comes_again_byte_for_byte(bench: Bench, client: httpx.AsyncClient) -> None:
    first = await submit(client)
    await bench.executor.started()
    bench.executor.finish(first.json()["id"])
    await bench.store.ended(first.json()["id"])
    again = await submit(client)
    assert (again.status_code, again.content) == (201, first.content)


async def test_the_location_comes_again_too(client: httpx.AsyncClient) -> None:
    first, again = await submit(client), await submit(client)
    assert again.headers["location"] == first.headers["location"] == f"/jobs/{first.json()['id']}"


async def test_there_is_one_job(client: httpx.AsyncClient) -> None:
    await submit(client)
    await submit(client)
    assert len((await client.get("/jobs")).json()["data"]) == 1


async def test_the_key_is_echoed(client: httpx.AsyncClient) -> None:
    assert (await submit(client)).headers["idempotency-key"] == KEY["idempotency-key"]


async def test_without_a_key_every_submission_is_a_job(client: httpx.AsyncClient) -> None:
    responses = [await submit(client, {}) for _ in range(2)]
    assert len({response.json()["id"] for response in responses}) == 2
    assert "idempotency-key" not in responses[0].headers


async def test_the_order_of_fields_does_not_matter(client: httpx.AsyncClient) -> None:
    first = await client.post("/jobs", json={"name": "x", "circuit": PROGRAM}, headers=KEY)
    again = await client.post("/jobs", json={"circuit": PROGRAM, "name": "x"}, headers=KEY)
    assert again.content == first.content


async def test_a_key_with_another_body_is_refused(client: httpx.AsyncClient) -> None:
    await submit(client)
    response = await submit(client, name="another")
    assert (response.status_code, response.json()["code"]) == (422, "idempotency-key-reused")


async def test_keys_are_each_accounts_own(bench: Bench, client: httpx.AsyncClient) -> None:
    first = await submit(client)
    async with bench.client(bench.store.ensure_account("another")) as other:
        response = await submit(other)
    assert (response.status_code, response.json()["id"] != first.json()["id"]) == (201, True)


async def test_a_refused_submission_does_not_use_up_its_key(client: httpx.AsyncClient) -> None:
    refused = await submit(client, circuit="nonsense")
    corrected = await submit(client)
    assert (refused.status_code, corrected.status_code) == (400, 201)


@pytest.mark.parametrize("key", ["", "two words", "k" * 256])
async def test_a_key_that_is_none_is_refused(client: httpx.AsyncClient, key: str) -> None:
    response = await submit(client, {"idempotency-key": key})
    assert (response.status_code, list(response.json()["meta"])) == (400, ["Idempotency-Key"])


async def test_a_response_survives_a_restart(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench, bench.client() as client:
        first = await submit(client)
    async with open_bench(tmp_path) as bench, bench.client() as client:
        assert (await submit(client)).content == first.content


class SlowParse:
    """A parser that starts, and continues when the test allows it."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, text: str) -> Program:
        self.began.set()
        assert self.go_on.wait(60)
        return parse(text)


@pytest.mark.parametrize(
    ("name", "status", "code"), [(None, 409, "idempotency-key-in-use"), ("another", 422, "idempotency-key-reused")]
)
async def test_a_key_that_is_being_processed_is_refused(
    tmp_path: Path, bench: Bench, name: str | None, status: int, code: str
) -> None:
    slow = SlowParse()
    bench.app = bench.make_app(parse=slow)
    async with bench.client() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: submit(client, name=None))
        assert await anyio.to_thread.run_sync(slow.began.wait, 60)
        response = await submit(client, name=name)
        slow.go_on.set()
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers.get("retry-after") == ("1" if status == 409 else None)


async def test_a_key_is_free_again_after_it_was_refused_while_being_processed(client: httpx.AsyncClient) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(submit, client)
    assert (await submit(client)).status_code == 201
    assert len((await client.get("/jobs")).json()["data"]) == 1


@pytest.mark.parametrize(("hours", "kept"), [(24, True), (49, False)])
async def test_a_response_is_kept_for_a_day_and_then_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int, kept: bool
) -> None:
    time = 0
    monkeypatch.setattr("sfjobs.platform.store.sqlite.jobs.now", lambda: time)
    store = SQLiteStore(tmp_path / "db")
    account = store.ensure_account("someone")
    for number, time in enumerate((HOUR, HOUR + hours * HOUR)):  # noqa: B007 - the clock above reads it
        key = IdempotencyKey(value=f"key {number}", fingerprint="f", response_body=lambda record: record.id.encode())
        await add_job(store, replace(new_job(account, number), idempotency_key=key))
    response = store.stored_response(account, "key 0")
    store.close()
    assert (response is not None) == kept
