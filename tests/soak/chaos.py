"""
A proxy with random faults in front of a platform: ``python -m tests.soak.chaos PORT SEED RATE``.

A share ``RATE`` of the requests meets a fault, half of them after the platform has handled the request. Change feeds are cut or
fall silent, and there are short outages. Counts all faults, and sends the counts for each line on stdin.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections import Counter
from dataclasses import dataclass

from .children import send

LONGEST_HEAD = 1 << 20
OUTAGE_INTERVAL_SECONDS, OUTAGE_SECONDS = 45.0, 1.5
STREAM_SECONDS = 20.0
"""Mean time until a change feed is cut."""

SILENT_STREAMS = 0.03
"""Share of these streams that fall silent instead, which the client notices after 25 s."""

LOST_CONNECTIONS = 0.01
"""Share of the connections that are reset before anything is read."""

BEFORE = {
    "reset before the platform": 2,
    "429": 1,
    "429 with Retry-After": 1,
    "503": 2,
    "502": 1,
    "500": 1,
    "504": 1,
    "401": 0.3,
    "an HTML page": 0.7,
}
AFTER = {
    "reset after the platform": 3,
    "body cut": 2,
    "head cut": 1,
    "reset in the body": 2,
    "garbage": 1,
    "slow": 1.5,
    "silence": 0.5,
}
FAULTS = BEFORE | AFTER
_PAGE = b"<!DOCTYPE html><title>Welcome to the hotel</title>"
_TROUBLE = b'{"status_code":%d,"code":"trouble","detail":"a bad line","meta":{}}'


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a response."""

    head: bytes
    body: bytes
    is_stream: bool = False

    @property
    def first(self) -> bytes:
        return self.head.partition(b"\r\n")[0]


class Chaos:
    def __init__(self, port: int, seed: int, rate: float) -> None:
        self._port = port
        self._draw = random.Random(seed)
        self._rate = rate
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_out = False
        self.faults: Counter[str] = Counter()
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_out or (self._rate and self._draw.random() < LOST_CONNECTIONS):
            self.faults["connection reset"] += 1
            writer.transport.abort()
            return
        self._writers.add(writer)
        ahead: asyncio.StreamWriter | None = None
        try:
            platform, ahead = await asyncio.open_connection("127.0.0.1", self._port, limit=LONGEST_HEAD)
            while await self._exchange(reader, writer, platform, ahead):
                pass
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # one side has closed its connection
        finally:
            self._writers.discard(writer)
            for end in (writer, ahead):
                if end is not None:
                    end.close()

    async def outages(self) -> None:
        while self._rate:
            await asyncio.sleep(self._draw.uniform(0.5, 1.5) * OUTAGE_INTERVAL_SECONDS)
            self.faults["outage"] += 1
            self._is_out = True
            for writer in list(self._writers):
                writer.transport.abort()
            await asyncio.sleep(OUTAGE_SECONDS)
            self._is_out = False

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        platform: asyncio.StreamReader,
        ahead: asyncio.StreamWriter,
    ) -> bool:
        """Forward one request and its response. Return whether another may follow."""
        request = await _message(reader)
        self.requests += 1
        fault = self._fault(request)
        if fault in BEFORE:
            return await _respond(fault, writer)
        ahead.write(request.head + request.body)
        response = await _message(platform, is_response=True)
        if response.is_stream:
            writer.write(response.head)
            await self._relay(reader, writer, platform)
            return False
        return await _send_with_fault(fault, response, reader, writer)

    def _fault(self, request: Message) -> str | None:
        if b"/openid-connect/" in request.first or self._draw.random() >= self._rate:
            return None
        fault = self._draw.choices([*FAULTS], [*FAULTS.values()])[0]
        self.faults[fault] += 1
        return fault

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, platform: asyncio.StreamReader
    ) -> None:
        """Forward a stream until it ends, its reader disconnects, or its time is over: then it is cut or falls silent."""
        disconnected = asyncio.create_task(reader.read())
        copying = asyncio.create_task(_copy(platform, writer))
        time = self._draw.expovariate(1 / STREAM_SECONDS) if self._rate else None
        try:
            ended, _ = await asyncio.wait({disconnected, copying}, timeout=time, return_when=asyncio.FIRST_COMPLETED)
            if not ended and self._draw.random() < SILENT_STREAMS:
                self.faults["stream silent"] += 1
                copying.cancel()
                await disconnected
            elif not ended:
                self.faults["stream cut"] += 1
                writer.transport.abort()
        finally:
            for task in (disconnected, copying):
                task.cancel()
            await asyncio.gather(disconnected, copying, return_exceptions=True)


async def _message(reader: asyncio.StreamReader, *, is_response: bool = False) -> Message:
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:-2])
    if fields.get(b"content-type", b"").strip().startswith(b"text/event-stream") and is_response:
        return Message(head, b"", is_stream=True)
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            size = await reader.readuntil(b"\r\n")
            body += size + await reader.readexactly(int(size, 16) + 2)
        return Message(head, body)
    return Message(head, await reader.readexactly(int(fields.get(b"content-length", 0))))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1 << 16):
        writer.write(piece)
        await writer.drain()


async def _respond(fault: str, writer: asyncio.StreamWriter) -> bool:
    """Respond in place of the platform, which does not get the request."""
    if fault == "reset before the platform":
        writer.transport.abort()
        return False
    if fault == "an HTML page":
        body, status, kind = _PAGE, 200, b"text/html"
    else:
        status, kind = int(fault[:3]), b"application/json"
        body = _TROUBLE % status
    hint = b"Retry-After: 1\r\n" if "Retry-After" in fault else b""
    writer.write(
        b"HTTP/1.1 %d Trouble\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s"
        % (status, kind, hint, len(body), body)
    )
    await writer.drain()
    return True


async def _send_with_fault(
    fault: str | None, response: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Send the platform's response with this fault."""
    whole = response.head + response.body
    match fault:
        case None:
            writer.write(whole)
        case "slow":
            for start in range(0, len(whole), len(whole) // 8 + 1):
                writer.write(whole[start : start + len(whole) // 8 + 1])
                await asyncio.sleep(0.05)
        case "silence":
            await reader.read()
            return False
        case "reset after the platform":
            writer.transport.abort()
            return False
        case "garbage":
            writer.write(bytes(range(256)) * 2)
            return False
        case "head cut":
            writer.write(response.head[: len(response.head) // 2])
            return False
        case _:
            writer.write(response.head + response.body[: len(response.body) // 2])
            if fault == "reset in the body":
                await writer.drain()
                writer.transport.abort()
            return False
    await writer.drain()
    return True


async def main() -> None:
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of writes to a connection that was reset
    port, seed, rate = sys.argv[1:]
    chaos = Chaos(int(port), int(seed), float(rate))
    server = await asyncio.start_server(chaos.serve, "127.0.0.1", 0, limit=LONGEST_HEAD, backlog=512)
    send(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    outages = asyncio.create_task(chaos.outages())
    while await asyncio.to_thread(sys.stdin.readline):
        send(faults=dict(chaos.faults), requests=chaos.requests, tasks=len(asyncio.all_tasks()) - 2)
    outages.cancel()


if __name__ == "__main__":
    asyncio.run(main())
