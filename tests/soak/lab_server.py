"""
The platform of a lab, ``python -m tests.soak.lab_server FOLDER PORT WORKERS``, and the runner of its jobs. The clock of the
server is ahead by the seconds in the file ``FOLDER/clock``, which may change while it runs.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import time
from pathlib import Path

import numpy as np

from sfjobs.platform import Platform, PlatformSettings, run_server
from sfjobs.platform.execution.executor import Work
from sfjobs.platform.program import Samples

SHOTS_PER_SECOND = 10_000
OFFSET = struct.Struct("d")


def run(work: Work) -> Samples:
    """Take a time that depends on the shots alone, and return samples that depend on the seed alone."""
    time.sleep(work.shots / SHOTS_PER_SECOND)
    return Samples(np.full((work.shots, 2), work.seed % 251, dtype=np.uint8), {})


def set_clock(path: Path, seconds: float) -> None:
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(OFFSET.pack(seconds))


def follow_clock(path: Path) -> None:
    """Shift what ``time.time`` and ``time.time_ns`` return."""
    with path.open("rb") as file:
        shared = mmap.mmap(file.fileno(), OFFSET.size, access=mmap.ACCESS_READ)
    true_ns = time.time_ns

    def time_ns() -> int:
        return true_ns() + int(OFFSET.unpack(shared[:])[0] * 1e9)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


def main() -> None:
    folder, port, workers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    follow_clock(folder / "clock")
    with (folder / "server.log").open("ab", buffering=0) as log:
        os.dup2(log.fileno(), 2)
    settings = PlatformSettings(data_dir=folder / "platform", workers=workers, runner="tests.soak.lab_server:run")

    def on_ready(platform: Platform) -> None:
        print(platform.port, flush=True)

    run_server(settings=settings, port=port, grace=1.0, on_ready=on_ready)


if __name__ == "__main__":
    main()
