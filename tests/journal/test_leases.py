"""
Leases: which process is sending what. They are of a file, not of its path; they live as long as their process, whatever happens
to the folder; and no wait for a lock is without an end.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import sfjobs
from sfjobs._journal import Intent, Journal, JournalLocation, State, SubmissionOutcome, file_locks
from sfjobs._journal.process_lock import ProcessLock
from tests.support.fake_platform import URL, FakePlatform
from tests.support.journals import rows
from tests.support.processes import Child

pytestmark = [pytest.mark.real_time, pytest.mark.skipif(sys.platform == "win32", reason="links, and folders in use")]

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")

# Holds an intent open, and does with each line of its input what the line says.
_HOLD = """
import os, sys, anyio
from pathlib import Path
from sfjobs._journal import *
path = Path(sys.argv[1])
async def main():
    journal = Journal.at(JournalLocation(path))
    async def hold(key):
        await journal.open([Intent(key=key, url="http://platform.test:8080", account="", target="t", body=b"x")])
    await hold("theirs")
    print("ready", flush=True)
    for line in sys.stdin:
        word = line.strip()
        if word == "look":
            for file in path.parent.iterdir():
                if file.is_file():
                    file.read_bytes()
        elif word == "fork":
            reading, writing = os.pipe()
            if not os.fork():
                os.write(writing, b"!")  # what the library does after a fork is done before os.fork() returns
                sys.stdin.read()
                os._exit(0)
            os.read(reading, 1)
        else:
            await hold(word)
        print("done", flush=True)
anyio.run(main)
"""


class Holder:
    def __init__(self, path: Path) -> None:
        self.process = Child(
            [sys.executable, "-c", _HOLD, str(path)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._line() == "ready"

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self._line() == "done"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "submissions.db"


@pytest.fixture
def holder(path: Path) -> Iterator[Holder]:
    holder = Holder(path)
    with holder.process:
        yield holder
        holder.kill()


def intent(key: str) -> Intent:
    return Intent(key=key, url=URL, account="", target="t", body=b"x")


def a_linked_folder(path: Path) -> Path:
    (link := path.parent.with_name("link")).symlink_to(path.parent)
    return link / path.name


def a_linked_file(path: Path) -> Path:
    (link := path.parent.with_name("link.db")).symlink_to(path)
    return link


def a_way_round(path: Path) -> Path:
    return path.parent / ".." / path.parent.name / path.name


SPELLINGS = [a_linked_folder, a_linked_file, a_way_round]


# -- of the file, not of its path ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", SPELLINGS)
@pytest.mark.parametrize("exists", [True, False])
async def test_a_process_has_one_journal_however_its_path_is_spelled(
    path: Path, spelled: Callable[[Path], Path], exists: bool
) -> None:
    """Its own submissions in flight were settled as those of a dead process."""
    journal = Journal.at(JournalLocation(path))
    if exists:
        await journal.open([intent("ours")])
    other = Journal.at(JournalLocation(spelled(path)))
    await journal.open([intent("ours")])
    assert await other.claim(URL, "") == ([], 1)
    assert other is journal


async def test_two_names_of_one_file_are_one_journal(path: Path) -> None:
    """As where a folder is mounted twice."""
    journal = Journal.at(JournalLocation(path))
    await journal.open([intent("ours")])
    path.with_name("linked.db").hardlink_to(path)
    assert Journal.at(JournalLocation(path.with_name("linked.db"))) is journal


@pytest.mark.parametrize("spelled", SPELLINGS)
async def test_the_lease_of_another_process_counts_however_its_path_is_spelled(
    path: Path, holder: Holder, spelled: Callable[[Path], Path]
) -> None:
    journal = Journal.at(JournalLocation(spelled(path)))
    assert await journal.claim(URL, "") == ([], 1)
    holder.kill()
    assert len((await journal.claim(URL, ""))[0]) == 1


def test_a_file_is_locked_once_by_a_process(path: Path) -> None:
    lock = ProcessLock.at(path)
    assert ProcessLock.at(a_linked_folder(path)) is lock
    assert ProcessLock.at(path.with_name("other")) is not lock
    assert ProcessLock.at(path.with_name("other")).number == lock.number


# -- as long as the process ----------------------------------------------------------------------------------------------


@linux_only
async def test_looking_at_the_files_releases_no_lease(path: Path, holder: Holder) -> None:
    """Closing any descriptor of a file drops the locks that a process has on it. Those of an open file stay."""
    holder.tell("look")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM processes")
        connection.commit()
    assert await Journal.at(JournalLocation(path)).claim(URL, "") == ([], 1)


async def test_a_lease_goes_along_into_a_folder_that_replaces_the_old_one(path: Path, holder: Holder) -> None:
    """The lock stayed with the file of the old folder, and what was sent from then on looked like a dead process's."""
    path.parent.rename(path.parent.with_name("old"))
    path.parent.mkdir()
    holder.tell("second")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM processes")
        connection.commit()
    journal = Journal.at(JournalLocation(path))
    assert await journal.claim(URL, "") == ([], 1)
    old = Journal.at(JournalLocation(path.parent.with_name("old") / path.name))
    assert await old.claim(URL, "") == ([], 1)
    holder.kill()
    assert [[entry.key for entry in (await each.claim(URL, ""))[0]] for each in (journal, old)] == [
        ["second"],
        ["theirs"],
    ]


def copied(path: Path) -> None:
    shutil.copytree(path.parent, path.parent.with_name("copy"))
    shutil.rmtree(path.parent)
    path.parent.with_name("copy").rename(path.parent)


def without_locks(path: Path) -> None:
    path.with_name(f"{path.name}-owners").unlink()


@linux_only
@pytest.mark.parametrize("replace", [copied, without_locks])
async def test_a_process_that_waits_for_a_response_keeps_its_lease_when_the_lock_is_replaced(
    path: Path, holder: Holder, replace: Callable[[Path], None]
) -> None:
    replace(path)
    journal = Journal.at(JournalLocation(path))
    assert await journal.claim(URL, "") == ([], 1)
    holder.kill()
    assert len((await journal.claim(URL, ""))[0]) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
async def test_a_forked_child_does_not_keep_the_lease_of_its_parent(path: Path, holder: Holder) -> None:
    holder.tell("fork")  # the child lives as long as the parent's input is open
    holder.kill()
    assert len((await Journal.at(JournalLocation(path)).claim(URL, ""))[0]) == 1


async def test_without_locks_of_open_files_those_of_processes_count(
    path: Path, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_locks, "_SET", None)
    monkeypatch.setattr(file_locks, "_GET", None)
    journal = Journal.at(JournalLocation(path))
    assert await journal.claim(URL, "") == ([], 1)
    holder.kill()
    assert len((await journal.claim(URL, ""))[0]) == 1


async def test_processes_that_have_ended_are_forgotten(path: Path, holder: Holder) -> None:
    holder.kill()
    journal = Journal.at(JournalLocation(path))
    await journal.open([intent("ours")])
    journal.close([SubmissionOutcome(key="ours", state=State.OPEN)])
    await journal.flush()
    with closing(sqlite3.connect(path)) as connection:
        assert len(connection.execute("SELECT * FROM processes").fetchall()) <= 1
    assert [row["key"] for row in rows(path)] == ["theirs", "ours"]


# -- no wait without an end ----------------------------------------------------------------------------------------------

_LOCK = """
import sys
from pathlib import Path
from sfjobs._journal.process_lock import ProcessLock
with ProcessLock.at(Path(sys.argv[1] + "-owners")).exclusive(5):
    print("ready", flush=True)
    sys.stdin.read()
"""
_WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("BEGIN IMMEDIATE")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("script", "file"), [(_LOCK, "submissions.db-owners"), (_WRITE, "submissions.db")])
async def test_a_lock_that_another_process_holds_for_long_is_an_error_that_names_file_and_process(
    path: Path, script: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for the file of locks had no end, and that for the database named no process."""
    monkeypatch.setattr("sfjobs._journal.database.BUSY_TIMEOUT_SECONDS", 0.2)
    platform = FakePlatform()
    arguments = [sys.executable, "-c", script, str(path)]
    with Child(arguments, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        async with platform.connection(journal=str(path)) as connection:
            with pytest.raises(sfjobs.JournalError, match=r"Nothing was sent.*\n.*find that process") as caught:
                await connection.create_job("simulon_gaussian", "Vac | 0")
            who = f"process {child.pid}" if sys.platform == "linux" or script is _LOCK else "another process"
            assert f"{path.with_name(file)} has been locked by {who} for 0.2 s" in str(caught.value)
            child.kill()
            child.wait()
            await connection.create_job("simulon_gaussian", "Vac | 0")
    assert len(platform.submissions) == 1


def test_threads_of_one_process_keep_each_other_out(path: Path) -> None:
    lock = ProcessLock.at(path)
    with lock.exclusive(1), pytest.raises(OSError, match="another thread"), lock.exclusive(0.01):
        pass
    with lock.exclusive(0.01):
        pass
