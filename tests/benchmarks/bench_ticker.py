"""
The effect of a wait for ten thousand jobs on the rest of an asyncio program: another task is due every 10 ms, and the table shows
its delay. The first row is the same task alone.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

from .arena import QUICK, Broken, Contestant, Course, FastPlatform, Outcome, Table, compete, median, percentile

JOBS = 10_000
REPETITIONS = int(os.environ.get("BENCH_REPETITIONS") or (1 if QUICK else 3))
FIRST, LAST = 1.0, 10.0

TICKER = {"ticker": True}
CONTESTANTS = [
    Contestant("no client", "watch_idle", {**TICKER, "seconds": LAST}),
    Contestant("sfjobs, feed", "watch_sfjobs", TICKER, {"feed": True, "batches": True}),
    Contestant("sfjobs, list", "watch_sfjobs", TICKER),
    Contestant("aiohttp, feed by hand", "watch_feed_by_hand", TICKER, {"feed": True, "batches": True}),
    Contestant("aiohttp, batched", "watch_aiohttp", {**TICKER, "batched": True}),
    Contestant("httpx, batched", "watch_httpx", {**TICKER, "batched": True}),
]


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over the rounds, milliseconds."""

    client: str
    ticks: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    note: str


def run() -> list[Row]:
    """Measure all contestants in turns."""
    outcomes: dict[str, list[Outcome]] = {contestant.name: [] for contestant in CONTESTANTS}
    notes: dict[str, str] = {}
    with FastPlatform() as platform:
        for seed in range(REPETITIONS):
            for contestant in CONTESTANTS:
                try:
                    outcome = compete(platform, contestant, Course(JOBS, 0.0, FIRST, LAST, seed=seed))
                except Broken as broken:
                    notes[contestant.name] = str(broken)
                    continue
                outcomes[contestant.name].append(outcome)
    return [_row(name, several, notes.get(name, "")) for name, several in outcomes.items()]


def _row(name: str, outcomes: list[Outcome], note: str) -> Row:
    late = [sorted(outcome.client_report["late"]) for outcome in outcomes]
    p50, p99, most = (median([1000 * percentile(values, share) for values in late]) for share in (0.5, 0.99, 1.0))
    return Row(name, median([len(values) for values in late]), p50, p99, most, note)


def main() -> dict[str, object]:
    """Print a table and return it for a file of results."""
    rows = run()
    title = f"a task that wants to run every 10 ms, beside {JOBS} jobs, medians of {REPETITIONS}"
    table = Table(title, "client", "ticks", "late p50 ms", "p99 ms", "max ms", "note")
    for row in rows:
        table.row(row.client, row.ticks, row.p50_ms, row.p99_ms, row.max_ms, row.note)
    return {"name": "ticker", "rows": [asdict(row) for row in rows]}


if __name__ == "__main__":
    main()
