"""
Response times of the embedded platform with all workers busy and with all workers idle. The two are measured alternately on one
machine: the jobs must not delay the responses.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass

import anyio

import sfjobs
from sfjobs.platform import serving

REQUESTS = 200
ROUNDS = 3

# Sixteen entangled squeezed modes, which need the slowest sampler: minutes of work, until it is cancelled.
MODES = 16
LONG_PROGRAM = "\n".join(
    [f"Sgate(0.8, {0.2 * mode}) | {mode}" for mode in range(MODES)]
    + [f"BSgate(0.7, 0.1) | [{mode}, {mode + 1}]" for mode in range(MODES - 1)]
    + [f"BSgate(0.3, 0.4) | [{mode}, {(mode + 3) % MODES}]" for mode in range(MODES)]
    + [f"MeasureFock() | {list(range(MODES))}"]
)


@dataclass(frozen=True, slots=True)
class Row:
    """Response times of ``GET /jobs`` and ``GET /healthz`` in milliseconds."""

    workers: str
    median_ms: float
    p99_ms: float
    slowest_ms: float


async def measure() -> list[Row]:
    """Measure round trips with idle and with busy workers, alternately."""
    idle: list[float] = []
    busy: list[float] = []
    async with serving(workers=2) as platform, sfjobs.Connection(platform.url, api_key=platform.api_key) as connection:
        for _ in range(ROUNDS):
            idle += await _round_trips(connection)
            jobs = [await connection.create_job("simulon_gaussian", LONG_PROGRAM, shots=2_000) for _ in range(2)]
            for job in jobs:
                while job.started_at is None:
                    await anyio.sleep(0.01)
                    await job.refresh()
            await anyio.sleep(1)
            busy += await _round_trips(connection)
            for job in jobs:
                await job.refresh()
                assert not job.status.is_final, f"the work was over too soon: {job.meta}"
                await job.cancel(wait=True)
    return [_row("idle", idle), _row("busy", busy)]


async def _round_trips(connection: sfjobs.Connection) -> list[float]:
    taken = []
    for number in range(REQUESTS):
        start = time.perf_counter()
        if number % 2:
            await connection.ping()
        else:
            [job async for job in connection.list_jobs(limit=10)]
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def _row(workers: str, taken: list[float]) -> Row:
    ordered = sorted(taken)
    return Row(
        workers,
        round(statistics.median(ordered), 2),
        round(ordered[int(0.99 * len(ordered))], 2),
        round(ordered[-1], 2),
    )


def main() -> dict[str, object]:
    """Print a table and return it for a file of results."""
    rows = anyio.run(measure)
    print(f"{'workers':10} {'median ms':>10} {'p99 ms':>8} {'slowest ms':>11}")
    for row in rows:
        print(f"{row.workers:10} {row.median_ms:10.2f} {row.p99_ms:8.2f} {row.slowest_ms:11.2f}")
    return {"name": "platform", "rows": [asdict(row) for row in rows]}


if __name__ == "__main__":
    main()
