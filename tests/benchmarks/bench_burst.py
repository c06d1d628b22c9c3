"""
A thousand jobs that end at the same moment: seconds until all results of 1 KB each are arrays. Clients that poll do so once a
second, and the moment lies elsewhere between two polls in each round, which costs half a second on average.

``BENCH_REPETITIONS`` and ``BENCH_RTTS`` (milliseconds) change the measurement.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

from .arena import QUICK, Broken, Contestant, Course, FastPlatform, Outcome, Table, compete, median

JOBS = 1_000
REPETITIONS = int(os.environ.get("BENCH_REPETITIONS") or (2 if QUICK else 6))
RTTS = [float(rtt) for rtt in (os.environ.get("BENCH_RTTS") or "0,20").split(",")]

CONTESTANTS = [
    Contestant("sfjobs, feed", "burst_sfjobs", {"submits": True}, {"feed": True, "batches": True}),
    Contestant("sfjobs, list", "burst_sfjobs", {"submits": True}),
    Contestant("aiohttp, list", "burst_by_hand", {"client": "aiohttp"}),
    Contestant("httpx, list", "burst_by_hand", {"client": "httpx"}),
]
REFERENCE = "httpx, list"


@dataclass(frozen=True, slots=True)
class Row:
    """Medians and maximum over the rounds, in seconds from the end of the jobs; ``ratio`` is the time of httpx over it."""

    client: str
    rtt_ms: float
    seconds: float
    slowest: float
    cpu_s: float
    requests: float
    connections: float
    ratio: float
    note: str


def run() -> list[Row]:
    """Measure all contestants at each round-trip time, and print each table when it is complete."""
    rows: list[Row] = []
    with FastPlatform() as platform:
        for rtt in RTTS:
            rows += _table(platform, rtt)
    return rows


def _table(platform: FastPlatform, rtt: float) -> list[Row]:
    outcomes: dict[str, list[Outcome]] = {contestant.name: [] for contestant in CONTESTANTS}
    notes: dict[str, str] = {}
    for seed in range(REPETITIONS):
        moment = 2.0 + (seed + 0.5) / REPETITIONS
        for contestant in CONTESTANTS:
            try:
                outcome = compete(platform, contestant, Course(JOBS, rtt / 1000, moment, moment))
            except Broken as broken:
                notes[contestant.name] = str(broken)
                continue
            if outcome.client_report.get("results") != JOBS:
                notes[contestant.name] = f"{outcome.client_report.get('results', 0)} of {JOBS} results"
                continue
            outcomes[contestant.name].append(outcome)
    reference = median([_seconds(outcome) for outcome in outcomes[REFERENCE]])
    rows = [_row(name, rtt, several, reference, notes.get(name, "")) for name, several in outcomes.items()]
    _print(rows, f"{JOBS} jobs that end together, results of 1 KB, RTT {rtt:g} ms, medians of {REPETITIONS}")
    return rows


def _seconds(outcome: Outcome) -> float:
    return float(outcome.client_report["done"]) - max(outcome.ends)


def _row(name: str, rtt: float, outcomes: list[Outcome], reference: float, note: str) -> Row:
    taken = [_seconds(outcome) for outcome in outcomes]
    return Row(
        client=name,
        rtt_ms=rtt,
        seconds=median(taken),
        slowest=max(taken, default=float("nan")),
        cpu_s=median([outcome.client_report["cpu"] for outcome in outcomes]),
        requests=median([outcome.sent for outcome in outcomes]),
        connections=median([outcome.connections for outcome in outcomes]),
        ratio=reference / median(taken),
        note=note,
    )


def _print(rows: list[Row], title: str) -> None:
    table = Table(title, "client", "seconds", "slowest", "CPU s", "requests", "connections", "httpx/it", "note")
    for row in rows:
        table.row(row.client, row.seconds, row.slowest, row.cpu_s, row.requests, row.connections, row.ratio, row.note)


def main() -> dict[str, object]:
    """Print the tables and return them for a file of results."""
    return {"name": "burst", "rows": [asdict(row) for row in run()]}


if __name__ == "__main__":
    main()
