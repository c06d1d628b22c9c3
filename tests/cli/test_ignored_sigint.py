"""Commands and tests that are started with SIGINT ignored, as ``&`` in a script and ``nohup`` start them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from sfjobs import Connection
from sfjobs.cli.application import run
from sfjobs.platform import Platform
from tests.support.commands import read_until, start
from tests.support.paths import ROOT
from tests.support.processes import ignored_sigint

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process"),
]


def test_serve_ignores_ctrl_c_and_stops_on_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    with ignored_sigint():
        process = start("serve", "--json", "--data-dir", "data")
    with process:
        [line] = read_until(process, "{")
        place = json.loads(line)
        monkeypatch.setenv("SFJOBS_URL", place["url"])
        monkeypatch.setenv("SFJOBS_API_KEY", Path(place["api_key_file"]).read_text().strip())
        for _ in range(3):  # the third signal would end a server that does not ignore them
            process.send_signal(signal.SIGINT)
            assert run(["ping"]) == 0
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_serve_says_which_command_stops_it() -> None:
    with ignored_sigint():
        process = start("serve", "--data-dir", "data")
    with process:
        assert read_until(process, " stops it; ")[-1].startswith(f"`kill {process.pid}` stops it")
        process.terminate()


def test_wait_ignores_ctrl_c_and_goes_on_to_the_end(configured: Platform) -> None:
    async def submit_and_wait() -> int:
        async with Connection() as connection:
            job = await connection.create_job("never", "Vac | 0\nMeasureFock() | 0\n", shots=1)
            with ignored_sigint():
                process = start("wait", job.id)
            with process:
                read_until(process, ": queued", stream="stderr")
                process.send_signal(signal.SIGINT)
                await job.cancel(wait=True)
                assert process.communicate(timeout=60)[0] == f"{job.id} cancelled\n"
            return process.returncode

    assert anyio.run(submit_and_wait) == 2


def test_tests_of_ctrl_c_pass() -> None:
    tests = "tests/sync/test_blocking.py::test_ctrl_c_without_a_handler_ends_the_program_as_usual"
    with ignored_sigint():
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stdout
