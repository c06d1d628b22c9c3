"""
What one account notices while another attacks: response times of its pings, how long the check of a small and of a dear program
takes, and its failed requests. Server, attacker and bystander are processes of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from signal import SIGTERM

import httpx

from sfjobs.platform.store.api_keys import create_key
from sfjobs.platform.store.sqlite.accounts import open_accounts
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.benchmarks.attacks import ATTACKS, HEAD, TOKEN_PATH
from tests.platform.servers import ServerProcess
from tests.platform.stand_ins import new_job

SECONDS = 4.0 if os.environ.get("BENCH_QUICK") else 10.0
CHANGES = 20_000 if os.environ.get("BENCH_QUICK") else 200_000
PING_SECONDS = 0.01


@dataclass(slots=True)
class Row:
    """Times in milliseconds. ``failures`` are requests of the bystander without a success."""

    attack: str
    ping_median_ms: float = 0.0
    ping_p99_ms: float = 0.0
    ping_slowest_ms: float = 0.0
    small_program_slowest_ms: float = 0.0
    dear_program_slowest_ms: float = 0.0
    failures: list[str] = field(default_factory=list)


@contextlib.contextmanager
def platform() -> Iterator[tuple[str, list[str], str]]:
    """Run a server whose attacker has many jobs. Give its url, both API keys, and the attacker's first cursor."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with open_accounts(data, create=True) as accounts:
            keys = [create_key(accounts, name, name) for name in ("attacker", "bystander")]
        asyncio.run(_fill(data / "platform.sqlite3"))
        server = ServerProcess(data, test_targets=True)
        try:
            url = server.ready().url
            yield url, keys, _cursor(url, keys[0])
        finally:
            server.stop(SIGTERM)


async def _fill(path: Path) -> None:
    with contextlib.closing(SQLiteStore(path)) as store:
        account = store.ensure_account("attacker")
        for start in range(0, CHANGES, 1000):
            await store.add_jobs([new_job(account, start + number, target="never") for number in range(1000)])
    with contextlib.closing(sqlite3.connect(path)) as db, db:  # they have ended, so that the quota has room
        db.execute("UPDATE jobs SET status = 'failed', finished = created, meta = '{}'")


def _cursor(url: str, key: str) -> str:
    with httpx.Client(base_url=url, trust_env=False) as client:
        form = {"grant_type": "refresh_token", "refresh_token": key, "client_id": "public"}
        token = client.post(TOKEN_PATH, data=form).json()["access_token"]
        link = client.get("/jobs", headers={"authorization": f"Bearer {token}"}).headers["link"]
    epoch = str(link).partition("since=")[2].partition(".")[0]
    return f"{epoch}.1"


async def observe(row: Row, url: str, key: str) -> None:
    """Ping and submit for a while."""
    pings: list[float] = []
    until = 0.0

    async def timed(client: httpx.AsyncClient, method: str, path: str, **details: object) -> float:
        start = time.perf_counter()
        try:
            response = await client.request(method, path, **details)  # type: ignore[arg-type]
            if response.status_code >= 400:
                row.failures.append(f"{method} {path}: {response.status_code}")
        except httpx.HTTPError as error:
            row.failures.append(f"{method} {path}: {type(error).__name__}")
        return 1000 * (time.perf_counter() - start)

    async def ping(client: httpx.AsyncClient) -> None:
        while time.perf_counter() < until:
            pings.append(await timed(client, "GET", "/healthz"))
            await asyncio.sleep(PING_SECONDS)

    async def submit(client: httpx.AsyncClient) -> None:
        number = 0
        while time.perf_counter() < until:
            number += 1
            small = f"{HEAD}# {number}\nSgate(0.5) | 0\nMeasureFock() | [0, 1]\n"
            dear = f"{HEAD}# {number}\nfor int i in 0:500\n    BSgate(0.1, 0.2) | [0, 1]\n\nMeasureFock() | [0, 1]\n"
            taken = [await timed(client, "POST", "/jobs", json={"circuit": text}) for text in (small, dear)]
            row.small_program_slowest_ms = max(row.small_program_slowest_ms, taken[0])
            row.dear_program_slowest_ms = max(row.dear_program_slowest_ms, taken[1])
            await asyncio.sleep(0.2)

    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        form = {"grant_type": "refresh_token", "refresh_token": key, "client_id": "public"}
        token = (await client.post(TOKEN_PATH, data=form)).json()["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        await submit_once(client)
        until = time.perf_counter() + SECONDS
        await asyncio.gather(ping(client), submit(client))
    pings.sort()
    row.ping_median_ms = statistics.median(pings)
    row.ping_p99_ms = pings[int(0.99 * len(pings))]
    row.ping_slowest_ms = pings[-1]


async def submit_once(client: httpx.AsyncClient) -> None:
    """Let the processes for checks start, as they have after the first hour of a platform."""
    circuit = f"{HEAD}for int i in 0:100\n    BSgate(0.1, 0.2) | [0, 1]\n\nMeasureFock() | [0, 1]\n"
    await client.post("/jobs", json={"circuit": circuit})


def main(names: list[str] | None = None) -> list[dict[str, object]]:
    rows = []
    columns = ("ping median", "p99", "slowest", "small program", "dear program", "failures")
    print(f"{'attack':<12}" + "".join(f"{column:>15}" for column in columns), flush=True)
    with platform() as (url, keys, cursor):
        for name in names or list(ATTACKS):
            row = Row(name)
            file = str(Path(__file__).with_name("attacks.py"))
            command = [sys.executable, file, name, url, keys[0], cursor]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attacker:
                try:
                    assert attacker.stdout is not None
                    assert attacker.stdout.readline() == "begun\n"
                    asyncio.run(observe(row, url, keys[1]))
                finally:
                    attacker.kill()
            values = (
                row.ping_median_ms,
                row.ping_p99_ms,
                row.ping_slowest_ms,
                row.small_program_slowest_ms,
                row.dear_program_slowest_ms,
            )
            failures = f"{len(row.failures)} {'; '.join(sorted(set(row.failures)))}"
            print(f"{name:<12}" + "".join(f"{value:>12.1f} ms" for value in values) + f"  {failures}", flush=True)
            rows.append(asdict(row))
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
