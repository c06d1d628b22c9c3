"""
A platform with a long history: 200,000 finished jobs, half of them with results, and 200,000 that wait, of one account. How long
its start takes, what memory it needs, what lists and the change feed cost, and whether submissions feel the deletion of old jobs.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from sfjobs.platform import Limits, PlatformSettings, Retention
from sfjobs.platform.api.routes.account import TOKEN_PATH
from sfjobs.platform.runtime import open_platform
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.stand_ins import PROGRAM

from .arena import QUICK, Table

FINISHED = WAITING = 10_000 if QUICK else 200_000
ROUNDS = 50
NEVER_RUNS = PROGRAM.replace("simulon_gaussian", "never")

FILL = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
INSERT INTO jobs (id, account, name, target, language, shots, seed, circuit_bytes, status, created, started, finished, attempt,
    change, result)
SELECT printf('00000000-0000-4000-8000-%012d', n), :account, 'job ' || n, 'never', 'blackbird:1.0', 4, n, length(:circuit),
    iif(n <= :finished, iif(n % 2, 'complete', 'failed'), 'queued'), 1700000000000000 + n,
    iif(n <= :finished, 1700000000000000 + n, NULL),
    iif(n <= :finished, 1700000000000000 + 2 * n, NULL), iif(n <= :finished, 1, 0), n,
    iif(n <= :finished AND n % 2, json_object('name', printf('00000000-0000-4000-8000-%012d-1.npz', n), 'size', 400,
        'digest', printf('%064d', n), 'npy_offset', 60, 'npy_size', 144, 'npy_digest', printf('%064d', n)), NULL)
FROM numbers
"""


def fill(data_dir: Path) -> None:
    """Make the data directory of such a platform."""
    settings = PlatformSettings(data_dir=data_dir)
    settings.results.mkdir(parents=True)
    with closing(SQLiteStore(settings.database)) as store:
        account = store.ensure_account("local")
    with closing(sqlite3.connect(settings.database)) as db:
        count = FINISHED + WAITING
        db.execute(FILL, {"count": count, "finished": FINISHED, "account": account, "circuit": NEVER_RUNS})
        db.execute("INSERT INTO circuits SELECT id, ? FROM jobs", (NEVER_RUNS,))
        db.execute("UPDATE meta SET value = ? WHERE key = 'changes'", (count,))
        db.execute("UPDATE accounts SET unfinished = ?, stored_bytes = ?", (WAITING, count * len(NEVER_RUNS)))
        names = [
            name for (name,) in db.execute("SELECT json_extract(result, '$.name') FROM jobs WHERE result IS NOT NULL")
        ]
        db.commit()
    for name in names:
        (settings.results / name).touch()


@asynccontextmanager
async def started(data_dir: Path, retention: Retention) -> AsyncIterator[tuple[httpx.AsyncClient, float, float]]:
    """Start the platform; yield a client, and the seconds and CPU seconds of the start."""
    settings = PlatformSettings(
        data_dir=data_dir, test_targets=True, retention=retention, limits=Limits(quota=10 * WAITING)
    )
    begin, worked = time.perf_counter(), time.process_time()
    async with open_platform(settings) as platform:
        seconds, worked = time.perf_counter() - begin, time.process_time() - worked
        async with httpx.AsyncClient(transport=httpx.ASGITransport(platform.app), base_url="http://platform") as client:
            form = {"grant_type": "refresh_token", "refresh_token": platform.api_key, "client_id": "public"}
            token = (await client.post(TOKEN_PATH, data=form)).json()["access_token"]
            client.headers["authorization"] = f"Bearer {token}"
            yield client, seconds, worked


async def milliseconds(request: Callable[[], Awaitable[httpx.Response]]) -> list[float]:
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        response = await request()
        times.append(1000 * (time.perf_counter() - begin))
        assert response.is_success, response.text
    return times


def resident_mebibytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines() if sys.platform == "linux" else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), float("nan"))


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    median: float
    worst: float


async def measure(data_dir: Path) -> list[Row]:
    before = resident_mebibytes()
    rows = []
    async with started(data_dir, Retention()) as (client, seconds, worked):
        rows.append(Row("start, s", seconds, seconds))
        rows.append(Row("start, CPU s", worked, worked))
        rows.append(Row("memory above an empty process, MiB", resident_mebibytes() - before, float("nan")))
        deep = f"00000000-0000-4000-8000-{FINISHED // 2:012d}"
        ids = "&".join(f"id=00000000-0000-4000-8000-{7 * n + 1:012d}" for n in range(100))
        for what, path in (
            ("list of 100, ms", "/jobs?size=100"),
            ("list of 100 in the middle, ms", f"/jobs?size=100&before={deep}"),
            ("list of 100 failed ones, ms", "/jobs?size=100&status=failed"),
            ("list of 100 ids, ms", f"/jobs?{ids}"),
        ):
            times = await milliseconds(lambda path=path: client.get(path))  # type: ignore[misc] - a default of this turn
            rows.append(Row(what, statistics.median(times), max(times)))
        submit = [await _submit(client) for _ in range(ROUNDS)]
        rows.append(Row("submission, ms", statistics.median(submit), max(submit)))
    async with started(data_dir, Retention(jobs=60.0)) as (client, _, _):
        cleaning = []
        for _ in range(ROUNDS):
            cleaning.append(await _submit(client))
            await asyncio.sleep(0.02)
        rows.append(Row("submission while old jobs are deleted, ms", statistics.median(cleaning), max(cleaning)))
    return rows


async def _submit(client: httpx.AsyncClient) -> float:
    begin = time.perf_counter()
    response = await client.post("/jobs", json={"circuit": NEVER_RUNS})
    assert response.status_code == 201, response.text
    return 1000 * (time.perf_counter() - begin)


def feed(data_dir: Path) -> Row:
    """Read all changes in pages of 50, as a stream does."""
    with closing(SQLiteStore(data_dir / "platform.sqlite3")) as store:
        account, after, times = store.ensure_account("local"), 0, []
        while True:
            begin = time.perf_counter()
            page = store.changes(account, after=after, size=50)
            store.deleted_jobs(account, after=after, size=50)
            times.append(1000 * (time.perf_counter() - begin))
            if not page:
                return Row("page of the change feed, ms", statistics.median(times), max(times))
            after = page[-1].change


def main() -> dict[str, object]:
    """Print a table and return it for a file of results."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        fill(data_dir)
        page = feed(data_dir)
        # In a process of its own, whose memory is that of the platform alone.
        script = (
            "import asyncio, json, sys; from dataclasses import asdict; from pathlib import Path;"
            " from tests.benchmarks.bench_history import measure;"
            " print(json.dumps([asdict(row) for row in asyncio.run(measure(Path(sys.argv[1])))]))"
        )
        output = subprocess.run(
            [sys.executable, "-c", script, str(data_dir)], check=True, capture_output=True, text=True
        )

    rows = [*(Row(**row) for row in json.loads(output.stdout)), page]
    table = Table(f"{FINISHED} finished and {WAITING} waiting jobs", "what", "median", "worst")
    for row in rows:
        table.row(row.what, row.median, row.worst)
    return {"name": "history", "rows": [asdict(row) for row in rows]}


if __name__ == "__main__":
    main()
