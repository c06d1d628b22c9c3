"""The journal of submissions: what is written when, and what can happen to its file. Real files, the platform in memory."""

from __future__ import annotations

import errno
import gc
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import sync
from sfjobs._journal import Intent, Journal, JournalLocation, State, SubmissionOutcome
from sfjobs._journal.database import JournalDatabase
from sfjobs.config import known_cache
from tests.support.counter import circuit, circuits
from tests.support.fake_platform import KEY, URL, FakePlatform, refusal
from tests.support.journals import execute, rows, states
from tests.support.paths import ROOT
from tests.support.processes import Child

pytestmark = pytest.mark.real_time

TARGET = "simulon_gaussian"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "submissions.db"


def intent(number: int) -> Intent:
    return Intent(key=f"key-{number}", url=URL, account="", target=TARGET, body=circuit(number).encode())


# -- what is written when ------------------------------------------------------------------------------------------------


async def test_a_submission_is_on_disk_before_it_is_sent(platform: FakePlatform, path: Path) -> None:
    seen: list[dict[str, Any]] = []

    async def read_row(request: httpx.Request) -> None:
        if request.url.path == "/jobs":
            [row] = rows(path)
            assert (row["state"], row["key"]) == ("open", request.headers["idempotency-key"])
            assert row["body"] == request.content
            seen.append(row)

    platform.trouble = read_row
    async with platform.connection(journal=str(path)) as connection:
        await connection.create_job(TARGET, circuit(1), shots=7, name="mine")
    [row] = seen
    assert (row["url"], row["target"], row["shots"], row["name"]) == (URL, TARGET, 7, "mine")


async def test_the_response_closes_it_with_the_job_id(platform: FakePlatform, path: Path) -> None:
    async with platform.connection(journal=str(path)) as connection:
        job = await connection.create_job(TARGET, circuit(1))
    [row] = rows(path)
    assert (row["state"], row["job_id"], row["owner"], row["body"]) == ("submitted", job.id, None, None)


async def test_no_credential_is_in_any_file(platform: FakePlatform, path: Path) -> None:
    async with platform.connection(journal=str(path), access_token="a-token-that-must-never-be-seen") as connection:
        await connection.create_job(TARGET, circuit(1))
        content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert circuit(1)[:-1].encode() in content
    assert KEY.encode() not in content
    assert b"must-never-be-seen" not in content


async def test_only_its_user_can_read_it(platform: FakePlatform, path: Path) -> None:
    before = os.umask(0)
    try:
        async with platform.connection(journal=str(path)) as connection:
            await connection.create_job(TARGET, circuit(1))
            files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert set(files.values()) == {0o600}
    assert len(files) == 4  # the database, what SQLite puts beside it, and the file of the locks
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def lost(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("the connection broke")


def unreachable(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no route")


OUTCOMES: dict[str, tuple[Callable[[httpx.Request], httpx.Response], str]] = {
    "a program that does not parse": (lambda _: refusal(400, "parse-error", "no"), "refused"),
    "a program that does not suit": (lambda _: refusal(409, "unsupported-circuit", "no"), "refused"),
    "not allowed": (lambda _: refusal(403, "forbidden", "no"), "refused"),
    "an unknown key": (lambda _: refusal(401, "unauthenticated", "no"), "unsent"),
    "too many requests": (lambda _: refusal(429, "too-many-requests", "no"), "unsent"),
    "unavailable": (lambda _: refusal(503, "unavailable", "no"), "unsent"),
    "unreachable": (unreachable, "unsent"),
    "a bad gateway": (lambda _: refusal(502, "bad-gateway", "no"), "open"),
    "a server error": (lambda _: refusal(500, "server-error", "no"), "open"),
    "a broken connection": (lost, "open"),
    "a malformed body": (lambda _: httpx.Response(201, text="<html>"), "open"),
    "a key in use by an earlier attempt": (lambda _: refusal(409, "idempotency-key-in-use", "wait"), "open"),
}


@pytest.mark.parametrize(("answer", "state"), OUTCOMES.values(), ids=OUTCOMES.keys())
async def test_an_error_determines_the_outcome(
    platform: FakePlatform, path: Path, answer: Callable[[httpx.Request], httpx.Response], state: str
) -> None:
    platform.trouble = for_submissions(answer)
    async with platform.connection(journal=str(path), retries=1) as connection:
        with pytest.raises(sfjobs.SFJobsError):
            await connection.create_job(TARGET, circuit(1))
    [row] = rows(path)
    assert (row["state"], row["owner"]) == (state, None)
    assert row["reason"]


def for_submissions(
    answer: Callable[[httpx.Request], httpx.Response],
) -> Callable[[httpx.Request], Awaitable[httpx.Response | None]]:
    async def handle(request: httpx.Request) -> httpx.Response | None:
        return answer(request) if request.url.path == "/jobs" and request.method == "POST" else None

    return handle


async def test_a_submission_with_a_key_whose_first_response_was_lost_stays_open_after_any_error(
    platform: FakePlatform, path: Path
) -> None:
    platform.honours_keys = True
    answers = iter([lost, lambda _: refusal(503, "unavailable", "no")])

    def answer(request: httpx.Request) -> httpx.Response:
        return next(answers)(request)

    async with platform.connection(journal=str(path), retries=2) as connection:
        await connection.create_job(TARGET, circuit(0))
        platform.trouble = for_submissions(answer)
        with pytest.raises(sfjobs.ServerError):
            await connection.create_job(TARGET, circuit(1))
    assert states(path) == ["submitted", "open"]


async def test_a_submission_cancelled_before_it_was_sent_is_unsent(platform: FakePlatform, path: Path) -> None:
    requested = anyio.Event()

    async def hold_the_token(request: httpx.Request) -> None:
        requested.set()
        await anyio.sleep_forever()

    platform.trouble = hold_the_token
    async with platform.connection(journal=str(path)) as connection, anyio.create_task_group() as group:
        group.start_soon(connection.create_job, TARGET, circuit(1))
        await requested.wait()
        assert states(path) == ["open"]
        group.cancel_scope.cancel()
    assert states(path) == ["unsent"]
    assert platform.submissions == []


async def test_a_submission_cancelled_in_flight_is_left_open(platform: FakePlatform, path: Path) -> None:
    sent = anyio.Event()

    async def hold_the_response(request: httpx.Request) -> None:
        if request.url.path == "/jobs":
            sent.set()
            await anyio.sleep_forever()

    platform.trouble = hold_the_response
    async with platform.connection(journal=str(path)) as connection, anyio.create_task_group() as group:
        group.start_soon(connection.create_job, TARGET, circuit(1))
        await sent.wait()
        group.cancel_scope.cancel()
    [row] = rows(path)
    assert (row["state"], row["owner"]) == ("open", None)


async def test_a_submission_cancelled_while_it_is_written_is_not_sent(
    platform: FakePlatform, path: Path, disk: Disk
) -> None:
    disk.release()
    async with platform.connection(journal=str(path)) as connection:
        await connection.create_job(TARGET, circuit(0))
        await connection.recover()  # all writes for that job are done
        disk.hold()
        async with anyio.create_task_group() as group:
            group.start_soon(connection.create_job, TARGET, circuit(1))
            await disk.wait_until_busy()
            group.cancel_scope.cancel()
        disk.release()
    assert states(path) == ["submitted", "unsent"]
    assert len(platform.submissions) == 1


async def test_many_programs_are_written_with_one_commit_a_batch(
    platform: FakePlatform, path: Path, disk: Disk
) -> None:
    platform.offers_batches = platform.honours_keys = True
    disk.release()
    async with platform.connection(journal=str(path)) as connection:
        await connection.create_job(TARGET, circuit(0))
        disk.commits.clear()
        jobs = [job async for job in connection.create_jobs(TARGET, circuits(300), window=300)]
    assert len(jobs) == 300
    assert states(path) == ["submitted"] * 301
    assert len(disk.commits) <= 3 + 3 + 1  # each batch is opened and closed once, and all is flushed at the end


async def test_nothing_is_written_when_the_journal_is_off(platform: FakePlatform, path: Path) -> None:
    async with platform.connection(journal="off") as connection:
        await connection.create_job(TARGET, circuit(1))
        assert await connection.recover() == sfjobs.Recovery()
    assert not path.parent.exists()


async def test_without_a_setting_the_environment_is_read_with_the_first_submission(
    platform: FakePlatform, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = platform.settings()
    monkeypatch.setenv("SFJOBS_JOURNAL", str(path))
    async with sfjobs.Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        await connection.create_job(TARGET, circuit(1))
    assert states(path) == ["submitted"]


def test_by_default_it_is_in_the_systems_state_folder(
    platform: FakePlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SFJOBS_JOURNAL")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    location = JournalLocation.of(platform.settings())
    assert location is not None
    assert location.path.is_relative_to(tmp_path)
    assert JournalLocation.of(platform.settings(journal="on")) == location


async def test_without_a_known_home_submitting_is_an_error_with_a_remedy(
    platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without HOME and without a line in /etc/passwd, as in a container, creating a Connection was a RuntimeError."""
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SFJOBS_JOURNAL", "on")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    transport = httpx.MockTransport(platform.handle)
    async with sfjobs.Connection(URL, api_key=KEY, transport=transport) as connection:
        with pytest.raises(sfjobs.JournalError, match="where your home is") as caught:
            await connection.create_job(TARGET, circuit(1))
        assert "SFJOBS_JOURNAL" in str(caught.value)
    monkeypatch.setenv("SFJOBS_JOURNAL", "off")
    async with sfjobs.Connection(URL, api_key=KEY, transport=transport) as connection:
        await connection.create_job(TARGET, circuit(1))
    assert known_cache()[0] is None


# -- commits, threads, processes -----------------------------------------------------------------------------------------


class Disk:
    """A disk that a test can block: transactions wait until ``release``."""

    def __init__(self, transact: Callable[[JournalDatabase, Any], list[Any]]) -> None:
        self._transact = transact
        self._gate = threading.Event()
        self._busy = threading.Event()
        self.commits: list[int] = []

    def transact(self, file: JournalDatabase, operations: Any) -> list[Any]:
        self._busy.set()
        self._gate.wait(30)
        self.commits.append(len(operations))
        return self._transact(file, operations)

    def hold(self) -> None:
        self._gate.clear()
        self._busy.clear()

    def release(self) -> None:
        self._gate.set()

    async def wait_until_busy(self) -> None:
        await anyio.to_thread.run_sync(self._busy.wait, 30)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(JournalDatabase.transact)

    def transact(file: JournalDatabase, operations: Any) -> list[Any]:
        return disk.transact(file, operations)

    monkeypatch.setattr(JournalDatabase, "transact", transact)
    return disk


async def test_submissions_that_wait_for_the_disk_share_the_next_commit_and_do_not_block_the_loop(
    path: Path, disk: Disk
) -> None:
    journal = Journal.at(JournalLocation(path))
    async with anyio.create_task_group() as group:
        group.start_soon(journal.open, [intent(0)])
        await disk.wait_until_busy()  # the event loop runs while the disk is busy
        for number in range(1, 51):
            group.start_soon(journal.open, [intent(number)])
        await anyio.wait_all_tasks_blocked()
        disk.release()
    assert disk.commits == [1, 50]
    assert len(rows(path)) == 51


async def test_connections_of_several_threads_share_one_journal(platform: FakePlatform, path: Path) -> None:
    settings = platform.settings(journal=str(path))

    def submit() -> None:
        with sync.Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
            for number in range(20):
                connection.create_job(TARGET, circuit(number))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join)
    assert states(path) == ["submitted"] * 80


def test_a_process_has_one_journal_for_a_file(path: Path) -> None:
    assert Journal.at(JournalLocation(path)) is (one := Journal.at(JournalLocation(path)))
    assert Journal.at(JournalLocation(path.with_name("other.db"))) is not one


_WRITE_MANY = """
import sys, anyio
from pathlib import Path
from sfjobs._journal import *
async def main(name, path):
    journal = Journal.at(JournalLocation(Path(path)))
    for number in range(100):
        key = f"{name}-{number}"
        await journal.open([Intent(key=key, url="u", account="", target="t", body=b"x")])
        journal.close([SubmissionOutcome(key=key, state=State.SUBMITTED, job_id=key)])
anyio.run(main, *sys.argv[1:])
"""


def python(script: str, *arguments: str, **options: Any) -> Child:
    return Child(
        [sys.executable, "-c", script, *arguments],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def finished(process: Child) -> str:
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return out


def test_several_processes_write_concurrently_and_lose_nothing(path: Path) -> None:
    # The last outcomes are written before the process ends, although no task waits for them.
    for process in [python(_WRITE_MANY, str(name), str(path)) for name in range(4)]:
        finished(process)
    found = rows(path)
    assert {row["job_id"] for row in found} == {f"{name}-{number}" for name in range(4) for number in range(100)}


_EXIT = """
import sys, anyio
from pathlib import Path
import sfjobs._journal.writer
from sfjobs import JournalError
from sfjobs._journal import *
journal = Journal.at(JournalLocation(Path(sys.argv[1])))
async def write(key):
    await journal.open([Intent(key=key, url="u", account="", target="t", body=b"x")])
anyio.run(write, "before")
sfjobs._journal.writer._finish()  # as the interpreter does at its end
journal.close([SubmissionOutcome(key="before", state=State.SUBMITTED)])
try:
    anyio.run(write, "after")
except JournalError as error:
    print(error)
"""


def test_a_write_after_the_end_of_the_process_fails_at_once(path: Path) -> None:
    assert "about to end" in finished(python(_EXIT, str(path)))
    assert states(path) == ["open"]


_FORK = """
import os, sys, anyio
from sfjobs import Settings
from sfjobs._journal import *
record = JournalSession(Settings(url="http://platform.test:8080", api_key="k", journal=sys.argv[1]))
async def write(key):
    await record.open([Intent(key=key, url="u", account="", target="t", body=b"x")])
parents = record.journal
anyio.run(write, "before")
child = os.fork()
if not child:
    assert record.journal is not parents
    anyio.run(write, "child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
anyio.run(write, "after")
assert record.journal is parents
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_its_own_journal(path: Path) -> None:
    finished(python(_FORK, str(path)))
    owners = {row["key"]: row["owner"] for row in rows(path)}
    assert owners.keys() == {"before", "child", "after"}
    assert owners["before"] == owners["after"] != owners["child"]


_HOLD = """
import sys, anyio
from pathlib import Path
from sfjobs._journal import *
async def main(path):
    journal = Journal.at(JournalLocation(Path(path)))
    await journal.open([Intent(key="theirs", url="http://platform.test:8080", account="", target="t", body=b"x")])
    print("ready", flush=True)
    sys.stdin.read()
anyio.run(main, sys.argv[1])
"""


async def test_open_intents_of_a_living_process_are_not_claimed_until_it_dies(path: Path) -> None:
    journal = Journal.at(JournalLocation(path))
    with python(_HOLD, str(path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert await journal.claim(URL, "") == ([], 1)
        process.kill()
        process.wait()
    [entry], under_way = await journal.claim(URL, "")
    assert (entry.key, entry.intent.body, under_way) == ("theirs", b"x", 0)
    assert await journal.claim(URL, "") == ([], 1)  # this process has it now
    journal.close([SubmissionOutcome(key="theirs", state=State.OPEN)])
    assert len((await journal.claim(URL, ""))[0]) == 1


async def test_open_intents_of_this_process_are_not_claimed(path: Path) -> None:
    journal = Journal.at(JournalLocation(path))
    await journal.open([intent(1), intent(2)])
    assert await journal.claim(URL, "") == ([], 2)
    journal.close([SubmissionOutcome(key="key-1", state=State.OPEN, reason="lost")])
    [entry], under_way = await journal.claim(URL, "")
    assert (entry.key, under_way) == ("key-1", 1)


async def test_a_submitted_intent_stays_submitted(path: Path) -> None:
    journal = Journal.at(JournalLocation(path))
    await journal.open([intent(1)])
    journal.close([SubmissionOutcome(key="key-1", state=State.SUBMITTED, job_id="job")])
    await journal.open([intent(1)])
    journal.close([SubmissionOutcome(key="key-1", state=State.OPEN, reason="lost")])
    await journal.flush()
    [row] = rows(path)
    assert (row["state"], row["job_id"]) == ("submitted", "job")


# -- what can happen to a file -------------------------------------------------------------------------------------------


def scribble(path: Path) -> None:
    path.write_bytes(b"this is not a database " * 1000)


def overwrite_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("damage", [scribble, overwrite_pages, cut_off], ids=lambda function: function.__name__)
async def test_a_damaged_file_is_set_aside_and_reported(
    platform: FakePlatform, path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    finished(python(_WRITE_MANY, "before", str(path)))
    damage(path)
    async with platform.connection(journal=str(path)) as connection:
        job = await connection.create_job(TARGET, circuit(1))
        recovery = await connection.recover()
    assert [row["job_id"] for row in rows(path)] == [job.id]
    [kept] = recovery.set_aside
    assert kept.startswith(f"{path}.damaged-2")
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert str(path) in line
    assert Path(kept).name in line


async def test_a_file_that_another_process_has_set_aside_is_not_written(path: Path) -> None:
    journal = Journal.at(JournalLocation(path))
    await journal.open([intent(1)])
    for tail in ("", "-wal", "-shm"):
        path.with_name(path.name + tail).rename(path.with_name(f"{path.name}.damaged-20260101T000000Z{tail}"))
    finished(python(_WRITE_MANY, "another", str(path)))
    await journal.open([intent(2)])
    assert [row["key"] for row in rows(path)] == [*(f"another-{number}" for number in range(100)), "key-2"]
    assert len(journal.damaged_files) == 1


async def test_a_deleted_file_is_created_again(path: Path) -> None:
    journal = Journal.at(JournalLocation(path))
    await journal.open([intent(1)])
    for file in path.parent.iterdir():
        if not file.name.endswith("-owners"):
            file.unlink()
    await journal.open([intent(2)])
    assert [row["key"] for row in rows(path)] == ["key-2"]


def _obstruct(path: Path, what: str) -> Callable[[], None]:
    if what.startswith("a file"):
        path.parent.write_text("")
        return path.parent.unlink
    path.mkdir(parents=True)
    return path.rmdir


@pytest.mark.parametrize("what", ["a file instead of the folder", "a folder instead of the file"])
async def test_nothing_is_sent_when_the_file_cannot_be_created(platform: FakePlatform, path: Path, what: str) -> None:
    repair = _obstruct(path, what)
    async with platform.connection(journal=str(path)) as connection:
        with pytest.raises(sfjobs.JournalError, match=r"submissions\.db.*\n.*SFJOBS_JOURNAL") as caught:
            await connection.create_job(TARGET, circuit(1))
        stream = connection.create_jobs(TARGET, circuits(3))
        with pytest.raises(sfjobs.JournalError):
            await anext(stream)
        assert "Nothing was sent" in str(caught.value)
        assert platform.submissions == []
        # After a repair the stream goes on without losing a program.
        repair()
        assert len([job async for job in stream]) == 3


_FULL = """
import resource, sys, anyio, httpx
sys.path.insert(0, sys.argv[2])
from sfjobs import JournalError
from tests.support.fake_platform import KEY, URL, FakePlatform
async def main(path):
    platform = FakePlatform()
    async with platform.connection(journal=path) as connection:
        await connection.create_job("simulon_gaussian", "Vac | 0")
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            while len(platform.submissions) < 1000:
                await connection.create_job("simulon_gaussian", "Vac | 0\\n" * 1000)
        except JournalError as error:
            print(len(platform.submissions), error)
anyio.run(main, sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no limit on the size of files")
def test_a_full_disk_stops_the_submission_before_it_is_sent(path: Path) -> None:
    count, _, words = finished(python(_FULL, str(path), str(ROOT))).partition(" ")
    assert 1 < int(count) < 1000
    assert "SFJOBS_JOURNAL" in words
    written = [row for row in rows(path) if row["state"] != "unsent"]
    assert len(written) == int(count)


async def test_a_disk_that_is_full_at_the_response_loses_no_job_and_the_log_says_so(
    platform: FakePlatform, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log said that nothing was sent."""

    def is_full(file: JournalDatabase, operations: Any) -> list[Any]:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def answer(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/jobs":
            monkeypatch.setattr(JournalDatabase, "transact", is_full)
        return None

    platform.trouble = answer
    async with platform.connection(journal=str(path)) as connection:
        await connection.create_job(TARGET, circuit(1))
    assert "No space left" in caplog.text
    assert "sfjobs recover" in caplog.text
    assert "Nothing was sent" not in caplog.text


async def test_a_file_of_a_later_version_is_not_touched(platform: FakePlatform, path: Path) -> None:
    path.parent.mkdir()
    execute(path, "PRAGMA user_version = 99")
    async with platform.connection(journal=str(path)) as connection:
        with pytest.raises(sfjobs.JournalError, match="later version"):
            await connection.create_job(TARGET, circuit(1))


async def test_old_rows_are_deleted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.at(JournalLocation(path))
    await journal.open([intent(number) for number in range(40)])
    journal.close([SubmissionOutcome(key=f"key-{number}", state=State.SUBMITTED, job_id="x") for number in range(30)])
    await journal.flush()
    day = 86_400
    execute(path, "UPDATE intents SET closed_at = ? WHERE number <= 10", time.time() - 31 * day)
    execute(path, "UPDATE intents SET closed_at = ? + number WHERE number BETWEEN 11 AND 30", time.time() - 29 * day)
    execute(path, "UPDATE intents SET opened_at = 0")
    monkeypatch.setattr("sfjobs._journal.schema.KEEP_ROWS", 15)
    finished(python(_WRITE_MANY, "another", str(path)))  # which keeps the usual number of rows
    assert [row["number"] for row in rows(path)][:31] == list(range(11, 42))
    execute(path, "VACUUM INTO ?", str(path.with_name("moved")))
    moved = Journal.at(JournalLocation(path.with_name("moved")))
    await moved.flush()
    left = [row["key"] for row in rows(path.with_name("moved"))]
    assert sum(key.startswith("another") for key in left) == 15
    assert [key for key in left if key.startswith("key-")] == [f"key-{number}" for number in range(30, 40)]


async def test_a_network_file_system_has_no_write_ahead_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    device = path.parent.stat().st_dev
    mounts = path.with_name("mountinfo")
    monkeypatch.setattr("sfjobs._journal.location._MOUNTS", mounts)
    for kind, tails in (("nfs4", {""}), ("ext4", {"", "-wal", "-shm"})):
        mounts.write_text(
            f"22 27 0:999 / /proc rw - proc proc rw\n31 1 {os.major(device)}:{os.minor(device)} / /home rw - {kind} x:/home rw\n"
        )
        location = JournalLocation(path.with_name(kind))
        journal = Journal.at(location)
        await journal.open([intent(1)])
        found = {file.name.removeprefix(kind) for file in path.parent.glob(f"{kind}*")}
        assert found == {*tails, "-owners"}
        assert [row["key"] for row in rows(location.path)] == ["key-1"]


async def test_a_process_that_runs_for_long_deletes_old_rows_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfjobs._journal.schema.KEEP_ROWS", 15)
    monkeypatch.setattr("sfjobs._journal.database.PRUNE_INTERVAL_SECONDS", 0.0)
    journal = Journal.at(JournalLocation(path))
    for start in range(0, 60, 20):
        await journal.open([intent(number) for number in range(start, start + 20)])
        journal.close(
            [SubmissionOutcome(key=f"key-{number}", state=State.REFUSED) for number in range(start, start + 20)]
        )
        await journal.flush()
    await journal.flush()
    assert len(rows(path)) <= 15


def test_the_body_is_the_json_that_was_sent(platform: FakePlatform, path: Path) -> None:
    platform.trouble = for_submissions(lost)
    with (
        sync.Connection(
            settings=platform.settings(journal=str(path)), transport=httpx.MockTransport(platform.handle)
        ) as connection,
        pytest.raises(sfjobs.SubmissionUnknownError),
    ):
        connection.create_job(TARGET, circuit(1))
    [row] = rows(path)
    assert json.loads(row["body"])["target"] == TARGET


# -- the writer's thread and the states of submissions --------------------------------------------------------------------


def writers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "sfjobs-journal"}


async def test_the_writer_ends_with_its_journal_after_its_last_write(path: Path) -> None:
    """The thread, and the open file with it, stayed until the process ended."""
    before = writers()
    journal = Journal.at(JournalLocation(path))
    await journal.open([intent(1)])
    journal.close([SubmissionOutcome(key="key-1", state=State.REFUSED)])
    [writer] = writers() - before
    assert await journal.claim(URL, "") == ([], 0)  # an operation that refers to its journal
    del journal
    gc.collect()
    await anyio.to_thread.run_sync(writer.join, 10)
    assert not writer.is_alive()
    assert states(path) == ["refused"]


@pytest.mark.parametrize("honours_keys", [True, False])
@pytest.mark.parametrize("status", [413, 415, 422])
async def test_the_submissions_of_a_refused_batch_are_not_under_way(
    platform: FakePlatform, path: Path, status: int, honours_keys: bool
) -> None:
    """Those that the platform had refused as a batch, and that were not sent since, counted as lost in transit."""
    platform.offers_batches, platform.honours_keys = True, honours_keys
    async with platform.connection(journal=str(path), retries=1) as connection:
        await connection.create_job(TARGET, circuit(0))
        refusals = iter([refusal(status, "no", "no batches")])
        platform.trouble = for_submissions(lambda request: next(refusals, None) or unreachable(request))
        with pytest.raises(sfjobs.TransportError):
            async for _ in connection.create_jobs(TARGET, circuits(5), window=5):
                pass
    assert states(path) == ["submitted"] + ["unsent"] * 5
