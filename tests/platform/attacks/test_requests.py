"""Requests that cost more than they should, or that another server would read in another way."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest

from sfjobs.platform.api.budgets import Budget, Budgets
from sfjobs.platform.api.responses import request_json
from sfjobs.platform.errors import ApiError
from sfjobs.platform.jobs.representation import compact_json, job_object
from sfjobs.platform.limits import DEFAULTS, Limits
from tests.platform.attacks.neighbours import neighbours
from tests.platform.stand_ins import PROGRAM, Bench, add_job, new_job, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

MEBIBYTE = 1 << 20


# JSON


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * 2_700_000 + b"[]]",
        b"[" + b"{}," * 2_700_000 + b"{}]",
        b'{"a":' * 1_000_000,
        b"[" * 8_000_000,
        b"[" + b"1," * 4_000_000 + b"1]",
        b"[" + b'"",' * 2_700_000 + b'""]',
        b'{"circuit":"' + b'\\"' * 1000 + b'","more":[' + b"[]," * 100_000 + b"[]]}",
        b"[" + b'"\\\\",' * 1_000_000 + b'""]',
    ],
    ids=lambda body: body[:12].decode(),
)
def test_a_body_of_millions_of_values_is_refused_before_they_are_made(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 MB of them blocked all accounts for half a second."""
    monkeypatch.setattr("json.loads", lambda *_, **__: pytest.fail("it was parsed"))
    with pytest.raises(ApiError, match="values and brackets"):
        request_json(body, list)


@pytest.mark.parametrize(
    "text", ["BSgate(0.1, 0.2) | [0, 1]\n" * 200_000, '"' * 10_000, "\\" * 10_001, "é[]{},:" * 20_000]
)
def test_text_is_not_counted(text: str) -> None:
    batch = [{"circuit": text, "name": "x"}] * 3
    assert request_json(json.dumps(batch).encode(), list) == batch
    assert request_json(json.dumps(batch, ensure_ascii=False).encode(), list) == batch


@pytest.mark.parametrize("end", ["", '"', "\\", '\\"'])
def test_a_string_without_an_end_takes_no_longer_than_others(end: str) -> None:
    """An expression that tried every quote would take hours."""
    with pytest.raises(ApiError):
        request_json(("[" + '"\\n' + "\\n" * 200_000 + end).encode(), list)


@pytest.mark.parametrize("body", ['{"name": NaN}', '{"name": -Infinity}', "[Infinity]"])
async def test_numbers_that_json_does_not_have_are_refused(client: httpx.AsyncClient, body: str) -> None:
    headers = {"content-type": "application/json", "idempotency-key": "k"}
    response = await client.post("/jobs", content=body, headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "invalid-request")


async def test_a_number_that_is_too_large_becomes_no_infinity(client: httpx.AsyncClient) -> None:
    body = '{"circuit": 1e999, "name": "x"}'
    response = await client.post("/jobs", content=body, headers={"idempotency-key": "k"})
    assert response.status_code == 400
    assert b"Infinity" not in response.content


def test_responses_have_null_for_what_json_does_not_have() -> None:
    """A client with a strict parser could not read the job, nor any page with it."""
    content = {"a": [math.nan, 1.5, (math.inf,)], "b": {"c": -math.inf}, "d": "NaN"}
    assert json.loads(compact_json(content), parse_constant=pytest.fail) == {
        "a": [None, 1.5, [None]],
        "b": {"c": None},
        "d": "NaN",
    }


async def test_no_running_time_is_negative_when_the_clock_was_set_back(bench: Bench) -> None:
    record = await add_job(bench.store, new_job(bench.account))
    ended = replace(record, started=record.created + 5_000_000, finished=record.created)
    assert job_object(ended, None)["running_time"] == 0
    assert job_object(replace(ended, finished=record.created + 6_500_000), None)["running_time"] == 1.5


# budgets


def test_a_budget_has_a_share_for_each_and_a_total() -> None:
    budget = Budget("things", 2, 3)
    with budget.hold("a"), budget.hold("a"):
        with pytest.raises(ApiError) as own:
            budget.take("a")
        with budget.hold("b"), pytest.raises(ApiError) as all_of_them:
            budget.take("c")
    answers = [(error.value.status_code, (error.value.headers or {})["retry-after"]) for error in (own, all_of_them)]
    assert answers == [(429, "2"), (503, "5")]
    assert budget.in_use == 0
    with budget.hold("c", 2):
        assert budget.in_use == 2


def test_one_account_can_send_the_largest_body_whatever_the_budget() -> None:
    Budgets(Limits(bodies=8 << 20, body=8 << 20)).bodies.take("a", 8 << 20)


async def test_bodies_of_one_account_do_not_fill_the_memory(tmp_path: Path) -> None:
    """Each unfinished request held up to 8 MB, and there could be any number of them."""
    limits = Limits(bodies=40 * MEBIBYTE, body=8 * MEBIBYTE)
    async with neighbours(tmp_path, limits=limits) as both, anyio.create_task_group() as tasks:
        refused = anyio.Semaphore(0)
        answers: list[bytes] = []
        head = both.request("POST", "/jobs", length=8 * MEBIBYTE)

        async def hold() -> None:
            """Send all but the last byte of a body, and wait for a response."""
            async with await anyio.connect_tcp(both.platform.host, both.platform.port) as stream:
                with suppress(anyio.BrokenResourceError):  # refused in the middle of it
                    await stream.send(head + b" " * (8 * MEBIBYTE - 1))
                try:
                    answers.append(await stream.receive())
                except anyio.BrokenResourceError:
                    answers.append(b"")
                refused.release()

        for _ in range(6):
            tasks.start_soon(hold)
        for _ in range(5):
            await refused.acquire()
        assert all(not answer or b" 429 " in answer for answer in answers)
        accepted = await both.bystander.post("/jobs", json={"circuit": PROGRAM + "#" * MEBIBYTE})
        assert accepted.status_code == 201
        tasks.cancel_scope.cancel()


async def test_what_a_body_held_is_given_back_however_the_request_ends(tmp_path: Path) -> None:
    limits = Limits(bodies=100_000, body=50_000, circuit=50_000)
    async with open_bench(tmp_path, limits=limits) as bench, bench.client() as client:
        for number in range(20):
            body = {"circuit": PROGRAM + "#" * 40_000, "name": f"{number}"}
            assert (await client.post("/jobs", json=body)).status_code == 201
            assert (await client.post("/jobs", content=b"x" * 40_000)).status_code == 400
            assert (await client.post("/jobs", content=b"x" * 60_000)).status_code == 413


async def test_requests_of_one_account_at_the_same_time_are_counted(tmp_path: Path) -> None:
    async with open_bench(tmp_path, limits=replace(DEFAULTS, requests=2)) as bench:
        other = bench.store.ensure_account("other")
        async with bench.client() as client, bench.client(other) as neighbour, anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(client.get, "/jobs/changes")
            while (response := await client.get("/healthz")).status_code == 200:  # noqa: ASYNC110 - as a client does
                await anyio.sleep(0.01)
            assert (response.status_code, response.json()["code"]) == (429, "too-much-at-once")
            assert (await neighbour.get("/healthz")).status_code == 200
            tasks.cancel_scope.cancel()
