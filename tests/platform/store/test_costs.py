"""
The cost of reads and of deletions with few and with many jobs, as instructions of the virtual machine of SQLite: the speed and
the load of the machine do not matter.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from sfjobs.platform.store.sqlite import database
from sfjobs.platform.store.sqlite.jobs import SQLiteStore

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

FEW, MANY = 2_000, 20_000
PAGE = 100

FILL = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
INSERT INTO jobs (id, account, target, language, shots, seed, circuit_bytes, status, created, finished, change, result)
SELECT printf('job-%d', n), iif(n % 2, :account, :other), 'never', 'blackbird:1.0', 4, n, 1,
    CASE n % 8 WHEN 0 THEN 'failed' WHEN 1 THEN 'complete' WHEN 2 THEN 'cancelled' ELSE 'queued' END, n,
    iif(n % 8 < 3, n, NULL), n, iif(n % 8 = 1, json_object('name', 'result-' || n, 'size', 1,
        'digest', '', 'npy_offset', 0, 'npy_size', 0, 'npy_digest', ''), NULL)
FROM numbers
"""


def fill(path: Path, count: int) -> str:
    """Make a file with so many jobs, half of them of the account that is returned, and half as many deleted jobs."""
    with closing(SQLiteStore(path)) as store:
        account, other = store.ensure_account("someone"), store.ensure_account("another")
    with closing(sqlite3.connect(path)) as db:
        db.execute(FILL, {"count": count, "account": account, "other": other})
        db.execute("INSERT INTO circuits SELECT id, 'x' FROM jobs")
        deleted = [(account, count + n, f"deleted-{n}", count + n) for n in range(count // 2)]
        db.executemany("INSERT INTO deleted_jobs VALUES (?, ?, ?, ?, 1)", deleted)
        db.commit()
    return account


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, str]]:
    """Return a file with few jobs and one with many, by their number, with the account that they are of."""
    paths = {count: tmp_path_factory.mktemp("costs") / f"db-{count}" for count in (FEW, MANY)}
    return {count: (path, fill(path, count)) for count, path in paths.items()}


class Steps:
    """Counts what SQLite does on all connections that are opened while it exists."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.total = 0
        connect = database.connect

        def counting_connect(path: Path) -> sqlite3.Connection:
            connection = connect(path)
            connection.set_progress_handler(self._count, 1)
            return connection

        monkeypatch.setattr(database, "connect", counting_connect)

    def _count(self) -> int:
        self.total += 1
        return 0


Read = Callable[[SQLiteStore, str, int], object]
READS: dict[str, Read] = {
    "newest jobs": lambda store, account, _: store.jobs(account, size=PAGE),
    "jobs in the middle": lambda store, account, count: store.jobs(account, size=PAGE, before=count // 2),
    "failed jobs of one who has none": lambda store, account, _: store.jobs(account, size=PAGE, statuses=["failed"]),
    "complete and queued jobs": lambda store, account, _: store.jobs(
        account, size=PAGE, statuses=["complete", "queued"]
    ),
    "jobs by id": lambda store, account, _: store.jobs(account, size=PAGE, ids=[f"job-{n}" for n in range(PAGE)]),
    "the first changes": lambda store, account, _: store.changes(account, after=0, size=50),
    "the last changes": lambda store, account, count: store.changes(account, after=count - 100, size=50),
    "deleted jobs": lambda store, account, count: store.deleted_jobs(account, after=count, size=50),
    "the sequence of a deleted job": lambda store, account, _: store.sequence(account, "deleted-7"),
    "unfinished jobs": lambda store, account, _: store.count_unfinished(account),
    "stored bytes": lambda store, account, _: store.stored_bytes(account),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_read_costs_the_same_with_few_and_with_many_jobs(
    files: dict[int, tuple[Path, str]], monkeypatch: pytest.MonkeyPatch, read: Read
) -> None:
    steps, costs = Steps(monkeypatch), []
    for count, (path, account) in files.items():
        with closing(SQLiteStore(path)) as store:
            before = steps.total
            read(store, account, count)
            costs.append(steps.total - before)
    few, many = costs
    assert 0 < many <= 1.3 * few + 50, costs


async def test_a_step_of_deletion_costs_the_same_with_few_and_with_many_jobs(
    files: dict[int, tuple[Path, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps, costs = Steps(monkeypatch), []
    for count, (path, _) in files.items():
        shutil.copy(path, tmp_path / path.name)
        with closing(SQLiteStore(tmp_path / path.name)) as store:
            totals = [steps.total]
            for deleted in (store.delete_old_results(count), store.delete_old_jobs(count), store.forget_deleted_jobs()):
                assert await deleted > 0
                totals.append(steps.total)
            costs.append([later - earlier for earlier, later in pairwise(totals)])
    # The file with few jobs has fewer deleted ones than a step forgets.
    for few, many, factor in zip(*costs, (1.3, 1.3, 4.0), strict=True):
        assert 0 < many <= factor * few + 200, costs
