"""The summary of a result, for people and for programs."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from sfjobs.cli.output.charts import bars, headline, show
from sfjobs.cli.output.summary import summarize
from sfjobs.results import Result


def shown(samples, *, encoding="utf-8", width=80) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    show(Console(file=file, width=width, highlight=False), summarize(Result([np.asarray(samples)])))
    file.flush()
    return raw.getvalue().decode(encoding)


FOCK = np.repeat(np.array([[0, 0], [1, 1], [0, 2]], np.uint8), [5, 3, 2], axis=0)


def test_the_most_frequent_samples_come_first_with_count_and_probability():
    rows = [line.split() for line in shown(FOCK).splitlines() if "⟩" in line]
    assert rows == [["|00⟩", "5", "0.5000"], ["|11⟩", "3", "0.3000"], ["|02⟩", "2", "0.2000"]]


def test_rare_samples_are_summed_up():
    samples = np.repeat(np.arange(15), [50, *[3] * 14]).reshape(-1, 1)
    assert ["5", "others", "15", "0.1630"] in [line.split() for line in shown(samples).splitlines()]


def test_samples_that_all_differ_make_no_table():
    assert "All 20 samples differ" in shown(np.arange(20).reshape(-1, 1))


def test_the_mean_photon_number_is_that_of_a_whole_shot():
    assert "Photons in a shot: mean 1" in shown(FOCK)


def test_an_ascii_output_gets_ascii():
    text = shown(FOCK, encoding="ascii")
    assert "|00>" in text
    assert "#" in text


@pytest.mark.parametrize("width", [80, 40, 20])
@pytest.mark.parametrize("modes", [2, 8, 200])
def test_nothing_is_wider_than_the_terminal(width, modes):
    samples = np.random.default_rng(1).integers(0, 12, (50, modes)).repeat(2, axis=0)
    assert max(len(line) for line in shown(samples, width=width).splitlines()) <= width


def test_a_sample_too_wide_for_its_column_shows_its_beginning_and_its_end():
    samples = np.zeros((2, 100), np.uint8)
    samples[:, [0, -1]] = 1, 2
    (ket,) = [line.split()[0] for line in shown(samples).splitlines() if "⟩" in line]
    assert ket.startswith("|10")
    assert ket.endswith("02⟩")
    assert len(ket) <= 52


def drawn(distribution, *, width=40, blocks=True) -> list[str]:
    return [line.plain for line in bars(distribution, width=width, blocks=blocks)]


def test_the_longest_bar_fills_its_column_and_the_others_are_in_proportion():
    lines = drawn([0.5, 0.25, 0.25], blocks=False)
    assert [line.count("#") for line in lines] == [29, 14, 14]


def test_every_photon_number_that_occurs_has_a_bar():
    assert [line.count("#") for line in drawn([0.998, 0.001, 0.0, 0.001], blocks=False)][1:] == [1, 0, 1]


def test_many_photon_numbers_share_bars():
    lines = drawn([1 / 100] * 100)
    assert len(lines) <= 17
    assert lines[0].startswith("  0-7 ")
    assert sum(float(line.split()[-1]) for line in lines) == pytest.approx(1, abs=1e-3)


def test_odd_numbers_that_never_occur_are_left_out():
    assert [line.split()[0] for line in drawn([0.5, 0.0, 0.3, 0.0, 0.2])] == ["0", "2", "4"]


def test_pairs_of_photons_make_no_zigzag():
    falling = [0.1 * 0.9 ** (n // 2) * (n % 2 == 0) for n in range(45)]
    heights = [line.count("#") for line in drawn(falling, blocks=False)]
    assert heights[:-1] == sorted(heights[:-1], reverse=True)


def test_a_long_thin_tail_is_one_bar():
    distribution = [0.5, 0.4999] + [0.0] * 997 + [0.0001]
    assert [line.split()[0] for line in drawn(distribution)][-1] == "16+"


def test_homodyne_samples_are_summed_up_by_mode():
    samples = np.array([[1.0, -2.0], [3.0, -2.0]])
    rows = [line.split() for line in shown(samples).splitlines()]
    assert ["0", "+2.0000", "1.0000"] in rows
    assert ["1", "-2.0000", "0.0000"] in rows


def test_heterodyne_samples_have_two_parts():
    assert ["0", "+1.0000", "+2.0000i", "1.0000"] in [line.split() for line in shown([[0 + 2j], [2 + 2j]]).splitlines()]


def test_the_timebins_of_a_mode_are_averaged():
    samples = np.arange(8.0).reshape(2, 2, 2)
    rows = [line.split() for line in shown(samples).splitlines()]
    assert ["0", "+2.5000"] in [row[:2] for row in rows]


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (FOCK, "10 shots of 2 modes from X8_01"),
        (np.zeros((1, 1), int), "1 shot of 1 mode from X8_01"),
        (np.zeros((1000, 2, 3)), "1,000 shots of 2 modes and 3 timebins from X8_01"),
    ],
)
def test_the_headline_counts(samples, words):
    assert headline(summarize(Result([samples])), "X8_01") == words


def test_json_of_photon_numbers():
    data = json.loads(json.dumps(summarize(Result([FOCK])).as_json()))
    assert data["kind"] == "photon-numbers"
    assert data["shape"] == [10, 2]
    assert data["mean_photon_number"] == pytest.approx(1.0)
    assert data["mean_photon_number_per_mode"] == pytest.approx([0.3, 0.7])
    assert data["photon_number_distribution"] == pytest.approx([0.5, 0, 0.5])
    assert data["most_frequent"][0] == {"pattern": [0, 0], "count": 5, "probability": 0.5}


def test_json_of_samples_that_are_not_numbers_is_valid():
    data = json.dumps(summarize(Result([np.array([[np.nan], [1.0]])])).as_json(), allow_nan=False)
    assert json.loads(data)["modes"] == [{"mean": None, "standard_deviation": None}]


@pytest.mark.parametrize(
    "samples",
    [np.zeros((0, 3)), np.zeros((3, 0), int), np.array(7), np.array(["a"]), np.array([[-1]]), np.array([[10**9]])],
)
def test_a_result_of_another_kind_gets_a_reason_instead_of_a_chart(samples):
    assert shown(samples).startswith("No summary: ")


def test_a_result_without_samples_gets_a_reason():
    assert summarize(Result([])).as_json()["kind"] == "other"
