"""
Jobs of other accounts do not exist, at any endpoint: the response and the work are those for an unknown job. The endpoints come
from the route table, so that none is forgotten.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.types import Message

from sfjobs.platform.api.routes.account import TOKEN_PATH
from sfjobs.platform.store.sqlite.database import Database
from tests.platform.two_accounts import UNKNOWN_ID, WAITS, TwoAccounts, assert_is_refused, open_two_accounts, send_raw

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[TwoAccounts]:
    async with open_two_accounts(tmp_path) as accounts:
        yield accounts


def shown(response: httpx.Response, *ids: str) -> tuple[int, dict[str, str], str]:
    """Return all of a response, without the ids in the request."""
    text = response.text
    for job_id in ids:
        text = text.replace(job_id, "ID")
    headers = {name: value for name, value in response.headers.items() if name != "link"}
    return response.status_code, headers, text


# the route table


async def test_every_route_is_requested_by_the_tests_below(accounts: TwoAccounts) -> None:
    """A new path needs a line here, and a new parameter a test below."""
    assert {path for path, _ in accounts.routes if "{" not in path} == {
        TOKEN_PATH,
        "/openapi.json",
        "/livez",
        "/readyz",
        "/healthz",
        "/devices",
        "/jobs",
        "/jobs/changes",
    }
    assert {name for path, _ in accounts.routes for name in re.findall(r"{(\w+)}", path)} == {"id", "target"}


# ids in paths


async def test_another_accounts_job_is_like_an_unknown_one(accounts: TwoAccounts) -> None:
    count = 0
    for path, method in accounts.routes:
        for headers in ({}, {"if-none-match": "*"}, {"range": "bytes=0-0"}, {"accept": "application/x-numpy"}):
            for foreign in accounts.foreign if "{id}" in path else ():
                responses = [
                    await send_raw(accounts.bench, method, path.format(id=job_id), headers=headers)
                    for job_id in (foreign, UNKNOWN_ID)
                ]
                assert_is_refused(responses[0])
                assert shown(responses[0], foreign) == shown(responses[1], UNKNOWN_ID), (method, path)
                count += 1
    assert count >= 7 * 2 * 4


async def test_the_same_requests_find_the_accounts_own_jobs(accounts: TwoAccounts) -> None:
    """Otherwise the test above would pass because its requests are wrong."""
    for path, method in sorted(accounts.routes, key=lambda route: route[1] == "DELETE"):  # nothing is found after it
        if "{id}" in path:
            response = await send_raw(accounts.bench, method, path.format(id=accounts.own[method == "PATCH"]))
            assert response.status_code in {200, 204}, (method, path)


async def test_another_accounts_job_is_left_alone(accounts: TwoAccounts) -> None:
    before = [accounts.bench.store.job(job_id) for job_id in accounts.foreign]
    for path, method in accounts.routes:
        for foreign in accounts.foreign if "{" in path else ():
            await send_raw(accounts.bench, method, path.format(id=foreign, target=foreign))
    assert [accounts.bench.store.job(job_id) for job_id in accounts.foreign] == before


async def test_the_same_work_is_done_for_another_accounts_job_as_for_an_unknown_one(
    accounts: TwoAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, since time shows too little: which statements run, and that nothing is written."""
    statements: list[str] = []
    read, write = Database.read, Database.write

    def watched_read(self: Database, query: str, parameters: Sequence[Any] = ()) -> Any:
        statements.append(query)
        return read(self, query, parameters)

    async def watched_write(self: Database, *arguments: Any, **options: Any) -> Any:
        statements.append("a transaction")
        return await write(self, *arguments, **options)

    monkeypatch.setattr(Database, "read", watched_read)
    monkeypatch.setattr(Database, "write", watched_write)

    async def work_for(path: str, method: str, job_id: str) -> list[str]:
        statements.clear()
        await send_raw(accounts.bench, method, path.replace("{id}", job_id))
        return list(statements)

    ways = [*accounts.routes, ("/jobs?id={id}", "GET"), ("/jobs?before={id}", "GET")]
    for path, method in ways:
        if "{id}" in path:
            foreign = [await work_for(path, method, job_id) for job_id in accounts.foreign]
            unknown = await work_for(path, method, UNKNOWN_ID)
            assert foreign == [unknown, unknown], (method, path)
            assert unknown, (method, path)
            assert "a transaction" not in unknown


@pytest.mark.parametrize("near", ["{}%20", "{}%00", "{}%0a", "%20{}", "{}/", "urn:uuid:{}", "{}'"])
async def test_nearly_another_accounts_id_is_like_an_unknown_one(accounts: TwoAccounts, near: str) -> None:
    for path, method in accounts.routes:
        if "{id}" in path:
            response = await send_raw(accounts.bench, method, path.format(id=near.format(accounts.foreign[0])))
            assert_is_refused(response)
            assert response.status_code == 404


# lists and the change feed


async def test_lists_have_only_the_accounts_own_jobs(accounts: TwoAccounts) -> None:
    foreign, own = accounts.foreign, set(accounts.own)
    for query in (
        "",
        "?size=100",
        "?status=complete",
        "?status=queued&status=open",
        "?id=" + "&id=".join(foreign + accounts.own),
    ):
        listed = {job["id"] for job in (await send_raw(accounts.bench, "GET", f"/jobs{query}")).json()["data"]}
        assert listed
        assert listed <= own
    assert (await send_raw(accounts.bench, "GET", f"/jobs?id={foreign[0]}&id={foreign[1]}")).json() == {"data": []}


async def test_pages_have_only_the_accounts_own_jobs(accounts: TwoAccounts) -> None:
    listed: list[str] = []
    path: str | None = "/jobs?size=1"
    while path is not None:
        response = await send_raw(accounts.bench, "GET", path)
        listed += [job["id"] for job in response.json()["data"]]
        path = response.links["next"]["url"] if "next" in response.links else None
    assert sorted(listed) == sorted(accounts.own)


async def test_a_page_cannot_begin_at_another_accounts_job(accounts: TwoAccounts) -> None:
    responses = [
        await send_raw(accounts.bench, "GET", f"/jobs?before={job_id}") for job_id in (*accounts.foreign, UNKNOWN_ID)
    ]
    assert [response.status_code for response in responses] == [400] * 3
    assert len({response.content for response in responses}) == 1


async def test_the_feed_has_only_the_accounts_own_jobs(accounts: TwoAccounts) -> None:
    """From a cursor before all jobs up to a change that is made after all of them."""
    received = b""
    gone, own_received = anyio.Event(), anyio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal received
        received += message.get("body", b"")
        if all(job_id.encode() in received for job_id in accounts.own):
            own_received.set()
        if b"cancelled" in received:
            gone.set()

    token = accounts.bench.token()
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/jobs/changes",
        "query_string": f"since={accounts.cursor}".encode(),
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accounts.bench.app, scope, receive, send)
            await own_received.wait()
            other = accounts.bench.store.ensure_account("another")
            await send_raw(accounts.bench, "PATCH", f"/jobs/{accounts.foreign[1]}", account=other)
            await send_raw(accounts.bench, "PATCH", f"/jobs/{accounts.own[1]}")
    assert not [job_id for job_id in accounts.foreign if job_id.encode() in received]


# idempotency keys


async def test_a_key_of_one_account_means_nothing_to_another(accounts: TwoAccounts) -> None:
    other = accounts.bench.store.ensure_account("another")
    headers = {"idempotency-key": "the-same"}
    first = await send_raw(accounts.bench, "POST", "/jobs", json={"circuit": WAITS}, headers=headers)
    same = await send_raw(accounts.bench, "POST", "/jobs", account=other, json={"circuit": WAITS}, headers=headers)
    again = await send_raw(accounts.bench, "POST", "/jobs", json={"circuit": WAITS}, headers=headers)
    assert [response.status_code for response in (first, same, again)] == [201] * 3
    assert again.content == first.content
    assert same.json()["id"] != first.json()["id"]


async def test_a_key_of_one_account_does_not_clash_with_anothers(accounts: TwoAccounts) -> None:
    other = accounts.bench.store.ensure_account("another")
    for number, account in enumerate((accounts.bench.account, other)):
        job = {"circuit": WAITS, "name": f"job {number}", "idempotency_key": "the-same"}
        headers = {"content-type": "application/jobs+json"}
        response = await send_raw(
            accounts.bench, "POST", "/jobs", account=account, content=json.dumps([job]), headers=headers
        )
        assert [item["status"] for item in response.json()["data"]] == [201]
