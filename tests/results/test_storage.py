"""Results in files, notebooks and pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from sfjobs.errors import ConfigurationError, ResultCorruptError, ResultError, ResultTooLargeError
from sfjobs.results import Array, Result
from tests.results.test_npy import ARRAYS, assert_same
from tests.support.small_disk import no_file_larger_than

SOURCE = np.random.default_rng(2)
SAMPLES = SOURCE.poisson(1.0, (50, 8)).astype(np.uint8)
DRAWABLE: dict[str, Array] = {
    "photons": SAMPLES,
    "clicks": SAMPLES > 0,
    "vacuum": np.zeros((10, 4), np.uint8),
    "one shot": SAMPLES[:1],
    "one axis": SAMPLES[:, 0],
    "many modes": SOURCE.poisson(1.0, (20, 30)),
    "time domain": SOURCE.poisson(1.0, (20, 2, 30)),
    "bright": SOURCE.poisson(40.0, (100, 8)),
    "homodyne": SOURCE.normal(size=(100, 3)),
    "homodyne of many modes": SOURCE.normal(size=(100, 9)),
    "half precision": SOURCE.normal(size=(100, 3)).astype(np.float16),
    "homodyne of one value": np.zeros((5, 1)),
    "homodyne with gaps": np.array([[1.0, np.nan], [np.inf, 2.0]]),
    "heterodyne": SOURCE.normal(size=(100, 3)) + 1j * SOURCE.normal(size=(100, 3)),
    "heterodyne of one value": np.zeros((5, 1), complex),
}
UNDRAWABLE: dict[str, Array] = {
    "text": np.array([["a"]]),
    "no shots": np.zeros((0, 8), np.uint8),
    "nothing finite": np.full((3, 1), np.nan),
    "no photon numbers": np.array([[-1, 2]]),
    "one number": np.array(3),
}


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("name", ARRAYS)
def test_every_plain_type_comes_back_from_its_file(name: str, suffix: str, tmp_path: Path) -> None:
    path = Result([ARRAYS[name]]).save(tmp_path / f"result{suffix}")
    assert_same(Result.load(path).raw, ARRAYS[name])


def test_outputs_and_metadata_come_back_from_an_archive(tmp_path: Path) -> None:
    saved = Result([SAMPLES, SAMPLES[:2]], {"cutoff": np.int64(5), "file": np.arange(3)})
    loaded = Result.load(saved.save(tmp_path / "result.npz"))
    assert [output.shape for output in loaded.outputs] == [(50, 8), (2, 8)]
    assert {name: value.tolist() for name, value in loaded.metadata.items()} == {"cutoff": 5, "file": [0, 1, 2]}


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_numpy_reads_what_was_saved(suffix: str, tmp_path: Path) -> None:
    loaded = np.load(Result([SAMPLES]).save(tmp_path / f"result{suffix}"))
    if suffix == ".npz":
        with loaded:
            loaded = loaded["arr_0"]
    assert_same(loaded, SAMPLES)


@pytest.mark.parametrize("name", ["uint8", "fortran", "datetime", "empty"])
def test_a_mapped_file_shows_the_same_array(name: str, tmp_path: Path) -> None:
    path = Result([ARRAYS[name]]).save(tmp_path / "result.npy")
    assert_same(Result.load(path, mmap=True).raw, ARRAYS[name])


def test_a_mapped_array_stays_on_disk(tmp_path: Path) -> None:
    assert isinstance(Result.load(Result([SAMPLES]).save(tmp_path / "a.npy"), mmap=True).raw, np.memmap)


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("change", [b"x", None], ids=["longer", "shorter"])
def test_a_file_of_another_length_than_its_header_is_corrupt(change: bytes | None, mmap: bool, tmp_path: Path) -> None:
    path = Result([SAMPLES]).save(tmp_path / "result.npy")
    path.write_bytes(path.read_bytes() + change if change else path.read_bytes()[:-1])
    with pytest.raises(ResultCorruptError, match=r"result\.npy"):
        Result.load(path, mmap=mmap)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x93NUMPY"])
def test_any_other_file_is_corrupt(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "result.npy"
    path.write_bytes(content)
    with pytest.raises(ResultCorruptError, match=r"result\.npy"):
        Result.load(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_file_above_the_limit_is_too_large(suffix: str, tmp_path: Path) -> None:
    path = Result([SAMPLES]).save(tmp_path / f"result{suffix}")
    with pytest.raises(ResultTooLargeError):
        Result.load(path, max_bytes=SAMPLES.nbytes - 1)


@pytest.mark.parametrize("path", ["result", "result.txt", "result.npy.gz"])
def test_other_suffixes_are_not_written(path: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither"):
        Result([SAMPLES]).save(tmp_path / path)


@pytest.mark.parametrize("result", [Result([]), Result([SAMPLES] * 2), Result([SAMPLES], {"cutoff": np.int64(5)})])
def test_an_npy_file_holds_one_array(result: Result, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"need \.npz"):
        result.save(tmp_path / "result.npy")


def test_metadata_under_the_name_of_an_output_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="arr_0"):
        Result([SAMPLES], {"arr_0": SAMPLES}).save(tmp_path / "result.npz")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_failed_save_leaves_only_the_old_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"result{suffix}"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        Result([np.array([{}])]).save(path)
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [(path.name, b"old")]


def test_a_save_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.npy"
    path.write_bytes(b"old")
    Result([SAMPLES]).save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.npy"]


@pytest.mark.parametrize("name", [*DRAWABLE, *UNDRAWABLE])
def test_the_notebook_view_is_well_formed_and_without_script(name: str) -> None:
    text = Result([{**DRAWABLE, **UNDRAWABLE}[name]])._repr_html_()
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(text).iter()}
    assert tags <= {"div", "b", "br", "code", "svg", "g", "rect", "path", "text", "title"}


@pytest.mark.parametrize("name", DRAWABLE)
def test_the_notebook_view_has_a_drawing(name: str) -> None:
    assert "<rect" in Result([DRAWABLE[name]])._repr_html_()


def test_the_notebook_view_of_bright_shots_has_a_bounded_number_of_bars() -> None:
    assert 2 <= Result([SOURCE.poisson(1e4, (5000, 1))])._repr_html_().count("<rect") <= 100


def test_the_notebook_view_shows_foreign_names_as_text() -> None:
    text = Result([], {"<script>": np.int64(1)}, job_id="<img>")._repr_html_()
    assert "<script>" not in text
    assert "<img>" not in text


def test_the_notebook_view_of_thousands_of_names_is_short() -> None:
    flood = Result([SAMPLES] * 10_000, {f"{index}{'<' * 1000}": np.int64(1) for index in range(10_000)})._repr_html_()
    assert len(flood) < 40_000
    assert flood.count("and 9,980 more") == 2


@pytest.mark.parametrize("job_id", [r"$\foo$", "$", "\x00\n", "_^{", "<img>"])
def test_a_picture_of_a_job_with_a_hostile_id_is_drawn(job_id: str, tmp_path: Path) -> None:
    Result([SAMPLES], job_id=job_id).plot(tmp_path / "result.png")
    assert (tmp_path / "result.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", DRAWABLE)
def test_a_picture_is_written(name: str, tmp_path: Path) -> None:
    Result([DRAWABLE[name]]).plot(tmp_path / "result.png")
    assert (tmp_path / "result.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(os.name != "posix", reason="sets a limit of POSIX")
def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    picture = tmp_path / "result.png"
    picture.write_bytes(b"old")
    with no_file_larger_than(1000), pytest.raises(OSError, match="File too large") as caught:
        Result([SAMPLES]).plot(picture)
    assert caught.value.filename == str(picture)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("result.png", b"old")]


@pytest.mark.parametrize("name", UNDRAWABLE)
def test_samples_that_cannot_be_drawn_raise(name: str) -> None:
    with pytest.raises(ResultError):
        Result([UNDRAWABLE[name]]).plot()


def test_the_picture_names_the_most_frequent_patterns() -> None:
    figure = Result([np.array([[0, 12]] * 3 + [[1, 0]])]).plot()
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["|0,12⟩", "|10⟩"]


def test_plotting_does_not_import_pyplot() -> None:
    code = """
import sys, numpy
from sfjobs.results import Result
assert "matplotlib" not in sys.modules
Result([numpy.ones((3, 2), int)]).plot()
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_picture_shows_itself_in_a_notebook() -> None:
    picture = Result([np.array([[0, 1], [1, 1]], np.uint8)]).plot()
    assert picture._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]  # what IPython looks for


def test_plotting_without_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "sfjobs.results.plotting", raising=False)
    with pytest.raises(ConfigurationError, match=r"sfjobs\[plot\]"):
        Result([SAMPLES]).plot()
