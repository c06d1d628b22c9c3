"""The live line beside a wait: its contents while jobs end, and that its errors do not end the wait."""

from __future__ import annotations

import io
import sys

import anyio
import pytest

import sfjobs
from sfjobs import Job
from sfjobs._jobs.job import state_of
from sfjobs._progress import Display, Progress, show, shown
from sfjobs._progress.live import pause_after
from tests.support.fake_platform import FakePlatform


class RecordingDisplay:
    """A display that records all progress that it shows, with the time."""

    def __init__(self) -> None:
        self.shown: list[Progress] = []
        self.times: list[float] = []
        self.last: list[Progress] = []

    def show(self, progress: Progress) -> None:
        self.shown.append(progress)
        self.times.append(anyio.current_time())

    def conclude(self, progress: Progress) -> None:
        self.last.append(progress)


class Broken:
    """A display that raises an error, and counts its uses."""

    def __init__(self, error: Exception, *, at_the_end: bool = False) -> None:
        self._error = error
        self._at_the_end = at_the_end
        self.uses = 0

    def show(self, progress: Progress) -> None:
        if not self._at_the_end:
            self.uses += 1
            raise self._error

    def conclude(self, progress: Progress) -> None:
        self.uses += 1
        raise self._error


def handles(connection: sfjobs.Connection, platform: FakePlatform) -> list[Job]:
    return [Job(job_id, "open", connection) for job_id in platform.jobs]


def ending_one_by_one(jobs: int) -> FakePlatform:
    platform, now = FakePlatform(latency=0.05), anyio.current_time()
    for number in range(jobs):
        platform.add(ends_at=now + 1 + number / 10, outcome="failed" if number % 10 == 3 else "complete")
    return platform


async def test_the_whole_wait_is_shown() -> None:
    platform, display = ending_one_by_one(100), RecordingDisplay()
    async with platform.connection() as connection:
        jobs = handles(connection, platform)
        async with shown(map(state_of, jobs), fetches=True, display=display):
            await sfjobs.wait_all(jobs)
    ended = [page.ended for page in display.shown]
    assert ended == sorted(ended)
    assert (display.shown[0].unpolled, len(set(ended)) > 5) == (100, True)
    assert any(page.rate == pytest.approx(10, rel=0.2) for page in display.shown)
    [last] = display.last
    assert (last.total, last.complete, last.failed, last.fetching) == (100, 90, 10, 0)


async def test_results_on_their_way_are_shown_at_the_end() -> None:
    platform, display = FakePlatform(latency=0.3), RecordingDisplay()
    for _ in range(100):
        platform.add(status="complete")
    async with platform.connection() as connection:
        jobs = handles(connection, platform)
        async with shown(map(state_of, jobs), fetches=True, display=display):
            await sfjobs.wait_all(jobs)
    fetching = [page.fetching for page in display.shown if page.ended == 100]
    assert fetching == sorted(fetching, reverse=True)
    assert (fetching[0], display.last[0].fetching) == (100, 0)


async def test_updates_are_a_fifth_of_a_second_apart() -> None:
    display = RecordingDisplay()
    with anyio.move_on_after(2.1):
        await show([], display=display)
    gaps = [later - earlier for earlier, later in zip(display.times, display.times[1:], strict=False)]
    assert gaps == pytest.approx([0.2] * 10)


@pytest.mark.parametrize(("ended", "pause"), [(0, 1.0), (5_000, 0.5), (9_000, 0.2), (10_000, 0.2)])
def test_many_jobs_are_updated_less_often(ended: int, pause: float) -> None:
    assert pause_after(Progress(total=10_000, complete=ended)) == pause
    assert pause_after(Progress(total=1_000_000)) == 1.0


async def test_a_wait_that_times_out_leaves_a_last_line() -> None:
    platform, display = ending_one_by_one(100), RecordingDisplay()
    async with platform.connection() as connection:
        jobs = handles(connection, platform)
        with anyio.move_on_after(5.0):
            async with shown(map(state_of, jobs), display=display):
                await sfjobs.wait_all(jobs)
    [last] = display.last
    assert 10 < last.ended < 60


async def test_an_error_of_the_wait_is_raised_as_it_is() -> None:
    platform, display = ending_one_by_one(10), RecordingDisplay()
    async with platform.connection() as connection:
        jobs = [*handles(connection, platform), Job("unknown", "open", connection)]
        with pytest.raises(sfjobs.NotFoundError):
            async with shown(map(state_of, jobs), display=display):
                await sfjobs.wait_all(jobs)
        with pytest.raises(sfjobs.WaitTimeoutError):
            async with shown(map(state_of, jobs[-1:]), display=display):
                await sfjobs.wait_all(jobs[-1:], timeout=0.1)
    assert [last.unpolled for last in display.last] == [1, 1]


async def test_an_interrupt_is_raised_as_it_is() -> None:
    display = RecordingDisplay()
    with pytest.raises(KeyboardInterrupt):  # as trio raises it in the main task
        async with shown([], display=display):
            raise KeyboardInterrupt
    assert len(display.last) == 1


@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O operation on closed file"), RuntimeError("dead")])
async def test_a_display_that_raises_is_not_used_again(error: Exception, at_the_end: bool) -> None:
    platform, display = ending_one_by_one(20), Broken(error, at_the_end=at_the_end)
    async with platform.connection() as connection:
        jobs = handles(connection, platform)
        async with shown(map(state_of, jobs), display=display):
            statuses = await sfjobs.wait_all(jobs)
    assert (len(statuses), display.uses) == (20, 1)


async def test_a_closed_stderr_does_not_disturb_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    platform = ending_one_by_one(5)
    async with platform.connection() as connection:
        jobs = handles(connection, platform)
        async with shown(map(state_of, jobs)):
            assert len(await sfjobs.wait_all(jobs)) == 5


async def test_stderr_gets_lines_where_it_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    platform = ending_one_by_one(20)
    async with platform.connection() as connection:
        jobs = handles(connection, platform)
        async with shown(map(state_of, jobs)):
            await sfjobs.wait_all(jobs)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert lines[0] == "0 of 20 jobs ended · 20 not polled yet"
    assert lines[-1].startswith("20 of 20 jobs ended (2 failed) after ")
    assert (len(lines) < 8, "\r" in captured.err, captured.out) == (True, False, "")


def test_a_recording_display_is_a_display() -> None:
    display: Display = RecordingDisplay()
    assert display


async def test_wait_all_shows_progress(capsys: pytest.CaptureFixture[str]) -> None:
    platform = ending_one_by_one(5)
    async with platform.connection() as connection:
        jobs = handles(connection, platform)
        assert len(await sfjobs.wait_all(jobs, progress=True)) == 5
        assert capsys.readouterr().err.splitlines()[-1].startswith("5 of 5 jobs ended (1 failed) after ")
        assert await sfjobs.wait_all([], progress=True) == []
        await sfjobs.wait_all(jobs)
    assert capsys.readouterr().err == ""


async def test_wait_all_raises_the_same_errors_with_progress() -> None:
    platform = ending_one_by_one(5)
    async with platform.connection() as connection:
        jobs = [*handles(connection, platform), Job("unknown", "open", connection)]
        with pytest.raises(sfjobs.NotFoundError):
            await sfjobs.wait_all(jobs, progress=True)
        with pytest.raises(sfjobs.WaitTimeoutError):
            await sfjobs.wait_all(jobs[-1:], timeout=0.1, progress=True)
