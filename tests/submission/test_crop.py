"""``RemoteEngine.run(crop=True)``: the time bins without a pulse are left out, and the job keeps them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sfjobs
from tests.support.fake_platform import FakePlatform, npz

pytestmark = pytest.mark.submits("singly")

TEXT = "name a\nversion 1.0\ntarget borealis (shots=2)\ntype tdm (temporal_modes=3)\n\nMeasureFock() | 0\n"
SAMPLES = np.arange(6).reshape(2, 1, 3)


class TDMProgram:
    """A program of Strawberry Fields that was compiled; ``crop`` None stands for one whose loops are nested."""

    circuit: tuple[object, ...] = ()
    run_options: dict[str, object] = {"shots": 2}  # noqa: RUF012 - as there
    name = "a"

    def __init__(self, crop: int | None) -> None:
        self.compile_info = (type("Device", (), {"target": "borealis"}), "borealis")
        self._crop = crop

    def compile(self, *, device: object) -> TDMProgram:
        raise AssertionError(device)

    def get_crop_value(self) -> int:
        if self._crop is None:
            raise NotImplementedError("Calculating delays for programs with nested loops is not implemented.")
        return self._crop


async def run(platform: FakePlatform, program: Any, samples: np.ndarray, *, crop: bool, meta: Any = None) -> Any:
    platform.result = npz(samples)

    async def finish(_: object) -> None:
        for job in platform.jobs.values():
            job.ends_at, job.meta = 0, meta or {}

    platform.trouble = finish
    async with platform.connection() as connection:
        return await sfjobs.RemoteEngine("borealis", connection).run(program, crop=crop)


@pytest.mark.parametrize(("bins", "kept"), [(0, [0, 1, 2, 3, 4, 5]), (1, [1, 2, 4, 5]), (3, [])])
async def test_the_platform_says_what_is_left_out_for_a_text(
    platform: FakePlatform, bins: int, kept: list[int]
) -> None:
    result = await run(platform, TEXT, SAMPLES, crop=True, meta={"crop": bins})
    assert result.samples.ravel().tolist() == kept
    assert result.samples.shape[:2] == (2, 1)


@pytest.mark.real_time  # the text of a program is written in a thread
@pytest.mark.parametrize(("crop", "kept"), [(True, [2, 5]), (False, [0, 1, 2, 3, 4, 5])])
async def test_a_program_knows_itself_what_is_left_out(platform: FakePlatform, crop: bool, kept: list[int]) -> None:
    result = await run(platform, TDMProgram(2), SAMPLES, crop=crop, meta={"crop": 1})
    assert result.samples.ravel().tolist() == kept


async def test_a_result_without_time_bins_stays(platform: FakePlatform) -> None:
    assert (await run(platform, TEXT, SAMPLES[:, 0], crop=True)).samples.shape == (2, 3)


@pytest.mark.parametrize("meta", [{}, {"crop": "soon"}, {"crop": True}, {"crop": -1}])
async def test_time_bins_that_nothing_knows_are_an_error_with_the_job(
    platform: FakePlatform, meta: dict[str, Any]
) -> None:
    with pytest.raises(sfjobs.ResultError, match="fetch the result without crop") as caught:
        await run(platform, TEXT, SAMPLES, crop=True, meta=meta)
    assert caught.value.job_id in platform.jobs


async def test_a_program_whose_crop_is_not_known_is_not_sent(platform: FakePlatform) -> None:
    with pytest.raises(ValueError, match=r"crop=True is not possible for this program: .* nested loops"):
        await run(platform, TDMProgram(None), SAMPLES, crop=True)
    assert not platform.submissions
