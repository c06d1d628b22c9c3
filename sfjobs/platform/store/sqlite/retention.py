"""What of jobs is deleted, and what an account stores, in the platform's SQLite file. The statements are in ``deletion``."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from ...records import DeletedJob, JobRecord
from . import deletion
from .accounts import SQLiteAccounts, now

_MAX_FILES: Final = 100
_KEPT_FREE_PAGES: Final = 256  # 1 MiB that the next jobs need again
_PAGES_IN_ONE_WRITE: Final = 200
_FORGET_AFTER_MICROSECONDS: Final = 7 * 24 * 3600 * 1_000_000


class SQLiteRetention(SQLiteAccounts):
    """The part of a ``JobStore`` that deletes. It notifies the listener of all changes of jobs."""

    _on_change: Callable[[str], None] | None = None

    def stored_bytes(self, account: str) -> int:
        return int(self._database.read("SELECT stored_bytes FROM accounts WHERE id = ?", (account,))[0][0])

    def deleted_jobs(self, account: str, *, after: int, size: int) -> list[DeletedJob]:
        query = "SELECT id, account, change FROM deleted_jobs WHERE account = ? AND change > ? ORDER BY change LIMIT ?"
        return [DeletedJob(*row) for row in self._database.read(query, (account, after, size))]

    def sequence(self, account: str, job_id: str) -> int | None:
        for table in ("jobs", "deleted_jobs"):
            query = f"SELECT sequence FROM {table} WHERE id = ? AND account = ?"  # noqa: S608 - constants
            if rows := self._database.read(query, (job_id, account)):
                return int(rows[0][0])
        return None

    def deleted_results(self) -> list[str]:
        rows = self._database.read("SELECT name FROM deleted_results LIMIT ?", (_MAX_FILES,))
        return [name for (name,) in rows]

    async def delete_job(self, account: str, job_id: str) -> DeletedJob | None:
        deleted = await self._delete(partial(deletion.delete_job, account=account, job_id=job_id, now=now()))
        return deleted[0] if deleted else None

    async def delete_old_jobs(self, before: int) -> int:
        return len(await self._delete(partial(deletion.delete_old_jobs, before=before, now=now())))

    async def delete_old_results(self, before: int) -> int:
        return await self._database.write(partial(deletion.delete_old_results, before=before, now=now()))

    async def forget_deleted_files(self, names: Iterable[str]) -> None:
        await self._database.write(partial(deletion.forget_deleted_files, names=names))

    async def forget_deleted_jobs(self) -> int:
        before = now() - _FORGET_AFTER_MICROSECONDS
        return await self._database.write(partial(deletion.forget_deleted_jobs, before=before))

    async def shrink(self) -> int:
        free = partial(deletion.free_pages, kept=_KEPT_FREE_PAGES, most=_PAGES_IN_ONE_WRITE)
        left = await self._database.write(free)
        if not left:
            await self._database.checkpoint()  # which gives the pages back to the disk
        return left

    async def _delete(self, operation: Callable[[sqlite3.Connection], list[DeletedJob]]) -> list[DeletedJob]:
        return await self._database.write(operation, on_commit=self._notify)

    def _notify(self, changed: Sequence[JobRecord | DeletedJob]) -> None:
        if self._on_change is not None:
            for account in {record.account for record in changed}:
                self._on_change(account)
