"""The blocking API with real threads, signals, forks and ends of programs."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Iterator

import httpx
import pytest

import sfjobs
from sfjobs import sync
from sfjobs.sync._view import unwrap
from tests.support.fake_platform import FakePlatform
from tests.support.paths import ROOT

PRELUDE = """
import gc, logging, os, signal, sys, threading, time
import httpx
import sfjobs
from sfjobs._client.connection import internals
from sfjobs import sync
from sfjobs.sync._view import unwrap
from tests.support.fake_platform import FakePlatform

logging.getLogger("asyncio").setLevel(logging.ERROR)  # a slow machine is no fault: it would be reported as a slow callback
platform = FakePlatform()
def connect():
    settings = platform.settings(poll_interval_min=0.05)
    return sync.Connection(settings=settings, transport=httpx.MockTransport(platform.handle))
def interrupt_after(seconds, times=1):
    def send():
        for _ in range(times):
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=send, daemon=True).start()
"""


def run(program: str, *, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run ``program`` after the prelude; every warning is an error."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PRELUDE + textwrap.dedent(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture
def connection(platform: FakePlatform) -> Iterator[sync.Connection]:
    settings = platform.settings(poll_interval_min=0.02)
    with sync.Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        yield connection


def sfjobs_threads() -> set[threading.Thread]:
    """The threads of sfjobs now. Those that other tests have left may end at any time."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("sfjobs")}


# -- threads -------------------------------------------------------------------------------------------------------------


def test_eight_threads_share_one_connection_and_its_polls(platform: FakePlatform, connection: sync.Connection) -> None:
    ends = time.monotonic() + 0.5
    jobs = [sync.Job(platform.add(ends_at=ends).id, "open", connection) for _ in range(80)]
    statuses: list[sfjobs.JobStatus] = []

    def wait(mine: list[sync.Job]) -> None:
        statuses.extend(job.wait(timeout=30, fetch_result=False) for job in mine)

    threads = [threading.Thread(target=wait, args=(jobs[start::8],)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == ["complete"] * 80
    assert platform.token_requests == 1
    assert len(platform.polls) < 80


def test_closing_ends_the_waits_of_other_threads(platform: FakePlatform, connection: sync.Connection) -> None:
    job = sync.Job(platform.add().id, "open", connection)
    errors: list[Exception] = []

    def wait() -> None:
        try:
            job.wait()
        except sfjobs.ConnectionClosedError as error:
            errors.append(error)

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    while not platform.polls:
        time.sleep(0.01)
    connection.close()
    for thread in threads:
        thread.join(10)
    assert len(errors) == 8


def test_closing_ends_the_thread(platform: FakePlatform) -> None:
    before = sfjobs_threads()
    with sync.Connection(settings=platform.settings(), transport=httpx.MockTransport(platform.handle)) as connection:
        connection.ping()
        assert len(sfjobs_threads() - before) == 1
    assert not sfjobs_threads() - before
    connection.close()
    with pytest.raises(sfjobs.ConnectionClosedError):
        connection.ping()


def test_a_failed_constructor_leaves_no_thread() -> None:
    before = sfjobs_threads()
    with pytest.raises(sfjobs.ConfigurationError):
        sync.Connection("not a url", api_key="key")
    assert not sfjobs_threads() - before


def test_a_collected_connection_leaves_no_thread(platform: FakePlatform) -> None:
    before = sfjobs_threads()
    connection = sync.Connection(settings=platform.settings(), transport=httpx.MockTransport(platform.handle))
    connection.ping()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del connection
        gc.collect()
    assert not sfjobs_threads() - before


# -- inside a running loop -----------------------------------------------------------------------------------------------


def test_it_works_inside_a_running_loop(platform: FakePlatform, connection: sync.Connection) -> None:
    job_id = platform.add(ends_at=0).id

    async def cell() -> str:
        return connection.get_job(job_id).wait()

    assert asyncio.run(cell()) == "complete"


async def test_it_works_inside_asyncio_and_trio(platform: FakePlatform, connection: sync.Connection) -> None:
    assert connection.ping()


test_it_works_inside_asyncio_and_trio = pytest.mark.real_time(test_it_works_inside_asyncio_and_trio)


def test_the_async_twin_refuses_another_event_loop(platform: FakePlatform, connection: sync.Connection) -> None:
    connection.ping()
    with pytest.raises(sfjobs.ConnectionClosedError, match="another event loop"):
        asyncio.run(unwrap(connection)[0].ping())


def test_a_call_has_the_context_variables_of_its_thread(platform: FakePlatform, connection: sync.Connection) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen: list[str] = []

    async def record(request: httpx.Request) -> None:
        seen.append(variable.get("nothing"))

    platform.trouble = record
    variable.set("of the thread")
    connection.ping()
    assert set(seen) == {"of the thread"}


# -- groups --------------------------------------------------------------------------------------------------------------


def test_jobs_of_two_connections_are_refused(platform: FakePlatform, connection: sync.Connection) -> None:
    with sync.Connection(settings=platform.settings(), transport=httpx.MockTransport(platform.handle)) as other:
        jobs = [sync.Job(platform.add().id, "open", each) for each in (connection, other)]
        with pytest.raises(ValueError, match="several connections"):
            sync.wait_all(jobs)
        with pytest.raises(ValueError, match="several connections"):
            sync.as_completed(jobs)


def test_lists_are_paged_as_they_are_consumed(platform: FakePlatform, connection: sync.Connection) -> None:
    for _ in range(250):
        platform.add()
    jobs = connection.list_jobs()
    assert next(jobs).id == [*platform.jobs][-1]
    assert len(platform.polls) == 1
    assert len(list(jobs)) == 249


# -- Ctrl-C --------------------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_a_wait_after_it_has_cleaned_up_and_the_connection_goes_on() -> None:
    done = run("""
        with connect() as connection:
            job = sync.Job(platform.add().id, "open", connection)
            interrupt_after(0.5)
            try:
                job.wait()
            except KeyboardInterrupt:
                print("interrupted", internals(unwrap(connection)[0]).poller.is_idle, platform.in_flight)
            print(connection.ping())
        print([thread.name for thread in threading.enumerate() if thread.name.startswith("sfjobs")])
    """)
    assert done.stdout.splitlines() == ["interrupted True 0", "True", "[]"], done.stderr
    assert done.stderr == ""


def test_ctrl_c_at_any_moment_leaves_nothing_behind() -> None:
    done = run("""
        with connect() as connection:
            connection.ping()
            slowest, interrupted = 0.0, 0
            for moment in range(60):
                ready = threading.Event()
                def send():
                    ready.wait()
                    time.sleep(moment * 0.0002)
                    sent.append(time.monotonic())
                    os.kill(os.getpid(), signal.SIGINT)
                sent = []
                thread = threading.Thread(target=send)
                thread.start()
                try:
                    ready.set()
                    while True:
                        connection.ping()
                except KeyboardInterrupt:
                    slowest = max(slowest, time.monotonic() - sent[0])
                    interrupted += 1
                thread.join()
            print(interrupted, connection.ping(), platform.in_flight)
            print(slowest < 2.5)  # a call may clean up for 0.2 s
    """)
    assert done.stdout.split() == ["60", "True", "0", "True"], done.stderr


def test_ctrl_c_without_a_handler_ends_the_program_as_usual() -> None:
    done = run("""
        with connect() as connection:
            interrupt_after(0.3)
            sync.Job(platform.add().id, "open", connection).wait()
    """)
    assert done.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in done.stderr
    assert "Exception ignored" not in done.stderr


# -- forks and ends ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_gets_an_error_and_the_parent_goes_on() -> None:
    done = run("""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, about forking with threads
        with connect() as connection:
            connection.ping()
            child = os.fork()
            if child == 0:
                try:
                    connection.ping()
                except sfjobs.ConnectionClosedError as error:
                    print(error, flush=True)
                connection.close()
                os._exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), connection.ping())
    """)
    assert done.stdout.splitlines() == [
        "this connection belongs to the parent process: open a new one after a fork",
        "0 True",
    ], done.stderr


@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_a_program_that_ends_with_an_open_connection_neither_hangs_nor_warns(ending: str) -> None:
    done = run(f"""
        connection = connect()
        connection.ping()
        {ending}
    """)
    assert done.returncode == {"": 0, "raise SystemExit(3)": 3}.get(ending, -signal.SIGTERM)
    assert done.stderr == ""


def test_a_program_may_end_while_another_thread_waits() -> None:
    done = run("""
        connection = connect()
        job = sync.Job(platform.add().id, "open", connection)
        def wait():
            try:
                job.wait()
            except sfjobs.ConnectionClosedError:
                pass
        threading.Thread(target=wait, daemon=True).start()
        time.sleep(0.3)
    """)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_traceback_has_the_callers_line_and_the_coroutine_and_little_between() -> None:
    done = run("""
        with connect() as connection:
            connection.get_job("unknown")
    """)
    frames = [line for line in done.stderr.splitlines() if line.startswith("  File")]
    assert "NotFoundError" in done.stderr
    assert not any("concurrent" in frame for frame in frames)
