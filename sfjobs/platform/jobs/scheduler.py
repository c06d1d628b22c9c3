"""
Run the waiting jobs in the order of ``job_queue``, as many at the same time as the executor has slots. Events wake the scheduler;
only pauses of targets, which another process may write, are read once a second.

    open -> queued -> (running: started_at is set) -> complete | failed | cancelled

The store has the state that must survive. The queue here is rebuilt from it at start.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Self, TypeVar

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from ...models import JobStatus
from ..devices import TargetDevice
from ..execution.executor import ExecutionError, Executor, Run, Work, WorkerLost
from ..records import JobRecord, NewJob, QueuedJob
from ..store.interface import JobStore
from .fair_share import HALF_LIFE_SECONDS, FairShare
from .job_queue import JobQueue
from .target_status import TargetStatus

T = TypeVar("T")
MAX_LOST_WORKERS: Final = 3
"""Workers that one job may lose."""

_STORE_RETRY_SECONDS: Final = 1.0
_PAUSES_INTERVAL_SECONDS: Final = 1.0
_USE_WINDOW_SECONDS: Final = 10 * HALF_LIFE_SECONDS  # what was used before counts less than a thousandth
_log = logging.getLogger(__name__)


class Scheduler(anyio.AsyncContextManagerMixin):
    """An async context manager. Jobs run inside it; on exit, running jobs are stopped and put back into the queue."""

    def __init__(
        self,
        store: JobStore,
        executor: Executor,
        devices: Mapping[str, TargetDevice],
        *,
        running_limit: int | None = None,
    ) -> None:
        self._store = store
        self._executor = executor
        self._devices = devices
        self.targets = TargetStatus(devices, store)
        since = time.time_ns() // 1000 - int(_USE_WINDOW_SECONDS * 1e6)
        self._share = FairShare.of_ended_jobs(anyio.current_time, store.slot_seconds(since))
        self._queue = JobQueue(self._share, self.targets.runs, running_limit=running_limit)
        self._running: dict[str, anyio.CancelScope] = {}
        self._submitted: list[str] = []
        self._submission = anyio.Event()
        self._idle = anyio.Event()
        self.is_draining = False
        self._stopping = anyio.Event()
        self._tasks: TaskGroup

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        async with anyio.create_task_group() as self._tasks:
            for job, status in self._store.unfinished_jobs():
                if status == JobStatus.OPEN:
                    self._submitted.append(job.id)
                    self._submission.set()
                else:
                    self._enqueue(job)
            self._tasks.start_soon(self._enqueue_submitted)
            self._tasks.start_soon(self._follow_pauses)
            self._fill_slots()
            try:
                yield self
            finally:
                self._stopping.set()
                self._tasks.cancel_scope.cancel()

    @property
    def running(self) -> tuple[str, ...]:
        """The ids of the running jobs."""
        return tuple(self._running)

    async def submit(self, jobs: Sequence[NewJob], *, quota: int | None = None) -> list[JobRecord]:
        """
        Store jobs as ``open`` in one transaction, and queue them; see ``JobStore.add_jobs`` for ``quota``. They are durable when
        this returns.
        """
        with anyio.CancelScope(shield=True):  # a stored job must also be queued
            records = await self._store.add_jobs(jobs, quota=quota)
        self._submitted.extend(record.id for record in records)
        self._submission.set()
        return records

    async def cancel(self, account: str, job_id: str) -> JobRecord | None:
        """
        Cancel a job and return it: ``cancelled`` if it was waiting, ``cancel_pending`` if it was running. None if the account has
        no such job or it has ended.
        """
        record = await self._store.request_cancel(account, job_id)
        if record is None:
            return None
        self._queue.remove(record.sequence)
        if record.status == JobStatus.CANCEL_PENDING and job_id in self._running:
            self._running[job_id].cancel()
        return record

    async def drain(self) -> None:
        """Start no more jobs, and return when none runs."""
        self.is_draining = True
        if self._running:
            await self._idle.wait()

    def position(self, record: JobRecord) -> int | None:
        """Return the place of a job in the queue, counted from 1; see ``JobQueue.position``. None if it does not wait."""
        return self._queue.position(record.sequence)

    def reason(self, record: JobRecord) -> str | None:
        """Return why a job in the queue does not start although slots may be free, or None."""
        if self._queue.position(record.sequence) is None:
            return None
        return self.targets.reason(record.target) or self._queue.limit_reason(record.account)

    async def _follow_pauses(self) -> None:
        """Notice pauses that begin and end. Another process may write them."""
        while True:
            await anyio.sleep(_PAUSES_INTERVAL_SECONDS)
            try:
                if self.targets.refresh():
                    self._fill_slots()
            except sqlite3.Error as error:
                _log.error(
                    "the pauses of targets cannot be read, retrying in %g s: %s", _PAUSES_INTERVAL_SECONDS, error
                )

    async def _enqueue_submitted(self) -> None:
        while True:
            await self._submission.wait()
            self._submission = anyio.Event()
            submitted, self._submitted = self._submitted, []
            for record in await self._write(partial(self._store.enqueue, submitted)):
                self._enqueue(record.queued)
            self._fill_slots()

    def _enqueue(self, job: QueuedJob) -> None:
        if job.target in self._devices and self._devices[job.target].engine == "always_fails":
            self._tasks.start_soon(self._fail_at_once, job.id)
        else:
            self._queue.add(job)

    def _fill_slots(self) -> None:
        if self.is_draining or self._stopping.is_set():
            return
        while len(self._running) < self._executor.slots and (job := self._queue.start_next()) is not None:
            scope = self._running[job.id] = anyio.CancelScope()
            self._tasks.start_soon(self._run, job, scope)

    async def _fail_at_once(self, job_id: str) -> None:
        if await self._write(lambda: self._store.start(job_id)) is not None:
            detail = "this target fails every job, as its name says"
            await self._write(lambda: self._store.fail(job_id, "always-fails", detail))

    async def _run(self, job: QueuedJob, scope: anyio.CancelScope) -> None:
        job_id = job.id
        requeued: JobRecord | None = None
        has_started = False
        try:
            with scope:
                # Started only when it can run at once: a crash while its worker starts must not count against the job.
                async with self._executor.acquire_slot() as run:
                    record = None if self.is_draining else await self._write(lambda: self._store.start(job_id))
                    if record is not None:
                        has_started = True
                        self._share.start(job.account, job_id, job.target)
                        requeued = await self._run_attempt(record, run)
            if scope.cancel_called:
                await self._write(lambda: self._store.finish_cancel(job_id))
        except _NotWritten as error:
            _log.error(
                "job %s keeps its old status until the next start, since the store cannot be written: %s", job_id, error
            )
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._put_back(job_id)
            raise
        finally:
            del self._running[job_id]
            self._share.end(job.account, job_id, is_charged=has_started)
            if self.is_draining and not self._running:
                self._idle.set()
        if requeued is not None:
            self._enqueue(requeued.queued)
        self._fill_slots()

    async def _put_back(self, job_id: str) -> None:
        """Put a running job back into the queue for the next start of the platform."""
        try:
            if await self._store.put_back(job_id) is None:
                await self._store.finish_cancel(job_id)
        except sqlite3.Error as error:
            _log.error(
                "the next start puts job %s back into the queue, since the store cannot be written: %s", job_id, error
            )

    async def _run_attempt(self, record: JobRecord, run: Run) -> JobRecord | None:
        """Run a started job. Return it if it must run again."""
        work = Work(
            job_id=record.id,
            attempt=record.attempt,
            target=record.target,
            circuit=self._store.circuit(record.id),
            shots=record.shots,
            seed=record.seed,
        )
        try:
            outcome = await run(work)
        except WorkerLost as error:
            lost = record.lost + 1
            if lost < MAX_LOST_WORKERS:
                _log.warning("job %s runs again after attempt %d: %s", record.id, record.attempt, error)
                with anyio.CancelScope(shield=True):
                    return await self._requeue(record.id, error.detail)
            await self._fail(record.id, error.code, f"given up after {lost} workers were lost: {error.detail}")
        except ExecutionError as error:
            await self._fail(record.id, error.code, error.detail)
        else:
            # The job is complete: a cancellation that comes now is too late and must not lose the result.
            with anyio.CancelScope(shield=True):
                await self._write(lambda: self._store.complete(record.id, record.attempt, outcome.result, outcome.meta))
        return None

    async def _requeue(self, job_id: str, reason: str) -> JobRecord | None:
        requeued = await self._write(lambda: self._store.requeue(job_id, reason))
        if requeued is None:  # it was cancelled in the meantime
            await self._write(lambda: self._store.finish_cancel(job_id))
        return requeued

    async def _fail(self, job_id: str, code: str, detail: str) -> None:
        with anyio.CancelScope(shield=True):
            await self._write(lambda: self._store.fail(job_id, code, detail))

    async def _write(self, write: Callable[[], Awaitable[T]]) -> T:
        """
        Repeat a write until it succeeds, for instance on a full disk: otherwise the change of the job would be lost. Raises
        ``_NotWritten`` when the platform stops; the jobs that ran then run again.
        """
        while True:
            try:
                return await write()
            except sqlite3.Error as error:
                if self._stopping.is_set():
                    await anyio.lowlevel.checkpoint()  # raises in a task that is cancelled
                    raise _NotWritten(str(error)) from error
                _log.error("the store cannot be written, retrying in %g s: %s", _STORE_RETRY_SECONDS, error)
            with anyio.move_on_after(_STORE_RETRY_SECONDS):
                await self._stopping.wait()


class _NotWritten(Exception):
    """The platform stops before a change of a job could be written."""
