"""
Another account's jobs do not exist, whatever is asked of whichever endpoint: the same answer, after the same work, as for a job
that is nobody's. The endpoints come from the route table, so that a new one cannot be forgotten.
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
from tests.platform.two_accounts import NOBODYS, WAITS, World, ask, assert_is_refused, open_world

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as world:
        yield world


def shown(answer: httpx.Response, *ids: str) -> tuple[int, dict[str, str], str]:
    """All of an answer, but for the ids that were asked for."""
    text = answer.text
    for job_id in ids:
        text = text.replace(job_id, "ID")
    headers = {name: value for name, value in answer.headers.items() if name != "link"}
    return answer.status_code, headers, text


# the route table


async def test_every_route_is_one_that_the_tests_below_ask(world: World) -> None:
    """A new path needs a line here, and a new parameter a test below."""
    assert {path for path, _ in world.routes if "{" not in path} == {
        TOKEN_PATH,
        "/openapi.json",
        "/healthz",
        "/devices",
        "/jobs",
        "/jobs/changes",
    }
    assert {name for path, _ in world.routes for name in re.findall(r"{(\w+)}", path)} == {"id", "target"}


# ids in paths


async def test_another_accounts_job_is_like_nobodys(world: World) -> None:
    asked = 0
    for path, method in world.routes:
        for headers in ({}, {"if-none-match": "*"}, {"range": "bytes=0-0"}, {"accept": "application/x-numpy"}):
            for foreign in world.foreign if "{id}" in path else ():
                answers = [
                    await ask(world.bench, method, path.format(id=job_id), headers=headers)
                    for job_id in (foreign, NOBODYS)
                ]
                assert_is_refused(answers[0])
                assert shown(answers[0], foreign) == shown(answers[1], NOBODYS), (method, path)
                asked += 1
    assert asked >= 7 * 2 * 4


async def test_the_same_requests_find_the_accounts_own_jobs(world: World) -> None:
    """Else the test above would pass because it asks wrongly."""
    for path, method in world.routes:
        if "{id}" in path:
            answer = await ask(world.bench, method, path.format(id=world.own[method == "PATCH"]))
            assert answer.status_code in {200, 204}, (method, path)


async def test_another_accounts_job_is_left_alone(world: World) -> None:
    before = [world.bench.store.job(job_id) for job_id in world.foreign]
    for path, method in world.routes:
        for foreign in world.foreign if "{" in path else ():
            await ask(world.bench, method, path.format(id=foreign, target=foreign))
    assert [world.bench.store.job(job_id) for job_id in world.foreign] == before


async def test_the_same_work_is_done_for_another_accounts_job_as_for_nobodys(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, since time tells too little: which statements are run, and that nothing is written."""
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
        await ask(world.bench, method, path.replace("{id}", job_id))
        return list(statements)

    ways = [*world.routes, ("/jobs?id={id}", "GET"), ("/jobs?before={id}", "GET")]
    for path, method in ways:
        if "{id}" in path:
            foreign = [await work_for(path, method, job_id) for job_id in world.foreign]
            nobodys = await work_for(path, method, NOBODYS)
            assert foreign == [nobodys, nobodys], (method, path)
            assert nobodys, (method, path)
            assert "a transaction" not in nobodys


@pytest.mark.parametrize("near", ["{}%20", "{}%00", "{}%0a", "%20{}", "{}/", "urn:uuid:{}", "{}'"])
async def test_nearly_another_accounts_id_is_like_nobodys(world: World, near: str) -> None:
    for path, method in world.routes:
        if "{id}" in path:
            answer = await ask(world.bench, method, path.format(id=near.format(world.foreign[0])))
            assert_is_refused(answer)
            assert answer.status_code == 404


# lists and the change feed


async def test_lists_have_only_the_accounts_own_jobs(world: World) -> None:
    foreign, own = world.foreign, set(world.own)
    for query in (
        "",
        "?size=100",
        "?status=complete",
        "?status=queued&status=open",
        "?id=" + "&id=".join(foreign + world.own),
    ):
        listed = {job["id"] for job in (await ask(world.bench, "GET", f"/jobs{query}")).json()["data"]}
        assert listed
        assert listed <= own
    assert (await ask(world.bench, "GET", f"/jobs?id={foreign[0]}&id={foreign[1]}")).json() == {"data": []}


async def test_pages_have_only_the_accounts_own_jobs(world: World) -> None:
    listed: list[str] = []
    path: str | None = "/jobs?size=1"
    while path is not None:
        answer = await ask(world.bench, "GET", path)
        listed += [job["id"] for job in answer.json()["data"]]
        path = answer.links["next"]["url"] if "next" in answer.links else None
    assert sorted(listed) == sorted(world.own)


async def test_a_page_cannot_begin_at_another_accounts_job(world: World) -> None:
    answers = [await ask(world.bench, "GET", f"/jobs?before={job_id}") for job_id in (*world.foreign, NOBODYS)]
    assert [answer.status_code for answer in answers] == [400] * 3
    assert len({answer.content for answer in answers}) == 1


async def test_the_feed_tells_only_of_the_accounts_own_jobs(world: World) -> None:
    """From a cursor before all of them, until a change that is made when all of them have been told of."""
    told = b""
    gone, own_told = anyio.Event(), anyio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal told
        told += message.get("body", b"")
        if all(job_id.encode() in told for job_id in world.own):
            own_told.set()
        if b"cancelled" in told:
            gone.set()

    token = world.bench.tokens.issue(world.bench.account)
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/jobs/changes",
        "query_string": f"since={world.cursor}".encode(),
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.bench.app, scope, receive, send)
            await own_told.wait()
            other = world.bench.store.ensure_account("another")
            await ask(world.bench, "PATCH", f"/jobs/{world.foreign[1]}", account=other)
            await ask(world.bench, "PATCH", f"/jobs/{world.own[1]}")
    assert not [job_id for job_id in world.foreign if job_id.encode() in told]


# idempotency keys


async def test_a_key_of_one_account_means_nothing_to_another(world: World) -> None:
    other = world.bench.store.ensure_account("another")
    headers = {"idempotency-key": "the-same"}
    first = await ask(world.bench, "POST", "/jobs", json={"circuit": WAITS}, headers=headers)
    same = await ask(world.bench, "POST", "/jobs", account=other, json={"circuit": WAITS}, headers=headers)
    again = await ask(world.bench, "POST", "/jobs", json={"circuit": WAITS}, headers=headers)
    assert [answer.status_code for answer in (first, same, again)] == [201] * 3
    assert again.content == first.content
    assert same.json()["id"] != first.json()["id"]


async def test_a_key_of_one_account_does_not_clash_with_anothers(world: World) -> None:
    other = world.bench.store.ensure_account("another")
    for number, account in enumerate((world.bench.account, other)):
        job = {"circuit": WAITS, "name": f"job {number}", "idempotency_key": "the-same"}
        headers = {"content-type": "application/jobs+json"}
        answer = await ask(world.bench, "POST", "/jobs", account=account, content=json.dumps([job]), headers=headers)
        assert [item["status"] for item in answer.json()["data"]] == [201]
