"""A redirected submission stops the stream with the error that names the url to set, and burns no program."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

import sfjobs
from sfjobs import Job, JobGroup, Refusal, sync
from tests.support.counter import Numbered
from tests.support.fake_platform import FakePlatform
from tests.support.journals import states

TARGET = "simulon_gaussian"
REMEDY = r"Set url \(SFJOBS_URL\) to https://platform\.test"


def redirecting(status: int, *, offers_batches: bool = False, honours_keys: bool = False) -> FakePlatform:
    """A platform that redirects submissions while ``trouble`` is set."""
    platform = FakePlatform(offers_batches=offers_batches, honours_keys=honours_keys)

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        if request.method == "GET" or request.url.path.endswith("/token"):
            return None
        return httpx.Response(status, headers={"location": str(request.url.copy_with(scheme="https", port=None))})

    platform.trouble = trouble
    return platform


async def read(stream: sfjobs.JobStream, items: list[Job | Refusal], most: int = 1000) -> None:
    while len(items) < most:
        items.append(await anext(stream))


@pytest.mark.real_time  # the journal writes in a thread
@pytest.mark.parametrize("offers_batches", [False, True])
@pytest.mark.parametrize("honours_keys", [False, True])
async def test_a_redirect_stops_the_stream_which_goes_on_when_it_has_ended(
    offers_batches: bool, honours_keys: bool, tmp_path: Path
) -> None:
    """Regression: each program of the stream became a refusal."""
    platform = redirecting(308, offers_batches=offers_batches, honours_keys=honours_keys)
    journal = tmp_path / "journal.db"
    async with platform.connection(journal=str(journal)) as connection:
        items: list[Job | Refusal] = []
        stream = connection.create_jobs(TARGET, Numbered(), window=500)
        for _ in range(2):
            with pytest.raises(sfjobs.ProtocolError, match=REMEDY):
                await read(stream, items)
        assert items == []
        assert len(platform.submissions) <= 64
        platform.trouble = None
        await read(stream, items, 100)
    assert all(isinstance(item, Job) for item in items)
    assert "open" not in states(journal), "nothing is in doubt"
    sent = [job.circuit for job in platform.jobs.values()]
    assert len(sent) == len(set(sent))


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("offers_batches", [False, True])
async def test_after_a_redirect_that_may_hide_a_job_the_stream_stops_and_names_those_in_doubt(
    status: int, offers_batches: bool
) -> None:
    platform = redirecting(status, offers_batches=offers_batches)
    async with platform.connection() as connection:
        items: list[Job | Refusal] = []
        stream = connection.create_jobs(TARGET, Numbered(), window=500)
        with pytest.raises(sfjobs.ProtocolError, match=REMEDY):
            await read(stream, items)
        in_doubt = len(items)
        assert in_doubt <= 32, "those that were under way at the first redirect"
        platform.trouble = None
        await read(stream, items, in_doubt + 100)
    assert all(isinstance(item, Refusal) for item in items[:in_doubt])
    assert {type(item.error) for item in items if isinstance(item, Refusal)} == {sfjobs.SubmissionUnknownError}
    assert all(isinstance(item, Job) for item in items[in_doubt:])


@pytest.mark.real_time
async def test_a_single_submission_and_a_group_name_the_url(tmp_path: Path) -> None:
    platform = redirecting(307)
    journal = tmp_path / "journal.db"
    async with platform.connection(journal=str(journal)) as connection:
        with pytest.raises(sfjobs.ProtocolError, match=REMEDY) as caught:
            await connection.create_job(TARGET, "Vac | 0\nMeasureFock() | 0\n", shots=1)
        assert not caught.value.sent
        group = await JobGroup.open("sweep", connection)
        await group.add(TARGET, "Vac | 0\nMeasureFock() | 0\n", shots=1)
        with pytest.raises(sfjobs.ProtocolError, match=REMEDY):
            await group.wait(timeout=60)
    assert "open" not in states(journal)


@pytest.mark.real_time
def test_the_blocking_twin_stops_too() -> None:
    platform = redirecting(308)
    transport = httpx.MockTransport(platform.handle)
    with (
        sync.Connection(settings=platform.settings(), transport=transport) as connection,
        pytest.raises(sfjobs.ProtocolError, match=REMEDY),
    ):
        list(connection.create_jobs(TARGET, ["Vac | 0\nMeasureFock() | 0\n"] * 5, shots=1))
