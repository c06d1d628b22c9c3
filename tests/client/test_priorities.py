"""``priority`` of submissions: sent where the platform offers it, logged once where it does not, and never a reason to fail."""

from __future__ import annotations

import json
import logging

import pytest

import sfjobs
from sfjobs import Job, Submission
from tests.support.fake_platform import FakePlatform

PROGRAM = "name p\nversion 1.0\ntarget X8_01 (shots=4)\nMeasureFock() | [0, 1]\n"


def priorities(platform: FakePlatform) -> list[object]:
    """The priority of each submission, in the order in which they came."""
    found: list[object] = []
    for request in platform.requests:
        if request.method == "POST" and request.url.path == "/jobs":
            body = json.loads(request.content)
            found += [item.get("priority") for item in (body if isinstance(body, list) else [body])]
    return found


def lists(platform: FakePlatform) -> int:
    return sum(request.method == "GET" and request.url.path == "/jobs" for request in platform.requests)


async def test_a_priority_is_sent_where_it_is_offered(platform: FakePlatform) -> None:
    platform.offers_priorities = True
    async with platform.connection() as connection:
        await connection.create_job("X8_01", PROGRAM, priority=-7)
        programs = [Submission(PROGRAM, name="a", priority=100), Submission(PROGRAM, name="b")]
        stream = connection.create_jobs("X8_01", programs, priority=3)
        assert [type(item) async for item in stream] == [Job, Job]
        await connection.create_job("X8_01", PROGRAM)
    assert priorities(platform) == [-7, 100, 3, None]
    assert lists(platform) == 1


async def test_elsewhere_it_is_left_out_and_logged_once(
    platform: FakePlatform, caplog: pytest.LogCaptureFixture
) -> None:
    async with platform.connection() as connection:
        with caplog.at_level(logging.WARNING, "sfjobs"):
            for _ in range(3):
                await connection.create_job("X8_01", PROGRAM, priority=5)
    assert priorities(platform) == [None] * 3
    assert lists(platform) == 1
    assert [record.message for record in caplog.records if "priorities" in record.message] == [
        "this platform has no priorities: jobs are submitted without"
    ]


async def test_without_a_priority_nothing_is_asked(platform: FakePlatform) -> None:
    async with platform.connection() as connection:
        await connection.create_job("X8_01", PROGRAM)
    assert lists(platform) == 0


@pytest.mark.parametrize("priority", [101, -101, 1.5, "5", True])
async def test_what_is_no_priority_is_refused_before_anything_is_sent(platform: FakePlatform, priority: object) -> None:
    async with platform.connection() as connection:
        with pytest.raises(ValueError, match="from -100 to 100"):
            await connection.create_job("X8_01", PROGRAM, priority=priority)  # type: ignore[arg-type]
        submission = Submission(PROGRAM, priority=priority)  # type: ignore[arg-type]
        refusal = await anext(connection.create_jobs("X8_01", [submission]))
    assert isinstance(refusal, sfjobs.Refusal)
    assert isinstance(refusal.error, ValueError)
    assert not platform.submissions
