"""
A worker process: ``python -m sfjobs.platform.execution.worker``, started and spoken to by ``processes``.

It reads one JSON line a job from its standard input and answers each by one JSON line on its standard output. Before anything
else may write there, the real output is moved away and file descriptor 1 becomes a second standard error: what a library
prints ends in the log, not in the protocol. It exits by itself when its parent is gone: a thread watches for the end of the
input, even while a simulation runs.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ...models import JSONValue
from ..program import ProgramError
from .base import Work
from .result_file import write_result


class Samples(NamedTuple):
    """What a runner gives back: the array that becomes the result, and what to say about it in the job's ``meta``."""

    array: npt.NDArray[Any]
    meta: Mapping[str, JSONValue]


Runner: TypeAlias = Callable[[Work], Samples]


def simulate_work(work: Work) -> Samples:
    """The runner that simulates: parse the circuit, draw the shots."""
    from ..blackbird import parse
    from ..simulation import simulate

    samples = simulate(parse(work.circuit), shots=work.shots, seed=work.seed)
    return Samples(samples.array, samples.meta)


def main(arguments: list[str]) -> None:
    """Serve jobs until the input ends. The arguments: folder of results, runner as ``module:name``, memory limit in bytes."""
    folder, runner_name, memory_limit = arguments
    answers = _take_over_stdout()
    _limit_resources(int(memory_limit))
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    run = _load(runner_name)
    _send(answers, _encode({"event": "ready"}))
    while True:
        _send(answers, _answer(run, Path(folder), Work(**json.loads(jobs.get()))))


def _take_over_stdout() -> IO[bytes]:
    real = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return real


def _limit_resources(memory_limit: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_limit:
        resource.setrlimit(resource.RLIMIT_AS, (memory_limit, memory_limit))


def _read_jobs(jobs: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        jobs.put(line)
    os._exit(0)  # the parent has closed the pipe or died; whatever runs here has no reader any more


def _load(runner_name: str) -> Runner:
    """The runner, with all that it needs imported now: the first job is not to wait for that."""
    module, _, name = runner_name.partition(":")
    if runner_name == f"{__package__}.worker:simulate_work":
        import_module("sfjobs.platform.blackbird")
        import_module("sfjobs.platform.simulation")
        return simulate_work
    runner: Runner = getattr(import_module(module), name)
    return runner


def _answer(run: Runner, folder: Path, work: Work) -> bytes:
    try:
        samples = run(work)
        result = write_result(folder, f"{work.job_id}-{work.attempt}.npz", np.asarray(samples.array))
        described = {name: getattr(result, name) for name in result.__slots__}
        return _encode({"event": "done", "result": described, "meta": dict(samples.meta)})
    except ProgramError as error:
        return _failed(error.code, error.detail)
    except MemoryError:
        return _failed("out-of-memory", "the simulation needs more memory than a worker may use")
    except Exception as error:  # noqa: BLE001 - told to the job's owner, and in full to the platform's log
        traceback.print_exc()
        return _failed("internal-error", f"the simulation failed with {type(error).__name__}")


def _failed(code: str, detail: str) -> bytes:
    return _encode({"event": "failed", "code": code, "detail": detail})


def _encode(message: Mapping[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _send(answers: IO[bytes], message: bytes) -> None:
    answers.write(message)
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
