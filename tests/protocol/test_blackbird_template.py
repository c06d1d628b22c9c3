"""Free parameters of a script: which text is one, what is written in its place, and what is refused."""

from __future__ import annotations

import time
import tracemalloc

import blackbird  # type: ignore[import-untyped]  # it has no types
import numpy as np
import pytest

from sfjobs._protocol.blackbird_template import MAX_PARAMETERS, Params, bound
from sfjobs.platform.blackbird import parse
from sfjobs.platform.program import ProgramError

HEADER = "name sweep\nversion 1.0\ntarget simulon_gaussian (shots=5)\n\n"


@pytest.mark.parametrize(
    ("text", "params", "expected"),
    [
        ("Sgate({r}) | 0", {"r": 0.1}, "Sgate(0.1) | 0"),
        ("Sgate({ r }) | 0", {"r": -0.1}, "Sgate(-0.1) | 0"),
        ("Sgate({r}, {phi}) | 0", {"r": 1, "phi": 1e-30}, "Sgate(1, 1e-30) | 0"),
        ("Sgate({r}) | 0\nSgate({r}) | 1", {"r": 0.3}, "Sgate(0.3) | 0\nSgate(0.3) | 1"),
        ("Dgate({a}) | 0", {"a": 0.5 - 0.25j}, "Dgate(0.5-0.25j) | 0"),
        ("Dgate(3*{a}) | 0", {"a": 0.5 - 0.25j}, "Dgate(3*(0.5-0.25j)) | 0"),
        ("Dgate(3*{a}+2j) | 0", {"a": 0.5}, "Dgate(3*(0.5)+2j) | 0"),
        ("Rgate(-{a}**2) | 0", {"a": -0.5}, "Rgate(-(-0.5)**2) | 0"),
        ("float a = {a}\nRgate(a) | 0", {"a": 0.5}, "float a = 0.5\nRgate(a) | 0"),
        ("Rgate(0.1) | {m}", {"m": 3}, "Rgate(0.1) | 3"),
        ("Rgate(0.1) | [{m}, 1]", {"m": 0}, "Rgate(0.1) | [0, 1]"),
        ('Foo("{r}", {r}) | 0 # {r} {s}', {"r": 0.5}, 'Foo("{r}", 0.5) | 0 # {r} {s}'),
        ("name a{r}\nRgate({r}) | 0", {"r": 0.5}, "name a{r}\nRgate(0.5) | 0"),
        ("Rgate(p0) | 0\nRgate({p1}) | 0", {"p1": 0.5}, "Rgate(p0) | 0\nRgate(0.5) | 0"),
        ("float array p0[1, 3] =\n    {x}\n", {"x": [0.1, -0.2, 3]}, "float array p0[1, 3] =\n    0.1, -0.2, 3\n"),
        ("float array U[2, 2] =\n\t{U}\n", {"U": [[1, 0], [0, 1]]}, "float array U[2, 2] =\n\t1, 0\n\t0, 1\n"),
        ("float array U =\n    {a}, {b}\n", {"a": 0.1, "b": -1}, "float array U =\n    0.1, -1\n"),
        ("Rgate(0.5) | 0", {}, "Rgate(0.5) | 0"),
        ("Rgate(0.5) | 0 # {x}", None, "Rgate(0.5) | 0 # {x}"),
    ],
)
def test_a_value_is_written_in_the_place_of_its_name(text: str, params: Params | None, expected: str) -> None:
    assert bound(text, params) == expected


@pytest.mark.parametrize(
    "value",
    [0, -7, 2**62, 0.1, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3, 0.1 + 0.2j, -1e-9 - 1e-300j, 2j, np.float64(0.3)],
)
@pytest.mark.parametrize("expression", ["{x}", "0 + {x}"])
def test_a_value_is_exactly_the_one_that_is_read(value: complex, expression: str) -> None:
    text = bound(f"{HEADER}Foo({expression}) | 0\n", {"x": value})
    assert parse(text).operations[0].arguments[0] == value
    assert blackbird.loads(text).operations[0]["args"][0] == value


@pytest.mark.parametrize(
    ("loop", "params", "modes"),
    [
        ("for int m in {a}:5", {"a": 2}, [2, 3, 4]),
        ("for int m in 1:{b}", {"b": 4}, [1, 2, 3]),
        ("for int m in {a}:{b}:{c}", {"a": 1, "b": np.int64(8), "c": 3}, [1, 4, 7]),
        ("for int m in\t{ a } : 5 : {c} # by {c}", {"a": 0, "c": 2}, [0, 2, 4]),
        ("for int m in [{a}, 5]", {"a": 2}, [2, 5]),
        ("for int m in {a}, 5", {"a": 2}, [2, 5]),
        ("for int m in {a}", {"a": 2}, [2]),
        ("for int m in {a}, {a}+1", {"a": 2}, [2, 3]),
    ],
)
def test_the_bounds_of_a_loop_are_parameters(loop: str, params: Params, modes: list[int]) -> None:
    text = bound(f"{HEADER}{loop}\n    Sgate(0.1) | m\n", params)
    assert [operation.modes for operation in parse(text).operations] == [(mode,) for mode in modes]


@pytest.mark.parametrize("value", [2.0, 0.5, 2j])
def test_a_bound_of_a_loop_that_is_no_integer_is_refused(value: complex) -> None:
    with pytest.raises(ProgramError, match=r"is not an integer|unexpected"):
        parse(bound(f"{HEADER}for int m in {{a}}:5\n    Sgate(0.1) | m\n", {"a": value}))


@pytest.mark.parametrize("expression", ["2*{a} + {b}", "-{a}**2", "{a}/3 - ({b} - 1)", "2-{b}", "2**{a}"])
@pytest.mark.parametrize("values", [(0.7, 1.7), (-0.7, -1.7)])
def test_an_expression_has_the_value_that_quantum_blackbird_gives_it(
    expression: str, values: tuple[float, float]
) -> None:
    text = f"{HEADER}Foo({expression}) | 0\n"
    params = {name: value for name, value in zip("ab", values, strict=True) if f"{{{name}}}" in text}
    expected = complex(blackbird.loads(text)(**params).operations[0]["args"][0])
    mine = parse(bound(text, params)).operations[0].arguments[0]
    assert mine == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "params", "reason"),
    [
        ("Rgate({x}) | 0", None, "no value is given for the free parameter x of"),
        ("Rgate({x}) | 0", {}, "no value is given for the free parameter x of"),
        ("Rgate({x} + {y}) | 0", {"z": 1}, "no value is given for the free parameters x, y of"),
        ("Rgate({x}) | 0", {"x": 1, "y": 2}, "the program does not have: the free parameter y"),
        ("Rgate(0.5) | 0 # {x}", {"x": 1}, "the program does not have: the free parameter x"),
        ("Rgate({x}) | 0", {"x": float("nan")}, "x must be finite, not nan"),
        ("Rgate({x}) | 0", {"x": complex(0, float("inf"))}, "x must be finite"),
        ("Rgate({x}) | 0", {"x": [1.0]}, "is not a whole array"),
        ("float array U =\n    {x}, 1\n", {"x": [1.0]}, "is not a whole array"),
        ("float array U =\n    {x}\n", {"x": []}, "must be a list of numbers"),
        ("float array U =\n    {x}\n", {"x": [[1.0], 2.0]}, "must be a list of numbers"),
        ("Rgate(a{x}) | 0", {"x": 1}, "touches other text"),
        ("Rgate({x}{y}) | 0", {"x": 1, "y": 2}, "touches other text"),
        ("Rgate(1.{x}) | 0", {"x": 1}, "touches other text"),
        ("Rgate({x}j) | 0", {"x": 1}, "touches other text"),
    ],
)
def test_params_that_do_not_fit_are_refused(text: str, params: Params | None, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        bound(text, params)


@pytest.mark.parametrize("value", ["0.5", True, None, {"a": 1}])
def test_a_value_that_is_not_a_number_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="the free parameter x must be a number"):
        bound("Rgate({x}) | 0", {"x": value})  # type: ignore[dict-item]  # what the test is about


@pytest.mark.parametrize("give_values", [False, True])
def test_a_template_with_a_million_parameters_is_refused_fast(give_values: bool) -> None:
    text = HEADER + "".join(f"Rgate({{p{index}}}) | 0\n" for index in range(1_000_000))
    params = {f"p{index}": 0.5 for index in range(1_000_000)} if give_values else None
    started = time.process_time()
    with pytest.raises(ValueError, match="free parameters"):
        bound(text, params)
    assert time.process_time() - started < 1
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="free parameters"):
            bound(text, params)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


def test_as_many_parameters_as_are_allowed_take_linear_time() -> None:
    row = ", ".join(["{x}"] * MAX_PARAMETERS)
    started = time.process_time()
    bound(f"float array p0 =\n    {row}\n", {"x": 0.5})
    assert time.process_time() - started < 2
