"""``Connection.recover``: the outcome of submissions without a response. Real journals, the platform in memory."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx
import pytest

import sfjobs
from sfjobs import Connection, Recovery, sync
from sfjobs._client.connection import internals
from sfjobs._journal import Intent, Journal, JournalLocation
from tests.support.counter import circuit
from tests.support.fake_platform import FINAL, URL, FakePlatform, refusal
from tests.support.journals import execute, rows, states

pytestmark = pytest.mark.real_time

TARGET = "simulon_gaussian"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "submissions.db"


class Faults:
    """Faults between client and platform. ``lose`` decides which submissions lose their response."""

    def __init__(self, platform: FakePlatform) -> None:
        self.platform = platform
        self.lose: Callable[[], bool] = lambda: False
        self.reaches = True
        platform.trouble = self.handle

    async def handle(self, request: httpx.Request) -> httpx.Response | None:
        if request.method != "POST" or request.url.path != "/jobs":
            return None
        if not self.reaches:
            raise httpx.ReadError("it never arrived")
        answer = self.platform._submit(request)
        for job in self.platform.jobs.values():
            if job.created_at.startswith("2026-01-27"):
                job.created_at = datetime.now(UTC).isoformat()
        if self.lose():
            raise httpx.ReadError("the response was lost")
        return answer


@pytest.fixture
def faults(platform: FakePlatform) -> Faults:
    return Faults(platform)


@pytest.fixture
def connect(platform: FakePlatform, path: Path) -> Callable[[], Connection]:
    """Makes connections that know as little of the platform as one of another process."""
    return lambda: platform.connection(journal=str(path), retries=1)


async def lose_one(connect: Callable[[], Connection], number: int = 1, name: str | None = None) -> str:
    """Make a submission without a response, and return its key."""
    async with connect() as connection:
        with pytest.raises(sfjobs.SubmissionUnknownError) as caught:
            await connection.create_job(TARGET, circuit(number), name=name)
    return caught.value.idempotency_key


async def recovered(connect: Callable[[], Connection], *, give_up: bool = False) -> Recovery:
    async with connect() as connection:
        return await connection.recover(give_up=give_up)


# -- with keys -----------------------------------------------------------------------------------------------------------


async def test_with_keys_a_lost_response_is_repeated(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    platform.honours_keys = True
    async with connect() as connection:
        await connection.create_job(TARGET, circuit(0))
    faults.lose = lambda: True
    key = await lose_one(connect)
    faults.lose = lambda: False
    recovery = await recovered(connect)
    [_, job] = platform.jobs.values()
    [found] = recovery.outcomes
    assert (found.key, found.outcome, found.job_id) == (key, "submitted", job.id)
    assert [row["job_id"] for row in rows(path)] == [*platform.jobs]
    assert platform.submissions[-1].content == platform.submissions[-2].content
    assert await recovered(connect) == Recovery()


async def test_with_keys_a_submission_that_never_arrived_is_submitted_now(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    platform.honours_keys = True
    async with connect() as connection:
        await connection.create_job(TARGET, circuit(0))
    faults.reaches = False
    await lose_one(connect)
    faults.reaches = True
    assert len(platform.jobs) == 1
    assert len((await recovered(connect)).submitted) == 1
    assert len(platform.jobs) == 2
    assert states(path) == ["submitted", "submitted"]


async def test_a_program_that_is_refused_on_the_second_attempt_is_reported_as_refused(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    platform.honours_keys = True
    async with connect() as connection:
        await connection.create_job(TARGET, circuit(0))
    faults.reaches = False
    await lose_one(connect)

    async def refuse(request: httpx.Request) -> httpx.Response | None:
        return refusal(400, "parse-error", "what is Sgate?") if request.url.path == "/jobs" else None

    platform.trouble = refuse
    [found] = (await recovered(connect)).refused
    assert "what is Sgate?" in str(found.reason)
    assert states(path) == ["submitted", "refused"]


@pytest.mark.parametrize("status", [429, 503, 502])
async def test_a_busy_platform_leaves_the_submission_open(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection], status: int
) -> None:
    platform.honours_keys = True
    async with connect() as connection:
        await connection.create_job(TARGET, circuit(0))
    faults.lose = lambda: True
    await lose_one(connect)

    async def refuse(request: httpx.Request) -> httpx.Response | None:
        return refusal(status, "no", "not now") if request.method == "POST" and request.url.path == "/jobs" else None

    platform.trouble = refuse
    platform.jobs.popitem()  # and it is not in the list yet
    recovery = await recovered(connect)
    assert len(recovery.unknown) == 1
    assert states(path) == ["submitted", "open"]


async def test_an_unreachable_platform_is_an_error_and_settles_nothing(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    platform.honours_keys = True
    async with connect() as connection:
        await connection.create_job(TARGET, circuit(0))
    faults.lose = lambda: True
    await lose_one(connect)

    async def unreachable(request: httpx.Request) -> None:
        raise httpx.ConnectError("no route")

    platform.trouble = unreachable
    with pytest.raises(sfjobs.TransportError):
        await recovered(connect)
    assert [(row["state"], row["owner"]) for row in rows(path)] == [("submitted", None), ("open", None)]


async def test_an_old_key_is_not_relied_on(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    platform.honours_keys = True
    async with connect() as connection:
        await connection.create_job(TARGET, circuit(0))
    faults.reaches = False
    await lose_one(connect)
    faults.reaches = True
    execute(path, "UPDATE intents SET opened_at = ?", time.time() - 24 * 3600)
    recovery = await recovered(connect)
    assert len(recovery.unknown) == 1
    assert len(platform.jobs) == 1


# -- without keys --------------------------------------------------------------------------------------------------------


async def test_without_keys_the_job_is_searched_for_and_nothing_is_sent(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    faults.lose = lambda: True
    await lose_one(connect, 1, name="wanted")
    faults.lose = lambda: False
    async with connect() as connection:
        await connection.create_job(TARGET, circuit(2), name="wanted")
        await connection.create_job(TARGET, circuit(1), name="other")
    sent = len(platform.submissions)
    [found] = (await recovered(connect)).unknown
    assert found.candidates == (next(iter(platform.jobs)),)
    assert len(platform.submissions) == sent
    assert states(path) == ["open", "submitted", "submitted"]


async def test_without_keys_a_submission_that_is_not_found_stays_unknown_and_is_never_sent_again(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    faults.reaches = False
    await lose_one(connect)
    faults.reaches = True
    for _ in range(2):
        [found] = (await recovered(connect)).unknown
        assert "lists no such job" in str(found.reason)
    assert len(platform.submissions) == 1
    [given_up] = (await recovered(connect, give_up=True)).outcomes
    assert given_up.outcome == "given up"
    assert await recovered(connect) == Recovery()


async def test_each_of_several_equal_programs_may_be_each_of_their_jobs(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    faults.lose = itertools.cycle([True, True, False]).__next__
    for _ in range(2):
        await lose_one(connect)
    faults.reaches = False
    await lose_one(connect)
    recovery = await recovered(connect)
    assert [found.candidates for found in recovery.unknown] == [tuple(platform.jobs)] * 3


async def test_a_job_of_another_submission_does_not_match(
    faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    async with connect() as connection:
        await connection.create_job(TARGET, circuit(1))
    faults.reaches = False
    await lose_one(connect)
    assert len((await recovered(connect)).unknown) == 1
    assert states(path) == ["submitted", "open"]


async def test_more_equal_jobs_than_submissions_are_not_matched(
    platform: FakePlatform, faults: Faults, connect: Callable[[], Connection]
) -> None:
    faults.lose = lambda: True
    await lose_one(connect)
    [ours] = platform.jobs.values()
    another_users = platform.add(circuit=ours.circuit, created_at=ours.created_at)
    [found] = (await recovered(connect)).unknown
    assert another_users.id in str(found.reason)


async def test_jobs_from_long_before_do_not_match(
    platform: FakePlatform, faults: Faults, connect: Callable[[], Connection]
) -> None:
    faults.lose = lambda: True
    await lose_one(connect)
    [job] = platform.jobs.values()
    job.created_at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert len((await recovered(connect)).unknown) == 1


async def test_the_oldest_protocol_has_no_list_to_search(platform: FakePlatform, faults: Faults, path: Path) -> None:
    def connect() -> Connection:
        return platform.connection(journal=str(path), retries=1, api_version="0.2.0")

    faults.lose = lambda: True
    await lose_one(connect)
    [found] = (await recovered(connect)).unknown
    assert "no list" in str(found.reason)


# -- accounts and processes ----------------------------------------------------------------------------------------------


async def test_submissions_of_another_api_key_are_not_touched(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    faults.lose = lambda: True
    await lose_one(connect)
    recovery = await recovered(lambda: platform.connection(journal=str(path), api_key="another-key"))
    assert (recovery.outcomes, recovery.of_other_accounts) == ((), 1)
    assert states(path) == ["open"]


async def test_submissions_of_a_replaced_api_key_are_settled_with_the_new_one(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    platform.honours_keys = True
    async with connect() as connection:
        await connection.create_job("simulon_gaussian", circuit(0))
    faults.lose = lambda: True
    await lose_one(connect)
    faults.lose = lambda: False
    platform.keys.add("the-next-key")
    recovery = await recovered(lambda: platform.connection(journal=str(path), api_key="the-next-key"))
    assert (len(recovery.submitted), recovery.of_other_accounts) == (1, 0)
    assert states(path) == ["submitted", "submitted"]


async def test_submissions_to_another_platform_are_not_touched(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    faults.lose = lambda: True
    await lose_one(connect)
    elsewhere = await recovered(lambda: platform.connection(journal=str(path), url="http://elsewhere.test"))
    assert elsewhere == Recovery()


async def test_submissions_in_flight_are_not_touched(
    platform: FakePlatform, path: Path, connect: Callable[[], Connection]
) -> None:
    sent, go_on = anyio.Event(), anyio.Event()

    async def hold(request: httpx.Request) -> None:
        if request.method == "POST" and request.url.path == "/jobs":
            sent.set()
            await go_on.wait()

    platform.trouble = hold
    async with connect() as connection, anyio.create_task_group() as group:
        group.start_soon(connection.create_job, TARGET, circuit(1))
        await sent.wait()
        assert await connection.recover() == Recovery(under_way=1)
        go_on.set()
    assert states(path) == ["submitted"]
    assert len(platform.submissions) == 1


async def test_two_concurrent_recoveries_settle_each_submission_once(
    platform: FakePlatform, faults: Faults, connect: Callable[[], Connection]
) -> None:
    platform.honours_keys = True
    async with connect() as connection:
        await connection.create_job(TARGET, circuit(0))
    faults.lose = lambda: True
    for number in range(1, 11):
        await lose_one(connect, number)
    faults.lose = lambda: False
    reports: list[Recovery] = []

    async def recover() -> None:
        reports.append(await recovered(connect))

    async with anyio.create_task_group() as group:
        group.start_soon(recover)
        group.start_soon(recover)
    assert sum(len(report.submitted) for report in reports) == 10
    assert len(platform.jobs) == 11


async def test_a_cancelled_recovery_leaves_the_rest_for_another(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    platform.honours_keys = True
    async with connect() as connection:
        await connection.create_job(TARGET, circuit(0))
    faults.lose = lambda: True
    await lose_one(connect)
    sent = anyio.Event()

    async def hold(request: httpx.Request) -> None:
        if request.method == "POST" and request.url.path == "/jobs":
            sent.set()
            await anyio.sleep_forever()

    platform.trouble = hold
    async with connect() as connection, anyio.create_task_group() as group:
        group.start_soon(connection.recover)
        await sent.wait()
        group.cancel_scope.cancel()
    platform.trouble = faults.handle
    faults.lose = lambda: False
    assert len((await recovered(connect)).submitted) == 1
    assert len(platform.jobs) == 2


async def test_a_batch_whose_response_is_lost_is_recovered(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    platform.honours_keys = platform.offers_batches = True
    async with connect() as connection:
        await connection.create_job(TARGET, circuit(0))
        faults.lose = lambda: True
        programs = [circuit(number) for number in range(1, 41)]
        items = [item async for item in connection.create_jobs(TARGET, programs, window=40)]
    assert sum(map(len, platform.batches)) == 40  # each program once
    assert all(isinstance(item, sfjobs.Refusal) for item in items)
    faults.lose = lambda: False
    assert len((await recovered(connect)).submitted) == 40
    assert {row["job_id"] for row in rows(path)} == set(platform.jobs)


def test_the_blocking_twin_recovers(platform: FakePlatform, faults: Faults, path: Path) -> None:
    platform.honours_keys = True
    settings = platform.settings(journal=str(path), retries=1)
    with sync.Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        connection.create_job(TARGET, circuit(0))
        faults.reaches = False
        with pytest.raises(sfjobs.SubmissionUnknownError):
            connection.create_job(TARGET, circuit(1))
        faults.reaches = True
        [found] = connection.recover().submitted
        assert connection.get_job(str(found.job_id)).status not in FINAL


async def test_a_submission_of_a_process_that_was_killed_is_recovered(
    platform: FakePlatform, faults: Faults, path: Path, connect: Callable[[], Connection]
) -> None:
    async with connect() as connection:
        job = await connection.create_job(TARGET, circuit(1))
    execute(path, "UPDATE intents SET state = 'open', job_id = NULL, body = ?, owner = 12345", rows_body(platform))
    [found] = (await recovered(connect)).unknown
    assert found.candidates == (job.id,)


def rows_body(platform: FakePlatform) -> bytes:
    return platform.submissions[-1].content


async def test_a_body_that_was_written_by_hand_does_not_fail_the_recovery(
    path: Path, connect: Callable[[], Connection]
) -> None:
    async with connect() as connection:
        await connection.recover()
        journal = Journal.at(JournalLocation(path))
        account = internals(connection).journal.account
        await journal.open([Intent(key="k", url=URL, account=account, target=TARGET, body=b"{}")])
        execute(path, "UPDATE intents SET owner = NULL")
    assert len((await recovered(connect)).outcomes) == 1


async def test_a_response_with_a_good_id_and_odd_fields_settles_the_submission(
    platform: FakePlatform, faults: Faults, path: Path
) -> None:
    platform.honours_keys = True
    async with platform.connection(journal=str(path), retries=1) as connection:
        await connection.create_job(TARGET, circuit(0))
        faults.lose = lambda: True
        with pytest.raises(sfjobs.SubmissionUnknownError):
            await connection.create_job(TARGET, circuit(1))
    faults.lose = lambda: False
    lost = [*platform.jobs.values()][1]
    plain = lost.json
    lost.json = lambda: {**plain(), "created_at": 1.6e9, "running_time": "12.5", "meta": []}  # type: ignore[method-assign]
    async with platform.connection(journal=str(path)) as connection:
        recovery = await connection.recover()
    assert [found.job_id for found in recovery.submitted] == [lost.id]
    assert states(path) == ["submitted", "submitted"]
