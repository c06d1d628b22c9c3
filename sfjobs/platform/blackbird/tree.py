"""
The source tree that the parser builds: plain dataclasses, with expressions of numbers already calculated. ``builder`` turns the
tree into a ``Program``. The methods keep no state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from lark import Transformer
from lark.lexer import Token

from .expressions import Code, EvaluationError, Operand, Step, binary, call, element, sign, steps_of
from .limits import error_at

Raw: TypeAlias = bool | int | float | complex | str | Code
RawValue: TypeAlias = Raw | tuple[Raw, ...]


@dataclass(frozen=True, slots=True)
class Keyword:
    """An argument ``name=value``."""

    name: Token
    value: RawValue


@dataclass(frozen=True, slots=True)
class Statement:
    """A gate or a measurement whose names have no values yet."""

    name: Token
    arguments: tuple[RawValue | Keyword, ...]
    modes: tuple[Raw, ...]

    @property
    def cost(self) -> int:
        """Calculation steps of one execution."""
        values: list[Raw] = [*self.modes]
        for argument in self.arguments:
            value = argument.value if isinstance(argument, Keyword) else argument
            values.extend(value if isinstance(value, tuple) else (value,))
        return 1 + steps_of(values)


@dataclass(frozen=True, slots=True)
class Declaration:
    """``float alpha = 0.3``."""

    type: Token
    name: Token
    value: Raw


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an array; plain if it consists of numbers only."""

    values: list[int] | list[float] | list[complex] | list[Raw]
    is_plain: bool


@dataclass(frozen=True, slots=True)
class ArrayDeclaration:
    """``float array p0[1, 4] =`` and its rows."""

    type: Token
    name: Token
    shape: tuple[Token, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """``for int m in 0:4`` or ``for float x in [0.1, 0.2]`` and its body."""

    type: Token
    name: Token
    bounds: tuple[Token, ...]
    values: tuple[Raw, ...]
    body: tuple[Statement, ...]


Item: TypeAlias = Statement | Declaration | ArrayDeclaration | Loop


@dataclass(frozen=True, slots=True)
class Heading:
    """The ``target`` or ``type`` line."""

    keyword: str
    name: Token
    arguments: tuple[RawValue | Keyword, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A whole text."""

    name: str
    version: Token
    target: Heading | None
    type: Heading | None
    items: tuple[Item, ...]


class TreeBuilder(Transformer[Token, Source]):
    """One method per rule or alias of the grammar; ``children`` are the results of its parts."""

    def program(self, children: list[Any]) -> Source:
        headings = {part.keyword: part for part in children[2:4] if isinstance(part, Heading)}
        items = tuple(children[2 + len(headings) :])
        return Source(str(children[0]), children[1], headings.get("target"), headings.get("type"), items)

    shape = modes = arguments = sequence = staticmethod(tuple)

    def heading(self, children: list[Any]) -> Heading:
        keyword, name, *arguments = children
        return Heading(str(keyword), name, arguments[0] if arguments else ())

    def scalar(self, children: list[Any]) -> Declaration:
        return Declaration(*children)

    def array(self, children: list[Any]) -> ArrayDeclaration:
        kind, name, *rest = children
        shape = () if isinstance(rest[0], Row) else rest.pop(0)
        return ArrayDeclaration(kind, name, shape, tuple(rest))

    def plain_row(self, children: list[Any]) -> Row:
        return Row(children[0].value, is_plain=True)

    def row(self, children: list[Any]) -> Row:
        return Row(children, is_plain=False)

    def loop(self, children: list[Any]) -> Loop:
        kind, name, (bounds, values), *body = children
        return Loop(kind, name, bounds, values, tuple(body))

    def bounds(self, children: list[Any]) -> tuple[tuple[Token, ...], tuple[Raw, ...]]:
        return tuple(children), ()

    def loop_values(self, children: list[Any]) -> tuple[tuple[Token, ...], tuple[Raw, ...]]:
        return (), tuple(children)

    def statement(self, children: list[Any]) -> Statement:
        name, *arguments, modes = children
        return Statement(name, arguments[0] if arguments else (), modes)

    def plain_statement(self, children: list[Any]) -> Statement:
        return Statement(children[0], *children[0].value)

    def keyword(self, children: list[Any]) -> Keyword:
        return Keyword(*children)

    def literal(self, children: list[Any]) -> Raw:
        return cast("Raw", children[0].value)

    def variable(self, children: list[Any]) -> Code:
        return Code([Step("name", children[0])])

    def measured(self, children: list[Any]) -> Code:
        return Code([Step("measured", children[0])])

    def free(self, children: list[Any]) -> Code:
        return Code([Step("free", children[0])])

    def element(self, children: list[Any]) -> Raw:
        name, *indices = children
        return _applied(element, name, Code([Step("array", name)]), *indices)

    def sign(self, children: list[Any]) -> Raw:
        operator, operand = children
        return _applied(sign, operator, operand)

    def call(self, children: list[Any]) -> Raw:
        function, operand = children
        return _applied(call, function, operand)

    def binary(self, children: list[Any]) -> Raw:
        left, operator, right = children
        return _applied(binary, operator, left, right)


def _code(part: Raw, token: Token) -> Code:
    return part if isinstance(part, Code) else Code([Step("push", token, part)])


def _applied(function: Callable[..., Operand], token: Token, first: Raw, *others: Raw) -> Raw:
    """Return ``function`` of the operands: its value if they are numbers, otherwise code that calculates it later."""
    if not isinstance(first, Code) and not (others and isinstance(others[0], Code)):
        try:
            return cast("Raw", function(str(token), first, *others))
        except EvaluationError as error:
            raise error_at(token, str(error)) from None
    code = _code(first, token)
    for other in others:
        code.extend(_code(other, token))
    code.append(Step("apply", token, function, 1 + len(others)))
    return code
