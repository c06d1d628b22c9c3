"""
Jobs, durable in one SQLite file. Every change of a job's status is one ``UPDATE`` that names the statuses it may start from, so
a lost race changes nothing and returns None. Who decides about changes is ``scheduler``.

A job that has to run again says so in its ``meta``: ``attempts``, how often it was started until now, and ``rerun_reason``, why
once was not enough. Runs that a clean stop of the platform ended do not count.

Each change of a job takes the next number of one counter, so that "what changed since n, each job at its newest state,
oldest change first" is one query on an index.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ...models import JobStatus, JSONValue
from ..records import JobRecord, KeptAnswer, NewJob, ResultFile
from . import idempotency as claims
from .accounts import Accounts, now
from .database import Parameter

MOST_WORKERS_LOST: Final = 3
"""Workers that one job may take with it."""

MOST_CRASHES: Final = 5
"""
Crashes of the platform that one job may be running in. More than of workers, since they say less against the job: one that is
often killed, or loses power, is not to fail what it runs; one that brings down the machine each time has to end.
"""

_PLATFORM_ENDED: Final = "the platform ended without a stop while it ran this job"
_UNFINISHED: Final = "status IN ('open', 'queued', 'cancel_pending')"
_CANCELLED: Final = "status = 'cancelled', finished = :now"
_FAILED: Final = "status = 'failed', finished = :now, meta = :meta"


class Store(Accounts):
    """What the platform remembers. Reads are inline and show what is committed; writes return when they are durable."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._on_change: Callable[[str], None] | None = None
        try:
            self._database.write_blocking(_recover_jobs)
        except BaseException:
            self.close()
            raise

    # jobs: reading

    def job(self, job_id: str, *, account: str | None = None) -> JobRecord | None:
        """One job; with ``account``, only if it is that account's."""
        rows = self._database.read(
            "SELECT * FROM jobs WHERE id = ? AND account = ifnull(?, account)", (job_id, account)
        )
        return _record(rows[0]) if rows else None

    def jobs(
        self,
        account: str,
        *,
        size: int,
        ids: Sequence[str] = (),
        statuses: Sequence[str] = (),
        before: int | None = None,
    ) -> list[JobRecord]:
        """Up to ``size`` jobs, newest first, of those with one of ``ids`` and ``statuses`` and a sequence below ``before``."""
        # The indexes are named, and statuses are asked one by one, because the planner would rather read every job of the
        # account in order than sort a hundred: 270 ms at 100 000 jobs.
        if ids:
            found = self._page("INDEXED BY jobs_id", account, size=len(ids), ids=ids)
            records = [job for job in found if not statuses or job.status in statuses]
            records = [job for job in records if before is None or job.sequence < before]
        elif statuses:
            records = [
                job
                for status in set(statuses)
                for job in self._page("INDEXED BY jobs_of_status", account, size=size, status=status, before=before)
            ]
        else:
            records = self._page("INDEXED BY jobs_newest", account, size=size, before=before)
        return sorted(records, key=lambda job: job.sequence, reverse=True)[:size]

    def _page(
        self,
        index: str,
        account: str,
        *,
        size: int,
        ids: Sequence[str] = (),
        status: str | None = None,
        before: int | None = None,
    ) -> list[JobRecord]:
        conditions, parameters = ["account = ?"], list[Parameter]([account])
        if ids:
            conditions.append(f"id IN ({', '.join('?' * len(ids))})")
            parameters.extend(ids)
        if status is not None:
            conditions.append("status = ?")
            parameters.append(status)
        if before is not None:
            conditions.append("sequence < ?")
            parameters.append(before)
        where = " AND ".join(conditions)
        query = f"SELECT * FROM jobs {index} WHERE {where} ORDER BY sequence DESC LIMIT ?"  # noqa: S608 - only literals above
        return [_record(row) for row in self._database.read(query, [*parameters, size])]

    def circuit(self, job_id: str) -> str:
        """The program of a job that exists, exactly as it was submitted."""
        text: str = self._database.read("SELECT circuit FROM circuits WHERE job = ?", (job_id,))[0]["circuit"]
        return text

    def kept_answer(self, account: str, key: str) -> KeptAnswer | None:
        """What was answered to the account's submission with this idempotency key."""
        query = "SELECT fingerprint, job, answer FROM idempotency_keys WHERE account = ? AND key = ?"
        rows = self._database.read(query, (account, key))
        return claims.kept_answer(rows[0]) if rows else None

    def unfinished_of(self, account: str) -> int:
        """How many jobs of the account have not ended."""
        count: int = self._database.read("SELECT unfinished FROM accounts WHERE id = ?", (account,))[0]["unfinished"]
        return count

    def result_names(self) -> set[str]:
        """The files of all results there are."""
        query = "SELECT json_extract(result, '$.name') AS name FROM jobs WHERE result IS NOT NULL"
        return {row["name"] for row in self._database.read(query)}

    def unfinished(self) -> list[tuple[int, str, str, JobStatus]]:
        """Sequence, id, target and status of every job that has not ended, oldest first."""
        query = f"SELECT sequence, id, target, status FROM jobs WHERE {_UNFINISHED} ORDER BY sequence"  # noqa: S608 - a constant
        rows = self._database.read(query)
        return [(row["sequence"], row["id"], row["target"], JobStatus(row["status"])) for row in rows]

    # jobs: what has changed

    def on_change(self, listener: Callable[[str], None]) -> None:
        """``listener`` is told the account after each commit of a change of its jobs, on any thread. There is one listener."""
        self._on_change = listener

    def newest_change(self) -> int:
        """The number of the newest change of any job; 0 if there has been none."""
        value: int = self._database.read("SELECT value FROM meta WHERE key = 'changes'")[0]["value"]
        return value

    def changes(self, account: str, *, after: int, size: int) -> list[JobRecord]:
        """Up to ``size`` jobs of the account that have changed since that change, the one whose last change is oldest first."""
        query = "SELECT * FROM jobs INDEXED BY jobs_changed WHERE account = ? AND change > ? ORDER BY change LIMIT ?"
        return [_record(row) for row in self._database.read(query, (account, after, size))]

    # jobs: changing

    async def add_job(self, job: NewJob) -> JobRecord:
        """Write down a new job as ``open``."""
        return (await self.add_jobs([job]))[0]

    async def add_jobs(self, jobs: Sequence[NewJob], *, quota: int | None = None) -> list[JobRecord]:
        """
        Write down new jobs as ``open``, and the answers to those that have an idempotency key: all of it, or nothing. With
        ``quota``, only as many, from the first on, as leave their account with so many unfinished jobs.
        """

        def operation(db: sqlite3.Connection) -> list[JobRecord]:
            added = (_add(db, job, quota) for job in jobs)
            return [record for record in added if record is not None]

        return await self._write(operation)

    async def admit(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """``open`` jobs become ``queued``; those that are no longer open are left out of the answer."""

        def operation(db: sqlite3.Connection) -> list[JobRecord]:
            admitted = (_change(db, job_id, "status = 'queued'", "status = 'open'") for job_id in job_ids)
            return [record for record in admitted if record is not None]

        return await self._write(operation)

    async def start(self, job_id: str) -> JobRecord | None:
        """A queued job begins to run: one more attempt."""
        assignments = "started = :now, attempt = attempt + 1"
        return await self._change(job_id, assignments, "status = 'queued' AND started IS NULL", now=now())

    async def complete(
        self, job_id: str, attempt: int, result: ResultFile, meta: Mapping[str, JSONValue]
    ) -> JobRecord | None:
        """The running attempt ends with a result. It wins over a cancellation that has not been carried out."""
        return await self._change(
            job_id,
            "status = 'complete', finished = :now, result = :result, meta = :meta",
            "status IN ('queued', 'cancel_pending') AND started IS NOT NULL AND attempt = :attempt",
            now=now(),
            result=json.dumps({name: getattr(result, name) for name in ResultFile.__slots__}),
            meta=json.dumps(dict(meta)),
            attempt=attempt,
        )

    async def fail(self, job_id: str, code: str, detail: str) -> JobRecord | None:
        """An unfinished job ends without a result; the reason goes into its ``meta``."""
        return await self._change(job_id, _FAILED, _UNFINISHED, now=now(), meta=_reason(code, detail))

    async def queue_again(self, job_id: str, reason: str) -> JobRecord | None:
        """A running job waits again, because its worker was lost."""
        assignments = "started = NULL, lost = lost + 1, rerun = :reason"
        return await self._change(job_id, assignments, "status = 'queued' AND started IS NOT NULL", reason=reason)

    async def put_back(self, job_id: str) -> JobRecord | None:
        """A running job waits again, because the platform is being stopped. The attempt does not count."""
        assignments = "started = NULL, attempt = attempt - 1"
        return await self._change(job_id, assignments, "status = 'queued' AND started IS NOT NULL")

    async def request_cancel(self, account: str, job_id: str) -> JobRecord | None:
        """
        A waiting job becomes ``cancelled``, a running one ``cancel_pending``; returns the job as it is then. None if the account
        has no such job or it has ended.
        """

        def operation(db: sqlite3.Connection) -> list[JobRecord]:
            waiting = "status IN ('open', 'queued') AND started IS NULL AND account = :account"
            running = "status IN ('queued', 'cancel_pending') AND account = :account"
            changed = _change(db, job_id, _CANCELLED, waiting, now=now(), account=account) or _change(
                db, job_id, "status = 'cancel_pending'", running, account=account
            )
            return [] if changed is None else [changed]

        return next(iter(await self._write(operation)), None)

    async def finish_cancel(self, job_id: str) -> JobRecord | None:
        """The work of a ``cancel_pending`` job has stopped."""
        return await self._change(job_id, _CANCELLED, "status = 'cancel_pending'", now=now())

    async def _change(self, job_id: str, assignments: str, condition: str, **values: Parameter) -> JobRecord | None:
        def operation(db: sqlite3.Connection) -> list[JobRecord]:
            changed = _change(db, job_id, assignments, condition, **values)
            return [] if changed is None else [changed]

        return next(iter(await self._write(operation)), None)

    async def _write(self, operation: Callable[[sqlite3.Connection], list[JobRecord]]) -> list[JobRecord]:
        """Change jobs; those that were changed are returned, and told to the listener."""
        return await self._database.write(operation, on_commit=self._tell)

    def _tell(self, changed: list[JobRecord]) -> None:
        if self._on_change is not None:
            for account in {record.account for record in changed}:
                self._on_change(account)


def _add(db: sqlite3.Connection, job: NewJob, quota: int | None) -> JobRecord | None:
    counting = "UPDATE accounts SET unfinished = unfinished + 1 WHERE id = ? AND unfinished < ifnull(?, unfinished + 1)"
    if not db.execute(counting, (job.account, quota)).rowcount:
        return None
    row = db.execute(
        "INSERT INTO jobs (id, account, name, target, language, shots, seed, status, created, change)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 'open', ?, ?) RETURNING *",
        (job.id, job.account, job.name, job.target, job.language, job.shots, job.seed, now(), _next_change(db)),
    ).fetchone()
    db.execute("INSERT INTO circuits VALUES (?, ?)", (job.id, job.circuit))
    record = _record(row)
    if job.claim is not None:
        claims.keep(db, job.claim, record)
    return record


def _change(
    db: sqlite3.Connection, job_id: str, assignments: str, condition: str, **values: Parameter
) -> JobRecord | None:
    """Change a job if ``condition`` holds, else nothing: then another change came first, and None says so."""
    query = f"UPDATE jobs SET {assignments}, change = :change WHERE id = :id AND ({condition}) RETURNING *"  # noqa: S608 - callers pass literals
    row = db.execute(query, {**values, "id": job_id, "change": _next_change(db)}).fetchone()
    if row is None:
        return None
    record = _record(row)
    if record.status.is_final:  # it was not before: no condition lets a job change that has ended
        db.execute("UPDATE accounts SET unfinished = unfinished - 1 WHERE id = ?", (record.account,))
    return record


def _next_change(db: sqlite3.Connection) -> int:
    value: int = db.execute("UPDATE meta SET value = value + 1 WHERE key = 'changes' RETURNING value").fetchone()[0]
    return value


def _recover_jobs(db: sqlite3.Connection) -> None:
    """After a crash nobody works on any job any more: what was running waits again, what was being stopped has stopped."""
    db.execute(
        f"UPDATE accounts SET unfinished = (SELECT count(*) FROM jobs WHERE account = accounts.id AND {_UNFINISHED})"  # noqa: S608 - a constant
    )
    running = db.execute(
        f"SELECT id, attempt - lost, status FROM jobs WHERE {_UNFINISHED} AND (status = 'cancel_pending' OR started IS NOT NULL)"  # noqa: S608 - a constant
    ).fetchall()
    for job_id, crashes, status in running:
        if status == JobStatus.CANCEL_PENDING:
            _change(db, job_id, _CANCELLED, "TRUE", now=now())
        elif crashes >= MOST_CRASHES:
            detail = f"given up: {_PLATFORM_ENDED}, and that {crashes} times"
            _change(db, job_id, _FAILED, "TRUE", now=now(), meta=_reason("platform-lost", detail))
        else:
            _change(db, job_id, "started = NULL, rerun = :reason", "TRUE", reason=_PLATFORM_ENDED)


def _reason(code: str, detail: str) -> str:
    return json.dumps({"error-code": code, "error-detail": detail})


def _record(row: sqlite3.Row) -> JobRecord:
    again = {} if row["rerun"] is None else {"attempts": row["attempt"], "rerun_reason": row["rerun"]}
    return JobRecord(
        sequence=row["sequence"],
        id=row["id"],
        account=row["account"],
        name=row["name"],
        target=row["target"],
        language=row["language"],
        shots=row["shots"],
        seed=row["seed"],
        status=JobStatus(row["status"]),
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        meta={**json.loads(row["meta"]), **again},
        attempt=row["attempt"],
        lost=row["lost"],
        change=row["change"],
        result=None if row["result"] is None else ResultFile(**json.loads(row["result"])),
    )
