"""The rate limiter of a connection against limiters of every kind in virtual time, and its waiters."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import anyio
import pytest

from sfjobs._http.messages import Lane
from sfjobs._http.rate_limiter import RateLimit, RateLimiter
from sfjobs._http.rate_model import FIRST_PAUSE_SECONDS, FORGET_SECONDS, MAX_PAUSE_SECONDS, RateModel
from sfjobs._http.retry import MAX_RETRY_AFTER_SECONDS
from tests.support.limiters import HINTS, Bucket, FixedWindow, Hint, Limiter, SlidingWindow, Unlimited


@dataclass
class Simulation:
    """A client with a rate limiter, and a platform with a limiter half a round trip away."""

    limiter: Limiter
    round_trip: float = 0.0
    hint: Hint = HINTS["rounded up"]
    jitter: Callable[[], float] = lambda: 1.0
    rate_limiter: RateLimiter = field(default_factory=RateLimiter)
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    sent_on: list[Lane] = field(default_factory=list)

    async def request(self, lane: Lane = "bulk") -> None:
        """Repeat until the platform accepts it."""
        while not await self.send_once(lane):
            pass

    async def send_once(self, lane: Lane = "bulk") -> bool:
        async with self.rate_limiter.permit(lane) as permit:
            self.sent.append(anyio.current_time())
            self.sent_on.append(lane)
            await anyio.sleep(self.jitter() * self.round_trip / 2)
            now = anyio.current_time()
            wait = self.limiter.admit(now)
            await anyio.sleep(self.jitter() * self.round_trip / 2)
            if wait is None:
                self.accepted.append(now)
                permit.accepted()
                return True
            self.refused.append(now)
            permit.refused(self.hint(wait, now))
            return False

    async def request_many(self, times: int, width: int = 32, lane: Lane = "bulk") -> None:
        left = times

        async def work() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await self.request(lane)

        async with anyio.create_task_group() as group:
            for _ in range(width):
                group.start_soon(work)

    async def request_for(self, seconds: float, width: int = 32) -> None:
        with anyio.move_on_after(seconds):
            await self.request_many(10**9, width)

    async def submit_poll_and_fetch(self, jobs: int) -> float:
        """Submit and fetch 32 at a time while polling. Returns the share of the limit that was used."""
        start = anyio.current_time()

        async def poll() -> None:
            while True:
                await self.request("poll")
                await anyio.sleep(0.5)

        async with anyio.create_task_group() as group:
            group.start_soon(poll)
            await self.request_many(jobs)
            await self.request_many(jobs)
            group.cancel_scope.cancel()
        return len(self.accepted) / (self.limiter.rate * (anyio.current_time() - start))


def gaps(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


# -- against a limit -----------------------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[], Limiter]] = {
    "a bucket of 5": lambda: Bucket(5, 5),
    "a bucket of 10": lambda: Bucket(5, 10),
    "a sliding window": lambda: SlidingWindow(5),
    "a fixed window": lambda: FixedWindow(5),
    "a fixed window, a third gone": lambda: FixedWindow(5, 0.667),
}


@pytest.mark.parametrize("hint", HINTS)
@pytest.mark.parametrize("round_trip", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_limit_is_used_and_rarely_exceeded(kind: str, round_trip: float, hint: str) -> None:
    simulation = Simulation(KINDS[kind](), round_trip, HINTS[hint])
    use = await simulation.submit_poll_and_fetch(200)
    assert len(simulation.refused) <= 3
    assert use >= 0.9


@pytest.mark.parametrize("phase", range(20))
async def test_a_fixed_window_may_have_begun_at_any_time(phase: int) -> None:
    simulation = Simulation(FixedWindow(5, (phase + 0.5) / 20), 0.2)
    assert await simulation.submit_poll_and_fetch(200) >= 0.9
    assert len(simulation.refused) <= 3


async def test_a_quick_burst_over_the_edge_of_two_windows_is_taken_for_a_bucket() -> None:
    """Only another 429 could tell them apart, so the careful rate is kept."""
    simulation = Simulation(FixedWindow(5, 0.04), 0.02)
    assert await simulation.submit_poll_and_fetch(200) >= 0.75
    assert len(simulation.refused) <= 3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["a bucket of 5", "a bucket of 10", "a fixed window"])
async def test_an_uneven_network_spoils_little(kind: str, seed: int) -> None:
    simulation = Simulation(KINDS[kind](), 0.2, jitter=partial(random.Random(seed).uniform, 0.7, 1.3))
    assert await simulation.submit_poll_and_fetch(200) >= 0.85
    assert len(simulation.refused) <= 5


@pytest.mark.parametrize(
    ("limiter", "jobs", "most_refused"),
    [
        (partial(Bucket, 1, 2), 50, 4),
        (partial(FixedWindow, 1), 50, 4),
        (partial(Bucket, 50, 50), 1000, 24),
        (partial(FixedWindow, 50, 0.3), 1000, 24),
        (partial(SlidingWindow, 50), 1000, 24),
        (partial(Bucket, 200, 200), 4000, 40),
    ],
)
async def test_other_limits_are_found_too(limiter: Callable[[], Limiter], jobs: int, most_refused: int) -> None:
    simulation = Simulation(limiter(), 0.02)
    assert await simulation.submit_poll_and_fetch(jobs) >= 0.85
    assert len(simulation.refused) <= most_refused


async def test_a_limit_per_minute_is_found_without_hints() -> None:
    class Minute(FixedWindow):
        def admit(self, now: float) -> float | None:
            wait = super().admit(now / 60)
            return None if wait is None else 60 * wait

    simulation = Simulation(Minute(60), 0.02, HINTS["none"])
    await simulation.request_for(600)
    assert len(simulation.accepted) >= 500
    assert len(simulation.refused) <= 40


# -- what a 429 does -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1, 7, 59])
async def test_no_request_is_sent_before_retry_after_has_passed(seconds: int) -> None:
    simulation = Simulation(Bucket(5, 5), 0.02, lambda wait, now: float(seconds))
    await simulation.request_many(8)
    last = max(time for time in simulation.refused if time < simulation.refused[0] + 0.5) + simulation.round_trip / 2
    assert min(time for time in simulation.sent if time > last) == pytest.approx(last + seconds)


async def test_a_retry_after_of_hours_is_cut() -> None:
    simulation = Simulation(Bucket(5, 5), 0.0, lambda wait, now: 7200.0)
    await simulation.request_many(8)
    assert simulation.accepted[5] == pytest.approx(MAX_RETRY_AFTER_SECONDS)


async def test_pauses_without_retry_after_grow_and_one_request_goes_first_after_each() -> None:
    class Away:
        rate = 1.0

        def admit(self, now: float) -> float | None:
            return 1.0 if now < 100 else None

    simulation = Simulation(Away(), 0.0, HINTS["none"])
    await simulation.request_many(40)
    rests = [FIRST_PAUSE_SECONDS * 2**number for number in range(5)]
    assert gaps(simulation.refused[1:]) == pytest.approx(
        [*rests, MAX_PAUSE_SECONDS, MAX_PAUSE_SECONDS][: len(simulation.refused) - 2]
    )
    assert simulation.accepted[0] > 100


async def test_requests_in_flight_are_refused_by_the_same_setback() -> None:
    alone, crowd = RateModel(), RateModel()
    for model, refused in ((alone, 1), (crowd, 30)):
        for _ in range(9):
            model.record_accepted(10.0, 0, 1)
        for _ in range(refused):
            model.record_refused(11.0, 0, 3.0)
    assert (crowd.rate, crowd.resume_at) == (alone.rate, 14.0)
    assert alone.rate is not None


async def test_accepted_requests_in_flight_count_for_the_exceeded_limit() -> None:
    early, late = RateModel(), RateModel()
    for model, late_ones in ((early, 0), (late, 4)):
        for _ in range(12 - late_ones):
            model.record_accepted(10.0, 0, 1)
        model.record_refused(10.0, 0, 1.0)
        for _ in range(late_ones):
            model.record_accepted(10.0, 0, 1)
    assert late.rate == pytest.approx(early.rate)


async def test_no_burst_follows_a_pause() -> None:
    simulation = Simulation(Bucket(5, 10), 0.02)
    await simulation.request_many(40)
    later = [time for time in simulation.sent if time > simulation.refused[0] + 0.5]
    assert min(gaps(later)) > 0.09  # not ten a second, although twenty wait


async def test_a_503_with_retry_after_pauses_all_requests_and_sets_no_rate() -> None:
    rate_limiter = RateLimiter()
    async with rate_limiter.permit("bulk") as permit:
        permit.unavailable(7.0)
    assert rate_limiter.current_limit() == RateLimit(rate=None, paused_until=anyio.current_time() + 7)
    started = anyio.current_time()
    async with rate_limiter.permit("poll") as permit:
        assert anyio.current_time() == pytest.approx(started + 7)
        permit.accepted()
    assert rate_limiter.current_limit() == RateLimit()


async def test_a_503_without_retry_after_pauses_no_other_request() -> None:
    rate_limiter = RateLimiter()
    async with rate_limiter.permit("bulk") as permit:
        permit.unavailable(None)
    assert rate_limiter.current_limit() == RateLimit()


async def test_a_job_quota_sets_no_rate() -> None:
    rate_limiter = RateLimiter()
    for _ in range(50):
        async with rate_limiter.permit("bulk") as permit:
            permit.refused(30.0, is_quota=True)
    assert rate_limiter.current_limit() == RateLimit()


# -- without a limit, and when it changes --------------------------------------------------------------------------------


async def test_a_platform_without_a_limit_costs_a_slow_start() -> None:
    simulation = Simulation(Unlimited(), 0.02)
    await simulation.request_many(5000)
    rounds = round(anyio.current_time() / simulation.round_trip)
    assert (-(-5000 // 32), rounds) == (157, 168)


async def test_a_slow_start_counts_concurrent_requests_only() -> None:
    simulation = Simulation(Unlimited(), 0.2)
    for _ in range(100):
        await simulation.request()
    await simulation.request_many(20)
    assert Counter(simulation.sent[100:])[simulation.sent[100]] == 2


async def test_a_limit_that_is_lifted_is_forgotten_in_three_and_a_half_minutes() -> None:
    limiter = Bucket(5, 5)
    simulation = Simulation(limiter, 0.02)
    await simulation.request_for(10)
    limiter.rate = limiter.burst = float("inf")
    limiter.admit = Unlimited().admit  # type: ignore[method-assign] - the limit is lifted
    with anyio.fail_after(210):
        while simulation.rate_limiter.current_limit().rate is not None:
            await simulation.request_for(1)
    assert len(simulation.refused) <= 3


@pytest.mark.parametrize("factor", [1.4, 10.0])
async def test_a_limit_that_is_raised_is_used(factor: float) -> None:
    limiter = Bucket(5, 5)
    simulation = Simulation(limiter, 0.02)
    await simulation.request_for(30)
    limiter.rate, limiter.burst = factor * limiter.rate, factor * limiter.burst
    await simulation.request_for(240)
    so_far = len(simulation.accepted)
    await simulation.request_for(100)
    assert len(simulation.accepted) - so_far >= 0.85 * 100 * limiter.rate


@pytest.mark.parametrize("kind", ["a bucket of 5", "a bucket of 10", "a fixed window", "a sliding window"])
async def test_a_lowered_limit_is_found_again(kind: str) -> None:
    limiter = KINDS[kind]()
    simulation = Simulation(limiter, 0.02)
    await simulation.request_for(60)
    met = len(simulation.refused)
    limiter.rate = 2
    await simulation.request_for(20)
    so_far = len(simulation.accepted)
    await simulation.request_for(80)
    assert len(simulation.refused) - met <= 6
    assert len(simulation.accepted) - so_far >= 0.75 * 80 * limiter.rate


async def test_a_constant_limit_is_exceeded_ever_more_rarely() -> None:
    simulation = Simulation(Bucket(5, 10), 0.02)
    await simulation.request_for(3600)
    assert len(simulation.accepted) >= 0.9 * 5 * 3600
    assert len(simulation.refused) <= 20
    assert sum(time > 1800 for time in simulation.refused) <= len(simulation.refused) / 3


async def test_an_unused_limit_is_forgotten() -> None:
    simulation = Simulation(Bucket(5, 5), 0.0)
    await simulation.request_many(20)
    assert simulation.rate_limiter.current_limit().rate is not None
    await anyio.sleep(FORGET_SECONDS)
    await simulation.request()
    assert simulation.rate_limiter.current_limit() == RateLimit()


async def test_few_requests_do_not_raise_the_rate() -> None:
    simulation = Simulation(Bucket(5, 5), 0.0)
    await simulation.request_many(20)
    for _ in range(850):
        await anyio.sleep(1)
        await simulation.request()
    assert anyio.current_time() < FORGET_SECONDS
    rate = simulation.rate_limiter.current_limit().rate
    assert rate is not None
    assert rate <= 5


# -- those that wait -----------------------------------------------------------------------------------------------------


async def slowed() -> Simulation:
    """A simulation whose rate_limiter has met a limit of 5/s and whose rest is over."""
    simulation = Simulation(Bucket(5, 5), 0.0)
    await simulation.request_many(10)
    simulation.sent.clear()
    simulation.sent_on.clear()
    return simulation


async def test_lanes_alternate_while_both_wait() -> None:
    simulation = await slowed()
    async with anyio.create_task_group() as group:
        group.start_soon(simulation.request_many, 10, 10, "bulk")
        await anyio.wait_all_tasks_blocked()
        group.start_soon(simulation.request_many, 4, 4, "poll")
    first_poll = simulation.sent_on.index("poll")
    assert first_poll <= 1
    assert simulation.sent_on[first_poll:] == ["poll", "bulk"] * 4 + ["bulk"] * (14 - 8 - first_poll)


async def test_a_lane_is_first_in_first_out() -> None:
    simulation = await slowed()
    order: list[int] = []

    async def come(number: int) -> None:
        async with simulation.rate_limiter.permit("bulk") as permit:
            order.append(number)
            permit.accepted()

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(come, number)
            await anyio.wait_all_tasks_blocked()
    assert order == list(range(12))


@pytest.mark.parametrize("seed", range(20))
async def test_a_cancelled_waiter_hands_its_permit_on_and_leaks_nothing(seed: int) -> None:
    draw = random.Random(seed)
    limiter = draw.choice([Bucket(5, 5), FixedWindow(3, 0.3), SlidingWindow(50), Unlimited()])
    simulation = Simulation(limiter, draw.choice([0.0, 0.02, 0.2]), draw.choice(list(HINTS.values())))
    most_at_first = 0
    patient_done = 0

    async def watch() -> None:
        nonlocal most_at_first
        while not simulation.refused and len(simulation.accepted) < 10:
            most_at_first = max(most_at_first, simulation.rate_limiter.in_flight)
            await anyio.sleep(0.001)

    async def impatient(lane: Lane) -> None:
        await anyio.sleep(draw.uniform(0, 10))
        with anyio.move_on_after(draw.choice([0.0, 0.001, 0.2, 1.0]) * draw.uniform(0.5, 1.5)):
            await simulation.request(lane)

    async def patient(lane: Lane) -> None:
        nonlocal patient_done
        await anyio.sleep(draw.uniform(0, 10))
        await simulation.request(lane)
        patient_done += 1

    async def broken(lane: Lane) -> None:
        await anyio.sleep(draw.uniform(0, 10))
        with pytest.raises(OSError, match="reset"):
            async with simulation.rate_limiter.permit(lane):
                raise OSError("reset")

    with anyio.fail_after(600):
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            for number in range(150):
                lane: Lane = draw.choice(["poll", "bulk"])
                group.start_soon([impatient, patient, broken][number % 3], lane)
    assert patient_done == 50
    assert most_at_first <= 2
    assert simulation.rate_limiter.in_flight == 0
    with anyio.fail_after(120):
        await simulation.request()


async def test_one_request_at_a_time_is_sent_until_one_is_accepted() -> None:
    simulation = await slowed()
    async with simulation.rate_limiter.permit("bulk") as permit:
        permit.refused(2.0)
    async with anyio.create_task_group() as group, simulation.rate_limiter.permit("bulk") as permit:
        group.start_soon(simulation.request_many, 5)
        await anyio.sleep(30)
        assert simulation.rate_limiter.in_flight == 1
        permit.accepted()
        await anyio.sleep(0.5)
        assert len(simulation.sent) > 0


async def test_a_failed_trial_request_lets_the_next_one_try() -> None:
    simulation = await slowed()
    async with simulation.rate_limiter.permit("bulk") as permit:
        permit.refused(2.0)
    with pytest.raises(OSError, match="reset"):
        async with simulation.rate_limiter.permit("bulk"):
            raise OSError("reset")
    with anyio.fail_after(1):
        await simulation.request()


async def test_a_permit_granted_during_cancellation_goes_to_the_next_waiter() -> None:
    simulation = await slowed()
    async with simulation.rate_limiter.permit("bulk") as permit:
        permit.refused(2.0)
    scope = anyio.CancelScope()

    async def cancelled() -> None:
        with scope:
            async with simulation.rate_limiter.permit("bulk"):
                raise AssertionError("it went")

    async with anyio.create_task_group() as group, simulation.rate_limiter.permit("bulk") as permit:
        group.start_soon(cancelled)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(simulation.request)
        await anyio.sleep(10)
        permit.accepted()
        scope.cancel()
        ended = anyio.current_time()
    assert simulation.sent == [ended]
    assert simulation.rate_limiter.in_flight == 0


async def test_waiters_go_on_when_the_first_is_cancelled() -> None:
    simulation = await slowed()
    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await simulation.request()

        group.start_soon(cancelled)
        await anyio.wait_all_tasks_blocked()
        when = simulation.rate_limiter.earliest_start("bulk")
        group.start_soon(simulation.request)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
    assert len(simulation.sent) == 1
    assert simulation.sent[0] <= when


async def test_the_first_reported_outcome_counts() -> None:
    rate_limiter = RateLimiter()
    async with rate_limiter.permit("bulk") as permit:
        permit.accepted()
        permit.refused(9.0)
        assert rate_limiter.in_flight == 0
    permit.refused(9.0)
    assert rate_limiter.current_limit() == RateLimit()


# -- the view ------------------------------------------------------------------------------------------------------------


async def test_the_earliest_start_of_a_request_is_known() -> None:
    simulation = Simulation(Bucket(5, 5), 0.0)
    rate_limiter = simulation.rate_limiter
    assert rate_limiter.earliest_start("bulk") == anyio.current_time()
    await simulation.request_many(5)
    async with rate_limiter.permit("bulk") as permit:
        permit.refused(4.0)
    assert rate_limiter.earliest_start("bulk") == anyio.current_time() + 4
    limit = rate_limiter.current_limit()
    assert limit.paused_until == anyio.current_time() + 4
    assert limit.rate is not None
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(simulation.request)
        await anyio.wait_all_tasks_blocked()
        assert rate_limiter.earliest_start("bulk") == pytest.approx(anyio.current_time() + 4 + 10 / limit.rate)
        assert rate_limiter.earliest_start("poll") == pytest.approx(anyio.current_time() + 4)
        group.cancel_scope.cancel()
    assert rate_limiter.earliest_start("bulk") == anyio.current_time() + 4
