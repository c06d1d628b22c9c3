"""
A worker process, ``python -m sfjobs.platform.execution.worker``, started by ``process_executor``.

It reads one JSON line per job from its standard input and writes replies to its standard output; see ``replies``. At the start,
file descriptor 1 becomes a second standard error, so that the output of a library goes to the log and not into the protocol.

It exits when its parent ends: a thread watches for the end of the input, also while a simulation runs. On Linux the kernel
kills it, also in native code that holds the interpreter lock.

The ``limits`` of a job are enforced here: memory and processor time by the system, shots and modes before the simulation.
What the machine lacks (room on the disk, descriptors) is reported as trouble of the platform, not as a failure of the job.
"""

from __future__ import annotations

import errno
import json
import math
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import IO, Final, TypeAlias

import numpy as np

from ..limits import DEFAULTS, Limits
from ..program import Array, ProgramError, Samples
from ..records import ResultFile
from ..results.folder import ResultFolder
from .child import end_with_parent, redirect_stdout
from .executor import Work
from .replies import reply_line

_TROUBLE: Final = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENFILE", "EAGAIN", "EIO", "ESTALE")
    if hasattr(errno, name)
)
"""Errors of the machine: the same program runs when they are gone."""
_FIRST_PROGRAM: Final = (
    "name first\nversion 1.0\ntarget simulon_gaussian (shots=1)\n\nSgate(0.5) | 0\nMeasureFock() | 0\n"
)
_TOO_LITTLE_MEMORY: Final = "the simulation needs more memory than a worker may use"

Runner: TypeAlias = Callable[[Work], Samples]


def simulate_work(work: Work, limits: Limits = DEFAULTS) -> Samples:
    """Parse the circuit and sample it. Raises ``ProgramError``."""
    from ..blackbird import parse
    from ..devices import as_run
    from ..simulation import simulate

    program = parse(work.circuit)
    # Also checked at submission, but the platform may have been restarted with other limits since.
    if program.num_modes > limits.modes:
        raise ProgramError("mode-limit", f"{program.num_modes} modes are more than the {limits.modes} allowed")
    if work.shots > limits.shots:
        raise ProgramError("shot-limit", f"{work.shots} shots are more than the {limits.shots} allowed")
    program, imperfections = as_run(work.target, program)
    samples = simulate(program, shots=work.shots, seed=work.seed)
    return Samples(samples.array, {**samples.meta, **imperfections})


def main(arguments: list[str]) -> None:
    """
    Run jobs until the input ends. The arguments are the folder of results, the runner as ``module:name``, ``Limits`` as JSON,
    and optionally ``ends-with-parent``: the kernel then kills this process when its parent ends.
    """
    folder, runner_name, limits_json, *flags = arguments
    limits = Limits(**json.loads(limits_json))
    replies = redirect_stdout()
    if "ends-with-parent" in flags:
        end_with_parent()
    _limit_memory(limits.memory)
    jobs: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    try:
        run = _load(runner_name, limits)
    except BaseException:  # noqa: BLE001 - the process ends
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # the end of the interpreter would abort on the thread that reads, and hide the reason
    _send(replies, reply_line("ready"))
    while True:
        line = jobs.get()
        _send(replies, reply_line("began"))
        if line is None:
            _send(replies, _failed("out-of-memory", _TOO_LITTLE_MEMORY))
            os._exit(0)  # what is left of the line cannot be told from the next
        _limit_time(limits.time)
        try:
            reply = _reply(run, ResultFolder(Path(folder)), line)
        except ImportError as error:  # for instance in the middle of `pip install --upgrade`
            traceback.print_exc()
            _send(
                replies,
                reply_line("trouble", detail=f"the installation changed: {type(error).__name__}", bytes_needed=0),
            )
            os._exit(1)  # the next worker has one state of it, or does not start
        _send(replies, reply)


if sys.platform == "win32":

    def _limit_memory(limit: int) -> None: ...

    def _limit_time(limit: float) -> None: ...
else:
    import resource

    def _limit_memory(limit: int) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if limit:
            limit = _at_most(limit, resource.getrlimit(resource.RLIMIT_AS)[1])
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def _limit_time(limit: float) -> None:
        """
        Limit the processor time of the next job, in seconds. The system counts whole seconds of the whole process. The
        executor limits the elapsed time.
        """
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (_at_most(math.ceil(time.process_time() + limit), hard), hard))

    def _at_most(limit: int, hard: int) -> int:
        """Return ``limit``, or the hard limit of this process if that is lower."""
        return limit if hard == resource.RLIM_INFINITY else min(limit, hard)


def _read_jobs(jobs: queue.SimpleQueue[bytes | None]) -> None:
    try:
        for line in sys.stdin.buffer:
            jobs.put(line)
    except MemoryError:
        jobs.put(None)
        return
    os._exit(0)  # the parent closed the pipe or ended, so nothing would read a result


def _load(runner_name: str, limits: Limits) -> Runner:
    """
    Return the runner. The simulation has run a program then: the first job waits for no import, and a worker without the memory
    for it, or with half of an installation, does not become ready.
    """
    module, _, name = runner_name.partition(":")
    if runner_name == f"{__package__}.worker:simulate_work":
        import_module("sfjobs.platform.results.npz_file")
        simulate_work(Work(job_id="", attempt=0, target="simulon_gaussian", circuit=_FIRST_PROGRAM, shots=1, seed=0))
        return partial(simulate_work, limits=limits)
    runner: Runner = getattr(import_module(module), name)
    return runner


def _reply(run: Runner, results: ResultFolder, line: bytes) -> bytes:
    try:
        work = Work(**json.loads(line))
        samples = run(work)
        result = _store(results, work, np.asarray(samples.array))
        return reply_line("done", result=asdict(result), meta=dict(samples.meta))
    except ProgramError as error:
        return _failed(error.code, error.detail)
    except _NotStored as error:
        return reply_line("trouble", detail=error.detail, bytes_needed=error.bytes_needed)
    except MemoryError:
        return _failed("out-of-memory", _TOO_LITTLE_MEMORY)
    except ImportError:
        raise
    except Exception as error:  # noqa: BLE001 - the job's owner gets the type, the platform's log the traceback
        traceback.print_exc()
        if isinstance(error, OSError) and error.errno in _TROUBLE:
            return reply_line("trouble", detail=f"a worker could not go on: {error.strerror}", bytes_needed=0)
        return _failed("internal-error", f"the simulation failed with {type(error).__name__}")


_SMALL_RESULT_BYTES: Final = 64 << 10


class _NotStored(Exception):
    """The disk does not take the result now."""

    def __init__(self, detail: str, bytes_needed: int) -> None:
        super().__init__(detail)
        self.detail = detail
        self.bytes_needed = bytes_needed


def _store(results: ResultFolder, work: Work, samples: Array) -> ResultFile:
    try:
        return results.write(work.result_name, samples)
    except OSError as error:
        traceback.print_exc()
        reason = error.strerror or "input or output failed"
        detail = f"the platform could not store the result, {samples.nbytes} bytes: {reason}"
        # More than a file may have, also the next time. Where not even a small file may grow, the job is not the reason.
        if error.errno == errno.EFBIG and samples.nbytes > _SMALL_RESULT_BYTES:
            raise ProgramError("result-not-stored", detail) from error
        needed = samples.nbytes if error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)} else 0
        raise _NotStored(detail, needed) from error


def _failed(code: str, detail: str) -> bytes:
    return reply_line("failed", code=code, detail=detail)


def _send(replies: IO[bytes], message: bytes) -> None:
    replies.write(message)
    replies.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
