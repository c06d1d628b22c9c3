"""
Every network fault x every operation x both transports, on sockets. ``fault_matrix.txt`` has the expected outcomes; they are a
promise to callers.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import httpx
import pytest
import trio

import sfjobs
from sfjobs._http import http11
from sfjobs._http.retry import Retry
from tests.support.both_transports import BOTH
from tests.support.fake_platform import KEY, FakePlatform
from tests.support.fault_proxy import FAULTS, FaultProxy
from tests.support.feeding_platform import FeedingPlatform
from tests.support.raw_server import CERTIFICATE

pytestmark = pytest.mark.real_time

TABLE = Path(__file__).with_name("fault_matrix.txt")
ON_TRIO = {"refused", "reset before response", "no response", "truncated body", "503", "cut mid-feed"}
STRIKES = {"401 storm": 1, "429": 1, "429 seconds": 1, "429 date": 1}
"""Failures of a transient fault where these are not 2: a call makes five attempts, and a 401 causes one more."""

SHORT_TIMEOUT = {"no response", "slow drip"}
"""Faults that need a short read timeout. A busy machine may exceed it too, so one of five attempts is spare."""

WAIT = 0.6
"""Timeout in seconds of a wait where the fault never ends. The wait must not end earlier."""

PROGRAM = "name v\nversion 1.0\n\nVac | 0\nMeasureFock() | 0\n"
WORDS = {
    sfjobs.TransportError: "lost",
    sfjobs.errors.TLSError: "no tls",
    sfjobs.RequestTimeoutError: "late",
    sfjobs.ProtocolError: "alien",
    sfjobs.SubmissionUnknownError: "maybe",
    sfjobs.AuthenticationError: "denied",
    sfjobs.RateLimitedError: "busy",
    sfjobs.ServerError: "down",
    sfjobs.WaitTimeoutError: "waits",
}


class Bench:
    """
    One cell of the table: a platform, a connection to it through a proxy, the timeout of a wait, and the least duration of its
    jobs.
    """

    def __init__(
        self, platform: FakePlatform, connection: sfjobs.Connection, waiting: float, lasting: float = 0.0
    ) -> None:
        self.platform = platform
        self.connection = connection
        self.waiting = waiting
        self.lasting = lasting

    def job(self, *, ends_in: float) -> sfjobs.Job:
        added = self.platform.add(ends_at=anyio.current_time() + self.lasting + ends_in)
        return sfjobs.Job(added.id, "queued", self.connection)


Operation: TypeAlias = Callable[[Bench], Awaitable[None]]


async def submit(bench: Bench) -> None:
    await bench.connection.create_job("simulon_gaussian", PROGRAM, shots=1)


async def wait_one(bench: Bench) -> None:
    assert await bench.job(ends_in=0.1).wait(timeout=bench.waiting) == "complete"


async def wait_200(bench: Bench) -> None:
    jobs = [bench.job(ends_in=0.1 + number / 2000) for number in range(200)]
    assert await sfjobs.wait_all(jobs, timeout=bench.waiting, fetch_results=False) == ["complete"] * 200


async def cancel(bench: Bench) -> None:
    job = bench.job(ends_in=1000)
    assert await job.cancel() in ("cancel_pending", "cancelled")
    assert bench.platform.jobs[job.id].now() == "cancelled"


async def result(bench: Bench) -> None:
    job = sfjobs.Job(bench.platform.add(status="complete").id, "complete", bench.connection)
    assert (await job.fetch_result()).samples.shape == (3, 2)


async def list_all(bench: Bench) -> None:
    assert len([job async for job in bench.connection.list_jobs()]) == len(bench.platform.jobs)


OPERATIONS: dict[str, tuple[Operation, Callable[[httpx.Request], bool]]] = {
    "submit": (submit, lambda request: (request.method, request.url.path) == ("POST", "/jobs")),
    "submit keyed": (submit, lambda request: (request.method, request.url.path) == ("POST", "/jobs")),
    "wait one": (wait_one, lambda request: request.method == "GET" and request.url.path.startswith("/jobs")),
    "wait 200": (wait_200, lambda request: request.method == "GET" and request.url.path.startswith("/jobs")),
    "cancel": (cancel, lambda request: request.method == "PATCH"),
    "result": (result, lambda request: request.url.path.endswith("/result")),
    "list": (list_all, lambda request: (request.method, request.url.path) == ("GET", "/jobs")),
}


def rows() -> Iterator[list[str]]:
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield [cell.strip() for cell in line.split("|")]


HEAD, *ROWS = rows()
EXPECTED = {fault: dict(zip(HEAD[1:], cells, strict=True)) for fault, *cells in ROWS}


def test_the_table_has_a_row_for_each_fault_and_a_column_for_each_operation() -> None:
    assert (sorted(EXPECTED), HEAD[1:]) == (sorted(FAULTS), list(OPERATIONS))


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> dict[int, FaultProxy]:
    """The proxies by port. The client notifies a proxy before it connects; pauses are short."""
    lines: dict[int, FaultProxy] = {}

    def after_notice(connect: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def connect_after_notice(*place: Any, **options: Any) -> Any:
            port = place[1] if place else options.get("remote_port", options.get("port"))
            await lines[port].before_connecting()
            return await connect(*place, **options)

        return connect_after_notice

    monkeypatch.setattr(http11, "connect", after_notice(http11.connect))
    monkeypatch.setattr(
        anyio, "connect_tcp", after_notice(anyio.connect_tcp)
    )  # httpx connects by it, on trio by the next
    monkeypatch.setattr(trio, "open_tcp_stream", after_notice(trio.open_tcp_stream))
    monkeypatch.setattr("sfjobs._http.transport.Retry", functools.partial(Retry, base=0.02))
    monkeypatch.setattr("sfjobs._http.rate_model.FIRST_PAUSE_SECONDS", 0.02)
    return lines


@pytest.mark.parametrize("http", BOTH)
@pytest.mark.parametrize(
    ("anyio_backend", "fault"),
    [("asyncio", fault) for fault in EXPECTED] + [("trio", fault) for fault in EXPECTED if fault in ON_TRIO],
)
async def test_a_fault_has_the_outcomes_of_the_table(fault: str, http: str, lines: dict[int, FaultProxy]) -> None:
    found: dict[str, list[str]] = {name: ["", ""] for name in OPERATIONS}

    async def play(name: str, place: int, times: float) -> None:
        found[name][place] = await outcome(fault, http, name, times, lines)

    async with anyio.create_task_group() as group:
        for name, expected in EXPECTED[fault].items():
            if expected != "-":
                group.start_soon(play, name, 0, STRIKES.get(fault, 2))
                group.start_soon(play, name, 1, float("inf"))
    played = {name: " / ".join(words) if any(words) else "-" for name, words in found.items()}
    different = {name: word for name, word in played.items() if word != EXPECTED[fault][name]}
    assert not different, f"{fault} | {' | '.join(played.values())}"


async def outcome(fault: str, http: str, name: str, times: float, lines: dict[int, FaultProxy]) -> str:
    """The outcome as a word of the table, and for submissions the number of new jobs."""
    operation, strikes = OPERATIONS[name]
    platform = FeedingPlatform() if fault == "cut mid-feed" else FakePlatform(honours_keys=name == "submit keyed")
    platform.cancelling = 0.0
    proxy = FaultProxy(platform, fault)
    async with proxy.serving():
        lines[proxy.port] = proxy
        read_timeout = 0.3 if fault in SHORT_TIMEOUT else 10.0
        settings = sfjobs.Settings(
            url=proxy.url, api_key=KEY, retries=5, connect_timeout=10,
            read_timeout=read_timeout, attempt_timeout=2 * read_timeout,
            poll_interval_min=0.02, poll_interval_max=0.1, ca_file=str(CERTIFICATE) if fault == "tls" else None,
            http=http,  # type: ignore[arg-type]
        )  # fmt: skip
        async with sfjobs.Connection(settings=settings) as connection:
            is_of_feed = fault == "cut mid-feed"
            waiting = WAIT if times == float("inf") and EXPECTED[fault][name].endswith("waits") else 20.0
            # No poll may see the end before a busy machine has opened the feed.
            bench = Bench(platform, connection, waiting, lasting=1.5 if is_of_feed else 0.0)
            await prepared(bench)
            before = len(platform.jobs)
            if name == "list":
                for _ in range(2):
                    platform.add()
            await proxy.break_down(times, (lambda r: r.url.path == "/jobs/changes") if is_of_feed else strikes)
            word = "hangs"
            with anyio.move_on_after(20):
                word = await in_a_word(operation, bench)
                while word == "waits" and not proxy.struck:  # on a busy machine it may time out before its first poll
                    word = await in_a_word(operation, bench)
        assert proxy.struck >= min(times, 1), "the fault did not strike"
        return f"{word} {len(platform.jobs) - before}" if name.startswith("submit") else word


async def prepared(bench: Bench) -> None:
    """Submit once, to get a token and the platform's offers of idempotency keys and a feed."""
    while True:
        try:
            return await submit(bench)
        except sfjobs.SFJobsError:  # a busy machine may exceed the read timeout
            continue


async def in_a_word(operation: Operation, bench: Bench) -> str:
    try:
        await operation(bench)
    except sfjobs.SFJobsError as error:
        return WORDS[type(error)]
    return "ok"
