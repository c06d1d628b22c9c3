"""Reading and editing the header of a script, in every form that a header has."""

from __future__ import annotations

import random
from typing import Any

import blackbird  # type: ignore[import-untyped]  # it has no types
import numpy as np
import pytest

from sfjobs._protocol.blackbird_header import Header, read_header, with_header
from sfjobs.platform.blackbird import parse
from sfjobs.platform.program import Program

BODY = "\nS2gate(1.0, 0.0) | [0, 4]\nMZgate(1.25, 0.5) | [0, 1]\nMeasureFock() | [0, 1, 2, 3, 4, 5, 6, 7]\n"
X8 = "name rng_u4\nversion 1.0\ntarget X8_01 (shots=100)\n" + BODY
UNNAMED = X8.replace("rng_u4", "None").replace("shots=100", "shots=5")
TDM = """name loop1
version 1.0
target TD2 (shots=10)
type tdm (temporal_modes=4)

float array p0 =
    0.7853981633974483, 0.0, 0.7853981633974483, 0.0
float array p1 =
    0.0, 1.5707963267948966, 0.0, 1.5707963267948966

Sgate(0.5643, 0) | 1
BSgate(p0, 0.0) | [1, 0]
Rgate(p1) | 1
MeasureHomodyne(0.5) | 0
"""

SCRIPTS = {
    "as Strawberry Fields writes it": X8,
    "unnamed": UNNAMED,
    "of the time domain": TDM,
    "with CRLF": X8.replace("\n", "\r\n"),
    "of the time domain with CRLF": TDM.replace("\n", "\r\n"),
    "with CR alone": X8.replace("\n", "\r"),
    "without a target": X8.replace("target X8_01 (shots=100)\n", ""),
    "with a type and without a target": TDM.replace("target TD2 (shots=10)\n", ""),
    "without a name": X8.replace("name rng_u4\n", ""),
    "without a version": X8.replace("version 1.0\n", ""),
    "with nothing but a target": "target X8_01 (shots=100)\n" + BODY,
    "with nothing but a version": "version 1.0\n" + BODY,
    "with nothing but a type": "type tdm (temporal_modes=4)\n\nSgate(0.5) | 1\nMeasureFock() | 0\n",
    "with no header at all": BODY.lstrip(),
    "with a blank line first": "\n" + X8,
    "with comments": X8.replace("rng_u4", "rng_u4 # mine")
    .replace("100)", "100) # few")
    .replace("name", "# hi\nname", 1),
    "with comments between": X8.replace("\nversion", "\n# old\n\nversion").replace("\ntarget", "\n  # note\ntarget"),
    "with a target without options": X8.replace(" (shots=100)", ""),
    "with a target with empty options": X8.replace("shots=100", ""),
    "with other spacing": X8.replace(" (shots=100)", "( shots = 100 )").replace("name rng", "name \t rng"),
    "with options before shots": X8.replace("shots=100", "integer_overflow_protection=False, shots=100"),
    "with options behind shots": X8.replace("shots=100", "shots=100, cutoff=5, crop=True"),
    "with lists in options": X8.replace("shots=100", "levels=[1, 2, 3], shots=100"),
    "with commas and brackets in strings": X8.replace("shots=100", 'label="a, b=(c] shots=7", shots=100'),
    "with a hash in a string": X8.replace("shots=100", 'label="run #7", shots=100') + "# end\n",
    "for a device with dots and dashes": X8.replace("X8_01", "X8-01.lab_2"),
    "for a device that begins with a digit": X8.replace("X8_01", "8X"),
    "without a last newline": X8.rstrip("\n"),
    "that looks like a header again further down": X8 + "# target other (shots=1)\n",
}
TABLE = pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())


def operations(script: str) -> list[tuple[object, ...]]:
    """The operations of a script, without its header."""
    return [(step.name, step.arguments, dict(step.keywords), step.modes) for step in parse(script).operations]


def edited(script: str, **changes: object) -> Program:
    return parse(with_header(script, **{"target": "simulon_gaussian", **changes}))  # type: ignore[arg-type]  # a table


@TABLE
def test_the_target_is_set(script: str) -> None:
    assert edited(script).target == "simulon_gaussian"


@TABLE
def test_the_shots_are_set(script: str) -> None:
    assert edited(script, shots=321).shots == 321


@TABLE
def test_the_name_is_set(script: str) -> None:
    assert edited(script, name="my_run").name == "my_run"


@TABLE
def test_the_operations_stay_as_they_were(script: str) -> None:
    body = script[script.index("S2gate" if "S2gate" in script else "Sgate") :]
    assert body in with_header(script, target="X12_02", shots=3, name="other")


@pytest.mark.parametrize("script", [X8, UNNAMED, TDM], ids=["X8", "unnamed", "time domain"])
def test_an_edited_script_does_the_same(script: str) -> None:
    assert operations(with_header(script, target="simulon_gaussian", shots=9, name="other")) == operations(script)


@TABLE
def test_editing_twice_is_editing_once(script: str) -> None:
    once = with_header(script, target="X8_01", shots=7, name="other")
    assert with_header(once, target="X8_01", shots=7, name="other") == once


@pytest.mark.parametrize("script", [script for script in SCRIPTS.values() if "\n" in script])  # it needs a line feed
def test_quantum_blackbird_reads_an_edited_script(script: str) -> None:
    program = blackbird.loads(with_header(script, target="simulon_gaussian", shots=11, name="other"))
    assert (program.name, program.target["name"], program.target["options"]["shots"]) == (
        "other",
        "simulon_gaussian",
        11,
    )


def test_other_options_are_kept() -> None:
    script = X8.replace("shots=100", 'a=[1, 2], label="x, (y", shots=100, crop=True')
    assert edited(script, shots=5).options == {"a": (1, 2), "label": "x, (y", "crop": True, "shots": 5}


def test_without_shots_those_of_the_script_stay() -> None:
    assert edited(X8).shots == 100


def test_without_a_name_that_of_the_script_stays() -> None:
    assert edited(X8).name == "rng_u4"


def test_the_type_line_stays() -> None:
    program = edited(TDM)
    assert (program.type, program.type_options) == ("tdm", {"temporal_modes": 4})


HEADER_LINES = [
    "name p", "name\tq  ", "version 1.0", "target X8_01", "target X8_01 (shots=3, a=[1, 2])", "target  (", "type tdm (x=1)",
    "target", "name ", "\t", "", " name r", "names x", "float p = 1", "name \x0b", "Xgate(1) | 0",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(300))
def test_a_plain_header_is_edited_like_any_other(seed: int) -> None:
    draw = random.Random(seed)
    lines = "".join(f"{line}\n" for line in draw.choices(HEADER_LINES, k=draw.randint(1, 6)))
    changes: dict[str, Any] = {"target": "T", "shots": draw.choice([None, 5]), "name": draw.choice([None, "z"])}
    commented = with_header(f"{lines}# a comment, so that it is not plain\nSgate(1) | 0\n", **changes)
    assert with_header(f"{lines}Sgate(1) | 0\n", **changes) == commented.replace(
        "# a comment, so that it is not plain\n", ""
    )


@pytest.mark.parametrize("shots", [True, 1.0])
def test_a_value_that_equals_a_cached_number_of_shots_is_refused(shots: Any) -> None:
    with_header(X8, target="X8_01", shots=1)
    with pytest.raises((ValueError, TypeError)):
        with_header(X8, target="X8_01", shots=shots)


def test_comments_on_edited_lines_stay() -> None:
    script = with_header(X8.replace("100)", "100)  # few"), target="X8_01", shots=3)
    assert "target X8_01 (shots=3)  # few\n" in script


def test_added_lines_end_like_the_others() -> None:
    script = with_header(BODY.lstrip().replace("\n", "\r\n"), target="X8_01", shots=3)
    assert script.count("\n") == script.count("\r\n")


@pytest.mark.parametrize("script", ["name x", "version 1.0", "name x\nversion 1.0", "target X8_01", ""])
def test_a_header_alone_is_completed(script: str) -> None:
    assert edited(script, shots=4).options == {"shots": 4}


@pytest.mark.parametrize("name", ["", "my run", "my-run", "7up", "a\nversion 2.0", "naïve", "x" * 10 + '"'])
def test_a_name_that_blackbird_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="the name of a script"):
        with_header(X8, target="X8_01", name=name)


@pytest.mark.parametrize("target", ["", "X8 01", "X8\nname x", "X8 (shots=9)", "../jobs", "X8#", "-"])
def test_a_target_that_blackbird_cannot_hold_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="a target is"):
        with_header(X8, target=target)


@pytest.mark.parametrize("shots", [0, -1, True])
def test_shots_that_are_not_a_positive_number_are_refused(shots: int) -> None:
    with pytest.raises(ValueError, match="shots is a positive number"):
        with_header(X8, target="X8_01", shots=shots)


def test_a_number_of_shots_with_a_fraction_is_refused() -> None:
    with pytest.raises(TypeError):
        with_header(X8, target="X8_01", shots=2.5)  # type: ignore[arg-type]  # the mistake that is tested


def test_shots_may_be_a_numpy_integer() -> None:
    assert edited(X8, shots=np.int64(12)).shots == 12


@pytest.mark.parametrize(
    ("script", "header"),
    [
        (X8, Header(name="rng_u4", target="X8_01", shots=100)),
        (X8.replace("\n", "\r\n"), Header(name="rng_u4", target="X8_01", shots=100)),
        (X8.replace("100)", "100) # few"), Header(name="rng_u4", target="X8_01", shots=100)),
        (UNNAMED, Header(target="X8_01", shots=5)),
        (TDM, Header(name="loop1", target="TD2", shots=10)),
        (X8.replace("(shots=100)", ""), Header(name="rng_u4", target="X8_01")),
        (X8.replace("shots=100", 'label="shots=3, #", shots = 8'), Header(name="rng_u4", target="X8_01", shots=8)),
        (X8.replace("shots=100", "shots=many"), Header(name="rng_u4", target="X8_01")),
        (X8.replace("shots=100", "shots=" + "9" * 5000), Header(name="rng_u4", target="X8_01")),
        (X8.replace("target X8_01 (shots=100)\n", ""), Header(name="rng_u4")),
        (BODY, Header()),
        ("", Header()),
        ("<html>", Header()),
    ],
)
def test_a_header_is_read(script: str, header: Header) -> None:
    assert read_header(script) == header
