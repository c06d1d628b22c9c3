"""
The measuring side: it runs the fast platform and one contestant after another, each in its own process, and evaluates the
numbers. ``contest`` is the side of the contestants.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from .fast.board import KEY

QUICK = bool(os.environ.get("BENCH_QUICK"))
"""Whether a rough measurement is enough; set by ``python -m tests.benchmarks --quick``."""


class Helper:
    """A process of the benchmarks that reads and writes lines of JSON."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Broken(self._last_error()) from None

    def receive(self, timeout: float = 120.0) -> Any:
        """Return the next line. Raises ``Broken`` if the process ends or writes nothing within ``timeout`` seconds."""
        assert self._process.stdout is not None
        timer = threading.Timer(timeout, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise Broken(self._last_error())
        return json.loads(line)

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else "it ended without output"


class Broken(Exception):
    """A contestant failed; the message is its last line of output."""


class FastPlatform(Helper):
    """The fast platform and its commands."""

    def __init__(self) -> None:
        super().__init__("fast")
        self.port: int = self.receive()["port"]
        self.url = f"http://127.0.0.1:{self.port}"

    def do(self, command: str, **arguments: object) -> Any:
        self.send({"do": command, **arguments})
        return self.receive()


@dataclass(frozen=True, slots=True)
class Contestant:
    """A row of a table: a module in ``contestants``, its options, and the features that the platform offers it."""

    name: str
    module: str
    options: Mapping[str, object] = field(default_factory=dict)
    offers: Mapping[str, object] = field(default_factory=lambda: {"feed": False, "batches": False})


@dataclass(frozen=True, slots=True)
class Course:
    """The jobs and timing of one measurement. ``bound`` is the time limit in seconds from the start."""

    jobs: int
    rtt: float = 0.0
    first: float = 1.0
    last: float = 10.0
    bound: float = 60.0
    seed: int = 1
    scenario: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The report of a contestant (``report``) and the counts of the platform since the start. ``lateness`` is sorted and in
    seconds; it omits jobs whose end was not seen.
    """

    client_report: Mapping[str, Any]
    jobs: int
    requests: Mapping[str, int]
    connections: int
    bytes_in: int
    bytes_out: int
    ends: Sequence[float]
    lateness: Sequence[float]
    start: float
    platform_cpu: float

    @property
    def sent(self) -> int:
        return sum(self.requests.values())


def compete(platform: FastPlatform, contestant: Contestant, course: Course) -> Outcome:
    """Measure one contestant on one course. Raises ``Broken`` if it fails."""
    played = platform.do("scenario", **{"rtt": course.rtt, **contestant.offers, **course.scenario})
    task = {
        "url": platform.url,
        "api_key": KEY,
        "epoch": played["epoch"],
        "jobs": course.jobs,
        "bound": course.bound,
        "options": dict(contestant.options),
    }
    if not contestant.options.get("submits"):
        platform.do("create", jobs=course.jobs)
    with Helper(f"contestants.{contestant.module}", json.dumps(task)) as process:
        assert process.receive() == "ready"
        start = platform.do("start", first=course.first, last=course.last, seed=course.seed)["start"]
        process.send("go")
        client_report = process.receive(course.bound + 60)
        report = platform.do("report")
    seen, ended = client_report.get("seen", []), report["ended"]
    # A job cannot be seen to end before it ends, not even by rounding, since both sides read the same clock.
    lateness = sorted(at - end for at, end in zip(seen, ended, strict=False) if at is not None and end is not None)
    assert not lateness or lateness[0] >= 0, f"{contestant.name} saw a job end before it did"
    counted, before = report["since"], report["before"]
    return Outcome(
        client_report=client_report,
        jobs=len(ended),
        requests=counted["requests"],
        connections=counted["connections"] + before["connections"],
        bytes_in=counted["bytes_in"],
        bytes_out=counted["bytes_out"],
        ends=[end for end in ended if end is not None],
        lateness=lateness,
        start=start,
        platform_cpu=report["cpu"],
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that this share of the sorted values does not exceed; nan if there are no values."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")


def least_list_requests(ends: Sequence[float], start: float, jobs: int, cadence: float = 1.0, batch: int = 100) -> int:
    """
    Return the minimum number of list requests for a client that polls all unfinished jobs every ``cadence`` seconds, first one
    ``cadence`` after the start, until it has seen all ends.
    """
    ordered = sorted(end - start for end in ends)
    requests, asked, ended = 0, 0.0, 0
    while ended < jobs and ended < len(ordered):
        requests += -(-(jobs - ended) // batch)
        asked += cadence
        while ended < len(ordered) and ordered[ended] <= asked:
            ended += 1
    return requests


def touch_memory(nbytes: int) -> None:
    """
    Allocate this much memory, at most 1 GiB, and free it. A virtual machine may return memory that it has not used for seconds to
    its host: touching 200 MB then cost 0.5 s instead of 0.02 s, and only for the first contestant after a pause.
    """
    np.empty(min(nbytes, 1 << 30), np.uint8).fill(1)


class Table:
    """A table that prints each row at once; the header gives the column widths."""

    def __init__(self, title: str, *columns: str) -> None:
        self._widths = [max(len(column), 7) for column in columns]
        self._widths[0] = max(self._widths[0], 26)
        print(f"\n{title}")
        self._print(columns)

    def row(self, *values: object) -> None:
        self._print([_shown(value) for value in values])

    def _print(self, texts: Sequence[str]) -> None:
        first, *others = texts
        cells = [f"{text:>{width}}" for text, width in zip(others, self._widths[1:], strict=False)]
        print("  ".join([f"{first:<{self._widths[0]}}", *cells, *others[len(cells) :]]), flush=True)


def _shown(value: object) -> str:
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    if value != value:
        return "-"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"
