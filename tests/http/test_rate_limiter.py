"""How fast a connection asks: against limiters of every kind, in virtual time, and what becomes of those that wait."""

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
from sfjobs._http.rate_limiter import FIRST_REST, FORGET, LONGEST_REST, RateLimit, RateLimiter, RateModel
from sfjobs._http.retry import LONGEST_HINT
from tests.support.limiters import HINTS, Bucket, FixedWindow, Hint, Limiter, SlidingWindow, Unlimited


@dataclass
class World:
    """A program with a governor, and a platform with a limiter half a round trip away."""

    limiter: Limiter
    round_trip: float = 0.0
    hint: Hint = HINTS["rounded up"]
    jitter: Callable[[], float] = lambda: 1.0
    governor: RateLimiter = field(default_factory=RateLimiter)
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    sent_on: list[Lane] = field(default_factory=list)

    async def ask(self, lane: Lane = "bulk") -> None:
        """Until it is let through."""
        while not await self.try_once(lane):
            pass

    async def try_once(self, lane: Lane = "bulk") -> bool:
        async with self.governor.turn(lane) as turn:
            self.sent.append(anyio.current_time())
            self.sent_on.append(lane)
            await anyio.sleep(self.jitter() * self.round_trip / 2)
            now = anyio.current_time()
            wait = self.limiter.take(now)
            await anyio.sleep(self.jitter() * self.round_trip / 2)
            if wait is None:
                self.accepted.append(now)
                turn.accepted()
                return True
            self.refused.append(now)
            turn.refused(self.hint(wait, now))
            return False

    async def ask_often(self, times: int, width: int = 32, lane: Lane = "bulk") -> None:
        left = times

        async def work() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await self.ask(lane)

        async with anyio.create_task_group() as group:
            for _ in range(width):
                group.start_soon(work)

    async def ask_during(self, seconds: float, width: int = 32) -> None:
        with anyio.move_on_after(seconds):
            await self.ask_often(10**9, width)

    async def submit_poll_and_fetch(self, jobs: int) -> float:
        """Submissions and results 32 at a time, and polls beside them. The share of the limit that was used."""
        start = anyio.current_time()

        async def poll() -> None:
            while True:
                await self.ask("poll")
                await anyio.sleep(0.5)

        async with anyio.create_task_group() as group:
            group.start_soon(poll)
            await self.ask_often(jobs)
            await self.ask_often(jobs)
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
async def test_a_limit_is_used_and_hardly_ever_met(kind: str, round_trip: float, hint: str) -> None:
    world = World(KINDS[kind](), round_trip, HINTS[hint])
    use = await world.submit_poll_and_fetch(200)
    assert len(world.refused) <= 3
    assert use >= 0.9


@pytest.mark.parametrize("phase", range(20))
async def test_a_fixed_window_may_have_begun_at_any_time(phase: int) -> None:
    world = World(FixedWindow(5, (phase + 0.5) / 20), 0.2)
    assert await world.submit_poll_and_fetch(200) >= 0.9
    assert len(world.refused) <= 3


async def test_a_quick_burst_over_the_edge_of_two_windows_is_taken_for_a_bucket() -> None:
    """Nothing tells the two from each other without one more 429, so the careful rate is kept."""
    world = World(FixedWindow(5, 0.04), 0.02)
    assert await world.submit_poll_and_fetch(200) >= 0.75
    assert len(world.refused) <= 3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["a bucket of 5", "a bucket of 10", "a fixed window"])
async def test_an_uneven_network_spoils_little(kind: str, seed: int) -> None:
    world = World(KINDS[kind](), 0.2, jitter=partial(random.Random(seed).uniform, 0.7, 1.3))
    assert await world.submit_poll_and_fetch(200) >= 0.85
    assert len(world.refused) <= 5


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
    world = World(limiter(), 0.02)
    assert await world.submit_poll_and_fetch(jobs) >= 0.85
    assert len(world.refused) <= most_refused


async def test_a_limit_per_minute_is_found_without_hints() -> None:
    class Minute(FixedWindow):
        def take(self, now: float) -> float | None:
            wait = super().take(now / 60)
            return None if wait is None else 60 * wait

    world = World(Minute(60), 0.02, HINTS["none"])
    await world.ask_during(600)
    assert len(world.accepted) >= 500
    assert len(world.refused) <= 40


# -- what a 429 does -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1, 7, 59])
async def test_nobody_goes_before_the_hint_has_passed(seconds: int) -> None:
    world = World(Bucket(5, 5), 0.02, lambda wait, now: float(seconds))
    await world.ask_often(8)
    last = max(time for time in world.refused if time < world.refused[0] + 0.5) + world.round_trip / 2
    assert min(time for time in world.sent if time > last) == pytest.approx(last + seconds)


async def test_a_hint_of_hours_is_cut() -> None:
    world = World(Bucket(5, 5), 0.0, lambda wait, now: 7200.0)
    await world.ask_often(8)
    assert world.accepted[5] == pytest.approx(LONGEST_HINT)


async def test_rests_without_a_hint_grow_and_one_goes_first_after_each() -> None:
    class Away:
        rate = 1.0

        def take(self, now: float) -> float | None:
            return 1.0 if now < 100 else None

    world = World(Away(), 0.0, HINTS["none"])
    await world.ask_often(40)
    rests = [FIRST_REST * 2**number for number in range(5)]
    assert gaps(world.refused[1:]) == pytest.approx([*rests, LONGEST_REST, LONGEST_REST][: len(world.refused) - 2])
    assert world.accepted[0] > 100


async def test_what_was_under_way_is_refused_by_the_same_setback() -> None:
    alone, crowd = RateModel(), RateModel()
    for tempo, refused in ((alone, 1), (crowd, 30)):
        for _ in range(9):
            tempo.accept(10.0, 0, 1)
        for _ in range(refused):
            tempo.refuse(11.0, 0, 3.0)
    assert (crowd.rate, crowd.resume_at) == (alone.rate, 14.0)
    assert alone.rate is not None


async def test_what_was_under_way_and_accepted_counts_for_the_limit_that_was_met() -> None:
    early, late = RateModel(), RateModel()
    for tempo, late_ones in ((early, 0), (late, 4)):
        for _ in range(12 - late_ones):
            tempo.accept(10.0, 0, 1)
        tempo.refuse(10.0, 0, 1.0)
        for _ in range(late_ones):
            tempo.accept(10.0, 0, 1)
    assert late.rate == pytest.approx(early.rate)


async def test_what_follows_a_rest_is_no_burst() -> None:
    world = World(Bucket(5, 10), 0.02)
    await world.ask_often(40)
    later = [time for time in world.sent if time > world.refused[0] + 0.5]
    assert min(gaps(later)) > 0.09  # not ten a second, although twenty wait


async def test_a_503_with_a_hint_stops_everyone_and_says_nothing_of_a_rate() -> None:
    governor = RateLimiter()
    async with governor.turn("bulk") as turn:
        turn.unavailable(7.0)
    assert governor.outlook() == RateLimit(rate=None, paused_until=anyio.current_time() + 7)
    started = anyio.current_time()
    async with governor.turn("poll") as turn:
        assert anyio.current_time() == pytest.approx(started + 7)
        turn.accepted()
    assert governor.outlook() == RateLimit()


async def test_a_503_without_a_hint_is_one_requests_own() -> None:
    governor = RateLimiter()
    async with governor.turn("bulk") as turn:
        turn.unavailable(None)
    assert governor.outlook() == RateLimit()


async def test_a_quota_of_jobs_slows_nothing() -> None:
    governor = RateLimiter()
    for _ in range(50):
        async with governor.turn("bulk") as turn:
            turn.refused(30.0, is_quota=True)
    assert governor.outlook() == RateLimit()


# -- without a limit, and when it changes --------------------------------------------------------------------------------


async def test_a_platform_without_a_limit_costs_a_slow_start() -> None:
    world = World(Unlimited(), 0.02)
    await world.ask_often(5000)
    rounds = round(anyio.current_time() / world.round_trip)
    assert (-(-5000 // 32), rounds) == (157, 168)


async def test_a_slow_start_counts_answers_of_crowds_only() -> None:
    world = World(Unlimited(), 0.2)
    for _ in range(100):
        await world.ask()
    await world.ask_often(20)
    assert Counter(world.sent[100:])[world.sent[100]] == 2


async def test_a_limit_that_is_lifted_is_forgotten_in_three_and_a_half_minutes() -> None:
    limiter = Bucket(5, 5)
    world = World(limiter, 0.02)
    await world.ask_during(10)
    limiter.rate = limiter.burst = float("inf")
    limiter.take = Unlimited().take  # type: ignore[method-assign] - the limit is lifted
    with anyio.fail_after(210):
        while world.governor.outlook().rate is not None:
            await world.ask_during(1)
    assert len(world.refused) <= 3


@pytest.mark.parametrize("factor", [1.4, 10.0])
async def test_a_limit_that_is_raised_is_used(factor: float) -> None:
    limiter = Bucket(5, 5)
    world = World(limiter, 0.02)
    await world.ask_during(30)
    limiter.rate, limiter.burst = factor * limiter.rate, factor * limiter.burst
    await world.ask_during(240)
    so_far = len(world.accepted)
    await world.ask_during(100)
    assert len(world.accepted) - so_far >= 0.85 * 100 * limiter.rate


@pytest.mark.parametrize("kind", ["a bucket of 5", "a bucket of 10", "a fixed window", "a sliding window"])
async def test_a_limit_that_is_lowered_is_found_again(kind: str) -> None:
    limiter = KINDS[kind]()
    world = World(limiter, 0.02)
    await world.ask_during(60)
    met = len(world.refused)
    limiter.rate = 2
    await world.ask_during(20)
    so_far = len(world.accepted)
    await world.ask_during(80)
    assert len(world.refused) - met <= 6
    assert len(world.accepted) - so_far >= 0.75 * 80 * limiter.rate


async def test_a_limit_that_stays_is_met_ever_more_rarely() -> None:
    world = World(Bucket(5, 10), 0.02)
    await world.ask_during(3600)
    assert len(world.accepted) >= 0.9 * 5 * 3600
    assert len(world.refused) <= 20
    assert sum(time > 1800 for time in world.refused) <= len(world.refused) / 3


async def test_a_limit_that_nobody_touches_is_forgotten() -> None:
    world = World(Bucket(5, 5), 0.0)
    await world.ask_often(20)
    assert world.governor.outlook().rate is not None
    await anyio.sleep(FORGET)
    await world.ask()
    assert world.governor.outlook() == RateLimit()


async def test_little_use_proves_nothing() -> None:
    world = World(Bucket(5, 5), 0.0)
    await world.ask_often(20)
    for _ in range(850):
        await anyio.sleep(1)
        await world.ask()
    assert anyio.current_time() < FORGET
    rate = world.governor.outlook().rate
    assert rate is not None
    assert rate <= 5


# -- those that wait -----------------------------------------------------------------------------------------------------


async def slowed() -> World:
    """A world whose governor has met a limit of 5/s and whose rest is over."""
    world = World(Bucket(5, 5), 0.0)
    await world.ask_often(10)
    world.sent.clear()
    world.sent_on.clear()
    return world


async def test_lanes_alternate_where_both_wait() -> None:
    world = await slowed()
    async with anyio.create_task_group() as group:
        group.start_soon(world.ask_often, 10, 10, "bulk")
        await anyio.wait_all_tasks_blocked()
        group.start_soon(world.ask_often, 4, 4, "poll")
    first_poll = world.sent_on.index("poll")
    assert first_poll <= 1
    assert world.sent_on[first_poll:] == ["poll", "bulk"] * 4 + ["bulk"] * (14 - 8 - first_poll)


async def test_a_lane_is_served_in_the_order_of_coming() -> None:
    world = await slowed()
    order: list[int] = []

    async def come(number: int) -> None:
        async with world.governor.turn("bulk") as turn:
            order.append(number)
            turn.accepted()

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(come, number)
            await anyio.wait_all_tasks_blocked()
    assert order == list(range(12))


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_is_cancelled_hands_on_and_leaks_nothing(seed: int) -> None:
    draw = random.Random(seed)
    limiter = draw.choice([Bucket(5, 5), FixedWindow(3, 0.3), SlidingWindow(50), Unlimited()])
    world = World(limiter, draw.choice([0.0, 0.02, 0.2]), draw.choice(list(HINTS.values())))
    most_at_first = 0
    patient_done = 0

    async def watch() -> None:
        nonlocal most_at_first
        while not world.refused and len(world.accepted) < 10:
            most_at_first = max(most_at_first, world.governor.under_way)
            await anyio.sleep(0.001)

    async def impatient(lane: Lane) -> None:
        await anyio.sleep(draw.uniform(0, 10))
        with anyio.move_on_after(draw.choice([0.0, 0.001, 0.2, 1.0]) * draw.uniform(0.5, 1.5)):
            await world.ask(lane)

    async def patient(lane: Lane) -> None:
        nonlocal patient_done
        await anyio.sleep(draw.uniform(0, 10))
        await world.ask(lane)
        patient_done += 1

    async def broken(lane: Lane) -> None:
        await anyio.sleep(draw.uniform(0, 10))
        with pytest.raises(OSError, match="reset"):
            async with world.governor.turn(lane):
                raise OSError("reset")

    with anyio.fail_after(600):
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            for number in range(150):
                lane: Lane = draw.choice(["poll", "bulk"])
                group.start_soon([impatient, patient, broken][number % 3], lane)
    assert patient_done == 50
    assert most_at_first <= 2
    assert world.governor.under_way == 0
    with anyio.fail_after(120):
        await world.ask()


async def test_one_at_a_time_goes_until_one_has_been_accepted() -> None:
    world = await slowed()
    async with world.governor.turn("bulk") as turn:
        turn.refused(2.0)
    async with anyio.create_task_group() as group, world.governor.turn("bulk") as turn:
        group.start_soon(world.ask_often, 5)
        await anyio.sleep(30)
        assert world.governor.under_way == 1
        turn.accepted()
        await anyio.sleep(0.5)
        assert len(world.sent) > 0


async def test_one_that_fails_while_it_tries_lets_the_next_one_try() -> None:
    world = await slowed()
    async with world.governor.turn("bulk") as turn:
        turn.refused(2.0)
    with pytest.raises(OSError, match="reset"):
        async with world.governor.turn("bulk"):
            raise OSError("reset")
    with anyio.fail_after(1):
        await world.ask()


async def test_a_turn_that_comes_with_the_cancellation_goes_to_the_next() -> None:
    world = await slowed()
    async with world.governor.turn("bulk") as turn:
        turn.refused(2.0)
    scope = anyio.CancelScope()

    async def cancelled() -> None:
        with scope:
            async with world.governor.turn("bulk"):
                raise AssertionError("it went")

    async with anyio.create_task_group() as group, world.governor.turn("bulk") as turn:
        group.start_soon(cancelled)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(world.ask)
        await anyio.sleep(10)
        turn.accepted()
        scope.cancel()
        ended = anyio.current_time()
    assert world.sent == [ended]
    assert world.governor.under_way == 0


async def test_those_that_wait_go_on_when_the_first_of_them_is_cancelled() -> None:
    world = await slowed()
    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await world.ask()

        group.start_soon(cancelled)
        await anyio.wait_all_tasks_blocked()
        when = world.governor.due("bulk")
        group.start_soon(world.ask)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
    assert len(world.sent) == 1
    assert world.sent[0] <= when


async def test_what_is_said_first_counts() -> None:
    governor = RateLimiter()
    async with governor.turn("bulk") as turn:
        turn.accepted()
        turn.refused(9.0)
        assert governor.under_way == 0
    turn.refused(9.0)
    assert governor.outlook() == RateLimit()


# -- the view ------------------------------------------------------------------------------------------------------------


async def test_it_says_when_a_request_would_go() -> None:
    world = World(Bucket(5, 5), 0.0)
    governor = world.governor
    assert governor.due("bulk") == anyio.current_time()
    await world.ask_often(5)
    async with governor.turn("bulk") as turn:
        turn.refused(4.0)
    assert governor.due("bulk") == anyio.current_time() + 4
    outlook = governor.outlook()
    assert outlook.paused_until == anyio.current_time() + 4
    assert outlook.rate is not None
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(world.ask)
        await anyio.wait_all_tasks_blocked()
        assert governor.due("bulk") == pytest.approx(anyio.current_time() + 4 + 10 / outlook.rate)
        assert governor.due("poll") == pytest.approx(anyio.current_time() + 4)
        group.cancel_scope.cancel()
    assert governor.due("bulk") == anyio.current_time() + 4
