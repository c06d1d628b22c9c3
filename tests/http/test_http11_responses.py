"""Responses on a connection: every framing of a body, and bytes that are not HTTP."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
import httpx
import pytest

from sfjobs._http.http11 import DirectTransport, ResponseBody
from tests.support.raw_server import Peer, Script, raw_server, serving

pytestmark = pytest.mark.real_time

OK = b"HTTP/1.1 200 OK\r\n"
PLANTED = "a-token-that-must-never-be-seen"


@dataclass(frozen=True)
class Framed:
    """
    A response, its body, and whether another request may follow on the same connection. ``ended``: the server has to hang up
    for the response to be whole.
    """

    response: bytes
    body: bytes
    goes_on: bool
    method: str = "GET"
    status: int = 200
    ended: bool = False


FRAMED = {
    "a length": Framed(OK + b"Content-Length: 5\r\n\r\nhello", b"hello", True),
    "no length needed": Framed(OK + b"Content-Length: 0\r\n\r\n", b"", True),
    "the same length twice": Framed(OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", b"hello", True),
    "chunks": Framed(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello", True),
    "no chunks": Framed(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"", True),
    "chunks with extensions and trailers": Framed(
        OK + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n", b"hello", True
    ),
    "chunks and a length": Framed(
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello", True
    ),
    "until the end": Framed(OK + b"\r\nhello", b"hello", False, ended=True),
    "nothing until the end": Framed(OK + b"\r\n", b"", False, ended=True),
    "the server ends": Framed(OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
    "the server ends, among others": Framed(
        OK + b"Connection: x, Close\r\nContent-Length: 5\r\n\r\nhello", b"hello", False
    ),
    "the server ends after chunks": Framed(
        OK + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello", False
    ),
    "HTTP/1.0": Framed(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
    "204": Framed(b"HTTP/1.1 204 No Content\r\n\r\n", b"", True, status=204),
    "204 with a length": Framed(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b"", True, status=204),
    "304 with a length": Framed(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"", True, status=304),
    "HEAD": Framed(OK + b"Content-Length: 5\r\n\r\n", b"", True, method="HEAD"),
    "HEAD of chunks": Framed(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"", True, method="HEAD"),
    "interim responses": Framed(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        + OK
        + b"Content-Length: 5\r\n\r\nhello",
        b"hello",
        True,
    ),
    "more than the length": Framed(OK + b"Content-Length: 5\r\n\r\nhello, world", b"hello", False),
    "more than the chunks": Framed(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n!", b"hello", False),
    "more than nothing": Framed(b"HTTP/1.1 204 No Content\r\n\r\nhello", b"", False, status=204),
    "no reason": Framed(b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello", True),
    "bare line feeds": Framed(b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", b"hello", True),
    "a long head": Framed(OK + b"X-Long: %b\r\nContent-Length: 5\r\n\r\nhello" % (b"a" * 60_000), b"hello", True),
}


async def exchange(transport: DirectTransport, url: str, method: str = "GET") -> tuple[int, bytes]:
    response = await transport.handle_async_request(httpx.Request(method, url))
    assert isinstance(response.stream, ResponseBody)
    try:
        return response.status_code, b"".join([part async for part in response.stream])
    finally:
        await response.aclose()


def saying(response: bytes, *, ended: bool) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            await peer.read_request()
            await peer.send(response)
            if ended:
                await peer.end()

    return script


@pytest.mark.parametrize("case", FRAMED.values(), ids=FRAMED.keys())
async def test_a_body_ends_where_its_frame_says(case: Framed) -> None:
    script = saying(case.response, ended=case.ended)
    async with raw_server(script, serving(OK + b"Content-Length: 5\r\n\r\nagain")) as server:
        transport = DirectTransport()
        assert await exchange(transport, server.url, case.method) == (case.status, case.body)
        if case.goes_on:
            assert await exchange(transport, server.url, case.method) == (case.status, case.body)
        else:
            assert await exchange(transport, server.url) == (200, b"again")
        assert server.connections == (1 if case.goes_on else 2)
        await transport.aclose()


@pytest.mark.parametrize(
    "case", [FRAMED[name] for name in ("a length", "chunks", "interim responses", "until the end")]
)
async def test_a_response_may_arrive_byte_by_byte(case: Framed) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        for number in range(len(case.response)):
            await peer.send(case.response[number : number + 1])
            await anyio.lowlevel.checkpoint()

    async with raw_server(script) as server:
        transport = DirectTransport()
        assert await exchange(transport, server.url) == (case.status, case.body)
        await transport.aclose()


async def test_head_and_reason_are_kept_unchanged() -> None:
    sent = b"HTTP/1.1 299 Rather Fine\r\nX-Two: 1\r\nx-two: 2\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(serving(sent)) as server:
        transport = DirectTransport()
        response = await transport.handle_async_request(httpx.Request("GET", server.url))
        await transport.aclose()
    assert (response.status_code, response.reason_phrase, response.http_version) == (299, "Rather Fine", "HTTP/1.1")
    assert response.headers.raw == [(b"X-Two", b"1"), (b"x-two", b"2"), (b"Content-Length", b"0")]


async def test_a_request_is_sent_as_httpx_made_it() -> None:
    requests: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            requests.append(await peer.read_request())
            await peer.send(OK + b"Content-Length: 0\r\n\r\n")

    async with raw_server(script) as server:
        transport = DirectTransport()
        host = server.url.removeprefix("http://").encode()
        get = httpx.Request("GET", f"{server.url}/a%20b?c=d", headers={"X-One": "1"})
        post = httpx.Request("POST", server.url, content=b"abc")
        for request in (get, post):
            await (await transport.handle_async_request(request)).aclose()
        await transport.aclose()
    assert requests == [
        b"GET /a%20b?c=d HTTP/1.1\r\nHost: " + host + b"\r\nX-One: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 3\r\n\r\nabc",
    ]


async def test_a_header_with_a_line_break_is_never_sent() -> None:
    async with raw_server(serving(OK + b"Content-Length: 0\r\n\r\n")) as server:
        transport = DirectTransport()
        request = httpx.Request("GET", server.url, headers={"X-One": f"1\r\nX-Token: {PLANTED}"})
        with pytest.raises(httpx.LocalProtocolError) as caught:
            await transport.handle_async_request(request)
        assert PLANTED not in f"{caught.value!r} {caught.value.__context__!r}"
        await transport.aclose()


# -- what is no response --

INVALID_RESPONSES = {
    "nothing": b"",
    "a head cut off": OK + b"Content-Le",
    "a head of a mebibyte": OK + b"X-Long: " + b"a" * 2**20,
    "lines without end": OK + b"X: y\r\n" * 50_000,
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "all bytes": bytes(range(256)) * 4,
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a line that is no header": OK + b"no header\r\n\r\n",
    "a space before the colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "a zero byte in a header": OK + b"X-One: a\0b\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a length that is no number": OK + b"Content-Length: five\r\n\r\nhello",
    "a negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "a length of 5 000 digits": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nhello",
    "a body cut off": OK + b"Content-Length: 6\r\n\r\nhello",
    "an unknown transfer encoding": OK + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "chunked twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunks cut off": OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhello",
    "chunks without a last one": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "a chunk longer than it says": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
    "a chunk without a size": OK + b"Transfer-Encoding: chunked\r\n\r\nhello\r\n",
    "a chunk of a negative size": OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
    "a chunk size without end": OK + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"a" * 2**20,
    "trailers without end": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 2**20,
    "an interim response and no other": b"HTTP/1.1 100 Continue\r\n\r\n",
    "a protocol that was not requested": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "the request": b"GET / HTTP/1.1\r\nAuthorization: Bearer " + PLANTED.encode() + b"\r\n\r\n",
    "a line that repeats the token": OK + b"Authorization : Bearer " + PLANTED.encode() + b"\r\n\r\n",
    "a chunk that repeats the token": OK + b"Transfer-Encoding: chunked\r\n\r\n" + PLANTED.encode() + b"\r\n",
    "a chunk's end that repeats the token": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n" + PLANTED.encode() * 2,
}


@pytest.mark.parametrize("response", INVALID_RESPONSES.values(), ids=INVALID_RESPONSES.keys())
async def test_an_invalid_response_is_an_error_that_quotes_nothing_and_closes_the_connection(response: bytes) -> None:
    async with raw_server(saying(response, ended=True)) as server:
        transport = DirectTransport()
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)) as caught:
            await exchange(transport, server.url)
        assert PLANTED not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
        assert len(str(caught.value)) < 200
        await server.has_open(0)
        await transport.aclose()
