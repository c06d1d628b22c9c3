"""Commands as processes: closed streams, closed pipes, full disks, encodings, locales, colours, and the signals that end them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cli.odd_platform import ID, OddPlatform, serving_odd_records
from tests.support.commands import PROGRAM, read_until, start
from tests.support.paths import ROOT

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these signals nor this shell"),
]

NAME = "\u91cf\u5b50 \xe9 \x1b[31m \U0001f9ea"


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[OddPlatform]:
    with serving_odd_records() as platform:
        monkeypatch.setenv("SFJOBS_URL", platform.url)
        monkeypatch.setenv("SFJOBS_ACCESS_TOKEN", "token")
        platform.job = {"name": json.dumps(NAME)}
        yield platform


def shell(script: str, **environment: str) -> tuple[int, bytes, bytes]:
    """Run a script in which ``sfjobs`` is the command. Returns exit code, stdout and stderr."""
    done = subprocess.run(
        ["/bin/bash", "-c", f'sfjobs() {{ "{sys.executable}" -m sfjobs "$@"; }}; {script}'],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **environment},
        capture_output=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("script", "code", "err"),
    [
        ("sfjobs list --json >&-", 0, b""),
        ("sfjobs list <&- >&- 2>&-", 0, b""),
        ("sfjobs show 00 2>&-", 1, b""),
        ("sfjobs wait - <&-", 0, b""),
        ("sfjobs --version >&-", 0, b""),
        ("sfjobs list >/dev/full", 1, b"Error: Standard output cannot be read or written: No space left on device."),
        (f"sfjobs wait {ID} 2>/dev/full", 0, b""),
    ],
)
def test_streams_that_are_closed_or_full(odd: OddPlatform, script: str, code: int, err: bytes) -> None:
    found, _, errors = shell(script)
    assert (found, errors[: len(err)]) == (code, err)
    assert b"Traceback" not in errors
    assert b"Exception ignored" not in errors
    assert err or errors == b""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", ["list --limit 2", "--version", "--help", "submit demo.xbb demo.xbb"])
def test_a_reader_that_has_ended_ends_the_command_quietly(
    odd: OddPlatform, monkeypatch: pytest.MonkeyPatch, line: str, unbuffered: str
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    read, write = os.pipe()
    os.close(read)
    try:
        with start(*line.split(), stdout=write) as process:
            _, err = process.communicate(timeout=60)
    finally:
        os.close(write)
    assert process.returncode == 141
    left = "Submitted 1 of 2 programs. demo.xbb and those after it were not tried.\n"
    assert err == (left if "submit" in line else "")


def test_notes_that_cannot_be_read_cost_no_job(odd: OddPlatform) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        with start("wait", ID, stderr=write) as process:
            out, _ = process.communicate(timeout=60)
    finally:
        os.close(write)
    assert (process.returncode, out) == (0, f"{ID} complete\n")


def test_a_closed_stdout_is_not_a_file_that_the_command_opens(odd: OddPlatform, home: Path) -> None:
    """The number of the closed stream would go to the next file, and the output into it."""
    code, _, _ = shell(f"sfjobs result {ID} --output out.csv >&-")
    assert (code, (home / "out.csv").read_text().splitlines()[0]) == (0, "mode_0,mode_1")


@pytest.mark.parametrize(
    ("environment", "encoding"),
    [
        ({"PYTHONIOENCODING": "ascii:strict"}, "ascii"),
        ({"PYTHONIOENCODING": "cp1252"}, "cp1252"),
        ({"PYTHONIOENCODING": "utf-16-le"}, "utf-16-le"),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, "ascii"),
        ({"LANG": "de_DE.ISO-8859-1", "PYTHONUTF8": "0"}, "utf-8"),
    ],
)
def test_locales_and_encodings(odd: OddPlatform, environment: dict[str, str], encoding: str) -> None:
    code, out, err = shell("sfjobs list", **environment)
    assert (code, err) == (0, b"")
    text = out.decode(encoding)
    assert "\x1b" not in text
    assert "\\x1b" in text
    assert "\u91cf" in text or "\\u91cf" in text


@pytest.mark.parametrize(
    ("environment", "has_colours"),
    [
        ({"NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "TERM": "xterm"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours(odd: OddPlatform, environment: dict[str, str], has_colours: bool) -> None:
    code, out, _ = shell("sfjobs list", **environment)
    assert code == 0
    assert (b"\x1b[32m" in out) == has_colours
    assert "\x1b[31m" not in out.decode().replace("\\x1b[31m", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_wait_and_says_what_goes_on(odd: OddPlatform, number: signal.Signals) -> None:
    odd.job = {"status": '"queued"', "started_at": "null"}
    # The tests may have been started with nohup, whose children inherit that SIGHUP is ignored.
    with start("wait", ID, "--json", preexec_fn=partial(signal.signal, number, signal.SIG_DFL)) as process:
        read_until(process, ": queued", stream="stderr")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Interrupted: 1 job of 1 goes on." in err
    assert json.loads(out)["pending"] == [ID]


def test_a_signal_ends_a_run_at_once_and_the_job_goes_on(odd: OddPlatform) -> None:
    odd.job = {"status": '"queued"', "started_at": "null"}
    with start("run", "demo.xbb", "--json") as process:
        read_until(process, ": queued", stream="stderr")
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert f"Job {ID} goes on.\n" in err
    assert not any(request.startswith("PATCH") for request in odd.requests)
    assert json.loads(out)["id"] == ID


def test_sigterm_leaves_no_files_and_no_processes_of_an_embedded_platform(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "long.xbb").write_text(PROGRAM.replace("shots=20", "shots=3000000"))
    (home / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(home / "temporary"))
    with start("run", "long.xbb") as process:
        read_until(process, ": queued", stream="stderr")
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert not list((home / "temporary").iterdir())


def test_an_ignored_hangup_stays_ignored(odd: OddPlatform) -> None:
    odd.job = {"status": '"queued"', "started_at": "null"}
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start("wait", ID)
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        read_until(process, ": queued", stream="stderr")
        process.send_signal(signal.SIGHUP)
        odd.job = {"status": '"complete"'}
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, f"{ID} complete\n")
