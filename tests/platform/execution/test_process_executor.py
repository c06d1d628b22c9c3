"""Worker processes: one job at a time, killed to cancel, replaced when they end, and ended with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
import pytest

from sfjobs.platform.execution.executor import Outcome, PlatformTrouble, Work, WorkerLost, WorkFailed
from sfjobs.platform.execution.process_executor import ProcessExecutor
from sfjobs.platform.limits import DEFAULTS, Limits
from tests.platform.runners import Meeting, is_alive
from tests.platform.stand_ins import PROGRAM

pytestmark = [pytest.mark.real_time, pytest.mark.skipif(sys.platform == "win32", reason="named pipes")]


def work(number: int = 0) -> Work:
    return Work(job_id=f"job-{number}", attempt=1, target="simulon_gaussian", circuit=PROGRAM, shots=3, seed=number)


def executor(folder: Path, runner: str, *, workers: int = 1, limits: Limits = DEFAULTS) -> ProcessExecutor:
    return ProcessExecutor(folder, runner=f"tests.platform.runners:{runner}", workers=workers, limits=limits)


async def run(processes: ProcessExecutor, work: Work) -> Outcome:
    async with processes.acquire_slot() as run_here:
        return await run_here(work)


async def test_the_result_is_a_file_in_the_folder(tmp_path: Path) -> None:
    async with executor(tmp_path, "zeros") as processes:
        outcome = await run(processes, work(5))
    with np.load(tmp_path / outcome.result.name) as archive:
        np.testing.assert_array_equal(archive["arr_0"], np.zeros((3, 4), np.uint8))
    assert outcome.meta == {"seed": 5}


async def test_the_array_is_at_the_stated_offset_of_the_archive(tmp_path: Path) -> None:
    async with executor(tmp_path, "zeros") as processes:
        result = (await run(processes, work())).result
    content = (tmp_path / result.name).read_bytes()
    (tmp_path / "cut.npy").write_bytes(content[result.npy_offset : result.npy_offset + result.npy_size])
    np.testing.assert_array_equal(np.load(tmp_path / "cut.npy"), np.zeros((3, 4), np.uint8))
    assert len(content) == result.size


async def test_the_default_runner_gives_the_same_result_for_the_same_seed(tmp_path: Path) -> None:
    async with ProcessExecutor(tmp_path) as processes:
        first = await run(processes, work(3))
        second = await run(processes, work(3))
    assert first.result.npy_digest == second.result.npy_digest


async def test_one_process_runs_one_job_after_another(tmp_path: Path, meeting: Meeting) -> None:
    pids = set()
    async with executor(tmp_path, "meet") as processes:
        for number in range(3):
            meeting.let_go()
            await run(processes, work(number))
            pids.add(meeting.arrival()[1])
    assert len(pids) == 1


async def test_workers_run_at_the_same_time(tmp_path: Path, meeting: Meeting) -> None:
    async with executor(tmp_path, "meet", workers=2) as processes, anyio.create_task_group() as tasks:
        for number in range(2):
            tasks.start_soon(run, processes, work(number))
        arrivals = [await anyio.to_thread.run_sync(meeting.arrival) for _ in range(2)]
        meeting.let_go(2)
    assert len({pid for _, pid, _ in arrivals}) == 2


async def test_cancelling_ends_the_process_before_run_returns(tmp_path: Path, meeting: Meeting) -> None:
    async with executor(tmp_path, "meet") as processes:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, processes, work())
            _, pid, _ = await anyio.to_thread.run_sync(meeting.arrival)
            tasks.cancel_scope.cancel()
        assert not is_alive(pid)


async def test_the_files_of_a_killed_worker_are_removed(tmp_path: Path, meeting: Meeting) -> None:
    names = ["job-0-1.npz.part", "job-0-1.npz", "job-0-2.npz", "job-1-1.npz"]
    async with executor(tmp_path, "meet") as processes, anyio.create_task_group() as tasks:
        tasks.start_soon(run, processes, work())
        await anyio.to_thread.run_sync(meeting.arrival)
        for name in names:
            (tmp_path / name).write_bytes(b"half")
        tasks.cancel_scope.cancel()
    assert {name for name in names if (tmp_path / name).exists()} == set(names[2:])


async def test_after_a_cancellation_the_next_job_runs(tmp_path: Path, meeting: Meeting) -> None:
    async with executor(tmp_path, "meet") as processes:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, processes, work())
            await anyio.to_thread.run_sync(meeting.arrival)
            tasks.cancel_scope.cancel()
        meeting.let_go()
        assert (await run(processes, work(1))).meta == {"seed": 1}


async def test_a_killed_worker_is_a_lost_worker(tmp_path: Path, meeting: Meeting) -> None:
    async with executor(tmp_path, "meet") as processes, anyio.create_task_group() as tasks:

        async def lose() -> None:
            with pytest.raises(WorkerLost, match="status -9"):
                await run(processes, work())

        tasks.start_soon(lose)
        _, pid, _ = await anyio.to_thread.run_sync(meeting.arrival)
        os.kill(pid, signal.SIGKILL)


async def test_after_a_crash_the_next_job_gets_a_new_worker(tmp_path: Path) -> None:
    async with executor(tmp_path, "die") as processes:
        pids = []
        for number in range(2):
            async with processes.acquire_slot() as run_here:
                pids += processes.worker_pids
                with pytest.raises(WorkerLost):
                    await run_here(work(number))
    assert len(set(pids)) == 2


async def test_the_output_of_a_lost_worker_is_in_the_log_and_not_in_the_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error goes into the ``meta`` of the job, which its owner reads."""
    async with executor(tmp_path, "die") as processes:
        with pytest.raises(WorkerLost, match=r"status -9 \(SIGKILL, perhaps since the memory") as caught:
            await run(processes, work())
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert ("about to crash" in warning, "job job-0, attempt 1" in warning) == (True, True)
    assert "about to crash" not in caught.value.detail


async def test_a_worker_that_ended_while_idle_costs_no_job(tmp_path: Path) -> None:
    async with executor(tmp_path, "zeros") as processes:
        await run(processes, work())
        (pid,) = processes.worker_pids
        os.kill(pid, signal.SIGKILL)
        with anyio.fail_after(30):
            while True:  # the event loop may learn of the end only after a job was sent
                try:
                    outcome = await run(processes, work(1))
                    break
                except PlatformTrouble:
                    continue
        assert (outcome.meta, processes.worker_pids != (pid,)) == ({"seed": 1}, True)


async def test_a_runner_that_raises_fails_the_job_without_its_message(tmp_path: Path) -> None:
    async with executor(tmp_path, "stumble") as processes:
        with pytest.raises(WorkFailed) as caught:
            await run(processes, work())
    assert (caught.value.code, "secret" in caught.value.detail) == ("internal-error", False)


async def test_a_program_that_cannot_be_run_fails_with_its_own_code(tmp_path: Path) -> None:
    async with ProcessExecutor(tmp_path) as processes:
        with pytest.raises(WorkFailed) as caught:
            await run(
                processes, Work(job_id="x", attempt=1, target="simulon_gaussian", circuit="no program", shots=1, seed=1)
            )
    assert caught.value.code == "parse-error"


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
async def test_memory_is_limited(tmp_path: Path) -> None:
    async with executor(tmp_path, "hoard", limits=Limits(memory=1 << 30)) as processes:
        with pytest.raises(WorkFailed) as caught:
            await run(processes, work())
    assert caught.value.code == "out-of-memory"


async def test_time_is_limited(tmp_path: Path, meeting: Meeting) -> None:
    async with executor(tmp_path, "meet", limits=Limits(time=0.05)) as processes:
        with pytest.raises(WorkFailed) as caught:
            await run(processes, work())
        _, pid, _ = await anyio.to_thread.run_sync(meeting.arrival)
        assert (caught.value.code, is_alive(pid)) == ("time-limit", False)


async def test_leaving_the_executor_ends_all_processes(tmp_path: Path) -> None:
    async with executor(tmp_path, "zeros", workers=2) as processes:
        async with anyio.create_task_group() as tasks:
            for number in range(2):
                tasks.start_soon(run, processes, work(number))
        pids = processes.worker_pids
    assert [is_alive(pid) for pid in pids] == [False, False]


async def test_leaving_the_executor_during_the_start_leaves_no_process(tmp_path: Path) -> None:
    async with executor(tmp_path, "zeros", workers=2) as processes:
        pass
    assert processes.worker_pids == ()


def test_a_worker_ends_when_its_parent_ends_even_during_a_job(tmp_path: Path, meeting: Meeting) -> None:
    command = [
        sys.executable,
        "-m",
        "sfjobs.platform.execution.worker",
        str(tmp_path),
        "tests.platform.runners:meet",
        "{}",
    ]
    line = b'{"job_id": "x", "attempt": 1, "target": "t", "circuit": "c", "shots": 1, "seed": 1}\n'
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        process.stdin.write(line)
        process.stdin.flush()
        meeting.arrival()
        process.stdin.close()
        assert process.wait(timeout=60) == 0
