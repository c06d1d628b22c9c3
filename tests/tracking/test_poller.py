"""The shared poller by itself, in virtual time: no HTTP, only questions, answers and waiters that come and go."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import pytest

from sfjobs._protocol.wire import Known
from sfjobs._tracking.poller import AT_ONCE, Poller
from sfjobs._tracking.types import Outcome, PollInterval, StatusReport
from sfjobs._tracking.watchlist import GATHER, MISSES
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
from sfjobs.models import Cursor, JobSnapshot, JobStatus

ROUND_TRIP = 0.05


@dataclass(eq=False)
class Handle:
    """A job handle as the poller sees it."""

    id: str
    snapshot: JobSnapshot = field(init=False)
    first_seen: float | None = None
    asked_at: float | None = None
    cursor: Cursor | None = None
    seen: list[JobStatus] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.snapshot = JobSnapshot(id=self.id, status=JobStatus.QUEUED)

    def take(self, snapshot: JobSnapshot, at: float) -> None:
        self.asked_at = at
        if snapshot.status != self.snapshot.status:
            self.seen.append(snapshot.status)
        self.snapshot = snapshot


class Office:
    """Answers questions about jobs that end when told; counts, and can be put into any kind of trouble."""

    def __init__(self, ends: Mapping[str, float], *, batch: int = 100) -> None:
        self.ends = dict(ends)
        self.batch = batch
        self.latency: Callable[[], float] = lambda: ROUND_TRIP
        self.trouble: SFJobsError | Exception | None = None
        self.forgotten: set[str] = set()
        self.refused: Mapping[str, SFJobsError] = {}
        self.asked: list[tuple[float, tuple[str, ...]]] = []
        self.asked_singly: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.cut_off = 0

    def snapshot(self, job_id: str) -> JobSnapshot:
        over = anyio.current_time() >= self.ends[job_id]
        return JobSnapshot(id=job_id, status=JobStatus.COMPLETED if over else JobStatus.QUEUED)

    @property
    def many(self) -> Office:
        return self

    @property
    def single(self) -> Single:
        return Single(self)

    async def ask(self, ids: Sequence[str], known: Known) -> StatusReport:
        self.asked.append((anyio.current_time(), tuple(ids)))
        await self.travel()
        self.check(ids)
        return StatusReport({job_id: self.snapshot(job_id) for job_id in ids if job_id not in self.forgotten})

    def check(self, ids: Sequence[str]) -> None:
        for job_id in ids:
            if job_id in self.refused:
                raise self.refused[job_id]

    async def travel(self) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            self.cut_off += 1
            await anyio.sleep(self.latency())
            self.cut_off -= 1
            if self.trouble is not None:
                raise self.trouble
        finally:
            self.in_flight -= 1


class Single:
    """The same office, asked about one job at a time."""

    batch = 1

    def __init__(self, office: Office) -> None:
        self._office = office

    async def ask(self, ids: Sequence[str], known: Known) -> StatusReport:
        [job_id] = ids
        self._office.asked_singly.append(job_id)
        await self._office.travel()
        self._office.check(ids)
        if job_id in self._office.forgotten or job_id not in self._office.ends:
            raise NotFoundError(f"no job {job_id}", status_code=404)
        return StatusReport({job_id: self._office.snapshot(job_id)})


def poller_for(office: Office, **interval: float) -> Poller:
    return Poller(office, interval=PollInterval(**interval), draw=random.Random(1).random)


async def settle(poller: Poller, ids: Iterable[str], need: int | None = None) -> Mapping[str, Outcome]:
    waiter = poller.join([Handle(job_id) for job_id in ids])
    try:
        return await poller.wait_for(waiter, need)
    finally:
        poller.leave(waiter)


async def until_idle(poller: Poller) -> None:
    """A few turns of the loop for what cancelled tasks do last."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


# -- sharing -------------------------------------------------------------------------------------------------------------


async def test_a_thousand_waiters_share_ten_requests_a_sweep() -> None:
    office = Office({f"job-{n}": 0.3 for n in range(1000)})
    poller = poller_for(office)
    async with anyio.create_task_group() as group:
        for job_id in office.ends:
            group.start_soon(settle, poller, [job_id])
    first, second = office.asked[:10], office.asked[10:20]
    assert [len(ids) for _, ids in first] == [100] * 10
    assert len({job_id for _, ids in first for job_id in ids}) == 1000
    assert len(office.asked) == 20
    assert second[0][0] - first[0][0] >= 0.5
    assert office.most_in_flight == AT_ONCE
    assert poller.is_idle


async def test_jobs_that_join_together_are_asked_about_together() -> None:
    office = Office(dict.fromkeys(["a", "b", "c"], 0.0))
    poller = poller_for(office)
    async with anyio.create_task_group() as group:
        for job_id in office.ends:
            group.start_soon(settle, poller, [job_id])
            await anyio.sleep(GATHER / 4)
    assert [set(ids) for _, ids in office.asked] == [{"a", "b", "c"}]


async def test_two_waiters_for_one_job_ask_once() -> None:
    office = Office({"a": 0.0})
    poller = poller_for(office)
    async with anyio.create_task_group() as group:
        group.start_soon(settle, poller, ["a"])
        group.start_soon(settle, poller, ["a"])
    assert len(office.asked) == 1


async def test_a_request_is_filled_up_with_what_is_due_next() -> None:
    office = Office(dict.fromkeys("abcdef", 100.0) | {"z": 5.0})
    poller = poller_for(office)
    async with anyio.create_task_group() as group:
        for job_id in office.ends:
            group.start_soon(settle, poller, [job_id])
            await anyio.sleep(0.1)
    sweeps = [ids for when, ids in office.asked if 2 < when < 5]
    assert sweeps
    assert all(len(ids) == 7 for ids in sweeps)


async def test_five_thousand_jobs_over_ten_minutes_cost_two_thousand_requests() -> None:
    draw = random.Random(7)
    office = Office({f"job-{n}": draw.uniform(1, 600) for n in range(5000)})
    office.latency = lambda: draw.uniform(0.01, 0.1)
    poller = poller_for(office)
    async with anyio.create_task_group() as group:
        for job_id in office.ends:
            group.start_soon(settle, poller, [job_id])
    assert len(office.asked) <= 2200
    assert office.most_in_flight <= AT_ONCE
    assert poller.is_idle


# -- interval -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("watched", "seconds"), [(0, 0.5), (4, 0.5), (50, 5.0), (299, 29.9), (5000, 30.0)])
def test_the_interval_is_a_tenth_of_the_time_watched_within_bounds(watched: float, seconds: float) -> None:
    assert PollInterval().interval(watched, lambda: 0.0) == pytest.approx(seconds)
    assert PollInterval().interval(watched, lambda: 1.0) == pytest.approx(seconds * 1.1)


async def test_a_job_costs_some_sixty_questions_in_ten_minutes() -> None:
    office = Office({"a": 600.0})
    await settle(poller_for(office), ["a"])
    assert 40 <= len(office.asked) <= 65


@pytest.mark.parametrize("seed", range(20))
async def test_every_waiter_hears_within_its_own_interval_and_a_round_trip(seed: int) -> None:
    draw = random.Random(seed)
    office = Office(
        {f"job-{n}": draw.uniform(0, 120) for n in range(draw.randint(1, 300))}, batch=draw.choice([1, 7, 100])
    )
    office.latency = lambda: draw.uniform(0, ROUND_TRIP)
    interval = PollInterval()
    poller = Poller(office, interval=interval, draw=draw.random)
    sweep = -(-len(office.ends) // office.batch // AT_ONCE) * ROUND_TRIP
    late: list[str] = []

    async def wait(job_id: str, start: float) -> None:
        await anyio.sleep(start)
        started = anyio.current_time()
        await settle(poller, [job_id])
        end = max(office.ends[job_id], started)
        bound = interval.interval(end - started, lambda: 1.0) + interval.least + 2 * (ROUND_TRIP + sweep)
        if anyio.current_time() - end > bound:
            late.append(f"{job_id} {anyio.current_time() - end:.3f} s late, {bound:.3f} s allowed")

    async with anyio.create_task_group() as group:
        for job_id in office.ends:
            group.start_soon(wait, job_id, draw.choice([0.0, draw.uniform(0, 30)]))
    assert not late
    assert poller.is_idle


async def test_a_newcomer_interrupts_the_leaders_sleep() -> None:
    office = Office({"old": 500.0, "new": 0.0})
    poller = poller_for(office)
    async with anyio.create_task_group() as group:
        group.start_soon(settle, poller, ["old"])
        await anyio.sleep(300)
        started = anyio.current_time()
        await settle(poller, ["new"])
        assert anyio.current_time() - started <= GATHER + 0.5 + ROUND_TRIP
        group.cancel_scope.cancel()


async def test_a_follower_is_woken_when_its_job_ends_not_when_the_leader_is_done() -> None:
    office = Office({"long": 200.0, "short": 3.0})
    poller = poller_for(office)
    async with anyio.create_task_group() as group:
        group.start_soon(settle, poller, ["long"])
        await anyio.sleep(0.01)
        await settle(poller, ["short"])
        assert anyio.current_time() < 5
        group.cancel_scope.cancel()


async def test_a_job_that_was_just_asked_about_is_not_asked_about_again_at_once() -> None:
    office = Office({"a": 0.0})
    poller = poller_for(office)
    await anyio.sleep(1)
    handle = Handle("a", first_seen=0.0, asked_at=anyio.current_time())
    waiter = poller.join([handle])
    await poller.wait_for(waiter)
    assert office.asked[0][0] >= handle.first_seen + 1.5


async def test_joining_again_keeps_the_cadence_of_the_job() -> None:
    office = Office({"a": 1000.0})
    poller = poller_for(office)
    handle = Handle("a", first_seen=0.0)
    while anyio.current_time() < 100:
        waiter = poller.join([handle])
        with anyio.move_on_after(0.3):
            await poller.wait_for(waiter)
        poller.leave(waiter)
    assert len(office.asked) <= 55


# -- comings and goings --------------------------------------------------------------------------------------------------


async def test_a_leader_cancelled_in_the_middle_of_a_request_hands_over() -> None:
    office = Office({"mine": 100.0, "yours": 1.0})
    poller = poller_for(office)
    leading = anyio.CancelScope()

    async def lead() -> None:
        with leading:
            await settle(poller, ["mine"])

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        await anyio.sleep(0.001)
        group.start_soon(settle, poller, ["yours"])
        await anyio.sleep(GATHER + ROUND_TRIP / 2)
        assert office.in_flight == 1
        leading.cancel()
    assert all("mine" not in ids for when, ids in office.asked if when > GATHER + ROUND_TRIP)
    assert poller.is_idle


async def test_the_follower_with_the_latest_deadline_takes_over() -> None:
    """Had b led between 1 and 2 seconds, another request would have been lost with it."""
    office = Office({"a": 50.0, "b": 50.0, "c": 50.0})
    office.latency = lambda: 1.5
    poller = poller_for(office)

    async def wait(job_id: str, patience: float) -> None:
        with anyio.move_on_after(patience):
            await settle(poller, [job_id])

    async with anyio.create_task_group() as group:
        for job_id, patience in [("a", 1.0), ("c", 100.0), ("b", 2.0)]:
            group.start_soon(wait, job_id, patience)
            await anyio.sleep(0.001)
    assert office.cut_off == 1
    assert poller.is_idle


async def test_cancelling_everyone_at_any_moment_leaves_nothing() -> None:
    for moment in range(0, 1200, 37):
        office = Office({f"job-{n}": 5.0 for n in range(250)})
        poller = poller_for(office)
        with anyio.move_on_after(moment / 1000):
            async with anyio.create_task_group() as group:
                for job_id in office.ends:
                    group.start_soon(settle, poller, [job_id])
        assert poller.is_idle
        assert office.in_flight == 0


@pytest.mark.parametrize("seed", range(60))
async def test_patient_waiters_finish_whatever_the_others_do(seed: int) -> None:
    draw = random.Random(1000 + seed)
    office = Office(
        {f"job-{n}": draw.uniform(0, 60) for n in range(draw.randint(1, 60))}, batch=draw.choice([1, 3, 100])
    )
    office.latency = lambda: draw.choice([0.0, 0.01, 0.7])
    poller = Poller(office, draw=draw.random)
    finished: list[int] = []
    patient = 0

    async def wait(number: int, start: float, ids: list[str], need: int, patience: float | None) -> None:
        await anyio.sleep(start)
        with anyio.move_on_after(patience):
            assert len(await settle(poller, ids, need)) >= need
            finished.append(number)

    async with anyio.create_task_group() as group:
        for number in range(draw.randint(1, 40)):
            ids = draw.sample(list(office.ends), draw.randint(1, len(office.ends)))
            patience = draw.choice([None, draw.uniform(0, 10)])
            patient += patience is None
            group.start_soon(wait, number, draw.uniform(0, 20), ids, draw.randint(0, len(ids)), patience)
    assert len(finished) >= patient
    assert poller.is_idle
    assert office.in_flight == 0
    assert office.most_in_flight <= AT_ONCE


async def test_an_abandoned_ticket_is_cleared_away() -> None:
    office = Office({"a": 100.0, "b": 0.0})
    poller = poller_for(office)
    waiter = poller.join([Handle("a"), Handle("b")])
    await poller.wait_for(waiter, 1)
    assert poller.watched == 1
    poller.abandon(waiter)
    del waiter
    gc.collect()
    assert poller.is_idle


async def test_nothing_is_asked_for_a_ticket_that_nobody_waits_on() -> None:
    office = Office({"parked": 100.0, "b": 10.0})
    poller = poller_for(office)
    parked = poller.join([Handle("parked")])
    await settle(poller, ["b"])
    assert all("parked" not in ids for _, ids in office.asked)
    poller.leave(parked)


async def test_waiting_for_nothing_asks_nothing() -> None:
    office = Office({})
    assert await settle(poller_for(office), []) == {}
    assert not office.asked


async def test_what_another_request_finds_out_ends_the_waiting() -> None:
    office = Office({"a": 1000.0})
    poller = poller_for(office)
    async with anyio.create_task_group() as group:
        group.start_soon(settle, poller, ["a"])
        await anyio.sleep(400)
        poller.learn(JobSnapshot(id="a", status=JobStatus.FAILED))
        await until_idle(poller)
        assert poller.is_idle


# -- trouble -------------------------------------------------------------------------------------------------------------


async def test_weather_is_waited_out() -> None:
    office = Office({"a": 0.0})
    poller = poller_for(office)
    office.trouble = TransportError("no route")
    async with anyio.create_task_group() as group:
        group.start_soon(settle, poller, ["a"])
        await anyio.sleep(30)
        office.trouble = None
    assert len(office.asked) < 12


@pytest.mark.parametrize(
    "error", [TransportError("no route"), ProtocolError("a page"), ServerError("down", status_code=502)]
)
async def test_weather_of_a_day_ends_no_wait_and_is_asked_through_twice_a_minute(error: SFJobsError) -> None:
    office = Office({"a": 0.0, "b": 0.0})
    office.trouble = error
    poller = poller_for(office)
    async with anyio.create_task_group() as group:
        for job_id in office.ends:
            group.start_soon(settle, poller, [job_id])
        await anyio.sleep(86_400)
        office.trouble = None
    assert anyio.current_time() < 86_400 + 31
    assert len(office.asked) < 2 * 24 * 60 + 20
    assert poller.is_idle


async def test_weather_is_logged_once_a_change(caplog: pytest.LogCaptureFixture) -> None:
    office = Office({"a": 0.0})
    poller = poller_for(office)
    caplog.set_level("INFO", logger="sfjobs")
    async with anyio.create_task_group() as group:
        group.start_soon(settle, poller, ["a"])
        for error in (TransportError("no route"), ServerError("down", status_code=502), None):
            office.trouble = error
            await anyio.sleep(3600)
    said = [f"{record.levelname} {record.message}" for record in caplog.records]
    assert [line.partition(":")[0] for line in said] == [
        "INFO asking about 1 jobs failed, and is tried until it is answered",
        f"WARNING the platform has not said for {said[1].split()[7]} s how 1 jobs stand",
        "INFO asking about 1 jobs failed, and is tried until it is answered",
        f"INFO the platform answers again, after {said[3].split()[6]} s",
    ]
    assert "502" not in said[0]


async def test_the_platforms_hint_keeps_everyone_quiet() -> None:
    office = Office({"a": 0.0, "b": 0.0})
    poller = poller_for(office)
    office.trouble = RateLimitedError("slow down", status_code=429, retry_after=20.0)
    async with anyio.create_task_group() as group:
        group.start_soon(settle, poller, ["a"])
        await anyio.sleep(5)
        office.trouble = None
        group.start_soon(settle, poller, ["b"])
    assert office.asked[1][0] - office.asked[0][0] >= 20


async def test_a_sweep_that_fails_backs_off_once_however_many_requests_it_has() -> None:
    office = Office({f"job-{n}": 0.0 for n in range(1000)})
    poller = poller_for(office)
    office.trouble = TransportError("no route")
    async with anyio.create_task_group() as group:
        group.start_soon(settle, poller, office.ends)
        await anyio.sleep(0.4)
        office.trouble = None
    assert len(office.asked) == 20
    assert anyio.current_time() < 2


async def test_a_permanent_refusal_ends_every_wait_at_once() -> None:
    office = Office({"a": 100.0, "b": 100.0})
    office.trouble = AuthenticationError("who are you?", status_code=401)
    poller = poller_for(office)
    refused = 0

    async def wait(job_id: str) -> None:
        nonlocal refused
        with pytest.raises(AuthenticationError):
            await settle(poller, [job_id])
        refused += 1

    async with anyio.create_task_group() as group:
        group.start_soon(wait, "a")
        group.start_soon(wait, "b")
    assert refused == 2
    assert anyio.current_time() < 1


async def test_what_is_wrong_with_one_job_is_no_concern_of_the_others() -> None:
    office = Office({"a": 5.0, "b": 5.0, "../": 5.0})
    office.refused = {"../": InvalidRequestError("no such id", status_code=400)}
    outcomes = await settle(poller_for(office), office.ends)
    assert isinstance(outcomes["../"], InvalidRequestError)
    assert [outcomes[job_id] for job_id in "ab"] == [office.snapshot("a"), office.snapshot("b")]


async def test_a_permission_that_is_missing_for_one_job_ends_the_wait_for_that_job() -> None:
    office = Office({"a": 5.0, "theirs": 5.0})
    office.refused = {"theirs": PermissionDeniedError("not yours", status_code=403)}
    outcomes = await settle(poller_for(office), office.ends)
    assert isinstance(outcomes["theirs"], PermissionDeniedError)
    assert isinstance(outcomes["a"], JobSnapshot)


async def test_a_bug_reaches_every_waiter_without_a_group_around_it() -> None:
    office = Office({f"job-{n}": 1.0 for n in range(150)})
    office.trouble = ZeroDivisionError("a bug")
    poller = poller_for(office)
    with pytest.raises(ZeroDivisionError):
        await settle(poller, office.ends)
    assert poller.is_idle


async def test_a_job_left_out_of_a_list_is_asked_about_by_itself() -> None:
    office = Office({"a": 0.0, "lost": 0.0})
    office.forgotten.add("lost")
    outcomes = await settle(poller_for(office), ["a", "lost"])
    assert isinstance(outcomes["a"], JobSnapshot)
    assert isinstance(outcomes["lost"], NotFoundError)
    assert sum("lost" in ids for _, ids in office.asked) == MISSES
    assert office.asked_singly == ["lost"]


async def test_a_job_that_a_list_shows_late_is_not_lost() -> None:
    office = Office({"late": 3.0})
    office.forgotten.add("late")
    poller = poller_for(office)
    async with anyio.create_task_group() as group:
        group.start_soon(settle, poller, ["late"])
        await anyio.sleep(0.9)
        office.forgotten.clear()
    assert poller.is_idle
    assert not office.asked_singly


async def test_closing_ends_every_wait_at_once() -> None:
    office = Office({"a": 1000.0, "b": 1000.0})
    poller = poller_for(office)
    closed = 0

    async def wait(job_id: str) -> None:
        nonlocal closed
        with pytest.raises(ConnectionClosedError):
            await settle(poller, [job_id])
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


async def test_a_final_job_is_not_asked_about() -> None:
    office = Office({"a": 0.0})
    poller = poller_for(office)
    handle = Handle("a")
    handle.snapshot = JobSnapshot(id="a", status=JobStatus.CANCELLED)
    outcomes = await poller.wait_for(poller.join([handle]))
    assert outcomes == {"a": handle.snapshot}
    assert not office.asked
