"""
Files of earlier versions. The dumps in ``tests/data`` were made by those versions, with a job in each status, while a platform
ran on them.
"""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from sfjobs.errors import ConfigurationError
from sfjobs.models import JobStatus
from sfjobs.platform import PlatformSettings
from sfjobs.platform.runtime import open_platform
from sfjobs.platform.settings import locked_data_dir
from sfjobs.platform.store.api_keys import has_created_key
from sfjobs.platform.store.sqlite import migration, schema
from sfjobs.platform.store.sqlite.accounts import open_accounts
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.stand_ins import PROGRAM, new_job

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

DATA: Final = Path(__file__).parents[2] / "data"
DUMPS: Final = sorted(path.name for path in DATA.glob("platform_schema_*.sql"))
NEWER: Final = 99

AFTER_A_CRASH: Final = ["open", "queued", "queued", "cancelled", "cancelled", "complete", "failed"]
"""The statuses of jobs 0 to 6 after a start. Job 2 was running and job 3 was being cancelled when the platform ended."""


def job_id(number: int) -> str:
    return new_job("", number).id


def write_dump(path: Path, name: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript((DATA / name).read_text())
        db.execute("PRAGMA journal_mode = WAL")


def version_of(name: str) -> int:
    return int(name.split("_")[2].removesuffix(".sql"))


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


def tables(path: Path) -> dict[str, object]:
    """Return the columns of each table, the columns of each named index, and the version."""
    with closing(sqlite3.connect(path)) as db:
        objects = db.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
        found: dict[str, object] = {
            name: db.execute(f"PRAGMA {'table_info' if kind == 'table' else 'index_info'} ({name})").fetchall()
            for kind, name in objects
        }
        return {**found, "version": db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()}


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return modes and bytes of all files but the lock and SQLite's index of the -wal file, which each opening makes anew."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock" and not path.name.endswith("-shm")
    }


@pytest.mark.parametrize("name", DUMPS)
async def test_jobs_keys_and_secrets_of_an_earlier_version_go_on(tmp_path: Path, name: str) -> None:
    write_dump(tmp_path / "db", name)
    with closing(sqlite3.connect(tmp_path / "db")) as old:
        secrets = dict(old.execute("SELECT key, value FROM meta WHERE key LIKE 'secret:%'"))
        account, another = (row[0] for row in old.execute("SELECT id FROM accounts ORDER BY created"))
    with closing(SQLiteStore(tmp_path / "db")) as store:
        jobs = [store.job(job_id(number)) for number in range(7)]
        assert [job.status.value for job in jobs if job] == AFTER_A_CRASH
        assert [store.circuit(job_id(number)) for number in range(8)] == [PROGRAM] * 8
        complete, failed = jobs[5], jobs[6]
        assert complete is not None
        assert failed is not None
        assert complete.result is not None
        assert (complete.result.name, complete.result.size) == (f"{job_id(5)}-1.npz", 1005)
        assert failed.meta["error-code"] == "out-of-memory"
        assert {f"secret:{secret}": store.secret(secret) for secret in ("access-tokens", "change-cursors")} == secrets
        assert [len(store.jobs(owner, size=100)) for owner in (account, another)] == [7, 1]
        assert [len(store.changes(owner, after=0, size=100)) for owner in (account, another)] == [7, 1]
        assert [store.count_unfinished(owner) for owner in (account, another)] == [3, 1]
        active = {key.hash[0]: key.account_name for key in store.api_keys() if key.revoked is None}
        assert active.items() >= {"2": "local", "3": "another"}.items()
        if name.endswith(("schema_1.sql", "schema_2.sql")):
            response = store.stored_response(account, "key-of-job-2")
            assert response is not None
            assert (response.job_id, response.fingerprint) == (job_id(2), "f" * 64)
        (added,) = await store.add_jobs([new_job(account, 20)], quota=4)
        assert await store.add_jobs([new_job(account, 21)], quota=4) == []
        assert added.sequence == 9
        await store.enqueue([added.id])
        started = await store.start(added.id)
        assert started is not None
        assert started.status == JobStatus.QUEUED
    with closing(SQLiteStore(tmp_path / "db")) as again:
        assert len(again.jobs(account, size=100)) == 8


def test_the_key_of_the_file_keeps_its_name_and_is_no_created_one(tmp_path: Path) -> None:
    """Of version 1, which had one key for each start whose file had been deleted."""
    with closing(sqlite3.connect(tmp_path / "db")) as db:
        db.executescript((DATA / "platform_schema_1.sql").read_text())
        db.execute("DELETE FROM api_keys WHERE hash LIKE '3%'")
        db.commit()
    with closing(SQLiteStore(tmp_path / "db")) as store:
        assert {key.name: key.hash[0] for key in store.api_keys()} == {"local": "2", "local-1": "1"}
        assert not has_created_key(store)


@pytest.mark.parametrize("stop", range(1, schema.VERSION + 1))
@pytest.mark.parametrize("name", DUMPS)
def test_a_file_that_was_migrated_once_or_twice_has_the_tables_of_a_new_one(
    tmp_path: Path, name: str, stop: int
) -> None:
    write_dump(tmp_path / "db", name)
    if stop >= version_of(name):
        migration.migrate(tmp_path / "db", schema.STEPS[:stop])
    for path in (tmp_path / "db", tmp_path / "new"):
        migration.migrate(path)
    migrated, new = tables(tmp_path / "db"), tables(tmp_path / "new")
    assert migrated == new


@pytest.mark.parametrize("name", DUMPS)
def test_the_file_as_it_was_lies_beside_the_migrated_one(tmp_path: Path, name: str) -> None:
    write_dump(tmp_path / "db", name)
    before = dump(tmp_path / "db")
    SQLiteStore(tmp_path / "db").close()
    (backup,) = tmp_path.glob("*.backup")
    assert backup.name.startswith(f"db.schema-{version_of(name)}.20")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert dump(backup) == before
    with closing(sqlite3.connect(backup)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_backup_has_what_was_only_in_the_wal_file(tmp_path: Path) -> None:
    write_dump(tmp_path / "live", "platform_schema_2.sql")
    with closing(sqlite3.connect(tmp_path / "live")) as live:
        live.execute("PRAGMA wal_autocheckpoint = 0")
        live.execute("UPDATE jobs SET name = 'only in the log' WHERE sequence = 1")
        live.commit()
        for suffix in ("", "-wal"):  # as a crash leaves them
            (tmp_path / f"db{suffix}").write_bytes((tmp_path / f"live{suffix}").read_bytes())
    migration.migrate(tmp_path / "db", [*schema.STEPS[:2], ("UPDATE jobs SET name = 'migrated'",)])
    (backup,) = tmp_path.glob("*.backup")
    assert "only in the log" in "".join(dump(backup))
    assert "only in the log" not in "".join(dump(tmp_path / "db"))


def test_a_file_of_this_version_gets_no_backup(tmp_path: Path) -> None:
    for _ in range(2):
        SQLiteStore(tmp_path / "db").close()
    assert list(tmp_path.glob("*backup*")) == []


async def newer_platform(folder: Path, *, crashed: bool) -> dict[str, tuple[int, bytes]]:
    """Make a data directory with results that a newer version wrote. After a crash its version is in the -wal file only."""
    made = folder / "made"
    async with open_platform(PlatformSettings(data_dir=made)):
        pass
    data_dir = folder / "newer"
    (data_dir / "results").mkdir(parents=True)
    with closing(sqlite3.connect(made / "platform.sqlite3")) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (NEWER,))
        db.commit()
        if crashed:
            for name in ("platform.sqlite3", "platform.sqlite3-wal", "platform.sqlite3-shm"):
                (data_dir / name).write_bytes((made / name).read_bytes())
    if not crashed:
        (data_dir / "platform.sqlite3").write_bytes((made / "platform.sqlite3").read_bytes())
    for name in (f"{job_id(1)}-1.npz", f"{job_id(1)}-2.npz.part", "notes.txt"):
        (data_dir / "results" / name).write_bytes(b"newer")
    (data_dir / "api_key").write_text("a key\n")
    return contents(data_dir)


@pytest.mark.parametrize("crashed", [False, True], ids=["after a stop", "after a crash"])
async def test_a_store_of_a_newer_version_is_refused_before_it_is_touched(tmp_path: Path, crashed: bool) -> None:
    before = await newer_platform(tmp_path, crashed=crashed)
    with pytest.raises(ConfigurationError, match=f"schema {NEWER}, of a newer sfjobs"):
        async with open_platform(PlatformSettings(data_dir=tmp_path / "newer")):
            pass
    assert contents(tmp_path / "newer") == before


@pytest.mark.parametrize("crashed", [False, True], ids=["after a stop", "after a crash"])
async def test_the_keys_of_a_newer_version_are_refused_before_they_are_touched(tmp_path: Path, crashed: bool) -> None:
    before = await newer_platform(tmp_path, crashed=crashed)
    with (
        pytest.raises(ConfigurationError, match=f"schema {NEWER}, of a newer sfjobs"),
        open_accounts(tmp_path / "newer", create=True),
    ):
        pass
    assert contents(tmp_path / "newer") == before


@pytest.mark.parametrize("sql", ["CREATE TABLE x (y)", "CREATE TABLE meta (key, value)"])
def test_a_database_of_another_program_is_refused_before_it_is_touched(tmp_path: Path, sql: str) -> None:
    with closing(sqlite3.connect(tmp_path / "db")) as db:
        db.execute(sql)
    before = contents(tmp_path)
    with pytest.raises(ConfigurationError, match="another program"):
        SQLiteStore(tmp_path / "db")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("good_steps", [0, 1])
def test_a_step_that_fails_is_undone(tmp_path: Path, good_steps: int) -> None:
    write_dump(tmp_path / "db", "platform_schema_1.sql")
    good = [*schema.STEPS[:1], *[("CREATE TABLE good (x)",)] * good_steps]
    bad = ("CREATE TABLE half (x)", "UPDATE jobs SET name = 'rewritten'", "INSERT INTO no_such_table VALUES (1)")
    before = dump(tmp_path / "db")
    with pytest.raises(ConfigurationError, match="no_such_table"):
        migration.migrate(tmp_path / "db", [*good, bad])
    after = dump(tmp_path / "db")
    if good_steps:  # the step before the one that failed stays, and so does the file as it was
        assert f"INSERT INTO \"meta\" VALUES('schema',{1 + good_steps});" in after
        assert [dump(backup) for backup in tmp_path.glob("*.backup")] == [before]
    else:  # nothing happened, and repeated attempts must not fill the disk with copies
        assert (after, list(tmp_path.glob("*backup*"))) == (before, [])
    assert not any("half" in statement or "rewritten" in statement for statement in after)


def test_nothing_is_migrated_without_a_backup(tmp_path: Path) -> None:
    write_dump(tmp_path / "db", "platform_schema_1.sql")
    before = dump(tmp_path / "db")
    (tmp_path / "db.backup.part").mkdir()  # where the copy would be made
    with pytest.raises(ConfigurationError, match="no backup could be written"):
        SQLiteStore(tmp_path / "db")
    assert dump(tmp_path / "db") == before


def test_a_migration_that_is_repeated_within_a_second_keeps_both_backups(tmp_path: Path) -> None:
    for _ in range(3):
        (tmp_path / "db").unlink(missing_ok=True)
        write_dump(tmp_path / "db", "platform_schema_1.sql")
        migration.migrate(tmp_path / "db")
    assert len(list(tmp_path.glob("db.schema-1.*.backup"))) == 3


def test_keys_of_an_earlier_version_are_not_migrated_beside_a_running_platform(tmp_path: Path) -> None:
    write_dump(tmp_path / "platform.sqlite3", "platform_schema_1.sql")
    before = dump(tmp_path / "platform.sqlite3")
    with locked_data_dir(PlatformSettings(data_dir=tmp_path)):
        with pytest.raises(ConfigurationError, match="another platform"), open_accounts(tmp_path):
            pass
        assert dump(tmp_path / "platform.sqlite3") == before
    with open_accounts(tmp_path) as accounts:
        assert len(accounts.api_keys()) == 3


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be looked at" * 30, b"short"])
def test_a_file_that_is_no_database_is_named_and_not_touched(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "platform.sqlite3").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"platform\.sqlite3"), open_accounts(tmp_path):
        pass
    assert (tmp_path / "platform.sqlite3").read_bytes() == content
