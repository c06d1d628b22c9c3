"""``journal = "auto"``: containers without a home, read-only homes and full disks submit without a journal, after one warning."""

from __future__ import annotations

import errno
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import sfjobs
from sfjobs import sync
from sfjobs._journal import Journal, session
from sfjobs._journal.database import JournalDatabase
from tests.support.counter import circuit, circuits
from tests.support.environment import clean_environment
from tests.support.fake_platform import FakePlatform
from tests.support.journals import execute, states
from tests.support.paths import ROOT

pytestmark = pytest.mark.real_time

TARGET = "simulon_gaussian"
PLACE = Path("sfjobs") / "submissions.db"


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder for the journal, in a process that has not warned yet."""
    monkeypatch.delenv("SFJOBS_JOURNAL")
    monkeypatch.setattr(session, "_warned", {})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


Obstacle = Callable[[Path, pytest.MonkeyPatch], None]


def a_file_in_place_of_the_folder(folder: Path, patch: pytest.MonkeyPatch) -> None:
    folder.write_text("")


def a_folder_in_place_of_the_file(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / PLACE).mkdir(parents=True)


def no_home(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """No HOME and no line in /etc/passwd, as in a container that runs as any user."""
    patch.delenv("HOME")
    patch.delenv("XDG_STATE_HOME")
    patch.setattr("pwd.getpwuid", lambda uid: {}[uid])


def a_home_that_does_not_exist(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("HOME", "/nonexistent")
    patch.delenv("XDG_STATE_HOME")


def failing(error: Exception) -> Obstacle:
    def obstruct(folder: Path, patch: pytest.MonkeyPatch) -> None:
        def transact(file: JournalDatabase, operations: Any) -> list[Any]:
            raise error

        patch.setattr(JournalDatabase, "transact", transact)

    obstruct.__name__ = str(error)
    return obstruct


OBSTACLES: list[Obstacle] = [
    a_file_in_place_of_the_folder,
    a_folder_in_place_of_the_file,
    no_home,
    a_home_that_does_not_exist,
    failing(OSError(errno.ENOSPC, "No space left on device")),
    failing(OSError(errno.EROFS, "Read-only file system")),
    failing(OSError(errno.ENOLCK, "No locks available")),
]


@pytest.fixture(params=OBSTACLES, ids=lambda obstacle: obstacle.__name__)
def _obstructed(request: pytest.FixtureRequest, state_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request.param(state_folder, monkeypatch)


def warnings_in(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]


async def submit_all_ways(platform: FakePlatform, **settings: Any) -> int:
    """Submit alone, in a stream and after a recovery; return how many programs were to be sent."""
    async with platform.connection(**settings) as connection:
        await connection.create_job(TARGET, circuit(1))
        assert len([item async for item in connection.create_jobs(TARGET, circuits(3))]) == 3
        assert await connection.recover() == sfjobs.Recovery()
        await connection.create_job(TARGET, circuit(5))
    return 5


# -- what each setting does --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_obstructed")
@pytest.mark.submits("singly", "in batches")
@pytest.mark.parametrize("settings", [{}, {"journal": "auto"}], ids=["by default", "auto"])
async def test_submissions_go_on_after_one_warning(
    platform: FakePlatform, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    sent = [await submit_all_ways(platform, **settings) for _ in range(2)]  # two connections
    assert len(platform.jobs) == sum(sent)
    [warning] = warnings_in(caplog)
    assert "Submissions go on" in warning
    assert "SFJOBS_JOURNAL" in warning
    assert "Nothing was sent" not in warning


@pytest.mark.usefixtures("_obstructed")
@pytest.mark.submits("singly", "in batches")
async def test_on_refuses(platform: FakePlatform, caplog: pytest.LogCaptureFixture) -> None:
    async with platform.connection(journal="on") as connection:
        with pytest.raises(sfjobs.JournalError, match=r"Nothing was sent\.\n.*SFJOBS_JOURNAL"):
            await connection.create_job(TARGET, circuit(1))
        with pytest.raises(sfjobs.JournalError):
            await anext(connection.create_jobs(TARGET, circuits(3)))
        with pytest.raises(sfjobs.JournalError):
            await connection.recover()
    assert platform.submissions == []


@pytest.mark.usefixtures("_obstructed")
@pytest.mark.submits("singly", "in batches")
async def test_off_is_silent(platform: FakePlatform, caplog: pytest.LogCaptureFixture) -> None:
    await submit_all_ways(platform, journal="off")
    assert len(platform.jobs) == 5
    assert warnings_in(caplog) == []


async def test_a_path_of_the_caller_refuses(
    platform: FakePlatform, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_file_in_place_of_the_folder(state_folder, monkeypatch)
    async with platform.connection(journal=str(state_folder / "mine.db")) as connection:
        with pytest.raises(sfjobs.JournalError):
            await connection.create_job(TARGET, circuit(1))
    assert platform.submissions == []


@pytest.mark.parametrize("word", ["auto", " AUTO ", "on", "ON"])
async def test_auto_is_on_where_the_journal_can_be_written(
    platform: FakePlatform,
    state_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    word: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SFJOBS_JOURNAL=ON was the name of a file, where the settings were given by arguments."""
    monkeypatch.setenv("SFJOBS_JOURNAL", word)
    await submit_all_ways(platform)
    assert states(state_folder / PLACE) == ["submitted"] * 5
    assert warnings_in(caplog) == []


async def test_another_word_of_the_environment_is_refused(
    platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFJOBS_JOURNAL", "never")
    async with platform.connection() as connection:
        with pytest.raises(sfjobs.ConfigurationError, match="Write auto, on, off, or a path"):
            await connection.create_job(TARGET, circuit(1))
    assert platform.submissions == []


@pytest.mark.usefixtures("_obstructed")
def test_the_blocking_api_warns_once_too(platform: FakePlatform, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        transport = httpx.MockTransport(platform.handle)
        with sync.Connection(settings=platform.settings(), transport=transport) as connection:
            connection.create_job(TARGET, circuit(1))
    assert len(platform.jobs) == 2
    assert len(warnings_in(caplog)) == 1


# -- what needs the journal --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_obstructed")
async def test_a_group_needs_its_journal(platform: FakePlatform) -> None:
    async with platform.connection() as connection:
        with pytest.raises(sfjobs.JournalError, match="SFJOBS_JOURNAL"):
            await sfjobs.JobGroup.open("sweep", connection)


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        failing(OSError(errno.ENOSPC, "No space left on device"))(Path(), patch)
        yield


async def refuse_for_a_full_disk(journal: Journal, *_: object) -> None:
    raise sfjobs.JournalError("full") from OSError(errno.ENOSPC, "No space left on device")


async def test_a_group_sends_nothing_that_its_journal_cannot_note(
    platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.connection() as connection:
        group = await sfjobs.JobGroup.open("sweep", connection)
        await group.add(TARGET, circuit(1), name="one")
        with full_disk(monkeypatch), pytest.raises(sfjobs.JournalError):
            await group.submit()
        assert platform.submissions == []
        with monkeypatch.context() as patch:  # the disk is full once the programs have been read
            patch.setattr(Journal, "open", refuse_for_a_full_disk)
            with pytest.raises(sfjobs.JournalError):
                await group.submit()
        assert platform.submissions == []
        assert (await group.submit()).unfinished == 1


async def test_the_journal_is_used_again_when_there_is_room(
    platform: FakePlatform, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.connection() as connection:
        await connection.create_job(TARGET, circuit(1))
        await connection.recover()  # all writes for that job are done
        with full_disk(monkeypatch):
            await connection.create_job(TARGET, circuit(2))
        await connection.create_job(TARGET, circuit(3))
    assert len(platform.jobs) == 3
    assert states(state_folder / PLACE) == ["submitted"] * 2


async def test_a_recovery_does_not_take_a_journal_on_a_full_disk_for_an_empty_one(
    platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.connection() as connection:
        await connection.create_job(TARGET, circuit(1))
        with full_disk(monkeypatch), pytest.raises(sfjobs.JournalError, match="No space left"):
            await connection.recover()


async def test_the_error_of_a_lost_response_does_not_name_a_journal_that_has_nothing(
    platform: FakePlatform, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose_the_response(request: httpx.Request) -> None:
        if request.url.path == "/jobs":
            raise httpx.ReadError("gone", request=request)

    a_file_in_place_of_the_folder(state_folder, monkeypatch)
    platform.trouble = lose_the_response
    async with platform.connection(retries=1) as connection:
        with pytest.raises(sfjobs.SubmissionUnknownError, match="sfjobs list"):
            await connection.create_job(TARGET, circuit(1))


async def test_a_journal_of_a_later_version_is_not_passed_over(platform: FakePlatform, state_folder: Path) -> None:
    async with platform.connection() as connection:
        await connection.create_job(TARGET, circuit(1))
    execute(state_folder / PLACE, "PRAGMA user_version = 99")
    async with platform.connection() as connection:
        with pytest.raises(sfjobs.JournalError, match="later version"):
            await connection.create_job(TARGET, circuit(2))
    assert len(platform.jobs) == 1


async def test_a_journal_that_is_locked_for_long_is_not_passed_over(
    platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(OSError(errno.EBUSY, "it has been locked by process 1 for 30 s"))(Path(), monkeypatch)
    async with platform.connection() as connection:
        with pytest.raises(sfjobs.JournalError, match="Another process has locked it"):
            await connection.create_job(TARGET, circuit(1))
    assert platform.submissions == []


# -- real processes ----------------------------------------------------------------------------------------------------------

_PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "nobody":
    import pwd
    pwd.getpwuid = lambda uid: {}[uid]
if sys.argv[2] == "full disk":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
if sys.argv[2] == "removed folder":
    os.mkdir("gone"), os.chdir("gone"), os.rmdir("../gone")
import anyio, httpx, sfjobs
from tests.support.fake_platform import KEY, URL, FakePlatform
async def main():
    platform = FakePlatform()
    for _ in range(2):
        async with sfjobs.Connection(URL, api_key=KEY, transport=httpx.MockTransport(platform.handle)) as connection:
            await connection.create_job("simulon_gaussian", "Vac | 0")
            result = await (await connection.get_job(platform.add(status="complete").id))
    print(len(platform.submissions), result.shots)
anyio.run(main)
"""
_NO_PLACE = ["nobody", "a file", "/nonexistent", "full disk"]
if sys.platform == "linux":
    _NO_PLACE.append("/proc/read-only")  # where nothing can be created, by root neither


def submitting(folder: Path, home: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program that submits from two connections, as a user with this kind of home; every warning is an error."""
    environment = clean_environment(folder, PYTHONWARNINGS="error", PYTHONDONTWRITEBYTECODE="1", **more)
    environment.pop("HOME")
    if home == "a file":
        (folder / "home").write_text("")
        environment["HOME"] = str(folder / "home")
    elif home != "nobody":
        environment["HOME"] = home if home.startswith("/") else str(folder)
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(ROOT), home],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="homes are found by other means there")
@pytest.mark.parametrize("home", _NO_PLACE)
def test_a_process_without_a_home_submits_and_says_so_once(home: str, tmp_path: Path) -> None:
    done = submitting(tmp_path, home)
    assert (done.returncode, done.stdout) == (0, "2 3\n"), done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("The journal of submissions ")


@pytest.mark.skipif(sys.platform == "win32", reason="homes are found by other means there")
@pytest.mark.parametrize("home", _NO_PLACE)
def test_a_process_without_a_home_is_silent_when_the_journal_is_off(home: str, tmp_path: Path) -> None:
    done = submitting(tmp_path, home, SFJOBS_JOURNAL="off")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 3\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="homes are found by other means there")
def test_a_process_in_a_folder_that_was_removed_submits(tmp_path: Path) -> None:
    done = submitting(tmp_path, "removed folder")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 3\n", "")
