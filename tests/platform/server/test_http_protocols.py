"""Connections that send their requests slowly, in odd pieces, or not at all."""

from __future__ import annotations

import importlib
import json
import logging
import socket
from collections.abc import Iterator

import anyio
import httpx
import pytest
from starlette.requests import Request

from sfjobs.platform import Platform, serving
from sfjobs.platform.api import request_body as bodies
from sfjobs.platform.api.budgets import BodyShare, Budgets
from sfjobs.platform.api.request_body import read_body
from sfjobs.platform.api.routes import changes as routes_changes
from sfjobs.platform.errors import ApiError
from sfjobs.platform.limits import DEFAULTS, Limits
from sfjobs.platform.server.http_protocols import connection
from tests.platform.api.test_changes_served import token_of
from tests.platform.server.test_protocol_errors import connect, parser, response_of
from tests.platform.stand_ins import PROGRAM

__all__ = ["parser"]  # a fixture

HALF = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: "


@pytest.fixture
def platform(parser: str) -> Iterator[Platform]:
    with serving() as platform:
        yield platform


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_HEAD_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_SECONDS", 0.2)


def wait_until_read(platform: Platform) -> None:
    """Wait until the server has read what was sent before. It reads in order."""
    httpx.get(f"{platform.url}/healthz", trust_env=False)


def drip(connection: socket.socket, byte: bytes) -> None:
    """Send one byte at a time until the server responds."""
    connection.settimeout(0.01)
    while True:
        try:
            connection.sendall(byte)
            if connection.recv(1, socket.MSG_PEEK) is not None:
                break
        except TimeoutError:
            continue
    connection.settimeout(30)


@pytest.mark.real_time
@pytest.mark.usefixtures("short_timeouts")
def test_a_connection_that_brings_nothing_is_closed(platform: Platform) -> None:
    with connect(platform, b"") as connection:
        assert response_of(connection)[0] == 408


@pytest.mark.real_time
@pytest.mark.usefixtures("short_timeouts")
def test_a_head_that_comes_byte_by_byte_times_out(platform: Platform) -> None:
    with connect(platform, HALF) as connection:
        drip(connection, b"x")
        status, content = response_of(connection)
    assert (status, content["code"]) == (408, "request-timeout")


@pytest.mark.real_time
@pytest.mark.usefixtures("short_timeouts")
def test_a_second_head_has_a_timeout_too(platform: Platform) -> None:
    with connect(platform, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")
        connection.sendall(HALF)
        assert response_of(connection)[0] == 408


@pytest.mark.real_time
@pytest.mark.usefixtures("short_timeouts")
def test_a_stream_is_not_closed_for_bringing_no_further_request(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_changes, "HEARTBEAT_SECONDS", 0.3)
    head = f"GET /jobs/changes HTTP/1.1\r\nhost: x\r\nauthorization: {token_of(platform)}\r\n\r\n"
    with connect(platform, head.encode()) as connection:
        received = b""
        while b"\n:\n" not in received:
            piece = connection.recv(65536)
            assert piece
            received += piece


@pytest.mark.real_time
@pytest.mark.usefixtures("short_timeouts")
def test_a_body_that_comes_byte_by_byte_times_out(platform: Platform) -> None:
    head = f"POST /jobs HTTP/1.1\r\nhost: x\r\nauthorization: {token_of(platform)}\r\ncontent-length: 99999\r\n\r\n"
    with connect(platform, head.encode()) as connection:
        drip(connection, b" ")
        status, content = response_of(connection)
    assert (status, content["code"]) == (408, "request-timeout")


def request_of(*pieces: tuple[float, bytes]) -> Request:
    """Return a request whose body arrives in pieces, each after so many seconds."""
    waiting = list(pieces)

    async def receive() -> dict[str, object]:
        pause, piece = waiting.pop(0)
        await anyio.sleep(pause)
        return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    share = BodyShare(Budgets(DEFAULTS).bodies, "someone")
    return Request({**scope, "state": {"body_share": share}}, receive)


async def test_a_large_body_over_a_slow_line_is_read() -> None:
    pieces = [(10.0, b"x" * 20_000)] * 100
    assert len(await read_body(request_of(*pieces), 10 << 20)) == 2_000_000


async def test_a_body_that_is_slower_than_any_line_is_a_408() -> None:
    began = anyio.current_time()
    with pytest.raises(ApiError, match="120 bytes") as refused:
        await read_body(request_of(*[(1.0, b"xxxx")] * 1000), 10 << 20)
    assert refused.value.status_code == 408
    assert anyio.current_time() - began == pytest.approx(bodies.BODY_TIMEOUT_SECONDS, abs=1)


@pytest.mark.real_time
def test_a_large_body_may_come_in_one_piece_with_the_end_of_the_head(platform: Platform) -> None:
    """It was counted as a part of the head, and refused."""
    body = json.dumps({"circuit": PROGRAM + " " * (2 * Limits().head)}).encode()
    head = f"POST /jobs HTTP/1.1\r\nhost: x\r\nauthorization: {token_of(platform)}\r\ncontent-length: {len(body)}\r\n"
    with connect(platform, head.encode()) as connection:
        wait_until_read(platform)
        connection.sendall(b"connection: close\r\n\r\n" + body)
        received = connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 201")


@pytest.mark.real_time
@pytest.mark.parametrize("unfinished", [b"0\r\nx: ", b"5;x="])
def test_what_may_follow_a_body_is_not_collected_for_ever(platform: Platform, unfinished: bytes) -> None:
    """It was, also for unauthenticated clients."""
    head = b"POST /healthz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    with connect(platform, head + unfinished) as connection, pytest.raises(ConnectionError):
        for _ in range(256):  # far more than the kernel's buffers take
            connection.sendall(b"x" * (256 << 10))


@pytest.mark.real_time
def test_what_follows_a_body_is_no_header(platform: Platform) -> None:
    """A proxy that checks credentials would not see it."""
    request = (
        "POST /jobs HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        f"2\r\n{{}}\r\n0\r\nauthorization: {token_of(platform)}\r\n\r\n"
    )
    with connect(platform, request.encode()) as connection:
        assert response_of(connection)[0] == 401


@pytest.mark.real_time
def test_a_stop_logs_no_traceback_of_requests_under_way(
    parser: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("sfjobs.platform.server.serving"), "_STOP_TIMEOUT_SECONDS", 0.1)
    caplog.set_level(logging.WARNING)
    with serving() as platform:
        head = f"POST /jobs HTTP/1.1\r\nhost: x\r\nauthorization: {token_of(platform)}\r\ncontent-length: 9\r\n\r\n"
        connection = connect(platform, head.encode())
        wait_until_read(platform)
    with connection:
        assert response_of(connection)[0] == 503
    assert [record.exc_info for record in caplog.records if record.exc_info] == []
