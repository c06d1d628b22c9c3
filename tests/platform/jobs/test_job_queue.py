"""
Fair shares, priorities, running limits and pauses: single cases, and days of a lab in virtual time. A day has its own clock and
its own books; of the code under test it uses only ``JobQueue``.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfjobs.platform.jobs.fair_share import FairShare
from sfjobs.platform.jobs.job_queue import JobQueue
from sfjobs.platform.records import QueuedJob

DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def queue_of(*jobs: QueuedJob, paused: tuple[str, ...] = (), running_limit: int | None = None) -> JobQueue:
    queue = JobQueue(FairShare(Clock()), lambda target: target not in paused, running_limit=running_limit)
    for job in jobs:
        queue.add(job)
    return queue


def job(sequence: int, account: str = "a", target: str = "t", priority: int = 0) -> QueuedJob:
    return QueuedJob(sequence, f"job-{sequence}", account, target, priority)


def all_started(queue: JobQueue) -> list[int]:
    started = []
    while (next_job := queue.start_next()) is not None:
        started.append(next_job.sequence)
    return started


def test_one_account_is_served_in_order() -> None:
    queue = queue_of(*[job(number) for number in (3, 1, 2)])
    assert [queue.position(number) for number in (1, 2, 3, 4)] == [1, 2, 3, None]
    assert all_started(queue) == [1, 2, 3]


def test_a_higher_priority_goes_first_within_its_account() -> None:
    queue = queue_of(job(1), job(2, priority=-5), job(3, priority=100), job(4, priority=7), job(5, priority=7))
    assert [queue.position(number) for number in (3, 4, 5, 1, 2)] == [1, 2, 3, 4, 5]
    assert all_started(queue) == [3, 4, 5, 1, 2]


def test_a_priority_takes_nothing_from_other_accounts() -> None:
    queue = queue_of(job(1, "a"), job(2, "b", priority=100), job(3, "b", priority=100))
    assert all_started(queue) == [1, 2, 3]


def test_accounts_with_the_same_use_take_turns_although_all_slots_are_free_at_once() -> None:
    queue = queue_of(*[job(number, "a") for number in range(1, 9)], *[job(number, "b") for number in range(9, 17)])
    assert [queue.position(number) for number in (1, 2, 9, 10)] == [1, 3, 1, 3]
    started = all_started(queue)
    for place in range(0, 16, 2):
        assert {number > 8 for number in started[place : place + 2]} == {True, False}


def test_an_account_has_no_more_slots_than_the_running_limit() -> None:
    clock = Clock()
    share = FairShare(clock)
    queue = JobQueue(share, lambda _: True, running_limit=2)
    for number in range(1, 6):
        queue.add(job(number, "a"))
    queue.add(job(6, "b"))
    assert sorted(all_started(queue)) == [1, 2, 6]
    share.end("a", "job-1")
    assert all_started(queue) == [3]


def test_a_paused_target_holds_up_no_other() -> None:
    paused = {"x"}
    queue = JobQueue(FairShare(Clock()), lambda target: target not in paused)
    for number, target in enumerate("xyxy", start=1):
        queue.add(job(number, "a", target))
    assert [queue.position(number) for number in (1, 2, 3, 4)] == [1, 1, 2, 2]
    assert all_started(queue) == [2, 4]
    paused.clear()
    assert all_started(queue) == [1, 3]


def test_a_removed_job_does_not_start() -> None:
    queue = queue_of(*[job(number) for number in range(1, 8)])
    assert [queue.remove(number) for number in (1, 4, 7, 7)] == [job(1), job(4), job(7), None]
    assert all_started(queue) == [2, 3, 5, 6]
    assert len(queue) == 0


def test_a_newcomer_behind_ten_thousand_jobs_is_next() -> None:
    clock = Clock()
    share = FairShare(clock)
    queue = JobQueue(share, lambda _: True)
    for number in range(1, 10_001):
        queue.add(job(number, "many"))
    for _ in range(50):
        running = queue.start_next()
        assert running is not None
        clock.now += 0.02
        share.end("many", running.id)
    queue.add(job(20_000, "newcomer"))
    assert queue.position(20_000) == 1
    started = queue.start_next()
    assert started is not None
    assert started.account == "newcomer"


def test_use_decays_by_half_in_a_half_life_and_what_runs_counts() -> None:
    clock = Clock()
    share = FairShare(clock, half_life=100.0, uses={"a": 8.0})
    clock.now = 100.0
    assert share.use("a") == pytest.approx(4.0)
    share.start("a", "j", "t")
    clock.now = 100.001
    assert share.use("a") == pytest.approx(4.0 + 1.0, rel=0.01)  # a first job is expected to take a second
    clock.now = 1e6
    limit = 100.0 / 0.693147  # of one slot that is always used
    assert share.use("a") == pytest.approx(limit, rel=1e-3)
    assert share.end("a", "j") == pytest.approx(limit, rel=1e-3)


def test_what_was_the_platforms_fault_is_not_charged() -> None:
    clock = Clock()
    share = FairShare(clock)
    share.start("a", "j", "t")
    clock.now = 50.0
    assert share.end("a", "j", is_charged=False) == 0.0
    assert share.count_running("a") == 0


# -- days ----------------------------------------------------------------------------------------------------------------


@dataclass
class Day:
    """A day of a lab: jobs come, take a slot, and end. ``pauses`` has spans for targets. Every step ``is_checked``, or none."""

    slots: int
    running_limit: int | None = None
    pauses: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    is_checked: bool = False
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.share = FairShare(self.clock)
        self.queue = JobQueue(self.share, self.runs, running_limit=self.running_limit)
        self.events: list[tuple[float, int, str, QueuedJob | None]] = []
        self.numbers = count()
        self.seconds: dict[int, float] = {}  # how long each job takes
        self.submitted: dict[int, float] = {}
        self.started: dict[int, float] = {}
        self.waiting: dict[str, dict[int, QueuedJob]] = defaultdict(dict)
        self.running: Counter[str] = Counter()
        self.used: Counter[str] = Counter()
        for spans in self.pauses.values():
            for begin, end in spans:
                self.at(begin, "tick")
                self.at(end, "tick")

    def runs(self, target: str) -> bool:
        return not any(begin <= self.clock.now < end for begin, end in self.pauses.get(target, ()))

    def at(self, time: float, what: str, job: QueuedJob | None = None) -> None:
        heapq.heappush(self.events, (time, next(self.numbers), what, job))

    def submit(self, time: float, account: str, seconds: float, target: str = "t", priority: int = 0) -> int:
        sequence = len(self.seconds) + 1
        self.seconds[sequence] = seconds
        self.submitted[sequence] = time
        self.at(time, "submit", QueuedJob(sequence, f"job-{sequence}", account, target, priority))
        return sequence

    def play(self, until: float = DAY) -> None:
        while self.events and self.events[0][0] <= until:
            self.clock.now, _, what, job = heapq.heappop(self.events)
            if what == "submit" and job is not None:
                self.queue.add(job)
                self.waiting[job.account][job.sequence] = job
            elif what == "end" and job is not None:
                self.share.end(job.account, job.id)
                self.running[job.account] -= 1
                self.used[job.account] += self.seconds[job.sequence]
            while sum(self.running.values()) < self.slots and (started := self.queue.start_next()) is not None:
                self.start(started)
            if self.is_checked:
                self.check_that_no_slot_is_idle()

    def start(self, job: QueuedJob) -> None:
        if self.is_checked:
            self.check_that_it_is_next(job)
        del self.waiting[job.account][job.sequence]
        self.started[job.sequence] = self.clock.now
        self.running[job.account] += 1
        self.at(self.clock.now + self.seconds[job.sequence], "end", job)

    def check_that_it_is_next(self, job: QueuedJob) -> None:
        assert self.runs(job.target)
        assert job.sequence not in self.started
        assert self.running_limit is None or self.running[job.account] < self.running_limit
        may_start = [other for other in self.waiting[job.account].values() if self.runs(other.target)]
        assert job == min(may_start, key=lambda other: (-other.priority, other.sequence))

    def check_that_no_slot_is_idle(self) -> None:
        if sum(self.running.values()) == self.slots:
            return
        for account, jobs in self.waiting.items():
            if self.running_limit is None or self.running[account] < self.running_limit:
                assert not any(self.runs(job.target) for job in jobs.values())


LENGTHS = st.sampled_from([0.05, 1.0, 20.0, 300.0])


@settings(max_examples=25, deadline=None)
@given(
    slots=st.integers(1, 5),
    running_limit=st.none() | st.integers(1, 3),
    jobs=st.lists(
        st.tuples(st.floats(0, 3000), st.sampled_from("abcd"), LENGTHS, st.sampled_from("xyz"), st.integers(-100, 100)),
        max_size=150,
    ),
    pauses=st.dictionaries(
        st.sampled_from("xy"), st.lists(st.tuples(st.floats(0, 3000), st.floats(3000, 9000)), max_size=2)
    ),
)
def test_whatever_comes_every_job_starts_once_in_order_and_nothing_on_a_paused_target(
    slots: int,
    running_limit: int | None,
    jobs: list[tuple[float, str, float, str, int]],
    pauses: dict[str, list[tuple[float, float]]],
) -> None:
    day = Day(slots, running_limit, pauses, is_checked=True)
    for job in jobs:
        day.submit(*job)
    day.play()
    assert day.started.keys() == day.seconds.keys()
    assert len(day.queue) == 0


@settings(max_examples=5, deadline=None)
@given(slots=st.integers(1, 4), lengths=st.lists(LENGTHS, min_size=2, max_size=4), seed=st.integers(0, 1 << 20))
def test_accounts_that_always_have_jobs_get_equal_shares_of_a_day(slots: int, lengths: list[float], seed: int) -> None:
    """Each account has jobs of its own length. A job's length is the only unfairness: shares are within 5 % beyond it."""
    chance = random.Random(seed)
    day = Day(slots)
    span = DAY if min(lengths) > 1 else DAY / 12
    names = [f"account {number}" for number in range(len(lengths))]
    lengths = [max(length, 1.0) for length in lengths]
    for name, length in zip(names, lengths, strict=True):
        for _ in range(int(span * slots / len(lengths) / length * 1.5) + 2):
            day.submit(0.0, name, length * chance.uniform(0.5, 1.5))
    day.play(span)
    share = span * slots / len(names)
    assert sum(day.used.values()) == pytest.approx(span * slots, abs=500 * slots)
    for name in names:
        assert abs(day.used[name] - share) < 0.05 * share + slots * 1.5 * max(lengths)


@settings(max_examples=15, deadline=None)
@given(
    slots=st.integers(1, 4),
    crowd=st.integers(1, 5),
    when=st.floats(100, 5000),
    length=st.sampled_from([0.5, 5.0, 60.0]),
)
def test_a_newcomer_waits_for_one_slot_at_most(slots: int, crowd: int, when: float, length: float) -> None:
    day = Day(slots)
    for number in range(int(6000 * slots / length) + 1):
        day.submit(0.0, f"crowd {number % crowd}", length)
    mine = day.submit(when, "newcomer", length)
    day.play(when + 10 * length)
    assert day.started[mine] - when <= length + 1e-6


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1 << 20), slots=st.integers(2, 4))
def test_small_accounts_wait_no_longer_than_twice_what_they_would_alone_at_their_share(seed: int, slots: int) -> None:
    """Two accounts flood the platform with jobs of 10 s; three others send one of a second now and then."""
    chance = random.Random(seed)
    day = Day(slots)
    for number in range(2 * int(7200 * slots / 10)):
        day.submit(0.0, f"flood {number % 2}", 10.0)
    small = [day.submit(chance.uniform(600, 7000), f"small {number % 3}", 1.0) for number in range(60)]
    day.play(7200)
    waits = sorted(day.started[number] - day.submitted[number] for number in small)
    assert waits[-1] <= 2 * 10.0  # alone at its share, an account waits for the job before it, which has a slot at most
    assert waits[len(waits) // 2] <= 10.0
