"""An API key that is an ordinary word changes no answer, and is masked only where errors and logs quote a response."""

from __future__ import annotations

import logging

import httpx
import pytest

import sfjobs
from sfjobs import Job
from tests.support.fake_platform import FakePlatform, refusal

WORDS = ["key", "complete", "test", "id", "e", "status", "data", "queued", "1", ":", "{", '"', "true"]


def platform_of(word: str) -> FakePlatform:
    platform = FakePlatform(offers_batches=True, honours_keys=True)
    platform.keys = {word}
    return platform


@pytest.mark.parametrize("word", WORDS)
async def test_a_key_that_is_an_ordinary_word_changes_no_answer(word: str) -> None:
    """Regression: with the key `complete` no job was ever complete, and no JSON could be read with the key `e`."""
    platform = platform_of(word)
    meta = {"reason": "test of a complete key", "status": ["queued", {"id": 1}]}
    done = platform.add(id="job-id-1", name="a test key", meta=meta, ends_at=0.0)
    waiting = platform.add(id="job-id-2", meta=meta)
    async with platform.connection(api_key=word) as connection:
        job = await connection.get_job(done.id)
        assert (job.id, job.name, job.meta, job.status) == (done.id, "a test key", meta, "complete")
        assert (await job.fetch_result()).samples.shape == (3, 2)
        assert {found.id for found in [job async for job in connection.list_jobs()]} == {done.id, waiting.id}
        assert (await connection.get_job(waiting.id)).meta == meta
        items = [item async for item in connection.create_jobs("simulon_gaussian", ["Vac | 0\n"] * 5)]
        assert all(isinstance(item, Job) for item in items)
        for job in (job for job in platform.jobs.values() if job.id not in (done.id, waiting.id)):
            job.ends_at = 0.0
        assert await sfjobs.wait_all([item for item in items if isinstance(item, Job)], timeout=60) == ["complete"] * 5


@pytest.mark.parametrize("code", ["idempotency-key-in-use"])
@pytest.mark.parametrize("word", ["key", "idempotency", "in"])
async def test_a_code_is_acted_upon_whatever_the_key(word: str, code: str) -> None:
    platform = platform_of(word)
    refusals = 0

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        nonlocal refusals
        if request.method == "POST" and request.url.path == "/jobs" and len(platform.jobs) == 1 and refusals < 2:
            refusals += 1
            return refusal(409, code, "an earlier request is being processed")
        return None

    platform.trouble = trouble
    async with platform.connection(api_key=word) as connection:
        await connection.create_job("X8_01", "Vac | 0\n")
        await connection.create_job("X8_01", "Vac | 1\n")
    assert refusals == 2


@pytest.mark.parametrize("code", ["quota-exceeded", "rate-limited"])
async def test_a_quota_is_a_quota_whatever_the_key(code: str) -> None:
    platform = platform_of("quota")

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        return refusal(429, code, "no quota for quota") if request.url.path == "/jobs" else None

    platform.trouble = trouble
    async with platform.connection(api_key="quota", retries=1) as connection:
        with pytest.raises(sfjobs.RateLimitedError) as caught:
            await connection.create_job("X8_01", "Vac | 0\n")
    assert (caught.value.code, caught.value.is_quota) == (code, code == "quota-exceeded")
    assert "no *** for ***" in str(caught.value)


SECRET = "planted-key-0123456789-abcdef"


@pytest.mark.parametrize("length", [len(SECRET), 12])
async def test_errors_and_logs_quote_no_secret_of_a_record(length: int, caplog: pytest.LogCaptureFixture) -> None:
    secret = SECRET[:length]
    caplog.set_level(logging.DEBUG, logger="sfjobs")
    platform = platform_of(secret)
    said = f"for {secret}"
    platform.add(id="c1b2", status="failed", meta={"reason": said, secret: [{"token": said}]})
    odd = {"id": "d3e4", "status": f"odd {secret}", "running_time": said, "created_at": said, "name": [said]}

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/jobs/d3e4":
            return httpx.Response(200, json=odd)
        return (
            httpx.Response(200, json={**odd, "status": [said], "id": said}) if request.url.path == "/jobs/x" else None
        )

    platform.trouble = trouble
    async with platform.connection(api_key=secret) as connection:
        job = await connection.get_job("c1b2")
        assert job.meta["reason"] == said, "what is parsed is as it was sent"
        with pytest.raises(sfjobs.FailedJobError) as failed:
            job.raise_for_status()
        await connection.get_job("d3e4")
        with pytest.raises(sfjobs.ProtocolError) as invalid:
            await connection.get_job("x")
    for error in (failed.value, invalid.value):
        assert secret not in f"{error} {vars(error)!r}"
    assert secret not in caplog.text
    assert "job.running_time" in caplog.text
