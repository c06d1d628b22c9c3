"""
An executor of worker processes on this machine: one process per slot, started in advance, one job at a time.

Cancelling kills the process and starts another: numerical code cannot be stopped reliably in any other way. The processes are
plain ``python -m`` children and not ``anyio.to_process`` workers. Those import the caller's ``__main__`` again, which would run
a script without ``if __name__ == "__main__"`` a second time in each worker. They also give no control over the environment
(the number of BLAS threads must be set before numpy is imported) and no access to the standard error of the worker.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final, Self

import anyio
from anyio.abc import TaskGroup

from ..limits import DEFAULTS, Limits
from ..results.folder import ResultFolder
from .environment import worker_environment
from .executor import Outcome, PlatformTrouble, Run, Work, WorkFailed
from .replies import Reply
from .result_space import ResultSpace
from .slots import Slot, StartProblems
from .worker_process import WorkerProcess

_WORKER: Final = "sfjobs.platform.execution.worker"
SIMULATE: Final = f"{_WORKER}:simulate_work"
_log = logging.getLogger(__name__)


class ProcessExecutor(anyio.AsyncContextManagerMixin):
    """
    ``workers`` processes that write results into ``folder``. Each worker enforces the ``limits`` of a job; the time limit is
    also enforced here, by killing the worker. ``runner`` is the function that the workers call, as ``module:name``; it takes a
    ``Work`` and returns ``Samples``. What numba compiles is kept beside ``folder`` if it cannot be kept in the installation.
    """

    def __init__(self, folder: Path, *, workers: int = 1, runner: str = SIMULATE, limits: Limits = DEFAULTS) -> None:
        self._command = [sys.executable, "-P", "-m", _WORKER, str(folder), runner, json.dumps(asdict(limits))]
        self._numba_cache = folder.parent / "numba-cache"
        self._results = ResultFolder(folder)
        self._space = ResultSpace(folder)
        self._problems = StartProblems(workers)
        self._slots = [Slot(self._start_worker, self._problems) for _ in range(workers)]
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

    @property
    def worker_problem(self) -> str | None:
        return self._problems.of_all

    async def wait_ready(self) -> None:
        await self._problems.wait_first()

    async def storage_problem(self) -> str | None:
        return await self._space.check()

    def has_room(self, size: int) -> bool:
        return self._space.has_room(size)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        try:
            async with anyio.create_task_group() as self._tasks:
                for slot in self._slots:
                    self._tasks.start_soon(slot.prepare)
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
        try:
            await self._space.wait_writable()
            worker = await slot.ready_worker()
            yield partial(self._run_in, slot, worker)
        finally:
            self._free.append(slot)
            if slot.worker is None:
                self._tasks.start_soon(slot.prepare)

    async def _start_worker(self) -> WorkerProcess:
        return await WorkerProcess.start(self._command, partial(worker_environment, self._numba_cache), self._tasks)

    async def _run_in(self, slot: Slot, worker: WorkerProcess, work: Work) -> Outcome:
        try:
            reply = await worker.run(work, self._time_limit)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await slot.discard(worker)
            self._remove_files_of(work)
            raise
        return self._outcome(reply, work)

    def _outcome(self, reply: Reply, work: Work) -> Outcome:
        if reply.event == "failed":
            raise WorkFailed(reply.code, reply.detail)
        if reply.result is None:  # trouble
            self._space.report(reply.detail)
            raise PlatformTrouble(reply.detail, bytes_needed=reply.bytes_needed)
        if self._results.path(reply.result).stat().st_size != reply.result.size:
            raise OSError(f"the file of the result of job {work.job_id} does not have its size")
        return Outcome(result=reply.result, meta=reply.meta)

    def _remove_files_of(self, work: Work) -> None:
        try:
            self._results.delete(work.result_name)
        except OSError as error:
            message = (
                "files of attempt %d at job %s could not be removed; the next start of the platform removes them: %s"
            )
            _log.warning(message, work.attempt, work.job_id, error)
