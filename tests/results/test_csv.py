"""Results as CSV files."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from sfjobs.results import Array, Result
from sfjobs.results import csv as csv_module

SOURCE = np.random.default_rng(4)
INTEGERS: dict[str, Array] = {
    "photons": SOURCE.poisson(1.0, (300, 8)).astype(np.uint8),
    "bright": SOURCE.poisson(900.0, (300, 3)),
    "all bytes": np.arange(-128, 128, dtype=np.int8).reshape(-1, 2),
    "extremes of int64": np.array([[-(2**63), 2**63 - 1], [0, -1]]),
    "extremes of uint64": np.array([[0, 2**64 - 1], [1, 2]], np.uint64),
    "close at the end of uint64": np.array([[2**64 - 1, 2**64 - 2]] * 5, np.uint64),
    "close at the end of int64": np.array([[2**63 - 1, 2**63 - 2]] * 5),
    "big-endian": SOURCE.poisson(9.0, (40, 2)).astype(">i4"),
    "fortran order": np.asfortranarray(SOURCE.poisson(1.0, (30, 4))),
    "every second shot": SOURCE.poisson(1.0, (30, 4))[::2, ::-1],
    "no shots": np.zeros((0, 4), np.uint8),
}
FLOATS: dict[str, Array] = {
    "homodyne": SOURCE.normal(size=(300, 3)),
    "extremes": np.array([[np.nan, np.inf, -np.inf], [-0.0, 5e-324, 1.7976931348623157e308]]),
    "single precision": SOURCE.normal(size=(30, 3)).astype(np.float32),
    "half precision": SOURCE.normal(size=(30, 3)).astype(np.float16),
    "big-endian": SOURCE.normal(size=(30, 3)).astype(">f8"),
    "fortran order": np.asfortranarray(SOURCE.normal(size=(30, 3))),
    "no shots": np.zeros((0, 4)),
}


def saved(samples: Array, folder: Path) -> list[list[str]]:
    """Return the cells of the file, header included."""
    path = Result([samples]).save(folder / "samples.csv")
    with path.open(newline="", encoding="ascii") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("case", INTEGERS)
def test_whole_numbers_are_written_as_they_are(case: str, tmp_path: Path) -> None:
    head, *rows = saved(INTEGERS[case], tmp_path)
    assert head == [f"mode_{mode}" for mode in range(INTEGERS[case].shape[1])]
    assert rows == [[str(number) for number in row] for row in INTEGERS[case].tolist()]


@pytest.mark.parametrize("case", FLOATS)
def test_floats_read_back_as_they_were(case: str, tmp_path: Path) -> None:
    samples = FLOATS[case]
    _, *rows = saved(samples, tmp_path)
    read = np.array(rows, dtype=samples.dtype).reshape(samples.shape)
    assert np.array_equal(read, samples, equal_nan=True)
    assert np.array_equal(np.signbit(read), np.signbit(samples))


def test_single_precision_shows_no_digits_of_double(tmp_path: Path) -> None:
    assert saved(np.array([[0.1]], np.float32), tmp_path)[1] == ["0.1"]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, ">c16"])
def test_a_complex_number_has_two_columns(dtype: str, order: Literal["C", "F"], tmp_path: Path) -> None:
    assert saved(np.array([[1 - 2j, 0.5j]] * 2, dtype, order=order), tmp_path)[:2] == [
        ["mode_0_real", "mode_0_imag", "mode_1_real", "mode_1_imag"],
        ["1.0", "-2.0", "0.0", "0.5"],
    ]


def test_a_time_domain_shot_is_a_line_with_timebins_running_fastest(tmp_path: Path) -> None:
    assert saved(np.arange(12).reshape(2, 2, 3), tmp_path) == [
        [f"mode_{mode}_timebin_{timebin}" for mode in (0, 1) for timebin in (0, 1, 2)],
        ["0", "1", "2", "3", "4", "5"],
        ["6", "7", "8", "9", "10", "11"],
    ]


def test_more_axes_are_numbered(tmp_path: Path) -> None:
    head, row = saved(np.arange(2).reshape(1, 2, 1, 1), tmp_path)
    assert head == ["axis1_0_axis2_0_axis3_0", "axis1_1_axis2_0_axis3_0"]
    assert row == ["0", "1"]


def test_samples_of_one_axis_are_those_of_one_mode(tmp_path: Path) -> None:
    assert saved(np.array([3, 1]), tmp_path) == [["mode_0"], ["3"], ["1"]]


def test_clicks_are_zero_and_one(tmp_path: Path) -> None:
    assert saved(np.array([[True, False]]), tmp_path)[1] == ["1", "0"]


@pytest.mark.parametrize("samples", [INTEGERS["photons"], INTEGERS["extremes of int64"], FLOATS["homodyne"]])
def test_pieces_join_without_a_gap(samples: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Result([samples]).save(tmp_path / "whole.csv").read_bytes()
    monkeypatch.setattr(csv_module, "_PIECE_NUMBERS", 7)
    assert Result([samples]).save(tmp_path / "pieces.csv").read_bytes() == whole


def test_line_ends_are_the_same_on_every_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "linesep", "\r\n")
    assert Result([np.array([[1, 2]])]).save(tmp_path / "a.csv").read_bytes() == b"mode_0,mode_1\n1,2\n"


def test_numpy_reads_the_table(tmp_path: Path) -> None:
    path = Result([INTEGERS["photons"]]).save(tmp_path / "a.csv")
    assert np.array_equal(np.loadtxt(path, np.uint8, delimiter=",", skiprows=1), INTEGERS["photons"])


def test_metadata_stays_out_of_a_table(tmp_path: Path) -> None:
    path = Result([np.array([[1]])], {"=HYPERLINK()": np.int64(5)}).save(tmp_path / "a.csv")
    assert path.read_text() == "mode_0\n1\n"


@pytest.mark.parametrize("outputs", [[], [np.ones((2, 2))] * 2])
def test_a_table_holds_one_array(outputs: list[Array], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"need \.npz"):
        Result(outputs).save(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "samples",
    [np.array([["=1+1"]]), np.array(3), np.zeros((4, 0)), np.array([["2026-01-01"]], "M8[D]"), np.array([{}])],
    ids=["text", "a number", "no modes", "dates", "objects"],
)
def test_an_array_that_is_no_table_of_numbers_is_refused_and_leaves_no_file(samples: Array, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"use \.npz"):
        Result([samples]).save(tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_table_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"old")
    monkeypatch.setattr(csv_module, "_formatted", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Result([np.ones((2, 2))]).save(path)
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("a.csv", b"old")]
