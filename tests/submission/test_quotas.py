"""``create_jobs`` on a platform with a quota of unfinished jobs, which the window does not know. In virtual time."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpx
import pytest

from sfjobs._submission.window import PROBE_SECONDS, Window
from tests.support.counter import Counter, circuits, circuits_of
from tests.support.fake_platform import FakePlatform, refusal

pytestmark = pytest.mark.submits("singly", "in batches")

Quota = Callable[[float], int]
"""The quota by the time since the start, less what other clients use of it."""


class Run:
    """One stream of programs: its duration in seconds, and the number of requests or items that were refused."""

    def __init__(
        self, platform: FakePlatform, counter: Counter, quota: Quota, retry_after: float | None = None
    ) -> None:
        self._platform, self._counter, self._quota = platform, counter, quota
        self._headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
        self.refused = 0
        counter.refuse = self._refuse
        counter.latency = 0.005

    def _refuse(self, _: str) -> httpx.Response | None:
        if self._counter.unfinished < self._quota(anyio.current_time() - self._start):
            return None
        self.refused += 1
        return refusal(429, "quota-exceeded", "the most unfinished jobs", **self._headers)

    async def seconds(self, programs: int, window: int, duration: float) -> float:
        self._counter.duration = lambda: duration
        self._platform.jobs.clear()
        self.refused, self._start = 0, anyio.current_time()
        async with self._platform.connection() as connection:
            stream = connection.create_jobs("simulon_gaussian", circuits(programs), window=window)
            items = [item async for item in stream]
        assert circuits_of(self._platform, items) == circuits(programs)
        return anyio.current_time() - self._start


@pytest.mark.parametrize(
    ("quota", "duration", "retry_after"),
    [
        (1, 0.02, None),
        (2, 4.0, 5.0),
        (7, 0.02, None),
        (7, 0.02, 5.0),
        (7, 4.0, 5.0),
        (100, 4.0, None),
        (10_000, 0.02, None),
    ],
)
async def test_a_quota_costs_hardly_more_than_a_window_that_is_as_wide(
    platform: FakePlatform, counter: Counter, quota: int, duration: float, retry_after: float | None
) -> None:
    run = Run(platform, counter, lambda _: quota, retry_after)
    known = await run.seconds(60, min(quota, 100), duration)
    assert run.refused == 0
    assert await run.seconds(60, 100, duration) < 1.5 * known
    # In a batch, all that do not fit are refused at once.
    assert run.refused <= (20 if not platform.offers_batches else 20 + 100)


async def test_a_quota_that_grows_is_used(platform: FakePlatform, counter: Counter) -> None:
    run = Run(platform, counter, lambda now: 7 if now < 20 else 100)
    assert await run.seconds(300, 100, 5.0) < 60
    assert run.refused < 150


async def test_a_quota_that_shrinks_refuses_few(platform: FakePlatform, counter: Counter) -> None:
    run = Run(platform, counter, lambda now: 40 if now < 8 else 5)
    assert await run.seconds(120, 100, 5.0) < 100
    assert run.refused < 150


async def test_a_quota_that_others_use_is_tried_again(platform: FakePlatform, counter: Counter) -> None:
    run = Run(platform, counter, lambda now: 2 if now < 30 else 7)
    # The jobs of this stream never end, so that only time brings more room.
    assert await run.seconds(7, 100, 100_000.0) < 70
    assert run.refused < 40
    run = Run(platform, counter, lambda now: 0 if now < 30 else 7)
    assert await run.seconds(14, 100, 1.0) < 70
    assert run.refused < 60


async def test_a_closed_or_cancelled_stream_continues_after_a_quota(platform: FakePlatform, counter: Counter) -> None:
    counter.refuse = lambda _: refusal(429, "quota-exceeded", "") if counter.unfinished >= 3 else None
    items: list[object] = []
    async with platform.connection() as connection:
        stream = connection.create_jobs("simulon_gaussian", circuits(20))
        over = False
        while not over:
            with anyio.move_on_after(1.3):
                async for item in stream:
                    items.append(item)
                over = True
    assert circuits_of(platform, items) == circuits(20)


# -- the sizes of a window -----------------------------------------------------------------------------------------------


def test_a_window_becomes_as_wide_as_the_quota() -> None:
    window = Window(100)
    window.meet_quota(7, 0.0, None)
    assert (window.size, window.concurrency) == (7, 1)
    assert window.paused_until < 0 < window.probe_at


def test_a_first_quota_at_least_halves_a_window() -> None:
    window = Window(100)
    window.meet_quota(90, 0.0, None)
    assert window.size == 50
    assert window.next_probe(90) == float("inf")
    assert window.next_probe(50) == window.probe_at
    window.meet_quota(49, 0.0, None)
    assert window.size == 49


def test_without_a_job_of_ours_only_time_helps() -> None:
    window = Window(100)
    window.meet_quota(0, 10.0, 7.0)
    assert (window.size, window.paused_until) == (1, 17.0)


def test_a_quota_is_tried_less_and_less_often_and_a_larger_one_is_used_faster_and_faster() -> None:
    window, now, pauses = Window(100), 0.0, []
    for _ in range(8):
        window.meet_quota(7, now, None)
        pauses.append(window.probe_at - now)
        window.probe(now)
        assert window.size == 7
        now = window.probe_at
        window.probe(now)
        assert window.size == 8
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    sizes = []
    while window.size < 100:
        window.note_accepted(window.size, now)
        assert window.probe_at == now + PROBE_SECONDS
        now = window.probe_at
        window.probe(now)
        sizes.append(window.size)
    assert sizes == [9, 11, 15, 23, 39, 71, 100]
    window.note_accepted(100, now)
    assert not window.is_narrowed
