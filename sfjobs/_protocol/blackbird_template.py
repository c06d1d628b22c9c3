"""
Binds the free parameters of a Blackbird script, ``{name}``, to numbers, as text: without a parser of the language. Names without
braces, such as the arrays ``p0`` of a time-domain program, are not parameters. No I/O.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

Number: TypeAlias = float | int | complex
Params: TypeAlias = Mapping[str, Number | Sequence[Number] | Sequence[Sequence[Number]]]
"""Names of free parameters and their values. Only a parameter that is a whole array takes a list, of numbers or of rows."""

MAX_PARAMETERS = 50_000
"""Parameters in one script, repeated ones included; the parser of the platform accepts fewer."""

_SHOWN_NAMES = 5
# Strings, comments and the two header lines of free text come first, so that braces in them stay.
_PARAMETER = re.compile(
    r'"[^"\r\n]*"?|#[^\r\n]*|^[ \t]*(?:name|version)[ \t][^\r\n]*|\{[ \t]*(?P<name>[A-Za-z]\w*)[ \t]*\}',
    re.ASCII | re.MULTILINE,
)
_BEFORE_VALUE = re.compile(r"(?:[(\[,=|:\r\n][ \t]*|\bin[ \t]+)\Z")
_AFTER_VALUE = re.compile(r"[ \t]*(?:[)\],:#\r\n|]|\Z)")
_ROW_END = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:[\r\n]|\Z)")


def bound(text: str, params: Params | None) -> str:
    """
    Return ``text`` with the value of each parameter in the place of ``{name}``. A value is written so that it reads back exactly.

    Raises:
        ValueError: a parameter has no value, a value has no parameter or is not finite, or a list stands where a number has to.
        TypeError: a value is not a number and not a list of numbers.
    """
    if params is None and "{" not in text:
        return text
    values = params or {}
    parts: list[str] = []
    missing: dict[str, None] = {}
    used: set[str] = set()
    end = count = 0
    for match in _PARAMETER.finditer(text):
        name = match["name"]
        if name is None:
            continue
        count += 1
        if count > MAX_PARAMETERS:
            raise ValueError(f"the program has more than {MAX_PARAMETERS} free parameters")
        if name not in values:
            missing[name] = None
            if len(missing) > _SHOWN_NAMES:
                break
            continue
        used.add(name)
        parts += (text[end : match.start()], _written(text, match, name, values[name]))
        end = match.end()
    _check_names(missing, [name for name in values if name not in used])
    return "".join([*parts, text[end:]])


def numbers_for(names: Collection[str], params: Params) -> dict[str, Number]:
    """
    Return the number for each of ``names``, the free parameters of a program that is not text.

    Raises:
        ValueError: a parameter has no value, or a value has no parameter or is not finite.
        TypeError: a value is not a number.
    """
    _check_names([name for name in names if name not in params], [name for name in params if name not in names])
    return {name: _checked_number(name, _plain(params[name])) for name in names}


def _check_names(missing: Collection[str], unused: Sequence[object]) -> None:
    if missing:
        raise ValueError(f"no value is given for {_listed(list(missing))} of the program: give params={{name: number}}")
    if unused:
        raise ValueError(f"params has values for what the program does not have: {_listed(list(map(str, unused)))}")


def _written(text: str, match: re.Match[str], name: str, value: object) -> str:
    """Return the text of ``value``, in parentheses where it is a part of an expression."""
    value = _plain(value)
    # A slice of bounded length: a search from the line's start would take quadratic time on long lines.
    before = text[max(match.start() - 64, 0) : match.start()]
    if isinstance(value, list | tuple):
        return _rows(text, match, name, value)
    if re.search(r"[\w.}]\Z", before) or re.match(r"[\w.{]", text[match.end() : match.end() + 1]):
        raise ValueError(f"the free parameter {{{name}}} touches other text of the program")
    number = _number(name, value)
    is_alone = _BEFORE_VALUE.search(before) and _AFTER_VALUE.match(text, match.end())
    return number if is_alone else f"({number})"


def _rows(text: str, match: re.Match[str], name: str, value: Sequence[object]) -> str:
    start = max(text.rfind("\n", 0, match.start()), text.rfind("\r", 0, match.start())) + 1
    indentation = text[start : match.start()]
    if not indentation or indentation.strip(" \t") or not _ROW_END.match(text, match.end()):
        raise ValueError(f"the free parameter {{{name}}} is not a whole array: its value must be a number, not a list")
    rows: list[Sequence[object]] = [row for row in value if isinstance(row, list | tuple)]
    if not value or (rows and len(rows) != len(value)) or not all(rows):
        raise ValueError(f"the value of the array {name} must be a list of numbers, or a list of rows of numbers")
    return f"\n{indentation}".join(", ".join(_number(name, each) for each in row) for row in rows or [value])


def _number(name: str, value: object) -> str:
    number = _checked_number(name, value)
    if isinstance(number, int):
        return int.__repr__(number)
    return float.__repr__(number) if isinstance(number, float) else complex_text(number)


def _plain(value: object) -> object:
    """Return a number or an array of numpy as a plain number or list."""
    return value.tolist() if hasattr(value, "tolist") else value


def _checked_number(name: str, value: object) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float | complex):
        kind = type(value).__name__
        raise TypeError(f"the value of the free parameter {name} must be a number, not of type {kind}")
    if not isinstance(value, int) and not cmath.isfinite(value):
        raise ValueError(f"the value of the free parameter {name} must be finite, not {value}")
    return value


def complex_text(value: complex) -> str:
    """Return a finite complex number as Blackbird writes it, with all its digits."""
    sign = "-" if math.copysign(1.0, value.imag) < 0 else "+"
    return f"{value.real!r}{sign}{abs(value.imag)!r}j"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:100] for name in names[:_SHOWN_NAMES])
    more = ", ..." if len(names) > _SHOWN_NAMES else ""
    return f"the free parameter{'s' if len(names) > 1 else ''} {shown}{more}"
