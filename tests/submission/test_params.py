"""``params``: a template becomes a program on the client, and nothing is sent when a parameter has no value."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

import sfjobs
from sfjobs import Job, Refusal, Submission, sync
from tests.support.fake_platform import FakePlatform

pytestmark = pytest.mark.submits("singly", "in batches")

TARGET = "simulon_gaussian"
TEMPLATE = "name sweep\nversion 1.0\ntarget simulon_gaussian (shots=5)\n\nSgate({r}) | 0\nMeasureFock() | 0\n"


def text(r: float) -> str:
    return TEMPLATE.replace("{r}", repr(r))


def sent(platform: FakePlatform) -> list[str]:
    circuits = []
    for request in platform.submissions:
        body = json.loads(request.content)
        circuits += [item["circuit"] for item in (body if isinstance(body, list) else [body])]
    return circuits


async def test_a_job_is_made_of_the_bound_text(platform: FakePlatform) -> None:
    async with platform.connection() as connection:
        await connection.create_job(TARGET, TEMPLATE, params={"r": 0.1})
        await sfjobs.RemoteEngine(TARGET, connection).run_async(TEMPLATE, params={"r": -0.2})
        assert await connection.program_text(TARGET, TEMPLATE, params={"r": 0.1}) == text(0.1)
    assert sent(platform) == [text(0.1), text(-0.2)]


@pytest.mark.parametrize(
    ("params", "words"),
    [(None, "free parameter r "), ({}, "free parameter r "), ({"r": 1, "s": 2}, "free parameter s")],
)
async def test_params_that_do_not_fit_are_refused_before_anything_is_sent(
    platform: FakePlatform, params: dict[str, float] | None, words: str
) -> None:
    async with platform.connection() as connection:
        with pytest.raises(ValueError, match=words):
            await connection.create_job(TARGET, TEMPLATE, params=params)
    assert not platform.submissions


async def test_a_sweep_is_one_template_and_a_table_of_numbers(platform: FakePlatform) -> None:
    table = [0.1 * number for number in range(20)]
    async with platform.connection() as connection:
        sweep = [Submission(TEMPLATE, params={"r": r}) for r in table]
        items = [item async for item in connection.create_jobs(TARGET, sweep)]
    assert all(isinstance(item, Job) for item in items)
    assert sorted(sent(platform)) == sorted(map(text, table))


async def test_params_of_all_programs_are_replaced_by_those_of_one(platform: FakePlatform) -> None:
    programs = [TEMPLATE, Submission(TEMPLATE, params={"r": 0.5}), Submission(TEMPLATE, params={})]
    async with platform.connection() as connection:
        items = [item async for item in connection.create_jobs(TARGET, programs, params={"r": 0.1})]
    assert sorted(sent(platform)) == [text(0.1), text(0.5)]
    assert isinstance(items[2], Refusal)
    assert "free parameter r " in str(items[2].error)


@pytest.mark.real_time
async def test_a_group_keeps_the_bound_text(platform: FakePlatform, tmp_path: Path) -> None:
    async with platform.connection(journal=str(tmp_path / "journal.db")) as connection:
        group = await sfjobs.JobGroup.open("sweep", connection)
        await group.add(TARGET, TEMPLATE, name="a", params={"r": 0.1})
        await group.add_all(TARGET, [Submission(TEMPLATE, name="b", params={"r": 0.2})])
        with pytest.raises(ValueError, match="another program"):
            await group.add(TARGET, TEMPLATE, name="a", params={"r": 0.3})
        await group.submit()
    assert sorted(sent(platform)) == [text(0.1), text(0.2)]


def test_the_blocking_twins_bind_parameters(platform: FakePlatform) -> None:
    with sync.Connection(settings=platform.settings(), transport=httpx.MockTransport(platform.handle)) as connection:
        connection.create_job(TARGET, TEMPLATE, params={"r": 0.1})
        sync.RemoteEngine(TARGET, connection).run_async(TEMPLATE, params={"r": 0.2})
        list(connection.create_jobs(TARGET, [TEMPLATE], params={"r": 0.3}))
        assert connection.program_text(TARGET, TEMPLATE, params={"r": 0.4}) == text(0.4)
    assert sent(platform) == [text(0.1), text(0.2), text(0.3)]
