"""Worker threads: those that callers fill, and lookups of names that hang, hold up nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
import threading
import time

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from sfjobs._http.tcp_stream import connect
from sfjobs._util.aio import in_daemon_thread, in_thread
from tests.support.fake_platform import FakePlatform

pytestmark = pytest.mark.real_time

ANYIO_THREADS = 40


async def test_worker_threads_of_the_caller_may_all_call_back() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        jobs = [await connection.get_job(platform.add(ends_at=0).id) for _ in range(ANYIO_THREADS)]
        all_taken = threading.Barrier(ANYIO_THREADS, timeout=30)

        def call_back(number: int) -> int:
            all_taken.wait()
            return len(anyio.from_thread.run(jobs[number].fetch_result).samples)

        results: list[int] = []

        async def work(number: int) -> None:
            results.append(await anyio.to_thread.run_sync(call_back, number))

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for number in range(ANYIO_THREADS):
                    group.start_soon(work, number)
    assert results == [3] * ANYIO_THREADS


async def test_our_own_threads_are_bounded() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1

    async with anyio.create_task_group() as group:
        for _ in range(120):
            group.start_soon(in_thread, work)
    assert 1 < most <= 40


async def test_a_lookup_that_hangs_is_cancelled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def getaddrinfo(*_: object, flags: int = 0, **__: object) -> list[object]:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror
        released.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with anyio.move_on_after(0.2) as scope:
        await connect("hangs.test", 80, None)
    released.set()
    assert scope.cancelled_caught


async def test_the_error_of_a_lookup_is_raised_in_the_task() -> None:
    def fail() -> None:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(socket.gaierror, match="not known"):
        await in_daemon_thread(fail)


HANGING = """
    import socket, sys, threading
    import anyio, sfjobs

    real = socket.getaddrinfo
    def getaddrinfo(*arguments, flags=0, **more):
        if flags & socket.AI_NUMERICHOST:
            return real(*arguments, flags=flags, **more)
        threading.Event().wait()
    socket.getaddrinfo = getaddrinfo

    async def main():
        async with sfjobs.Connection(url="http://hangs.test:1", api_key="k") as connection:
            with anyio.move_on_after(0.2):
                await connection.ping()
    anyio.run(main, backend=sys.argv[1])
    print("ended")
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_interpreter_ends_while_a_lookup_hangs(backend: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(HANGING), backend]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "ended\n"), ended.stderr
