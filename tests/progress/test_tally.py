"""The counts and estimates of the live line: when there is an estimate, how good it is, and that it does not jump."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heapreplace
from itertools import pairwise

import pytest

from sfjobs import JobOutlook, JobSnapshot, JobStatus
from sfjobs._progress.tally import Phase, Progress, Tally

EPOCH = datetime(2026, 1, 27, tzinfo=UTC)


def moment(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


@dataclass
class Handle:
    """A handle of a job that runs from ``starts`` to ``ends``, which a poll shows."""

    id: str
    starts: float = float("inf")
    ends: float = float("inf")
    outcome: str = "complete"
    asked_at: float | None = None
    has_result: bool = False
    trouble: str | None = None
    snapshot: JobSnapshot = field(init=False)

    def __post_init__(self) -> None:
        self.snapshot = JobSnapshot(id=self.id, status=JobStatus.OPEN)

    def why(self) -> JobOutlook:
        return JobOutlook(job_id=self.id, status=self.snapshot.status, last_error=self.trouble)

    def poll(self, now: float) -> None:
        self.asked_at = now
        has_started, has_ended = self.starts <= now, self.ends <= now
        self.snapshot = JobSnapshot(
            id=self.id,
            status=JobStatus(self.outcome if has_ended else "queued"),
            started_at=moment(self.starts) if has_started else None,
            finished_at=moment(self.ends) if has_ended else None,
            running_time=self.ends - self.starts if has_ended else None,
        )


def polled(status: str, *, started: bool = False, number: int = 0) -> Handle:
    """Return a handle with this status, polled at 0 s."""
    handle = Handle(f"{status} {started} {number}", asked_at=0.0)
    handle.snapshot = JobSnapshot(id=handle.id, status=JobStatus(status), started_at=moment(0) if started else None)
    return handle


def queue(jobs: int, workers: int, duration: Callable[[int], float], begin: float = 0.0) -> list[Handle]:
    """Return jobs that ``workers`` run from a queue one after another."""
    free, handles = [begin] * workers, []
    for number in range(jobs):
        start = free[0]
        handles.append(Handle(str(number), start, start + duration(number)))
        heapreplace(free, handles[-1].ends)
    return handles


def watched(
    handles: Sequence[Handle], until: float, *, every: Callable[[float], float] = lambda now: 0.5, step: float = 0.2
) -> Iterator[Progress]:
    """Yield the progress while all jobs are polled again and again, ``every(now)`` seconds apart."""
    tally = Tally(handles, 0.0)
    next_poll, now = 0.0, 0.0
    while now < until:
        if now >= next_poll:
            for handle in handles:
                if not handle.snapshot.status.is_final:
                    handle.poll(now)
            next_poll = now + every(now)
        yield tally.snapshot(now)
        now += step


def at(seen: Sequence[Progress], now: float) -> Progress:
    return next(progress for progress in seen if progress.elapsed >= now)


def growing(now: float) -> float:
    """The poller's interval: a tenth of the time so far, half a second to half a minute."""
    return min(max(0.1 * now, 0.5), 30.0)


# -- counts --------------------------------------------------------------------------------------------------------------


def test_jobs_are_counted_by_status() -> None:
    handles = [
        polled("open"),
        polled("queued"),
        polled("queued", started=True),
        polled("open", started=True),
        polled("cancel_pending"),
        polled("cancel_pending", started=True),
        polled("paused"),
        polled("paused", started=True),
        polled("complete"),
        polled("failed"),
        polled("failed", number=1),
        polled("cancelled"),
        Handle("not polled"),
    ]
    progress = Tally(handles, 0.0).snapshot(1.0)
    assert (progress.total, progress.ended) == (13, 4)
    assert (progress.complete, progress.failed, progress.cancelled) == (1, 2, 1)
    assert (progress.queued, progress.running, progress.cancelling, progress.unpolled) == (3, 3, 2, 1)


@pytest.mark.parametrize("polled_again", [False, True])
def test_no_job_is_lost_or_counted_twice(polled_again: bool) -> None:
    handles = queue(50, 5, lambda number: 1.0 + number % 3)
    for progress in watched(handles, 30.0, every=lambda now: 0.5 if polled_again else 100.0):
        parts = progress.ended + progress.queued + progress.running + progress.cancelling + progress.unpolled
        assert parts == progress.total == 50


def test_two_handles_for_one_job_are_one_job_that_has_ended_when_either_knows() -> None:
    ended, other = polled("complete"), polled("complete")
    other.snapshot = JobSnapshot(id=other.id, status=JobStatus.OPEN)
    assert [Tally(pair, 0.0).snapshot(0.0).ended for pair in ([ended, other], [other, ended])] == [1, 1]
    assert Tally([ended, other], 0.0).snapshot(0.0).total == 1


def test_results_are_counted_until_they_are_fetched() -> None:
    handles = [polled("complete", number=number) for number in range(3)]
    tally = Tally([*handles, polled("failed")], 0.0, fetches=True)
    before = tally.snapshot(0.0)
    handles[0].has_result = handles[1].has_result = True
    after = tally.snapshot(1.0)
    assert (before.fetching, after.fetching, after.phase) == (3, 1, Phase.FETCHING)


def test_without_fetches_no_results_are_counted() -> None:
    assert Tally([polled("complete")], 0.0).snapshot(0.0).phase == Phase.ENDED


# -- the rate ------------------------------------------------------------------------------------------------------------


def test_a_steady_rate_is_measured() -> None:
    seen = list(watched(queue(1000, 10, lambda _: 1.0), 30.0))
    assert at(seen, 20.0).rate == pytest.approx(10.0, rel=0.1)


def test_there_is_no_estimate_before_a_job_has_ended() -> None:
    seen = list(watched(queue(10, 1, lambda _: 60.0), 59.0))
    assert {(progress.rate, progress.left) for progress in seen} == {(None, None)}


def test_there_is_no_estimate_after_all_have_ended() -> None:
    last = [*watched(queue(100, 10, lambda _: 1.0), 15.0)][-1]
    assert (last.ended, last.rate, last.left) == (100, None, None)


def test_jobs_that_had_ended_before_make_no_rate() -> None:
    handles = queue(1000, 10, lambda _: 1.0, begin=-50.0)  # five hundred of them by now
    seen = list(watched(handles, 40.0))
    assert at(seen, 0.2).ended == 500
    assert max(progress.rate or 0.0 for progress in seen) < 12.0


def test_jobs_known_to_have_ended_before_make_no_rate_either() -> None:
    handles = queue(1000, 10, lambda _: 1.0, begin=-50.0)
    for handle in handles:
        handle.poll(-1.0)
    assert max(progress.rate or 0.0 for progress in watched(handles, 40.0)) < 12.0


def test_jobs_that_had_ended_before_show_how_long_the_others_take() -> None:
    handles = queue(40, 4, lambda _: 100.0, begin=-550.0)  # twenty ended, four in their middle
    progress = at(list(watched(handles, 10.0)), 5.0)
    assert progress.ended == 20
    assert progress.left == pytest.approx(445.0, rel=0.15)


def test_endings_seen_in_bursts_make_a_steady_rate() -> None:
    handles = queue(4000, 20, lambda _: 1.0)
    rates = [progress.rate for progress in watched(handles, 190.0, every=growing) if progress.elapsed > 20.0]
    assert all(rate == pytest.approx(20.0, rel=0.12) for rate in rates)


def test_a_time_in_the_queue_does_not_slow_the_rate_down() -> None:
    handles = queue(2000, 10, lambda _: 1.0, begin=100.0)
    seen = list(watched(handles, 160.0, every=growing))
    assert at(seen, 150.0).rate == pytest.approx(10.0, rel=0.25)


def test_the_rate_is_that_of_the_last_minute() -> None:
    handles = queue(3000, 20, lambda number: 1.0 if number < 1200 else 4.0)  # slower after a minute
    assert at(list(watched(handles, 140.0)), 130.0).rate == pytest.approx(5.0, rel=0.1)


def test_jobs_that_end_seldom_have_a_rate_without_start_times() -> None:
    handles = [Handle(str(number), ends=50.0 * number) for number in range(1, 20)]
    seen = at(list(watched(handles, 420.0)), 410.0)
    assert seen.rate == pytest.approx(0.02, rel=0.05)
    assert seen.left == pytest.approx(540.0, rel=0.1)


def test_the_rate_is_none_when_no_job_ends_any_more() -> None:
    handles = queue(1000, 10, lambda number: 1.0 if number < 300 else 10_000.0)
    seen = list(watched(handles, 120.0))
    assert at(seen, 25.0).rate is not None
    assert (seen[-1].rate, seen[-1].left) == (None, None)


def test_there_is_no_estimate_while_most_jobs_have_not_been_polled() -> None:
    handles = queue(1000, 10, lambda _: 1.0, begin=-50.0)
    tally = Tally(handles, 0.0)
    for step in range(8):
        for handle in (handle for number in range(step + 1) for handle in handles[number::10]):
            handle.poll(float(step))
        progress = tally.snapshot(float(step))
        assert (progress.rate, progress.left) == (None, None)


def test_jobs_polled_late_that_had_ended_before_make_no_rate() -> None:
    handles = queue(1000, 10, lambda _: 1.0, begin=-50.0)
    late, others = handles[:90], handles[90:]
    tally = Tally(handles, 0.0)
    for step in range(100):
        now = step / 5
        for handle in others if now < 5.0 else handles:
            handle.poll(now)
        assert (tally.snapshot(now).rate or 0.0) < 12.0
    assert all(handle.asked_at for handle in late)


@pytest.mark.parametrize("begin", [0.0, 110.0])
def test_responses_that_come_in_pieces_make_a_rate_that_is_not_far_off(begin: float) -> None:
    """Four seconds of responses, half a minute without, and so on."""
    handles = queue(6000, 20, lambda _: 1.0, begin=begin)
    tally, rates, first_rates = Tally(handles, 0.0), [], []
    for step in range(1200):
        now = step / 5
        if now % 30 < 4.0:
            for handle in handles[step % 20 :: 20]:
                handle.poll(now)
        rate = tally.snapshot(now).rate
        if rate is not None:
            (rates if now > begin + 60.0 else first_rates).append(rate)
    assert len(rates) > 250
    assert max(first_rates, default=0.0) < 40.0
    assert all(rate == pytest.approx(20.0, rel=0.55) for rate in rates)


# -- the time left -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [lambda now: 0.5, growing], ids=["often", "ever more seldom"])
def test_the_time_left_is_about_right(every: Callable[[float], float]) -> None:
    handles = queue(2000, 20, lambda number: 0.5 + number % 11 / 10)
    end = max(handle.ends for handle in handles)
    seen = list(watched(handles, end, every=every))
    for now in (10.0, 30.0, 60.0, 80.0):
        left = at(seen, now).left
        assert left is not None
        assert abs(left - (end - now)) < 0.12 * end


def test_the_time_left_counts_down_and_does_not_jump() -> None:
    handles = queue(2000, 20, lambda number: 0.5 if number % 400 < 200 else 1.5)
    ends = [
        progress.elapsed + progress.left
        for progress in watched(handles, 90.0, every=growing)
        if progress.left is not None and progress.elapsed > 10.0
    ]
    assert len(ends) > 300
    assert max(abs(later - earlier) for earlier, later in pairwise(ends)) < 1.0


@pytest.mark.parametrize("duration", [lambda number: 110.0 + number % 5 * 5, lambda number: 60.0 + number * 37 % 121])
def test_slow_jobs_do_not_shake_the_time_left(duration: Callable[[int], float]) -> None:
    handles = queue(50, 4, duration)
    end = max(handle.ends for handle in handles)
    errors = [
        abs(progress.left - (end - progress.elapsed)) / end
        for progress in watched(handles, end - 180.0, every=growing)
        if progress.left is not None and progress.elapsed > 250.0
    ]
    assert len(errors) > 1000
    assert max(errors) < 0.18


def test_slow_last_jobs_are_not_expected_in_the_next_second() -> None:
    handles = queue(500, 10, lambda number: 1.0 if number < 495 else 60.0)
    seen = list(watched(handles, 100.0, every=growing))
    assert {progress.left for progress in seen if progress.elapsed > 65.0} == {None}


def test_the_last_jobs_are_not_expected_before_the_next_poll() -> None:
    handles = queue(820, 20, lambda _: 1.0)  # the last twenty end in the second after the poll at 40 s
    seen = list(watched(handles, 49.0, every=lambda now: 10.0))
    assert at(seen, 41.0).ended == 800
    assert at(seen, 44.0).left == pytest.approx(6.0, abs=1.0)


# -- phases --------------------------------------------------------------------------------------------------------------


def test_the_phases_of_a_wait() -> None:
    handles = queue(10, 2, lambda _: 1.0, begin=2.0)
    phases = [progress.phase for progress in watched(handles, 10.0)]
    assert list(dict.fromkeys(phases)) == [Phase.QUEUED, Phase.RUNNING, Phase.ENDED]
