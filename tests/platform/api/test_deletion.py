"""``DELETE /jobs/{id}``: what it deletes, what it leaves, and what others see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest

from sfjobs.platform.limits import DEFAULTS
from sfjobs.platform.records import JobRecord
from tests.platform.stand_ins import PROGRAM, Bench, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

NEVER_RUNS = PROGRAM.replace("simulon_gaussian", "never")
KEY = {"idempotency-key": "a-key"}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path, automatic=True) as bench:
        yield bench


async def submit(client: httpx.AsyncClient, program: str = PROGRAM, **headers: str) -> str:
    response = await client.post("/jobs", json={"circuit": program}, headers=headers)
    job_id: str = response.json()["id"]
    return job_id


async def complete(bench: Bench, client: httpx.AsyncClient) -> JobRecord:
    return await bench.store.ended(await submit(client))


async def test_a_deleted_job_is_gone_with_its_program_and_its_result(
    bench: Bench, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    job = await complete(bench, client)
    assert job.result is not None
    assert (tmp_path / job.result.name).exists()
    response = await client.delete(f"/jobs/{job.id}")
    assert (response.status_code, response.content) == (204, b"")
    for path in (f"/jobs/{job.id}", f"/jobs/{job.id}/circuit", f"/jobs/{job.id}/result"):
        assert (await client.get(path)).status_code == 404
    assert (await client.get("/jobs")).json()["data"] == []
    assert (await client.get("/jobs", params={"id": job.id})).json()["data"] == []
    assert (await client.delete(f"/jobs/{job.id}")).status_code == 404
    assert not (tmp_path / job.result.name).exists()
    assert bench.store.deleted_results() == []


async def test_a_cancelled_job_can_be_deleted(bench: Bench, client: httpx.AsyncClient) -> None:
    job_id = await submit(client, NEVER_RUNS)
    await client.patch(f"/jobs/{job_id}", json={"status": "cancelled"})
    assert (await client.delete(f"/jobs/{job_id}")).status_code == 204


async def test_an_unfinished_job_is_not_deleted_and_the_advice_is_to_cancel_it(client: httpx.AsyncClient) -> None:
    job_id = await submit(client, NEVER_RUNS)
    response = await client.delete(f"/jobs/{job_id}")
    assert (response.status_code, response.json()["code"]) == (409, "invalid-job-operation")
    assert "Cancel it first" in response.json()["detail"]
    assert (await client.get(f"/jobs/{job_id}")).status_code == 200
    assert (await client.get(f"/jobs/{job_id}/circuit")).json()["circuit"] == NEVER_RUNS


async def test_a_running_job_is_not_deleted(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench, bench.client() as client:
        job_id = await submit(client)
        await bench.executor.started()
        assert (await client.delete(f"/jobs/{job_id}")).status_code == 409
        bench.executor.finish(job_id)
        assert (await bench.store.ended(job_id)).result is not None


async def test_another_accounts_job_does_not_exist(bench: Bench, client: httpx.AsyncClient) -> None:
    job = await complete(bench, client)
    async with bench.client(bench.store.ensure_account("another")) as other:
        response = await other.delete(f"/jobs/{job.id}")
        unknown = await other.delete("/jobs/00000000-0000-4000-8000-000000000000")
    assert (response.status_code, unknown.status_code) == (404, 404)
    assert response.json()["detail"] == unknown.json()["detail"].replace(unknown.url.path.split("/")[2], job.id)
    assert (await client.get(f"/jobs/{job.id}/result")).status_code == 200


async def test_a_job_whose_result_is_kept_no_more_says_when_it_was_deleted(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    job = await complete(bench, client)
    assert job.finished is not None
    assert await bench.store.delete_old_results(job.finished + 1) == 1
    shown = (await client.get(f"/jobs/{job.id}")).json()
    response = await client.get(f"/jobs/{job.id}/result")
    assert (response.status_code, response.json()["code"]) == (410, "result-deleted")
    assert shown["meta"]["result_deleted_at"] in response.json()["detail"]
    assert shown["status"] == "complete"
    assert (await client.delete(f"/jobs/{job.id}")).status_code == 204


async def test_a_repeated_submission_of_a_deleted_job_does_not_run_it_again(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    first = await client.post("/jobs", json={"circuit": PROGRAM}, headers=KEY)
    job_id = first.json()["id"]
    await bench.store.ended(job_id)
    await client.delete(f"/jobs/{job_id}")
    again = await client.post("/jobs", json={"circuit": PROGRAM}, headers=KEY)
    assert (again.status_code, again.content) == (201, first.content)
    other = await client.post("/jobs", json={"circuit": NEVER_RUNS}, headers=KEY)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert (await client.get("/jobs")).json()["data"] == []


async def test_a_list_goes_on_after_a_deleted_job(bench: Bench, client: httpx.AsyncClient) -> None:
    ids = [(await complete(bench, client)).id for _ in range(5)]
    page = await client.get("/jobs", params={"size": 2})
    await client.delete(f"/jobs/{ids[3]}")  # the last job of this page
    following = await client.get(page.links["next"]["url"])
    assert [job["id"] for job in following.json()["data"]] == [ids[2], ids[1]]
    async with bench.client(bench.store.ensure_account("another")) as other:
        assert (await other.get("/jobs", params={"before": ids[3]})).status_code == 400


async def events(bench: Bench, cursor: str) -> bytes:
    """Return what a stream from this cursor sends at once."""
    sent: list[bytes] = []
    received = anyio.Event()

    async def send(message: dict[str, object]) -> None:
        body = message.get("body", b"")
        assert isinstance(body, bytes)
        sent.append(body)
        if b"event: deleted" in body:
            received.set()

    authorization = f"Bearer {bench.token()}".encode()
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/jobs/changes",
        "query_string": cursor.encode(),
        "headers": [(b"authorization", authorization)],
    }
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.app, scope, anyio.sleep_forever, send)
        with anyio.fail_after(30):
            await received.wait()
        tasks.cancel_scope.cancel()
    return b"".join(sent)


async def test_the_feed_tells_of_deleted_jobs_in_order(bench: Bench, client: httpx.AsyncClient) -> None:
    start = (await client.get("/jobs")).links["monitor"]["url"].partition("?")[2]
    first, deleted = await complete(bench, client), await complete(bench, client)
    await client.delete(f"/jobs/{deleted.id}")
    stream = await events(bench, start)
    names = [line.partition(b": ")[2] for line in stream.splitlines() if line.startswith(b"event: ")]
    assert names[-2:] == [b"job", b"deleted"]
    assert stream.rstrip().endswith(b'data: {"id":"%s"}' % deleted.id.encode())
    assert stream.count(first.id.encode()) == 1
    numbers = [int(line.rpartition(b".")[2]) for line in stream.splitlines() if line.startswith(b"id: ")]
    assert numbers == sorted(set(numbers))


async def test_an_open_stream_hears_of_a_deletion_at_once(bench: Bench, client: httpx.AsyncClient) -> None:
    job = await complete(bench, client)
    start = (await client.get("/jobs")).links["monitor"]["url"].partition("?")[2]
    async with anyio.create_task_group() as tasks:
        heard: list[bytes] = []

        async def listen() -> None:
            heard.append(await events(bench, start))

        tasks.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        await client.delete(f"/jobs/{job.id}")
    assert b"event: deleted" in heard[0]


@pytest.mark.parametrize("path", ["/jobs", "/devices"])
async def test_deletion_is_offered_where_clients_look(client: httpx.AsyncClient, path: str) -> None:
    assert "delete" in (await client.get(path)).headers["sfjobs-extensions"].split(", ")


async def test_deletion_is_offered_with_a_submission(client: httpx.AsyncClient) -> None:
    response = await client.post("/jobs", json={"circuit": PROGRAM})
    assert "delete" in response.headers["sfjobs-extensions"].split(", ")


# bytes of an account


def stored(program: str, *results: JobRecord) -> int:
    return len(program.encode()) + sum(job.result.size for job in results if job.result)


async def test_programs_and_results_count_in_bytes_until_they_are_deleted(
    bench: Bench, client: httpx.AsyncClient
) -> None:
    program = PROGRAM.replace("name demo", "# größer\nname demo")
    waiting = await submit(client, program.replace("simulon_gaussian", "never"))
    before = bench.store.stored_bytes(bench.account)
    assert before == stored(program.replace("simulon_gaussian", "never"))
    job = await complete(bench, client)
    assert bench.store.stored_bytes(bench.account) == before + stored(PROGRAM, job)
    await client.delete(f"/jobs/{job.id}")
    assert bench.store.stored_bytes(bench.account) == before
    await client.patch(f"/jobs/{waiting}", json={"status": "cancelled"})
    await client.delete(f"/jobs/{waiting}")
    assert bench.store.stored_bytes(bench.account) == 0


async def test_an_account_that_stores_too_much_is_told_to_delete_and_others_are_not(tmp_path: Path) -> None:
    limits = type(DEFAULTS)(storage=500)
    async with open_bench(tmp_path, automatic=True, limits=limits) as bench, bench.client() as client:
        job = await complete(bench, client)
        assert bench.store.stored_bytes(bench.account) >= 100
        while (response := await client.post("/jobs", json={"circuit": PROGRAM})).status_code == 201:
            await bench.store.ended(response.json()["id"])
        assert (response.status_code, response.json()["code"]) == (403, "storage-quota-exceeded")
        assert "sfjobs delete" in response.json()["detail"]
        async with bench.client(bench.store.ensure_account("another")) as other:
            assert (await other.post("/jobs", json={"circuit": PROGRAM})).status_code == 201
        for found in (await client.get("/jobs", params={"size": 100})).json()["data"]:
            await client.delete(f"/jobs/{found['id']}")
        assert job.id != (await client.post("/jobs", json={"circuit": PROGRAM})).json()["id"]
