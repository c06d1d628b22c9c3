"""Arithmetic with samples does not wrap, and nothing else makes a wider copy of them. The oracle is Python's integers."""

from __future__ import annotations

import copy
import pickle
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from sfjobs.errors import ResultError
from sfjobs.results import Array, Result

SMALL = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.dtype(">i8"), np.dtype(">u8")]
PHOTONS = np.array([[0, 2, 1], [100, 1, 99], [0, 2, 0], [3, 120, 7], [100, 100, 100]])
TIME_DOMAIN = np.random.default_rng(3).poisson(1.5, (200, 2, 3)).astype(np.uint8)
MANY = np.random.default_rng(4).poisson(2.0, (200_000, 20)).astype(np.uint8)  # 4 MB


@pytest.mark.parametrize("dtype", SMALL)
def test_samples_of_whole_numbers_calculate_as_python_does(dtype: npt.DTypeLike) -> None:
    samples = Result([PHOTONS.astype(dtype)]).samples
    a, b, c = zip(*PHOTONS.tolist(), strict=True)
    assert samples.dtype == np.int64
    assert samples.dtype.isnative
    assert (samples[:, 0] - samples[:, 1]).tolist() == [x - y for x, y in zip(a, b, strict=True)]
    assert (samples[:, 0] + samples[:, 1] + samples[:, 2]).tolist() == [sum(row) for row in PHOTONS.tolist()]
    assert (samples[:, 1] * samples[:, 2]).tolist() == [x * y for x, y in zip(b, c, strict=True)]
    assert ((-1) ** samples[:, 0] * samples[:, 1]).tolist() == [(-1) ** x * y for x, y in zip(a, b, strict=True)]
    assert (samples.T @ samples)[0, 1] == sum(x * y for x, y in zip(a, b, strict=True))
    assert samples[:, 0].mean() == sum(a) / len(a)


def test_clicks_are_added_as_numbers() -> None:
    clicks = Result([PHOTONS > 0]).samples
    assert clicks.dtype == np.int64
    assert (clicks[:, 0] + clicks[:, 1] - clicks[:, 2]).tolist() == [0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "raw",
    [
        PHOTONS,
        np.asfortranarray(PHOTONS),
        np.ones((2, 2), np.float32),
        np.ones((2, 2)),
        np.ones((2, 2), np.complex64),
        np.array([["a"]]),
    ],
    ids=["int64", "int64 by columns", "float32", "float64", "complex64", "text"],
)
def test_other_samples_are_not_copied(raw: Array) -> None:
    result = Result([raw])
    assert result.samples is raw
    assert result.raw is raw


def test_samples_are_made_once_and_then_kept() -> None:
    result = Result([PHOTONS.astype(np.uint8)])
    assert result.samples is result.samples
    assert result.outputs == (result.raw,)
    assert result.raw.dtype == np.uint8


def test_threads_get_one_array() -> None:
    result = Result([MANY])
    start = threading.Barrier(8)
    found: list[Array] = []

    def take() -> None:
        start.wait()
        found.append(result.samples)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {id(array) for array in found} == {id(result.samples)}


def test_samples_are_read_only_where_raw_is(tmp_path: Path) -> None:
    mapped = Result.load(Result([PHOTONS.astype(np.uint8)]).save(tmp_path / "a.npz"), mmap=True)
    assert not mapped.samples.flags.writeable
    assert not isinstance(mapped.samples, np.memmap)
    assert mapped.samples.tolist() == PHOTONS.tolist()
    assert Result([PHOTONS.astype(np.uint8)]).samples.flags.writeable


def test_numbers_that_int64_does_not_hold_are_refused() -> None:
    raw = np.array([[1, 2**63]], np.uint64)
    result = Result([raw], job_id="7")
    with pytest.raises(ResultError, match=r"job 7 has samples up to 9223372036854775808.*Result\.raw"):
        _ = result.samples
    assert result.raw is raw
    assert result.shots == 1
    assert result.counts() == {(1, 2**63): 1}
    assert Result([raw - np.uint64(1)]).samples.tolist() == [[0, 2**63 - 1]]


def test_samples_without_shots_stay_without() -> None:
    assert Result([np.zeros((0, 4), np.uint64)]).samples.shape == (0, 4)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))])
def test_copies_keep_the_type_that_was_sent(copied: Callable[[Result], Result]) -> None:
    result = Result([PHOTONS.astype(np.uint8)], job_id="7")
    _ = result.samples
    again = copied(result)
    assert (again.raw.dtype, again.samples.dtype, again.job_id) == (np.uint8, np.int64, "7")
    assert again.samples.tolist() == PHOTONS.tolist()


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_files_and_displays_have_the_type_that_was_sent(suffix: str, tmp_path: Path) -> None:
    result = Result([PHOTONS.astype(np.uint8)])
    _ = result.samples
    assert Result.load(result.save(tmp_path / f"a.{suffix}")).raw.dtype == np.uint8
    assert "uint8" in repr(result)
    assert "uint8" in result._repr_html_()


def test_patterns_and_clicks_do_not_wrap_either() -> None:
    result = Result([PHOTONS.astype(np.uint8)])
    patterns, clicks = result.counts().patterns, result.threshold()
    assert sorted((patterns[:, 0] - patterns[:, 1]).tolist()) == [-117, -2, -2, 0, 99]
    assert (clicks[:, 0] - clicks[:, 1]).tolist() == [-1, 0, -1, 0, 0]


@pytest.mark.parametrize("dtype", [*SMALL, np.int64])
def test_covariances_are_those_of_the_definition(dtype: npt.DTypeLike) -> None:
    rows = PHOTONS.tolist()
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    expected = [
        [sum((row[i] - means[i]) * (row[j] - means[j]) for row in rows) / (len(rows) - 1) for j in range(3)]
        for i in range(3)
    ]
    covariance = Result([PHOTONS.astype(dtype)]).covariance()
    assert covariance == pytest.approx(np.array(expected), rel=1e-12)
    assert np.array_equal(covariance, covariance.T)


@pytest.mark.parametrize(
    "samples",
    [MANY, np.asfortranarray(MANY), MANY[::-2, ::3], MANY > 1, MANY[:, 0], TIME_DOMAIN, TIME_DOMAIN.T.copy().T],
)
def test_pair_statistics_agree_with_numpy(samples: Array) -> None:
    flat = samples.reshape(len(samples), -1).astype(np.float64)
    modes = flat.shape[1]
    result = Result([samples])
    np.testing.assert_allclose(
        result.covariance(), np.cov(flat, rowvar=False).reshape(modes, modes), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(
        result.correlations(), np.corrcoef(flat, rowvar=False).reshape(modes, modes), rtol=1e-9, atol=1e-12
    )


def test_a_timebin_of_a_spatial_mode_has_its_place_in_the_covariance() -> None:
    first, second = TIME_DOMAIN[:, 1, 2].astype(float), TIME_DOMAIN[:, 0, 1].astype(float)
    covariance = Result([TIME_DOMAIN]).covariance()
    assert covariance.shape == (6, 6)
    assert covariance[1 * 3 + 2, 0 * 3 + 1] == pytest.approx(np.cov(first, second)[0, 1])


def test_correlations_of_modes_that_never_change_are_nan() -> None:
    samples = np.column_stack([MANY[:1000, 0], np.full(1000, 7, np.uint8), MANY[:1000, 0], np.zeros(1000, np.uint8)])
    with np.errstate(all="raise"):
        correlations = Result([samples]).correlations()
    expected = [[1, np.nan, 1, np.nan], [np.nan] * 4, [1, np.nan, 1, np.nan], [np.nan] * 4]
    np.testing.assert_array_equal(np.round(correlations, 12), expected)
    assert correlations[0, 0] == 1.0


def test_correlations_stay_between_minus_one_and_one() -> None:
    photons = np.random.default_rng(5).integers(0, 200, (999, 1), np.uint8)
    correlations = Result([np.hstack([photons] * 30 + [200 - photons] * 30)]).correlations()
    assert correlations.max() == 1.0
    assert set(Result([MANY]).correlations().diagonal().tolist()) == {1.0}
    assert correlations.min() == -1.0


@pytest.mark.parametrize("method", ["covariance", "correlations"])
@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.ones((1, 3), np.uint8), "one shot; covariances take at least two"),
        (np.ones((0, 3), np.uint8), "no photon numbers"),
        (np.ones((3, 3)), "whole numbers"),
        (np.array([[1, -1], [0, 0]]), "cannot be photon numbers"),
        (np.zeros((2, 5001, 2), np.uint8), r"10,002 modes.*numpy\.cov"),
        (np.array(5), "single number"),
    ],
    ids=["one shot", "no shots", "floats", "negative", "too many modes", "number"],
)
def test_samples_without_pair_statistics_are_refused(samples: Array, words: str, method: str) -> None:
    with pytest.raises(ResultError, match=words):
        getattr(Result([samples]), method)()


def growth(use: Callable[[], object]) -> int:
    """Return the peak of the memory that ``use`` takes, in bytes."""
    use()  # what is loaded once is not counted
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        use()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_pair_statistics_take_a_piece_of_the_samples_at_a_time() -> None:
    large = np.tile(MANY, (10, 1))  # 40 MB; 320 MB in int64
    assert growth(Result([large]).correlations) < 24 << 20


def test_the_first_use_of_samples_takes_one_array_and_the_next_none() -> None:
    assert growth(lambda: Result([MANY]).samples) < 8 * MANY.nbytes + 100_000
    result = Result([MANY])
    assert growth(lambda: result.samples) < 10_000


@pytest.mark.parametrize("use", [lambda result: (result.raw, result.shots, result.num_modes, repr(result))])
def test_nothing_else_makes_that_array(use: Callable[[Result], object]) -> None:
    assert growth(lambda: use(Result([MANY]))) < 10_000
    assert growth(Result([MANY]).mean_photon_number) < MANY.nbytes
