"""
Our transport and httpx's, under sfjobs and in a client of httpx: CPU of small requests, and the speed of a long body. The
server is another process and sends prepared bytes.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

import httpx

import sfjobs

from .arena import QUICK, Table, median

REQUESTS = int(os.environ.get("BENCH_REQUESTS") or (500 if QUICK else 2000))
REPETITIONS = int(os.environ.get("BENCH_REPETITIONS") or (1 if QUICK else 5))
BODY_BYTES = 200_000_000

SERVER = f"""
import asyncio
JOB = b'{{"id":"j1","name":null,"status":"queued","target":"X8_01","language":"blackbird:1.0","created_at":'
JOB += b'"2026-01-27T15:15:25.801308Z","started_at":null,"finished_at":null,"running_time":null,"meta":{{}}}}'
SMALL = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n%b" % (len(JOB), JOB)
HEAD, PIECE = b"HTTP/1.1 200 OK\\r\\ncontent-length: {BODY_BYTES}\\r\\n\\r\\n", bytes(1_000_000)
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            if b" /large " not in head:
                writer.write(SMALL)
                continue
            writer.write(HEAD)
            for _ in range({BODY_BYTES // 1_000_000}):
                writer.write(PIECE)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""

Ask: TypeAlias = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over the rounds: CPU milliseconds of one request, alone and with 32 at a time, and MB/s of a long body."""

    client: str
    alone_ms: float
    many_ms: float
    mb_per_s: float | None


@asynccontextmanager
async def through_sfjobs(url: str, http: Literal["auto", "httpx"]) -> AsyncIterator[tuple[Ask, None]]:
    settings = sfjobs.Settings(url=url, access_token="a-token", http=http)
    async with sfjobs.Connection(settings=settings) as connection:
        yield (lambda: connection.get_job("j1")), None


@asynccontextmanager
async def through_httpx(url: str, transport: httpx.AsyncBaseTransport) -> AsyncIterator[tuple[Ask, Ask]]:
    headers = {"Authorization": "Bearer a-token"}
    async with httpx.AsyncClient(base_url=url, headers=headers, transport=transport) as client:

        async def small() -> object:
            return (await client.get("/jobs/j1")).raise_for_status().json()["status"]

        async def large() -> object:
            async with client.stream("GET", "/large") as response:
                return sum([len(piece) async for piece in response.aiter_raw()])

        yield small, large


CONTESTANTS = {
    "sfjobs": lambda url: through_sfjobs(url, "auto"),
    'sfjobs, http = "httpx"': lambda url: through_sfjobs(url, "httpx"),
    "httpx by hand, DirectTransport": lambda url: through_httpx(url, sfjobs.DirectTransport()),
    "httpx by hand": lambda url: through_httpx(url, httpx.AsyncHTTPTransport()),
}


async def measure(client: str, url: str) -> tuple[float, float, float | None]:
    async with CONTESTANTS[client](url) as (small, large):
        await asyncio.gather(*[small() for _ in range(150)])  # opens connections, and ends the slow start of sfjobs
        before = time.process_time()
        for _ in range(REQUESTS):
            await small()
        alone = time.process_time() - before
        left = iter(range(REQUESTS))

        async def work() -> None:
            for _ in left:
                await small()

        before = time.process_time()
        await asyncio.gather(*[work() for _ in range(32)])
        many = time.process_time() - before
        if large is None:
            return alone, many, None
        started = time.monotonic()
        assert await large() == BODY_BYTES
        return alone, many, BODY_BYTES / 1e6 / (time.monotonic() - started)


def run() -> list[Row]:
    """Measure all contestants in turns."""
    found: dict[str, list[tuple[float, float, float | None]]] = {client: [] for client in CONTESTANTS}
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        try:
            for _ in range(REPETITIONS):
                for client in CONTESTANTS:
                    found[client].append(asyncio.run(measure(client, url)))
        finally:
            server.kill()
    return [_row(client, rounds) for client, rounds in found.items()]


def _row(client: str, rounds: list[tuple[float, float, float | None]]) -> Row:
    alone, many = (1000 * median([one[place] or 0.0 for one in rounds]) / REQUESTS for place in (0, 1))
    speeds = [speed for *_, speed in rounds if speed is not None]
    return Row(client, alone, many, median(speeds) if speeds else None)


def main() -> dict[str, object]:
    """Print a table and return it for a file of results."""
    rows = run()
    title = f"{REQUESTS} requests of one job, and {BODY_BYTES // 10**6} MB read and dropped, medians of {REPETITIONS}"
    table = Table(title, "client", "CPU ms", "32 at a time", "MB/s")
    for row in rows:
        table.row(row.client, row.alone_ms, row.many_ms, row.mb_per_s)
    return {"name": "transport", "rows": [asdict(row) for row in rows]}


if __name__ == "__main__":
    main()
