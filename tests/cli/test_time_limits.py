"""``--timeout``, Ctrl-C and the end of a program, with a resolver that hangs. Processes of their own, in real time."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import httpx
import pytest

from sfjobs.cli.application import run
from tests.support.fake_platform import FakePlatform, refusal
from tests.support.paths import ROOT
from tests.support.processes import Child

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process"),
]

PRELUDE = """
import signal, socket, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
genuine = socket.getaddrinfo
def hanging(host, port, *more, flags=0, **options):
    if flags & socket.AI_NUMERICHOST or host == "127.0.0.1":
        return genuine(host, port, *more, flags=flags, **options)
    print("looking up", file=sys.stderr, flush=True)
    time.sleep(60)
socket.getaddrinfo = hanging
"""
COMMAND = PRELUDE + "import sfjobs.cli; sys.argv[0] = 'sfjobs'; sfjobs.cli.main()"
ID = "12345678-1234-1234-1234-123456789abc"


def started(code: str, *words: str, **variables: str) -> Child:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "SFJOBS_URL": "http://platform.invalid",
        "SFJOBS_API_KEY": "a-key",
        "SFJOBS_CONNECT_TIMEOUT": "50",
        **variables,
    }
    return Child(
        [sys.executable, "-c", code, *words], encoding="utf-8", env=environment, stdout=-1, stderr=-1, stdin=-3
    )


def until_looking_up(process: Child) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if "looking up" in line:
            return
    raise AssertionError("it has ended")


@pytest.mark.parametrize("words", [["wait", ID], ["wait", "1234abcd"], ["run", "demo.xbb"]], ids=str)
def test_a_timeout_bounds_the_whole_command(words: list[str], home: Path) -> None:
    with started(COMMAND, *words, "--timeout", "0.5") as process:
        until_looking_up(process)
        before = time.monotonic()
        _, errors = process.communicate(timeout=30)
        assert time.monotonic() - before < 5
    assert process.returncode == 3
    assert "Give --timeout a larger number" in errors
    assert home.exists()


@pytest.mark.parametrize(
    "words", [["wait", ID], ["run", "demo.xbb"], ["submit", "demo.xbb"], ["ping"], ["list"], ["cancel", ID]], ids=str
)
def test_ctrl_c_ends_a_command_while_a_name_is_looked_up(words: list[str]) -> None:
    with started(COMMAND, *words) as process:
        until_looking_up(process)
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert time.monotonic() - before < 5
    assert process.returncode == 130


BLOCKING = """
from sfjobs import sync
with sync.Connection() as connection:
    try:
        {call}
    except KeyboardInterrupt:
        print(repr(time.monotonic()), flush=True)
"""
CALLS = {
    "ping": "connection.ping()",
    "create_jobs": "next(iter(connection.create_jobs('simulon_gaussian', ['Vac | 0\\nMeasureFock() | 0\\n'] * 3)))",
    "wait": f"sync.Job('{ID}', 'queued', connection).wait()",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_ctrl_c_ends_a_blocking_call_while_a_name_is_looked_up(call: str) -> None:
    with started(PRELUDE + BLOCKING.format(call=call)) as process:
        until_looking_up(process)
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
        assert time.monotonic() - before < 5
    assert (process.returncode, errors) == (0, "")
    assert float(output) >= before


def test_a_program_ends_while_a_name_is_looked_up() -> None:
    code = """
import threading
from sfjobs import sync
connection = sync.Connection()
threading.Thread(target=connection.ping, daemon=True).start()
time.sleep(1)
"""
    with started(PRELUDE + code) as process:
        until_looking_up(process)
        before = time.monotonic()
        process.communicate(timeout=30)
        assert time.monotonic() - before < 6
    assert process.returncode == 0


def test_submit_says_what_it_waits_for(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = FakePlatform()
    answers = iter([refusal(429, "quota-exceeded", "7 unfinished jobs", **{"retry-after": "1"})])

    async def once(request: httpx.Request) -> httpx.Response | None:
        return next(answers, None) if (request.method, request.url.path) == ("POST", "/jobs") else None

    platform.trouble = once
    monkeypatch.setattr("sfjobs._http.transport.HTTPAdapter", adapter_of(platform))
    monkeypatch.setenv("SFJOBS_URL", "http://platform.test:8080")
    monkeypatch.setenv("SFJOBS_API_KEY", "a-key-that-must-never-be-seen")
    monkeypatch.setenv("SFJOBS_RETRIES", "2")
    assert run(["submit", str(home / "demo.xbb")]) == 0
    assert "Waiting 1 s: " in capsys.readouterr().err


def adapter_of(platform: FakePlatform) -> object:
    from sfjobs._http.adapter import HTTPAdapter

    return lambda settings, width, _: HTTPAdapter(settings, width, httpx.MockTransport(platform.handle))
