"""One started attempt at a job, from its start to the change that ends it. What happens to one job must not end the platform."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import anyio

from ...models import JSONValue
from ..execution.executor import ExecutionError, Outcome, PlatformTrouble, Run, Work, WorkerLost
from ..records import JobRecord
from ..store.interface import JobStore
from .durable_writes import DurableWrites, NotWritten

MAX_LOST_WORKERS: Final = 3
"""Workers that one job may lose."""

INTERNAL_ERROR: Final = "internal-error"
_DETAIL: Final = "the platform failed at this job; its operator finds the reason in the log, under the id of the job"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunAgain:
    """A job that is in the queue again. ``trouble`` is why it did not run: it has to wait for the platform."""

    record: JobRecord
    trouble: PlatformTrouble | None = None


@dataclass(frozen=True, slots=True)
class Attempts:
    """Runs attempts, and writes how they end."""

    store: JobStore
    writes: DurableWrites

    async def run(self, record: JobRecord, run: Run) -> RunAgain | None:
        """
        Run a started job and write its end. Return it if it must run again.

        Raises:
            NotWritten: the platform stops before the end could be written.
        """
        try:
            outcome = await run(self._work(record))
        except WorkerLost as error:
            return await self._lost(record, error)
        except PlatformTrouble as error:
            return await self._set_back(record, error)
        except ExecutionError as error:
            await self._fail(record, error.code, error.detail)
        except sqlite3.OperationalError as error:
            return await self._set_back(record, PlatformTrouble(f"the store cannot be read: {error}"))
        except Exception as error:  # noqa: BLE001 - anything may be wrong with one job
            await self._fail_on(record, error)
        else:
            await self._complete(record, outcome)
        return None

    def _work(self, record: JobRecord) -> Work:
        return Work(
            job_id=record.id,
            attempt=record.attempt,
            target=record.target,
            circuit=self.store.circuit(record.id),
            shots=record.shots,
            seed=record.seed,
        )

    async def _complete(self, record: JobRecord, outcome: Outcome) -> None:
        meta: Mapping[str, JSONValue] = outcome.meta
        # The job is complete: a cancellation that comes now is too late and must not lose the result.
        with anyio.CancelScope(shield=True):
            try:
                await self.writes.repeat(lambda: self.store.complete(record.id, record.attempt, outcome.result, meta))
            except NotWritten:
                raise
            except Exception as error:  # noqa: BLE001 - for instance a ``meta`` that has no JSON
                await self._fail_on(record, error)

    async def _lost(self, record: JobRecord, error: WorkerLost) -> RunAgain | None:
        lost = record.lost + 1
        if lost >= MAX_LOST_WORKERS:
            await self._fail(record, error.code, f"given up after {lost} workers were lost: {error.detail}")
            return None
        _log.warning("job %s runs again after attempt %d: %s", record.id, record.attempt, error)
        with anyio.CancelScope(shield=True):
            waiting = await self.writes.repeat(lambda: self.store.requeue(record.id, record.attempt, error.detail))
            if waiting is None:
                await self.finish_cancel(record)
        return None if waiting is None else RunAgain(waiting)

    async def _set_back(self, record: JobRecord, trouble: PlatformTrouble) -> RunAgain | None:
        _log.warning("job %s did not run and waits for the platform: %s", record.id, trouble.detail)
        with anyio.CancelScope(shield=True):
            waiting = await self.writes.repeat(lambda: self.store.put_back(record.id, record.attempt))
            if waiting is None:
                await self.finish_cancel(record)
        return None if waiting is None else RunAgain(waiting, trouble)

    async def finish_cancel(self, record: JobRecord) -> JobRecord | None:
        """Change a job whose cancellation was requested, and whose attempt has stopped, to cancelled."""
        return await self.writes.repeat(lambda: self.store.finish_cancel(record.id, record.attempt))

    async def put_back(self, job_id: str, attempt: int) -> None:
        """Put a running job back into the queue for the next start of the platform, or finish its cancellation."""
        try:
            if await self.store.put_back(job_id, attempt) is None:
                await self.store.finish_cancel(job_id, attempt)
        except sqlite3.Error as error:
            message = "the next start puts job %s back into the queue, since the store cannot be written: %s"
            _log.error(message, job_id, error)

    async def _fail_on(self, record: JobRecord, error: Exception) -> None:
        _log.error("job %s failed with %s in the platform itself", record.id, type(error).__name__, exc_info=error)
        await self._fail(record, INTERNAL_ERROR, _DETAIL)

    async def _fail(self, record: JobRecord, code: str, detail: str) -> None:
        with anyio.CancelScope(shield=True):
            await self.writes.repeat(lambda: self.store.fail(record.id, record.attempt, code, detail))
