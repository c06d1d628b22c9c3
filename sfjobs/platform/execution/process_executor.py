"""
An executor of worker processes on this machine: one process per slot, started in advance, one job at a time.

Cancelling kills the process and starts another: numerical code cannot be stopped reliably in any other way. The processes are
plain ``python -m`` children and not ``anyio.to_process`` workers. Those import the caller's ``__main__`` again, which would run
a script without ``if __name__ == "__main__"`` a second time in each worker. They also give no control over the environment
(the number of BLAS threads must be set before numpy is imported) and no access to the standard error of the worker.
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
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import anyio
from anyio.abc import Process, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from ..limits import DEFAULTS, Limits
from ..records import ResultFile
from ..results.folder import ResultFolder
from .executor import Outcome, Run, Work, WorkerLost, WorkFailed

ENDS_WITH_PARENT: Final = "ends-with-parent"
_WORKER: Final = "sfjobs.platform.execution.worker"
SIMULATE: Final = f"{_WORKER}:simulate_work"
_CPU_TIME_EXCEEDED: Final = -signal.SIGXCPU if sys.platform != "win32" else None
_MAX_MESSAGE_BYTES: Final = 4 << 20
_MAX_ERROR_LINES: Final = 20
_MAX_ERROR_LINE_BYTES: Final = 500
_log = logging.getLogger(__name__)


class ProcessExecutor(anyio.AsyncContextManagerMixin):
    """
    ``workers`` processes that write results into ``folder``. Each worker enforces the ``limits`` of a job; the time limit is
    also enforced here, by killing the worker. ``runner`` is the function that the workers call, as ``module:name``; it takes a
    ``Work`` and returns ``Samples``.
    """

    def __init__(self, folder: Path, *, workers: int = 1, runner: str = SIMULATE, limits: Limits = DEFAULTS) -> None:
        command = [sys.executable, "-P", "-m", _WORKER, str(folder), runner, json.dumps(asdict(limits))]
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
        """The process ids of the running workers."""
        return tuple(slot.worker.pid for slot in self._slots if slot.worker is not None)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        try:
            async with anyio.create_task_group() as self._tasks:
                for slot in self._slots:
                    self._tasks.start_soon(slot.prepare, self._tasks)
                try:
                    yield self
                finally:
                    # First: otherwise a start in progress could put a new worker into a slot that has just been emptied.
                    self._tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                for slot in self._slots:
                    if slot.worker is not None:
                        await slot.discard(slot.worker)

    @asynccontextmanager
    async def acquire_slot(self) -> AsyncIterator[Run]:
        slot = self._free.popleft()
        start_error: WorkerLost | None = None
        try:
            try:
                await slot.ready_worker(self._tasks)
            except WorkerLost as error:
                start_error = error
            yield partial(self._run_in, slot, start_error)
        finally:
            self._free.append(slot)
            if slot.worker is None:
                self._tasks.start_soon(slot.prepare, self._tasks)

    async def _run_in(self, slot: _Slot, start_error: WorkerLost | None, work: Work) -> Outcome:
        if start_error is not None:
            raise start_error
        worker = await slot.ready_worker(self._tasks)
        try:
            with anyio.move_on_after(self._time_limit) as scope:
                reply = await worker.run(work)
            if scope.cancelled_caught:
                limit = f"{self._time_limit:g} s that this platform allows"
                raise WorkFailed("time-limit", f"the job ran longer than the {limit}")
        except BaseException:
            with anyio.CancelScope(shield=True):
                await slot.discard(worker)
            self._remove_files_of(work)
            raise
        if reply["event"] == "failed":
            raise WorkFailed(reply["code"], reply["detail"])
        return Outcome(result=ResultFile(**reply["result"]), meta=reply["meta"])

    def _remove_files_of(self, work: Work) -> None:
        try:
            self._results.delete(work.result_name)
        except OSError as error:
            message = (
                "files of attempt %d at job %s could not be removed; the next start of the platform removes them: %s"
            )
            _log.warning(message, work.attempt, work.job_id, error)


class _Slot:
    """A slot for one worker process, which is replaced when it ends."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._lock = anyio.Lock()
        self.worker: _Worker | None = None

    async def prepare(self, tasks: TaskGroup) -> None:
        """Start a worker in advance. If that fails, log it; the next job tries again and reports the error."""
        try:
            await self.ready_worker(tasks)
        except WorkerLost as error:
            _log.error("no worker could be started in advance; the next job tries again: %s", error.detail)

    async def ready_worker(self, tasks: TaskGroup) -> _Worker:
        """Return the slot's worker, a new one if it has none or the old one ended. Raises ``WorkerLost`` if none starts."""
        async with self._lock:
            worker = self.worker
            if worker is not None and worker.has_exited:
                _log.warning("worker %d ended while idle; another is started", worker.pid)
                await self.discard(worker)
                worker = None
            if worker is None:
                with anyio.CancelScope(shield=True):  # a process that was started but not recorded would run for ever
                    worker = self.worker = await _Worker.start(self._command)
                assert worker is not None  # mypy takes the scope for one that can swallow an error
                tasks.start_soon(worker.log_errors)
            try:
                await worker.wait_ready()
            except WorkerLost:
                await self.discard(worker)
                raise
            return worker

    async def discard(self, worker: _Worker) -> None:
        """End this worker and empty the slot, unless it already has another worker."""
        if self.worker is worker:
            self.worker = None
        await worker.kill()


class _Worker:
    """One worker process and its three pipes."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._input = process.stdin
        self._replies = BufferedByteReceiveStream(process.stdout)
        self._errors = process.stderr
        self._last_errors: deque[str] = deque(maxlen=_MAX_ERROR_LINES)
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
                start_new_session=True,  # Ctrl-C in a terminal goes to the server only, which stops its workers
            )
        except OSError as error:
            raise WorkerLost(f"no worker process can be started: {error}") from error
        return cls(process)

    @property
    def has_exited(self) -> bool:
        return self._process.returncode is not None

    async def wait_ready(self) -> None:
        if not self._ready:
            await self._receive("while it was starting")
            self._ready = True

    async def run(self, work: Work) -> dict[str, Any]:
        """Send one attempt and return the reply. Raises ``WorkerLost``, and ``WorkFailed`` if the processor time is used up."""
        try:
            await self._input.send(json.dumps(asdict(work)).encode() + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise WorkerLost(f"worker {self.pid} ended before it received the job") from error
        return await self._receive(f"while it ran job {work.job_id}")

    async def _receive(self, when: str) -> dict[str, Any]:
        try:
            reply: dict[str, Any] = json.loads(await self._replies.receive_until(b"\n", _MAX_MESSAGE_BYTES))
        except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            status = await self._process.wait()
            if status == _CPU_TIME_EXCEEDED:
                detail = "the job used more processor time than this platform allows"
                raise WorkFailed("time-limit", detail) from error
            errors = f": {' | '.join(self._last_errors)}" if self._last_errors else ""
            raise WorkerLost(f"worker {self.pid} ended with status {status} {when}{errors}") from error
        return reply

    async def log_errors(self) -> None:
        """Log what the worker writes to its standard error, so that the pipe never fills; keep the last lines."""
        text = b""
        try:
            async for chunk in self._errors:
                *lines, text = (text + chunk).split(b"\n")
                for line in lines:
                    self._last_errors.append(line[:_MAX_ERROR_LINE_BYTES].decode(errors="replace"))
                    _log.info("worker %d: %s", self.pid, self._last_errors[-1])
                text = text[-_MAX_ERROR_LINE_BYTES:]
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # killed and closed during the read

    async def kill(self) -> None:
        """Kill the process and wait until it has ended."""
        if not self.has_exited:
            try:
                self._process.kill()
            except ProcessLookupError:
                _log.debug("worker %d had already ended", self.pid)
        await self._process.wait()
        for stream in (self._input, self._replies, self._errors):
            await stream.aclose()


def _starts_processes_in_this_thread() -> bool:
    """
    Return whether this is asyncio, which starts processes in the calling thread. Trio uses a helper thread, which ends when it
    has been idle for a while; Linux would report that as the end of the parent (``PR_SET_PDEATHSIG``).
    """
    return anyio.get_cancelled_exc_class() is asyncio.CancelledError


def _environment() -> dict[str, str]:
    """
    Return the environment of a worker: one thread for each numerical library, since several processes share the machine
    (measured 3 times faster), and the import path of this process.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
