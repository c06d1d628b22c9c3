"""
A thousand readers of the embedded platform's change feed over plain sockets: their cost in the platform's process, and the time
until all have received the events of one job, its acceptance (from the response to the submitter) and its end (from its
``finished_at``). Reading a thousand sockets takes this process a few milliseconds itself.
"""

from __future__ import annotations

import json
import resource
import selectors
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from .arena import QUICK, Table, percentile
from .embedded import Embedded, embedded_platform
from .fast.board import TARGET
from .raw import PROGRAM

STREAMS = 1_000
JOBS = 5 if QUICK else 20
READ_TIMEOUT_SECONDS = 30.0


@dataclass(slots=True)
class Reader:
    """One stream, and the bytes received since it was last emptied."""

    received: bytearray = field(default_factory=bytearray)
    first_seen: dict[bytes, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Threads and resident memory of the platform's process, without its workers."""

    threads: int
    rss_mb: float


@dataclass(frozen=True, slots=True)
class Row:
    """Milliseconds until a reader received the event, over all readers and jobs."""

    event: str
    p50_ms: float
    p99_ms: float
    max_ms: float


def run() -> tuple[dict[str, Footprint], list[Row]]:
    """Measure with and without streams, and the jobs one after another."""
    _allow_sockets(2 * STREAMS + 200)
    with embedded_platform() as platform:
        token = _token(platform)
        before = _footprint(platform.pid)
        with _streams(platform, token, 1) as selector:
            _until(selector, b"event: hello")
            one = _footprint(platform.pid)
        with _streams(platform, token, STREAMS) as selector:
            _until(selector, b"event: hello")
            many = _footprint(platform.pid)
            taken: list[float] = []
            done: list[float] = []
            for _ in range(JOBS):
                _follow_one_job(selector, platform, token, taken, done)
            after = _footprint(platform.pid)
    footprints = {"no stream": before, "one stream": one, f"{STREAMS} streams": many, "after the jobs": after}
    return footprints, [_row("taken", taken), _row("done", done)]


def _follow_one_job(
    selector: selectors.BaseSelector, platform: Embedded, token: str, taken: list[float], done: list[float]
) -> None:
    body = json.dumps({"name": None, "target": TARGET, "circuit": PROGRAM, "language": "blackbird:1.0"}).encode()
    with _connected(platform) as sock:
        submitter = Reader()
        selector.register(sock, selectors.EVENT_READ, submitter)
        sock.sendall(_head("POST", "/jobs", token, body) + body)
        _until(selector, b'"status":"complete"', but=submitter)
        selector.unregister(sock)
    answered = submitter.first_seen[b"HTTP/1.1 201"]
    readers = [key.data for key in selector.get_map().values()]
    event = readers[0].received
    job = json.loads(event[event.rindex(b"data: ") + 6 :].split(b"\n")[0])
    finished = datetime.fromisoformat(job["finished_at"]).timestamp()
    taken += [reader.first_seen[b"event: job"] - answered for reader in readers]
    done += [reader.first_seen[b'"status":"complete"'] - finished for reader in readers]


def _until(selector: selectors.BaseSelector, words: bytes, but: Reader | None = None) -> None:
    """Read until all readers have received these words; record the wall-clock time at which each first received which."""
    others = [key.data for key in selector.get_map().values() if key.data is not but]
    for reader in others:
        reader.received.clear()
        reader.first_seen.clear()
    waiting, deadline = len(others), time.monotonic() + READ_TIMEOUT_SECONDS
    while waiting or (but is not None and not but.first_seen):
        assert time.monotonic() < deadline, f"{waiting} readers have not received {words!r}"
        for key, _ in selector.select(1.0):
            sock, reader = key.fileobj, key.data
            assert isinstance(sock, socket.socket)
            reader.received += sock.recv(1 << 16)
            now = time.time()
            for sought in (b"HTTP/1.1 201", b"event: job", words):
                if sought not in reader.first_seen and sought in reader.received:
                    reader.first_seen[sought] = now
                    waiting -= sought == words and reader is not but


@contextmanager
def _streams(platform: Embedded, token: str, count: int) -> Iterator[selectors.BaseSelector]:
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(count):
            sock = stack.enter_context(_connected(platform))
            sock.sendall(_head("GET", "/jobs/changes", token))
            selector.register(sock, selectors.EVENT_READ, Reader())
        yield selector


def _connected(platform: Embedded) -> socket.socket:
    url = urllib.parse.urlsplit(platform.url)
    return socket.create_connection((str(url.hostname), url.port), timeout=READ_TIMEOUT_SECONDS)


def _head(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept-version: 0.4.0\r\nauthorization: Bearer {token}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()


def _token(platform: Embedded) -> str:
    path = "/auth/realms/platform/protocol/openid-connect/token"
    form = {"grant_type": "refresh_token", "refresh_token": platform.api_key, "client_id": "public"}
    with urllib.request.urlopen(platform.url + path, urllib.parse.urlencode(form).encode()) as answer:
        return str(json.load(answer)["access_token"])


def _footprint(pid: int) -> Footprint:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    return Footprint(int(facts["Threads"]), round(int(facts["VmRSS"].split()[0]) / 1024, 1))


def _allow_sockets(count: int) -> None:
    """Raise the limit on open files, which the platform inherits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def _row(event: str, late: list[float]) -> Row:
    ordered = sorted(late)
    return Row(event, *(round(1000 * percentile(ordered, share), 1) for share in (0.5, 0.99, 1.0)))


def main() -> dict[str, object]:
    """Print the tables and return them for a file of results."""
    footprints, rows = run()
    table = Table("the platform's process", "with", "threads", "RSS MB")
    for name, footprint in footprints.items():
        table.row(name, footprint.threads, footprint.rss_mb)
    table = Table(f"{STREAMS} readers of {JOBS} jobs", "event", "p50 ms", "p99 ms", "max ms")
    for row in rows:
        table.row(row.event, row.p50_ms, row.p99_ms, row.max_ms)
    return {
        "name": "streams",
        "footprints": {name: asdict(footprint) for name, footprint in footprints.items()},
        "rows": [asdict(row) for row in rows],
    }


if __name__ == "__main__":
    main()
