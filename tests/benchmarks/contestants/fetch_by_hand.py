"""
Results without a library, with aiohttp or httpx. The option ``how`` selects the way: ``whole`` reads the body and loads it with
numpy, which is the simplest program; ``placed`` puts the bytes into the array as they arrive; ``checked`` also computes a CRC-32;
``dropped`` reads and keeps nothing.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import numpy as np

from ..fetching import Fetched, Task, measure
from ..placing import Placed

Read: TypeAlias = Callable[[str], Awaitable[bytes]]
"""The body of the answer from this path."""

Chunks: TypeAlias = Callable[[str], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""The same as it comes."""


async def main() -> None:
    task = Task.from_command_line()
    await (with_aiohttp(task) if task.options["client"] == "aiohttp" else with_httpx(task))


async def with_httpx(task: Task) -> None:
    import httpx

    async with httpx.AsyncClient(base_url=task.url, headers=task.headers, timeout=60.0) as client:

        async def read(path: str) -> bytes:
            return (await client.get(path)).raise_for_status().content

        @asynccontextmanager
        async def chunks(path: str) -> AsyncIterator[AsyncIterator[bytes]]:
            async with client.stream("GET", path) as answer:
                yield answer.raise_for_status().aiter_bytes()

        await measure(task, lambda job: _fetched(task, f"/jobs/{job}/result", read, chunks))


async def with_aiohttp(task: Task) -> None:
    import aiohttp

    async with aiohttp.ClientSession(task.url, headers=task.headers, raise_for_status=True) as session:

        async def read(path: str) -> bytes:
            async with session.get(path) as answer:
                return await answer.read()

        @asynccontextmanager
        async def chunks(path: str) -> AsyncIterator[AsyncIterator[bytes]]:
            async with session.get(path) as answer:
                yield answer.content.iter_any()

        await measure(task, lambda job: _fetched(task, f"/jobs/{job}/result", read, chunks))


async def _fetched(task: Task, path: str, read: Read, chunks: Chunks) -> Fetched:
    how = task.options["how"]
    if how == "whole":
        loaded = np.load(io.BytesIO(await read(path)), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return np.asarray(loaded["arr_0"])
    async with chunks(path) as body:
        if how == "dropped":
            return sum([len(chunk) async for chunk in body])
        placed = Placed(checked=how == "checked")
        async for chunk in body:
            placed.feed(chunk)
        return placed.finish()


if __name__ == "__main__":
    asyncio.run(main())
