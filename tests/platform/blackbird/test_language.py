"""The language: values, modes, options, arrays, loops and parameters of parsed programs."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from sfjobs.platform.blackbird import parse
from sfjobs.platform.program import ArrayParameter, FreeParameter, MeasuredParameter, Operation, Program, Value

HEADER = "name demo\nversion 1.0\n"


def operations(body: str) -> tuple[Operation, ...]:
    return parse(f"{HEADER}\n{body}").operations


def argument(text: str) -> Value:
    return operations(f"Foo({text}) | 0\n")[0].arguments[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("0.5", 0.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("1e-3", 0.001),
        ("1.5E+3", 1500.0),
        ("2j", 2j),
        ("1+2j", 1 + 2j),
        ("-1+2j", -1 + 2j),
        ("1 + 2j", 1 + 2j),
        ("3*1+2j", 3 + 6j),
        ("pi", math.pi),
        ("2*pi/4", math.pi / 2),
        ("7/2", 3.5),
        ("6/2", 3.0),
        ("2 + 3*4", 14),
        ("(2 + 3)*4", 20),
        ("1 - 2 - 3", -4),
        ("8/2/2", 2.0),
        ("-2**2", 4),
        ("2**3**2", 512),
        ("2**-1", 0.5),
        ("--1", 1),
        ("sqrt(4)", 2.0),
        ("sqrt(-1+0j)", 1j),
        ("arcsin(1)", math.pi / 2),
        ("arctanh(0.5)", math.atanh(0.5)),
        ("log(exp(2))", 2.0),
        ("cosh(0)", 1.0),
        ("True", True),
        ('"a text"', "a text"),
        ("[1, 2.5]", (1, 2.5)),
        ("[]", ()),
    ],
)
def test_an_argument_has_this_value(text: str, value: Value) -> None:
    expected = pytest.approx(value, rel=1e-15, abs=0) if isinstance(value, float) else value
    assert argument(text) == expected


@pytest.mark.parametrize(
    ("text", "kind"), [("3", int), ("2+1", int), ("3.0", float), ("6/2", float), ("1j*1j", complex), ("True", bool)]
)
def test_an_argument_keeps_its_type(text: str, kind: type) -> None:
    assert type(argument(text)) is kind


@pytest.mark.parametrize(
    ("text", "modes"),
    [
        ("0", (0,)),
        ("[0, 1]", (0, 1)),
        ("[0,1]", (0, 1)),
        ("(0, 1)", (0, 1)),
        ("0, 1", (0, 1)),
        ("[3]", (3,)),
        ("(2)", (2,)),
        ("[1+1, 2*2]", (2, 4)),
    ],
)
def test_modes_are_written_in_these_ways(text: str, modes: tuple[int, ...]) -> None:
    assert operations(f"Foo | {text}\n")[0].modes == modes


@pytest.mark.parametrize("statement", ["Vac | 0", "Vac() | 0", "MeasureX | 0", "MeasureFock() | 0", "Vac | 0 # why"])
def test_a_statement_needs_no_arguments(statement: str) -> None:
    assert operations(statement)[0].arguments == ()


@pytest.mark.parametrize("arguments", ["select=[1, 2], x=0.5", ", select=[1, 2], x=0.5", "select=[1,2],x=0.5,"])
def test_keyword_arguments_are_kept_by_name(arguments: str) -> None:
    assert operations(f"MeasureFock({arguments}) | 0\n")[0].keywords == {"select": (1, 2), "x": 0.5}


def test_an_operation_has_its_line() -> None:
    assert [each.line for each in operations("\n# a comment\nVac | 0\n\nVac | 1\n")] == [6, 8]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_ending_is_read(ending: str) -> None:
    text = f"{HEADER}\nfloat array A =\n    1, 2\nFoo(A[1]) | 0\nVac | 1".replace("\n", ending)
    assert [each.line for each in parse(text).operations] == [6, 7]


@pytest.mark.parametrize(
    ("line", "target", "options"),
    [
        ("target X8_01 (shots=100)", "X8_01", {"shots": 100}),
        ("target X8_01 (shots = 100)", "X8_01", {"shots": 100}),
        ("target X8_01(integer_overflow_protection=False, shots=7)", "X8_01", {"integer_overflow_protection": False, "shots": 7}),
        ('target a.b-2 (x="y", z=[1, 2])', "a.b-2", {"x": "y", "z": (1, 2)}),
        ("target X8_01", "X8_01", {}),
        ("target X8_01 ()", "X8_01", {}),
    ],
)  # fmt: skip
def test_the_target_line_gives_name_and_options(line: str, target: str, options: dict[str, Value]) -> None:
    program = parse(f"{HEADER}{line}\n\nVac | 0\n")
    assert (program.target, program.options) == (target, options)


def test_the_shots_of_a_program_are_on_the_target_line() -> None:
    assert parse(f"{HEADER}target X8_01 (shots = 100)\n").shots == 100


def test_a_program_named_none_has_no_name() -> None:
    assert parse("name None\nversion 1.0\n").name is None


def test_a_name_may_have_spaces_and_dashes() -> None:
    assert parse("name my circuit-2  # the second\nversion 1\n").name == "my circuit-2"


def test_a_program_without_a_header_is_rejected_with_a_hint() -> None:
    with pytest.raises(Exception, match="expected 'name'"):
        parse("Vac | 0\n")


def test_the_type_line_gives_type_and_options() -> None:
    program = parse(f"{HEADER}target TD2\ntype tdm (temporal_modes=4, copies=1)\n")
    assert (program.type, program.type_options) == ("tdm", {"temporal_modes": 4, "copies": 1})


@pytest.mark.parametrize(
    ("declaration", "value"),
    [
        ("float x = 1", 1.0),
        ("int x = 3", 3),
        ("int x = 3.0", 3),
        ("complex x = 1", 1 + 0j),
        ("bool x = True", True),
        ('str x = "hi"', "hi"),
        ("float x = 2*pi", 2 * math.pi),
    ],
)
def test_a_variable_stands_for_its_value(declaration: str, value: Value) -> None:
    given = operations(f"{declaration}\nFoo(x) | 0\n")[0].arguments[0]
    assert (given, type(given)) == (value, type(value))


@pytest.mark.parametrize(
    ("declaration", "expected"),
    [
        ("float array A[1, 4] =\n    1, 2, 3, 4.5", np.array([[1, 2, 3, 4.5]])),
        ("float array A =\n    1, 2\n    3, 4", np.array([[1.0, 2.0], [3.0, 4.0]])),
        ("int array A =\n    1, -2", np.array([[1, -2]])),
        ("complex array A[1, 2] =\n    1+2j, -0.5-1e-3j", np.array([[1 + 2j, -0.5 - 0.001j]])),
        ("float array A =\n\tpi, sqrt(4)  # a comment", np.array([[np.pi, 2.0]])),
        ("bool array A =\n    1, 0", np.array([[True, False]])),
        ("complex array A =\n    1 + 2j, 3\n    4j, -5", np.array([[1 + 2j, 3], [4j, -5]])),
    ],
)
def test_a_gate_gets_the_declared_array(declaration: str, expected: np.ndarray) -> None:
    array = operations(f"{declaration}\nFoo(A) | 0\n")[0].arguments[0]
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(array, expected, strict=True)


def test_a_declared_array_cannot_be_written_to() -> None:
    program = parse(f"{HEADER}\nfloat array A =\n    1, 2\n")
    assert not program.arrays["A"].flags.writeable


@pytest.mark.parametrize(("text", "value"), [("A[3]", 4.0), ("A[1, 0]", 3.0), ("A[-1]", 4.0), ("2*A[1] + 1", 5.0)])
def test_an_element_is_named_by_one_index_or_two(text: str, value: float) -> None:
    assert operations(f"float array A =\n    1, 2\n    3, 4\nFoo({text}) | 0\n")[0].arguments == (value,)


def test_arithmetic_with_an_array_is_done_element_by_element() -> None:
    array = operations("float array A =\n    1, 2\nFoo(2*sin(A) - A) | 0\n")[0].arguments[0]
    np.testing.assert_allclose(array, 2 * np.sin([[1.0, 2.0]]) - [[1.0, 2.0]], rtol=1e-15)  # type: ignore[arg-type]  # an array


def test_an_array_of_a_tdm_program_is_a_parameter_for_each_time_bin() -> None:
    program = parse(f"{HEADER}type tdm (temporal_modes=2)\nint array p0 =\n    1, 2\nFoo(p0, x=p0, y=p0[1]) | 0\n")
    operation = program.operations[0]
    assert (operation.arguments, operation.keywords) == ((ArrayParameter("p0"),), {"x": ArrayParameter("p0"), "y": 2})


def test_an_array_with_another_name_in_a_tdm_program_is_a_value() -> None:
    program = parse(f"{HEADER}type tdm (temporal_modes=2)\nint array U =\n    1, 2\nFoo(U) | 0\n")
    assert isinstance(program.operations[0].arguments[0], np.ndarray)


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("q0", MeasuredParameter("q0", (0,))),
        ("0.5*q3 + q1", MeasuredParameter("0.5 * q3 + q1", (1, 3))),
        ("x*(q0 - 1)**2", MeasuredParameter("0.25 * (q0 - 1) ** 2", (0,))),
        ("-q0**2", MeasuredParameter("(-q0) ** 2", (0,))),
        ("q0 - (q1 - q2)", MeasuredParameter("q0 - (q1 - q2)", (0, 1, 2))),
        ("arcsin(q0/2)", MeasuredParameter("arcsin(q0 / 2)", (0,))),
        ("{a}", FreeParameter("{a}", ("a",))),
        ("2*{a} + {b}", FreeParameter("2 * {a} + {b}", ("a", "b"))),
        ("y", FreeParameter("{c}", ("c",))),
    ],
)
def test_a_parameter_without_a_value_stays_text(text: str, parameter: Value) -> None:
    assert operations(f"float x = 0.25\nfloat y = {{c}}\nFoo({text}) | 4\n")[0].arguments == (parameter,)


def test_free_parameters_are_listed_once_in_order() -> None:
    assert parse(f"{HEADER}\nFoo({{b}}, {{a}}) | 0\nFoo({{b}}) | 1\n").free_parameters == ("b", "a")


def test_an_array_as_one_free_parameter_has_a_parameter_for_each_element() -> None:
    program = parse(f"{HEADER}type tdm (temporal_modes=3)\nfloat array p1[1, 3] =\n    {{bs}}\nFoo({{bs}}) | 0\n")
    assert program.free_parameters == ("bs_0_0", "bs_0_1", "bs_0_2", "bs")


@pytest.mark.parametrize(
    ("loop", "expected"),
    [
        ("for int m in 0:3\n    Foo(m) | m", [(0, 0), (1, 1), (2, 2)]),
        ("for int m in 0:5:2\n    Foo(0.5*m) | m", [(0.0, 0), (1.0, 2), (2.0, 4)]),
        ("for float x in [0.1, 2]\n    Foo(x) | 0", [(0.1, 0), (2.0, 0)]),
        ("for float x in 0.1, 2\n    Foo(x) | 0", [(0.1, 0), (2.0, 0)]),
        ('for str s in ["a", "b"]\n\tFoo(s) | 1', [("a", 1), ("b", 1)]),
        ("for int m in 3:0\n    Foo(m) | m", []),
        (
            "for int m in 0:2\n\n    # a comment\n    Foo(m) | m\n    Foo(7) | [m + 1]\n",
            [(0, 0), (7, 1), (1, 1), (7, 2)],
        ),
    ],
)
def test_a_loop_is_unrolled(loop: str, expected: list[tuple[Value, int]]) -> None:
    assert [(each.arguments[0], each.modes[0]) for each in operations(loop)] == expected


def test_two_loops_may_use_the_same_name() -> None:
    assert len(operations("for int m in 0:2\n    Vac | m\nfor int m in 0:3\n    Vac | m\n")) == 5


def test_eight_threads_parse_at_the_same_time() -> None:
    texts = [f"{HEADER}int n = {k}\nfor int m in 0:20\n    Foo(n*m, {{a{k}}}) | m\n" for k in range(8)]
    expected = [parse(text) for text in texts]
    start = threading.Barrier(8)
    parsed: dict[int, list[Program]] = {}

    def work(index: int) -> None:
        start.wait(timeout=30)
        parsed[index] = [parse(texts[index]) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert parsed == {index: [expected[index]] * 20 for index in range(8)}


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        ("float a = 1.0\nfloat a = 2.0\nRgate(a) | 0\n", [2.0]),
        ("float a = 1.0\nRgate(a) | 0\nfloat a = 2.0\nRgate(a) | 0\n", [1.0, 2.0]),
        ("float a = 1.0\nfloat a = a + 1.0\nRgate(a) | 0\n", [2.0]),
        ("float a = 1.5\nint a = 2\nRgate(a) | 0\n", [2]),
        ("float array a =\n    1.0, 2.0\nfloat a = 3.0\nRgate(a) | 0\n", [3.0]),
        ("float a = 3.0\nfloat array a =\n    1.0, 2.0\nRgate(a[0, 1]) | 0\n", [2.0]),
    ],
)
def test_the_last_of_two_declarations_counts(body: str, arguments: list[float]) -> None:
    assert [operation.arguments[0] for operation in operations(body)] == arguments


def test_an_array_that_a_number_replaces_is_not_an_array_of_the_program() -> None:
    program = parse(f"{HEADER}\nfloat array a =\n    1.0, 2.0\nfloat a = 3.0\nRgate(a) | 0\n")
    assert not program.arrays
