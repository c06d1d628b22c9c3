"""
The runners of worker processes in tests, and their rendezvous with the test over two named pipes, so that neither side sleeps
or polls. ``SFJOBS_TEST_MEETING`` in the environment is the folder of the pipes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
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


def announce(work: Work, pid: int | None = None) -> None:
    with (Path(os.environ[VARIABLE]) / "arrivals").open("w") as arrivals:
        arrivals.write(f"{work.job_id} {pid or os.getpid()} {work.attempt}\n")


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


def stop_here(work: Work) -> Samples:
    """Stop this process, as a debugger may."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return zeros(work)


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


def stay(work: Work) -> Samples:
    """Announce the pid of a child instead of this process, ignore SIGTERM, and wait for the child."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with subprocess.Popen(["sleep", "600"], start_new_session=work.circuit == "a session of its own") as child:
        announce(work, child.pid)
    return zeros(work)


BROKEN_ANSWERS = {
    "nothing": b"\n",
    "no JSON": b"Traceback (most recent call last):\n",
    "half of it": b'{"event": "done", "result"\n',
    "no object": b"[]\n",
    "no event": b'{"result": 1}\n',
    "an unknown event": b'{"event": "dance"}\n',
    "an event of the start": b'{"event": "ready"}\n',
    "too deep": b"[" * 100_000 + b"\n",
    "too long": b"x" * (5 << 20) + b"\n",
    "not Unicode": b'{"event": "failed", "code": "\xff", "detail": ""}\n',
    "no detail": b'{"event": "failed", "code": "x"}\n',
}


def answer_badly(work: Work) -> Samples:
    """Let the worker send one of ``BROKEN_ANSWERS``, which the circuit names, instead of its reply."""
    if work.circuit in BROKEN_ANSWERS:
        vars(sys.modules["__main__"])["reply_line"] = lambda *_, **__: BROKEN_ANSWERS[work.circuit]
    return zeros(work)


def lose_the_file(work: Work) -> Samples:
    """Remove the file of the result before the worker replies."""
    main = vars(sys.modules["__main__"])
    reply_line = main["reply_line"]

    def remove_first(event: str, **fields: object) -> bytes:
        if event == "done":
            (Path(sys.argv[1]) / work.result_name).unlink()
        line: bytes = reply_line(event, **fields)
        return line

    main["reply_line"] = remove_first
    return zeros(work)


def flag(name: str) -> Path:
    """Return a file whose existence is a fault: the test makes and removes it."""
    return Path(os.environ[VARIABLE]) / name


def store_on_a_full_disk(work: Work) -> Samples:
    """Let no file be synced while there is the flag ``full``."""
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if flag("full").exists():
            raise OSError(errno.ENOSPC, "No space left on device", "/a/path/of/the/platform")
        fsync(descriptor)

    os.fsync = full
    return pass_by(work)


def upgrade(work: Work) -> Samples:
    """Need a module that is not installed while there is the flag ``upgrading``."""
    if flag("upgrading").exists():
        import_module("sfjobs.a_module_of_the_next_version")
    return zeros(work)


def run_out(work: Work) -> Samples:
    """Need a descriptor while there is none."""
    if flag("full").exists():
        raise OSError(errno.EMFILE, "Too many open files")
    return zeros(work)


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
