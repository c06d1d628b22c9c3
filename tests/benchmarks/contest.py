"""
The side of the contestants. A contestant sets itself up, calls ``begin``, which returns at the starting signal, calls ``saw`` for
each job that ended, and ``end``. CPU seconds are counted between ``begin`` and ``end``. ``arena`` is the other side.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from .fast.board import TOKEN, job_id, job_index

CADENCE: Final = 1.0
"""Seconds between two polls of a job, for all clients that poll: the fixed interval of xanadu-cloud-client."""
BATCH: Final = 100
"""Job ids in one poll."""
TICK: Final = 0.01
"""Seconds between two ticks."""


@dataclass(frozen=True, slots=True)
class Task:
    """The address of the platform, the jobs to wait for, and the time limit in seconds after the start."""

    url: str
    api_key: str
    epoch: str
    jobs: int
    bound: float
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers for clients without a library."""
        return {"Authorization": f"Bearer {TOKEN.decode()}", "Accept-Version": "0.4.0"}


class Run:
    """
    One measurement of one contestant. It reports once, at its end or at the time limit. The option ``memory`` measures the memory
    of the process from ``weigh`` on; ``trace`` also measures Python's allocations, which slows everything down.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.ids = [job_id(task.epoch, index) for index in range(task.jobs)]
        self.seen: list[float | None] = [None] * task.jobs
        self.notes: dict[str, object] = {}
        self._lock = threading.Lock()
        self._scale: Scale | None = None

    @classmethod
    def from_command_line(cls) -> Self:
        return cls(Task(**json.loads(sys.argv[1])))

    def weigh(self) -> None:
        """Measure memory from now on, after the list of ids is allocated. ``begin`` calls this if nothing else did."""
        if self.task.options.get("memory") and self._scale is None:
            self._scale = Scale(trace=bool(self.task.options.get("trace")))

    def begin(self) -> None:
        """Return at the starting signal."""
        self.weigh()
        print(json.dumps("ready"), flush=True)
        assert json.loads(sys.stdin.readline()) == "go"
        self.started = time.monotonic()
        self._cpu = time.process_time()
        timer = threading.Timer(self.task.bound, self._give_up)
        timer.daemon = True
        timer.start()

    def tick(self) -> None:
        """With the option ``ticker``, start a task in this asyncio loop that runs every 10 ms during the wait."""
        if self.task.options.get("ticker"):
            self._ticker = asyncio.create_task(self._tick())

    def saw(self, id_: str) -> None:
        """Record that the client knows by now that this job has ended."""
        self.seen[job_index(id_)] = time.monotonic()

    def end(self, **notes: object) -> None:
        """Send the report with ``notes`` and exit the process at once."""
        self._report(finished=True, notes=notes)

    async def _tick(self) -> None:
        late: list[float] = []
        self.notes["late"] = late
        while True:
            due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            late.append(time.monotonic() - due)

    def _give_up(self) -> None:
        self._report(finished=False, notes={})

    def _report(self, *, finished: bool, notes: Mapping[str, object]) -> None:
        cpu, wall = time.process_time() - self._cpu, time.monotonic() - self.started
        if self._scale is not None:
            self.notes |= self._scale.read()
        with self._lock:  # never released: the process exits inside
            report = {"finished": finished, "cpu": cpu, "wall": wall, "seen": self.seen, **self.notes, **notes}
            print(json.dumps(report), flush=True)
            sys.stdin.readline()  # the platform counts before the connections are closed
            os._exit(0)


class Scale:
    """The memory that the process has taken since the scale was created: maximum and last value, in bytes."""

    def __init__(self, *, trace: bool) -> None:
        gc.collect()
        if trace:
            tracemalloc.start()
        self._trace = trace
        self._first = self._most = _resident()
        threading.Thread(target=self._watch, daemon=True).start()

    def read(self) -> dict[str, int]:
        last = _resident()
        taken = {"rss": last - self._first, "rss_most": max(self._most, last) - self._first}
        if self._trace:
            taken["traced"], taken["traced_most"] = tracemalloc.get_traced_memory()
        return taken

    def _watch(self) -> None:
        while True:
            time.sleep(0.1)
            self._most = max(self._most, _resident())


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
