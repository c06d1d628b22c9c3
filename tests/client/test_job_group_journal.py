"""A group and its journal: a damaged journal begins no group anew, and an open group says what a reopened one says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Connection, JobGroup, JobStatus, Submission, sync
from tests.support.counter import Counter, circuit
from tests.support.fake_platform import FakePlatform
from tests.support.journals import execute

pytestmark = pytest.mark.real_time

TARGET = "simulon_gaussian"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "submissions.db"


@pytest.fixture
def scripted() -> FakePlatform:
    return FakePlatform()


@pytest.fixture
def counter(scripted: FakePlatform) -> Counter:
    counter = Counter(scripted, latency=0.002, duration=lambda: 0.02)
    scripted.trouble = counter.handle
    return counter


@pytest.fixture
def connect(scripted: FakePlatform, counter: Counter, path: Path) -> Callable[[], Connection]:
    return lambda: scripted.connection(journal=str(path), retries=1, poll_interval_min=0.01)


def programs(count: int) -> list[Submission]:
    return [Submission(circuit(number), name=f"p{number}") for number in range(count)]


async def run_through(connect: Callable[[], Connection], count: int = 5) -> None:
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, programs(count))
        await group.wait()


def damage(path: Path) -> None:
    path.write_bytes(b"this is not a database " * 1000)


def set_aside(path: Path) -> Path:
    """Set the file aside as another process does that finds it damaged."""
    aside = path.with_name(f"{path.name}.damaged-20260101T000000Z")
    for tail in ("", "-wal", "-shm"):
        file = path.with_name(path.name + tail)
        if file.exists():
            file.rename(aside.with_name(aside.name + tail))
    return aside


# -- damage --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [damage, set_aside], ids=["damaged", "set aside before"])
async def test_a_group_is_not_begun_anew_after_damage_until_it_is_told_to(
    scripted: FakePlatform, path: Path, connect: Callable[[], Connection], how: Callable[[Path], object]
) -> None:
    """All programs were submitted a second time, with one line in the log."""
    if how is set_aside:
        await run_through(connect)
    how(path)
    before = len(scripted.jobs)
    async with connect() as connection:
        for _ in range(2):
            with pytest.raises(sfjobs.JournalError, match=r"no group 'sweep'.*\n.*begin_anew=True") as caught:
                await JobGroup.open("sweep", connection)
        [aside] = path.parent.glob("*.damaged-*[Z0-9]")
        assert str(aside) in str(caught.value)
        assert len(scripted.jobs) == before
        group = await JobGroup.open("sweep", connection, begin_anew=True)
        await group.add_all(TARGET, programs(1))
        assert len(await JobGroup.open("sweep", connection)) == 1  # it is in this journal now
        with pytest.raises(sfjobs.JournalError):
            await JobGroup.open("other", connection)
        aside.rename(path.with_name("kept"))
        assert len(await JobGroup.open("other", connection)) == 0


def test_the_blocking_twin_is_told_to_begin_anew(scripted: FakePlatform, path: Path) -> None:
    damage(path)
    settings = scripted.settings(journal=str(path), retries=1)
    with sync.Connection(settings=settings, transport=httpx.MockTransport(scripted.handle)) as connection:
        with pytest.raises(sfjobs.JournalError, match="damaged-"):
            sync.JobGroup.open("sweep", connection)
        assert len(sync.JobGroup.open("sweep", connection, begin_anew=True)) == 0


async def test_an_open_group_whose_journal_is_set_aside_sends_nothing_more(
    scripted: FakePlatform, path: Path, connect: Callable[[], Connection]
) -> None:
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, programs(5))
        aside = set_aside(path)
        with pytest.raises(sfjobs.JournalError, match="no longer in the journal") as caught:
            await group.wait(timeout=20)
        assert str(aside) in str(caught.value)
        with pytest.raises(sfjobs.JournalError, match="no longer in the journal"):
            await group.add(TARGET, circuit(7), name="p7")
        async with connect() as another:  # which begins the group in the new file
            begun = await JobGroup.open("sweep", another, begin_anew=True)
            await begun.add_all(TARGET, programs(7))
        with pytest.raises(sfjobs.JournalError, match="no longer in the journal"):
            await group.submit()
        assert len(group) == 5


async def test_a_group_that_is_removed_may_be_begun_again(
    scripted: FakePlatform, connect: Callable[[], Connection]
) -> None:
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, programs(2))
        await group.wait()
        await group.remove()
        assert len(group) == 0
        await group.add_all(TARGET, programs(1))
        assert (await group.wait()).complete == 1


# -- what an open group says ---------------------------------------------------------------------------------------------


async def same_as_reopened(group: JobGroup, connect: Callable[[], Connection]) -> None:
    async with connect() as connection:
        reopened = await JobGroup.open(group.name, connection)
        assert group.members == reopened.members
        assert [group.attempts(index) for index in range(len(group))] == [
            reopened.attempts(index) for index in range(len(reopened))
        ]
        assert group.progress == reopened.progress


async def test_after_the_wait_a_group_says_what_a_reopened_one_says(
    scripted: FakePlatform, counter: Counter, connect: Callable[[], Connection]
) -> None:
    """The members had no status, and attempts of before the last one had none on disk either."""
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, programs(5))
        counter.duration = lambda: float("inf")
        await group.submit()
        for job in scripted.jobs.values():
            job.outcome, job.ends_at = "failed" if job.name == "p1" else "complete", anyio.current_time()
        counter.duration = lambda: 0.02
        await group.wait()
        statuses = ["complete", "failed", "complete", "complete", "complete"]
        assert [member.status for member in group.members] == statuses
        await same_as_reopened(group, connect)
        assert await group.rerun_failed() == 1
        assert [attempt.status for attempt in group.attempts(1)] == ["failed", None]
        await group.wait()
        assert [attempt.status for attempt in group.attempts(1)] == ["failed", "complete"]
        await same_as_reopened(group, connect)
        assert await group.rerun_failed() == 0


async def test_jobs_that_a_caller_has_waited_for_are_noted_as_well(
    scripted: FakePlatform, counter: Counter, connect: Callable[[], Connection]
) -> None:
    """A job that had ended before the group's wait was never noted: each reopened group polled it again."""
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, programs(3))
        counter.duration = lambda: float("inf")
        await group.submit()
        for job in scripted.jobs.values():
            job.outcome, job.ends_at = "failed", anyio.current_time()
        counter.duration = lambda: 0.02
        await sfjobs.wait_all(group.jobs)
        assert [member.status for member in group.members] == [JobStatus.FAILED] * 3
        assert await group.rerun_failed() == 3
        await group.wait()
        assert [attempt.status for attempt in group.attempts(0)] == ["failed", "complete"]
        await same_as_reopened(group, connect)
        await sfjobs.wait_all(group.jobs)
        await group.wait()
        await same_as_reopened(group, connect)


async def test_a_job_that_has_ended_before_the_wait_is_noted(
    scripted: FakePlatform, counter: Counter, connect: Callable[[], Connection]
) -> None:
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, programs(3))
        await group.submit()
        await sfjobs.wait_all(group.jobs)
        assert (await group.wait()).complete == 3
        await same_as_reopened(group, connect)


async def test_a_wait_includes_what_another_process_repeats_meanwhile(
    scripted: FakePlatform, counter: Counter, path: Path, connect: Callable[[], Connection]
) -> None:
    await run_through(connect, 1)
    execute(path, "UPDATE intents SET status = NULL")
    # Its next poll is after the other process has repeated the program.
    async with scripted.connection(journal=str(path), retries=1, poll_interval_min=1.5) as connection:
        group = await JobGroup.open("sweep", connection)
        counter.duration = lambda: 0.3

        async def repeat() -> None:
            async with connect() as another:
                other = await JobGroup.open("sweep", another)
                [job] = other.jobs
                await job.refresh()
                await other.rerun_failed()

        [job] = scripted.jobs.values()
        job.status, job.outcome, job.ends_at = "queued", "failed", float("inf")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(group.wait)
            await anyio.sleep(0.1)
            job.ends_at = anyio.current_time()
            tasks.start_soon(repeat)
        assert [attempt.status for attempt in group.attempts(0)] == ["failed", "complete"]
        await same_as_reopened(group, connect)
