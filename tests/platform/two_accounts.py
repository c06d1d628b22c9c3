"""A platform with two accounts, each with jobs, and requests that no ordinary client would send."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio
import httpx
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sfjobs.models import JobStatus
from tests.platform.stand_ins import PROGRAM, Bench, open_bench

UNKNOWN_ID = "ffffffff-ffff-4fff-bfff-ffffffffffff"
WAITS = PROGRAM.replace("simulon_gaussian", "never")


@dataclass(frozen=True)
class TwoAccounts:
    """Two accounts, each with a complete job and a waiting one. The requests come from the account of the bench."""

    bench: Bench
    own: Sequence[str]
    foreign: Sequence[str]
    cursor: str

    @property
    def routes(self) -> list[tuple[str, str]]:
        assert isinstance(self.bench.app, Starlette)
        return [
            (route.path, method)
            for route in self.bench.app.routes
            if isinstance(route, Route)
            for method in sorted(route.methods or ())
        ]


@asynccontextmanager
async def open_two_accounts(folder: Path) -> AsyncIterator[TwoAccounts]:
    async with open_bench(folder, automatic=True) as bench:
        cursor = re.search(r"since=([^>]+)>", (await send_raw(bench, "GET", "/jobs")).headers["link"])
        assert cursor is not None
        jobs = [
            [
                (await send_raw(bench, "POST", "/jobs", account=account, json={"circuit": circuit})).json()["id"]
                for circuit in (PROGRAM, WAITS)
            ]
            for account in (bench.account, bench.store.ensure_account("another"))
        ]
        for complete, waiting in jobs:
            await bench.store.ended(complete)
            while (record := bench.store.job(waiting)) is None or record.status != JobStatus.QUEUED:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        yield TwoAccounts(bench, *jobs, cursor=cursor[1])


async def send_raw(
    bench: Bench, method: str, target: str, *, account: str | None = None, **details: Any
) -> httpx.Response:
    """Send ``target``, path and query, unchanged, which no client does, and read it as uvicorn reads it."""
    path, _, query = target.encode("latin-1").partition(b"?")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        written = {"path": unquote(path.decode("latin-1")), "raw_path": path, "query_string": query}
        await bench.app({**scope, **written}, receive, send)

    if method == "PATCH":
        details = {"json": {"status": "cancelled"}, **details}
    headers = httpx.Headers({"authorization": f"Bearer {bench.token(account)}"})
    headers.update(details.pop("headers", None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False)) as client:
        return await client.request(method, "http://platform/", headers=headers, **details)


def assert_is_refused(response: httpx.Response) -> None:
    assert response.status_code in {400, 404}, response.text
    assert response.headers["content-type"] == "application/json"
    if response.request.method != "HEAD":
        assert response.json().keys() == {"status_code", "code", "detail", "meta"}
    assert_is_not_injected(response)


def assert_is_not_injected(response: httpx.Response) -> None:
    assert "x-injected" not in response.headers
    assert not any(character in value for value in response.headers.values() for character in "\r\n\0")
