"""
The side of the contestants in the benchmarks of results. A contestant provides a function that fetches one result. Time and
memory are measured here, then the array is compared with the one that was sent. ``bench_results`` is the other side.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import resource
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from .fast.board import TOKEN

WARM: Final = "warm"
"""A small result that is fetched before the measurement, so that tokens, imports and connections are not measured."""

Array: TypeAlias = npt.NDArray[np.generic]
Fetched: TypeAlias = Array | int
"""The samples, or the number of bytes for contestants that keep nothing."""

Fetch: TypeAlias = Callable[[str], Awaitable[Fetched]]


@dataclass(frozen=True, slots=True)
class Task:
    """
    Which job's result to fetch, ``times`` times one after the other, in the format that belongs to ``api_version``. ``sent`` is
    its array as a ``.npy`` file, ``size`` the bytes of its body.
    """

    url: str
    api_key: str
    job: str
    sent: str
    size: int
    api_version: Literal["0.2.0", "0.4.0"] = "0.4.0"
    times: int = 1
    trace: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_command_line(cls) -> Task:
        return cls(**json.loads(sys.argv[1]))

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers for clients without a library."""
        accept = {"Accept": "application/x-numpy"} if self.api_version == "0.2.0" else {}
        return {"Authorization": f"Bearer {TOKEN.decode()}", "Accept-Version": self.api_version, **accept}


async def measure(task: Task, fetch: Fetch) -> None:
    """Fetch at the starting signal, report, and exit the process at once."""
    await fetch(WARM)
    wanted = _digest(np.load(task.sent)) if task.times > 1 else ""
    gc.collect()
    if task.trace:
        tracemalloc.start()
    _forget_peak()
    base = _resident("VmRSS")
    print(json.dumps("ready"), flush=True)
    assert json.loads(sys.stdin.readline()) == "go"
    cpu, started = _cpu(), time.perf_counter()
    if task.times == 1:
        fetched = await fetch(task.job)
    else:
        digests = {_digest(await fetch(task.job)) for _ in range(task.times)}
    report: dict[str, object] = {"wall": time.perf_counter() - started, "cpu": _cpu() - cpu}
    report["peak"] = _resident("VmHWM") - base
    gc.collect()
    report["grown"] = _resident("VmRSS") - base
    if task.trace:
        report["traced"] = tracemalloc.get_traced_memory()[0]
    # Only after the measurement: the comparison takes time and touches all pages of a map.
    report["is_same"] = _is_same(task, fetched) if task.times == 1 else digests == {wanted}
    print(json.dumps(report), flush=True)
    os._exit(0)


def _is_same(task: Task, fetched: Fetched) -> bool:
    if isinstance(fetched, int):
        return fetched == task.size
    sent = np.load(task.sent, mmap_mode="r")
    kind = np.dtype(np.int64) if task.options.get("widens") else sent.dtype
    return fetched.dtype == kind and np.array_equal(fetched, sent)


def _digest(fetched: Fetched) -> str:
    assert not isinstance(fetched, int)
    return hashlib.sha256(np.ascontiguousarray(fetched, np.uint8)).hexdigest()


def _cpu() -> float:
    """Return the CPU seconds of this process and of its child processes that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # proc_pid_clear_refs(5): resets VmHWM


def _resident(what: str) -> int:
    """Return ``VmRSS``, the resident bytes, or ``VmHWM``, their maximum."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what)]
    return int(line.split()[1]) * 1024
