"""Whole programs against a platform with a rate limit: submissions, polls and results, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from sfjobs import Job, JobStatus, wait_all
from sfjobs.errors import RateLimitedError
from tests.support.counter import circuit, circuits
from tests.support.fake_platform import FakeJob, FakePlatform, refusal
from tests.support.limiters import HINTS, Bucket, FixedWindow, Limiter, SlidingWindow, Unlimited


class LimitedPlatform(FakePlatform):
    """Counts every request, also for tokens. Jobs last 5 s. Requests arrive half a round trip after they were sent."""

    def __init__(self, limiter: Limiter, round_trip: float, hint: str = "rounded up") -> None:
        super().__init__(latency=round_trip / 2)
        self.limiter = limiter
        self.hint = hint
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.trouble = self.judge

    def add(self, **fields: Any) -> FakeJob:
        return super().add(**{"ends_at": anyio.current_time() + 5, **fields})

    async def judge(self, request: httpx.Request) -> httpx.Response | None:
        now = anyio.current_time()
        wait = self.limiter.admit(now)
        (self.accepted if wait is None else self.refused).append(now)
        await anyio.sleep(self.latency)
        if wait is None:
            return None
        seconds = HINTS[self.hint](wait, now)
        headers = {} if seconds is None else {"retry-after": str(int(seconds))}
        return refusal(429, "too-many-requests", "slowly", **headers)


KINDS: dict[str, Callable[[], Limiter]] = {
    "a bucket of 5": lambda: Bucket(5, 5),
    "a bucket of 10": lambda: Bucket(5, 10),
    "a sliding window": lambda: SlidingWindow(5),
    "a fixed window": lambda: FixedWindow(5, 0.5),
}


async def submit_and_wait(platform: LimitedPlatform, jobs: int) -> float:
    """Submit programs and wait for all results. Returns the seconds."""
    async with platform.connection() as connection:
        start = anyio.current_time()
        submitted = [job async for job in connection.create_jobs("simulon_gaussian", circuits(jobs), window=200)]
        mine = [job for job in submitted if isinstance(job, Job)]
        assert await wait_all(mine) == [JobStatus.COMPLETED] * jobs
        assert all(job.has_result for job in mine)
        return anyio.current_time() - start


@pytest.mark.parametrize("hint", ["none", "rounded up", "rounded down"])
@pytest.mark.parametrize("round_trip", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("kind", KINDS)
async def test_two_hundred_programs_exceed_a_limit_three_times_at_most(kind: str, round_trip: float, hint: str) -> None:
    platform = LimitedPlatform(KINDS[kind](), round_trip, hint)
    seconds = await submit_and_wait(platform, 200)
    use = len(platform.accepted) / (platform.limiter.rate * seconds)
    print(f"{kind}, {round_trip} s, {hint}: {len(platform.refused)} refused, use {use:.3f}, {seconds:.1f} s")
    assert len(platform.refused) <= 3
    assert use >= 0.9
    assert platform.count("POST", "/jobs") <= 203


async def test_two_hundred_programs_without_a_limit_are_not_delayed() -> None:
    platform = LimitedPlatform(Unlimited(), 0.02)
    seconds = await submit_and_wait(platform, 200)
    print(f"{seconds:.3f} s")
    assert seconds < 6.3


@pytest.mark.parametrize(("hint", "seconds"), [("rounded up", 10), ("none", 0.5)])
async def test_a_deadline_before_the_next_permit_raises_the_429(hint: str, seconds: float) -> None:
    platform = LimitedPlatform(Bucket(0.04, 1), 0.02, hint)
    async with platform.connection() as connection:
        start = anyio.current_time()
        with pytest.raises(RateLimitedError), anyio.fail_after(seconds):
            await connection.ping()
    assert anyio.current_time() - start == pytest.approx(0.04)


async def test_a_job_quota_does_not_slow_the_polls() -> None:
    platform = FakePlatform(latency=0.02)

    async def judge(request: httpx.Request) -> httpx.Response | None:
        if request.method == "POST" and request.url.path == "/jobs":
            return refusal(429, "job-quota-exceeded", "at most 0 jobs", **{"retry-after": "30"})
        return None

    platform.trouble = judge
    async with platform.connection() as connection, anyio.create_task_group() as group:
        group.start_soon(connection.create_job, "simulon_gaussian", circuit(0))
        await anyio.sleep(1)
        started = anyio.current_time()
        for _ in range(50):
            await connection.ping()
        assert anyio.current_time() - started == pytest.approx(50 * 0.02)
        group.cancel_scope.cancel()


async def test_a_503_with_retry_after_pauses_all_requests() -> None:
    platform = FakePlatform(latency=0.02)
    away_until = 1e9

    async def judge(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/healthz" or anyio.current_time() >= away_until:
            return None
        return refusal(503, "maintenance", "later", **{"retry-after": "7"})

    platform.trouble = judge
    async with platform.connection() as connection, anyio.create_task_group() as group:
        group.start_soon(connection.ping)
        await anyio.sleep(0.5)
        away_until = anyio.current_time()
        started = anyio.current_time()
        await connection.get_job(platform.add().id)
        assert anyio.current_time() - started > 6


async def test_submissions_waiting_for_a_permit_are_cancelled_at_once_and_none_is_lost() -> None:
    platform = LimitedPlatform(Bucket(1, 1), 0.02)
    async with platform.connection() as connection:
        stream = connection.create_jobs("simulon_gaussian", circuits(40), window=200)
        cancelled_at = anyio.current_time() + 15
        with anyio.move_on_after(15):
            async for _ in stream:
                pass
        assert anyio.current_time() <= cancelled_at + platform.latency * 2
        assert sorted(job.id for job in stream.submitted) == sorted(platform.jobs)
        items = [item async for item in stream]
    assert [platform.jobs[item.id].circuit.splitlines()[-1] for item in items if isinstance(item, Job)] == [
        text.strip() for text in circuits(40)
    ]
