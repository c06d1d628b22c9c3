"""
The cost of a blocking call over an awaited one: alternating pings of one platform, compared with ``httpx.Client`` and
``requests``. The platform is a separate process, so that only the clients differ.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import anyio
import httpx
import requests  # type: ignore[import-untyped]  # it has no types

import sfjobs
from sfjobs import sync

from .embedded import embedded_platform

CALLS = 10_000
ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Row:
    """Microseconds per call (median of the rounds), and calls per second."""

    client: str
    microseconds: float
    calls_per_second: float


def run(calls: int = CALLS) -> list[Row]:
    """Measure all four, in rounds."""
    with embedded_platform() as platform, ExitStack() as stack:
        url, key = platform.url, platform.api_key
        blocking = stack.enter_context(sync.Connection(url, api_key=key))
        blocking.ping()
        token = _token(blocking)
        headers = {"Authorization": f"Bearer {token}", "Accept-Version": "0.4.0"}
        client = stack.enter_context(httpx.Client(headers=headers))
        session = stack.enter_context(requests.Session())
        session.headers.update(headers)
        several = calls // ROUNDS
        contestants: dict[str, Callable[[], float]] = {
            "sfjobs awaited": lambda: anyio.run(_awaited, url, key, several),
            "sfjobs blocking": lambda: _timed(blocking.ping, several),
            "httpx.Client": lambda: _timed(lambda: client.get(url + "/healthz").raise_for_status(), several),
            "requests": lambda: _timed(lambda: session.get(url + "/healthz").raise_for_status(), several),
        }
        taken: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(ROUNDS):
            for name, contestant in contestants.items():
                taken[name].append(1e6 * contestant() / several)
    return [
        Row(name, round(statistics.median(times), 1), round(1e6 / statistics.median(times)))
        for name, times in taken.items()
    ]


def _token(blocking: sync.Connection) -> str:
    from sfjobs._client.connection import internals
    from sfjobs._http.auth import TokenSource
    from sfjobs.sync._view import unwrap

    connection, portal = unwrap(blocking)
    tokens = vars(internals(connection).transport)["_tokens"]
    assert isinstance(tokens, TokenSource)
    return portal.call(tokens.get).reveal()


def _timed(call: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - start


async def _awaited(url: str, key: str, times: int) -> float:
    async with sfjobs.Connection(url, api_key=key) as connection:
        await connection.ping()
        start = time.perf_counter()
        for _ in range(times):
            await connection.ping()
        return time.perf_counter() - start


def main() -> dict[str, object]:
    """Print a table and return it for a file of results."""
    rows = run()
    print(f"{'client':16} {'us a call':>10} {'calls/s':>9}")
    for row in rows:
        print(f"{row.client:16} {row.microseconds:10.1f} {row.calls_per_second:9.0f}")
    over = rows[1].microseconds - rows[0].microseconds
    print(f"blocking over awaited: {over:.0f} us a call, ratio {rows[1].microseconds / rows[0].microseconds:.2f}")
    return {"name": "sync", "rows": [asdict(row) for row in rows]}


if __name__ == "__main__":
    main()
