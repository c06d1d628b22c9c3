"""
Jobs submitted per second. Clients without a library are first measured with several numbers of concurrent requests, and the
best is used; sfjobs has no such setting. ``BENCH_REPETITIONS`` and ``BENCH_RTTS`` (milliseconds) change the measurement.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .arena import QUICK, Broken, Contestant, Course, FastPlatform, Outcome, Table, compete, median

JOBS = 2_000 if QUICK else 5_000
JOBS_OF_A_TRY = 1_000
REPETITIONS = int(os.environ.get("BENCH_REPETITIONS") or (1 if QUICK else 5))
RTTS = [float(rtt) for rtt in (os.environ.get("BENCH_RTTS") or "0,20").split(",")]
AT_ONCE = (5, 10, 20, 50, 100)
BATCHES_AT_ONCE = (1, 2, 4, 8)

BATCHES = {"feed": False, "batches": True}
SINGLE = {"feed": False, "batches": False}
OURS = [
    Contestant("sfjobs, batches offered", "submit_sfjobs", {"submits": True, "journal": True}, BATCHES),
    Contestant("sfjobs, batches, no journal", "submit_sfjobs", {"submits": True}, BATCHES),
    Contestant("sfjobs, no batches", "submit_sfjobs", {"submits": True, "journal": True}, SINGLE),
    Contestant("sfjobs, neither", "submit_sfjobs", {"submits": True}, SINGLE),
]
BY_HAND = [
    ("aiohttp", "aiohttp", 1),
    ("httpx over aiohttp", "httpx-aiohttp", 1),
    ("httpx", "httpx", 1),
    ("plain sockets", "sockets", 1),
    ("aiohttp, batches of 100", "aiohttp", 100),
    ("httpx, batches of 100", "httpx", 100),
]


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over the rounds; ``ratio`` is jobs per second over those of httpx with one job per request."""

    client: str
    at_once: int | None
    rtt_ms: float
    jobs_per_s: float
    cpu_ms_per_job: float
    requests: float
    connections: float
    platform_busy: float
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
    contestants = OURS + [_best(platform, *described, rtt) for described in BY_HAND]
    outcomes: dict[str, list[Outcome]] = {contestant.name: [] for contestant in contestants}
    notes: dict[str, str] = {}
    for _ in range(REPETITIONS):
        for contestant in contestants:
            if contestant.name in notes:
                continue
            try:
                outcomes[contestant.name].append(_submit(platform, contestant, JOBS, rtt))
            except Broken as broken:
                notes[contestant.name] = str(broken)
    reference = _rate(outcomes["httpx"])
    rows = [
        Row(
            client=contestant.name,
            at_once=_at_once(contestant),
            rtt_ms=rtt,
            jobs_per_s=_rate(several),
            cpu_ms_per_job=median([1000 * outcome.client_report["cpu"] / JOBS for outcome in several]),
            requests=median([outcome.sent for outcome in several]),
            connections=median([outcome.connections for outcome in several]),
            platform_busy=median([outcome.platform_cpu / outcome.client_report["wall"] for outcome in several]),
            ratio=_rate(several) / reference,
            note=notes.get(contestant.name, ""),
        )
        for contestant, several in ((contestant, outcomes[contestant.name]) for contestant in contestants)
    ]
    _print(rows, f"{JOBS} submissions, RTT {rtt:g} ms, medians of {REPETITIONS}")
    return rows


def _best(platform: FastPlatform, name: str, client: str, batch: int, rtt: float) -> Contestant:
    """Return the number of concurrent requests with which this contestant is fastest."""
    rates: dict[int, float] = {}
    # A batch holds a hundred jobs, so that a trial of a thousand jobs would be too short.
    jobs = JOBS_OF_A_TRY if batch == 1 else JOBS
    for at_once in AT_ONCE if batch == 1 else BATCHES_AT_ONCE:
        try:
            rates[at_once] = _rate([_submit(platform, _by_hand(name, client, batch, at_once), jobs, rtt)])
        except Broken as broken:
            print(f"  {name}, {at_once} at once: {broken}")
    tried = ", ".join(f"{at_once}: {rate:.0f}" for at_once, rate in rates.items())
    print(f"  {name}, RTT {rtt:g} ms, jobs/s by requests at once: {tried}", flush=True)
    return _by_hand(name, client, batch, max(rates, key=rates.__getitem__, default=AT_ONCE[0]))


def _by_hand(name: str, client: str, batch: int, at_once: int) -> Contestant:
    options = {"submits": True, "client": client, "at_once": at_once, "batch": batch}
    return Contestant(name, "submit_by_hand", options, SINGLE if batch == 1 else BATCHES)


def _at_once(contestant: Contestant) -> int | None:
    value = contestant.options.get("at_once")
    return value if isinstance(value, int) else None


def _submit(platform: FastPlatform, contestant: Contestant, jobs: int, rtt: float) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        if contestant.options.get("journal"):
            options = {**contestant.options, "journal": str(Path(folder) / "submissions.db")}
            contestant = replace(contestant, options=options)
        outcome = compete(platform, contestant, Course(jobs, rtt / 1000, bound=120.0))
    if outcome.jobs != jobs or outcome.client_report.get("submitted") != jobs:
        raise Broken(f"{outcome.jobs} of {jobs} jobs arrived")
    return outcome


def _rate(outcomes: list[Outcome]) -> float:
    return median([outcome.jobs / outcome.client_report["wall"] for outcome in outcomes])


def _print(rows: list[Row], title: str) -> None:
    heads = [
        "client",
        "at once",
        "jobs/s",
        "CPU ms/job",
        "requests",
        "connections",
        "platform busy",
        "to httpx",
        "note",
    ]
    table = Table(title, *heads)
    for row in rows:
        table.row(
            row.client,
            row.at_once,
            row.jobs_per_s,
            row.cpu_ms_per_job,
            row.requests,
            row.connections,
            row.platform_busy,
            row.ratio,
            row.note,
        )


def main() -> dict[str, object]:
    """Print the tables and return them for a file of results."""
    return {"name": "submit", "rows": [asdict(row) for row in run()]}


if __name__ == "__main__":
    main()
