"""
Run the waiting jobs in the order of ``job_queue``, as many at the same time as the executor has slots. A job is chosen when a
slot can run it at once. Events wake the scheduler; only pauses of targets, which another process may write, are read once a
second, and a timer is used after trouble of the platform.

    open -> queued -> (running: started_at is set) -> complete | failed | cancelled

The store has the state that must survive. The queue here is rebuilt from it at start.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

import anyio
from anyio.abc import TaskGroup

from ...models import JobStatus
from ..devices import TargetDevice
from ..execution.executor import Executor, retry_delay
from ..records import JobRecord, NewJob, QueuedJob
from ..store.interface import JobStore
from .attempt import Attempts, RunAgain
from .durable_writes import DurableWrites, NotWritten
from .fair_share import HALF_LIFE_SECONDS, FairShare
from .job_queue import JobQueue
from .target_status import TargetStatus

_PAUSES_INTERVAL_SECONDS: Final = 1.0
_USE_WINDOW_SECONDS: Final = 10 * HALF_LIFE_SECONDS  # what was used before counts less than a thousandth
_NO_WORKER: Final = "the platform cannot start a worker now, and tries again"
_SET_BACK: Final = "the platform could not run it, or has no room for its result, and tries again"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Running:
    """A job that was chosen to run, and the number of its attempt once it has started."""

    scope: anyio.CancelScope
    attempt: int | None = None


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
        self._running: dict[str, _Running] = {}
        self._claims: set[anyio.CancelScope] = set()  # the tasks that wait for a slot, to run the job that is next then
        self._setbacks: dict[str, int] = {}  # attempts in a row that ended with trouble of the platform, by job id
        self._submitted: list[str] = []
        self._submission = anyio.Event()
        self._idle = anyio.Event()
        self._writes = DurableWrites()
        self._attempts = Attempts(store, self._writes)
        self.is_draining = False
        self.held: str | None = None
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
                self._writes.stop()
                self._tasks.cancel_scope.cancel()

    @property
    def running(self) -> tuple[str, ...]:
        """The ids of the running jobs."""
        return tuple(self._running)

    @property
    def worker_problem(self) -> str | None:
        """Why no worker can be started, None if one can."""
        return self._executor.worker_problem

    async def storage_problem(self) -> str | None:
        """Why results cannot be stored now, None if they can."""
        return await self._executor.storage_problem()

    @property
    def store_problem(self) -> str | None:
        """Why changes of jobs cannot be written now, None if they can."""
        return self._writes.problem

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
            self._running[job_id].scope.cancel()
        return record

    def hold(self, reason: str) -> None:
        """Start no job until ``release``; running ones go on. Jobs that wait show the reason."""
        self.held = reason

    def release(self) -> None:
        """Start jobs again."""
        self.held = None
        self._fill_slots()

    async def drain(self) -> None:
        """
        Start no more jobs, and return when none runs. If the whole platform is killed from now on, attempts do not count.
        """
        self.is_draining = True
        try:
            await self._store.announce_stop()
        except sqlite3.Error as error:
            _log.error("the stop cannot be noted; a job that is killed before its end counts an attempt: %s", error)
        if self._running:
            await self._idle.wait()

    async def put_back_running(self) -> None:
        """Put all running jobs back into the queue, durably, and stop their attempts."""
        self.is_draining = True
        self._writes.stop()
        async with anyio.create_task_group() as tasks:
            for job_id, running in self._running.items():
                if running.attempt is not None:
                    tasks.start_soon(self._attempts.put_back, job_id, running.attempt)
        for running in self._running.values():
            running.scope.cancel()

    def position(self, record: JobRecord) -> int | None:
        """Return the place of a job in the queue, counted from 1; see ``JobQueue.position``. None if it does not wait."""
        return self._queue.position(record.sequence)

    def reason(self, record: JobRecord) -> str | None:
        """Return why a job that waits does not start although slots may be free, or None."""
        if self._queue.position(record.sequence) is None:
            is_set_back = record.id in self._setbacks and record.id not in self._running
            return _SET_BACK if is_set_back and not record.status.is_final else None
        reason = self.held or self.targets.reason(record.target) or self._queue.limit_reason(record.account)
        return reason or (None if self.worker_problem is None else _NO_WORKER)

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
            for record in await self._write_queued(submitted):
                self._enqueue(record.queued)
            self._fill_slots()

    async def _write_queued(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Change new jobs to ``queued``, all in one transaction, or one by one if there is something wrong with one of them."""
        try:
            return await self._writes.repeat(partial(self._store.enqueue, job_ids))
        except NotWritten:
            return []
        except Exception:  # noqa: BLE001 - one job must not keep the others
            if len(job_ids) == 1:
                _log.exception("job %s cannot be queued; the next start tries it again", job_ids[0])
                return []
        return [record for job_id in job_ids for record in await self._write_queued([job_id])]

    def _enqueue(self, job: QueuedJob) -> None:
        if job.target in self._devices and self._devices[job.target].engine == "always_fails":
            self._tasks.start_soon(self._fail_at_once, job.id)
        else:
            self._queue.add(job)

    def _fill_slots(self) -> None:
        if self.is_draining or self.held is not None or self._writes.is_stopping:
            return
        if not self._queue.has_next():
            return
        # For each free slot, also for one job: which slot can start it first is known only then.
        while len(self._claims) + len(self._running) < self._executor.slots:
            claim = anyio.CancelScope()
            self._claims.add(claim)
            self._tasks.start_soon(self._run_next, claim)

    async def _fail_at_once(self, job_id: str) -> None:
        try:
            record = await self._writes.repeat(partial(self._store.start, job_id))
            if record is not None:
                detail = "this target fails every job, as its name says"
                fail = partial(self._store.fail, job_id, record.attempt, "always-fails", detail)
                await self._writes.repeat(fail)
        except Exception:  # noqa: BLE001 - it is one job's
            _log.exception("job %s keeps its status until the next start", job_id)

    async def _run_next(self, scope: anyio.CancelScope) -> None:
        """Wait for a slot, and run the job that is next then."""
        record: JobRecord | None = None
        again: RunAgain | None = None
        try:
            with scope:
                # Started only when it can run at once: a crash while its worker starts must not count against the job.
                async with self._executor.acquire_slot() as run:
                    self._claims.discard(scope)
                    record = await self._start_next(scope)
                    if record is not None:
                        again = await self._attempts.run(record, run)
            if record is not None and scope.cancel_called and await self._attempts.finish_cancel(record) is None:
                await self._attempts.put_back(record.id, record.attempt)  # it was no cancellation but a stop
        except NotWritten as error:
            message = "job %s keeps its old status until the next start, since the store cannot be written: %s"
            _log.error(message, record and record.id, error)
        except anyio.get_cancelled_exc_class():
            if record is not None:
                with anyio.CancelScope(shield=True):
                    await self._attempts.put_back(record.id, record.attempt)
            raise
        except Exception:  # noqa: BLE001 - it is one job's
            _log.exception("job %s keeps its status until the next start of the platform", record and record.id)
            await anyio.sleep(retry_delay(1))  # the next job may meet the same
        finally:
            self._claims.discard(scope)
            self._ended(record, again)
        self._fill_slots()

    async def _start_next(self, scope: anyio.CancelScope) -> JobRecord | None:
        """Start an attempt at the job that is next. None if no job can run."""
        while not self.is_draining and self.held is None and (job := self._queue.start_next()) is not None:
            running = self._running[job.id] = _Running(scope)
            try:
                with anyio.CancelScope(shield=True):  # otherwise the number of a started attempt could be lost
                    record = await self._writes.repeat(partial(self._store.start, job.id))
                if record is not None:
                    running.attempt = record.attempt
                    self._share.start(job.account, job.id, job.target)  # from now on, it uses its slot
                    return record
            except NotWritten:
                _log.error("job %s waits for the next start of the platform, since the store cannot be written", job.id)
                return None
            except Exception:  # noqa: BLE001 - it is one job's
                _log.exception("job %s cannot be started; the next start of the platform tries it again", job.id)
            finally:
                if running.attempt is None:  # for instance, it was cancelled in the meantime
                    del self._running[job.id]
                    self._share.end(job.account, job.id, is_charged=False)
        return None

    def _ended(self, record: JobRecord | None, again: RunAgain | None) -> None:
        if record is not None:
            del self._running[record.id]
            self._share.end(record.account, record.id, is_charged=again is None or again.trouble is None)
            if again is None:
                self._setbacks.pop(record.id, None)
            elif again.trouble is None:
                self._enqueue(again.record.queued)
            else:
                self._tasks.start_soon(self._enqueue_later, again.record, again.trouble.bytes_needed)
        if self.is_draining and not self._running:
            self._idle.set()

    async def _enqueue_later(self, record: JobRecord, bytes_needed: int) -> None:
        """
        Queue a job again after trouble of the platform, at once for the first time and then after 1 to 60 s, and when the disk
        has room for its result. Meanwhile other jobs run.
        """
        setbacks = self._setbacks[record.id] = self._setbacks.get(record.id, 0) + 1
        await anyio.sleep(retry_delay(setbacks - 1))
        while bytes_needed and not self._executor.has_room(bytes_needed):  # noqa: ASYNC110 - a disk tells no one
            await anyio.sleep(retry_delay(setbacks))
        waiting = self._store.job(record.id)
        if waiting is None or waiting.status != JobStatus.QUEUED:  # it was cancelled in the meantime
            self._setbacks.pop(record.id, None)
            return
        self._enqueue(record.queued)
        self._fill_slots()
