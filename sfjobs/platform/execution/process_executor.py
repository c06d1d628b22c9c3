"""
Programs run in worker processes of this machine: one process a slot, started ahead, one job at a time.

Cancelling kills the process and starts another, which is the only way to stop numerical code for certain. The processes are
plain ``python -m`` children and not ``anyio.to_process`` workers: those import the caller's ``__main__`` again, which would run
an unguarded script that calls ``serving()`` a second time in each worker, and give no say over the environment (the number of
BLAS threads must be set before numpy is imported) nor access to what the worker writes to its standard error.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio
from anyio.abc import Process, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from ..limits import DEFAULTS, Limits
from ..records import ResultFile
from ..results.folder import ResultFolder
from .executor import Outcome, Run, Work, WorkerLost, WorkFailed

ENDS_WITH_PARENT: Final = "ends-with-parent"
SIMULATE: Final = "sfjobs.platform.execution.worker:simulate_work"
_OUT_OF_TIME: Final = -signal.SIGXCPU if sys.platform != "win32" else None
_LONGEST_ANSWER: Final = 4 << 20
_ERROR_LINES: Final = 20
_log = logging.getLogger(__name__)


class ProcessExecutor:
    """
    ``workers`` processes that write results into ``folder``. The ``limits`` of a job are kept by its worker, and that of time
    also from here, by killing the worker. ``runner`` names the function the workers call, as ``module:name``; it takes a ``Work``
    and returns ``worker.Samples``.
    """

    def __init__(self, folder: Path, *, workers: int = 1, runner: str = SIMULATE, limits: Limits = DEFAULTS) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        command = [
            sys.executable,
            "-P",
            "-m",
            "sfjobs.platform.execution.worker",
            str(folder),
            runner,
            json.dumps(asdict(limits)),
        ]
        self._results = ResultFolder(folder)
        self._slots = [_Slot(command) for _ in range(workers)]
        self._free = deque(self._slots)
        self._time_limit = limits.time
        self._tasks: TaskGroup

    @property
    def slots(self) -> int:
        return len(self._slots)

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The processes that live now."""
        return tuple(slot.worker.pid for slot in self._slots if slot.worker is not None)

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        for slot in self._slots:
            self._tasks.start_soon(slot.prepare, self._tasks)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        # Cancelled first: a start that is under way could put a fresh worker where one has just been discarded.
        self._tasks.cancel_scope.cancel()
        try:
            return await self._tasks.__aexit__(exc_type, exc, traceback)
        finally:
            with anyio.CancelScope(shield=True):
                for slot in self._slots:
                    if slot.worker is not None:
                        await slot.discard(slot.worker)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Run]:
        slot = self._free.popleft()
        try:
            yield await self._run_of(slot)
        finally:
            self._free.append(slot)
            if slot.worker is None:
                self._tasks.start_soon(slot.prepare, self._tasks)

    async def _run_of(self, slot: _Slot) -> Run:
        try:
            await slot.ready_worker(self._tasks)
        except WorkerLost as error:
            lost = error
        else:
            return partial(self._run_in, slot)

        async def tell(_: Work) -> Outcome:
            raise lost

        return tell

    async def _run_in(self, slot: _Slot, work: Work) -> Outcome:
        worker = await slot.ready_worker(self._tasks)
        try:
            with anyio.move_on_after(self._time_limit) as scope:
                answer = await worker.ask(work)
            if scope.cancelled_caught:
                raise WorkFailed(
                    "time-limit", f"the job ran longer than the {self._time_limit:g} s that this platform allows"
                )
        except BaseException:
            with anyio.CancelScope(shield=True):
                await slot.discard(worker)
            self._remove_what_is_left_of(work)
            raise
        if answer["event"] == "failed":
            raise WorkFailed(answer["code"], answer["detail"])
        return Outcome(result=ResultFile(**answer["result"]), meta=answer["meta"])

    def _remove_what_is_left_of(self, work: Work) -> None:
        try:
            self._results.delete(work.result_name)
        except OSError as error:  # the next start sweeps
            _log.warning("what is left of attempt %d at job %s stays: %s", work.attempt, work.job_id, error)


class _Slot:
    """A place for one worker, which comes and goes."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._lock = anyio.Lock()
        self.worker: _Worker | None = None

    async def prepare(self, tasks: TaskGroup) -> None:
        """Start a worker ahead. That it cannot be started is told to the next job, and to the log."""
        try:
            await self.ready_worker(tasks)
        except WorkerLost as error:
            _log.error("no worker could be started ahead: %s", error.detail)

    async def ready_worker(self, tasks: TaskGroup) -> _Worker:
        """The slot's worker, a new one if there is none or it has died unseen. Raises ``WorkerLost`` if it does not start."""
        async with self._lock:
            worker = self.worker
            if worker is not None and worker.has_exited:
                _log.warning("worker %d has died while idle; it is replaced", worker.pid)
                await self.discard(worker)
                worker = None
            if worker is None:
                worker = await _shielded_start(self._command)
                self.worker = worker
                tasks.start_soon(worker.keep_errors)
            try:
                await worker.wait_ready()
            except WorkerLost:
                await self.discard(worker)
                raise
            return worker

    async def discard(self, worker: _Worker) -> None:
        """End this worker; the slot is empty afterwards unless it has another by now."""
        if self.worker is worker:
            self.worker = None
        await worker.kill()


async def _shielded_start(command: Sequence[str]) -> _Worker:
    """Not to be interrupted: a process that has started and that nobody knows of would stay for ever."""
    with anyio.CancelScope(shield=True):
        worker = await _Worker.start(command)
    return worker  # noqa: RET504 - inside the scope, mypy sees a way around it


class _Worker:
    """One live process and its three pipes."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._input = process.stdin
        self._answers = BufferedByteReceiveStream(process.stdout)
        self._errors = process.stderr
        self._last_errors: deque[str] = deque(maxlen=_ERROR_LINES)
        self._ready = False
        self.pid = process.pid

    @classmethod
    async def start(cls, command: Sequence[str]) -> Self:
        try:
            process = await anyio.open_process(
                [*command, ENDS_WITH_PARENT] if _starts_processes_in_this_thread() else command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in a terminal is for the server; it stops its workers itself
            )
        except OSError as error:
            raise WorkerLost(f"no worker process can be started: {error}") from error
        return cls(process)

    @property
    def has_exited(self) -> bool:
        return self._process.returncode is not None

    async def wait_ready(self) -> None:
        if not self._ready:
            await self._answer("while it was starting")
            self._ready = True

    async def ask(self, work: Work) -> dict[str, Any]:
        try:
            await self._input.send(json.dumps(asdict(work)).encode() + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise WorkerLost(f"worker {self.pid} was gone before it could take the job") from error
        return await self._answer(f"while it ran job {work.job_id}")

    async def _answer(self, when: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(await self._answers.receive_until(b"\n", _LONGEST_ANSWER))
        except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            code = await self._process.wait()
            if code == _OUT_OF_TIME:
                detail = "the job used more processor time than this platform allows"
                raise WorkFailed("time-limit", detail) from error
            last_words = " | ".join(self._last_errors)
            raise WorkerLost(
                f"worker {self.pid} ended with status {code} {when}{': ' * bool(last_words)}{last_words}"
            ) from error
        return answer

    async def keep_errors(self) -> None:
        """Read what the worker writes to its standard error, so that the pipe never fills; keep the last lines."""
        text = b""
        try:
            async for chunk in self._errors:
                *lines, text = (text + chunk).split(b"\n")
                for line in lines:
                    self._last_errors.append(line[:500].decode(errors="replace"))
                    _log.info("worker %d: %s", self.pid, self._last_errors[-1])
                text = text[-500:]
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # killed and closed while this was waiting

    async def kill(self) -> None:
        """End the process, whatever it is doing, and wait until it is gone."""
        if not self.has_exited:
            try:
                self._process.kill()
            except ProcessLookupError:  # it was faster
                _log.debug("worker %d had ended by itself", self.pid)
        await self._process.wait()
        for stream in (self._input, self._answers, self._errors):
            await stream.aclose()


def _starts_processes_in_this_thread() -> bool:
    """
    As asyncio does. Trio has a thread do it that ends when it is idle for long, which the system would take for the parent's end.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _environment() -> dict[str, str]:
    """
    One thread for each library that would start more (several processes share the machine; measured 3 times faster), and
    the modules that this process finds, wherever it was told to look.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
