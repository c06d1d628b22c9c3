"""
A resolver that hangs while httpx would look a name up, behind a proxy or by the setting ``http``: timeouts, Ctrl-C and the end of
a program. In processes of their own.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from tests.cli.test_time_limits import BLOCKING, CALLS, COMMAND, ID, PRELUDE, started, until_looking_up

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process"),
]

WAYS = {
    "an HTTP proxy": {"HTTP_PROXY": "http://proxy.invalid:3128"},
    "a SOCKS proxy": {"ALL_PROXY": "socks5h://proxy.invalid:1080"},
    "the setting": {"SFJOBS_HTTP": "httpx"},
}
BLOCKING_PING = PRELUDE + BLOCKING.format(call=CALLS["ping"])

PROGRAM = """
import asyncio, sfjobs
async def main():
    async with sfjobs.Connection() as connection:
        try:
            async with asyncio.timeout(0.5):
                await connection.ping()
        except TimeoutError:
            print("timed out")
asyncio.run(main())
"""
LIMIT = 10.0
"""Seconds in which a busy machine ends a process; a lookup takes 60."""


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_a_timeout_bounds_a_command() -> None:
    with started(COMMAND, "wait", ID, "--timeout", "0.5", **WAYS["an HTTP proxy"]) as process:
        until_looking_up(process)
        before = time.monotonic()
        process.communicate(timeout=30)
        assert time.monotonic() - before < LIMIT
    assert process.returncode == 3


@pytest.mark.parametrize(
    ("code", "words", "way", "status"),
    [(COMMAND, ["ping"], "a SOCKS proxy", 130), (BLOCKING_PING, [], "the setting", 0)],
    ids=["a command", "a blocking call"],
)
def test_ctrl_c_ends(code: str, words: list[str], way: str, status: int) -> None:
    with started(code, *words, **WAYS[way]) as process:
        until_looking_up(process)
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert time.monotonic() - before < LIMIT
    assert process.returncode == status


@pytest.mark.parametrize("variables", WAYS.values(), ids=WAYS.keys())
def test_a_program_ends_after_its_timeout(variables: dict[str, str]) -> None:
    with started(PRELUDE + PROGRAM, **variables) as process:
        until_looking_up(process)
        before = time.monotonic()
        output, _ = process.communicate(timeout=30)
        assert time.monotonic() - before < LIMIT
    assert (process.returncode, output) == (0, "timed out\n")
