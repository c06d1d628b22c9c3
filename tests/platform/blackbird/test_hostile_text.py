"""Hostile or wrong text: always a ``parse-error`` with its place, in little time and memory."""

from __future__ import annotations

import random
import string
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sfjobs.platform.blackbird import limits, parse
from sfjobs.platform.program import Program, ProgramError

HEADER = "name demo\nversion 1.0\n"
LIMIT_MB = 200

HUGE = {
    "ten megabytes of statements": "HEADER + 'Rgate(0.5) | 0\\n' * 700_000",
    "more statements than allowed": "HEADER + 'Vac | 0\\n' * 60_000",
    "five megabytes of blank lines": "HEADER + '\\n' * 5_000_000",
    "five megabytes of symbols": "HEADER + 'Foo(' + '1,' * 2_500_000 + '1) | 0\\n'",
    "five megabytes of digits": "HEADER + 'Foo(' + '1' * 5_000_000 + ') | 0\\n'",
    "a name of five megabytes": "HEADER + 'a' * 5_000_000 + ' | 0\\n'",
    "a string of five megabytes that is not closed": "HEADER + 'Foo(\"' + 'a' * 5_000_000",
    "a hundred thousand parentheses": "HEADER + 'Foo(' + '(' * 100_000 + '1' + ')' * 100_000 + ') | 0\\n'",
    "a hundred thousand signs": "HEADER + 'Foo(' + '-' * 100_000 + '1) | 0\\n'",
    "a sum of twenty thousand terms": "HEADER + 'Foo(' + '+'.join(['1'] * 20_000) + ') | 0\\n'",
    "a declared shape of 30 000 x 30 000": "HEADER + 'float array A[30000, 30000] =\\n    1\\nFoo(A) | 0\\n'",
    "30 000 x 30 000 free parameters": "HEADER + 'float array A[30000, 30000] =\\n    {p}\\nFoo(A) | 0\\n'",
    "a row of three million numbers": "HEADER + 'int array A =\\n    ' + '0,' * 3_000_000 + '0\\n'",
    "a loop of a billion passes": "HEADER + 'for int m in 0:1000000000\\n    Vac | 0\\n'",
    "a loop of more passes than an index has": "HEADER + 'for int m in 0:9223372036854775807\\n    Vac | 0\\n'",
    "ten thousand passes of a long statement": (
        "HEADER + 'for int m in 0:10000\\n    Foo(' + ', '.join(['m+1'] * 1000) + ') | 0\\n'"
    ),
    "integers as tall as a tower": "HEADER + 'Foo(9**9**9**9) | 0\\n'",
    "a text that doubles thirty times": (
        "HEADER + 'float a0 = q0\\n' + ''.join(f'float a{i + 1} = a{i} + a{i}\\n' for i in range(30)) + 'Foo(a30) | 1\\n'"
    ),
    "arrays that a loop adds up": (
        "HEADER + 'float array A =\\n    ' + ', '.join(['1'] * 1000) + '\\nfor int m in 0:2000\\n    Foo(A+m) | 0\\n'"
    ),
}


# VmHWM is the peak of the child itself; its ru_maxrss starts with that of the process that forked it.
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the peak memory of a process from /proc")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("expression", HUGE.values(), ids=HUGE.keys())
def test_a_huge_text_is_rejected_in_little_memory(expression: str) -> None:
    script = f"""
        import re
        from pathlib import Path
        from sfjobs.platform.blackbird import parse
        from sfjobs.platform.program import ProgramError
        HEADER = {HEADER!r}
        try:
            parse({expression})
        except ProgramError as error:
            assert error.code == "parse-error" and error.line >= 1 and error.column >= 1 and len(error.detail) < 1000
            print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=50, check=True
    )
    assert int(run.stdout) < LIMIT_MB


@pytest.mark.parametrize(
    ("body", "line", "column"),
    [
        ('include "/etc/passwd"', 3, 1),
        ("Foo(9.5**9**9**9) | 0", 3, 11),
        ("Foo(2**64) | 0", 3, 6),
        ("Foo(9223372036854775807 + 1) | 0", 3, 25),
        ("Foo(9223372036854775808) | 0", 3, 5),
        ("Foo(1e999) | 0", 3, 5),
        ("Foo(1e999j) | 0", 3, 5),
        ("Foo(1e200*1e200) | 0", 3, 10),
        ("Foo(nan) | 0", 3, 5),
        ("Foo(inf) | 0", 3, 5),
        ("Foo(0/0) | 0", 3, 6),
        ("Foo(1/0.0) | 0", 3, 6),
        ("Foo(0**-1) | 0", 3, 6),
        ("Foo(log(0)) | 0", 3, 5),
        ("Foo(sqrt(-1)) | 0", 3, 5),
        ("Foo((-8)**0.5) | 0", 3, 9),
        ("Foo(exp(1000)) | 0", 3, 5),
        ("Foo(arctanh(1)) | 0", 3, 5),
        ("Foo | 999999999999", 3, 1),
        ("Foo | 1024", 3, 1),
        ("Foo | -1", 3, 1),
        ("Foo | 0.5", 3, 1),
        ("Foo | True", 3, 7),
        ("Foo | q0", 3, 1),
        ("Foo | [0, 0]", 3, 1),
        ("Foo | []", 3, 8),
        ("Foo(q99999) | 0", 3, 5),
        ("Foo(x) | 0", 3, 5),
        ("Foo(x[0]) | 0", 3, 5),
        ("Foo(1 2) | 0", 3, 7),
        ("Foo(1;) | 0", 3, 6),
        ("Foo(1) | 0;", 3, 11),
        ("Foo(1) | [0", 3, 12),
        ("Foo(1) [0]", 3, 8),
        ("Foo(x=1, x=2) | 0", 3, 10),
        ("Foo(x=1, 2) | 0", 3, 1),
        ('Foo("abc) | 0', 3, 5),
        ("Foo('abc') | 0", 3, 5),
        ("Foo(1.0-1+2j) | 0", 3, 8),
        ("Vac | 0 Vac | 1", 3, 9),
        ("    Vac | 0", 3, 1),
        ("float array A =\n    1, 2\n  3, 4", 5, 1),
        ("float array A =\n \t1, 2", 4, 1),
        ("float array A =\n    1, 2\n    3", 3, 13),
        ("float array A =", 3, 16),
        ("float array A[2, 1] =\n    1, 2", 3, 13),
        ("float array A[0, 1] =\n    1", 3, 15),
        ("float array A =\n    1, 1e999", 4, 8),
        ("float array A =\n    1.0, 1e999", 4, 10),
        ("float array A =\n    q0", 3, 13),
        ("float array A =\n    1+2j", 3, 13),
        ("int array A =\n    0.5", 3, 11),
        ("str array A =\n    1", 3, 1),
        ("float array A =\n    1\nFoo(A[1]) | 0", 5, 5),
        ("float array A =\n    1\nFoo(A/0) | 0", 5, 6),
        ("int array A =\n    9000000000000000000\nFoo(A+A) | 0", 5, 6),
        ("float x = 1\nfor int x in 0:2\n    Vac | x", 4, 9),
        ("float x = 1\nfor int x in 0:2\n    Vac | 0", 4, 9),
        ("int n = 3.7", 3, 5),
        ("float x = 1j", 3, 7),
        ('float x = "1"', 3, 7),
        ("float q1 = 2", 3, 7),
        ("float pi = 3", 3, 7),
        ("for int m in 0:4:0\n    Vac | m", 3, 18),
        ("for int m in 0.5:2\n    Vac | m", 3, 14),
        ("for int m in [0.5]\n    Vac | m", 3, 9),
        ("for int m in 0:2\nVac | m", 4, 1),
        ("for int m in 0:2\n    Vac | m\nVac | m", 5, 7),
        ("for int m in 0:2\n    for int n in 0:2\n        Vac | n", 4, 5),
        ("type tdm\nfloat array p0 =\n    1, 2\nFoo(p0 + 1) | 0", 6, 8),
        ("target X8_01 (100)", 3, 8),
        ("target X8_01 (shots=1, shots=2)", 3, 24),
        ("target X8_01\ntarget X8_01", 4, 1),
        ("target", 3, 7),
        ("name again", 3, 1),
        ("Vac | 0\x00", 3, 8),
        ("Vac | 0 # \x1b[2J", 3, 11),
        ("Vac | 0 # \ud800", 3, 11),
        ("\u00e9 | 0", 3, 1),
        ("Vac | \u0663", 3, 7),
    ],
)
def test_an_error_in_the_text_has_line_and_column(body: str, line: int, column: int) -> None:
    with pytest.raises(ProgramError) as caught:
        parse(HEADER + body)
    assert (caught.value.code, caught.value.line, caught.value.column) == ("parse-error", line, column)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("", 1, 1),
        ("\ufeffname demo\nversion 1.0\n", 1, 1),
        ("name demo\n", 1, 10),
        ("version 1.0\nname demo\n", 1, 1),
        ("name\nversion 1.0\n", 1, 5),
        ("name demo\nversion x\n", 2, 9),
        ("name demo\nversion 1.0\n\udcff", 3, 1),
        ("name " + "a" * 300 + "\nversion 1.0\n", 1, 6),
    ],
)
def test_an_error_in_the_header_has_line_and_column(text: str, line: int, column: int) -> None:
    with pytest.raises(ProgramError) as caught:
        parse(text)
    assert (caught.value.code, caught.value.line, caught.value.column) == ("parse-error", line, column)


def test_an_include_opens_no_file(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    parse(HEADER)  # reads the grammar file once

    def refuse(*arguments: object, **keywords: object) -> object:
        raise AssertionError(arguments)

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("io.open", refuse)
    with pytest.raises(ProgramError, match="include"):
        parse(f'{HEADER}include "/dev/zero"\n')


@pytest.mark.parametrize(
    "body",
    [
        "Foo(" + "(" * (limits.MAX_NESTING - 1) + "1" + ")" * (limits.MAX_NESTING - 1) + ") | 0",
        "Foo(" + "-" * limits.MAX_OPERATORS + "1) | 0",
        f"Foo | {limits.MAX_MODES - 1}",
        f"Foo({limits.MAX_INTEGER}) | 0",
        f"for int m in 0:{limits.MAX_STATEMENTS}\n    Vac | 0",
        "a" * limits.MAX_NAME_CHARACTERS + " | 0",
        "Foo(0." + "1" * (limits.MAX_NUMBER_CHARACTERS - 2) + ") | 0",
    ],
    ids=["nesting", "operators", "modes", "integer", "statements", "name", "digits"],
)
def test_a_text_at_a_limit_is_parsed(body: str) -> None:
    assert parse(HEADER + body).operations


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("Foo(" + "(" * limits.MAX_NESTING + "1" + ")" * limits.MAX_NESTING + ") | 0", "nested"),
        ("Foo(" + "-" * (limits.MAX_OPERATORS + 1) + "1) | 0", "operators"),
        ("Foo(0." + "1" * (limits.MAX_NUMBER_CHARACTERS - 1) + ") | 0", "characters"),
        ("a" * (limits.MAX_NAME_CHARACTERS + 1) + " | 0", "characters"),
        (f"for int m in 0:{limits.MAX_STATEMENTS // 2}\n    Vac | 0\n    Vac | 1\nVac | 0", "statements"),
        (f"Vac | 0\nfor int m in 0:{limits.MAX_STATEMENTS}\n    Vac | 0", "statements"),
        ("Foo(" + "q0+" * 200 + "q0) | 1", "512 characters"),
        ("Foo(" + "+".join(["{" + "p" * 90 + "}"] * 6) + ") | 1", "512 characters"),
        ("float array A[1000, 1001] =\n    {p}", "elements"),
    ],
    ids=["nesting", "operators", "digits", "name", "statements", "loop", "measured", "free", "elements"],
)
def test_a_text_beyond_a_limit_is_rejected_with_the_limit(body: str, words: str) -> None:
    with pytest.raises(ProgramError, match=words):
        parse(HEADER + body)


SEEDS = [
    "target X8_01 (shots=100, a=False)\n\nS2gate(1.0, 0.0) | [0, 4]\nMZgate(1.26, 0.40) | (0, 1)\nMeasureFock() | 0, 1\n",
    "type tdm (temporal_modes=2)\n\nfloat array p0 =\n    0.1, 0.2\nint array p1[1, 2] =\n    1, 2\nBSgate(p0, p1[0]) | [1, 0]\n",
    "float a = 2*pi/3\ncomplex array A[2, 2] =\n    1+2j, -a\n    q, {b}\nfor int m in 0:4\n    Foo(a**-m, x=[1, \"t\"]) | m\n",
    "Xgate(0.5*q0 - sin({b})**2) | 1\nfor float x in [0.1, 2]\n\tRgate(x) | 0\n# end\n",
]  # fmt: skip
ALPHABET = string.ascii_letters[:6] + "qpj" + string.digits + '+-*/().,:=|[]{}"# \t\r\n\x00\u00e9\ud800'
FRAGMENTS = [
    "**",
    "1e999",
    "9**9**9",
    "    ",
    "for int m in 0:9\n    ",
    "float array Z =\n    1,2\n",
    "(" * 60,
    "q7",
    "A[",
    "name ",
]


def mutated(random_: random.Random, text: str) -> str:
    characters = list(text)
    for _ in range(random_.randint(1, 6)):
        place = random_.randrange(len(characters) + 1)
        match random_.randrange(4):
            case 0:
                del characters[place : place + random_.randint(1, 8)]
            case 1:
                characters[place:place] = random_.choice(ALPHABET)
            case 2:
                characters[place:place] = random_.choice(FRAGMENTS)
            case _:
                start = random_.randrange(len(characters) + 1)
                characters[place:place] = characters[start : start + random_.randint(1, 30)]
    return "".join(characters)


def rejection(text: str) -> ProgramError | None:
    try:
        assert isinstance(parse(text), Program)
    except ProgramError as error:
        return error
    return None


@pytest.mark.parametrize("seed", range(8))
def test_a_mutated_program_is_a_program_or_a_parse_error(seed: int) -> None:
    random_ = random.Random(seed)
    for _ in range(500):
        text = mutated(random_, HEADER + random_.choice(SEEDS))
        error = rejection(text)
        assert error is None or (error.code, error.line >= 1, error.column >= 1) == ("parse-error", True, True), text
