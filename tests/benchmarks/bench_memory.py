"""
The memory of a wait for a hundred thousand jobs that do not end: bytes per job beyond the list of ids, in a separate process,
during the wait. ``most`` is the maximum, with short-lived memory; Python's allocations are measured in another run.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from .arena import QUICK, Broken, Contestant, Course, FastPlatform, Table, compete

JOBS = 20_000 if QUICK else 100_000
SECONDS = 10.0 if QUICK else 20.0
"""How long the wait is watched."""

MEMORY = {"memory": True}
CONTESTANTS = [
    Contestant("sfjobs, feed", "watch_sfjobs", MEMORY, {"feed": True, "batches": True}),
    Contestant("sfjobs, list", "watch_sfjobs", MEMORY),
    Contestant("aiohttp, feed by hand", "watch_feed_by_hand", MEMORY, {"feed": True, "batches": True}),
    Contestant("aiohttp, batched", "watch_aiohttp", {**MEMORY, "batched": True}),
    Contestant("httpx, batched", "watch_httpx", {**MEMORY, "batched": True}),
    Contestant("aiohttp, a task a job", "watch_aiohttp", MEMORY),
]


@dataclass(frozen=True, slots=True)
class Row:
    """Bytes per job: resident memory of the process, and memory allocated by Python."""

    client: str
    rss: float
    rss_most: float
    traced: float
    traced_most: float
    requests: int
    note: str


def run(jobs: int = JOBS) -> list[Row]:
    """Measure all contestants twice."""
    with FastPlatform() as platform:
        return [_row(platform, contestant, jobs) for contestant in CONTESTANTS]


def _row(platform: FastPlatform, contestant: Contestant, jobs: int) -> Row:
    nan = float("nan")
    # The ends are so late that no contestant sees one.
    course = Course(jobs, 0.0, 1e6, 1e6, bound=SECONDS)
    traced = replace(contestant, options={**contestant.options, "trace": True})
    try:
        plain, counted = compete(platform, contestant, course), compete(platform, traced, course)
    except Broken as broken:
        return Row(contestant.name, nan, nan, nan, nan, 0, str(broken))
    return Row(
        contestant.name,
        plain.client_report["rss"] / jobs,
        plain.client_report["rss_most"] / jobs,
        counted.client_report["traced"] / jobs,
        counted.client_report["traced_most"] / jobs,
        plain.sent,
        "it gave up" if plain.client_report["finished"] else "",
    )


def main() -> dict[str, object]:
    """Print a table and return it for a file of results."""
    rows = run()
    title = f"{JOBS} jobs, bytes a job after {SECONDS:.0f} s"
    table = Table(title, "client", "RSS", "RSS most", "Python", "Python most", "requests", "note")
    for row in rows:
        table.row(row.client, row.rss, row.rss_most, row.traced, row.traced_most, row.requests, row.note)
    return {"name": "memory", "rows": [asdict(row) for row in rows]}


if __name__ == "__main__":
    main()
