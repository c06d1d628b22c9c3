"""Downloads over real sockets: cut at every kind of place and in every kind of frame."""

from __future__ import annotations

import anyio
import numpy as np
import pytest

from sfjobs import Connection, Job, Result, Settings
from sfjobs._http.messages import Request
from sfjobs._http.retry import Retry
from sfjobs._http.transport import Transport
from sfjobs.errors import ConnectionClosedError, TransportError
from tests.support.fake_platform import npy
from tests.support.range_server import End, Framing, RangeServer
from tests.support.raw_server import Peer, RawServer, raw_server

pytestmark = pytest.mark.real_time

SAMPLES = np.random.default_rng(7).integers(0, 256, (1000, 1000), np.uint8)
BODY = npy(SAMPLES)
HALF = len(BODY) // 2
RESULT = Request(method="GET", path="/jobs/1/result", expect=frozenset({200}))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Retry.pause.__kwdefaults__, "draw", lambda: 0.0)


def settings(server: RawServer, **more: float) -> Settings:
    return Settings(url=server.url, access_token="a-token-that-must-never-be-seen", **more)


async def fetched(connection: Connection) -> Result:
    return await Job("1", "complete", connection).fetch_result()


@pytest.mark.usefixtures("http")
@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("end", ["end", "reset"])
@pytest.mark.parametrize("cut", [0, 1, 127, 128, HALF, len(BODY) - 1])
async def test_a_body_cut_anywhere_resumes_there(framing: Framing, end: End, cut: int) -> None:
    served = RangeServer(BODY, framing)
    async with (
        raw_server(served.cut(cut, end), served.whole()) as server,
        Connection(settings=settings(server)) as connection,
    ):
        result = await fetched(connection)
    assert np.array_equal(result.samples, SAMPLES)
    assert len(served.requests) == 2
    if end == "end":  # a reset throws away what has not been read
        assert served.sent == len(BODY)


@pytest.mark.usefixtures("http")
async def test_a_body_cut_at_half_costs_no_more_than_half_again() -> None:
    served = RangeServer(BODY)
    async with (
        raw_server(served.cut(HALF), served.whole()) as server,
        Connection(settings=settings(server)) as connection,
    ):
        await fetched(connection)
    assert served.sent <= 1.01 * len(BODY)
    assert f"Range: bytes={HALF}-".encode().lower() in served.requests[1].lower()


@pytest.mark.usefixtures("http")
@pytest.mark.parametrize("end", ["end", "reset"])
@pytest.mark.parametrize("cut", [0, 20, 60])
async def test_a_cut_head_is_requested_again(cut: int, end: End) -> None:
    served = RangeServer(BODY)
    async with (
        raw_server(served.cut_head(cut, end), served.cut(HALF), served.cut_head(cut, end), served.whole()) as server,
        Connection(settings=settings(server)) as connection,
    ):
        result = await fetched(connection)
    assert np.array_equal(result.samples, SAMPLES)
    assert [b"bytes=" in request for request in served.requests] == [False, False, True, True]
    assert served.sent == len(BODY)


@pytest.mark.usefixtures("http")
async def test_a_resumed_download_keeps_its_connection_for_the_next_request() -> None:
    served = RangeServer(BODY)
    async with (
        raw_server(served.cut(HALF), served.whole()) as server,
        Connection(settings=settings(server)) as connection,
    ):
        for _ in range(3):
            await fetched(connection)
        assert server.connections == 2


@pytest.mark.usefixtures("http")
async def test_a_server_that_stays_away_is_an_error() -> None:
    served = RangeServer(BODY)
    async with (
        raw_server(served.cut(HALF), served.cut(0)) as server,
        Connection(settings=settings(server, retries=3)) as connection,
    ):
        with pytest.raises(TransportError, match=r"/jobs/1/result: the connection broke \(.*\)") as caught:
            await fetched(connection)
    assert caught.value.attempts == 3
    assert len(served.requests) == 3


async def test_a_cancelled_download_closes_its_connection() -> None:
    served = RangeServer(BODY)

    async def stopping(peer: Peer) -> None:
        await served.cut(HALF)(peer)
        await peer.hung_up()

    async with raw_server(stopping) as server:
        transport = Transport(settings(server))
        room = memoryview(bytearray(len(BODY)))
        with anyio.CancelScope() as scope:
            async with transport.download(RESULT) as download:
                taken = 0
                while True:
                    taken += await download.read_into(room[taken:])
                    if taken == HALF:
                        scope.cancel()
        await server.has_open(0)
        await transport.aclose()


async def test_a_cancelled_read_loses_no_bytes_and_requests_none_again() -> None:
    served, half, rest = RangeServer(BODY), anyio.Event(), anyio.Event()

    async def pausing(peer: Peer) -> None:
        head, body = served.response(await peer.read_request())
        await peer.send(head + body[:HALF])
        half.set()
        await rest.wait()
        await peer.send(body[HALF:])
        await peer.hung_up()

    room, taken = memoryview(bytearray(len(BODY))), 0
    async with raw_server(pausing) as server:
        transport = Transport(settings(server))
        async with transport.download(RESULT) as download:
            while taken < HALF:
                taken += await download.read_into(room[taken:])
            with anyio.move_on_after(0.01) as scope:
                await download.read_into(room[taken:])
            assert scope.cancelled_caught
            rest.set()
            while taken < len(BODY):
                taken += await download.read_into(room[taken:])
            assert not await download.read_into(memoryview(bytearray(1)))
        await transport.aclose()
    assert room == BODY
    assert len(served.requests) == 1


async def test_closing_a_download_ends_its_reads() -> None:
    served = RangeServer(BODY)

    async def stopping(peer: Peer) -> None:
        await served.cut(HALF)(peer)
        await peer.hung_up()

    async with raw_server(stopping) as server:
        transport = Transport(settings(server))
        async with transport.download(RESULT) as download, anyio.create_task_group() as group:

            async def reads() -> None:
                room = memoryview(bytearray(len(BODY)))
                with pytest.raises(ConnectionClosedError, match="this download"):
                    while True:
                        await download.read_into(room)

            group.start_soon(reads)
            await anyio.wait_all_tasks_blocked()
            await download.aclose()
        await server.has_open(0)
        await transport.aclose()
    assert len(served.requests) == 1
