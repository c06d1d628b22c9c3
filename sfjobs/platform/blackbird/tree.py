"""
What the grammar's rules make of their parts while the text is parsed: a source tree of plain dataclasses, with every number
calculated that can be. ``builder`` turns the tree into a ``Program``. The methods keep no state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from lark import Transformer
from lark.lexer import Token

from .expressions import Code, EvaluationError, Operand, Step, binary, call, sign
from .limits import parse_error

Raw: TypeAlias = bool | int | float | complex | str | Code
RawValue: TypeAlias = Raw | tuple[Raw, ...]


@dataclass(frozen=True, slots=True)
class Keyword:
    """``name=value`` among arguments."""

    name: Token
    value: RawValue


@dataclass(frozen=True, slots=True)
class Statement:
    """A gate or a measurement, before its names have values."""

    name: Token
    arguments: tuple[RawValue | Keyword, ...]
    modes: tuple[Raw, ...]

    @property
    def cost(self) -> int:
        """Steps of calculation that one pass takes."""
        values = [item.value if isinstance(item, Keyword) else item for item in self.arguments]
        flat = [*self.modes]
        for value in values:
            flat.extend(value if isinstance(value, tuple) else (value,))
        return 1 + sum(len(value.steps) if isinstance(value, Code) else 1 for value in flat)


@dataclass(frozen=True, slots=True)
class ScalarDeclaration:
    """``float alpha = 0.3``."""

    type: Token
    name: Token
    value: Raw


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an array; plain if it holds numbers only."""

    values: list[int] | list[float] | list[complex] | list[Raw]
    line: int
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


Item: TypeAlias = Statement | ScalarDeclaration | ArrayDeclaration | Loop


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
    """One method for each rule or alias of the grammar; ``children`` are what the parts of the rule became."""

    def program(self, children: list[Any]) -> Source:
        headings = {part.keyword: part for part in children[2:4] if isinstance(part, Heading)}
        items = tuple(children[2 + len(headings) :])
        return Source(str(children[0]), children[1], headings.get("target"), headings.get("type"), items)

    def name(self, children: list[Any]) -> Token:
        token: Token = children[0]
        return token

    def version(self, children: list[Any]) -> Token:
        return self.name(children)

    def target(self, children: list[Any]) -> Heading:
        return Heading("target", children[0], children[1] if len(children) > 1 else ())

    def programtype(self, children: list[Any]) -> Heading:
        return Heading("type", children[0], children[1] if len(children) > 1 else ())

    def scalar(self, children: list[Any]) -> ScalarDeclaration:
        return ScalarDeclaration(*children)

    def array(self, children: list[Any]) -> ArrayDeclaration:
        kind, name, *rest = children
        shape = () if isinstance(rest[0], Row) else rest.pop(0)
        return ArrayDeclaration(kind, name, shape, tuple(rest))

    def shape(self, children: list[Any]) -> tuple[Token, ...]:
        return tuple(children)

    def plain_row(self, children: list[Any]) -> Row:
        return Row(children[0].value, children[0].line, is_plain=True)

    def row(self, children: list[Any]) -> Row:
        return Row(children, 0, is_plain=False)

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

    def modes(self, children: list[Any]) -> tuple[Raw, ...]:
        return tuple(children)

    def arguments(self, children: list[Any]) -> tuple[RawValue | Keyword, ...]:
        return tuple(children)

    def keyword(self, children: list[Any]) -> Keyword:
        return Keyword(*children)

    def sequence(self, children: list[Any]) -> tuple[Raw, ...]:
        return tuple(children)

    def literal(self, children: list[Any]) -> Raw:
        value: Raw = children[0].value
        return value

    def variable(self, children: list[Any]) -> Code:
        return _one_step("name", str(children[0]), children[0])

    def measured(self, children: list[Any]) -> Code:
        return _one_step("measured", children[0].value, children[0])

    def free(self, children: list[Any]) -> Code:
        return _one_step("free", str(children[0]), children[0])

    def element(self, children: list[Any]) -> Code:
        name, *indices = children
        code = _one_step("array", str(name), name)
        for index in indices:
            _append(code, index, name)
        code.steps.append(Step("element", (str(name), len(indices)), name.line, name.column))
        return code

    def sign(self, children: list[Any]) -> Raw:
        operator, operand = children
        if isinstance(operand, Code):
            operand.steps.append(Step("sign", str(operator), operator.line, operator.column))
            return operand
        return _calculated(sign, operator, operand)

    def call(self, children: list[Any]) -> Raw:
        function, operand = children
        if isinstance(operand, Code):
            operand.steps.append(Step("call", str(function), function.line, function.column))
            return operand
        return _calculated(call, function, operand)

    def binary(self, children: list[Any]) -> Raw:
        left, operator, right = children
        if not isinstance(left, Code) and not isinstance(right, Code):
            return _calculated(binary, operator, left, right)
        code = left if isinstance(left, Code) else Code([Step("push", left, operator.line, operator.column)])
        _append(code, right, operator)
        code.steps.append(Step("binary", str(operator), operator.line, operator.column))
        return code


def _one_step(kind: str, payload: object, token: Token) -> Code:
    return Code([Step(kind, payload, token.line or 0, token.column or 0)])


def _append(code: Code, part: Raw, token: Token) -> None:
    if isinstance(part, Code):
        code.steps.extend(part.steps)
    else:
        code.steps.append(Step("push", part, token.line or 0, token.column or 0))


def _calculated(function: Callable[..., Operand], token: Token, *operands: Operand) -> Raw:
    try:
        result = function(str(token), *operands)
    except EvaluationError as error:
        raise parse_error(str(error), token.line or 0, token.column or 0) from None
    return cast("Raw", result)
