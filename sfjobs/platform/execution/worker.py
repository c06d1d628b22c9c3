"""
A worker process: ``python -m sfjobs.platform.execution.worker``, started and spoken to by ``processes``.

It reads one JSON line a job from its standard input and answers each by one JSON line on its standard output. Before anything
else may write there, the real output is moved away and file descriptor 1 becomes a second standard error: what a library
prints ends in the log, not in the protocol. It exits by itself when its parent is gone: a thread watches for the end of the
input, even while a simulation runs; on Linux the system ends it, also in the middle of native code that lets no thread run.

The ``limits`` of a job hold here: memory and processor time are the system's to keep, shots and modes are looked at before
anything is simulated.
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
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ...models import JSONValue
from ..limits import DEFAULTS, Limits
from ..program import ProgramError
from ..records import ResultFile
from ..results.folder import ResultFolder
from .executor import Work

_PR_SET_PDEATHSIG: Final = 1


class Samples(NamedTuple):
    """What a runner gives back: the array that becomes the result, and what to say about it in the job's ``meta``."""

    array: npt.NDArray[Any]
    meta: Mapping[str, JSONValue]


Runner: TypeAlias = Callable[[Work], Samples]


def simulate_work(work: Work, limits: Limits = DEFAULTS) -> Samples:
    """The runner that simulates: parse the circuit, draw the shots."""
    from ..blackbird import parse
    from ..simulation import simulate

    program = parse(work.circuit)
    # Checked when the job came; since then the platform may have been started with others.
    if program.num_modes > limits.modes:
        raise ProgramError("mode-limit", f"{program.num_modes} modes are more than the {limits.modes} allowed")
    if work.shots > limits.shots:
        raise ProgramError("shot-limit", f"{work.shots} shots are more than the {limits.shots} allowed")
    samples = simulate(program, shots=work.shots, seed=work.seed)
    return Samples(samples.array, samples.meta)


def main(arguments: list[str]) -> None:
    """
    Serve jobs until the input ends. The arguments: folder of results, runner as ``module:name``, ``Limits`` as JSON, and
    ``ends-with-parent`` where the system is to see to that.
    """
    folder, runner_name, given, *more = arguments
    limits = Limits(**json.loads(given))
    answers = _take_over_stdout()
    if "ends-with-parent" in more:
        _end_with_parent()
    _limit_memory(limits.memory)
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    run = _load(runner_name, limits)
    _send(answers, _encode({"event": "ready"}))
    while True:
        work = Work(**json.loads(jobs.get()))
        _limit_time(limits.time)
        _send(answers, _answer(run, ResultFolder(Path(folder)), work))


def _take_over_stdout() -> IO[bytes]:
    real = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return real


def _end_with_parent() -> None:
    """
    The thread that watches the input gets no turn while native code holds the interpreter's lock, for an hour perhaps; a worker
    that outlives a killed platform would work against those of the next.
    """
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was faster
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
        """Of the next job: the system counts for the whole process, in whole seconds. The platform sees to the clock's time."""
        most = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (_at_most(math.ceil(time.process_time() + limit), most), most))

    def _at_most(limit: int, hard: int) -> int:
        """What may be asked for under a limit that the system's owner has set."""
        return limit if hard == resource.RLIM_INFINITY else min(limit, hard)


def _read_jobs(jobs: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        jobs.put(line)
    os._exit(0)  # the parent has closed the pipe or died; whatever runs here has no reader any more


def _load(runner_name: str, limits: Limits) -> Runner:
    """The runner, with all that it needs imported now: the first job is not to wait for that."""
    module, _, name = runner_name.partition(":")
    if runner_name == f"{__package__}.worker:simulate_work":
        import_module("sfjobs.platform.blackbird")
        import_module("sfjobs.platform.simulation")
        return partial(simulate_work, limits=limits)
    runner: Runner = getattr(import_module(module), name)
    return runner


def _answer(run: Runner, results: ResultFolder, work: Work) -> bytes:
    try:
        samples = run(work)
        result = _store(results, work, np.asarray(samples.array))
        described = {name: getattr(result, name) for name in result.__slots__}
        return _encode({"event": "done", "result": described, "meta": dict(samples.meta)})
    except ProgramError as error:
        return _failed(error.code, error.detail)
    except MemoryError:
        return _failed("out-of-memory", "the simulation needs more memory than a worker may use")
    except Exception as error:  # noqa: BLE001 - told to the job's owner, and in full to the platform's log
        traceback.print_exc()
        return _failed("internal-error", f"the simulation failed with {type(error).__name__}")


def _store(results: ResultFolder, work: Work, samples: npt.NDArray[Any]) -> ResultFile:
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


def _send(answers: IO[bytes], message: bytes) -> None:
    answers.write(message)
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
