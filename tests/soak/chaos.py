"""
A bad line in front of a real platform, drawn from a seed: ``python -m tests.soak.chaos PORT SEED RATE``.

Of the requests a share of ``RATE`` meets a fault, half of which strike after the platform has done its work; streams of changes
are cut or fall silent; now and then nothing gets through at all for a while. Every fault is counted, and told for each line on
stdin.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections import Counter
from dataclasses import dataclass

from .children import tell

LONGEST_HEAD = 1 << 20
OUTAGE_EVERY, OUTAGE = 45.0, 1.5
STREAM_LIVES = 20.0
"""Seconds on average until a stream of changes is cut."""

SILENT_STREAMS = 0.03
"""Share of those that are not cut but say nothing more, which takes the client 25 s to notice."""

LOST_CONNECTIONS = 0.01
"""Share of the connections that are reset before anything is read."""

BEFORE = {
    "reset before the work": 2,
    "429": 1,
    "429 with Retry-After": 1,
    "503": 2,
    "502": 1,
    "500": 1,
    "504": 1,
    "401": 0.3,
    "a page of a hotel": 0.7,
}
AFTER = {
    "reset after the work": 3,
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
    """A request or an answer as it came, and what must be known about it."""

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
        self.struck: Counter[str] = Counter()
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_out or (self._rate and self._draw.random() < LOST_CONNECTIONS):
            self.struck["connection reset"] += 1
            writer.transport.abort()
            return
        self._writers.add(writer)
        ahead: asyncio.StreamWriter | None = None
        try:
            platform, ahead = await asyncio.open_connection("127.0.0.1", self._port, limit=LONGEST_HEAD)
            while await self._exchange(reader, writer, platform, ahead):
                pass
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # somebody hung up, as they may
        finally:
            self._writers.discard(writer)
            for end in (writer, ahead):
                if end is not None:
                    end.close()

    async def outages(self) -> None:
        while self._rate:
            await asyncio.sleep(self._draw.uniform(0.5, 1.5) * OUTAGE_EVERY)
            self.struck["outage"] += 1
            self._is_out = True
            for writer in list(self._writers):
                writer.transport.abort()
            await asyncio.sleep(OUTAGE)
            self._is_out = False

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        platform: asyncio.StreamReader,
        ahead: asyncio.StreamWriter,
    ) -> bool:
        """One request and its answer; whether there may be another."""
        request = await _message(reader)
        self.requests += 1
        fault = self._fault(request)
        if fault in BEFORE:
            return await _instead(fault, writer)
        ahead.write(request.head + request.body)
        answer = await _message(platform, is_answer=True)
        if answer.is_stream:
            writer.write(answer.head)
            await self._relay(reader, writer, platform)
            return False
        return await _spoiled(fault, answer, reader, writer)

    def _fault(self, request: Message) -> str | None:
        if b"/openid-connect/" in request.first or self._draw.random() >= self._rate:
            return None
        fault = self._draw.choices([*FAULTS], [*FAULTS.values()])[0]
        self.struck[fault] += 1
        return fault

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, platform: asyncio.StreamReader
    ) -> None:
        """A stream, until it ends, its reader hangs up, or its time is over: then it is cut, or nothing comes any more."""
        hung_up = asyncio.create_task(reader.read())
        copying = asyncio.create_task(_copy(platform, writer))
        time = self._draw.expovariate(1 / STREAM_LIVES) if self._rate else None
        try:
            ended, _ = await asyncio.wait({hung_up, copying}, timeout=time, return_when=asyncio.FIRST_COMPLETED)
            if not ended and self._draw.random() < SILENT_STREAMS:
                self.struck["stream silent"] += 1
                copying.cancel()
                await hung_up
            elif not ended:
                self.struck["stream cut"] += 1
                writer.transport.abort()
        finally:
            for task in (hung_up, copying):
                task.cancel()
            await asyncio.gather(hung_up, copying, return_exceptions=True)


async def _message(reader: asyncio.StreamReader, *, is_answer: bool = False) -> Message:
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:-2])
    if fields.get(b"content-type", b"").strip().startswith(b"text/event-stream") and is_answer:
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


async def _instead(fault: str, writer: asyncio.StreamWriter) -> bool:
    """The line answers by itself; the platform never hears of the request."""
    if fault == "reset before the work":
        writer.transport.abort()
        return False
    if fault == "a page of a hotel":
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


async def _spoiled(
    fault: str | None, answer: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """The platform has answered, and this is what arrives of it."""
    whole = answer.head + answer.body
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
        case "reset after the work":
            writer.transport.abort()
            return False
        case "garbage":
            writer.write(bytes(range(256)) * 2)
            return False
        case "head cut":
            writer.write(answer.head[: len(answer.head) // 2])
            return False
        case _:
            writer.write(answer.head + answer.body[: len(answer.body) // 2])
            if fault == "reset in the body":
                await writer.drain()
                writer.transport.abort()
            return False
    await writer.drain()
    return True


async def main() -> None:
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of writing into what was just reset
    port, seed, rate = sys.argv[1:]
    chaos = Chaos(int(port), int(seed), float(rate))
    server = await asyncio.start_server(chaos.serve, "127.0.0.1", 0, limit=LONGEST_HEAD, backlog=512)
    tell(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    outages = asyncio.create_task(chaos.outages())
    while await asyncio.to_thread(sys.stdin.readline):
        tell(struck=dict(chaos.struck), requests=chaos.requests, tasks=len(asyncio.all_tasks()) - 2)
    outages.cancel()


if __name__ == "__main__":
    asyncio.run(main())
