"""Short names of targets, in every call that takes a target."""

from __future__ import annotations

import json

import pytest

import sfjobs
from sfjobs import Refusal
from tests.support.fake_platform import FakePlatform

pytestmark = pytest.mark.submits("singly")

PROGRAM = "name a\nversion 1.0\ntarget gaussian (shots=5)\n\nVac | 0\nMeasureFock() | 0\n"
ALIASES = [("X8", "X8_01"), ("X12", "X12_02"), ("simulon", "simulon_gaussian"), ("X8_01", "X8_01"), ("mine", "mine")]


@pytest.mark.parametrize(("alias", "target"), ALIASES)
async def test_a_short_name_is_resolved_before_it_is_sent(platform: FakePlatform, alias: str, target: str) -> None:
    async with platform.connection() as connection:
        await connection.create_job(alias, PROGRAM)
        assert sfjobs.RemoteEngine(alias, connection).target == target
    body = json.loads(platform.submissions[0].content)
    assert body["target"] == target
    assert f"target {target} (shots=5)" in body["circuit"]


@pytest.mark.parametrize("alias", ["X8", "simulon"])
async def test_a_device_has_its_short_name(platform: FakePlatform, alias: str) -> None:
    async with platform.connection() as connection:
        await connection.get_device(alias)
    paths = {request.url.path for request in platform.requests}
    assert not any(f"/{alias}/" in f"{path}/" for path in paths)


@pytest.mark.parametrize("name", ["gaussian", "fock"])
async def test_a_local_backend_is_refused_with_the_target_to_give(platform: FakePlatform, name: str) -> None:
    async with platform.connection() as connection:
        with pytest.raises(ValueError, match="--target simulon_gaussian"):
            await connection.create_job(name, PROGRAM)
        with pytest.raises(ValueError, match="--target simulon_gaussian"):
            await connection.get_device(name)
        [item] = [item async for item in connection.create_jobs(name, [PROGRAM])]
    assert isinstance(item, Refusal)
    assert not platform.submissions
