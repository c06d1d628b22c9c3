"""``JobGroup``: begun in one process, gone on with in another. Real journals, the platform in memory."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pytest

import sfjobs
from sfjobs import Connection, JobGroup, JobStatus, Submission, sync
from sfjobs._journal import GroupTable, Journal, JournalLocation, State
from tests.support.counter import Counter, circuit
from tests.support.fake_platform import SAMPLES, FakePlatform, refusal
from tests.support.journals import execute, rows, states

pytestmark = [pytest.mark.real_time, pytest.mark.submits("singly", "in batches")]

TARGET = "simulon_gaussian"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "submissions.db"


@pytest.fixture
def counter(platform: FakePlatform) -> Counter:
    counter = Counter(platform, latency=0.002, lasts=lambda: 0.02)
    platform.trouble = counter.handle
    return counter


@pytest.fixture
def connect(platform: FakePlatform, path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Connection]:
    """As another process would: all that is known is in the journal."""
    monkeypatch.setattr("sfjobs._client.job_group.OTHERS_PAUSE", 0.01)
    return lambda: platform.connection(journal=str(path), retries=1, poll_interval_min=0.01)


def programs(count: int) -> list[Submission]:
    return [Submission(circuit(number), name=f"p{number}") for number in range(count)]


async def begun(connect: Callable[[], Connection], count: int) -> None:
    """A group that was added to, by a process that has ended since."""
    async with connect() as connection:
        await (await JobGroup.open("sweep", connection)).add_all(TARGET, programs(count))


# -- from the beginning to the end ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("counter")
async def test_a_group_is_added_to_submitted_waited_for_and_read(
    platform: FakePlatform, connect: Callable[[], Connection]
) -> None:
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        assert (len(group), group.progress, group.jobs) == (0, sfjobs.GroupProgress(), [])
        first = await group.add(TARGET, circuit(0), shots=7, name="p0")
        assert (first.index, first.name, first.shots, first.state) == (0, "p0", 7, "added")
        await group.add_all(TARGET, programs(5)[1:], shots=3)
        assert group.progress == sfjobs.GroupProgress(programs=5, added=5)
        assert platform.submissions == []
        progress = await group.submit()
        assert (progress.added, progress.unfinished + progress.complete) == (0, 5)
        assert await group.wait() == sfjobs.GroupProgress(programs=5, complete=5)
        assert [job.name or platform.jobs[job.id].name for job in group.jobs] == ["p0", "p1", "p2", "p3", "p4"]
        results = await group.results()
    assert [result is not None and np.array_equal(result.samples, SAMPLES) for result in results] == [True] * 5
    sent = b"".join(request.content for request in platform.submissions)
    assert (sent.count(b"shots=7"), sent.count(b"shots=3")) == (1, 4)


@pytest.mark.usefixtures("counter")
async def test_a_group_that_was_only_added_to_is_sent_by_whoever_waits_for_it(
    platform: FakePlatform, path: Path, connect: Callable[[], Connection]
) -> None:
    await begun(connect, 30)
    assert states(path) == ["added"] * 30
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        assert [member.name for member in group.members] == [f"p{number}" for number in range(30)]
        assert (await group.wait()).complete == 30
    assert len(platform.jobs) == 30


@pytest.mark.usefixtures("counter")
async def test_a_group_that_has_ended_is_known_to_have_without_asking(
    platform: FakePlatform, connect: Callable[[], Connection]
) -> None:
    await begun(connect, 10)
    async with connect() as connection:
        await (await JobGroup.open("sweep", connection)).wait()
    platform.requests.clear()
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        assert group.progress == sfjobs.GroupProgress(programs=10, complete=10)
        assert (await group.wait()).is_over
        assert platform.requests == []
        assert all(result is not None for result in await group.results())


@pytest.mark.parametrize("seed", range(2))
async def test_submitting_that_is_cancelled_anywhere_and_gone_on_with_loses_and_doubles_nothing(
    platform: FakePlatform, counter: Counter, path: Path, connect: Callable[[], Connection], seed: int
) -> None:
    draw = random.Random(seed)
    counter.duration = lambda: draw.uniform(0, 0.05)
    await begun(connect, 50)
    for _ in range(12):
        async with connect() as connection:
            group = await JobGroup.open("sweep", connection)
            with anyio.move_on_after(draw.uniform(0.001, 0.05)):
                await group.submit()
            if not group.progress.added:
                break
    async with connect() as connection:
        assert (await (await JobGroup.open("sweep", connection)).wait()).complete == 50
    assert sorted(job.name or "" for job in platform.jobs.values()) == sorted(f"p{number}" for number in range(50))
    assert {row["name"]: row["job_id"] for row in rows(path)} == {job.name: job.id for job in platform.jobs.values()}


async def test_two_that_submit_the_same_group_at_once_send_each_program_once(
    platform: FakePlatform, counter: Counter, connect: Callable[[], Connection]
) -> None:
    await begun(connect, 60)

    async def submit() -> None:
        async with connect() as connection:
            await (await JobGroup.open("sweep", connection)).wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(submit)
        tasks.start_soon(submit)
    assert len(platform.jobs) == len(counter.accepted) == 60


async def test_waiting_is_also_for_what_another_process_is_about_to_send(
    platform: FakePlatform,
    counter: Counter,
    path: Path,
    connect: Callable[[], Connection],
) -> None:
    """The second of two processes gave None as the results of what the first had yet to send."""
    await begun(connect, 6)
    async with connect() as connection, anyio.create_task_group() as tasks:
        roll = GroupTable(Journal.at(JournalLocation(path)), "sweep", connection.record.url, connection.record.account)
        taken, _ = await roll.claim()
        found: list[Any] = []

        async def collect() -> None:
            found.extend(await (await JobGroup.open("sweep", connection)).results())

        tasks.start_soon(collect)
        await anyio.sleep(0.1)
        assert (found, counter.accepted) == ([], [])
        roll.release(taken)  # as if it had died
    assert [result is not None for result in found] == [True] * 6


async def test_a_window_bounds_the_unfinished_jobs_of_a_group(
    counter: Counter, connect: Callable[[], Connection]
) -> None:
    await begun(connect, 20)
    async with connect() as connection:
        await (await JobGroup.open("sweep", connection)).submit(window=5)
    assert counter.most_unfinished <= 5


# -- programs ------------------------------------------------------------------------------------------------------------


async def test_a_script_that_is_run_again_adds_nothing_twice(path: Path, connect: Callable[[], Connection]) -> None:
    await begun(connect, 10)
    await begun(connect, 15)
    assert [(row["name"], row["position"]) for row in rows(path)] == [(f"p{number}", number) for number in range(15)]


async def test_another_program_of_the_same_name_is_an_error_and_what_came_before_it_stays(
    path: Path, connect: Callable[[], Connection]
) -> None:
    await begun(connect, 2)
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        with pytest.raises(ValueError, match="another program that is called 'p1'"):
            await group.add(TARGET, circuit(9), name="p1")
        with pytest.raises(FileNotFoundError):
            await group.add_all(TARGET, [circuit(5), "missing.xbb", circuit(6)])
        assert len(group) == 3
    assert len(rows(path)) == 3


async def test_what_another_process_adds_meanwhile_is_seen_with_the_next_addition(
    connect: Callable[[], Connection],
) -> None:
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        await begun(connect, 3)
        await group.add(TARGET, circuit(3), name="p3")
        assert [member.name for member in group.members] == ["p0", "p1", "p2", "p3"]


async def test_programs_without_a_name_are_all_different(connect: Callable[[], Connection]) -> None:
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, [circuit(1)] * 3)
        assert [member.index for member in group.members] == [0, 1, 2]


async def test_programs_without_a_name_are_not_added_again_by_a_script_that_is_run_again(
    path: Path, connect: Callable[[], Connection]
) -> None:
    """It doubled the whole sweep, without a word."""
    for _ in range(2):
        async with connect() as connection:
            group = await JobGroup.open("sweep", connection)
            if len(group):
                with pytest.raises(ValueError, match="give each a name"):
                    await group.add_all(TARGET, [circuit(4), circuit(3)])
                await group.add(TARGET, circuit(5))
            else:
                await group.add_all(TARGET, map(circuit, range(4)))
    assert len(states(path)) == 6


async def test_many_programs_are_not_one_text(connect: Callable[[], Connection]) -> None:
    async with connect() as connection:
        with pytest.raises(TypeError, match="see add"):
            await (await JobGroup.open("sweep", connection)).add_all(TARGET, circuit(1))


async def test_a_refused_program_stops_no_other_and_is_not_sent_again(
    platform: FakePlatform, counter: Counter, connect: Callable[[], Connection]
) -> None:
    counter.refuse = lambda text: refusal(400, "parse-error", "no") if "Sgate(3)" in text else None
    await begun(connect, 6)
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        assert await group.wait() == sfjobs.GroupProgress(programs=6, refused=1, complete=5)
        assert [member.reason is not None for member in group.members] == [False] * 3 + [True] + [False] * 2
        assert [result is None for result in await group.results()] == [False] * 3 + [True] + [False] * 2
        sent = len(platform.submissions)
        await group.submit()
    assert len(platform.submissions) == sent


async def test_what_lets_no_submission_succeed_is_raised_and_loses_nothing(
    platform: FakePlatform, counter: Counter, path: Path, connect: Callable[[], Connection]
) -> None:
    await begun(connect, 20)
    counter.refuse = lambda _: refusal(503, "unavailable", "not now")
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        with pytest.raises(sfjobs.ServerError):
            await group.submit()
        assert group.progress.added == 20
    assert {row["owner"] for row in rows(path)} == {None}
    counter.refuse = lambda _: None
    async with connect() as connection:
        assert (await (await JobGroup.open("sweep", connection)).wait()).complete == 20
    assert len(platform.jobs) == 20


async def test_waiting_outlasts_a_platform_that_is_away_and_says_so_when_patience_ends(
    platform: FakePlatform, counter: Counter, connect: Callable[[], Connection]
) -> None:
    """A restart of the platform in the middle of a sweep ended the waiting for all of it."""
    await begun(connect, 20)
    counter.refuse = lambda _: refusal(503, "unavailable", "not now")
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        with pytest.raises(sfjobs.WaitTimeoutError, match="not now"):
            await group.wait(timeout=0.2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(group.wait)
            await anyio.sleep(0.1)
            counter.refuse = lambda _: None
        assert group.progress.complete == 20
    assert len(platform.jobs) == 20


async def test_a_submission_without_an_answer_is_settled_by_its_key(
    platform: FakePlatform, counter: Counter, path: Path, connect: Callable[[], Connection]
) -> None:
    platform.honours_keys = True
    async with connect() as connection:
        await connection.create_job(TARGET, circuit(99))
    loses = True

    async def lose(request: httpx.Request) -> httpx.Response | None:
        answer = await counter.handle(request)
        if answer is not None and loses:
            raise httpx.ReadError("the answer was lost")
        return answer

    platform.trouble = lose
    await begun(connect, 3)
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        assert (await group.submit()).in_doubt == 3
    loses = False
    async with connect() as connection:
        assert (await (await JobGroup.open("sweep", connection)).wait()).complete == 3
    assert len(platform.jobs) == 4


async def test_whoever_waits_waits_for_the_jobs_whose_answers_were_lost_as_well(
    platform: FakePlatform, counter: Counter, path: Path
) -> None:
    platform.honours_keys = True
    lost = 0

    async def lose(request: httpx.Request) -> httpx.Response | None:
        nonlocal lost
        answer = await counter.handle(request)
        if request.method == "POST" and request.url.path == "/jobs" and not lost:
            lost += 1
            raise httpx.ReadError("the answer was lost")
        return answer

    platform.trouble = lose
    async with platform.connection(journal=str(path), poll_interval_min=0.01) as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, programs(3))
        assert await group.wait() == sfjobs.GroupProgress(programs=3, complete=3)
    assert (lost, len(platform.jobs)) == (1, 3)


# -- failing, cancelling, running out of patience ------------------------------------------------------------------------


async def test_failed_programs_are_run_again_up_to_so_many_attempts(
    platform: FakePlatform, counter: Counter, connect: Callable[[], Connection]
) -> None:
    counter.duration = lambda: 3600.0
    await begun(connect, 4)

    def end(*failing: str) -> None:
        for job in platform.jobs.values():
            if job.ends_at > anyio.current_time():
                job.ends_at, job.outcome = 0.0, "failed" if job.name in failing else "complete"

    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        await group.submit()
        end("p1", "p2")
        assert await group.wait() == sfjobs.GroupProgress(programs=4, complete=2, failed=2)
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        assert await group.rerun_failed(max_attempts=3) == 2
        end("p2")
        assert await group.wait() == sfjobs.GroupProgress(programs=4, complete=3, failed=1)
        assert await group.rerun_failed(max_attempts=3) == 1
        end("p2")
        await group.wait()
        assert await group.rerun_failed(max_attempts=3) == 0
        assert [len(group.attempts(index)) for index in range(4)] == [1, 2, 3, 1]
        first, second, third = group.attempts(2)
        assert (second.follows, third.follows, first.follows) == (first.key, second.key, None)
        assert len({first.job_id, second.job_id, third.job_id}) == 3
        assert [member.attempt for member in group.members] == [1, 2, 3, 1]
    texts = [job.circuit for job in platform.jobs.values() if job.name == "p2"]
    assert len(texts) == 3
    assert len(set(texts)) == 1


async def test_a_group_is_cancelled_as_a_whole(
    platform: FakePlatform, counter: Counter, connect: Callable[[], Connection]
) -> None:
    counter.duration = lambda: 3600.0
    platform.cancelling = 0.01
    await begun(connect, 40)
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        await group.submit()
        await group.add_all(TARGET, [Submission(circuit(99), name="late")])
        progress = await group.cancel()
        assert (progress.given_up, progress.added) == (1, 0)
        assert await group.wait() == sfjobs.GroupProgress(programs=41, cancelled=40, given_up=1)
        assert await group.rerun_failed() == 0
    assert {job.status for job in platform.jobs.values()} == {"cancelled"}


async def test_what_another_process_is_about_to_send_is_not_given_up(
    path: Path, connect: Callable[[], Connection]
) -> None:
    await begun(connect, 3)
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        roll = GroupTable(Journal.at(JournalLocation(path)), "sweep", connection.record.url, connection.record.account)
        taken, _ = await roll.claim()
        assert (await group.cancel()).added == 3
        roll.release(taken)
        assert (await group.cancel()).given_up == 3


async def test_patience_ends_and_the_jobs_go_on(counter: Counter, connect: Callable[[], Connection]) -> None:
    counter.duration = lambda: 0.02 if len(counter.accepted) < 5 else 3600.0
    await begun(connect, 6)
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        await group.submit()
        with pytest.raises(sfjobs.WaitTimeoutError, match="of 6 programs of the group 'sweep'") as caught:
            await group.wait(timeout=0.3)
        assert len(caught.value.pending) + len(caught.value.done) == 6
        assert caught.value.pending
    async with connect() as connection:
        noted = (await JobGroup.open("sweep", connection)).progress
        assert (noted.complete, noted.unfinished) == (len(caught.value.done), len(caught.value.pending))


async def test_a_group_is_removed_once_it_is_over(
    platform: FakePlatform, counter: Counter, path: Path, connect: Callable[[], Connection]
) -> None:
    counter.duration = lambda: 3600.0
    platform.cancelling = 0.01
    await begun(connect, 3)
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        with pytest.raises(sfjobs.InvalidJobOperationError, match="3 programs are yet to be sent"):
            await group.remove()
        await group.submit()
        with pytest.raises(sfjobs.InvalidJobOperationError, match="3 jobs are unfinished"):
            await group.remove()
        await group.cancel()
        await group.wait()
        await group.remove()
        assert len(group) == 0
    assert rows(path) == []


# -- whose it is ---------------------------------------------------------------------------------------------------------


async def test_a_group_is_one_platforms(platform: FakePlatform, path: Path, connect: Callable[[], Connection]) -> None:
    await begun(connect, 3)
    async with platform.connection(journal=str(path), url="http://elsewhere.test") as connection:
        assert len(await JobGroup.open("sweep", connection)) == 0
    async with connect() as connection:
        assert len(await JobGroup.open("sweep", connection)) == 3
        assert len(await JobGroup.open("other", connection)) == 0


async def test_a_group_is_found_again_with_the_key_that_has_replaced_its_own(
    platform: FakePlatform, counter: Counter, path: Path, connect: Callable[[], Connection]
) -> None:
    """It was begun anew, and all of it submitted a second time."""
    platform.keys.add("the-next-key")
    await begun(connect, 5)
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        await group.wait()
        await group.add(TARGET, circuit(5), name="p5")
    async with platform.connection(journal=str(path), api_key="the-next-key", poll_interval_min=0.01) as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, programs(6))
        assert (await group.wait()).complete == 6
    assert len(counter.accepted) == 6
    assert len({row["account"] for row in rows(path)}) == 1


@pytest.mark.parametrize("is_sent", [True, False])
async def test_a_group_of_another_account_is_not_begun_anew(
    platform: FakePlatform, counter: Counter, path: Path, connect: Callable[[], Connection], is_sent: bool
) -> None:
    await begun(connect, 3)
    if is_sent:
        async with connect() as connection:
            await (await JobGroup.open("sweep", connection)).wait()
    platform.keys.add("another-key")
    platform.jobs.clear()  # as they are to another account
    async with platform.connection(journal=str(path), api_key="another-key") as connection:
        with pytest.raises(sfjobs.ConfigurationError, match="another API key"):
            await JobGroup.open("sweep", connection)
        assert len(await JobGroup.open("a sweep of our own", connection)) == 0
    assert len(counter.accepted) == 3 * is_sent


async def test_two_groups_of_one_name_are_not_mixed_when_a_key_is_replaced(
    platform: FakePlatform, path: Path, connect: Callable[[], Connection]
) -> None:
    platform.keys.add("the-next-key")

    async def begin(name: str, count: int, **changes: Any) -> None:
        async with platform.connection(journal=str(path), **changes) as connection:
            group = await JobGroup.open(name, connection)
            await group.add_all(TARGET, programs(count))
            await group.submit()

    await begin("sweep", 3)
    execute(path, "UPDATE intents SET group_name = 'hidden'")
    await begin("sweep", 2, api_key="the-next-key")
    execute(path, "UPDATE intents SET group_name = 'sweep' WHERE group_name = 'hidden'")
    await begin("other", 1)
    async with platform.connection(journal=str(path), api_key="the-next-key") as connection:
        assert len(await JobGroup.open("other", connection)) == 1
        assert len(await JobGroup.open("sweep", connection)) == 2
    async with connect() as connection:
        assert len(await JobGroup.open("sweep", connection)) == 3


async def test_without_a_journal_there_are_no_groups(platform: FakePlatform) -> None:
    async with platform.connection(journal="off") as connection:
        with pytest.raises(sfjobs.ConfigurationError, match="SFJOBS_JOURNAL"):
            await JobGroup.open("sweep", connection)


@pytest.mark.parametrize("name", ["", "two\nlines"])
async def test_a_name_is_a_line_of_text(connect: Callable[[], Connection], name: str) -> None:
    async with connect() as connection:
        with pytest.raises(ValueError, match="one line"):
            await JobGroup.open(name, connection)


async def test_a_program_there_is_not_is_an_index_error(connect: Callable[[], Connection]) -> None:
    async with connect() as connection:
        with pytest.raises(IndexError, match="no program 7"):
            (await JobGroup.open("sweep", connection)).attempts(7)


async def test_what_a_dead_process_had_taken_is_sent_by_the_next(
    platform: FakePlatform, counter: Counter, path: Path, connect: Callable[[], Connection]
) -> None:
    await begun(connect, 3)
    execute(path, "UPDATE intents SET owner = 12345")
    async with connect() as connection:
        assert (await (await JobGroup.open("sweep", connection)).wait()).complete == 3


@pytest.mark.usefixtures("counter")
async def test_a_handle_of_a_job_that_has_ended_brings_its_result(connect: Callable[[], Connection]) -> None:
    await begun(connect, 1)
    async with connect() as connection:
        await (await JobGroup.open("sweep", connection)).wait()
    async with connect() as connection:
        group = await JobGroup.open("sweep", connection)
        [job], [member] = group.jobs, group.members
        assert (job.status, member.state) == (JobStatus.COMPLETED, State.SUBMITTED)
        assert np.array_equal((await job.fetch_result()).samples, SAMPLES)


# -- the blocking twin ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("counter")
def test_the_blocking_twin_does_the_same(platform: FakePlatform, path: Path) -> None:
    settings = platform.settings(journal=str(path), poll_interval_min=0.01)
    with sync.Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        group = sync.JobGroup.open("sweep", connection)
        # A source that uses the connection itself would wait for itself in the connection's own loop.
        group.add_all(TARGET, (program for program in programs(5) if connection.ping()))
        group.add(TARGET, circuit(5), name="p5")
        assert group.submit().added == 0
        assert group.wait(timeout=60) == sfjobs.GroupProgress(programs=6, complete=6)
        assert len([result for result in group.results() if result is not None]) == 6
        assert [job.has_result for job in group.jobs] == [True] * 6
        assert group.cancel().complete == 6
        assert (len(group), group.rerun_failed(), len(group.attempts(0))) == (6, 0, 1)
    with sync.Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        assert sync.JobGroup.open("sweep", connection).progress.is_over
