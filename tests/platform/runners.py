"""
The runners of worker processes in tests, and their rendezvous with the test over two named pipes, so that neither side sleeps
or polls. ``SFJOBS_TEST_MEETING`` in the environment is the folder of the pipes.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from sfjobs.platform.execution.executor import Work
from sfjobs.platform.program import Samples

VARIABLE = "SFJOBS_TEST_MEETING"


def zeros(work: Work) -> Samples:
    """Return a result at once; print, as a careless library would."""
    print("a library says hello")
    return Samples(np.zeros((work.shots, 4), dtype=np.uint8), {"seed": work.seed})


def meet(work: Work) -> Samples:
    """Announce the job to the test, and finish when the test releases it."""
    announce(work)
    with (Path(os.environ[VARIABLE]) / "releases").open("rb", buffering=0) as releases:
        releases.read(1)
    return zeros(work)


def announce(work: Work) -> None:
    with (Path(os.environ[VARIABLE]) / "arrivals").open("w") as arrivals:
        arrivals.write(f"{work.job_id} {os.getpid()} {work.attempt}\n")


def pass_by(work: Work) -> Samples:
    """Announce the job if the test listens, and return a result at once."""
    with suppress(BlockingIOError):
        pipe = os.open(Path(os.environ[VARIABLE]) / "arrivals", os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(pipe, f"{work.job_id} {os.getpid()} {work.attempt}\n".encode())
        finally:
            os.close(pipe)
    return zeros(work)


def grasp(work: Work) -> Samples:
    """Announce the job, and stay in native code that lets no other thread of the process run."""
    pipe = os.open(Path(os.environ[VARIABLE]) / "arrivals", os.O_WRONLY)
    line = f"{work.job_id} {os.getpid()} {work.attempt}\n".encode()
    library = ctypes.PyDLL(
        None
    )  # keeps the interpreter's lock during a call; between the calls no other thread may take it
    sys.setswitchinterval(600)
    library.write(pipe, line, len(line))
    library.sleep(600)
    return zeros(work)


def spin(work: Work) -> Samples:
    """Use a processor without end."""
    while True:
        pass


def die(work: Work) -> Samples:
    """Crash, as a simulator in native code may."""
    print("about to crash", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    return zeros(work)


def stumble(work: Work) -> Samples:
    raise ZeroDivisionError(f"a secret of job {work.job_id}")


def hoard(work: Work) -> Samples:
    return Samples(np.ones((1 << 34,), dtype=np.uint8), {})


def overflow(work: Work) -> Samples:
    """Return a result that is larger than its file may be."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    return Samples(np.zeros((1 << 20,), dtype=np.uint8), {})


class Meeting:
    """The end of the two pipes in the test."""

    def __init__(self, folder: Path) -> None:
        self._pipes = []
        for name in ("arrivals", "releases"):
            os.mkfifo(folder / name)
            self._pipes.append(os.open(folder / name, os.O_RDWR))
        self._text = b""

    def arrival(self, timeout: float = 60.0) -> tuple[str, int, int]:
        """Return job id, pid and attempt of the next job that has started."""
        while b"\n" not in self._text:
            if not select.select([self._pipes[0]], [], [], timeout)[0]:
                raise TimeoutError("no job has begun to run")
            self._text += os.read(self._pipes[0], 4096)
        line, _, self._text = self._text.partition(b"\n")
        job_id, pid, attempt = line.decode().split()
        return job_id, int(pid), int(attempt)

    def forget(self) -> None:
        """Discard the jobs that have started until now."""
        while select.select([self._pipes[0]], [], [], 0)[0]:
            os.read(self._pipes[0], 65536)
        self._text = b""

    def let_go(self, count: int = 1) -> None:
        """Let this many jobs finish."""
        os.write(self._pipes[1], b"!" * count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            os.close(pipe)


def has_ended(pid: int, timeout: float = 60.0) -> bool:
    """Wait for the end of a process that the test did not start. Return whether it ends."""
    try:
        end = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([end], [], [], timeout)[0])
    finally:
        os.close(end)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
