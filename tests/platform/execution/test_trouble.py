"""
What can go wrong between the platform and its workers, with real processes: whatever it is, it ends at most the job that caused
it, and the next job runs.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from sfjobs.platform.execution.executor import ExecutionError, PlatformTrouble, WorkerLost, WorkFailed
from sfjobs.platform.execution.process_executor import ProcessExecutor
from sfjobs.platform.limits import Limits
from tests.platform.execution.test_process_executor import executor, run, work
from tests.platform.runners import Meeting, flag, has_ended

pytestmark = [pytest.mark.real_time, pytest.mark.skipif(sys.platform == "win32", reason="named pipes and signals")]


@pytest.fixture(autouse=True)
def _retries_are_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfjobs.platform.execution.executor.FIRST_RETRY_SECONDS", 0.01)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def runs(processes: ProcessExecutor, number: int) -> bool:
    """Run a job, again after trouble of the platform, as the scheduler does. Return whether it has a result."""
    with anyio.fail_after(60):
        while True:
            try:
                return (await run(processes, work(number))).meta["seed"] == number
            except PlatformTrouble:
                await anyio.sleep(0.01)


# a worker that cannot start


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EAGAIN, "Resource temporarily unavailable"),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        ValueError("embedded null byte"),
    ],
    ids=["processes", "descriptors", "memory", "threads", "arguments"],
)
async def test_what_keeps_a_worker_from_starting_costs_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Each try was charged to the job that was next, so that a whole queue failed within seconds."""
    open_process, tries = anyio.open_process, 0

    async def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries <= 4:
            raise error
        return await open_process(*arguments, **options)

    monkeypatch.setattr(anyio, "open_process", failing)
    async with executor(tmp_path, "zeros") as processes:
        assert (await run(processes, work())).meta == {"seed": 0}
    assert (tries, len(errors(caplog))) == (5, 1)
    assert str(error) in errors(caplog)[0]


async def test_a_python_that_has_vanished_is_trouble_and_its_return_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    python, real = tmp_path / "python", Path(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    async with executor(tmp_path, "zeros") as processes:
        with pytest.raises(PlatformTrouble, match="no worker process can be started"):
            await processes.wait_ready()
        problem = processes.worker_problem
        python.write_text(f'#!/bin/sh\nexec "{real}" "$@"\n')
        python.chmod(0o700)
        assert await runs(processes, 1)
        after = processes.worker_problem
    assert (problem is None, after, len(errors(caplog))) == (False, None, 1)


async def test_a_worker_that_ends_while_it_starts_is_replaced_until_one_does_not(
    tmp_path: Path, meeting: Meeting, caplog: pytest.LogCaptureFixture
) -> None:
    flag("broken").touch()
    async with ProcessExecutor(tmp_path, runner="tests.platform.broken_start:run") as processes:
        with pytest.raises(PlatformTrouble, match="status 1 while it was starting: ImportError: half of"):
            await processes.wait_ready()
        flag("broken").unlink()
        meeting.let_go()
        assert await runs(processes, 1)
    assert len(errors(caplog)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
@pytest.mark.parametrize("mebibytes", [60, 100])
async def test_a_memory_limit_below_that_of_the_interpreter_is_found_at_the_start(
    tmp_path: Path, mebibytes: int
) -> None:
    """It was charged to each job that was submitted, until the queue was empty."""
    async with ProcessExecutor(tmp_path, limits=Limits(memory=mebibytes << 20)) as processes:
        with pytest.raises(PlatformTrouble, match="while it was starting"):
            await processes.wait_ready()


async def test_a_worker_that_is_never_ready_is_replaced(
    tmp_path: Path, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfjobs.platform.execution.worker_process.RESPONSE_SECONDS", 0.01)
    async with executor(tmp_path, "zeros") as processes:
        with pytest.raises(PlatformTrouble, match=r"was not ready after 0.01 s"):
            await processes.wait_ready()
        monkeypatch.setattr("sfjobs.platform.execution.worker_process.RESPONSE_SECONDS", 60)
        assert await runs(processes, 1)


# a worker that does not do what it should


@pytest.mark.parametrize("kind", ["no JSON", "too long"])
async def test_an_answer_that_cannot_be_read_fails_its_job_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """The platform ended, and with it all jobs that ran."""
    async with executor(tmp_path, "answer_badly") as processes:
        with pytest.raises(WorkFailed) as caught:
            await run(processes, replace(work(), circuit=kind))
        pids = processes.worker_pids
        assert await runs(processes, 1)
        assert processes.worker_pids != pids
    assert caught.value.code == "internal-error"
    assert ["job-0" in message for message in errors(caplog)] == [True]


async def test_a_result_whose_file_is_missing_is_an_error_of_its_job(tmp_path: Path) -> None:
    async with executor(tmp_path, "lose_the_file") as processes:
        with pytest.raises(OSError, match="job-0"):
            await run(processes, work())


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
async def test_a_worker_that_is_stopped_before_a_job_costs_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job waited for it, and failed at its time limit."""
    async with executor(tmp_path, "zeros") as processes:
        await run(processes, work())
        (pid,) = processes.worker_pids
        monkeypatch.setattr("sfjobs.platform.execution.worker_process.RESPONSE_SECONDS", 0.2)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(PlatformTrouble, match=r"did not begin within 0.2 s"):
            await run(processes, work(1))
        monkeypatch.setattr("sfjobs.platform.execution.worker_process.RESPONSE_SECONDS", 60)
        assert has_ended(pid)
        assert await runs(processes, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
async def test_a_worker_that_is_stopped_in_a_job_is_a_lost_worker_at_the_time_limit(tmp_path: Path) -> None:
    async with executor(tmp_path, "stop_here", limits=Limits(time=3)) as processes:
        async with processes.acquire_slot() as run_here:
            (pid,) = processes.worker_pids
            with pytest.raises(WorkerLost, match="stopped by a signal"):
                await run_here(work())
        assert has_ended(pid)


@pytest.mark.parametrize(
    ("runner", "name"), [("store_on_a_full_disk", "full"), ("run_out", "full"), ("upgrade", "upgrading")]
)
async def test_what_the_machine_lacks_during_a_job_is_not_the_jobs_failure(
    tmp_path: Path, meeting: Meeting, runner: str, name: str
) -> None:
    async with executor(tmp_path, runner) as processes:
        flag(name).touch()
        for _ in range(3):
            with pytest.raises(PlatformTrouble) as caught:
                await run(processes, work())
            assert "/" not in caught.value.detail
        flag(name).unlink()
        assert await runs(processes, 1)
    assert [name for name in names(tmp_path) if name.endswith(".part")] == []


async def test_a_result_that_found_no_room_says_how_much_it_needs(tmp_path: Path, meeting: Meeting) -> None:
    flag("full").touch()
    async with executor(tmp_path, "store_on_a_full_disk") as processes:
        with pytest.raises(PlatformTrouble) as caught:
            await run(processes, work())
        assert caught.value.bytes_needed == 3 * 4
        assert (processes.has_room(1), processes.has_room(1 << 60)) == (True, False)


async def test_no_job_starts_while_results_cannot_be_stored_and_the_log_says_so_once(
    tmp_path: Path, meeting: Meeting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flag("full").touch()
    fsync, probes = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal probes
        probes += 1
        if probes <= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        flag("full").unlink(missing_ok=True)
        fsync(descriptor)

    async with executor(tmp_path, "store_on_a_full_disk", workers=2) as processes:
        with pytest.raises(PlatformTrouble):
            await run(processes, work())
        meeting.forget()
        monkeypatch.setattr(os, "fsync", full)
        async with anyio.create_task_group() as tasks:
            for number in (1, 2):
                tasks.start_soon(run, processes, work(number))
    assert (probes, len(errors(caplog))) == (4, 1)
    assert {name for name in names(tmp_path) if "." in name} == {"job-1-1.npz", "job-2-1.npz"}


# what is killed


@pytest.mark.parametrize("cause", ["cancel", "kill"])
async def test_the_children_of_a_worker_end_with_it(tmp_path: Path, meeting: Meeting, cause: str) -> None:
    """They went on, and kept its pipes open and a processor busy."""
    async with executor(tmp_path, "stay") as processes:
        async with anyio.create_task_group() as tasks:

            async def end() -> None:
                with pytest.raises(ExecutionError):
                    await run(processes, work())

            tasks.start_soon(end)
            _, child, _ = await anyio.to_thread.run_sync(meeting.arrival)
            (pid,) = processes.worker_pids
            if cause == "kill":
                os.kill(pid, signal.SIGKILL)
            else:
                tasks.cancel_scope.cancel()
        assert await anyio.to_thread.run_sync(has_ended, child)
        assert await anyio.to_thread.run_sync(has_ended, pid)


async def test_a_child_that_has_left_the_group_keeps_nobody_waiting(tmp_path: Path, meeting: Meeting) -> None:
    """It holds the pipes of the worker; some versions of asyncio wait for the end of these."""
    with anyio.fail_after(60):
        async with executor(tmp_path, "stay") as processes:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, processes, replace(work(), circuit="a session of its own"))
                _, child, _ = await anyio.to_thread.run_sync(meeting.arrival)
                tasks.cancel_scope.cancel()
            os.kill(child, signal.SIGKILL)
            await anyio.to_thread.run_sync(has_ended, child)
            await anyio.sleep(0.01)  # asyncio closes its end of the pipes now
