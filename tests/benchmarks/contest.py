"""
The contestants' side of a measurement. A contestant sets itself up, ``begin``s when the starting signal is given, says when it
``saw`` each job end, and ``end``s; CPU seconds are counted between the two. ``arena`` is the other side.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from .fast.board import job_id, job_index

CADENCE: Final = 1.0
"""Seconds between two questions about a job, for all who poll: what xanadu-cloud-client fixes."""
BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Task:
    """Where the platform is, which jobs to look after, and until how many seconds after the start."""

    url: str
    api_key: str
    epoch: str
    jobs: int
    bound: float
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        return [job_id(self.epoch, index) for index in range(self.jobs)]

    @property
    def headers(self) -> dict[str, str]:
        """For clients that are written by hand."""
        from .fast.protocol import TOKEN

        return {"Authorization": f"Bearer {TOKEN.decode()}", "Accept-Version": "0.4.0"}


class Run:
    """One measurement of one contestant. Reports once: at its end, or what there is when the time is up."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.seen: list[float | None] = [None] * task.jobs
        self.notes: dict[str, object] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_command_line(cls) -> Self:
        return cls(Task(**json.loads(sys.argv[1])))

    def begin(self) -> None:
        """Returns at the starting signal."""
        print(json.dumps("ready"), flush=True)
        assert json.loads(sys.stdin.readline()) == "go"
        self.started = time.monotonic()
        self._cpu = time.process_time()
        timer = threading.Timer(self.task.bound, self._give_up)
        timer.daemon = True
        timer.start()

    def saw(self, id_: str) -> None:
        """This job is known to have ended, by now."""
        self.seen[job_index(id_)] = time.monotonic()

    def end(self, **notes: object) -> None:
        """All is done: reports, ``notes`` too, and leaves the process without further ado."""
        self._report(finished=True, notes=notes)

    def _give_up(self) -> None:
        self._report(finished=False, notes={})

    def _report(self, *, finished: bool, notes: Mapping[str, object]) -> None:
        cpu, wall = time.process_time() - self._cpu, time.monotonic() - self.started
        with self._lock:  # never released: the process ends in here
            report = {"finished": finished, "cpu": cpu, "wall": wall, "seen": self.seen, **self.notes, **notes}
            print(json.dumps(report), flush=True)
            sys.stdin.readline()  # the platform counts before connections are torn
            os._exit(0)
