"""What ``sfjobs wait`` says of many jobs on the way: one line on a terminal, few of them in a log, nothing on stdout."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from rich.console import Console

from sfjobs import Connection
from sfjobs._progress import Progress as Standing
from sfjobs.cli.waiting.progress import MultiJobDisplay, WaitProgress
from sfjobs.platform.server.serving import Platform
from tests.support.paths import ROOT

pytestmark = pytest.mark.real_time

PROGRAM = "Sgate(0.5, 0.0) | 0\nMeasureFock() | 0\n"
JOBS = 8


@pytest.fixture(scope="module")
def jobs(platform: Platform) -> list[str]:
    """Some that end; two of them fail."""
    return anyio.run(submitted, platform, ["simulon_gaussian"] * (JOBS - 2) + ["always_fails"] * 2)


@pytest.fixture(scope="module")
def never(platform: Platform) -> str:
    return anyio.run(submitted, platform, ["never"])[0]


async def submitted(platform: Platform, targets: Sequence[str]) -> list[str]:
    async with Connection(platform.url, api_key=platform.api_key) as connection:
        return [(await connection.create_job(target, PROGRAM, shots=10)).id for target in targets]


@pytest.fixture
def environment(platform: Platform, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SFJOBS_", "XDG_", "COLUMNS"))}
    settings = {"SFJOBS_URL": platform.url, "SFJOBS_API_KEY": platform.api_key, "SFJOBS_POLL_INTERVAL_MIN": "0.05"}
    return {
        **kept,
        **settings,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "TERM": "xterm",
    }


def logged(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """A command whose outputs are pipes."""
    return subprocess.run(
        [sys.executable, "-m", "sfjobs", *words],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def on_a_terminal(environment: dict[str, str], *words: str) -> str:
    """What a command writes whose outputs are one terminal."""
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "sfjobs", *words], env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ):
        os.close(theirs)
        written = b""
        try:
            while some := os.read(ours, 65536):
                written += some
        except OSError:  # how Linux says that the other end is closed
            pass
        finally:
            os.close(ours)
    return written.decode()


def test_a_log_has_a_line_now_and_then_and_one_that_stays(environment: dict[str, str], jobs: list[str]) -> None:
    done = logged(environment, "wait", *jobs)
    lines = done.stderr.splitlines()
    assert lines[0] == "0 of 8 jobs ended · 8 not polled yet"
    assert [line for line in lines if line.startswith("8 of 8 jobs ended (2 failed) after ")] == lines[-3:-2]
    assert (len(lines) < 8, "\r" in done.stderr, "\x1b" in done.stderr) == (True, False, False)
    assert sorted(done.stdout.split()[::2]) == sorted(jobs)


def test_a_log_that_has_no_dot_gets_commas(environment: dict[str, str], jobs: list[str]) -> None:
    done = logged({**environment, "PYTHONIOENCODING": "ascii"}, "wait", *jobs)
    assert done.stderr.splitlines()[0] == "0 of 8 jobs ended, 8 not polled yet"


def test_the_line_that_stays_is_only_for_waits_to_the_end(
    environment: dict[str, str], jobs: list[str], never: str
) -> None:
    done = logged(environment, "wait", never, *jobs, "--timeout", "0.5")
    assert done.returncode == 3
    assert " after 0." not in done.stderr.replace("after 0.5 s 8 of 9 jobs have ended", "")


def test_one_job_keeps_a_line_of_its_own(environment: dict[str, str], jobs: list[str]) -> None:
    done = logged(environment, "wait", jobs[0])
    assert set(done.stderr.splitlines()) <= {f"Job {jobs[0]}: queued", f"Job {jobs[0]}: complete"}
    assert done.stderr


def test_a_log_is_not_flooded_by_a_crowd() -> None:
    written = io.StringIO()
    with WaitProgress(Console(file=written, width=80)) as progress:
        crowd = MultiJobDisplay(progress)
        for ended in range(1000):
            crowd.show(Standing(total=1000, complete=ended, running=1, queued=999 - ended, elapsed=ended / 10))
    assert len(written.getvalue().splitlines()) == 6


def test_the_line_stays_out_of_the_way_of_what_others_print() -> None:
    written = io.StringIO()
    with WaitProgress(Console(file=written, width=80, force_terminal=True)) as progress:
        progress.show("before")
        with progress.paused():
            length = len(written.getvalue())
            progress.show("meanwhile")
            assert written.getvalue()[length:] == ""
        progress.show("after")
    assert "after" in written.getvalue()[length:]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_has_one_line_and_is_left_clean(environment: dict[str, str], jobs: list[str]) -> None:
    written = on_a_terminal({**environment, "COLUMNS": "80"}, "wait", *jobs[:-2])
    assert "0 of 6 jobs ended · 6 not polled yet (" in written
    lines = written.splitlines()
    assert lines[-1].startswith("6 of 6 jobs ended after ")
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h")  # the cursor, hidden and shown again


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_the_endings_of_jobs_stand_on_lines_of_their_own(environment: dict[str, str], jobs: list[str]) -> None:
    written = on_a_terminal({**environment, "COLUMNS": "80"}, "wait", *jobs[:-2], "--then", "echo then $SFJOBS_JOB_ID")
    # What a terminal shows of a line: what came after the last order to rub it out.
    shown = [line.rpartition("\x1b[2K")[2] for line in written.splitlines()]
    for job_id in jobs[:-2]:
        assert [f"{job_id} complete", f"then {job_id}"] == shown[shown.index(f"{job_id} complete") :][:2]
