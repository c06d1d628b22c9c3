"""
Submissions without a response at a platform without idempotency keys: no job is taken for ours because it looks like it. Two
machines are two journals.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Connection, JobGroup, Submission, sync
from tests.support.counter import circuit
from tests.support.fake_platform import FakeJob, FakePlatform
from tests.support.journals import execute, rows, states

pytestmark = pytest.mark.real_time

TARGET = "simulon_gaussian"


class KeylessPlatform(FakePlatform):
    """A platform without idempotency keys. ``loses``: responses to submissions are lost. Its clock is ``ahead`` of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.loses = False
        self.ahead: timedelta | None = timedelta(0)
        self.date: str | None = None
        self.trouble = self.respond

    async def respond(self, request: httpx.Request) -> httpx.Response:
        answer = self._answer(request)
        if request.method == "POST" and request.url.path == "/jobs":
            [*_, job] = self.jobs.values()
            job.created_at = self.time().isoformat()
            job.ends_at = anyio.current_time() + 0.02
            if self.loses:
                raise httpx.ReadError("the response was lost")
        date = format_datetime(self.time(), usegmt=True) if self.date is None else self.date
        if self.ahead is not None and date:
            answer.headers["Date"] = date
        return answer

    def time(self) -> datetime:
        return datetime.now(UTC) + (self.ahead or timedelta(0))


@pytest.fixture
def old_platform() -> KeylessPlatform:
    return KeylessPlatform()


Machine = Callable[[], Connection]


@pytest.fixture
def machine(old_platform: KeylessPlatform, tmp_path: Path) -> Machine:
    return lambda: old_platform.connection(journal=str(tmp_path / "one.db"), retries=1, poll_interval_min=0.01)


@pytest.fixture
def another_machine(old_platform: KeylessPlatform, tmp_path: Path) -> Machine:
    return lambda: old_platform.connection(journal=str(tmp_path / "another.db"), retries=1, poll_interval_min=0.01)


async def lose_one(
    machine: Machine, platform: KeylessPlatform, number: int = 1, name: str | None = None
) -> tuple[str, FakeJob]:
    """Make a submission without a response, and return its key and its job."""
    platform.loses = True
    async with machine() as connection:
        with pytest.raises(sfjobs.SubmissionUnknownError) as caught:
            await connection.create_job(TARGET, circuit(number), name=name)
    platform.loses = False
    return caught.value.idempotency_key, [*platform.jobs.values()][-1]


async def lose_a_group(machine: Machine, platform: KeylessPlatform, count: int = 3) -> None:
    platform.loses = True
    async with machine() as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, [Submission(circuit(number), name=f"p{number}") for number in range(count)])
        await group.submit()
        assert group.progress.in_doubt == count
    platform.loses = False


# -- never by likeness ---------------------------------------------------------------------------------------------------


async def test_the_job_of_another_machine_is_not_taken(
    old_platform: KeylessPlatform, machine: Machine, another_machine: Machine, tmp_path: Path
) -> None:
    """Its job was counted twice: on its own machine and on the one that had lost a response."""
    async with another_machine() as connection:
        theirs = await connection.create_job(TARGET, circuit(1), name="run")
    await lose_one(machine, old_platform, name="run")
    del old_platform.jobs[[*old_platform.jobs][-1]]  # it never arrived
    async with machine() as connection:
        [found] = (await connection.recover()).outcomes
    assert (found.outcome, found.job_id, found.candidates) == ("unknown", None, (theirs.id,))
    assert theirs.id in str(found.reason)
    assert states(tmp_path / "one.db") == ["open"]
    assert len(old_platform.submissions) == 2


async def test_a_group_takes_no_job_of_another_machines_group(
    old_platform: KeylessPlatform, machine: Machine, another_machine: Machine, tmp_path: Path
) -> None:
    async with another_machine() as connection:
        group = await JobGroup.open("sweep", connection)
        await group.add_all(TARGET, [Submission(circuit(number), name=f"p{number}") for number in range(3)])
        await group.wait()
    await lose_a_group(machine, old_platform)
    old_platform.jobs = dict([*old_platform.jobs.items()][:3])  # nothing of the second group arrived
    async with machine() as connection:
        group = await JobGroup.open("sweep", connection)
        with pytest.raises(sfjobs.SubmissionUnknownError, match="3 programs of the group 'sweep'") as caught:
            await group.wait()
        assert group.jobs == []
    theirs = [job.id for job in sorted(old_platform.jobs.values(), key=lambda job: job.name or "")]
    keys = [row["key"] for row in rows(tmp_path / "one.db")]
    assert caught.value.idempotency_key == keys[0]
    for number, (key, job_id) in enumerate(zip(keys, theirs, strict=True)):
        assert f"program p{number}: it may be the job {job_id}" in str(caught.value)
        assert f"sfjobs recover --adopt {key}=JOBID" in str(caught.value)
    assert len(old_platform.submissions) == 6


async def test_a_group_goes_on_with_the_jobs_that_a_person_has_adopted(
    old_platform: KeylessPlatform, machine: Machine, tmp_path: Path
) -> None:
    await lose_a_group(machine, old_platform)
    ids = {job.name: job.id for job in old_platform.jobs.values()}
    adopt = {row["key"]: ids[row["name"]] for row in rows(tmp_path / "one.db")}
    async with machine() as connection:
        recovery = await connection.recover(adopt=adopt)
        assert {found.key: found.job_id for found in recovery.submitted} == adopt
        group = await JobGroup.open("sweep", connection)
        assert (await group.wait()).complete == 3
        assert [job.id for job in group.jobs] == [*adopt.values()]


async def test_an_echo_of_another_key_proves_nothing(
    old_platform: KeylessPlatform, machine: Machine, tmp_path: Path
) -> None:
    """An echo of any key counted as a platform that honours keys, and the program was sent a second time."""

    async def echo(request: httpx.Request) -> httpx.Response:
        answer = await old_platform.respond(request)
        answer.headers["Idempotency-Key"] = "6fa459ea-ee8a-3ca4-894e-db77e160355e"
        return answer

    old_platform.trouble = echo
    async with machine() as connection:
        await connection.create_job(TARGET, circuit(0))
    await lose_one(machine, old_platform)
    async with machine() as connection:
        assert len((await connection.recover()).unknown) == 1
    assert len(old_platform.submissions) == 2


# -- what a person decides -----------------------------------------------------------------------------------------------


async def test_an_adopted_job_settles_its_submission(
    old_platform: KeylessPlatform, machine: Machine, tmp_path: Path
) -> None:
    key, job = await lose_one(machine, old_platform)
    other_key, _ = await lose_one(machine, old_platform, 2)
    async with machine() as connection:
        recovery = await connection.recover(adopt={key: job.id})
        assert [found.job_id for found in recovery.submitted] == [job.id]
        assert [found.key for found in recovery.unknown] == [other_key]
        assert len((await connection.recover()).outcomes) == 1
    assert [(row["state"], row["job_id"]) for row in rows(tmp_path / "one.db")] == [
        ("submitted", job.id),
        ("open", None),
    ]


async def test_jobs_that_cannot_be_it_are_not_adopted(
    old_platform: KeylessPlatform, machine: Machine, tmp_path: Path
) -> None:
    key, job = await lose_one(machine, old_platform, name="run")
    other_key, _ = await lose_one(machine, old_platform, name="run")
    async with machine() as connection:
        known = await connection.create_job(TARGET, circuit(1), name="run")
    wrong = [
        old_platform.add(circuit=job.circuit, name="another"),
        old_platform.add(circuit=job.circuit, name="run", target="X8_01"),
        old_platform.add(circuit=circuit(2), name="run"),
    ]
    refused: list[tuple[dict[str, str], str]] = [
        ({key: wrong[0].id}, "its name is 'another', not 'run'"),
        ({key: wrong[1].id}, "its target is 'X8_01'"),
        ({key: wrong[2].id}, "another program"),
        ({key: known.id}, "belongs to another submission already"),
        ({key: job.id, other_key: job.id}, "belongs to another submission already"),
        ({key: job.id, "no-key": known.id}, "no submission without a response has the key 'no-key'"),
    ]
    async with machine() as connection:
        for adopt, words in refused:
            with pytest.raises(ValueError, match=words):
                await connection.recover(adopt=adopt)
        with pytest.raises(sfjobs.NotFoundError):
            await connection.recover(adopt={key: "no-job"})
        assert states(tmp_path / "one.db") == ["open", "open", "submitted"]
        assert (await connection.recover(adopt={key: job.id})).submitted[0].job_id == job.id


async def test_other_line_ends_are_the_same_program(old_platform: KeylessPlatform, machine: Machine) -> None:
    key, job = await lose_one(machine, old_platform)
    job.circuit = job.circuit.replace("\n", "\r\n") + "\r\n"
    async with machine() as connection:
        assert (await connection.recover()).unknown[0].candidates == (job.id,)
        assert len((await connection.recover(adopt={key: job.id})).submitted) == 1


async def test_a_journal_that_is_off_adopts_nothing(old_platform: KeylessPlatform) -> None:
    async with old_platform.connection(journal="off") as connection:
        with pytest.raises(ValueError, match="is off"):
            await connection.recover(adopt={"key": "job"})


def test_the_blocking_twin_adopts(old_platform: KeylessPlatform, tmp_path: Path) -> None:
    settings = old_platform.settings(journal=str(tmp_path / "one.db"), retries=1)
    with sync.Connection(settings=settings, transport=httpx.MockTransport(old_platform.handle)) as connection:
        old_platform.loses = True
        with pytest.raises(sfjobs.SubmissionUnknownError) as caught:
            connection.create_job(TARGET, circuit(1))
        [unknown] = connection.recover().unknown
        assert unknown.candidates == tuple(old_platform.jobs)
        [found] = connection.recover(adopt={caught.value.idempotency_key: unknown.candidates[0]}).submitted
        assert found.candidates == ()


# -- clocks --------------------------------------------------------------------------------------------------------------

HOURS = [timedelta(hours=-5), timedelta(0), timedelta(hours=5)]


@pytest.mark.parametrize("ahead", HOURS, ids=str)
async def test_jobs_are_searched_for_on_the_platforms_clock(
    old_platform: KeylessPlatform, machine: Machine, ahead: timedelta
) -> None:
    """With clocks that were hours apart the job was not found, or one of hours before was."""
    old_platform.ahead = ahead
    _, job = await lose_one(machine, old_platform)
    earlier = old_platform.time() - timedelta(hours=1)
    old_platform.jobs = {
        "earlier": FakeJob("earlier", circuit=job.circuit, created_at=earlier.isoformat()),
        job.id: job,
    }
    async with machine() as connection:
        [found] = (await connection.recover()).unknown
    assert found.candidates == (job.id,)


@pytest.mark.parametrize("ahead", HOURS, ids=str)
@pytest.mark.parametrize("date", ["", "soon", "Thu, 01 Jan 1970 00:00:07 GMT"])
async def test_a_job_is_found_without_a_date_to_go_by(
    old_platform: KeylessPlatform, machine: Machine, ahead: timedelta, date: str
) -> None:
    old_platform.ahead, old_platform.date = ahead, date
    _, job = await lose_one(machine, old_platform)
    async with machine() as connection:
        [found] = (await connection.recover()).unknown
    assert found.candidates == (job.id,)


@pytest.mark.parametrize("step", HOURS, ids=str)
async def test_a_clock_that_is_set_between_submission_and_recovery_changes_nothing(
    old_platform: KeylessPlatform, machine: Machine, tmp_path: Path, step: timedelta
) -> None:
    """As if this machine's clock had been ``step`` behind when the job was submitted."""
    _, job = await lose_one(machine, old_platform)
    path, seconds = tmp_path / "one.db", step.total_seconds()
    assert rows(path)[0]["clock"] == pytest.approx(0, abs=1)
    execute(path, "UPDATE intents SET opened_at = opened_at - ?, clock = clock + ?", seconds, seconds)
    async with machine() as connection:
        [found] = (await connection.recover()).unknown
    assert found.candidates == (job.id,)


@pytest.mark.parametrize("ahead", HOURS, ids=str)
@pytest.mark.parametrize(("age", "is_sent"), [(22, True), (24, False)])
async def test_the_age_of_a_key_is_counted_on_the_platforms_clock(
    old_platform: KeylessPlatform, machine: Machine, tmp_path: Path, ahead: timedelta, age: int, is_sent: bool
) -> None:
    old_platform.honours_keys, old_platform.ahead = True, ahead
    async with machine() as connection:
        await connection.create_job(TARGET, circuit(0))
    await lose_one(machine, old_platform)
    # This machine's clock was set by five hours since.
    path, seconds = tmp_path / "one.db", 5 * 3600
    execute(path, "UPDATE intents SET opened_at = opened_at - ?, clock = clock + ?", seconds + 3600 * age, seconds)
    async with machine() as connection:
        recovery = await connection.recover()
    assert (len(recovery.submitted), len(recovery.unknown)) == ((1, 0) if is_sent else (0, 1))


async def test_a_submission_that_is_sent_again_keeps_the_time_of_the_first_attempt(
    old_platform: KeylessPlatform, machine: Machine, tmp_path: Path
) -> None:
    """With each recovery that met a busy platform its key looked younger than it was."""
    old_platform.honours_keys = True
    async with machine() as connection:
        await connection.create_job(TARGET, circuit(0))
    await lose_one(machine, old_platform)
    path = tmp_path / "one.db"
    execute(path, "UPDATE intents SET opened_at = opened_at - 7200, clock = 5 WHERE state = 'open'")
    before = rows(path)[1]
    old_platform.loses = True
    async with machine() as connection:
        assert len((await connection.recover()).unknown) == 1
    after = rows(path)[1]
    assert (after["opened_at"], after["clock"]) == (before["opened_at"], 5)


async def test_a_journal_of_an_earlier_release_gets_the_new_column(
    old_platform: KeylessPlatform, machine: Machine, tmp_path: Path
) -> None:
    await lose_one(machine, old_platform)
    execute(tmp_path / "one.db", "ALTER TABLE intents DROP COLUMN clock")
    copy = tmp_path / "earlier.db"
    execute(tmp_path / "one.db", "VACUUM INTO ?", str(copy))
    async with old_platform.connection(journal=str(copy)) as connection:
        assert len((await connection.recover()).unknown) == 1
    assert states(copy) == ["open"]
