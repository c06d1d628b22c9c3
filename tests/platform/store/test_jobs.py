"""The store: durable, unchanged by lost races, and consistent after a crash."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from sfjobs.errors import ConfigurationError
from sfjobs.models import JobStatus
from sfjobs.platform.records import JobRecord, ResultFile
from sfjobs.platform.store.interface import MAX_CRASHES
from sfjobs.platform.store.sqlite.database import Database
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.stand_ins import add_job, new_job

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

RESULT = ResultFile(name="x.npz", size=10, digest="aa", npy_offset=2, npy_size=5, npy_digest="bb")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "db")
    yield store
    store.close()


@pytest.fixture
def account(store: SQLiteStore) -> str:
    return store.ensure_account("someone")


async def running_job(store: SQLiteStore, account: str, number: int = 0) -> JobRecord:
    job = await add_job(store, new_job(account, number))
    await store.enqueue([job.id])
    started = await store.start(job.id)
    assert started is not None
    return started


async def test_a_new_job_is_open_and_has_its_circuit(store: SQLiteStore, account: str) -> None:
    job = await add_job(store, new_job(account))
    assert (job.status, store.circuit(job.id)) == (JobStatus.OPEN, new_job(account).circuit)


async def test_a_running_job_is_queued_with_a_start(store: SQLiteStore, account: str) -> None:
    job = await running_job(store, account)
    assert (job.status, job.started is not None, job.attempt) == (JobStatus.QUEUED, True, 1)


async def test_a_job_that_was_cancelled_while_waiting_does_not_start(store: SQLiteStore, account: str) -> None:
    job = await add_job(store, new_job(account))
    await store.enqueue([job.id])
    await store.request_cancel(account, job.id)
    assert await store.start(job.id) is None


async def test_a_cancelled_job_is_not_queued(store: SQLiteStore, account: str) -> None:
    job = await add_job(store, new_job(account))
    await store.request_cancel(account, job.id)
    assert await store.enqueue([job.id]) == []


async def test_cancelling_a_running_job_is_pending(store: SQLiteStore, account: str) -> None:
    job = await running_job(store, account)
    cancelled = await store.request_cancel(account, job.id)
    assert cancelled is not None
    assert (cancelled.status, cancelled.finished) == (JobStatus.CANCEL_PENDING, None)


async def test_a_result_wins_over_a_cancellation_that_was_only_asked_for(store: SQLiteStore, account: str) -> None:
    job = await running_job(store, account)
    await store.request_cancel(account, job.id)
    complete = await store.complete(job.id, 1, RESULT, {})
    assert complete is not None
    assert complete.status == JobStatus.COMPLETED


async def test_a_complete_job_is_not_cancelled(store: SQLiteStore, account: str) -> None:
    job = await running_job(store, account)
    await store.complete(job.id, 1, RESULT, {})
    assert await store.request_cancel(account, job.id) is None
    found = store.job(job.id)
    assert found is not None
    assert found.status == JobStatus.COMPLETED


async def test_a_cancelled_job_is_not_completed(store: SQLiteStore, account: str) -> None:
    job = await running_job(store, account)
    await store.request_cancel(account, job.id)
    await store.finish_cancel(job.id, 1)
    assert await store.complete(job.id, 1, RESULT, {}) is None


async def test_an_abandoned_attempt_does_not_complete_the_next(store: SQLiteStore, account: str) -> None:
    job = await running_job(store, account)
    await store.requeue(job.id, 1, "lost")
    await store.start(job.id)
    assert await store.complete(job.id, 1, RESULT, {}) is None


@pytest.mark.parametrize("end", ["fail", "requeue", "put_back", "finish_cancel"])
async def test_an_abandoned_attempt_changes_nothing_of_the_next(store: SQLiteStore, account: str, end: str) -> None:
    """Only a result was refused then; a late failure ended the attempt that ran."""
    job = await running_job(store, account)
    await store.requeue(job.id, 1, "lost")
    reasons = {"fail": ("code", "detail"), "requeue": ("lost",)}.get(end, ())
    late = getattr(store, end)
    assert await late(job.id, 1, *reasons) is None  # while the job waits
    running = await store.start(job.id)
    assert running is not None
    if end == "finish_cancel":
        await store.request_cancel(account, job.id)
    assert await late(job.id, 1, *reasons) is None
    found = store.job(job.id)
    assert found is not None
    assert (found.status.is_final, found.started, found.attempt) == (False, running.started, 2)
    assert await late(job.id, 2, *reasons) is not None


async def test_another_accounts_job_cannot_be_cancelled(store: SQLiteStore, account: str) -> None:
    job = await add_job(store, new_job(account))
    assert await store.request_cancel(store.ensure_account("another"), job.id) is None


async def test_a_clean_stop_does_not_count_as_an_attempt(store: SQLiteStore, account: str) -> None:
    job = await running_job(store, account)
    waiting = await store.put_back(job.id, 1)
    assert waiting is not None
    assert (waiting.attempt, waiting.started) == (0, None)


async def test_every_change_takes_a_higher_number(store: SQLiteStore, account: str) -> None:
    first, second = [await add_job(store, new_job(account, number)) for number in range(2)]
    (changed,) = await store.enqueue([first.id])
    assert first.change < second.change < changed.change


async def test_a_result_comes_back_as_it_was_stored(store: SQLiteStore, account: str) -> None:
    job = await running_job(store, account)
    await store.complete(job.id, 1, RESULT, {"sampler": "x"})
    stored = store.job(job.id)
    assert stored is not None
    assert (stored.result, stored.meta) == (RESULT, {"sampler": "x"})


async def test_lists_are_newest_first_and_continue_below_a_job(store: SQLiteStore, account: str) -> None:
    for number in range(5):
        await add_job(store, new_job(account, number))
    page = store.jobs(account, size=2)
    rest = store.jobs(account, size=9, before=page[-1].sequence)
    assert [job.name for job in [*page, *rest]] == ["job 4", "job 3", "job 2", "job 1", "job 0"]


async def test_several_statuses_are_listed_as_one_newest_first(store: SQLiteStore, account: str) -> None:
    ids = [(await add_job(store, new_job(account, number))).id for number in range(6)]
    await store.enqueue(ids[::2])
    await store.request_cancel(account, ids[1])
    page = store.jobs(account, size=4, statuses=["open", "queued"])
    assert [job.id for job in page] == [ids[5], ids[4], ids[3], ids[2]]


async def test_ids_and_statuses_must_both_hold(store: SQLiteStore, account: str) -> None:
    ids = [(await add_job(store, new_job(account, number))).id for number in range(4)]
    await store.enqueue(ids[:2])
    page = store.jobs(account, size=4, ids=[ids[0], ids[3]], statuses=["queued"])
    assert [job.id for job in page] == [ids[0]]


async def test_a_list_of_ids_goes_on_below_a_job(store: SQLiteStore, account: str) -> None:
    jobs = [await add_job(store, new_job(account, number)) for number in range(3)]
    page = store.jobs(account, size=4, ids=[job.id for job in jobs], before=jobs[1].sequence)
    assert [job.id for job in page] == [jobs[0].id]


async def test_a_failed_write_leaves_the_others_of_its_group_alone(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    await database.write(lambda db: db.execute("CREATE TABLE numbers (value INTEGER UNIQUE)").rowcount)
    outcomes: list[str] = []

    async def insert(value: int) -> None:
        try:
            await database.write(lambda db: db.execute("INSERT INTO numbers VALUES (?)", (value,)).rowcount)
        except sqlite3.IntegrityError:
            outcomes.append("refused")
        else:
            outcomes.append("written")

    async with anyio.create_task_group() as tasks:
        for value in [1, 2, 2, 3]:
            tasks.start_soon(insert, value)
    values = [row["value"] for row in database.read("SELECT value FROM numbers ORDER BY value")]
    database.close()
    assert (sorted(outcomes), values) == (["refused", "written", "written", "written"], [1, 2, 3])


async def test_a_write_after_closing_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    database.close()
    with pytest.raises(RuntimeError, match="closed"):
        await database.write(lambda _: None)


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    SQLiteStore(tmp_path / "db").close()
    assert stat.S_IMODE((tmp_path / "db").stat().st_mode) == 0o600


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("not a database at all, but long enough to be looked at" * 30)
    with pytest.raises(ConfigurationError, match="db"):
        SQLiteStore(tmp_path / "db")


def test_a_secret_survives_a_restart(tmp_path: Path) -> None:
    first = SQLiteStore(tmp_path / "db")
    secret = first.secret("x")
    first.close()
    second = SQLiteStore(tmp_path / "db")
    again = second.secret("x")
    second.close()
    assert secret == again


async def crashed(folder: Path, job_id: str, account: str, times: int = 1, *, cancel: bool = False) -> JobRecord:
    """Return the job after the platform died so many times while it ran."""
    for _ in range(times):
        before = SQLiteStore(folder / "db")
        await before.start(job_id)
        if cancel:
            await before.request_cancel(account, job_id)
        before.close()
    after = SQLiteStore(folder / "db")
    found = after.job(job_id)
    after.close()
    assert found is not None
    return found


async def queued_job(folder: Path) -> tuple[str, str]:
    store = SQLiteStore(folder / "db")
    account = store.ensure_account("someone")
    job = await add_job(store, new_job(account))
    await store.enqueue([job.id])
    store.close()
    return job.id, account


@pytest.mark.parametrize(("times", "status"), [(1, JobStatus.QUEUED), (4, JobStatus.QUEUED), (5, JobStatus.FAILED)])
async def test_a_job_that_ran_when_the_platform_died_waits_again_and_not_for_ever(
    tmp_path: Path, times: int, status: JobStatus
) -> None:
    job = await crashed(tmp_path, *await queued_job(tmp_path), times)
    assert (job.status, job.meta["attempts"], "ended without a stop" in str(job.meta["rerun_reason"])) == (
        status,
        times,
        True,
    )
    assert job.meta.get("error-code") == (None if status == JobStatus.QUEUED else "platform-lost")


async def test_a_job_that_was_being_cancelled_when_the_platform_died_is_cancelled(tmp_path: Path) -> None:
    job = await crashed(tmp_path, *await queued_job(tmp_path), cancel=True)
    assert (job.status, job.finished is not None, dict(job.meta)) == (JobStatus.CANCELLED, True, {})


async def test_a_job_that_waited_when_the_platform_died_is_as_it_was(tmp_path: Path) -> None:
    job_id, _ = await queued_job(tmp_path)
    store = SQLiteStore(tmp_path / "db")
    job = store.job(job_id)
    store.close()
    assert job is not None
    assert (job.status, job.attempt, dict(job.meta)) == (JobStatus.QUEUED, 0, {})


async def test_a_platform_that_is_killed_while_it_stops_counts_no_attempt(tmp_path: Path) -> None:
    """A container's grace ended before that of the platform, and each restart counted as a crash of its jobs."""
    job_id, _ = await queued_job(tmp_path)
    for _ in range(2 * MAX_CRASHES):
        with closing(SQLiteStore(tmp_path / "db")) as store:
            await store.start(job_id)
            await store.announce_stop()
    with closing(SQLiteStore(tmp_path / "db")) as store:
        job = store.job(job_id)
        await store.start(job_id)
    assert job is not None
    assert (job.status, job.attempt, dict(job.meta)) == (JobStatus.QUEUED, 0, {})
    with closing(SQLiteStore(tmp_path / "db")) as store:  # the next one was not asked to stop
        crashed = store.job(job_id)
    assert crashed is not None
    assert (crashed.attempt, "rerun_reason" in crashed.meta) == (1, True)


async def test_lost_workers_do_not_count_as_crashes_of_the_platform(tmp_path: Path) -> None:
    job_id, account = await queued_job(tmp_path)
    store = SQLiteStore(tmp_path / "db")
    for attempt in (1, 2):
        await store.start(job_id)
        await store.requeue(job_id, attempt, "its worker was lost")
    store.close()
    job = await crashed(tmp_path, job_id, account, 4)
    assert (job.status, job.attempt, job.lost) == (JobStatus.QUEUED, 6, 2)


async def test_a_result_says_that_it_is_not_of_the_first_attempt(store: SQLiteStore, account: str) -> None:
    job = await running_job(store, account)
    await store.requeue(job.id, 1, "its worker was lost")
    await store.start(job.id)
    done = await store.complete(job.id, 2, RESULT, {"sampler": "x"})
    assert done is not None
    assert done.meta == {"sampler": "x", "attempts": 2, "rerun_reason": "its worker was lost"}


async def test_the_quota_takes_the_first_that_fit(store: SQLiteStore, account: str) -> None:
    await add_job(store, new_job(account, 0))
    added = await store.add_jobs([new_job(account, number) for number in range(1, 5)], quota=3)
    assert ([job.name for job in added], store.count_unfinished(account)) == (["job 1", "job 2"], 3)


async def test_a_quota_is_each_accounts_own(store: SQLiteStore, account: str) -> None:
    await add_job(store, new_job(account, 0))
    another = store.ensure_account("another")
    assert len(await store.add_jobs([new_job(another, 1)], quota=1)) == 1


@pytest.mark.parametrize("end", ["complete", "fail", "cancel", "cancel while it runs"])
async def test_a_job_that_has_ended_makes_room(store: SQLiteStore, account: str, end: str) -> None:
    if end == "cancel":
        await store.request_cancel(account, (await add_job(store, new_job(account))).id)
    else:
        job = await running_job(store, account)
        if end == "complete":
            await store.complete(job.id, 1, RESULT, {})
        elif end == "fail":
            await store.fail(job.id, 1, "code", "detail")
        else:
            await store.request_cancel(account, job.id)
            assert store.count_unfinished(account) == 1
            await store.finish_cancel(job.id, 1)
    assert store.count_unfinished(account) == 0


async def test_a_change_that_comes_too_late_makes_no_room(store: SQLiteStore, account: str) -> None:
    job = await running_job(store, account)
    await store.complete(job.id, 1, RESULT, {})
    await store.fail(job.id, 1, "code", "detail")
    assert store.count_unfinished(account) == 0
