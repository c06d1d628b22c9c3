"""
Waiting for a thousand and for ten thousand jobs that end one after another: requests, CPU seconds, and the delay until each end
is seen. Clients that poll do so once a second, and each round measures every client.

In the table, ``least`` is the minimum number of list requests at this interval. ``BENCH_REPETITIONS``, ``BENCH_SIZES`` and
``BENCH_RTTS`` (comma-separated, milliseconds) in the environment change the measurement.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

from .arena import (
    QUICK,
    Broken,
    Contestant,
    Course,
    FastPlatform,
    Outcome,
    Table,
    compete,
    least_list_requests,
    median,
    percentile,
)

REPETITIONS = int(os.environ.get("BENCH_REPETITIONS") or (1 if QUICK else 5))
SIZES = [int(size) for size in (os.environ.get("BENCH_SIZES") or ("1000" if QUICK else "1000,10000")).split(",")]
RTTS = [float(rtt) for rtt in (os.environ.get("BENCH_RTTS") or "0,20").split(",")]
FIRST, LAST = 1.0, 20.0
"""Seconds after the start at which the first and the last job end."""
BOUND = 45.0
"""Seconds after which a client is stopped."""

WITH_FEED = {"feed": True, "batches": True}
CONTESTANTS = [
    Contestant("sfjobs, feed", "watch_sfjobs", {"submits": True}, WITH_FEED),
    Contestant("sfjobs, feed, bare ids", "watch_sfjobs", {}, WITH_FEED),
    Contestant("sfjobs, list", "watch_sfjobs", {"submits": True}),
    Contestant("sfjobs, list, bare ids", "watch_sfjobs"),
    Contestant("aiohttp, feed by hand", "watch_feed_by_hand", {}, WITH_FEED),
    Contestant("aiohttp, batched", "watch_aiohttp", {"batched": True}),
    Contestant("httpx, batched", "watch_httpx", {"batched": True}),
    Contestant("dwave, held; with results", "watch_dwave", {"submits": True}),
    Contestant("dwave, 1 s; with results", "watch_dwave", {"submits": True, "backoff": True}),
    Contestant("xcc, Job.list in a loop", "watch_xcc", {"list": True}),
    Contestant("aiohttp, a task a job", "watch_aiohttp"),
    Contestant("httpx, a task a job", "watch_httpx"),
    Contestant("xcc, Job.wait in threads", "watch_xcc"),
]
BATCHED, NAIVE = "httpx, batched", "httpx, a task a job"


@dataclass(frozen=True, slots=True)
class Row:
    """
    Medians over the rounds. Lateness is in milliseconds, over all jobs of a round. The two ratios are CPU seconds of the other
    client over those of this one, a lower bound if the other was stopped. ``note`` says why there are no numbers, or how many
    jobs were seen.
    """

    contestant: str
    jobs: int
    rtt_ms: float
    rounds: int
    requests: float
    least: float
    connections: float
    cpu_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    wall_s: float
    platform_cpu_s: float
    batched_ratio: float
    naive_ratio: float
    note: str


def run(sizes: list[int] = SIZES, rtts: list[float] = RTTS, repetitions: int = REPETITIONS) -> list[Row]:
    """Measure all contestants, and print each table when it is complete."""
    rows: list[Row] = []
    with FastPlatform() as platform:
        for jobs in sizes:
            for rtt in rtts:
                rows += _table(platform, jobs, rtt, repetitions)
    return rows


def _table(platform: FastPlatform, jobs: int, rtt: float, repetitions: int) -> list[Row]:
    outcomes: dict[str, list[Outcome]] = {contestant.name: [] for contestant in CONTESTANTS}
    notes: dict[str, str] = {}
    for seed in range(repetitions):
        for contestant in CONTESTANTS:
            if contestant.name in notes:  # one round shows that it cannot finish
                continue
            course = Course(jobs, rtt / 1000, FIRST, LAST, BOUND, seed)
            try:
                outcome = compete(platform, contestant, course)
            except Broken as broken:
                notes[contestant.name] = f"gave up: {broken}"
                continue
            outcomes[contestant.name].append(outcome)
            if not outcome.client_report["finished"]:
                notes[contestant.name] = f"stopped after {BOUND:.0f} s, {len(outcome.lateness)} jobs seen"
            print(
                f"  round {seed + 1}, {contestant.name}: {outcome.sent} requests, {outcome.client_report['cpu']:.2f} s",
                flush=True,
            )
    cpu = {name: median([outcome.client_report["cpu"] for outcome in several]) for name, several in outcomes.items()}
    rows = [
        _row(contestant.name, jobs, rtt, outcomes[contestant.name], cpu, notes.get(contestant.name, ""))
        for contestant in CONTESTANTS
    ]
    _print(rows, f"{jobs} jobs that end from {FIRST:g} to {LAST:g} s, RTT {rtt:g} ms, medians of {repetitions}")
    return rows


def _row(name: str, jobs: int, rtt: float, outcomes: list[Outcome], cpu: dict[str, float], note: str) -> Row:
    def milliseconds(share: float) -> float:
        return median([1000 * percentile(outcome.lateness, share) for outcome in outcomes])

    return Row(
        contestant=name,
        jobs=jobs,
        rtt_ms=rtt,
        rounds=len(outcomes),
        requests=median([outcome.sent for outcome in outcomes]),
        least=median([least_list_requests(outcome.ends, outcome.start, jobs) for outcome in outcomes]),
        connections=median([outcome.connections for outcome in outcomes]),
        cpu_s=cpu[name],
        p50_ms=milliseconds(0.5),
        p99_ms=milliseconds(0.99),
        max_ms=milliseconds(1.0),
        wall_s=median([outcome.client_report["wall"] for outcome in outcomes]),
        platform_cpu_s=median([outcome.platform_cpu for outcome in outcomes]),
        batched_ratio=cpu[BATCHED] / cpu[name],
        naive_ratio=cpu.get(NAIVE, float("nan")) / cpu[name],
        note=note,
    )


def _print(rows: list[Row], title: str) -> None:
    heads = ["client", "requests", "least", "connections", "CPU s", "late p50 ms", "p99 ms", "max ms", "wall s"]
    table = Table(title, *heads, "batched/it", "naive/it", "note")
    for row in rows:
        table.row(
            row.contestant,
            round(row.requests) if row.rounds else None,
            round(row.least) if row.rounds else None,
            round(row.connections) if row.rounds else None,
            row.cpu_s,
            row.p50_ms,
            row.p99_ms,
            row.max_ms,
            row.wall_s,
            row.batched_ratio,
            row.naive_ratio,
            row.note,
        )


def main() -> dict[str, object]:
    """Print the tables and return them for a file of results."""
    return {"name": "watch", "rows": [asdict(row) for row in run()]}


if __name__ == "__main__":
    main()
