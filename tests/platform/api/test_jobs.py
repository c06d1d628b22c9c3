"""The jobs endpoints, as both generations of clients use them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import numpy as np
import pytest

from sfjobs.platform.limits import DEFAULTS
from tests.platform.stand_ins import ARRAY, PROGRAM, Bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

KEYS = {"id", "name", "status", "target", "language", "created_at", "started_at", "finished_at", "running_time", "meta"}
UNKNOWN = "9d2e6a0c-3a5c-4c55-8d1a-4f0f6f0b7a11"


async def submit(client: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    response = await client.post("/jobs", json={"circuit": PROGRAM, **fields})
    assert response.status_code == 201, response.text
    job: dict[str, Any] = response.json()
    return job


async def complete(bench: Bench, client: httpx.AsyncClient) -> str:
    job_id: str = (await submit(client))["id"]
    await bench.executor.started()
    bench.executor.finish(job_id)
    await bench.store.ended(job_id)
    return job_id


async def test_a_body_with_only_a_circuit_takes_the_rest_from_its_header(client: httpx.AsyncClient) -> None:
    job = await submit(client)
    assert (job["name"], job["target"], job["language"]) == ("demo", "simulon_gaussian", "blackbird:1.0")


async def test_the_name_in_json_wins_over_the_scripts(client: httpx.AsyncClient) -> None:
    assert (await submit(client, name="mine", target="simulon_gaussian"))["name"] == "mine"


async def test_a_program_without_a_name_makes_a_job_without_one(client: httpx.AsyncClient) -> None:
    circuit = PROGRAM.replace("name demo", "name None")
    assert (await submit(client, circuit=circuit, name=None))["name"] is None


async def test_the_target_may_stand_in_json_alone_if_it_matches(client: httpx.AsyncClient) -> None:
    assert (await submit(client, target="simulon_gaussian"))["target"] == "simulon_gaussian"


async def test_unknown_options_of_the_target_line_are_ignored(client: httpx.AsyncClient) -> None:
    circuit = PROGRAM.replace("(shots=4)", "(integer_overflow_protection=False, shots=4)")
    assert (await submit(client, circuit=circuit))["status"] == "open"


async def test_a_seed_in_the_target_line_reaches_the_work(bench: Bench, client: httpx.AsyncClient) -> None:
    await submit(client, circuit=PROGRAM.replace("shots=4", "shots=4, seed=42"))
    assert (await bench.executor.started()).seed == 42


async def test_post_get_and_list_show_the_same_keys(bench: Bench, client: httpx.AsyncClient) -> None:
    posted = await submit(client)
    await bench.executor.started()
    got = (await client.get(f"/jobs/{posted['id']}")).json()
    listed = (await client.get("/jobs")).json()["data"][0]
    assert [set(job) for job in (posted, got, listed)] == [KEYS] * 3


async def test_a_complete_job_has_its_times(bench: Bench, client: httpx.AsyncClient) -> None:
    job = (await client.get(f"/jobs/{await complete(bench, client)}")).json()
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
    times = [job[key] for key in ("created_at", "started_at", "finished_at")]
    assert all(re.fullmatch(pattern, time) for time in times)
    assert times == sorted(times)


async def test_a_waiting_job_shows_its_place_in_the_queue(bench: Bench, client: httpx.AsyncClient) -> None:
    await submit(client)
    await bench.executor.started()
    waiting = (await submit(client))["id"]
    job: dict[str, Any] = {"meta": {}}
    with anyio.fail_after(30):
        while not job["meta"]:
            await anyio.lowlevel.checkpoint()
            job = (await client.get(f"/jobs/{waiting}")).json()
    assert (job["status"], job["meta"]) == ("queued", {"queue_position": 1})


@pytest.mark.parametrize(
    ("body", "meta"),
    [
        ({}, {"circuit": ["Missing data for required field."]}),
        ({"circuit": 3}, {"circuit": ["Not a valid string."]}),
        ({"circuit": PROGRAM, "name": 7}, {"name": ["Not a valid string."]}),
        ({"circuit": PROGRAM, "language": "xir:1.0"}, {"language": ["Must be one of: blackbird:1.0."]}),
        ({"circuit": PROGRAM, "shots": 7}, {"shots": ["Unknown field."]}),
        ({"circuit": PROGRAM, "name": "n" * 256}, {"name": ["Longer than maximum length 255."]}),
        ({"circuit": "\ud800"}, {"circuit": ["Not valid Unicode text."]}),
        ({"circuit": PROGRAM, "name": "\udfff"}, {"name": ["Not valid Unicode text."]}),
        ({"circuit": PROGRAM, "\ud800": 1}, {"\ud800": ["Unknown field."]}),
        ([], {"_schema": ["Invalid input type."]}),
    ],
)
async def test_an_invalid_body_is_answered_field_by_field(
    client: httpx.AsyncClient, body: object, meta: object
) -> None:
    response = await client.post("/jobs", content=json.dumps(body))
    assert (response.status_code, response.json()["code"], response.json()["meta"]) == (400, "validation-error", meta)


@pytest.mark.parametrize(
    ("circuit", "target", "field"),
    [
        (PROGRAM, "X8_01", "target"),
        (PROGRAM.replace("simulon_gaussian", "simulon_jet"), None, "target"),
        (PROGRAM.replace(" (shots=4)", ""), None, "circuit"),
        (PROGRAM.replace("shots=4", "shots=0"), None, "circuit"),
        (PROGRAM.replace("shots=4", "shots=100000000"), None, "circuit"),
        (PROGRAM.replace("target simulon_gaussian (shots=4)\n", ""), None, "target"),
    ],
)
async def test_a_program_that_contradicts_its_job_is_a_validation_error(
    client: httpx.AsyncClient, circuit: str, target: str | None, field: str
) -> None:
    response = await client.post("/jobs", json={"circuit": circuit, "target": target})
    assert (response.status_code, response.json()["code"], list(response.json()["meta"])) == (
        400,
        "validation-error",
        [field],
    )


async def test_a_script_that_does_not_parse_is_a_parse_error(client: httpx.AsyncClient) -> None:
    response = await client.post("/jobs", json={"circuit": PROGRAM + "Sgate(0.5 | 0\n"})
    assert (response.status_code, response.json()["code"]) == (400, "parse-error")


async def test_a_program_that_the_device_cannot_run_is_a_conflict(client: httpx.AsyncClient) -> None:
    response = await client.post("/jobs", json={"circuit": PROGRAM.replace("simulon_gaussian", "X8_01")})
    assert (response.status_code, response.json()["code"]) == (409, "unsupported-circuit")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"NaN,"])
async def test_a_body_that_is_not_json_is_an_invalid_request(client: httpx.AsyncClient, content: bytes) -> None:
    response = await client.post("/jobs", content=content)
    assert (response.status_code, response.json()["code"]) == (400, "invalid-request")


async def test_a_circuit_above_its_limit_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/jobs", json={"circuit": PROGRAM + "#" * DEFAULTS.circuit})
    assert (response.status_code, response.json()["code"]) == (413, "payload-too-large")


async def test_a_body_without_a_length_is_limited_as_it_comes(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * 65536

    assert (await client.post("/jobs", content=endless())).status_code == 413


async def test_the_circuit_comes_back_exactly(client: httpx.AsyncClient) -> None:
    circuit = PROGRAM.replace("\n", "\r\n", 1) + "# ünï\n\n"
    job = await submit(client, circuit=circuit)
    assert (await client.get(f"/jobs/{job['id']}/circuit")).json() == {"circuit": circuit}


@pytest.mark.parametrize(
    ("headers", "media_type"),
    [
        ({"accept-version": "0.4.0"}, "application/zip"),
        ({"accept-version": "0.10.0"}, "application/zip"),
        ({"accept-version": "1.0.0"}, "application/zip"),
        ({"accept-version": "0.2.0"}, "application/x-numpy"),
        ({"accept-version": ""}, "application/x-numpy"),
        ({"accept-version": "garbage"}, "application/x-numpy"),
        ({"accept-version": "0.4.0", "accept": "application/x-numpy"}, "application/x-numpy"),
    ],
)
async def test_the_version_chooses_the_format_of_the_result(
    bench: Bench, client: httpx.AsyncClient, headers: dict[str, str], media_type: str
) -> None:
    response = await client.get(f"/jobs/{await complete(bench, client)}/result", headers=headers)
    loaded = np.load(io.BytesIO(response.content), allow_pickle=False)
    array = loaded["arr_0"] if media_type == "application/zip" else loaded
    assert response.headers["content-type"] == media_type
    assert int(response.headers["content-length"]) == len(response.content)
    np.testing.assert_array_equal(array, ARRAY)


async def test_the_two_formats_have_different_strong_tags(bench: Bench, client: httpx.AsyncClient) -> None:
    path = f"/jobs/{await complete(bench, client)}/result"
    tags = [
        (await client.get(path, headers={"accept-version": v})).headers["etag"] for v in ("0.4.0", "0.2.0", "0.4.0")
    ]
    assert tags[0] == tags[2] != tags[1]
    assert not any(tag.startswith("W/") for tag in tags)


async def test_the_result_of_an_unfinished_job_is_not_found(client: httpx.AsyncClient) -> None:
    job = await submit(client, circuit=PROGRAM.replace("simulon_gaussian", "never"))
    response = await client.get(f"/jobs/{job['id']}/result")
    assert (response.status_code, response.json()["code"]) == (404, "not-found")
    assert any(status in response.json()["detail"] for status in ("open", "queued"))


async def test_a_cancelled_job_responses_204_without_a_body(client: httpx.AsyncClient) -> None:
    job = await submit(client, circuit=PROGRAM.replace("simulon_gaussian", "never"))
    response = await client.patch(f"/jobs/{job['id']}", json={"status": "cancelled"})
    assert (response.status_code, response.content) == (204, b"")


async def test_a_running_job_that_is_cancelled_ends_cancelled(bench: Bench, client: httpx.AsyncClient) -> None:
    job = await submit(client)
    await bench.executor.started()
    await client.patch(f"/jobs/{job['id']}", json={"status": "cancelled"})
    await bench.store.ended(job["id"])
    assert (await client.get(f"/jobs/{job['id']}")).json()["status"] == "cancelled"


async def test_a_job_that_has_ended_cannot_be_cancelled(bench: Bench, client: httpx.AsyncClient) -> None:
    response = await client.patch(f"/jobs/{await complete(bench, client)}", json={"status": "cancelled"})
    assert (response.status_code, response.json()["code"]) == (409, "invalid-job-operation")


@pytest.mark.parametrize("body", [{"status": "complete"}, {}, {"name": "x"}, {"status": "cancelled", "name": "x"}])
async def test_nothing_but_cancelling_is_a_change(client: httpx.AsyncClient, body: object) -> None:
    job = await submit(client)
    response = await client.patch(f"/jobs/{job['id']}", json=body)
    assert (response.status_code, response.json()["code"]) == (400, "validation-error")


@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("PATCH", ""), ("GET", "/circuit"), ("GET", "/result")])
async def test_another_accounts_job_is_not_found(
    bench: Bench, client: httpx.AsyncClient, method: str, rest: str
) -> None:
    job = await submit(client)
    async with bench.client(bench.store.ensure_account("another")) as other:
        response = await other.request(
            method, f"/jobs/{job['id']}{rest}", json={"status": "cancelled"} if method == "PATCH" else None
        )
    assert (response.status_code, response.json()["code"]) == (404, "not-found")


async def test_another_accounts_jobs_are_not_listed(bench: Bench, client: httpx.AsyncClient) -> None:
    job = await submit(client)
    async with bench.client(bench.store.ensure_account("another")) as other:
        assert (await other.get("/jobs", params={"id": job["id"]})).json() == {"data": []}


async def test_lists_are_newest_first_and_five_long(client: httpx.AsyncClient) -> None:
    ids = [(await submit(client))["id"] for _ in range(6)]
    listed = (await client.get("/jobs")).json()["data"]
    assert [job["id"] for job in listed] == ids[:0:-1]


async def test_following_the_links_shows_every_job_once_though_new_ones_come(client: httpx.AsyncClient) -> None:
    ids = [(await submit(client))["id"] for _ in range(5)]
    response = await client.get("/jobs", params={"size": 2})
    seen = [job["id"] for job in response.json()["data"]]
    while "next" in response.links:
        await submit(client)
        response = await client.get(response.links["next"]["url"])
        seen += [job["id"] for job in response.json()["data"]]
    assert seen == ids[::-1]


async def test_the_link_keeps_the_filters(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        job = await submit(client)
        await client.patch(f"/jobs/{job['id']}", json={"status": "cancelled"})
        await submit(client, circuit=PROGRAM.replace("simulon_gaussian", "never"))
    response = await client.get("/jobs", params={"size": 1, "status": "cancelled"})
    rest = await client.get(response.links["next"]["url"])
    assert {job["status"] for job in rest.json()["data"]} <= {"cancelled", "cancel_pending"}


async def test_a_list_of_ids_is_as_long_as_the_ids(client: httpx.AsyncClient) -> None:
    ids = [(await submit(client))["id"] for _ in range(7)]
    response = await client.get("/jobs", params={"id": [*ids, UNKNOWN]})
    assert {job["id"] for job in response.json()["data"]} == set(ids)


@pytest.mark.parametrize(
    ("query", "meta"),
    [
        ("size=0", "size"),
        ("size=101", "size"),
        ("size=x", "size"),
        ("status=paused", "status"),
        (f"id={UNKNOWN}&id=7", "id"),
        (f"before={UNKNOWN}", "before"),
        ("&".join(f"id={UNKNOWN}" for _ in range(101)), "id"),
    ],
)
async def test_a_bad_query_is_a_validation_error(client: httpx.AsyncClient, query: str, meta: str) -> None:
    response = await client.get(f"/jobs?{query}")
    assert (response.status_code, response.json()["code"], list(response.json()["meta"])) == (
        400,
        "validation-error",
        [meta],
    )


async def test_a_bad_id_is_named_by_its_index(client: httpx.AsyncClient) -> None:
    response = await client.get(f"/jobs?id={UNKNOWN}&id=7")
    assert response.json()["meta"] == {"id": {"1": ["Not a valid UUID."]}}


async def test_the_longest_list_of_ids_is_taken(client: httpx.AsyncClient) -> None:
    query = "&".join(["size=100", *(f"id={UNKNOWN}" for _ in range(100))])
    assert (await client.get(f"/jobs?{query}")).status_code == 200
