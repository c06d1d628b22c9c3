"""
A lab on one platform: a few accounts with thousands of jobs, many with a few, and faults. ``python -m tests.soak.lab`` prints
what happened to all jobs, and how long the small accounts waited. Exit code 0 when no job was lost, failed or doubled, and the
small accounts waited at most twice as long as they would have alone at their share.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread

import sfjobs
from sfjobs.platform.store.api_keys import create_key
from sfjobs.platform.store.sqlite.accounts import open_accounts

from .lab_server import SHOTS_PER_SECOND, set_clock

PROGRAM = "name lab\nversion 1.0\ntarget simulon_gaussian (shots={shots}, seed={seed})\nMeasureFock() | [0, 1]\n"
FLOODS = 5
SIZES = {10: 0.60, 100: 0.35, 1000: 0.05}
"""Shots of the jobs of the large accounts, and their shares. The small accounts have those of 10 shots."""

SLOTS = 2
CLOCK_STEP_SECONDS = -3600.0
OUTAGE_SECONDS = 3.0


@dataclass(frozen=True)
class Course:
    jobs: int = 20_000
    accounts: int = 30
    seed: int = 1
    kill_every: float = 3.0


@dataclass
class Server:
    """The platform, which is killed and started again on the same port."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[str] = field(init=False)

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.soak.lab_server", str(self.folder), str(self.port), str(SLOTS)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the server has ended: {(self.folder / 'server.log').read_text()[-2000:]}"
        self.port = int(line)

    def stop(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(60)

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def fill_disk(self, *, is_full: bool) -> None:
        """Let no file of the server and its workers grow."""
        import resource

        for pid in [self.process.pid, *self.workers()]:
            try:
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0 if is_full else hard, hard))
            except ProcessLookupError:
                pass  # a worker that was killed


@dataclass
class Lab:
    course: Course
    folder: Path
    server: Server = field(init=False)
    chance: random.Random = field(init=False)
    ids: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    waits: list[tuple[float, float, int]] = field(default_factory=list)
    """Of each burst of a small account: when it came, how long it took, and how many jobs it had."""

    disturbed: list[tuple[float, float]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.course.seed)
        self.server = Server(self.folder)

    async def run(self) -> float:
        """Play the whole course, and return how many seconds it took."""
        set_clock(self.folder / "clock", 0.0)
        with open_accounts(self.folder / "platform", create=True) as accounts:
            keys = [
                create_key(accounts, f"account{number}", f"account{number}") for number in range(self.course.accounts)
            ]
        self.server.start()
        begin = anyio.current_time()
        large = self.course.jobs * 85 // 100 // FLOODS
        small = (self.course.jobs - large * FLOODS) // (len(keys) - FLOODS)
        try:
            async with anyio.create_task_group() as everything:
                everything.start_soon(self.disturb)
                async with anyio.create_task_group() as floods, anyio.create_task_group() as others:
                    for key in keys[:FLOODS]:
                        floods.start_soon(self.flood, key, large)
                    for key in keys[FLOODS:]:
                        others.start_soon(self.trickle, key, small)
                everything.cancel_scope.cancel()
        finally:
            self.server.stop(signal.SIGTERM)
        return anyio.current_time() - begin

    def connection(self, key: str) -> sfjobs.Connection:
        settings = sfjobs.Settings(url=f"http://127.0.0.1:{self.server.port}", api_key=key, journal="off", retries=50)
        return sfjobs.Connection(settings=settings)

    async def flood(self, key: str, count: int) -> None:
        shots = self.chance.choices(list(SIZES), list(SIZES.values()), k=count)
        seeds = [self.chance.randrange(1 << 32) for _ in shots]
        async with self.connection(key) as connection:
            programs = [PROGRAM.format(shots=size, seed=seed) for size, seed in zip(shots, seeds, strict=True)]
            jobs: list[sfjobs.Job] = []
            async for item in connection.create_jobs("simulon_gaussian", programs):
                assert isinstance(item, sfjobs.Job), item
                jobs.append(item)
            self.ids.extend(job.id for job in jobs)
            for job, status in zip(jobs, await sfjobs.wait_all(jobs), strict=True):
                if status != sfjobs.JobStatus.COMPLETED:
                    self.wrong.append(f"{job.id} {status} {dict(job.meta)}")

    async def trickle(self, key: str, count: int) -> None:
        """Send bursts of one to five jobs until ``count`` were sent, while the floods run."""
        async with self.connection(key) as connection:
            while count:
                await anyio.sleep(self.chance.uniform(0.5, 1.5) * self.pause)
                burst = min(count, self.chance.randint(1, 5))
                count -= burst
                seeds = [self.chance.randrange(1 << 32) for _ in range(burst)]
                begin = anyio.current_time()
                programs = [PROGRAM.format(shots=10, seed=seed) for seed in seeds]
                jobs = [item async for item in connection.create_jobs("simulon_gaussian", programs)]
                assert all(isinstance(job, sfjobs.Job) for job in jobs), jobs
                self.ids.extend(job.id for job in jobs if isinstance(job, sfjobs.Job))
                for job, seed in zip(jobs, seeds, strict=True):
                    assert isinstance(job, sfjobs.Job)
                    await job.wait()
                    if (
                        job.status != sfjobs.JobStatus.COMPLETED
                        or not ((await job.fetch_result()).samples == seed % 251).all()
                    ):
                        self.wrong.append(f"{job.id} {job.status} {dict(job.meta)}")
                self.waits.append((begin, anyio.current_time() - begin, burst))

    @property
    def pause(self) -> float:
        """Mean seconds between two bursts of a small account, of three jobs each, such that they last as long as the floods."""
        work = (
            self.course.jobs * (sum(shots * share for shots, share in SIZES.items()) / SHOTS_PER_SECOND + 0.005) / SLOTS
        )
        return work / (self.course.jobs * 0.15 / (self.course.accounts - FLOODS) / 3)

    # -- faults ----------------------------------------------------------------------------------------------------------

    async def disturb(self) -> None:
        plan = [self.fill_disk, self.restart, self.step_clock, self.crash]
        while True:
            for fault in plan:
                for _ in range(3):
                    await anyio.sleep(self.course.kill_every)
                    self.kill_worker()
                begin = anyio.current_time()
                await fault()
                self.faults[fault.__name__] += 1
                self.disturbed.append((begin, anyio.current_time() + 2.0))
            plan = []
            await anyio.sleep(self.course.kill_every)
            self.kill_worker()

    def kill_worker(self) -> None:
        if workers := self.server.workers():
            self.faults["kill_worker"] += 1
            os.kill(self.chance.choice(workers), signal.SIGKILL)
            self.disturbed.append((anyio.current_time(), anyio.current_time() + 2.0))

    async def fill_disk(self) -> None:
        self.server.fill_disk(is_full=True)
        await anyio.sleep(OUTAGE_SECONDS)
        self.server.fill_disk(is_full=False)
        await anyio.sleep(2.0)

    async def restart(self) -> None:
        await anyio.to_thread.run_sync(self.server.stop, signal.SIGTERM)
        await anyio.to_thread.run_sync(self.server.start)

    async def crash(self) -> None:
        await anyio.to_thread.run_sync(self.server.stop, signal.SIGKILL)
        await anyio.to_thread.run_sync(self.server.start)

    async def step_clock(self) -> None:
        set_clock(self.folder / "clock", CLOCK_STEP_SECONDS)
        await anyio.sleep(OUTAGE_SECONDS)


# -- the verdict ---------------------------------------------------------------------------------------------------------


def problems_of_jobs(lab: Lab) -> list[str]:
    """Compare what the clients have with what the database has, which is read without the platform's code."""
    with closing(sqlite3.connect(lab.folder / "platform" / "platform.sqlite3")) as database:
        stored = dict(database.execute("SELECT id, status FROM jobs").fetchall())
        backwards = database.execute("SELECT count(*) FROM jobs WHERE started IS NULL OR finished IS NULL").fetchone()[
            0
        ]
    problems = [f"wrong: {line}" for line in lab.wrong]
    problems += [f"{job_id} is known twice" for job_id, number in Counter(lab.ids).items() if number > 1]
    problems += [f"{job_id} is lost" for job_id in set(lab.ids) - stored.keys()]
    problems += [f"{job_id} was doubled" for job_id in stored.keys() - set(lab.ids)]
    problems += [f"{job_id} is {status}" for job_id, status in stored.items() if status != "complete"]
    if backwards:
        problems.append(f"{backwards} jobs without a start or an end")
    return problems


def problems_of_waits(lab: Lab, seconds: float) -> list[str]:
    """Compare the bursts of the small accounts with what each account's share of the slots alone would have given them."""
    calm = [
        (wait, burst)
        for begin, wait, burst in lab.waits
        if not any(begin < end and start < begin + wait for start, end in lab.disturbed)
    ]
    if len(calm) < 20:
        return []
    in_slot = sum(shots * share for shots, share in SIZES.items()) / SHOTS_PER_SECOND
    overhead = max(0.0, seconds * SLOTS / lab.course.jobs - in_slot)  # of one job, as this machine has it
    per_job = (10 / SHOTS_PER_SECOND + overhead) * lab.course.accounts / SLOTS
    longest = max(SIZES) / SHOTS_PER_SECOND
    ratios = sorted(wait / (per_job * burst + longest) for wait, burst in calm)
    waits = sorted(wait for wait, _ in calm)
    print(
        f"bursts of small accounts without a fault near them: {len(calm)} of {len(lab.waits)};"
        f" wait p50 {statistics.median(waits):.3f} s, p95 {waits[len(waits) * 95 // 100]:.3f} s, longest {waits[-1]:.3f} s;"
        f" divided by that alone at its share: p50 {statistics.median(ratios):.2f}, p95 {ratios[len(ratios) * 95 // 100]:.2f},"
        f" most {ratios[-1]:.2f}"
    )
    return [f"small accounts waited {ratios[len(ratios) * 95 // 100]:.2f} times as long as at their share"] * (
        ratios[len(ratios) * 95 // 100] > 2.0
    )


def play(course: Course, folder: Path) -> list[str]:
    lab = Lab(course, folder)
    seconds = anyio.run(lab.run)
    print(f"{len(lab.ids)} jobs of {course.accounts} accounts in {seconds:.0f} s; faults: {dict(lab.faults)}")
    return problems_of_jobs(lab) + problems_of_waits(lab, seconds)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.lab", description=__doc__)
    parser.add_argument("--jobs", type=int, default=Course.jobs)
    parser.add_argument("--accounts", type=int, default=Course.accounts)
    parser.add_argument("--seed", type=int, default=Course.seed)
    parser.add_argument("--kill-every", type=float, default=Course.kill_every, help="seconds")
    parser.add_argument("--keep", type=Path, help="a folder for data and logs, which are removed otherwise")
    given = parser.parse_args(words)
    course = Course(given.jobs, given.accounts, given.seed, given.kill_every)
    with tempfile.TemporaryDirectory(prefix="sfjobs-lab-") as folder:
        problems = play(course, given.keep or Path(folder))
    for problem in problems[:50]:
        print(f"FAILED  {problem}")
    print("verdict:", f"{len(problems)} problems" if problems else "all jobs complete, once, and fair")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
