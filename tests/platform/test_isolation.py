"""
Another account's jobs do not exist, whatever is asked of whichever endpoint: the same answer, after the same work, as for a job
that is nobody's. The endpoints come from the route table, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from sfjobs.platform.database import Database
from sfjobs.platform.routes_account import TOKEN_PATH

from .stand_ins import PROGRAM, Bench, open_bench

pytestmark = pytest.mark.real_time

NOBODYS = "ffffffff-ffff-4fff-bfff-ffffffffffff"
WAITS = PROGRAM.replace("simulon_gaussian", "never")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class World:
    """Two accounts, each with a job that is complete and one that waits. Whoever asks is the bench's account."""

    bench: Bench
    own: Sequence[str]
    foreign: Sequence[str]
    cursor: str

    @property
    def routes(self) -> list[tuple[str, str]]:
        assert isinstance(self.bench.app, Starlette)
        return [
            (route.path, method)
            for route in self.bench.app.routes
            if isinstance(route, Route)
            for method in sorted(route.methods or ())
        ]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_bench(tmp_path, automatic=True) as bench:
        cursor = re.search(r"since=([^>]+)>", (await ask(bench, "GET", "/jobs")).headers["link"])
        assert cursor is not None
        jobs = [
            [
                (await ask(bench, "POST", "/jobs", account=account, json={"circuit": circuit})).json()["id"]
                for circuit in (PROGRAM, WAITS)
            ]
            for account in (bench.account, bench.store.ensure_account("another"))
        ]
        for complete, _ in jobs:
            await bench.store.ended(complete)
        yield World(bench, *jobs, cursor=cursor[1])


async def ask(bench: Bench, method: str, target: str, *, account: str | None = None, **details: Any) -> httpx.Response:
    """``target``, path and query, is sent as it is, which no client does, and read as uvicorn reads it."""
    path, _, query = target.encode("latin-1").partition(b"?")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        written = {"path": unquote(path.decode("latin-1")), "raw_path": path, "query_string": query}
        await bench.app({**scope, **written}, receive, send)

    if method == "PATCH":
        details = {"json": {"status": "cancelled"}, **details}
    headers = httpx.Headers({"authorization": f"Bearer {bench.tokens.issue(account or bench.account)}"})
    headers.update(details.pop("headers", None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False)) as client:
        return await client.request(method, "http://platform/", headers=headers, **details)


def shown(answer: httpx.Response, *ids: str) -> tuple[int, dict[str, str], str]:
    """All of an answer, but for the ids that were asked for."""
    text = answer.text
    for job_id in ids:
        text = text.replace(job_id, "ID")
    headers = {name: value for name, value in answer.headers.items() if name != "link"}
    return answer.status_code, headers, text


def assert_is_refused(answer: httpx.Response) -> None:
    assert answer.status_code in {400, 404}, answer.text
    assert answer.headers["content-type"] == "application/json"
    if answer.request.method != "HEAD":
        assert answer.json().keys() == {"status_code", "code", "detail", "meta"}
    assert_is_not_injected(answer)


def assert_is_not_injected(answer: httpx.Response) -> None:
    assert "x-injected" not in answer.headers
    assert not any(character in value for value in answer.headers.values() for character in "\r\n\0")


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


ODD = [
    "..",
    "../jobs",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5cwindows",
    "a%2Fb",
    "%2F",
    "%252F",
    "%00",
    "%0d%0aX-Injected:%20yes",
    "%0d%0a%0d%0aHTTP/1.1%20200%20OK",
    "'%20OR%20'1'='1",
    "1;DROP%20TABLE%20jobs;--",
    "%22%20UNION%20SELECT%20*%20FROM%20api_keys--",
    "%25",
    "_",
    "*",
    "%FF%FE",
    "%ED%A0%80",
    "%E2%80%AE",
    "%C3%A9",
    "null",
    "-1",
    "9" * 400,
    "x" * 10_000,
    "%00" * 3_000,
    "{id}",
    "%7B0.__class__%7D",
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[:30])
async def test_odd_ids_are_like_nobodys(world: World, odd: str) -> None:
    for path, method in world.routes:
        if "{" in path:
            answer = await ask(world.bench, method, re.sub(r"{\w+}", lambda _: odd, path))
            assert_is_refused(answer)
            assert answer.status_code == 404, (method, path, answer.text)
    assert world.bench.store.job(world.own[0]) is not None


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


@pytest.mark.parametrize("cursor", ["", "x", "0", "' OR 1=1", "\r\nX-Injected: yes", "9" * 400, "\u00e9", ".1", "x.1"])
async def test_a_cursor_that_is_none_is_refused(world: World, cursor: str) -> None:
    for query, headers in ((f"?since={quote(cursor)}", {}), ("", {"last-event-id": cursor.encode()})):
        answer = await ask(world.bench, "GET", f"/jobs/changes{query}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (410, "cursor-expired")
        assert_is_not_injected(answer)


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


# injection


@pytest.mark.parametrize(
    "value", [b"a\r\nX-Injected: yes", b"a\nX-Injected: yes", b"a\rb", b"a\0b", b"\xff", b"a" * 256, b"", b"a b"]
)
async def test_a_key_that_is_none_comes_back_in_no_header(world: World, value: bytes) -> None:
    for method, path in {(method, path) for path, method in world.routes if method in {"POST", "PATCH"}}:
        answer = await ask(
            world.bench,
            method,
            path.format(id=NOBODYS),
            content=json.dumps({"circuit": PROGRAM}),
            headers=[(b"idempotency-key", value)],
        )
        assert answer.status_code in {400, 404}
        assert "idempotency-key" not in answer.headers
        assert_is_not_injected(answer)


@pytest.mark.parametrize("header", ["accept", "accept-version", "range", "if-range", "if-none-match", "content-type"])
@pytest.mark.parametrize("value", [b"a\r\nX-Injected: yes", b"\xff\xfe", b"x" * 20_000, b"bytes=0-\r\nX-Injected: yes"])
async def test_headers_that_are_nonsense_do_no_harm(world: World, header: str, value: bytes) -> None:
    for path, method in world.routes:
        if path != "/jobs/changes":
            place = {"id": world.own[0], "target": "X8_01"}
            answer = await ask(world.bench, method, path.format(**place), headers=[(header.encode(), value)])
            assert answer.status_code < 500, (method, path)
            assert_is_not_injected(answer)


@pytest.mark.parametrize(
    "name",
    ["a\r\nX-Injected: yes", "'; DROP TABLE jobs; --", "\0", "\u202e", "<script>alert(1)</script>", "{0.__class__}"],
)
async def test_a_jobs_name_is_only_a_text(world: World, name: str) -> None:
    created = await ask(world.bench, "POST", "/jobs", json={"circuit": WAITS, "name": name})
    assert created.status_code == 201
    assert_is_not_injected(created)
    again = await ask(world.bench, "GET", created.headers["location"])
    assert (created.json()["name"], again.json()["name"]) == (name, name)


@pytest.mark.parametrize(
    "query",
    [
        "size=1&x=%0d%0aX-Injected:%20yes",
        "size=1&%0d%0aX-Injected:%20yes=1",
        "size=1&x=%3E;rel=%22monitor%22,%3C//evil",
        "size=1&x=%ff",
    ],
)
async def test_the_link_to_the_next_page_cannot_be_broken_out_of(world: World, query: str) -> None:
    answer = await ask(world.bench, "GET", f"/jobs?{query}")
    assert answer.status_code == 200
    assert_is_not_injected(answer)
    assert sorted(answer.links) == ["monitor", "next"]
    assert answer.links["monitor"]["url"].startswith("/jobs/changes?")
    assert (await ask(world.bench, "GET", answer.links["next"]["url"])).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "id='",
        "id=%00",
        "id=%0d%0a",
        "size=1;drop",
        "size=%D9%A1",
        "status='",
        "before='",
        "before=%00",
        "size=-1",
        "size=1e3",
    ],
)
async def test_queries_that_are_nonsense_are_refused(world: World, query: str) -> None:
    assert_is_refused(await ask(world.bench, "GET", f"/jobs?{query}"))
