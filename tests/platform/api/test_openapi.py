"""
The OpenAPI document against the platform: the same paths and methods; every documented status occurs, and no other one; every
response has the documented shape.
"""

from __future__ import annotations

import ast
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio.from_thread
import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette
from starlette.routing import Route

import sfjobs.platform
from sfjobs.platform.api.app import PUBLIC_PATHS
from sfjobs.platform.api.openapi import DOCUMENT
from sfjobs.platform.api.routes.account import TOKEN_PATH
from sfjobs.platform.jobs.change_feed import CHANGES_PATH, MEDIA_TYPE, ChangePublisher
from tests.platform.stand_ins import PROGRAM, Bench, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 50
"""Of each operation; with these the whole file takes about 15 s on two idle cores."""

SCHEMA = schemathesis.openapi.from_dict(json.loads(json.dumps(DOCUMENT)), config=SchemathesisConfig())
OPERATIONS = [(path, method) for path, item in DOCUMENT["paths"].items() for method in item if method != "parameters"]
STATUSES = {
    (path, method): {int(status) for status in DOCUMENT["paths"][path][method]["responses"]}
    for path, method in OPERATIONS
}
OF_THE_SERVER = {403, 408, 429, 431, 500, 503}
"""
Statuses of requests that do not arrive or cannot be read, of an account without room, of a failure, and of a stop: not tested
here.
"""


@dataclass(frozen=True)
class World:
    """
    A platform with a complete job, one that waits, one with a lost result, and one to be deleted. Its feed ends every stream
    after the events since ``cursor``, which is before all.
    """

    bench: Bench
    complete: str
    waiting: str
    lost: str
    spare: str
    cursor: str


@asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    async with open_bench(folder, automatic=True) as bench:
        feed = ChangePublisher(bench.store, bench.scheduler)
        feed.close()
        bench.app = bench.make_app(feed=feed)
        async with bench.client() as client:
            ids = [
                (await client.post("/jobs", json={"circuit": circuit})).json()["id"]
                for circuit in (PROGRAM, PROGRAM.replace("simulon_gaussian", "never"), PROGRAM, PROGRAM)
            ]
        await bench.store.ended(ids[0])
        lost = (await bench.store.ended(ids[2])).result
        assert lost is not None
        (folder / lost.name).unlink()
        await bench.store.ended(ids[3])
        yield World(bench, *ids, cursor=feed.cursor(0))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as world:
        yield world


def case_of(path: str, method: str, **path_parameters: str) -> Case:
    operation = SCHEMA[path][method.upper()]
    return operation.Case(path_parameters=path_parameters)


# the document and the code


def test_the_document_is_valid_openapi() -> None:
    SCHEMA.validate()
    assert DOCUMENT["openapi"].startswith("3.1")


async def test_it_is_served_to_anybody(world: World) -> None:
    async with world.bench.client() as client:
        del client.headers["authorization"]
        assert (await client.get("/openapi.json")).json() == json.loads(json.dumps(DOCUMENT))


async def test_the_routes_are_those_of_the_document(world: World) -> None:
    assert isinstance(world.bench.app, Starlette)
    routes = {
        (route.path, method.lower())
        for route in world.bench.app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert routes == set(OPERATIONS)


def test_every_status_that_the_code_speaks_of_is_documented() -> None:
    spoken = {
        call.args[0].value
        for path in Path(sfjobs.platform.__file__).parent.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "ApiError"
        if isinstance(call.args[0], ast.Constant)
    }
    assert len(spoken) > 10
    assert spoken <= set().union(*STATUSES.values())


def test_what_is_public_needs_no_token() -> None:
    public = {path for path, method in OPERATIONS if DOCUMENT["paths"][path][method].get("security") == []}
    assert public == PUBLIC_PATHS
    assert {path for (path, _), statuses in STATUSES.items() if 401 not in statuses} == PUBLIC_PATHS


# every documented status

Ask = dict[str, Any]
TOO_LONG, KEY = b"x" * (9 << 20), {"idempotency-key": "k"}
ANSWERS: dict[tuple[str, str, int], Ask | tuple[Ask, Ask]] = {
    (TOKEN_PATH, "post", 200): {"data": {"grant_type": "refresh_token", "refresh_token": "key"}},
    (TOKEN_PATH, "post", 400): {"data": {"grant_type": "refresh_token", "refresh_token": "no key"}},
    (TOKEN_PATH, "post", 413): {"content": TOO_LONG},
    ("/openapi.json", "get", 200): {},
    ("/livez", "get", 200): {},
    ("/readyz", "get", 200): {},
    ("/healthz", "get", 200): {},
    ("/devices", "get", 200): {},
    ("/devices/{target}", "get", 200): {},
    ("/devices/{target}", "get", 404): {"target": "X99"},
    ("/devices/{target}/specifications", "get", 200): {},
    ("/devices/{target}/specifications", "get", 404): {"target": "X99"},
    ("/devices/{target}/certificate", "get", 200): {},
    ("/devices/{target}/certificate", "get", 404): {"target": "X99"},
    ("/jobs", "get", 200): {"params": {"size": 1}},
    ("/jobs", "get", 400): {"params": {"size": 0}},
    ("/jobs", "post", 201): {"json": {"circuit": PROGRAM}},
    ("/jobs", "post", 207): {
        "content": json.dumps([{"circuit": PROGRAM}, {"circuit": "nonsense"}]),
        "headers": {"content-type": "application/jobs+json"},
    },
    ("/jobs", "post", 400): {"json": {"circuit": "nonsense"}},
    ("/jobs", "post", 409): {"json": {"circuit": PROGRAM.replace("simulon_gaussian", "X8_01")}},
    ("/jobs", "post", 413): {"content": TOO_LONG},
    ("/jobs", "post", 422): (
        {"json": {"circuit": PROGRAM}, "headers": KEY},
        {"json": {"circuit": PROGRAM, "name": "another"}, "headers": KEY},
    ),
    ("/jobs/changes", "get", 200): {},
    ("/jobs/changes", "get", 410): {"headers": {"last-event-id": "no cursor"}},
    ("/jobs/{id}", "get", 200): {},
    ("/jobs/{id}", "get", 404): {"id": "no job"},
    ("/jobs/{id}", "patch", 204): {"id": "waiting", "json": {"status": "cancelled"}},
    ("/jobs/{id}", "patch", 400): {"id": "waiting", "json": {"status": "complete"}},
    ("/jobs/{id}", "patch", 404): {"id": "no job", "json": {"status": "cancelled"}},
    ("/jobs/{id}", "patch", 409): {"json": {"status": "cancelled"}},
    ("/jobs/{id}", "patch", 413): {"content": TOO_LONG},
    ("/jobs/{id}/circuit", "get", 200): {},
    ("/jobs/{id}", "delete", 204): {"id": "spare"},
    ("/jobs/{id}", "delete", 404): {"id": "no job"},
    ("/jobs/{id}", "delete", 409): {"id": "waiting"},
    ("/jobs/{id}/circuit", "get", 404): {"id": "no job"},
    ("/jobs/{id}/result", "get", 200): {},
    ("/jobs/{id}/result", "get", 206): {"headers": {"range": "bytes=0-9", "accept": "application/x-numpy"}},
    ("/jobs/{id}/result", "get", 304): {"headers": {"if-none-match": "*"}},
    ("/jobs/{id}/result", "get", 404): {"id": "waiting"},
    ("/jobs/{id}/result", "get", 410): {"id": "lost"},
    ("/jobs/{id}/result", "get", 416): {"headers": {"range": "bytes=9999-"}},
}


def test_every_documented_status_is_asked_for_below() -> None:
    of_all = OF_THE_SERVER | {401, 414}
    documented = {
        (path, method, status) for (path, method), statuses in STATUSES.items() for status in statuses - of_all
    }
    assert documented == ANSWERS.keys()


@pytest.mark.parametrize(("path", "method", "status"), ANSWERS)
async def test_a_documented_status_is_answered_in_its_shape(world: World, path: str, method: str, status: int) -> None:
    asked = ANSWERS[path, method, status]
    async with world.bench.client() as client:
        for ask in asked if isinstance(asked, tuple) else (asked,):
            job_id = {"waiting": world.waiting, "lost": world.lost, "spare": world.spare}.get(
                ask.get("id", ""), ask.get("id", world.complete)
            )
            place = {"id": job_id, "target": ask.get("target", "X8_01")}
            details = {name: value for name, value in ask.items() if name not in place}
            response = await client.request(method.upper(), path.format(**place), **details)
    assert response.status_code == status, response.text
    case_of(path, method, **place).validate_response(response, checks=CHECKS)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
async def test_what_holds_for_all_is_answered_in_its_shape(world: World, path: str, method: str) -> None:
    place = {"id": world.complete, "target": "X8_01"}
    async with world.bench.client() as client:
        too_long = await client.request(method, path.format(**place), params={"x": "y" * 20_000})
        del client.headers["authorization"]
        anonymous = await client.request(method, path.format(**place))
    assert (too_long.status_code, anonymous.status_code == 401) == (414, path not in PUBLIC_PATHS)
    for response in (too_long, anonymous):
        case_of(path, method, **place).validate_response(response, checks=CHECKS)


# any request


def checked_events(stream: str) -> set[str]:
    """Check the events of a stream as the document describes them, and return their names."""
    names = set()
    for block in stream.removesuffix("\n\n").split("\n\n"):
        event = dict(line.split(": ", 1) for line in block.split("\n"))
        if event.keys() == {"retry"}:
            assert event["retry"].isdigit()
            continue
        schema = DOCUMENT["paths"][CHANGES_PATH]["get"]["responses"]["200"]["content"][MEDIA_TYPE]["schema"]
        assert set(schema["required"]) <= event.keys() <= schema["properties"].keys()
        assert event["event"] in schema["properties"]["event"]["enum"]
        content = json.loads(event["data"], parse_constant=pytest.fail)
        if event["event"] == "job":  # as any response shows it
            path = f"http://platform/jobs/{content['id']}"
            response = httpx.Response(200, json=content, request=httpx.Request("GET", path))
            response.elapsed = timedelta()
            case_of("/jobs/{id}", "get", id=content["id"]).validate_response(
                response, checks=[response_schema_conformance]
            )
        else:
            assert content == {}
        names.add(event["event"])
    return names


BODIES = {
    (TOKEN_PATH, "post"): {
        "body": {"grant_type": "refresh_token", "refresh_token": "key"},
        "media_type": "application/x-www-form-urlencoded",
    },
    ("/jobs", "post"): {"body": {"circuit": PROGRAM}, "media_type": "application/json"},
}
"""What chance would not find."""


@pytest.fixture(scope="module")
def asked(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[World, Callable[[httpx.Request], httpx.Response]]]:
    """Return a world, and a function that sends requests from outside of its event loop."""
    with (
        anyio.from_thread.start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(open_world(tmp_path_factory.mktemp("world"))) as world,
        portal.wrap_async_context_manager(world.bench.client()) as client,
    ):
        yield world, lambda request: portal.call(client.send, request)


def request_of(case: Case, authorization: str) -> httpx.Request:
    """Return the request of a case; skip what cannot be written as a request."""
    try:
        prepared = requests.Request(**case.as_transport_kwargs(base_url="http://platform")).prepare()
        request = httpx.Request(
            str(prepared.method),
            str(prepared.url),
            headers={name: value for name, value in prepared.headers.items() if name.lower() != "authorization"},
            content=prepared.body.encode() if isinstance(prepared.body, str) else prepared.body,
        )
    except (requests.RequestException, httpx.InvalidURL, UnicodeError):
        assume(False)
        raise
    request.headers["authorization"] = authorization
    return request


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_nothing_undocumented_is_answered_at_the_edges_of_what_may_be_asked(
    asked: tuple[World, Callable[[httpx.Request], httpx.Response]], path: str, method: str
) -> None:
    """Each parameter at, below and above its bounds, of another type, missing, twice; and other methods."""
    world, ask = asked
    cases = list(
        SCHEMA.iter_coverage_cases(
            SCHEMA[path][method.upper()], generation_modes=list(GenerationMode), generation_config=GenerationConfig()
        )
    )
    documented = STATUSES[path, method] - OF_THE_SERVER
    for case in cases:
        response = ask(request_of(case, f"Bearer {world.bench.token()}"))
        allowed = documented if case.method == method.upper() else {405}
        assert response.status_code in allowed, (case, response.text)
        case.validate_response(response, checks=CHECKS)
    assert len(cases) > (2 if method == "delete" else 5)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_nothing_undocumented_is_answered_whatever_is_asked(
    asked: tuple[World, Callable[[httpx.Request], httpx.Response]], path: str, method: str
) -> None:
    world, ask = asked
    operation = SCHEMA[path][method.upper()]
    known: list[dict[str, Any]] = [{}]
    if "{id}" in path:
        complete = world.spare if method == "delete" else world.complete
        known += [{"path_parameters": {"id": complete}}, {"path_parameters": {"id": world.waiting}}]
    if "{target}" in path:
        known += [{"path_parameters": {"target": "X8_01"}}]
    if (path, method) in BODIES:
        known += [BODIES[path, method]]
    if path == CHANGES_PATH:
        known += [{"query": {"since": world.cursor}}, {"headers": {"Last-Event-ID": world.cursor}}]
    seen: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.one_of(operation.as_strategy(generation_mode=mode, **parts) for mode in GenerationMode for parts in known)
    )
    def try_it(case: Case) -> None:
        response = ask(request_of(case, f"Bearer {world.bench.token()}"))
        seen.add(response.status_code)
        case.validate_response(response, checks=CHECKS)
        if response.headers.get("content-type") == MEDIA_TYPE:
            events.update(checked_events(response.text))

    events: set[str] = set()
    try_it()
    assert events == ({"hello", "job", "bye"} if path == CHANGES_PATH else set())
    assert seen <= STATUSES[path, method] - OF_THE_SERVER
    assert len(seen) > 1 or len(STATUSES[path, method] - OF_THE_SERVER - {401, 414}) == 1
