"""
Which job runs when: first come, first served, as many at once as the executor has slots. Woken by events, never by a clock.

    open -> queued -> (running: started_at is set) -> complete | failed | cancelled

Everything that must survive is in the store; what is held here is rebuilt from it at start.
"""

from __future__ import annotations

import bisect
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from ...models import JobStatus
from ..execution.executor import ExecutionError, Executor, Run, Work, WorkerLost
from ..records import JobRecord, NewJob
from ..store.jobs import MOST_WORKERS_LOST, Store

T = TypeVar("T")
_RUNS: Final = ""  # the name of the line of jobs that will run; the other lines have the names of their targets
_PAUSE_AFTER_STORE_ERROR: Final = 1.0
_log = logging.getLogger(__name__)


class Target(Protocol):
    """What the scheduler must know of a device."""

    @property
    def engine(self) -> str: ...
    @property
    def status(self) -> str: ...


class Scheduler:
    """An async context manager: inside it jobs run; on leaving, what runs is stopped and waits for the next start."""

    def __init__(self, store: Store, executor: Executor, targets: Mapping[str, Target]) -> None:
        self._store = store
        self._executor = executor
        self._targets = targets
        self._lines: dict[str, list[int]] = {}
        self._waiting: dict[int, str] = {}
        self._running: dict[str, anyio.CancelScope] = {}
        self._arrived: list[str] = []
        self._arrival = anyio.Event()
        self._idle = anyio.Event()
        self.is_draining = False
        self._leaving = anyio.Event()
        self._tasks: TaskGroup

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        for sequence, job_id, target, status in self._store.unfinished():
            if status == JobStatus.OPEN:
                self._arrived.append(job_id)
                self._arrival.set()
            else:
                self._line_up(sequence, job_id, target)
        self._tasks.start_soon(self._admit)
        self._fill_slots()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._leaving.set()
        self._tasks.cancel_scope.cancel()
        return await self._tasks.__aexit__(exc_type, exc, traceback)

    @property
    def running(self) -> tuple[str, ...]:
        """The ids of the jobs that run now."""
        return tuple(self._running)

    async def submit(self, job: NewJob) -> JobRecord:
        """Take a job; it is durable, and ``open``, when this returns."""
        return (await self.submit_all([job]))[0]

    async def submit_all(self, jobs: Sequence[NewJob], *, quota: int | None = None) -> list[JobRecord]:
        """
        Take jobs in one transaction: all of them, or none if the store cannot be written. With ``quota``, only as many, from the
        first on, as leave their account with so many unfinished jobs.
        """
        with anyio.CancelScope(shield=True):  # a job that is written down must also be lined up
            records = await self._store.add_jobs(jobs, quota=quota)
        self._arrived.extend(record.id for record in records)
        self._arrival.set()
        return records

    async def cancel(self, account: str, job_id: str) -> JobRecord | None:
        """
        Ask for a job's end and return it as it is then: ``cancelled`` if it was waiting, ``cancel_pending`` if it ran. None if
        the account has no such job or it has ended.
        """
        record = await self._store.request_cancel(account, job_id)
        if record is None:
            return None
        self._leave_line(record.sequence)
        if record.status == JobStatus.CANCEL_PENDING and job_id in self._running:
            self._running[job_id].cancel()
        return record

    async def drain(self) -> None:
        """Start no job any more and return when none runs. What is cancelled then, by leaving, is put back into the queue."""
        self.is_draining = True
        if self._running:
            await self._idle.wait()

    def position(self, record: JobRecord) -> int | None:
        """How many jobs stand before this one in its line, counted from 1; None if it does not wait."""
        line = self._lines.get(self._line_of(record.target), [])
        place = bisect.bisect_left(line, record.sequence)
        return place + 1 if place < len(line) and line[place] == record.sequence else None

    async def _admit(self) -> None:
        while True:
            await self._arrival.wait()
            self._arrival = anyio.Event()
            arrived, self._arrived = self._arrived, []
            for record in await self._insist(partial(self._store.admit, arrived)):
                self._line_up(record.sequence, record.id, record.target)
            self._fill_slots()

    def _line_up(self, sequence: int, job_id: str, target: str) -> None:
        if target in self._targets and self._targets[target].engine == "always_fails":
            self._tasks.start_soon(self._fail_at_once, job_id)
            return
        bisect.insort(self._lines.setdefault(self._line_of(target), []), sequence)
        self._waiting[sequence] = job_id

    def _line_of(self, target: str) -> str:
        """An offline device, one that never runs anything, and one that is not known any more each have a line of their own."""
        device = self._targets.get(target)
        runs = device is not None and device.engine != "never" and device.status == "online"
        return _RUNS if runs else target

    def _leave_line(self, sequence: int) -> None:
        if self._waiting.pop(sequence, None) is None:
            return
        for line in self._lines.values():
            place = bisect.bisect_left(line, sequence)
            if place < len(line) and line[place] == sequence:
                del line[place]

    def _fill_slots(self) -> None:
        if self.is_draining or self._leaving.is_set():
            return
        line = self._lines.setdefault(_RUNS, [])
        while line and len(self._running) < self._executor.slots:
            job_id = self._waiting.pop(line.pop(0))
            scope = self._running[job_id] = anyio.CancelScope()
            self._tasks.start_soon(self._run, job_id, scope)

    async def _fail_at_once(self, job_id: str) -> None:
        if await self._insist(lambda: self._store.start(job_id)) is not None:
            detail = "this target fails every job, as its name says"
            await self._insist(lambda: self._store.fail(job_id, "always-fails", detail))

    async def _run(self, job_id: str, scope: anyio.CancelScope) -> None:
        again: JobRecord | None = None
        try:
            with scope:
                # Started only when it can run at once: a crash while its worker starts is not to count against the job.
                async with self._executor.acquire_slot() as run:
                    record = None if self.is_draining else await self._insist(lambda: self._store.start(job_id))
                    if record is not None:
                        again = await self._attempt(record, run)
            if scope.cancel_called:
                await self._insist(lambda: self._store.finish_cancel(job_id))
        except _NotWritten as error:
            _log.error("the next start finds job %s as it was, since the store cannot be written: %s", job_id, error)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._put_back(job_id)
            raise
        finally:
            del self._running[job_id]
            if self.is_draining and not self._running:
                self._idle.set()
        if again is not None:
            self._line_up(again.sequence, again.id, again.target)
        self._fill_slots()

    async def _put_back(self, job_id: str) -> None:
        """The platform stops, not the job: it waits for the next start."""
        try:
            if await self._store.put_back(job_id) is None:
                await self._store.finish_cancel(job_id)
        except sqlite3.Error as error:
            _log.error(
                "job %s will be put back by the next start, since the store cannot be written: %s", job_id, error
            )

    async def _attempt(self, record: JobRecord, run: Run) -> JobRecord | None:
        """Run a job that has been started; returns it if it is to run once more."""
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
            if lost < MOST_WORKERS_LOST:
                _log.warning("job %s runs again after attempt %d: %s", record.id, record.attempt, error)
                with anyio.CancelScope(shield=True):
                    return await self._queue_again(record.id, error.detail)
            await self._fail(record.id, error.code, f"given up after {lost} workers were lost: {error.detail}")
        except ExecutionError as error:
            await self._fail(record.id, error.code, error.detail)
        else:
            # From here on the job is complete: a cancellation that comes now is too late and must not lose the result.
            with anyio.CancelScope(shield=True):
                await self._insist(
                    lambda: self._store.complete(record.id, record.attempt, outcome.result, outcome.meta)
                )
        return None

    async def _queue_again(self, job_id: str, reason: str) -> JobRecord | None:
        again = await self._insist(lambda: self._store.queue_again(job_id, reason))
        if again is None:  # a cancellation has come between
            await self._insist(lambda: self._store.finish_cancel(job_id))
        return again

    async def _fail(self, job_id: str, code: str, detail: str) -> None:
        with anyio.CancelScope(shield=True):
            await self._insist(lambda: self._store.fail(job_id, code, detail))

    async def _insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """
        A change that cannot be written now, on a full disk for one, is tried until it can: the alternative is to lose it. Only
        the platform's end is not held up: what ran then runs again. Raises ``_NotWritten``.
        """
        while True:
            try:
                return await write()
            except sqlite3.Error as error:
                if self._leaving.is_set():
                    await anyio.lowlevel.checkpoint()  # the end of whoever may be cancelled
                    raise _NotWritten(str(error)) from error
                _log.error("the store cannot be written, trying again: %s", error)
            with anyio.move_on_after(_PAUSE_AFTER_STORE_ERROR):
                await self._leaving.wait()


class _NotWritten(Exception):
    """The platform ends before a change of a job could be written."""
