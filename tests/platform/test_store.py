"""The store: durable, never overwritten by a lost race, and right again after a crash."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from sfjobs.errors import ConfigurationError
from sfjobs.models import JobStatus
from sfjobs.platform.database import Database
from sfjobs.platform.records import JobRecord, ResultFile
from sfjobs.platform.store import Store

from .stand_ins import new_job

pytestmark = pytest.mark.real_time

RESULT = ResultFile(name="x.npz", size=10, digest="aa", npy_offset=2, npy_size=5, npy_digest="bb")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "db")
    yield store
    store.close()


@pytest.fixture
def account(store: Store) -> str:
    return store.ensure_account("someone")


async def running_job(store: Store, account: str, number: int = 0) -> JobRecord:
    job = await store.add_job(new_job(account, number))
    await store.admit([job.id])
    started = await store.start(job.id)
    assert started is not None
    return started


async def test_a_new_job_is_open_and_has_its_circuit(store: Store, account: str) -> None:
    job = await store.add_job(new_job(account))
    assert (job.status, store.circuit(job.id)) == (JobStatus.OPEN, new_job(account).circuit)


async def test_a_running_job_is_queued_with_a_start(store: Store, account: str) -> None:
    job = await running_job(store, account)
    assert (job.status, job.started is not None, job.attempt) == (JobStatus.QUEUED, True, 1)


async def test_a_job_that_was_cancelled_while_waiting_does_not_start(store: Store, account: str) -> None:
    job = await store.add_job(new_job(account))
    await store.admit([job.id])
    await store.request_cancel(account, job.id)
    assert await store.start(job.id) is None


async def test_a_cancelled_job_is_not_admitted(store: Store, account: str) -> None:
    job = await store.add_job(new_job(account))
    await store.request_cancel(account, job.id)
    assert await store.admit([job.id]) == []


async def test_cancelling_a_running_job_only_asks(store: Store, account: str) -> None:
    job = await running_job(store, account)
    cancelled = await store.request_cancel(account, job.id)
    assert cancelled is not None
    assert (cancelled.status, cancelled.finished) == (JobStatus.CANCEL_PENDING, None)


async def test_a_result_wins_over_a_cancellation_that_was_only_asked_for(store: Store, account: str) -> None:
    job = await running_job(store, account)
    await store.request_cancel(account, job.id)
    complete = await store.complete(job.id, 1, RESULT, {})
    assert complete is not None
    assert complete.status == JobStatus.COMPLETED


async def test_a_complete_job_is_not_cancelled(store: Store, account: str) -> None:
    job = await running_job(store, account)
    await store.complete(job.id, 1, RESULT, {})
    assert await store.request_cancel(account, job.id) is None
    found = store.job(job.id)
    assert found is not None
    assert found.status == JobStatus.COMPLETED


async def test_a_cancelled_job_is_not_completed(store: Store, account: str) -> None:
    job = await running_job(store, account)
    await store.request_cancel(account, job.id)
    await store.finish_cancel(job.id)
    assert await store.complete(job.id, 1, RESULT, {}) is None


async def test_an_attempt_that_was_given_up_does_not_complete_the_next(store: Store, account: str) -> None:
    job = await running_job(store, account)
    await store.requeue(job.id, counted=True)
    await store.start(job.id)
    assert await store.complete(job.id, 1, RESULT, {}) is None


async def test_another_accounts_job_cannot_be_cancelled(store: Store, account: str) -> None:
    job = await store.add_job(new_job(account))
    assert await store.request_cancel(store.ensure_account("another"), job.id) is None


async def test_a_clean_stop_does_not_count_as_an_attempt(store: Store, account: str) -> None:
    job = await running_job(store, account)
    waiting = await store.requeue(job.id, counted=False)
    assert waiting is not None
    assert (waiting.attempt, waiting.started) == (0, None)


async def test_every_change_takes_a_higher_number(store: Store, account: str) -> None:
    first, second = [await store.add_job(new_job(account, number)) for number in range(2)]
    (changed,) = await store.admit([first.id])
    assert first.change < second.change < changed.change


async def test_a_result_comes_back_as_it_was_stored(store: Store, account: str) -> None:
    job = await running_job(store, account)
    await store.complete(job.id, 1, RESULT, {"sampler": "x"})
    stored = store.job(job.id)
    assert stored is not None
    assert (stored.result, stored.meta) == (RESULT, {"sampler": "x"})


async def test_lists_are_newest_first_and_continue_below_a_job(store: Store, account: str) -> None:
    for number in range(5):
        await store.add_job(new_job(account, number))
    page = store.jobs(account, size=2)
    rest = store.jobs(account, size=9, before=page[-1].sequence)
    assert [job.name for job in [*page, *rest]] == ["job 4", "job 3", "job 2", "job 1", "job 0"]


async def test_several_statuses_are_listed_as_one_newest_first(store: Store, account: str) -> None:
    ids = [(await store.add_job(new_job(account, number))).id for number in range(6)]
    await store.admit(ids[::2])
    await store.request_cancel(account, ids[1])
    page = store.jobs(account, size=4, statuses=["open", "queued"])
    assert [job.id for job in page] == [ids[5], ids[4], ids[3], ids[2]]


async def test_ids_and_statuses_must_both_hold(store: Store, account: str) -> None:
    ids = [(await store.add_job(new_job(account, number))).id for number in range(4)]
    await store.admit(ids[:2])
    page = store.jobs(account, size=4, ids=[ids[0], ids[3]], statuses=["queued"])
    assert [job.id for job in page] == [ids[0]]


async def test_a_list_of_ids_goes_on_below_a_job(store: Store, account: str) -> None:
    jobs = [await store.add_job(new_job(account, number)) for number in range(3)]
    page = store.jobs(account, size=4, ids=[job.id for job in jobs], before=jobs[1].sequence)
    assert [job.id for job in page] == [jobs[0].id]


async def test_a_failed_write_leaves_the_others_of_its_group_alone(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", "CREATE TABLE numbers (value INTEGER UNIQUE)")
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
    database = Database(tmp_path / "db", "")
    database.close()
    with pytest.raises(RuntimeError, match="closed"):
        await database.write(lambda _: None)


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    Store(tmp_path / "db").close()
    assert stat.S_IMODE((tmp_path / "db").stat().st_mode) == 0o600


def test_a_store_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    Store(tmp_path / "db").close()
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute("UPDATE meta SET value = 99 WHERE key = 'schema'")
    connection.close()
    with pytest.raises(ConfigurationError, match="schema 99"):
        Store(tmp_path / "db")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("not a database at all, but long enough to be looked at" * 30)
    with pytest.raises(ConfigurationError, match="db"):
        Store(tmp_path / "db")


def test_a_secret_survives_a_restart(tmp_path: Path) -> None:
    first = Store(tmp_path / "db")
    secret = first.secret("x")
    first.close()
    second = Store(tmp_path / "db")
    again = second.secret("x")
    second.close()
    assert secret == again


@pytest.mark.parametrize(
    ("attempts", "cancel", "expected"),
    [
        (1, False, (JobStatus.QUEUED, False)),
        (2, False, (JobStatus.QUEUED, False)),
        (3, False, (JobStatus.FAILED, True)),
        (1, True, (JobStatus.CANCELLED, True)),
    ],
)
async def test_jobs_that_ran_when_the_platform_died(
    tmp_path: Path, attempts: int, cancel: bool, expected: tuple[JobStatus, bool]
) -> None:
    before = Store(tmp_path / "db")
    account = before.ensure_account("someone")
    job = await running_job(before, account)
    for _ in range(attempts - 1):
        await before.requeue(job.id, counted=True)
        await before.start(job.id)
    if cancel:
        await before.request_cancel(account, job.id)
    before.close()
    after = Store(tmp_path / "db")
    found = after.job(job.id)
    after.close()
    assert found is not None
    assert (found.status, found.finished is not None) == expected
