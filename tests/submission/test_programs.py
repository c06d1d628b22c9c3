"""Which objects are programs, and the text of each."""

from __future__ import annotations

from pathlib import Path

import blackbird  # type: ignore[import-untyped]  # it has no types
import numpy as np
import pytest

from sfjobs._submission.programs import program_text
from sfjobs.platform.blackbird import parse

X8 = """name rng_u4
version 1.0
target X8_01 (shots=100)

S2gate(1.0, 0.0) | [0, 4]
MZgate(1.25, 0.5) | [0, 1]
MeasureFock() | [0, 1, 2, 3, 4, 5, 6, 7]
"""


class FakeBlackbirdProgram:
    """An object that writes itself as Blackbird."""

    def __init__(self, text: object = X8) -> None:
        self.text = text

    def serialize(self) -> object:
        return self.text


def test_a_text_is_a_program() -> None:
    assert program_text(X8) is X8


def test_a_path_is_a_program(tmp_path: Path) -> None:
    (tmp_path / "a.xbb").write_text(X8)
    assert program_text(tmp_path / "a.xbb") == X8


def test_the_path_of_an_xbb_file_as_text_is_a_program(tmp_path: Path) -> None:
    (tmp_path / "a.xbb").write_text(X8)
    assert program_text(str(tmp_path / "a.xbb")) == X8


def test_a_byte_order_mark_is_not_part_of_a_program(tmp_path: Path) -> None:
    (tmp_path / "a.xbb").write_text("\ufeff" + X8, encoding="utf-8")
    assert program_text(tmp_path / "a.xbb") == X8


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        program_text(tmp_path / "none.xbb")


def test_an_object_that_writes_itself_is_a_program() -> None:
    assert program_text(FakeBlackbirdProgram()) == X8  # type: ignore[arg-type]  # typed loosely for the next test


def test_an_object_that_writes_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="FakeBlackbirdProgram"):
        program_text(FakeBlackbirdProgram(None))  # type: ignore[arg-type]  # the mistake that is tested


def test_a_blackbird_program_is_a_program() -> None:
    assert parse(program_text(blackbird.loads(X8))).operations == parse(X8).operations


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("dark_counts=[np.float64(0.1), 0.0]", "dark_counts=[0.1, 0.0]"),
        ("select=[np.int64(1), np.uint8(2)]", "select=[1, 2]"),
        ("x=np.float64(-1.5e-07)", "x=-1.5e-07"),
        ("x=[np.complex128(1-2.5j)]", "x=[1-2.5j]"),
        ("x=[np.True_, np.False_]", "x=[True, False]"),
        ('label="np.float64(0.1)"', 'label="np.float64(0.1)"'),
        ("inp.float64(0.1)", "inp.float64(0.1)"),
    ],
)
def test_numbers_are_written_without_numpys_types(written: str, read: str) -> None:
    assert program_text(FakeBlackbirdProgram(written)) == read  # type: ignore[arg-type]  # typed loosely for another test


def test_a_list_of_numpys_numbers_survives_the_first_implementation_of_the_language() -> None:
    program = blackbird.loads("name a\nversion 1.0\ntarget X8_01 (shots=3)\n\nMeasureFock() | 0\n")
    program.operations[0]["kwargs"]["dark_counts"] = [np.float64(0.25)]
    assert parse(program_text(program)).operations[0].keywords == {"dark_counts": (0.25,)}


@pytest.mark.parametrize("thing", [None, 7, b"name x", ["name x"], object(), FakeBlackbirdProgram])
def test_other_objects_are_not_programs(thing: object) -> None:
    with pytest.raises(TypeError, match="a program is"):
        program_text(thing)  # type: ignore[arg-type]  # the mistake that is tested
