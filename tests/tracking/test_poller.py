"""The shared poller without HTTP, in virtual time: polls, responses, and waiters that join and leave."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn

import anyio
import pytest

from sfjobs._protocol.wire import Known
from sfjobs._tracking.change_feed import ChangeFeed
from sfjobs._tracking.poller import Poller
from sfjobs._tracking.sweep import MAX_CONCURRENT_POLLS
from sfjobs._tracking.types import Outcome, PollInterval, StatusReport
from sfjobs._tracking.watchlist import FIRST_POLL_DELAY_SECONDS, MAX_MISSES
from sfjobs.errors import (
    AuthenticationError,
    ConnectionClosedError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitedError,
    ServerError,
    SFJobsError,
    TransportError,
)
from sfjobs.models import JobSnapshot, JobStatus
from tests.support.handles import Handle

ROUND_TRIP = 0.05


class ScriptedSource:
    """A source of jobs that end at given times. It counts its polls, and can fail in many ways."""

    def __init__(self, ends: Mapping[str, float], *, batch_limit: int = 100) -> None:
        self.ends = dict(ends)
        self.batch_limit = batch_limit
        self.latency: Callable[[], float] = lambda: ROUND_TRIP
        self.error: Exception | None = None
        self.missing: set[str] = set()
        self.refused: Mapping[str, SFJobsError] = {}
        self.polls: list[tuple[float, tuple[str, ...]]] = []
        self.single_polls: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.cancelled = 0

    def snapshot(self, job_id: str) -> JobSnapshot:
        has_ended = anyio.current_time() >= self.ends[job_id]
        return JobSnapshot(id=job_id, status=JobStatus.COMPLETED if has_ended else JobStatus.QUEUED)

    async def query(self, ids: Sequence[str], known: Known) -> StatusReport:
        self.polls.append((anyio.current_time(), tuple(ids)))
        await self._round_trip(ids)
        return StatusReport({job_id: self.snapshot(job_id) for job_id in ids if job_id not in self.missing})

    async def query_single(self, job_id: str, known: Known) -> StatusReport:
        self.single_polls.append(job_id)
        await self._round_trip([job_id])
        if job_id in self.missing or job_id not in self.ends:
            raise NotFoundError(f"no job {job_id}", status_code=404)
        return StatusReport({job_id: self.snapshot(job_id)})

    async def _round_trip(self, ids: Sequence[str]) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            self.cancelled += 1
            await anyio.sleep(self.latency())
            self.cancelled -= 1
            if self.error is not None:
                raise self.error
        finally:
            self.in_flight -= 1
        for job_id in ids:
            if job_id in self.refused:
                raise self.refused[job_id]


async def no_stream(path: str, last_event_id: str | None) -> NoReturn:
    raise TransportError("there is no change feed")


def poller_for(source: ScriptedSource, draw: random.Random | None = None) -> Poller:
    return Poller(source, ChangeFeed(no_stream), PollInterval(), draw=(draw or random.Random(1)).random)


async def wait_for(poller: Poller, ids: Iterable[str], need: int | None = None) -> Mapping[str, Outcome]:
    waiter = poller.join([Handle(job_id) for job_id in ids])
    try:
        return await poller.wait_for(waiter, need)
    finally:
        poller.leave(waiter)


async def until_idle(poller: Poller) -> None:
    """Let cancelled tasks finish."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


# -- sharing -------------------------------------------------------------------------------------------------------------


async def test_a_thousand_waiters_share_ten_requests_a_sweep() -> None:
    source = ScriptedSource({f"job-{n}": 0.3 for n in range(1000)})
    poller = poller_for(source)
    async with anyio.create_task_group() as group:
        for job_id in source.ends:
            group.start_soon(wait_for, poller, [job_id])
    first, second = source.polls[:10], source.polls[10:20]
    assert [len(ids) for _, ids in first] == [100] * 10
    assert len({job_id for _, ids in first for job_id in ids}) == 1000
    assert len(source.polls) == 20
    assert second[0][0] - first[0][0] >= 0.5
    assert source.most_in_flight == MAX_CONCURRENT_POLLS
    assert poller.is_idle


async def test_jobs_that_join_together_are_polled_together() -> None:
    source = ScriptedSource(dict.fromkeys(["a", "b", "c"], 0.0))
    poller = poller_for(source)
    async with anyio.create_task_group() as group:
        for job_id in source.ends:
            group.start_soon(wait_for, poller, [job_id])
            await anyio.sleep(FIRST_POLL_DELAY_SECONDS / 4)
    assert [set(ids) for _, ids in source.polls] == [{"a", "b", "c"}]


async def test_two_waiters_for_one_job_poll_once() -> None:
    source = ScriptedSource({"a": 0.0})
    poller = poller_for(source)
    async with anyio.create_task_group() as group:
        group.start_soon(wait_for, poller, ["a"])
        group.start_soon(wait_for, poller, ["a"])
    assert len(source.polls) == 1


async def test_a_request_is_filled_up_with_what_is_due_next() -> None:
    source = ScriptedSource(dict.fromkeys("abcdef", 100.0) | {"z": 5.0})
    poller = poller_for(source)
    async with anyio.create_task_group() as group:
        for job_id in source.ends:
            group.start_soon(wait_for, poller, [job_id])
            await anyio.sleep(0.1)
    sweeps = [ids for when, ids in source.polls if 2 < when < 5]
    assert sweeps
    assert all(len(ids) == 7 for ids in sweeps)


async def test_five_thousand_jobs_over_ten_minutes_cost_two_thousand_requests() -> None:
    draw = random.Random(7)
    source = ScriptedSource({f"job-{n}": draw.uniform(1, 600) for n in range(5000)})
    source.latency = lambda: draw.uniform(0.01, 0.1)
    poller = poller_for(source)
    async with anyio.create_task_group() as group:
        for job_id in source.ends:
            group.start_soon(wait_for, poller, [job_id])
    assert len(source.polls) <= 2200
    assert source.most_in_flight <= MAX_CONCURRENT_POLLS
    assert poller.is_idle


# -- interval -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("watched", "seconds"), [(0, 0.5), (4, 0.5), (50, 5.0), (299, 29.9), (5000, 30.0)])
def test_the_interval_is_a_tenth_of_the_time_watched_within_bounds(watched: float, seconds: float) -> None:
    assert PollInterval().interval(watched, lambda: 0.0) == pytest.approx(seconds)
    assert PollInterval().interval(watched, lambda: 1.0) == pytest.approx(seconds * 1.1)


async def test_a_job_costs_some_sixty_polls_in_ten_minutes() -> None:
    source = ScriptedSource({"a": 600.0})
    await wait_for(poller_for(source), ["a"])
    assert 40 <= len(source.polls) <= 65


@pytest.mark.parametrize("seed", range(20))
async def test_every_waiter_is_settled_within_its_own_interval_and_a_round_trip(seed: int) -> None:
    draw = random.Random(seed)
    source = ScriptedSource(
        {f"job-{n}": draw.uniform(0, 120) for n in range(draw.randint(1, 300))}, batch_limit=draw.choice([1, 7, 100])
    )
    source.latency = lambda: draw.uniform(0, ROUND_TRIP)
    interval = PollInterval()
    poller = poller_for(source, draw)
    sweep = -(-len(source.ends) // source.batch_limit // MAX_CONCURRENT_POLLS) * ROUND_TRIP
    late: list[str] = []

    async def wait(job_id: str, start: float) -> None:
        await anyio.sleep(start)
        started = anyio.current_time()
        await wait_for(poller, [job_id])
        end = max(source.ends[job_id], started)
        bound = interval.interval(end - started, lambda: 1.0) + interval.least + 2 * (ROUND_TRIP + sweep)
        if anyio.current_time() - end > bound:
            late.append(f"{job_id} {anyio.current_time() - end:.3f} s late, {bound:.3f} s allowed")

    async with anyio.create_task_group() as group:
        for job_id in source.ends:
            group.start_soon(wait, job_id, draw.choice([0.0, draw.uniform(0, 30)]))
    assert not late
    assert poller.is_idle


async def test_a_new_waiter_interrupts_the_leaders_sleep() -> None:
    source = ScriptedSource({"old": 500.0, "new": 0.0})
    poller = poller_for(source)
    async with anyio.create_task_group() as group:
        group.start_soon(wait_for, poller, ["old"])
        await anyio.sleep(300)
        started = anyio.current_time()
        await wait_for(poller, ["new"])
        assert anyio.current_time() - started <= FIRST_POLL_DELAY_SECONDS + 0.5 + ROUND_TRIP
        group.cancel_scope.cancel()


async def test_a_follower_is_woken_when_its_job_ends_not_when_the_leader_is_done() -> None:
    source = ScriptedSource({"long": 200.0, "short": 3.0})
    poller = poller_for(source)
    async with anyio.create_task_group() as group:
        group.start_soon(wait_for, poller, ["long"])
        await anyio.sleep(0.01)
        await wait_for(poller, ["short"])
        assert anyio.current_time() < 5
        group.cancel_scope.cancel()


async def test_a_job_that_was_just_polled_is_not_polled_again_at_once() -> None:
    source = ScriptedSource({"a": 0.0})
    poller = poller_for(source)
    await anyio.sleep(1)
    handle = Handle("a", first_seen=0.0, asked_at=anyio.current_time())
    waiter = poller.join([handle])
    await poller.wait_for(waiter)
    assert source.polls[0][0] >= handle.first_seen + 1.5


async def test_joining_again_keeps_the_interval_of_the_job() -> None:
    source = ScriptedSource({"a": 1000.0})
    poller = poller_for(source)
    handle = Handle("a", first_seen=0.0)
    while anyio.current_time() < 100:
        waiter = poller.join([handle])
        with anyio.move_on_after(0.3):
            await poller.wait_for(waiter)
        poller.leave(waiter)
    assert len(source.polls) <= 55


# -- leaders and followers -----------------------------------------------------------------------------------------------


async def test_a_leader_cancelled_in_the_middle_of_a_request_hands_over() -> None:
    source = ScriptedSource({"mine": 100.0, "yours": 1.0})
    poller = poller_for(source)
    leading = anyio.CancelScope()

    async def lead() -> None:
        with leading:
            await wait_for(poller, ["mine"])

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        await anyio.sleep(0.001)
        group.start_soon(wait_for, poller, ["yours"])
        await anyio.sleep(FIRST_POLL_DELAY_SECONDS + ROUND_TRIP / 2)
        assert source.in_flight == 1
        leading.cancel()
    assert all("mine" not in ids for when, ids in source.polls if when > FIRST_POLL_DELAY_SECONDS + ROUND_TRIP)
    assert poller.is_idle


async def test_the_follower_with_the_latest_deadline_takes_over() -> None:
    """Had b led between 1 and 2 seconds, another request would have been cancelled with it."""
    source = ScriptedSource({"a": 50.0, "b": 50.0, "c": 50.0})
    source.latency = lambda: 1.5
    poller = poller_for(source)

    async def wait(job_id: str, timeout: float) -> None:
        with anyio.move_on_after(timeout):
            await wait_for(poller, [job_id])

    async with anyio.create_task_group() as group:
        for job_id, timeout in [("a", 1.0), ("c", 100.0), ("b", 2.0)]:
            group.start_soon(wait, job_id, timeout)
            await anyio.sleep(0.001)
    assert source.cancelled == 1
    assert poller.is_idle


async def test_cancelling_all_waiters_at_any_moment_leaves_nothing() -> None:
    for moment in range(0, 1200, 37):
        source = ScriptedSource({f"job-{n}": 5.0 for n in range(250)})
        poller = poller_for(source)
        with anyio.move_on_after(moment / 1000):
            async with anyio.create_task_group() as group:
                for job_id in source.ends:
                    group.start_soon(wait_for, poller, [job_id])
        assert poller.is_idle
        assert source.in_flight == 0


@pytest.mark.parametrize("seed", range(60))
async def test_waiters_without_a_timeout_finish_whatever_the_others_do(seed: int) -> None:
    draw = random.Random(1000 + seed)
    source = ScriptedSource(
        {f"job-{n}": draw.uniform(0, 60) for n in range(draw.randint(1, 60))}, batch_limit=draw.choice([1, 3, 100])
    )
    source.latency = lambda: draw.choice([0.0, 0.01, 0.7])
    poller = poller_for(source, draw)
    finished: list[int] = []
    unbounded = 0

    async def wait(number: int, start: float, ids: list[str], need: int, timeout: float | None) -> None:
        await anyio.sleep(start)
        with anyio.move_on_after(timeout):
            assert len(await wait_for(poller, ids, need)) >= need
            finished.append(number)

    async with anyio.create_task_group() as group:
        for number in range(draw.randint(1, 40)):
            ids = draw.sample(list(source.ends), draw.randint(1, len(source.ends)))
            timeout = draw.choice([None, draw.uniform(0, 10)])
            unbounded += timeout is None
            group.start_soon(wait, number, draw.uniform(0, 20), ids, draw.randint(0, len(ids)), timeout)
    assert len(finished) >= unbounded
    assert poller.is_idle
    assert source.in_flight == 0
    assert source.most_in_flight <= MAX_CONCURRENT_POLLS


async def test_an_abandoned_waiter_is_cleared_away() -> None:
    source = ScriptedSource({"a": 100.0, "b": 0.0})
    poller = poller_for(source)
    waiter = poller.join([Handle("a"), Handle("b")])
    await poller.wait_for(waiter, 1)
    assert poller.tracked == 1
    poller.abandon(waiter)
    del waiter
    gc.collect()
    assert poller.is_idle


async def test_a_job_whose_waiter_does_not_wait_is_not_polled() -> None:
    source = ScriptedSource({"parked": 100.0, "b": 10.0})
    poller = poller_for(source)
    parked = poller.join([Handle("parked")])
    await wait_for(poller, ["b"])
    assert all("parked" not in ids for _, ids in source.polls)
    poller.leave(parked)


async def test_waiting_for_no_jobs_polls_nothing() -> None:
    source = ScriptedSource({})
    assert await wait_for(poller_for(source), []) == {}
    assert not source.polls


async def test_a_snapshot_from_another_request_settles_the_waiter() -> None:
    source = ScriptedSource({"a": 1000.0})
    poller = poller_for(source)
    async with anyio.create_task_group() as group:
        group.start_soon(wait_for, poller, ["a"])
        await anyio.sleep(400)
        poller.apply(JobSnapshot(id="a", status=JobStatus.FAILED))
        await until_idle(poller)
        assert poller.is_idle


# -- failures ----------------------------------------------------------------------------------------------------------


async def test_transient_errors_are_retried() -> None:
    source = ScriptedSource({"a": 0.0})
    poller = poller_for(source)
    source.error = TransportError("no route")
    async with anyio.create_task_group() as group:
        group.start_soon(wait_for, poller, ["a"])
        await anyio.sleep(30)
        source.error = None
    assert len(source.polls) < 12


@pytest.mark.parametrize(
    "error", [TransportError("no route"), ProtocolError("a page"), ServerError("down", status_code=502)]
)
async def test_an_outage_of_a_day_ends_no_wait_and_is_polled_twice_a_minute(error: SFJobsError) -> None:
    source = ScriptedSource({"a": 0.0, "b": 0.0})
    source.error = error
    poller = poller_for(source)
    async with anyio.create_task_group() as group:
        for job_id in source.ends:
            group.start_soon(wait_for, poller, [job_id])
        await anyio.sleep(86_400)
        source.error = None
    assert anyio.current_time() < 86_400 + 31
    assert len(source.polls) < 2 * 24 * 60 + 20
    assert poller.is_idle


async def test_an_outage_is_logged_once_a_change(caplog: pytest.LogCaptureFixture) -> None:
    source = ScriptedSource({"a": 0.0})
    poller = poller_for(source)
    caplog.set_level("INFO", logger="sfjobs")
    async with anyio.create_task_group() as group:
        group.start_soon(wait_for, poller, ["a"])
        for error in (TransportError("no route"), ServerError("down", status_code=502), None):
            source.error = error
            await anyio.sleep(3600)
    lines = [f"{record.levelname} {record.message}" for record in caplog.records]
    assert [line.partition(":")[0] for line in lines] == [
        "INFO a poll of 1 job(s) failed and is retried",
        f"WARNING polls have failed for {lines[1].split()[5]} s, the last one of 1 job(s), and are retried",
        "INFO a poll of 1 job(s) failed and is retried",
        f"INFO the platform responds again, after {lines[3].split()[6]} s",
    ]
    assert "502" not in lines[0]


async def test_retry_after_delays_the_polls_of_all_waiters() -> None:
    source = ScriptedSource({"a": 0.0, "b": 0.0})
    poller = poller_for(source)
    source.error = RateLimitedError("slow down", status_code=429, retry_after=20.0)
    async with anyio.create_task_group() as group:
        group.start_soon(wait_for, poller, ["a"])
        await anyio.sleep(5)
        source.error = None
        group.start_soon(wait_for, poller, ["b"])
    assert source.polls[1][0] - source.polls[0][0] >= 20


async def test_a_sweep_that_fails_backs_off_once_however_many_requests_it_has() -> None:
    source = ScriptedSource({f"job-{n}": 0.0 for n in range(1000)})
    poller = poller_for(source)
    source.error = TransportError("no route")
    async with anyio.create_task_group() as group:
        group.start_soon(wait_for, poller, source.ends)
        await anyio.sleep(0.4)
        source.error = None
    assert len(source.polls) == 20
    assert anyio.current_time() < 2


async def test_a_permanent_refusal_ends_every_wait_at_once() -> None:
    source = ScriptedSource({"a": 100.0, "b": 100.0})
    source.error = AuthenticationError("invalid API key", status_code=401)
    poller = poller_for(source)
    refused = 0

    async def wait(job_id: str) -> None:
        nonlocal refused
        with pytest.raises(AuthenticationError):
            await wait_for(poller, [job_id])
        refused += 1

    async with anyio.create_task_group() as group:
        group.start_soon(wait, "a")
        group.start_soon(wait, "b")
    assert refused == 2
    assert anyio.current_time() < 1


async def test_an_error_of_one_job_does_not_concern_the_others() -> None:
    source = ScriptedSource({"a": 5.0, "b": 5.0, "../": 5.0})
    source.refused = {"../": InvalidRequestError("no such id", status_code=400)}
    outcomes = await wait_for(poller_for(source), source.ends)
    assert isinstance(outcomes["../"], InvalidRequestError)
    assert [outcomes[job_id] for job_id in "ab"] == [source.snapshot("a"), source.snapshot("b")]


async def test_a_permission_that_is_missing_for_one_job_ends_the_wait_for_that_job() -> None:
    source = ScriptedSource({"a": 5.0, "theirs": 5.0})
    source.refused = {"theirs": PermissionDeniedError("not yours", status_code=403)}
    outcomes = await wait_for(poller_for(source), source.ends)
    assert isinstance(outcomes["theirs"], PermissionDeniedError)
    assert isinstance(outcomes["a"], JobSnapshot)


async def test_a_bug_reaches_every_waiter_without_an_exception_group() -> None:
    source = ScriptedSource({f"job-{n}": 1.0 for n in range(150)})
    source.error = ZeroDivisionError("a bug")
    poller = poller_for(source)
    with pytest.raises(ZeroDivisionError):
        await wait_for(poller, source.ends)
    assert poller.is_idle


async def test_a_job_left_out_of_a_list_is_polled_by_itself() -> None:
    source = ScriptedSource({"a": 0.0, "lost": 0.0})
    source.missing.add("lost")
    outcomes = await wait_for(poller_for(source), ["a", "lost"])
    assert isinstance(outcomes["a"], JobSnapshot)
    assert isinstance(outcomes["lost"], NotFoundError)
    assert sum("lost" in ids for _, ids in source.polls) == MAX_MISSES
    assert source.single_polls == ["lost"]


async def test_a_job_that_a_list_shows_late_is_not_lost() -> None:
    source = ScriptedSource({"late": 3.0})
    source.missing.add("late")
    poller = poller_for(source)
    async with anyio.create_task_group() as group:
        group.start_soon(wait_for, poller, ["late"])
        await anyio.sleep(0.9)
        source.missing.clear()
    assert poller.is_idle
    assert not source.single_polls


async def test_closing_cancels_a_poll_that_is_under_way() -> None:
    source = ScriptedSource({"a": 1000.0})
    source.latency = lambda: 500.0
    poller = poller_for(source)

    async def wait() -> None:
        with pytest.raises(ConnectionClosedError):
            await wait_for(poller, ["a"])

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(5)
        assert source.in_flight == 1
        await poller.aclose()
        assert (source.in_flight, source.cancelled) == (0, 1)
    assert anyio.current_time() == pytest.approx(5, abs=0.01)


async def test_each_waiter_gets_an_error_of_its_own() -> None:
    source = ScriptedSource({"a": 1000.0})
    source.error = AuthenticationError("no", status_code=401)
    poller, errors = poller_for(source), list[AuthenticationError]()

    async def wait() -> None:
        with pytest.raises(AuthenticationError) as caught:
            await wait_for(poller, ["a"])
        errors.append(caught.value)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(wait)
    assert len({id(error) for error in errors}) == len(errors) == 3
    assert {(str(error), error.status_code) for error in errors} == {("no", 401)}


async def test_closing_ends_every_wait_at_once() -> None:
    source = ScriptedSource({"a": 1000.0, "b": 1000.0})
    poller = poller_for(source)
    closed = 0

    async def wait(job_id: str) -> None:
        nonlocal closed
        with pytest.raises(ConnectionClosedError):
            await wait_for(poller, [job_id])
        closed += 1

    async with anyio.create_task_group() as group:
        group.start_soon(wait, "a")
        group.start_soon(wait, "b")
        await anyio.sleep(77.7)
        started = anyio.current_time()
        await poller.aclose()
    assert closed == 2
    assert anyio.current_time() == pytest.approx(started, abs=0.01)
    with pytest.raises(ConnectionClosedError):
        poller.join([])


async def test_a_final_job_is_not_polled() -> None:
    source = ScriptedSource({"a": 0.0})
    poller = poller_for(source)
    handle = Handle("a")
    handle.snapshot = JobSnapshot(id="a", status=JobStatus.CANCELLED)
    outcomes = await poller.wait_for(poller.join([handle]))
    assert outcomes == {"a": handle.snapshot}
    assert not source.polls
