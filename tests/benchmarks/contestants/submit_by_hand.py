"""
Submissions without a library, ``at_once`` concurrent requests of ``batch`` jobs each. The option ``client`` selects httpx, httpx
over aiohttp, aiohttp, or plain sockets.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias
from urllib.parse import urlsplit

from .. import raw
from ..contest import Run, Task
from ..fast.board import TARGET

JOB = {"name": None, "target": TARGET, "circuit": raw.PROGRAM, "language": "blackbird:1.0"}
BATCHES = {"Content-Type": "application/jobs+json"}

Post: TypeAlias = Callable[[int], Awaitable[list[str]]]
"""Submits so many jobs in one request, and knows their ids."""


def main() -> None:
    run = Run.from_command_line()
    client = run.task.options["client"]
    if client == "sockets":
        with_sockets(run)
    elif client == "aiohttp":
        asyncio.run(with_aiohttp(run))
    else:
        asyncio.run(with_httpx(run, over_aiohttp=client == "httpx-aiohttp"))


def with_sockets(run: Run) -> None:
    body = json.dumps(JOB).encode()
    ids: list[str] = []
    port = int(urlsplit(run.task.url).port or 80)

    def receive(response: bytes) -> None:
        ids.append(json.loads(response.partition(b"\r\n\r\n")[2])["id"])

    run.begin()
    requests = iter([raw.request("POST", "/jobs", body)] * run.task.jobs)
    raw.exchange(port, requests, run.task.options["at_once"], receive)
    run.end(submitted=len(ids))


async def with_httpx(run: Run, *, over_aiohttp: bool) -> None:
    import httpx

    at_once, batch = run.task.options["at_once"], run.task.options["batch"]
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    transport: httpx.AsyncBaseTransport
    if over_aiohttp:
        from httpx_aiohttp import AiohttpTransport

        transport = AiohttpTransport(limits=limits)
    else:
        transport = httpx.AsyncHTTPTransport(limits=limits)
    async with httpx.AsyncClient(
        base_url=run.task.url, headers=run.task.headers, transport=transport, timeout=60.0
    ) as client:

        async def post(jobs: int) -> list[str]:
            if batch == 1:
                response = await client.post("/jobs", json=JOB)
            else:
                response = await client.post("/jobs", content=json.dumps([JOB] * jobs), headers=BATCHES)
            response.raise_for_status()
            return _ids(response.json())

        await _submit_all(run, post, at_once, batch)


async def with_aiohttp(run: Run) -> None:
    import aiohttp

    at_once, batch = run.task.options["at_once"], run.task.options["batch"]
    connector = aiohttp.TCPConnector(limit=at_once)
    async with aiohttp.ClientSession(
        run.task.url, headers=run.task.headers, connector=connector, raise_for_status=True
    ) as session:

        async def post(jobs: int) -> list[str]:
            if batch == 1:
                request = session.post("/jobs", json=JOB)
            else:
                request = session.post("/jobs", data=json.dumps([JOB] * jobs), headers=BATCHES)
            async with request as response:
                return _ids(await response.json())

        await _submit_all(run, post, at_once, batch)


async def _submit_all(run: Run, post: Post, at_once: int, batch: int) -> None:
    sizes = _sizes(run.task, batch)
    ids: list[str] = []

    async def work() -> None:
        for size in sizes:  # shared: each worker takes the next when it is free
            ids.extend(await post(size))

    run.begin()
    await asyncio.gather(*[work() for _ in range(at_once)])
    run.end(submitted=len(ids))


def _sizes(task: Task, batch: int) -> Iterator[int]:
    for first in range(0, task.jobs, batch):
        yield min(batch, task.jobs - first)


def _ids(response: dict[str, object]) -> list[str]:
    items = response.get("data")
    if isinstance(items, list):
        return [item["job"]["id"] for item in items]
    return [str(response["id"])]


if __name__ == "__main__":
    main()
