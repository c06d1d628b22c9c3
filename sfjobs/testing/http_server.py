"""A scripted platform on a socket: HTTP/1.1 with h11, and the damage that the faults do to connections and to bytes."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import traceback
from collections.abc import AsyncIterator, Iterator

import anyio
import h11
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from .answers import Answer, Received, refusal
from .backend import Backend
from .exchange import Exchange, StreamReset
from .faults import Fault

READ_BYTES = 64 * 1024
_CONNECTION_ENDED = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError, OSError)


class HTTPServer:
    """Answers the requests of all connections to one platform. Belongs to one event loop."""

    def __init__(self, backend: Backend, tls: ssl.SSLContext | None = None) -> None:
        self._backend = backend
        self._tls = tls
        self._connections: dict[object, ByteStream] = {}

    async def serve(self, stream: ByteStream) -> None:
        """Serve one connection until it ends."""
        key = object()
        self._connections[key] = stream
        try:
            async with stream:
                fault = self._backend.faults.for_connection()
                if fault is not None and fault.kind == "reset on connect":
                    await reset(stream)
                    return
                if fault is not None and fault.kind == "no tls":
                    await stream.send(b"SSH-2.0-OpenSSH_9.6\r\n")
                    return
                await self._answer_all(stream if self._tls is None else await _with_tls(stream, self._tls))
        except _CONNECTION_ENDED:
            return  # by the client, or by a fault
        finally:
            del self._connections[key]

    async def disconnect(self) -> None:
        """Reset all connections, so that the next request of each client needs a new one."""
        for stream in list(self._connections.values()):
            await reset(stream)

    async def _answer_all(self, stream: ByteStream) -> None:
        connection = _ServedConnection(stream)
        while (request := await connection.request()) is not None:
            exchange = Exchange(self._backend, request)
            fault = exchange.damage
            if fault is not None and fault.kind == "reset before request":
                await reset(stream)
                return
            answer = await self._answer(exchange)
            if answer.stream is not None:
                await connection.send_stream(answer)
                return
            data = connection.written(answer, is_of_head=request.method == "HEAD")
            if fault is not None and await _damaged(stream, data, fault):
                return
            await stream.send(data)
            if not connection.goes_on():
                return

    async def _answer(self, exchange: Exchange) -> Answer:
        try:
            return await exchange.answer()
        except Exception as error:  # noqa: BLE001 - of a function of the test, whose message must reach it
            traceback.print_exc()
            return refusal(500, "test-failed", f"a function of the test raised {type(error).__name__}: {error}")


class _ServedConnection:
    """The protocol of one connection."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._protocol = h11.Connection(h11.SERVER)

    async def request(self) -> Received | None:
        """Return the next whole request, or None at the end of the connection."""
        head: h11.Request | None = None
        body = bytearray()
        while True:
            try:
                event = self._protocol.next_event()
            except h11.RemoteProtocolError:
                return None
            if event is h11.NEED_DATA:
                if self._protocol.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                self._protocol.receive_data(await self._received())
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _request(head, bytes(body))
            else:
                return None

    async def _received(self) -> bytes:
        try:
            return await self._stream.receive(READ_BYTES)
        except anyio.EndOfStream:
            return b""

    async def _send(self, *events: h11.Event) -> None:
        await self._stream.send(b"".join(self._bytes(*events)))

    def _bytes(self, *events: h11.Event) -> Iterator[bytes]:
        for event in events:
            yield self._protocol.send(event) or b""

    def written(self, answer: Answer, *, is_of_head: bool) -> bytes:
        """Return a whole answer as bytes."""
        has_no_body = answer.status in (204, 304)
        length = {} if has_no_body else {"content-length": str(len(answer.body))}
        data = [] if has_no_body or is_of_head else [h11.Data(data=answer.body)]
        return b"".join(self._bytes(_head(answer, length), *data, h11.EndOfMessage()))

    def goes_on(self) -> bool:
        """Return whether another request may come, and prepare for it."""
        if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
            return False
        self._protocol.start_next_cycle()
        return True

    async def send_stream(self, answer: Answer) -> None:
        """Send an answer piece by piece, until it or the connection ends."""
        assert answer.stream is not None
        async with contextlib.aclosing(answer.stream) as pieces, anyio.create_task_group() as group:
            group.start_soon(self._cancel_at_end, group.cancel_scope)
            try:
                await self._send(_head(answer, {"transfer-encoding": "chunked"}))
                async for piece in pieces:
                    await self._send(h11.Data(data=piece))
                await self._send(h11.EndOfMessage())
            except StreamReset:
                await reset(self._stream)
            except _CONNECTION_ENDED:
                pass
            group.cancel_scope.cancel()

    async def _cancel_at_end(self, scope: anyio.CancelScope) -> None:
        await until_hung_up(self._stream)
        scope.cancel()


def _head(answer: Answer, more: dict[str, str]) -> h11.Response:
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() != "content-length"}
    return h11.Response(status_code=answer.status, headers=list({**headers, **more}.items()))


def _request(head: h11.Request, body: bytes) -> Received:
    headers = {name.decode("ascii").lower(): value.decode("latin-1") for name, value in head.headers}
    return Received(method=head.method.decode(), target=head.target.decode("ascii"), headers=headers, body=body)


async def _damaged(stream: ByteStream, data: bytes, fault: Fault) -> bool:
    """Do to an answer what the fault does, and return whether that ended the connection."""
    half = len(data) - (len(data.partition(b"\r\n\r\n")[2]) // 2 or 2)
    match fault.kind:
        case "reset before answer":
            await reset(stream)
        case "reset in answer":
            await stream.send(data[:half])
            await reset(stream)
        case "reset after answer":
            await stream.send(data)
            await reset(stream)
        case "no answer":
            await until_hung_up(stream)
        case "slow answer":
            await _drip(stream, data, fault.seconds)
        case "cut head":
            await stream.send(data[: data.index(b"\r\n\r\n") - 3])
        case "cut body":
            await stream.send(data[:half])
        case "garbage":
            await stream.send(bytes(range(256)) * 2)
        case _:
            return False
    return True


async def _drip(stream: ByteStream, data: bytes, seconds: float) -> None:
    for place in range(len(data)):
        await stream.send(data[place : place + 1])
        await anyio.sleep(seconds)


async def _with_tls(stream: ByteStream, context: ssl.SSLContext) -> ByteStream:
    return await TLSStream.wrap(stream, server_side=True, ssl_context=context, standard_compatible=False)


async def reset(stream: ByteStream) -> None:
    """Reset a connection, so that reads and writes of the client fail."""
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await anyio.aclose_forcefully(stream)


async def until_hung_up(stream: ByteStream) -> None:
    """Return when the client has ended the connection."""
    with contextlib.suppress(*_CONNECTION_ENDED):
        while True:
            await stream.receive(READ_BYTES)


@contextlib.asynccontextmanager
async def listening(server: HTTPServer, host: str, port: int) -> AsyncIterator[int]:
    """Serve at an address while the block runs, and yield the port."""
    listener = await anyio.create_tcp_listener(local_host=host, local_port=port, backlog=1024)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, server.serve)
        try:
            yield listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
        finally:
            group.cancel_scope.cancel()
