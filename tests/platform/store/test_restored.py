"""A database from a backup with the newer folder of results, and the reverse: nothing is lost, and the platform starts."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest

from sfjobs.errors import ConfigurationError
from sfjobs.platform.api.routes.account import TOKEN_PATH
from sfjobs.platform.results.folder import SET_ASIDE, ResultFolder
from sfjobs.platform.runtime import open_platform
from sfjobs.platform.settings import PlatformSettings
from tests.platform.stand_ins import ARRAY, PROGRAM

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

NEVER_RUNS = PROGRAM.replace("simulon_gaussian", "never")
JOBS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(4)]


@asynccontextmanager
async def started(data_dir: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Start a platform whose jobs only wait, since this test needs no worker."""
    async with open_platform(PlatformSettings(data_dir=data_dir, test_targets=True)) as platform:
        transport = httpx.ASGITransport(platform.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://platform") as client:
            form = {"grant_type": "refresh_token", "refresh_token": platform.api_key, "client_id": "public"}
            token = (await client.post(TOKEN_PATH, data=form)).json()["access_token"]
            client.headers.update({"authorization": f"Bearer {token}", "accept-version": "0.4.0"})
            yield client


async def submit(client: httpx.AsyncClient) -> str:
    job_id: str = (await client.post("/jobs", json={"circuit": NEVER_RUNS})).json()["id"]
    return job_id


def complete(data_dir: Path, job_id: str) -> bytes:
    """Give the job a result, as if it had run, and return the file's content."""
    result = ResultFolder(data_dir / "results").write(f"{job_id}-1.npz", ARRAY)
    columns = {
        name: getattr(result, name) for name in ("name", "size", "digest", "npy_offset", "npy_size", "npy_digest")
    }
    pairs = ", ".join(f"'{name}', ?" for name in columns)
    with closing(sqlite3.connect(data_dir / "platform.sqlite3")) as db:
        query = f"UPDATE jobs SET status = 'complete', finished = 2, started = 1, result = json_object({pairs}) WHERE id = ?"
        db.execute(query, (*columns.values(), job_id))
        db.commit()
    return (data_dir / "results" / result.name).read_bytes()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.npz")}


async def test_a_restored_database_finds_its_newer_results_set_aside_and_gets_them_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data_dir = tmp_path / "data"
    database, results = data_dir / "platform.sqlite3", data_dir / "results"
    async with started(data_dir) as client:
        older = await submit(client)
    older_content = complete(data_dir, older)
    shutil.copy(database, tmp_path / "backup")
    async with started(data_dir) as client:
        newer = await submit(client)
    newer_content = complete(data_dir, newer)
    shutil.move(database, tmp_path / "newest")
    shutil.copy(tmp_path / "backup", database)

    async with started(data_dir) as client:
        assert (await client.get(f"/jobs/{older}/result")).content == older_content
        assert (await client.get(f"/jobs/{newer}")).status_code == 404
    (aside,) = (results / SET_ASIDE).iterdir()
    assert (aside / f"{newer}-1.npz").read_bytes() == newer_content
    assert stat.S_IMODE(aside.stat().st_mode) == 0o700
    assert f"1 results that no job in the database has were moved to {aside}" in caplog.text

    shutil.copy(tmp_path / "newest", database)
    async with started(data_dir) as client:
        assert (await client.get(f"/jobs/{newer}/result")).content == newer_content
    assert "moved back" in caplog.text


async def test_a_restored_job_that_runs_again_does_not_replace_its_newer_result(tmp_path: Path) -> None:
    async with started(tmp_path) as client:
        job_id = await submit(client)
    shutil.copy(tmp_path / "platform.sqlite3", tmp_path / "backup")
    content = complete(tmp_path, job_id)
    shutil.copy(tmp_path / "backup", tmp_path / "platform.sqlite3")
    async with started(tmp_path):
        assert not (tmp_path / "results" / f"{job_id}-1.npz").exists()
    (aside,) = (tmp_path / "results" / SET_ASIDE).glob("*/*")
    assert aside.read_bytes() == content


async def test_a_complete_job_without_its_file_says_so_and_the_platform_starts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(tmp_path) as client:
        job_ids = [await submit(client) for _ in range(3)]
    kept = [complete(tmp_path, job_id) for job_id in job_ids][2]
    for job_id in job_ids[:2]:
        (tmp_path / "results" / f"{job_id}-1.npz").unlink()
    async with started(tmp_path) as client:
        assert (await client.get(f"/jobs/{job_ids[0]}")).json()["status"] == "complete"
        response = await client.get(f"/jobs/{job_ids[0]}/result")
        assert (response.status_code, response.json()["code"]) == (410, "result-missing")
        assert job_ids[0] in response.json()["detail"]
        assert (await client.get(f"/jobs/{job_ids[2]}/result")).content == kept
    assert "the results of 2 complete jobs are not in" in caplog.text


def test_only_results_are_set_aside_and_only_incomplete_ones_deleted(tmp_path: Path) -> None:
    kept, unknown, unfinished = f"{JOBS[0]}-1.npz", f"{JOBS[0]}-12.npz", f"{JOBS[1]}-1.npz.part"
    others = ["notes.txt", "x-1.npz", "x-1.npz.part", f"{JOBS[2]}-1.npz.bak"]
    for name in [kept, unknown, unfinished, *others]:
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lost+found" / f"{JOBS[3]}-1.npz").write_bytes(b"of the disk")
    ResultFolder(tmp_path).reconcile({kept})
    assert {path.name for path in tmp_path.iterdir()} == {kept, *others, "lost+found", SET_ASIDE}
    assert names(tmp_path / SET_ASIDE) == {unknown}
    assert names(tmp_path / "lost+found") == {f"{JOBS[3]}-1.npz"}


def test_results_are_set_aside_at_each_start_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in ("20260101T000000Z", "20260102T000000Z"):
        monkeypatch.setattr("time.strftime", lambda *_, day=day: day)
        (tmp_path / f"{JOBS[0]}-1.npz").write_text(day)
        ResultFolder(tmp_path).reconcile(set())
    assert [path.read_text() for path in sorted((tmp_path / SET_ASIDE).glob("*/*"))] == [
        "20260101T000000Z",
        "20260102T000000Z",
    ]
    ResultFolder(tmp_path).reconcile({f"{JOBS[0]}-1.npz"})  # the newest comes back
    assert (tmp_path / f"{JOBS[0]}-1.npz").read_text() == "20260102T000000Z"


def test_a_folder_without_unknown_results_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / f"{JOBS[0]}-1.npz").write_bytes(b"result")
    ResultFolder(tmp_path).reconcile({f"{JOBS[0]}-1.npz"})
    assert [path.name for path in tmp_path.iterdir()] == [f"{JOBS[0]}-1.npz"]


async def test_a_start_that_cannot_set_results_aside_says_why_and_deletes_nothing(tmp_path: Path) -> None:
    async with started(tmp_path):
        pass
    (tmp_path / "results" / SET_ASIDE).write_text("in the way")
    (tmp_path / "results" / f"{JOBS[0]}-1.npz").write_bytes(b"result")
    with pytest.raises(ConfigurationError, match="folder of results"):
        async with started(tmp_path):
            pass
    assert (tmp_path / "results" / f"{JOBS[0]}-1.npz").read_bytes() == b"result"
