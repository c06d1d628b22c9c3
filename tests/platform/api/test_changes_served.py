"""The change feed over real connections through uvicorn, with clients that stay, disconnect or do not read, and at a stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sfjobs.platform import Platform, PlatformSettings, serving
from sfjobs.platform.api.routes import changes as routes_changes
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.stand_ins import PROGRAM, new_job

pytestmark = [pytest.mark.real_time]

FINAL = {"complete", "failed", "cancelled"}


def token_of(platform: Platform) -> str:
    form = {"grant_type": "refresh_token", "refresh_token": platform.api_key, "client_id": "public"}
    url = f"{platform.url}/auth/realms/platform/protocol/openid-connect/token"
    return f"Bearer {httpx.post(url, data=form, trust_env=False).json()['access_token']}"


@contextlib.contextmanager
def client_of(platform: Platform) -> Iterator[httpx.Client]:
    headers = {"authorization": token_of(platform), "accept-version": "0.4.0"}
    with httpx.Client(base_url=platform.url, headers=headers, trust_env=False, timeout=60) as client:
        yield client


def submit(client: httpx.Client, count: int) -> list[str]:
    items = [{"circuit": PROGRAM}] * count
    headers = {"content-type": "application/jobs+json"}
    response = client.post("/jobs", content=json.dumps(items), headers=headers)
    return [item["job"]["id"] for item in response.json()["data"]]


def events_of(response: httpx.Response) -> Iterator[dict[str, Any]]:
    fields: dict[str, Any] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        fields[name] = value
        if not line:
            if "event" in fields:
                yield {**fields, "data": json.loads(fields["data"])}
            fields = {}


def test_a_job_is_followed_to_its_end() -> None:
    with serving() as platform, client_of(platform) as client, client.stream("GET", "/jobs/changes") as response:
        events = events_of(response)
        assert next(events)["event"] == "hello"
        [job_id] = submit(client, 1)
        statuses = []
        for event in events:
            assert event["data"]["id"] == job_id
            statuses.append(event["data"]["status"])
            if statuses[-1] in FINAL:
                break
    assert (statuses[0], statuses[-1]) == ("open", "complete")


def test_a_stop_ends_open_streams_as_they_should_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with contextlib.ExitStack() as stack:
        with serving() as platform:
            client = stack.enter_context(client_of(platform))
            responses = [stack.enter_context(client.stream("GET", "/jobs/changes")) for _ in range(3)]
            streams = [events_of(response) for response in responses]
            assert [next(events)["event"] for events in streams] == ["hello"] * 3
        # a body without its last chunk would raise
        assert [[event["event"] for event in events] for events in streams] == [["bye"], ["bye"], ["bye"]]
    assert caplog.messages == []  # the server would say that it had to cancel requests


def test_streams_have_no_thread_each() -> None:
    with serving() as platform, contextlib.ExitStack() as stack:
        request = f"GET /jobs/changes HTTP/1.1\r\nhost: x\r\nauthorization: {token_of(platform)}\r\n\r\n".encode()
        first = stack.enter_context(connected(platform, request))
        before = threading.active_count()
        connections = [first, *(stack.enter_context(connected(platform, request)) for _ in range(49))]  # 50 are allowed
        assert threading.active_count() <= before
        with client_of(platform) as client:
            [job_id] = submit(client, 1)
        assert all(received(connection, job_id.encode()) for connection in connections)


@contextlib.contextmanager
def connected(platform: Platform, request: bytes) -> Iterator[socket.socket]:
    with socket.create_connection((platform.host, platform.port), timeout=60) as connection:
        connection.sendall(request)
        assert received(connection, b"event: hello")
        yield connection


def received(connection: socket.socket, what: bytes) -> bool:
    """Read until the text has arrived or the connection has ended."""
    text = b""
    while what not in text:
        if not (chunk := connection.recv(65536)):
            return False
        text += chunk
    return True


async def fill(path: Path) -> None:
    """Make more changes than the socket buffers of both sides hold: jobs that failed with long messages."""
    with contextlib.closing(SQLiteStore(path)) as store:
        account = store.ensure_account("local")
        for job in await store.add_jobs([new_job(account, number) for number in range(200)]):
            await store.enqueue([job.id])
            await store.start(job.id)
            await store.fail(job.id, 1, "verbose", "x" * 65536)


@pytest.mark.skipif(sys.platform == "win32", reason="the sizes of socket buffers are another matter there")
def test_a_client_that_does_not_read_is_disconnected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_changes, "SEND_TIMEOUT_SECONDS", 0.2)
    settings = PlatformSettings(data_dir=tmp_path)
    with (
        serving(settings=settings) as platform,
        client_of(platform) as client,
        client.stream("GET", "/jobs/changes") as response,
    ):
        cursor = next(events_of(response))["id"]
    asyncio.run(fill(settings.database))
    with serving(settings=settings) as platform, client_of(platform) as client, socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect((platform.host, platform.port))
        lines = ["GET /jobs/changes HTTP/1.1", "host: x", f"authorization: {client.headers['authorization']}"]
        reader.sendall("\r\n".join([*lines, f"last-event-id: {cursor}", "", ""]).encode())
        until_broken(reader, client)


def until_broken(reader: socket.socket, client: httpx.Client) -> None:
    """Return when the platform has broken the connection. A pending error of the socket shows it without reading."""
    while not reader.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        assert client.get("/healthz").status_code == 200
