"""What tests of batches share: a connection that knows of them, and ways to come between a batch and its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from sfjobs import Connection, Job, Refusal
from tests.support.counter import Counter, circuits
from tests.support.fake_platform import FakePlatform, is_batch

TARGET = "simulon_gaussian"


@asynccontextmanager
async def acquainted(counter: Counter, **settings: Any) -> AsyncIterator[Connection]:
    """A connection that has seen what the platform offers."""
    async with counter.platform.connection(**settings) as connection:
        await counter.acquaint(connection)
        yield connection


async def submitted(connection: Connection, count: int, window: int = 1000) -> list[Job | Refusal]:
    return [item async for item in connection.create_jobs(TARGET, circuits(count), window=window)]


def disturbed(counter: Counter, disturb: Callable[[httpx.Request], httpx.Response | None]) -> None:
    """``disturb`` hears of a batch when its jobs have been made, and answers it instead, or breaks off."""

    async def handle(request: httpx.Request) -> httpx.Response | None:
        answer = await counter.handle(request)
        other = disturb(request) if is_batch(request) else None
        return answer if other is None else other

    counter.platform.trouble = handle


def intercepted(counter: Counter, intercept: Callable[[httpx.Request], httpx.Response | None]) -> None:
    """``intercept`` may answer a batch before any job is made of it."""

    async def handle(request: httpx.Request) -> httpx.Response | None:
        answer = intercept(request) if is_batch(request) else None
        return await counter.handle(request) if answer is None else answer

    counter.platform.trouble = handle


def edited(counter: Counter, edit: Callable[[list[Any]], object]) -> None:
    """``edit`` makes another answer of what became of each."""

    async def handle(request: httpx.Request) -> httpx.Response | None:
        answer = await counter.handle(request)
        if answer is None or not is_batch(request):
            return answer
        return httpx.Response(207, json={"data": edit(answer.json()["data"])})

    counter.platform.trouble = handle


def sizes(platform: FakePlatform) -> list[int]:
    return [len(batch) for batch in platform.batches]
