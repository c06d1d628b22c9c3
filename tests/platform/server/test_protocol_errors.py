"""Malformed and too large requests, which never reach the application, get error responses of the usual shape."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from sfjobs.platform import Platform, serving
from sfjobs.platform.limits import Limits
from tests.platform.api.test_changes_served import token_of

pytestmark = pytest.mark.real_time


@pytest.fixture(scope="module", params=["httptools", "h11"])
def parser(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "h11":
            patch.setitem(
                sys.modules, "sfjobs.platform.server.http_protocols.httptools_protocol", None
            )  # as if it were not installed
        yield request.param


@pytest.fixture(scope="module")
def platform(parser: str) -> Iterator[Platform]:
    with serving() as platform:
        yield platform


def connect(platform: Platform, sent: bytes) -> socket.socket:
    connection = socket.create_connection((platform.host, platform.port), timeout=30)
    connection.sendall(sent)
    return connection


def response_of(connection: socket.socket) -> tuple[int, dict[str, object]]:
    """Return the status and the JSON body of a response after which the connection closes."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower().split(b"\r\n")
    content = json.loads(body)
    assert content.keys() == {"status_code", "code", "detail", "meta"}
    return int(head.split()[1]), content


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nno header\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 what TLS begins with\r\n\r\n",
    ],
)
def test_malformed_http_is_a_400_in_the_usual_shape(platform: Platform, sent: bytes) -> None:
    with connect(platform, sent) as connection:
        status, content = response_of(connection)
    assert (status, content["status_code"], content["code"]) == (400, 400, "invalid-request")


@pytest.mark.parametrize(
    "head",
    [
        b"OPTIONS * HTTP/1.1\r\nhost: x",
        b"GET http://elsewhere/jobs HTTP/1.1\r\nhost: x",
        b"GET /jobs HTTP/1.0",
        b"GET /jobs HTTP/1.1\r\nhost: [",
        b"GET //jobs HTTP/1.1\r\nhost: x",
        b"GET /jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer \xff",
        b"GET /jobs HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: x",
    ],
)
def test_odd_but_valid_requests_reach_the_application(platform: Platform, head: bytes) -> None:
    with connect(platform, head + b"\r\nconnection: close\r\n\r\n") as connection:
        assert response_of(connection)[0] == 401


@pytest.mark.parametrize("parser", ["httptools"], indirect=True)
def test_a_head_that_is_too_long_is_a_431(platform: Platform) -> None:
    """The other parser responds with 400."""
    with connect(platform, b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: ") as connection:
        # The server reads in order: when this is answered, it has read what came before.
        httpx.get(f"{platform.url}/healthz", trust_env=False)
        connection.sendall(b"x" * (Limits().head + 1))
        status, content = response_of(connection)
    assert (status, content["code"]) == (431, "head-too-large")


def test_a_body_that_is_too_large_is_a_413(platform: Platform) -> None:
    head = (
        f"POST /jobs HTTP/1.1\r\nhost: x\r\nauthorization: {token_of(platform)}\r\ncontent-length: 99999999999\r\n\r\n"
    )
    with connect(platform, head.encode()) as connection:
        status, content = response_of(connection)
    assert (status, content["code"]) == (413, "payload-too-large")


@pytest.mark.parametrize("parser", ["httptools"], indirect=True)
def test_nonsense_in_the_middle_of_a_response_does_not_become_a_part_of_it(platform: Platform) -> None:
    """A client would take the error for bytes of a result. The other parser reads on only after the response."""
    head = f"GET /jobs/changes HTTP/1.1\r\nhost: x\r\nauthorization: {token_of(platform)}\r\n\r\n"
    with connect(platform, head.encode()) as connection:
        received = b""
        while b"hello" not in received:
            received += connection.recv(65536)
        with suppress(ConnectionError):
            connection.sendall(b"nonsense\r\n\r\n")
            while piece := connection.recv(65536):
                received += piece
    assert b"invalid-request" not in received
