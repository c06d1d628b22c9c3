"""All errors have one shape, and the devices are shown."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sfjobs.platform.api.routes.account import TOKEN_PATH
from tests.platform.stand_ins import ARRAY, PROGRAM, Bench, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path, automatic=True) as bench:
        yield bench


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/jobs/", 404, "not-found"),
        ("GET", "/jobs/7", 404, "not-found"),
        ("GET", "/devices/X99", 404, "not-found"),
        ("GET", "/devices/X99/certificate", 404, "not-found"),
        ("PUT", "/jobs", 405, "method-not-allowed"),
        ("POST", "/healthz", 405, "method-not-allowed"),
        ("DELETE", "/jobs", 405, "method-not-allowed"),
        ("DELETE", "/jobs/7", 404, "not-found"),
        ("GET", "/auth/realms/platform/protocol/openid-connect/token", 405, "method-not-allowed"),
        ("GET", "/jobs?id=" + "x" * 20_000, 414, "uri-too-long"),
    ],
)
async def test_every_error_has_the_four_parts(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path)
    body = response.json()
    assert (response.status_code, set(body), body["status_code"], body["code"]) == (
        status,
        {"status_code", "code", "detail", "meta"},
        status,
        code,
    )


async def test_a_host_that_is_nonsense_does_no_harm(client: httpx.AsyncClient) -> None:
    response = await client.get("/nothing", headers={"host": "["})
    assert (response.status_code, response.json()["detail"]) == (404, "GET /nothing: Not Found.")


@pytest.mark.parametrize(
    "body",
    [b"{", b"nonsense", b"\xff{}", b"[" * 100_000, b"1" * 10_000, b'{"circuit": "\n"}', b"\x00", b"{'circuit': 1}"],
)
async def test_a_body_that_is_no_json_is_refused_in_words_for_its_sender(
    client: httpx.AsyncClient, body: bytes
) -> None:
    response = await client.post("/jobs", content=body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid-request")
    assert not {"codec", "recursion", "sys", "Traceback"} & set(response.json()["detail"].split())


async def test_a_405_names_all_methods_of_the_path(client: httpx.AsyncClient) -> None:
    assert set((await client.put("/jobs")).headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


async def test_a_bug_is_a_500_that_tells_nothing_of_the_inside(
    bench: Bench,
    client: httpx.AsyncClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LookupError(f"a defect in {tmp_path}")

    monkeypatch.setattr(bench.store, "job", fail)
    response = await client.get("/jobs/00000000-0000-4000-8000-000000000001")
    assert (response.status_code, response.json()["code"]) == (500, "server-error")
    assert str(tmp_path) not in response.text
    assert "LookupError" in caplog.text


async def test_a_bug_in_the_request_guard_is_a_500_too(
    bench: Bench, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: str) -> None:
        raise RuntimeError("of the inside")

    monkeypatch.setattr(bench.tokens, "bearer_of", broken)
    response = await client.get("/jobs")
    assert (response.status_code, response.json()["code"]) == (500, "server-error")
    assert "of the inside" not in response.text
    assert "of the inside" in caplog.text


async def test_a_bug_around_the_request_guard_is_a_500_too(bench: Bench, client: httpx.AsyncClient) -> None:
    class Broken:
        def __init__(self, app: ASGIApp) -> None:
            pass

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError("of the inside")

    assert isinstance(bench.app, Starlette)
    bench.app.add_middleware(Broken)
    response = await client.get("/jobs")
    assert (response.status_code, response.json()["code"]) == (500, "server-error")
    assert "of the inside" not in response.text


async def test_a_request_that_the_platforms_end_interrupts_is_answered(
    bench: Bench,
) -> None:
    """As uvicorn does it: it cancels the task of the request, and what that still sends reaches the client."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    authorization = f"Bearer {bench.token()}".encode()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/jobs",
        "query_string": b"",
        "headers": [(b"authorization", authorization)],
    }
    request = asyncio.create_task(bench.app(scope, anyio.sleep_forever, send))
    await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert (sent[0]["status"], json.loads(sent[1]["body"])["code"]) == (503, "stopping")


@pytest.mark.parametrize(("method", "path"), [("POST", "/jobs"), ("POST", TOKEN_PATH)])
async def test_a_client_that_goes_away_in_the_middle_of_a_request_is_no_failure(
    bench: Bench, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    arriving: list[Message] = [
        {"type": "http.request", "body": b'{"circuit": "na', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return arriving.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    authorization = f"Bearer {bench.token()}".encode()
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"authorization", authorization), (b"content-type", b"application/x-www-form-urlencoded")],
    }
    with caplog.at_level(logging.DEBUG, "sfjobs"):
        await bench.app(scope, receive, send)
    assert [record.levelname for record in caplog.records if record.name.startswith("sfjobs")] == ["DEBUG"]
    assert not sent


async def test_head_shows_the_headers_of_a_result(bench: Bench, client: httpx.AsyncClient) -> None:
    job_id = (await client.post("/jobs", json={"circuit": PROGRAM})).json()["id"]
    await bench.store.ended(job_id)
    response = await client.head(f"/jobs/{job_id}/result", headers={"accept": "application/x-numpy"})
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > ARRAY.nbytes


async def test_devices_are_listed_as_they_are_shown_one_by_one(client: httpx.AsyncClient) -> None:
    devices = (await client.get("/devices")).json()["data"]
    one = (await client.get(f"/devices/{devices[0]['target']}")).json()
    assert one == devices[0]
    assert set(one) == {"target", "status", "expected_uptime", "created_at"}


async def test_every_device_has_a_specification_and_a_certificate(client: httpx.AsyncClient) -> None:
    for device in (await client.get("/devices")).json()["data"]:
        specification = (await client.get(f"/devices/{device['target']}/specifications")).json()
        certificate = await client.get(f"/devices/{device['target']}/certificate")
        assert specification["target"] == device["target"]
        assert {"layout", "modes", "compiler", "gate_parameters"} <= set(specification)
        assert isinstance(certificate.json(), dict)
