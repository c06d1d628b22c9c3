"""The progress of ``sfjobs wait``: one line on a terminal, few lines in a log, nothing on stdout."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Sequence

import anyio
import pytest
from rich.console import Console

from sfjobs import Connection
from sfjobs._progress import Progress
from sfjobs.cli.waiting.progress import MultiJobDisplay, WaitProgress
from sfjobs.platform.server.serving import Platform
from tests.support.commands import start

pytestmark = [pytest.mark.real_time, pytest.mark.usefixtures("configured", "terminal")]

PROGRAM = "Sgate(0.5, 0.0) | 0\nMeasureFock() | 0\n"
JOBS = 8


@pytest.fixture(scope="module")
def jobs(platform: Platform) -> list[str]:
    """The ids of jobs that end; two of them fail."""
    return anyio.run(submitted, platform, ["simulon_gaussian"] * (JOBS - 2) + ["always_fails"] * 2)


@pytest.fixture(scope="module")
def never(platform: Platform) -> str:
    return anyio.run(submitted, platform, ["never"])[0]


async def submitted(platform: Platform, targets: Sequence[str]) -> list[str]:
    async with Connection(platform.url, api_key=platform.api_key) as connection:
        return [(await connection.create_job(target, PROGRAM, shots=10)).id for target in targets]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def logged(*words: str) -> tuple[int | None, str, str]:
    """Run a command with pipes; return exit code, stdout and stderr."""
    with start(*words) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def on_a_terminal(*words: str) -> str:
    """Run a command on a pseudo-terminal and return what it writes."""
    import pty

    ours, theirs = pty.openpty()
    with start(*words, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        written = b""
        try:
            while some := os.read(ours, 65536):
                written += some
        except OSError:  # Linux raises it when the other end is closed
            pass
        finally:
            os.close(ours)
    return written.decode()


def test_a_log_gets_a_few_lines_and_a_last_one(jobs: list[str]) -> None:
    _, out, err = logged("wait", *jobs)
    lines = err.splitlines()
    assert lines[0] == "0 of 8 jobs ended · 8 not polled yet"
    assert [line for line in lines if line.startswith("8 of 8 jobs ended (2 failed) after ")] == lines[-3:-2]
    assert (len(lines) < 8, "\r" in err, "\x1b" in err) == (True, False, False)
    assert sorted(out.split()[::2]) == sorted(jobs)


def test_an_encoding_without_the_dot_gets_commas(jobs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    _, _, err = logged("wait", *jobs)
    assert err.splitlines()[0] == "0 of 8 jobs ended, 8 not polled yet"


def test_a_wait_that_times_out_has_no_last_line(jobs: list[str], never: str) -> None:
    code, _, err = logged("wait", never, *jobs, "--timeout", "0.5")
    assert code == 3
    assert " after 0." not in re.sub(r"after 0\.\d s \d of 9 jobs have ended", "", err)


def test_one_job_has_a_line_with_its_id(jobs: list[str]) -> None:
    _, _, err = logged("wait", jobs[0])
    assert set(err.splitlines()) <= {f"Job {jobs[0]}: queued", f"Job {jobs[0]}: complete"}
    assert err


def test_a_thousand_jobs_write_six_lines() -> None:
    written = io.StringIO()
    with WaitProgress(Console(file=written, width=80)) as progress:
        display = MultiJobDisplay(progress)
        for ended in range(1000):
            display.show(Progress(total=1000, complete=ended, running=1, queued=999 - ended, elapsed=ended / 10))
    assert len(written.getvalue().splitlines()) == 6


def test_a_paused_line_is_not_drawn() -> None:
    written = io.StringIO()
    with WaitProgress(Console(file=written, width=80, force_terminal=True)) as progress:
        progress.show("before")
        with progress.paused():
            length = len(written.getvalue())
            progress.show("meanwhile")
            assert written.getvalue()[length:] == ""
        progress.show("after")
    assert "after" in written.getvalue()[length:]


def test_a_terminal_that_cannot_move_gets_lines() -> None:
    written = io.StringIO()
    with WaitProgress(Console(file=written, width=80, force_terminal=True, _environ={"TERM": "dumb"})) as progress:
        progress.show("before")
        progress.show("after")
        progress.show("after")
    assert written.getvalue() == "before\nafter\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_narrow_terminal_keeps_the_line_on_one_row(jobs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    written = on_a_terminal("wait", jobs[0])
    assert f"Job {jobs[0][:8]}: queued (" in written
    assert "\x1b[1A\x1b[2K\x1b[1A" not in written  # two rows that are erased


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_has_one_line_and_its_cursor_is_restored(jobs: list[str]) -> None:
    written = on_a_terminal("wait", *jobs[:-2])
    assert "0 of 6 jobs ended · 6 not polled yet (" in written
    lines = written.splitlines()
    assert lines[-1].startswith("6 of 6 jobs ended after ")
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h")  # the cursor, hidden and shown again


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_each_ended_job_has_its_own_line(jobs: list[str]) -> None:
    written = on_a_terminal("wait", *jobs[:-2], "--then", "echo then $SFJOBS_JOB_ID")
    # A terminal shows what follows the last sequence that erases the line.
    shown = [line.rpartition("\x1b[2K")[2] for line in written.splitlines()]
    for job_id in jobs[:-2]:
        assert [f"{job_id} complete", f"then {job_id}"] == shown[shown.index(f"{job_id} complete") :][:2]
