"""
A worker process, ``python -m sfjobs.platform.execution.worker``, started by ``process_executor``.

It reads one JSON line per job from its standard input and writes one JSON line per job to its standard output. At the start,
file descriptor 1 becomes a second standard error, so that the output of a library goes to the log and not into the protocol.

It exits when its parent ends: a thread watches for the end of the input, also while a simulation runs. On Linux the kernel
kills it, also in native code that holds the interpreter lock.

The ``limits`` of a job are enforced here: memory and processor time by the system, shots and modes before the simulation.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
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
from .executor import Work

_PR_SET_PDEATHSIG: Final = 1


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
    replies = _redirect_stdout()
    if "ends-with-parent" in flags:
        _end_with_parent()
    _limit_memory(limits.memory)
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    run = _load(runner_name, limits)
    _send(replies, _encode({"event": "ready"}))
    while True:
        work = Work(**json.loads(jobs.get()))
        _limit_time(limits.time)
        _send(replies, _reply(run, ResultFolder(Path(folder)), work))


def _redirect_stdout() -> IO[bytes]:
    """Return the real standard output, and point file descriptor 1 to the standard error."""
    real = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return real


def _end_with_parent() -> None:
    """
    Ask the kernel to kill this process when its parent ends. The thread that watches the input cannot run while native code
    holds the interpreter lock, perhaps for an hour; a worker of a killed platform would take processor time from the next.
    """
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the call
            os._exit(0)


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


def _read_jobs(jobs: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        jobs.put(line)
    os._exit(0)  # the parent closed the pipe or ended, so nothing would read a result


def _load(runner_name: str, limits: Limits) -> Runner:
    """Return the runner, with its imports done, so that the first job does not wait for them."""
    module, _, name = runner_name.partition(":")
    if runner_name == f"{__package__}.worker:simulate_work":
        import_module("sfjobs.platform.devices")
        import_module("sfjobs.platform.simulation")
        return partial(simulate_work, limits=limits)
    runner: Runner = getattr(import_module(module), name)
    return runner


def _reply(run: Runner, results: ResultFolder, work: Work) -> bytes:
    try:
        samples = run(work)
        result = _store(results, work, np.asarray(samples.array))
        return _encode({"event": "done", "result": asdict(result), "meta": dict(samples.meta)})
    except ProgramError as error:
        return _failed(error.code, error.detail)
    except MemoryError:
        return _failed("out-of-memory", "the simulation needs more memory than a worker may use")
    except Exception as error:  # noqa: BLE001 - the job's owner gets the type, the platform's log the traceback
        traceback.print_exc()
        return _failed("internal-error", f"the simulation failed with {type(error).__name__}")


def _store(results: ResultFolder, work: Work, samples: Array) -> ResultFile:
    try:
        return results.write(work.result_name, samples)
    except OSError as error:
        traceback.print_exc()
        detail = f"the platform could not store the result, {samples.nbytes} bytes: {error.strerror or 'input or output failed'}"
        raise ProgramError("result-not-stored", detail) from error


def _failed(code: str, detail: str) -> bytes:
    return _encode({"event": "failed", "code": code, "detail": detail})


def _encode(message: Mapping[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _send(replies: IO[bytes], message: bytes) -> None:
    replies.write(message)
    replies.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
