"""Shared by the tests of batches: a connection that knows the platform's offers, and responses that a test replaces."""

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
async def connected(counter: Counter, **settings: Any) -> AsyncIterator[Connection]:
    """Open a connection that has seen what the platform offers."""
    async with counter.platform.connection(**settings) as connection:
        await counter.show_offers(connection)
        yield connection


async def submitted(connection: Connection, count: int, window: int = 1000) -> list[Job | Refusal]:
    return [item async for item in connection.create_jobs(TARGET, circuits(count), window=window)]


def respond_after(counter: Counter, respond: Callable[[httpx.Request], httpx.Response | None]) -> None:
    """Call ``respond`` for each batch after its jobs were made. It may return another response, or raise."""

    async def handle(request: httpx.Request) -> httpx.Response | None:
        response = await counter.handle(request)
        other = respond(request) if is_batch(request) else None
        return response if other is None else other

    counter.platform.trouble = handle


def respond_before(counter: Counter, respond: Callable[[httpx.Request], httpx.Response | None]) -> None:
    """Call ``respond`` for each batch before its jobs are made. With a response none is made."""

    async def handle(request: httpx.Request) -> httpx.Response | None:
        response = respond(request) if is_batch(request) else None
        return await counter.handle(request) if response is None else response

    counter.platform.trouble = handle


def edit_replies(counter: Counter, edit: Callable[[list[Any]], object]) -> None:
    """Let ``edit`` replace the replies in the response to a batch."""

    async def handle(request: httpx.Request) -> httpx.Response | None:
        response = await counter.handle(request)
        if response is None or not is_batch(request):
            return response
        return httpx.Response(207, json={"data": edit(response.json()["data"])})

    counter.platform.trouble = handle


def sizes(platform: FakePlatform) -> list[int]:
    return [len(batch) for batch in platform.batches]
