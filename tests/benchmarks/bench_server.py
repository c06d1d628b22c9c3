"""
The throughput of the fast platform over plain sockets. It must be far more than any client needs, so that the other benchmarks
measure clients. One process sends requests, one responds.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

from . import raw
from .arena import QUICK, FastPlatform, Table, median
from .fast.board import TARGET, job_id

MAX_CONNECTIONS = 32
REQUESTS = 5_000 if QUICK else 20_000
REPETITIONS = 3 if QUICK else 5


@dataclass(frozen=True, slots=True)
class Row:
    """Responses per second (median), and the CPU use of the platform's process."""

    request: str
    per_second: float
    platform_busy: float


def run() -> list[Row]:
    """Measure each kind of request."""
    body = json.dumps({"name": "bench", "target": TARGET, "circuit": raw.PROGRAM, "language": "blackbird:1.0"}).encode()
    with FastPlatform() as platform:
        epoch = platform.do("scenario")["epoch"]
        platform.do("create", jobs=100)
        query = "&".join(f"id={job_id(epoch, index)}" for index in range(100))
        kinds = {
            "POST /jobs": (raw.request("POST", "/jobs", body), 1),
            "GET /jobs/{id}": (raw.request("GET", f"/jobs/{job_id(epoch, 0)}"), 1),
            "GET /jobs of 100 ids": (raw.request("GET", f"/jobs?size=100&{query}"), 10),
        }
        rates: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
        for _ in range(REPETITIONS):
            for kind, (request, weight) in kinds.items():
                rates[kind].append(_rate(platform, request, REQUESTS // weight))
    return [
        Row(kind, round(median([rate for rate, _ in pairs])), round(median([busy for _, busy in pairs]), 2))
        for kind, pairs in rates.items()
    ]


def round_trips(rtt: float = 0.02) -> tuple[float, float]:
    """Return the median milliseconds until a response, over a new and over an open connection, at this round-trip time."""
    first: list[float] = []
    later: list[float] = []
    with FastPlatform() as platform:
        platform.do("scenario", rtt=rtt)
        for _ in range(20):
            answers: list[float] = [time.perf_counter()]
            requests = iter([raw.request("GET", "/healthz")] * 3)
            raw.exchange(platform.port, requests, 1, lambda _, answers=answers: answers.append(time.perf_counter()))
            first.append(1000 * (answers[1] - answers[0]))
            later += [1000 * (answers[index + 1] - answers[index]) for index in (1, 2)]
    return median(first), median(later)


def _rate(platform: FastPlatform, request: bytes, requests: int) -> tuple[float, float]:
    wrong: list[bytes] = []

    def receive(response: bytes) -> None:
        if not response.startswith(b"HTTP/1.1 20"):
            wrong.append(response)

    platform_before = platform.do("report")["cpu"]
    start = time.perf_counter()
    raw.exchange(platform.port, iter([request] * requests), MAX_CONNECTIONS, receive)
    taken = time.perf_counter() - start
    assert not wrong, wrong[0]
    return requests / taken, (platform.do("report")["cpu"] - platform_before) / taken


def main() -> dict[str, object]:
    """Print a table and return it for a file of results."""
    rows = run()
    table = Table(
        f"plain sockets, {MAX_CONNECTIONS} at a time, median of {REPETITIONS}", "request", "per s", "platform busy"
    )
    for row in rows:
        table.row(row.request, row.per_second, row.platform_busy)
    first, later = round_trips()
    print(f"RTT 20 ms: {first:.1f} ms to the first response on a connection, {later:.1f} ms to the next ones")
    return {"name": "server", "rows": [asdict(row) for row in rows], "first_ms": first, "later_ms": later}


if __name__ == "__main__":
    main()
