"""Readings of time-domain programs without the vacuum at their start."""

from __future__ import annotations

import numpy as np
import pytest

from sfjobs.results import Result, move_vac_modes
from sfjobs.results.time_bins import cropped

SAMPLES = np.arange(1, 13).reshape(4, 1, 3)


@pytest.mark.parametrize(
    ("registers", "moved", "complete"),
    [
        (1, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 4),
        (2, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0], 3),
        ([2], [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0], 3),
        ([1, 3, 2], [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0], 3),
        (4, [4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0], 3),
        (5, [5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0], 2),
        (13, [0] * 12, 0),
        (1000, [0] * 12, 0),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.complex128])
def test_readings_of_the_vacuum_move_to_the_end(
    registers: int | list[int], moved: list[int], complete: int, dtype: type
) -> None:
    samples = SAMPLES.astype(dtype)
    result = move_vac_modes(samples, registers)
    assert (result.dtype, result.shape) == (dtype, (4, 1, 3))
    assert result.ravel().tolist() == moved
    assert move_vac_modes(samples, registers, crop=True).ravel().tolist() == moved[: 3 * complete]


@pytest.mark.parametrize(("samples", "registers"), [(SAMPLES, 0), (SAMPLES, []), (SAMPLES[:, 0], 2)])
def test_what_is_no_stream_is_refused(samples: np.ndarray, registers: int | list[int]) -> None:
    with pytest.raises(ValueError, match="N must be a positive number and samples three-dimensional"):
        move_vac_modes(samples, registers)


def test_a_cropped_result_keeps_everything_else() -> None:
    result = Result([SAMPLES, np.ones(2)], {"a": np.float64(3)}, job_id="j")
    short = cropped(result, 2)
    assert short.samples.tolist() == [[[3]], [[6]], [[9]], [[12]]]
    assert (len(short.outputs), short.metadata["a"], short.job_id) == (2, 3, "j")
    assert result.samples.shape == (4, 1, 3)
    assert cropped(result, 5).samples.shape == (4, 1, 0)


@pytest.mark.parametrize("result", [Result([]), Result([SAMPLES[:, 0]])])
def test_a_result_without_time_bins_is_not_cropped(result: Result) -> None:
    assert cropped(result, 2) is result
