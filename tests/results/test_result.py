"""The public methods of Result."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from sfjobs.errors import ResultError
from sfjobs.results import Array, Result

SHOTS = np.array([[0, 2], [1, 1], [0, 2], [0, 0], [0, 2], [1, 1]], np.uint8)
TIME_DOMAIN = np.array([[[0, 1, 2]], [[0, 1, 2]], [[3, 0, 0]]], np.uint8)

DTYPES = [np.uint8, np.int8, np.uint16, np.int32, np.int64, np.uint64, np.dtype(">i4")]


def test_raw_is_the_first_output_itself() -> None:
    assert Result([SHOTS, TIME_DOMAIN]).raw is SHOTS


def test_a_result_without_outputs_has_no_samples() -> None:
    with pytest.raises(ResultError, match="job 7 has no samples"):
        _ = Result([], job_id="7").samples
    with pytest.raises(ResultError, match="job 7 has no samples"):
        _ = Result([], job_id="7").raw


@pytest.mark.parametrize(("samples", "expected"), [(SHOTS, (6, 2)), (TIME_DOMAIN, (3, 1)), (SHOTS[:, 0], (6, 1))])
def test_shots_and_modes_are_counted(samples: Array, expected: tuple[int, int]) -> None:
    result = Result([samples])
    assert (result.shots, result.num_modes) == expected


def test_a_single_number_has_no_shots() -> None:
    with pytest.raises(ResultError, match="single number"):
        _ = Result([np.array(5)]).shots


def test_outputs_end_at_the_first_gap_and_all_else_is_metadata() -> None:
    result = Result.from_arrays(
        {"cutoff": np.array(5), "arr_1": SHOTS, "arr_0": SHOTS, "arr_3": SHOTS, "arr_00": SHOTS}
    )
    assert len(result.outputs) == 2
    assert set(result.metadata) == {"cutoff", "arr_3", "arr_00"}


def test_metadata_without_dimensions_is_a_scalar() -> None:
    cutoff = Result.from_arrays({"cutoff": np.array(5, np.uint8)}).metadata["cutoff"]
    assert isinstance(cutoff, np.uint8)
    assert cutoff == 5


def test_metadata_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        Result([SHOTS]).metadata["x"] = SHOTS  # type: ignore[index]  # that it is refused is the point


@pytest.mark.parametrize("dtype", DTYPES)
def test_counts_are_ordered_by_frequency(dtype: npt.DTypeLike) -> None:
    assert list(Result([SHOTS.astype(dtype)]).counts().items()) == [((0, 2), 3), ((1, 1), 2), ((0, 0), 1)]


def test_counts_of_equal_frequency_are_ordered_by_pattern() -> None:
    samples = np.array([[2, 0], [0, 3], [1, 1], [0, 1]])
    assert list(Result([samples]).counts()) == [(0, 1), (0, 3), (1, 1), (2, 0)]


def test_counts_of_a_time_domain_program_keep_their_shape_as_an_array() -> None:
    counts = Result([TIME_DOMAIN]).counts()
    assert counts.patterns.tolist() == [[[0, 1, 2]], [[3, 0, 0]]]
    assert counts == {(0, 1, 2): 2, (3, 0, 0): 1}


def test_counts_name_the_most_common() -> None:
    counts = Result([SHOTS]).counts()
    assert counts.most_common(2) == [((0, 2), 3), ((1, 1), 2)]
    assert counts.shots == 6


def test_counts_of_clicks() -> None:
    assert Result([SHOTS > 0]).counts() == {(0, 1): 3, (1, 1): 2, (0, 0): 1}


@pytest.mark.parametrize("shape", [(0, 3), (0, 0), (0, 2, 3)])
def test_counts_of_no_shots_are_empty(shape: tuple[int, ...]) -> None:
    assert Result([np.zeros(shape, np.uint8)]).counts() == {}


def test_counts_of_no_modes_are_one_empty_pattern() -> None:
    assert Result([np.zeros((4, 0), np.uint8)]).counts() == {(): 4}


EXTREMES: dict[str, Callable[[np.random.Generator], npt.NDArray[np.integer]]] = {
    "few modes": lambda source: source.integers(0, 3, (500, 4), np.uint8),
    "all bytes of eight modes": lambda source: source.integers(0, 256, (300, 8), np.uint8),
    "negative numbers": lambda source: source.integers(-2, 2, (500, 5), np.int8),
    "extremes of int64": lambda source: source.choice(np.array([-(2**63), 0, 2**63 - 1]), (200, 3)),
    "extremes of uint64": lambda source: source.choice(np.array([0, 1, 2**64 - 1], np.uint64), (200, 3)),
    "large and close": lambda source: source.integers(2**64 - 3, 2**64, (200, 3), np.uint64, endpoint=False),
    "many modes, few patterns": lambda source: source.integers(0, 5, (7, 216), np.uint8)[source.integers(0, 7, 400)],
    "many modes, all differ": lambda source: source.integers(0, 5, (300, 216), np.uint8),
    "many modes, differ at the end": lambda source: np.pad(source.integers(0, 9, (400, 2)), ((0, 0), (300, 0))),
    "wide values in many modes": lambda source: source.integers(0, 2**24, (5, 40), np.uint32)[
        source.integers(0, 5, 99)
    ],
    "wider than the codes": lambda source: source.integers(0, 2**40, (5, 40))[source.integers(0, 5, 99)],
    "signed bytes, all of them": lambda source: source.integers(-128, 128, (300, 20), np.int8),
    "big-endian": lambda source: source.integers(-3, 3, (300, 20)).astype(">i4"),
    "reversed": lambda source: source.integers(0, 3, (300, 20))[::-1, ::-2],
    "all alike": lambda source: np.full((50, 3), 7),
    "fortran order": lambda source: np.asfortranarray(source.integers(0, 3, (500, 4))),
    "one shot": lambda source: source.integers(0, 3, (1, 4)),
}


@pytest.mark.parametrize("case", EXTREMES)
def test_counts_agree_with_counting_one_by_one(case: str) -> None:
    samples = EXTREMES[case](np.random.default_rng(11))
    counted = Counter(map(tuple, samples.tolist()))
    expected = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    assert Result([samples]).counts().most_common() == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_mean_photon_number_is_per_mode(dtype: npt.DTypeLike) -> None:
    assert Result([SHOTS.astype(dtype)]).mean_photon_number() == pytest.approx([2 / 6, 8 / 6])


def test_the_mean_photon_number_of_many_bright_shots_does_not_wrap() -> None:
    assert Result([np.full((1000, 1), 255, np.uint8)]).mean_photon_number() == pytest.approx([255])


def test_the_mean_photon_number_of_a_time_domain_program_has_its_shape() -> None:
    assert Result([TIME_DOMAIN]).mean_photon_number().shape == (1, 3)


def test_the_distribution_is_of_all_photons_in_a_shot() -> None:
    assert Result([SHOTS]).photon_number_distribution() == pytest.approx([1 / 6, 0, 5 / 6])


def test_the_distribution_of_bright_shots_does_not_wrap() -> None:
    distribution = Result([np.full((3, 2), 200, np.uint8)]).photon_number_distribution()
    assert np.flatnonzero(distribution).tolist() == [400]


def test_threshold_detectors_click_for_any_number_of_photons() -> None:
    clicks = Result([SHOTS]).threshold()
    assert (clicks.dtype.name, clicks.tolist()) == ("int64", [[0, 1], [1, 1], [0, 1], [0, 0], [0, 1], [1, 1]])


@pytest.mark.parametrize("method", ["counts", "mean_photon_number", "photon_number_distribution", "threshold"])
@pytest.mark.parametrize("samples", [np.ones((2, 2)), np.ones((2, 2), complex), np.array([["a"]])], ids=["f", "c", "U"])
def test_samples_that_are_no_whole_numbers_are_refused(samples: Array, method: str) -> None:
    with pytest.raises(ResultError, match="whole numbers"):
        getattr(Result([samples]), method)()


def test_clicks_of_negative_numbers_are_refused() -> None:
    with pytest.raises(ResultError, match="from -1 on"):
        Result([np.array([[2, -1]])]).threshold()


def test_no_shots_have_no_clicks() -> None:
    assert Result([np.zeros((0, 3), int)]).threshold().shape == (0, 3)


@pytest.mark.parametrize("method", ["mean_photon_number", "photon_number_distribution"])
@pytest.mark.parametrize(
    "samples",
    [np.array([[-1]]), np.array([[2**40]]), np.array([[2**64 - 1]], np.uint64), np.zeros((0, 4), int)],
    ids=["negative", "huge", "wrapping", "no shots"],
)
def test_impossible_photon_numbers_are_refused(samples: Array, method: str) -> None:
    with pytest.raises(ResultError, match="photon numbers"):
        getattr(Result([samples]), method)()


def test_a_shot_of_too_many_photons_has_no_distribution() -> None:
    with pytest.raises(ResultError, match="1200000 photons"):
        Result([np.full((2, 2), 600_000)]).photon_number_distribution()


def test_results_are_equal_only_to_themselves() -> None:
    result = Result([SHOTS])
    assert result == result
    assert result != Result([SHOTS])


def test_a_result_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(Result([SHOTS], {"cutoff": np.int64(5)}, job_id="7")))
    assert (copy.raw.tolist(), dict(copy.metadata), copy.job_id) == (SHOTS.tolist(), {"cutoff": 5}, "7")
    assert (copy.raw.dtype, copy.samples.dtype) == (np.uint8, np.int64)


def test_the_repr_names_types_and_shapes_and_no_values() -> None:
    text = repr(Result([SHOTS], {"cutoff": np.int64(5)}, job_id="7"))
    assert text == "<Result of job 7: uint8 (6, 2), metadata cutoff>"
