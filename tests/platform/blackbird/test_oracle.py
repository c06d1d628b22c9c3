"""The parser compared with quantum-blackbird on generated programs and on programs that Strawberry Fields emits."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import blackbird  # type: ignore[import-untyped]  # it has no types
import numpy as np
import pytest

from sfjobs.platform.blackbird import parse
from sfjobs.platform.program import ArrayParameter, FreeParameter, MeasuredParameter, Program, Value

PROGRAMS = 320

X8 = """name rng_u4
version 1.0
target X8_01 (shots=100)

S2gate(1.0, 0.0) | [0, 4]
S2gate(1.0, 0.0) | [1, 5]
S2gate(1.0, 0.0) | [2, 6]
S2gate(1.0, 0.0) | [3, 7]
MZgate(1.2659197699219948, 0.4082916168089255) | [0, 1]
MZgate(1.6951552994459653, 2.3158524473318605) | [2, 3]
MZgate(1.4793458641378747, 1.9157571311616568) | [1, 2]
MZgate(0.37274793520862454, 5.277158115871176) | [0, 1]
MZgate(1.712558486772983, 3.4054488131501306) | [2, 3]
MZgate(0.9301158005327967, 3.501193761050222) | [1, 2]
Rgate(4.1276587550387) | 0
Rgate(5.922144285230022) | 1
Rgate(3.0977917755150597) | 2
Rgate(1.017618408036486) | 3
MZgate(1.2659197699219948, 0.4082916168089255) | [4, 5]
MZgate(1.6951552994459653, 2.3158524473318605) | [6, 7]
MZgate(1.4793458641378747, 1.9157571311616568) | [5, 6]
MZgate(0.37274793520862454, 5.277158115871176) | [4, 5]
MZgate(1.712558486772983, 3.4054488131501306) | [6, 7]
MZgate(0.9301158005327967, 3.501193761050222) | [5, 6]
Rgate(4.1276587550387) | 4
Rgate(5.922144285230022) | 5
Rgate(3.0977917755150597) | 6
Rgate(1.017618408036486) | 7
MeasureFock() | [0, 1, 2, 3, 4, 5, 6, 7]
"""

UNNAMED = """name None
version 1.0
target X8_01 (shots=5)

S2gate(0, 0) | [2, 6]
S2gate(0, 0) | [3, 7]
S2gate(1.0, 0.0) | [0, 4]
S2gate(1.0, 0.0) | [1, 5]
MZgate(3.141592653589793, 0.0) | [0, 1]
MZgate(0.5000000000000001, 1.25) | [0, 1]
Rgate(3.1415926535897962) | 0
MeasureFock() | [0, 1, 2, 3, 4, 5, 6, 7]
"""

TDM = """name loop1
version 1.0
target TD2 (shots=10)
type tdm (temporal_modes=4)

float array p0 =
    0.7853981633974483, 0.0, 0.7853981633974483, 0.0
float array p1 =
    0.0, 1.5707963267948966, 0.0, 1.5707963267948966
float array p2 =
    0.0, 0.0, 1.5707963267948966, 1.5707963267948966

Sgate(0.5643, 0) | 1
BSgate(p0, 0.0) | [1, 0]
Rgate(p1) | 1
MeasureHomodyne(p2) | 0
"""

TDM_LAYOUT = """name td2
version 1.0
target TD2 (shots=1)
type tdm (temporal_modes=4, copies=1)

float array p1[1, 4] =
    {bs}
float array p2[1, 4] =
    {r}

Sgate(0.5643, 0) | 1
BSgate({bs}, 0) | (1, 0)
Rgate({r}) | 1
MeasureHomodyne({m}) | 0
"""


class Writer:
    """Random programs of the part of the language that both implementations accept."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.scalars: list[str] = []
        self.arrays: list[str] = []
        self.elements: list[
            tuple[str, int]
        ] = []  # of real arrays: quantum-blackbird drops imaginary parts, sfjobs rejects them
        self.is_tdm = self.random.random() < 0.25

    def program(self) -> str:
        lines = [f"name p{self.random.randrange(1000)}", "version 1.0", *self.header(), ""]
        lines += [line for index in range(self.random.randint(0, 4)) for line in self.declaration(index)]
        for _ in range(self.random.randint(1, 8)):
            lines += self.loop() if self.random.random() < 0.2 else [self.statement()]
        return "\n".join(lines) + "\n"

    def header(self) -> Iterator[str]:
        if self.is_tdm or self.random.random() < 0.7:
            options = self.random.sample(["shots=100", "cutoff = 7", "a=False", 'b="text"', "c=[1, 2.5]", "d=2*pi"], 3)
            yield f"target {self.random.choice(['X8_01', 'simulon_gaussian'])} ({', '.join(options)})"
        if self.is_tdm:
            yield "type tdm (temporal_modes=4, copies=1)"

    def declaration(self, index: int) -> Iterator[str]:
        match self.random.randrange(5):
            case 0:
                yield f"float x{index} = {self.expression(2)}"
                self.scalars.append(f"x{index}")
            case 1:
                yield f"int n{index} = {self.random.randint(-5, 9)}"
                self.scalars.append(f"n{index}")
            case 2:
                yield f"complex z{index} = {self.complex()}"
                self.scalars.append(f"z{index}")
            case _:
                yield from self.array(f"p{index}" if self.is_tdm else f"A{index}")

    def array(self, name: str) -> Iterator[str]:
        rows, columns = self.random.randint(1, 3), self.random.randint(1, 4)
        kind = self.random.choice(["float", "int", "complex"])
        element = {"float": lambda: self.expression(1, names=False), "int": self.integer, "complex": self.complex}[kind]
        shape = f"[{rows}, {columns}]" if self.random.random() < 0.5 else ""
        yield f"{kind} array {name}{shape} ="
        for _ in range(rows):
            yield "    " + ", ".join(element() for _ in range(columns))
        self.arrays.append(name)
        if kind != "complex":
            self.elements.append((name, rows * columns))

    def loop(self) -> list[str]:
        if self.random.random() < 0.5:
            name, head = "m", f"for int m in 0:{self.random.randint(1, 4)}"
        else:
            values = ", ".join(self.float() for _ in range(self.random.randint(1, 3)))
            name, head = "y", f"for float y in [{values} ]"
        body = [f"    Rgate({name}*0.25 + {self.expression(1)}) | {'[m, m+1 ]' if name == 'm' else 0}"]
        if self.random.random() < 0.5:
            body.append(f"    {self.statement()}")
        return [head, *body]

    def statement(self) -> str:
        modes = self.random.sample(range(8), self.random.randint(1, 3))
        if self.random.random() < 0.2:
            return f"{self.random.choice(['Vac', 'MeasureX', 'MeasureFock()'])} | {self.modes(modes)}"
        arguments = [self.argument() for _ in range(self.random.randint(0, 3))]
        keywords = [f"{name}={self.keyword()}" for name in self.random.sample(["phi", "select", "cut_off"], 1)]
        arguments += keywords if self.random.random() < 0.3 else []
        name = self.random.choice(["Sgate", "BSgate", "Interferometer", "MeasureHomodyne", "Foo2_x"])
        return f"{name}({', '.join(arguments)}) | {self.modes(modes)}"

    def modes(self, modes: list[int]) -> str:
        listed = ", ".join(map(str, modes))
        if len(modes) == 1 and self.random.random() < 0.7:
            return listed
        return self.random.choice([f"[{listed}]", f"({listed})", listed])

    def argument(self) -> str:
        choice = self.random.random()
        if choice < 0.15 and self.arrays:
            return self.random.choice(self.arrays)
        if choice < 0.25:
            return self.random.choice(["True", "False", '"a text, with (symbols)"'])
        if choice < 0.35:
            return self.complex()
        return self.expression(3)

    def keyword(self) -> str:
        return f"[{self.float()}, {self.integer()} ]" if self.random.random() < 0.4 else self.argument()

    def expression(self, depth: int, *, names: bool = True) -> str:
        choice = self.random.random()
        if depth == 0 or choice < 0.25:
            return self.atom(names)
        inner = self.expression(depth - 1, names=names)
        if choice < 0.4:
            return f"{self.random.choice(['sin', 'cos', 'arctan', 'tanh', 'arcsinh'])}({inner})"
        if choice < 0.5:
            return f"-({inner})"
        if choice < 0.6:
            return f"({inner})**2"
        operator = self.random.choice([" + ", " - ", "*", " * "])
        return f"{inner}{operator}{self.expression(depth - 1, names=names)}"

    def atom(self, names: bool) -> str:
        if names and self.scalars and self.random.random() < 0.3:
            return self.random.choice([name for name in self.scalars if name[0] != "z"] or ["pi"])
        if names and self.elements and self.random.random() < 0.2:
            name, size = self.random.choice(self.elements)
            return f"cos({name}[{self.random.randrange(size)}]/2.0)"
        return self.random.choice([self.float(), self.integer(), "pi", "pi/4", "(2 + 3)*0.5", "2**3", "sqrt(2)"])

    def float(self) -> str:
        return self.random.choice([f"{self.random.uniform(-2, 2):.6f}", f"{self.random.random() * 1e-3:.3e}", "0.0"])

    def integer(self) -> str:
        return str(self.random.randint(-9, 9))

    def complex(self) -> str:
        return f"{self.random.uniform(-1, 1):.4f}{self.random.choice('+-')}{self.random.random():.4f}j"


def reference_value(value: Any) -> object:
    """Return a value of quantum-blackbird as plain data; it has the names of TDM arrays as strings."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return [reference_value(item) for item in value] if isinstance(value, list) else value


def parsed_value(value: Value) -> object:
    """Return a value of sfjobs as the same plain data."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, ArrayParameter):
        return value.name
    return [parsed_value(item) for item in value] if isinstance(value, tuple) else value


def flat(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, list):
        yield path, len(value)
        for index, item in enumerate(value):
            yield from flat(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in sorted(value.items()):
            yield from flat(item, f"{path}.{key}")
    else:
        yield path, value


def assert_same(mine: object, other: object) -> None:
    for (path, left), (other_path, right) in zip(flat(mine), flat(other), strict=True):
        assert path == other_path
        if isinstance(left, (int, float, complex)) and isinstance(right, (int, float, complex)):
            assert isinstance(left, bool) == isinstance(right, bool), path
            assert abs(left - right) <= 1e-12 * max(1, abs(right)), path
            assert isinstance(left, complex) == isinstance(right, complex), path
        else:
            assert left == right, path


def described(program: Program) -> dict[str, object]:
    operations = [
        {
            "op": each.name,
            "args": [parsed_value(value) for value in each.arguments],
            "kwargs": {key: parsed_value(value) for key, value in each.keywords.items()},
            "modes": list(each.modes),
        }
        for each in program.operations
    ]
    return {
        "name": program.name or "None",
        "target": program.target,
        "options": {key: parsed_value(value) for key, value in program.options.items()},
        "type": program.type,
        "type_options": {key: parsed_value(value) for key, value in program.type_options.items()},
        "arrays": {name: array.tolist() for name, array in program.arrays.items()},
        "operations": operations,
    }


def described_by_oracle(text: str) -> dict[str, object]:
    program = blackbird.loads(text)
    operations = [
        {
            "op": each["op"],
            "args": [reference_value(value) for value in each.get("args", [])],
            "kwargs": {key: reference_value(value) for key, value in each.get("kwargs", {}).items()},
            "modes": [int(mode) for mode in each["modes"]],
        }
        for each in program.operations
    ]
    return {
        "name": program.name,
        "target": program.target["name"],
        "options": {key: reference_value(value) for key, value in program.target["options"].items()},
        "type": program.programtype["name"],
        "type_options": {key: reference_value(value) for key, value in program.programtype["options"].items()},
        "arrays": {key: value.tolist() for key, value in program.variables.items() if isinstance(value, np.ndarray)},
        "operations": operations,
    }


@pytest.mark.parametrize("batch", range(8))
def test_generated_programs_mean_the_same(batch: int) -> None:
    for index in range(PROGRAMS // 8):
        text = Writer(1000 * batch + index).program()
        assert_same(described(parse(text)), described_by_oracle(text))


@pytest.mark.parametrize("text", [X8, UNNAMED, TDM], ids=["X8", "unnamed", "TDM"])
def test_programs_that_strawberry_fields_emits_mean_the_same(text: str) -> None:
    assert_same(described(parse(text)), described_by_oracle(text))


def test_the_free_parameters_of_a_layout_are_the_same() -> None:
    assert set(parse(TDM_LAYOUT).free_parameters) == blackbird.loads(TDM_LAYOUT).parameters


@pytest.mark.parametrize(
    "expression",
    ["q0", "0.5*q0 + q1", "-q0**2", "2*(q0 - q1)*3", "q0 - (q1 - 2)", "q0 - q1 - 1", "2**q0"],
)
def test_a_measured_parameter_has_the_same_value(expression: str) -> None:
    text = f"name a\nversion 1.0\n\nXgate({expression}) | 2\n"
    transform = blackbird.loads(text).operations[0]["args"][0]
    parameter = parse(text).operations[0].arguments[0]
    assert isinstance(parameter, MeasuredParameter)
    outcomes = {0: 0.3, 1: 1.7}
    values = {f"q{mode}": outcome for mode, outcome in outcomes.items()}
    mine = eval(parameter.text, {}, values)  # the text means the same in Python
    assert mine == pytest.approx(transform.func(*(outcomes[mode] for mode in transform.regrefs)), rel=1e-12)


@pytest.mark.parametrize("expression", ["{a}", "2*{a} + {b}", "-{a}**2", "{a}/3 - ({b} - 1)"])
def test_a_free_parameter_has_the_same_value(expression: str) -> None:
    text = f"name a\nversion 1.0\n\nXgate({expression}) | 2\n"
    template = blackbird.loads(text)
    values = {name: 0.7 + index for index, name in enumerate(sorted(template.parameters))}
    parameter = parse(text).operations[0].arguments[0]
    assert isinstance(parameter, FreeParameter)
    mine = eval(re.sub(r"[{}]", "", parameter.text), {}, values)
    assert mine == pytest.approx(float(template(**values).operations[0]["args"][0]), rel=1e-12)


@pytest.mark.parametrize(
    "body",
    [
        "float a = 1.0\nfloat a = 2.0\nRgate(a) | 0",
        "float a = 1.0\nRgate(a) | 0\nint a = 2\nRgate(a) | 0",
        "float a = 1.0\nfloat a = 2*a + 1\nRgate(a) | 0",
        "float array a =\n    1.0, 2.0\n\nfloat a = 3.0\nRgate(a) | 0",
        "float a = 3.0\nfloat array a =\n    1.0, 2.0\n\nInterferometer(a) | 0",
        "Dgate(0.5+0.2j) | 0\nFouriergate(1.57) | 0\nMeasure | [0, 1]",
    ],
)
def test_a_second_declaration_and_old_statements_mean_the_same(body: str) -> None:
    text = f"name a\nversion 1.0\n\n{body}\n"
    assert_same(described(parse(text)), described_by_oracle(text))
