"""Batches of submissions: one request and one transaction, but an outcome for each job."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from sfjobs.platform.blackbird import parse
from sfjobs.platform.limits import DEFAULTS
from sfjobs.platform.program import Program
from sfjobs.platform.records import JobRecord, NewJob
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.stand_ins import PROGRAM, Bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

BATCH = {"content-type": "application/jobs+json"}
LINK = re.compile(r'</jobs/changes\?since=[\w-]+\.\d+>; rel="monitor"; type="text/event-stream"')


async def post(client: httpx.AsyncClient, content: object) -> httpx.Response:
    return await client.post("/jobs", content=json.dumps(content), headers=BATCH)


async def outcomes(client: httpx.AsyncClient, items: Sequence[object]) -> list[dict[str, Any]]:
    response = await post(client, items)
    assert response.status_code == 207, response.text
    data: list[dict[str, Any]] = response.json()["data"]
    return data


async def test_jobs_come_back_in_order(client: httpx.AsyncClient) -> None:
    items = [{"circuit": PROGRAM, "name": f"job {number}"} for number in range(20)]
    assert [outcome["job"]["name"] for outcome in await outcomes(client, items)] == [item["name"] for item in items]


async def test_jobs_are_listed_in_the_order_of_the_batch(client: httpx.AsyncClient) -> None:
    await outcomes(client, [{"circuit": PROGRAM, "name": f"job {number}"} for number in range(5)])
    listed = (await client.get("/jobs")).json()["data"]
    assert [job["name"] for job in listed] == [f"job {number}" for number in (4, 3, 2, 1, 0)]


async def test_a_job_shows_what_a_single_submission_would(client: httpx.AsyncClient) -> None:
    single = (await client.post("/jobs", json={"circuit": PROGRAM})).json()
    [outcome] = await outcomes(client, [{"circuit": PROGRAM}])
    assert {**outcome["job"], "id": 0, "created_at": 0} == {**single, "id": 0, "created_at": 0}


async def test_each_item_is_judged_by_itself(client: httpx.AsyncClient) -> None:
    items = [{"circuit": PROGRAM}, {"circuit": "nonsense"}, 7, {"circuit": PROGRAM, "target": "X8_01"}, {}]
    responses = await outcomes(client, [*items, {"circuit": PROGRAM}])
    assert [response["status"] for response in responses] == [201, 400, 400, 400, 400, 201]
    codes = [response["error"]["code"] for response in responses if "error" in response]
    assert codes == ["parse-error", "validation-error", "validation-error", "validation-error"]


async def test_the_jobs_of_a_batch_run(bench: Bench, client: httpx.AsyncClient) -> None:
    responses = await outcomes(client, [{"circuit": PROGRAM}] * 2)
    for response in responses:
        await bench.executor.started()
        bench.executor.finish(response["job"]["id"])
        assert (await bench.store.ended(response["job"]["id"])).status == "complete"


async def test_a_batch_is_one_transaction(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    add_jobs = SQLiteStore.add_jobs

    async def counted(store: SQLiteStore, jobs: Sequence[NewJob], *, quota: int | None) -> list[JobRecord]:
        sizes.append(len(jobs))
        return await add_jobs(store, jobs, quota=quota)

    monkeypatch.setattr(SQLiteStore, "add_jobs", counted)
    await outcomes(client, [{"circuit": PROGRAM}] * 100)
    assert sizes == [100]


async def test_a_batch_without_a_good_job_writes_nothing(client: httpx.AsyncClient) -> None:
    await outcomes(client, [{"circuit": "nonsense"}])
    assert (await client.get("/jobs")).json() == {"data": []}


async def test_an_empty_batch_has_an_empty_response(client: httpx.AsyncClient) -> None:
    assert await outcomes(client, []) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [({"circuit": PROGRAM}, "Invalid input type."), ([{}] * 101, "Longer than maximum length 100.")],
)
async def test_what_is_no_batch_is_refused_as_a_whole(client: httpx.AsyncClient, content: object, message: str) -> None:
    response = await post(client, content)
    assert (response.status_code, response.json()["meta"]) == (400, {"_schema": [message]})


async def test_a_body_that_is_too_large_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/jobs", content=b"[" + b" " * (8 << 20), headers=BATCH)
    assert (response.status_code, response.json()["code"]) == (413, "payload-too-large")


async def test_a_circuit_has_the_same_limit_as_alone(client: httpx.AsyncClient) -> None:
    responses = await outcomes(client, [{"circuit": "x" * (DEFAULTS.circuit + 1)}, {"circuit": PROGRAM}])
    assert [response["status"] for response in responses] == [413, 201]


async def test_a_failure_of_the_platform_at_one_item_leaves_the_others(
    tmp_path: Path, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def defective(text: str) -> Program:
        if "poison" in text:
            raise ZeroDivisionError("a defect")
        return parse(text)

    bench.app = bench.make_app(parse=defective)
    async with bench.client() as client:
        responses = await outcomes(client, [{"circuit": "poison"}, {"circuit": PROGRAM}])
    assert [response["status"] for response in responses] == [500, 201]
    assert "a defect" in caplog.text


async def test_an_items_key_gives_its_first_job_again(client: httpx.AsyncClient) -> None:
    items = [{"circuit": PROGRAM, "idempotency_key": f"key-{number}"} for number in range(3)]
    assert await outcomes(client, items) == await outcomes(client, items)


async def test_a_key_means_the_same_in_a_batch_and_alone(client: httpx.AsyncClient) -> None:
    [outcome] = await outcomes(client, [{"circuit": PROGRAM, "idempotency_key": "key"}])
    alone = await client.post("/jobs", json={"circuit": PROGRAM}, headers={"idempotency-key": "key"})
    assert alone.json() == outcome["job"]


async def test_an_item_with_a_used_key_and_another_job_is_refused(client: httpx.AsyncClient) -> None:
    await outcomes(client, [{"circuit": PROGRAM, "idempotency_key": "key"}])
    [outcome] = await outcomes(client, [{"circuit": PROGRAM, "name": "another", "idempotency_key": "key"}])
    assert (outcome["status"], outcome["error"]["code"]) == (422, "idempotency-key-reused")


async def test_a_key_that_comes_twice_in_a_batch_makes_one_job(client: httpx.AsyncClient) -> None:
    responses = await outcomes(client, [{"circuit": PROGRAM, "idempotency_key": "key"}] * 2)
    assert [response["status"] for response in responses] == [201, 409]


async def test_of_two_jobs_with_one_key_the_first_is_accepted_however_long_it_is(client: httpx.AsyncClient) -> None:
    """The one whose fields were hashed first used to win."""
    long = PROGRAM + " " * 500_000
    items = [{"circuit": text, "idempotency_key": f"key-{number}"} for number in range(5) for text in (long, PROGRAM)]
    assert [response["status"] for response in await outcomes(client, items)] == [201, 422] * 5


async def test_no_depth_of_one_item_affects_the_others(client: httpx.AsyncClient) -> None:
    """At one depth an item could be read but not be hashed."""
    good = json.dumps({"circuit": PROGRAM})
    for depth in range(900, 1000):
        deep = f'{{"idempotency_key": "deep", "circuit": {"[" * depth}{"]" * depth}}}'
        response = await client.post("/jobs", content=f"[{deep}, {good}]", headers=BATCH)
        if response.status_code == 207:
            assert [item["status"] for item in response.json()["data"]] == [400, 201], depth
        else:
            assert response.status_code == 400, depth


@pytest.mark.parametrize("key", [7, "", "two words"])
async def test_an_items_key_that_is_none_is_refused(client: httpx.AsyncClient, key: object) -> None:
    [outcome] = await outcomes(client, [{"circuit": PROGRAM, "idempotency_key": key}])
    assert (outcome["status"], list(outcome["error"]["meta"])) == (400, ["idempotency_key"])


async def test_every_way_of_submitting_and_the_list_offer_the_extensions(client: httpx.AsyncClient) -> None:
    responses = [
        await client.post("/jobs", json={"circuit": PROGRAM}),
        await post(client, [{"circuit": PROGRAM}]),
        await client.get("/jobs"),
    ]
    responses.append(await client.get(responses[0].headers["location"]))
    assert {response.headers["accept-post"] for response in responses} == {"application/json, application/jobs+json"}
    assert all(LINK.fullmatch(response.headers["link"]) for response in responses)


async def test_a_response_that_is_given_again_names_no_cursor_for_it_may_be_old(client: httpx.AsyncClient) -> None:
    items = [{"circuit": PROGRAM, "idempotency_key": "once"}, {"circuit": PROGRAM}]
    links = [(await post(client, items)).links["monitor"]["url"] for _ in range(2)]
    assert [link.partition("?")[0] for link in links] == ["/jobs/changes"] * 2
    assert [("since=" in link) for link in links] == [True, False]


async def test_the_offer_stands_beside_the_next_page(client: httpx.AsyncClient) -> None:
    await outcomes(client, [{"circuit": PROGRAM}] * 2)
    links = (await client.get("/jobs", params={"size": 1})).links
    assert [links[relation]["url"].partition("?")[0] for relation in ("monitor", "next")] == ["/jobs/changes", "/jobs"]
