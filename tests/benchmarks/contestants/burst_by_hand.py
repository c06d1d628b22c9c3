"""
A client without a library: list requests of 100 jobs each second, and the results of completed jobs at once, over at most 32
connections; with httpx or, by option, aiohttp.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import numpy as np

from ..contest import BATCH, CADENCE, Run

MAX_CONNECTIONS = 32

Get: TypeAlias = Callable[[str], Awaitable[bytes]]


def main() -> None:
    run = Run.from_command_line()
    asyncio.run(with_aiohttp(run) if run.task.options["client"] == "aiohttp" else with_httpx(run))


async def with_httpx(run: Run) -> None:
    import httpx

    limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
    async with httpx.AsyncClient(
        base_url=run.task.url, headers=run.task.headers, limits=limits, timeout=60.0
    ) as client:

        async def get(path: str) -> bytes:
            answer = await client.get(path)
            answer.raise_for_status()
            return answer.content

        await _measured(run, get)


async def with_aiohttp(run: Run) -> None:
    import aiohttp

    async with aiohttp.ClientSession(
        run.task.url,
        headers=run.task.headers,
        connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
        raise_for_status=True,
    ) as session:

        async def get(path: str) -> bytes:
            async with session.get(path) as answer:
                return await answer.read()

        await _measured(run, get)


async def _measured(run: Run, get: Get) -> None:
    await get("/healthz")
    run.begin()
    results = await _wait(run, get)
    run.end(done=time.monotonic(), results=len(results))


async def _wait(run: Run, get: Get) -> dict[str, Any]:
    left = dict.fromkeys(run.ids)
    results: dict[str, Any] = {}
    free = asyncio.Semaphore(MAX_CONNECTIONS)

    async def poll(ids: list[str]) -> None:
        query = "&".join(f"id={id_}" for id_ in ids)
        ended = [job["id"] for job in json.loads(await get(f"/jobs?size={len(ids)}&{query}"))["data"] if _ended(job)]
        for id_ in ended:
            del left[id_]
        await asyncio.gather(*[fetch(id_) for id_ in ended])

    async def fetch(id_: str) -> None:
        async with free:  # httpx's own queue is quadratic
            content = await get(f"/jobs/{id_}/result")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            results[id_] = archive["arr_0"]

    loop = asyncio.get_running_loop()
    due = loop.time()
    while left:
        ids = list(left)
        await asyncio.gather(*[poll(ids[first : first + BATCH]) for first in range(0, len(ids), BATCH)])
        due += CADENCE
        if left:
            await asyncio.sleep(due - loop.time())
    return results


def _ended(job: dict[str, Any]) -> bool:
    return job["status"] in ("cancelled", "complete", "failed")


if __name__ == "__main__":
    main()
