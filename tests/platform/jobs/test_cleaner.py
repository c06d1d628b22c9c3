"""Retention: what is deleted when, in virtual time; and in a store with files, what is left."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import anyio
import pytest

from sfjobs.errors import ConfigurationError
from sfjobs.platform.jobs import cleaner as cleaner_module
from sfjobs.platform.jobs.cleaner import CLOCK_HOLD_SECONDS, Cleaner
from sfjobs.platform.limits import Retention, parse_duration
from sfjobs.platform.results.folder import ResultFolder
from sfjobs.platform.results.interface import ResultStore
from sfjobs.platform.store.interface import JobStore
from sfjobs.platform.store.sqlite import deletion
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.stand_ins import ARRAY, add_job, new_job

DAY = 86400.0
real_store = [pytest.mark.real_time, pytest.mark.asyncio_only]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30d", 30 * DAY),
        ("12h", 43200),
        ("90m", 5400),
        ("45s", 45),
        ("2w", 14 * DAY),
        ("1.5h", 5400),
        (" 30D ", 30 * DAY),
    ],
)
def test_a_duration_has_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_never_is_no_duration() -> None:
    assert parse_duration("never") is None


@pytest.mark.parametrize(
    "text", ["", "30", "d", "0d", "-1d", "1y", "1d2h", "nan", "inf", "1e3d", "٣d", "1 d", "forever"]
)
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigurationError, match="30d, 12h"):
        parse_duration(text)


@pytest.mark.parametrize("settings", [{"jobs": 0.0}, {"results": -1.0}, {"jobs": float("nan")}, {"free_disk": -1}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Retention(**settings)


# in virtual time


class CountedStore:
    """Jobs and results that are only their ends, in seconds. They are deleted one in a step."""

    def __init__(self, ends: list[float]) -> None:
        self.jobs = sorted(ends)
        self.results = sorted(ends)
        self.steps: list[float] = []
        self.fails = 0

    async def delete_old_jobs(self, before: int) -> int:
        if self.fails:
            self.fails -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return self._delete(self.jobs, before)

    async def delete_old_results(self, before: int) -> int:
        return self._delete(self.results, before)

    def _delete(self, ends: list[float], before: int) -> int:
        if ends and ends[0] * 1e6 < before:
            del ends[0]
            self.steps.append(anyio.current_time())
            return 1
        return 0

    async def forget_deleted_jobs(self) -> int:
        return 0

    async def shrink(self) -> int:
        return 0

    def deleted_results(self) -> list[str]:
        return []


class Clock:
    """A wall clock that began at ``start`` and can be set."""

    def __init__(self, start: float) -> None:
        self.began = anyio.current_time()
        self.start = start

    def __call__(self) -> float:
        return self.start + anyio.current_time() - self.began


def cleaner_of(store: CountedStore, clock: Clock, **keep: float) -> Cleaner:
    return Cleaner(cast("JobStore", store), cast("ResultStore", None), Retention(**keep), clock=clock)


async def test_jobs_and_results_are_deleted_when_their_times_are_over_and_not_before() -> None:
    store, clock = CountedStore([day * DAY for day in range(10)]), Clock(9 * DAY)
    async with cleaner_of(store, clock, results=2.5 * DAY, jobs=6 * DAY):
        for day in range(10):
            await anyio.sleep_until(clock.began + day * DAY + 7300)  # two sweeps later
            now = 9 + day
            assert [end / DAY for end in store.results] == [end for end in range(10) if end > now - 2.5]
            assert [end / DAY for end in store.jobs] == [end for end in range(10) if end >= now - 5]


async def test_nothing_is_deleted_without_a_retention() -> None:
    store, clock = CountedStore([0.0]), Clock(1000 * DAY)
    async with cleaner_of(store, clock):
        await anyio.sleep(5 * DAY)
    assert (len(store.jobs), len(store.results)) == (1, 1)


async def test_much_is_deleted_in_steps_with_pauses() -> None:
    store, clock = CountedStore([0.0] * 100), Clock(2 * DAY)
    async with cleaner_of(store, clock, jobs=DAY):
        await anyio.sleep(100)
    pauses = [later - earlier for earlier, later in zip(store.steps, store.steps[1:], strict=False)]
    assert len(store.steps) == 100
    assert min(pauses) >= cleaner_module.STEP_PAUSE_SECONDS * 0.999


async def test_a_store_that_cannot_be_written_is_tried_again() -> None:
    store, clock = CountedStore([0.0]), Clock(2 * DAY)
    store.fails = 3
    async with cleaner_of(store, clock, jobs=DAY):
        await anyio.sleep(5 * cleaner_module.MAX_SWEEP_INTERVAL_SECONDS)
    assert store.jobs == []


@pytest.mark.parametrize("corrected", [True, False])
async def test_a_clock_that_was_set_forward_by_mistake_deletes_nothing(corrected: bool) -> None:
    store, clock = CountedStore([9 * DAY]), Clock(10 * DAY)
    async with cleaner_of(store, clock, jobs=12 * DAY):
        await anyio.sleep(5000)
        clock.start += 3650 * DAY
        await anyio.sleep(CLOCK_HOLD_SECONDS / 2)
        assert len(store.jobs) == 1
        if corrected:
            clock.start -= 3650 * DAY
        await anyio.sleep(CLOCK_HOLD_SECONDS)
        assert len(store.jobs) == (1 if corrected else 0)  # a machine that slept goes on with its new time
        await anyio.sleep(12 * DAY)
    assert store.jobs == []


# with a store and files


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    (tmp_path / "results").mkdir()
    with closing(SQLiteStore(tmp_path / "db")) as store:
        yield store


def cleaner_on(store: SQLiteStore, folder: Path, *, at: float, **keep: float) -> Cleaner:
    return Cleaner(store, ResultFolder(folder / "results"), Retention(**keep), clock=lambda: at)


async def complete_jobs(store: SQLiteStore, folder: Path, account: str, numbers: range) -> list[str]:
    ids = []
    for number in numbers:
        job = await add_job(store, new_job(account, number))
        await store.enqueue([job.id])
        started = await store.start(job.id)
        assert started is not None
        result = ResultFolder(folder / "results").write(f"{job.id}-1.npz", ARRAY)
        await store.complete(job.id, started.attempt, result, {})
        ids.append(job.id)
    return ids


class TestWithFiles:
    pytestmark = real_store

    async def test_old_results_go_with_their_files_and_the_jobs_say_when(
        self, tmp_path: Path, store: SQLiteStore
    ) -> None:
        account = store.ensure_account("someone")
        ids = await complete_jobs(store, tmp_path, account, range(3))
        waiting = await add_job(store, new_job(account, 9))
        await cleaner_on(store, tmp_path, at=time.time() + 60, results=30.0).sweep()
        assert list((tmp_path / "results").iterdir()) == []
        for job_id in ids:
            job = store.job(job_id)
            assert job is not None
            assert (job.result, job.status, job.result_deleted is not None) == (None, "complete", True)
        assert store.stored_bytes(account) == 4 * len(new_job(account).circuit)
        assert store.job(waiting.id) is not None
        assert store.deleted_results() == []

    async def test_old_jobs_go_and_unfinished_ones_never(self, tmp_path: Path, store: SQLiteStore) -> None:
        account = store.ensure_account("someone")
        await complete_jobs(store, tmp_path, account, range(3))
        waiting = await add_job(store, new_job(account, 9))
        await cleaner_on(store, tmp_path, at=time.time() + 1000 * DAY, jobs=DAY).sweep()
        assert [job.id for job in store.jobs(account, size=100)] == [waiting.id]
        assert list((tmp_path / "results").iterdir()) == []
        assert (store.count_unfinished(account), store.stored_bytes(account)) == (1, len(new_job(account).circuit))

    async def test_younger_ones_stay(self, tmp_path: Path, store: SQLiteStore) -> None:
        account = store.ensure_account("someone")
        ids = await complete_jobs(store, tmp_path, account, range(2))
        await cleaner_on(store, tmp_path, at=time.time(), results=DAY, jobs=DAY).sweep()
        assert len(list((tmp_path / "results").iterdir())) == len(ids)
        assert len(store.jobs(account, size=100)) == len(ids)

    async def test_a_crash_between_the_row_and_the_file_leaves_no_file_for_ever(self, tmp_path: Path) -> None:
        (tmp_path / "results").mkdir()
        with closing(SQLiteStore(tmp_path / "db")) as store:
            account = store.ensure_account("someone")
            (job_id,) = await complete_jobs(store, tmp_path, account, range(1))
            await store.delete_job(account, job_id)  # and the platform is killed here
        assert len(list((tmp_path / "results").iterdir())) == 1
        with closing(SQLiteStore(tmp_path / "db")) as store:
            await cleaner_on(store, tmp_path, at=time.time()).finish_deletions()
            ResultFolder(tmp_path / "results").reconcile(store.result_names())
            assert list((tmp_path / "results").iterdir()) == []
            assert store.deleted_results() == []

    async def test_a_file_that_cannot_be_deleted_is_tried_again(self, tmp_path: Path, store: SQLiteStore) -> None:
        account = store.ensure_account("someone")
        first, second = await complete_jobs(store, tmp_path, account, range(2))
        stuck = tmp_path / "results" / f"{first}-1.npz"
        stuck.unlink()
        stuck.mkdir()  # which unlink refuses, also for root
        cleaner = cleaner_on(store, tmp_path, at=time.time())
        for job_id in (first, second):
            assert await cleaner.delete(account, job_id) is not None
        assert store.deleted_results() == [stuck.name]
        stuck.rmdir()
        await cleaner.sweep()
        assert store.deleted_results() == []

    async def test_the_database_shrinks(self, tmp_path: Path, store: SQLiteStore) -> None:
        account = store.ensure_account("someone")
        large = "# " + "x" * 100_000 + "\n"
        for number in range(60):
            job = new_job(account, number)
            await store.add_jobs([replace(job, circuit=large + job.circuit)])
            await store.request_cancel(account, job.id)
        await store.shrink()  # which writes to the file what is only in its log
        assert (tmp_path / "db").stat().st_size > 6_000_000
        await cleaner_on(store, tmp_path, at=time.time() + 60, jobs=30.0).sweep()
        assert (tmp_path / "db").stat().st_size < 1_500_000
        assert store.jobs(account, size=10) == []

    async def test_a_file_that_cannot_shrink_keeps_no_sweep_busy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was to be rewritten at the start, for which there was no space."""
        (tmp_path / "results").mkdir()
        with closing(sqlite3.connect(tmp_path / "db")) as db:
            db.executescript((Path(__file__).parents[2] / "data" / "platform_schema_2.sql").read_text())
            db.execute("CREATE TABLE large (x)")
            db.execute("INSERT INTO large VALUES (zeroblob(4000000))")
            db.commit()
            db.execute("DROP TABLE large")
        monkeypatch.setattr("sfjobs.platform.store.sqlite.jobs.make_shrinkable", lambda _: None)
        with anyio.fail_after(60), closing(SQLiteStore(tmp_path / "db")) as store:
            await cleaner_on(store, tmp_path, at=time.time()).sweep()
            assert await store.shrink() == 0

    async def test_a_file_of_an_earlier_version_shrinks(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "db")) as db:
            db.executescript((Path(__file__).parents[2] / "data" / "platform_schema_2.sql").read_text())
            db.execute("CREATE TABLE large (x)")
            db.execute("INSERT INTO large VALUES (zeroblob(4000000))")
            db.commit()
            db.execute("DROP TABLE large")
        SQLiteStore(tmp_path / "db").close()
        assert (tmp_path / "db").stat().st_size < 400_000

    async def test_one_write_deletes_few_bytes_of_programs(self, tmp_path: Path, store: SQLiteStore) -> None:
        account = store.ensure_account("someone")
        large = "# " + "x" * 1_000_000 + "\n"
        for number in range(5):
            job = new_job(account, number)
            await store.add_jobs([replace(job, circuit=large + job.circuit)])
            await store.request_cancel(account, job.id)
        assert deletion.MAX_CIRCUIT_BYTES // 1_000_000 == 2
        steps = []
        while deleted := await store.delete_old_jobs(int(time.time() * 1e6) + 10_000_000):
            steps.append(deleted)
        assert steps == [2, 2, 1]


def plan(folder: Path, query: str, *parameters: object) -> str:
    with closing(sqlite3.connect(folder / "db")) as db:
        return " ".join(str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {query}", parameters))


def test_entries_of_deleted_jobs_are_found_by_indexes(tmp_path: Path) -> None:
    SQLiteStore(tmp_path / "db").close()
    feed = plan(
        tmp_path, "SELECT id FROM deleted_jobs WHERE account = ? AND change > ? ORDER BY change LIMIT 5", "a", 1
    )
    by_id = plan(tmp_path, "SELECT sequence FROM deleted_jobs WHERE id = ? AND account = ?", "a", "b")
    assert "SEARCH deleted_jobs USING PRIMARY KEY" in feed
    assert "SEARCH deleted_jobs USING INDEX deleted_jobs_id" in by_id
    assert "SCAN" not in feed + by_id
    assert json.dumps(feed).count("TEMP B-TREE") == 0
