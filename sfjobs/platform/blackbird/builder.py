"""
From the source tree to the ``Program``: names get values, loops are unrolled and arrays are built, within the limits. Called once
per text by ``blackbird.parse``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from lark.lexer import Token

from ..program import Array, ArrayParameter, FreeParameter, Operation, Program, Scalar, Value
from . import limits
from .expressions import Code, Operand, Step, Symbolic, finished, run, steps_of
from .limits import error_at
from .tree import ArrayDeclaration, Declaration, Heading, Item, Keyword, Loop, Raw, RawValue, Row, Source, Statement

_ARRAY_TYPES = {"float": np.float64, "complex": np.complex128, "int": np.int64, "bool": np.bool_}


def build(source: Source) -> Program:
    """Return the program of ``source``. Raises ``ProgramError`` with the place of the error."""
    return _Builder(is_tdm=source.type is not None and source.type.name == "tdm").program(source)


class _Builder:
    """The names of one program, and the steps and array elements that it may still use."""

    def __init__(self, *, is_tdm: bool) -> None:
        self.is_tdm = is_tdm
        self.variables: dict[str, Operand] = {}
        self.arrays: dict[str, Array] = {}
        self.free: dict[str, None] = {}
        self.operations: list[Operation] = []
        self.steps_left = limits.MAX_STEPS
        self.elements_left = limits.MAX_ARRAY_ELEMENTS
        self.array_parameters_left = limits.MAX_ARRAY_PARAMETERS
        self.token = Token("_NEWLINE", "", 0, 1, 1)

    def program(self, source: Source) -> Program:
        version = _version(source.version)
        options = self._options(source.target)
        type_options = self._options(source.type)
        for item in source.items:
            self._item(item)
        return Program(
            name=None if source.name == "None" else source.name,
            version=version,
            target=str(source.target.name) if source.target else None,
            options=options,
            type=str(source.type.name) if source.type else None,
            type_options=type_options,
            operations=tuple(self.operations),
            arrays=self.arrays,
            free_parameters=tuple(self.free),
        )

    def _options(self, heading: Heading | None) -> dict[str, Value]:
        if heading is None:
            return {}
        positional, options = self._arguments(heading.arguments, heading.name)
        if positional:
            raise error_at(heading.name, f"options of the {heading.keyword} have the form name=value")
        return options

    def _item(self, item: Item) -> None:
        match item:
            case Statement():
                self._spend_steps(item.cost, item.name)
                self._statement(item)
            case Declaration():
                value = self._typed(item.type, item.name, self._value(item.value, item.name))
                self._declare(item.name, value)
            case ArrayDeclaration():
                array = self._array(item)
                array.setflags(write=False)
                self._declare(item.name, array)
                self.arrays[str(item.name)] = array
            case Loop():
                self._loop(item)

    # ---- statements and loops

    def _loop(self, loop: Loop) -> None:
        if loop.name in self.variables:
            raise error_at(loop.name, f"the loop variable {loop.name} is a declared name already")
        values = _range(loop) if loop.bounds else loop.values
        self._spend_steps(len(values) * sum(statement.cost for statement in loop.body), loop.name)
        if len(self.operations) + len(values) * len(loop.body) > limits.MAX_STATEMENTS:
            raise error_at(loop.name, f"a program may have {limits.MAX_STATEMENTS} statements at most, loops unrolled")
        name = str(loop.name)
        for raw in values:
            self.variables[name] = self._typed(loop.type, loop.name, self._value(raw, loop.name))
            for statement in loop.body:
                self._statement(statement)
        self.variables.pop(name, None)

    def _statement(self, statement: Statement) -> None:
        if len(self.operations) >= limits.MAX_STATEMENTS:
            limit = limits.MAX_STATEMENTS
            raise error_at(statement.name, f"a program may have {limit} statements at most")
        positional, keywords = self._arguments(statement.arguments, statement.name)
        modes = tuple([self._mode(raw, statement.name) for raw in statement.modes])
        if len(set(modes)) != len(modes):
            raise error_at(statement.name, f"{statement.name} names a mode twice")
        self.operations.append(Operation(str(statement.name), positional, keywords, modes, statement.name.line or 0))

    def _arguments(
        self, arguments: Sequence[RawValue | Keyword], token: Token
    ) -> tuple[tuple[Value, ...], dict[str, Value]]:
        positional: list[Value] = []
        keywords: dict[str, Value] = {}
        for argument in arguments:
            if not isinstance(argument, Keyword):
                if keywords:
                    raise error_at(token, "a positional argument follows a named one")
                positional.append(self._argument(argument, token))
            elif argument.name in keywords:
                raise error_at(argument.name, f"{argument.name} is given twice")
            else:
                keywords[str(argument.name)] = self._argument(argument.value, argument.name)
        return tuple(positional), keywords

    def _argument(self, raw: RawValue, token: Token) -> Value:
        if isinstance(raw, tuple):
            return tuple([self._scalar(item, token) for item in raw])
        return finished(self._value(raw, token)) if isinstance(raw, Code) else raw

    def _scalar(self, raw: Raw, token: Token) -> Scalar:
        value = self._value(raw, token)
        if not isinstance(value, (bool, int, float, complex, str)):
            raise error_at(token, "a list holds numbers, texts and booleans only")
        return value

    def _mode(self, raw: Raw, token: Token) -> int:
        mode = self._value(raw, token)
        if not isinstance(mode, int) or isinstance(mode, bool) or not 0 <= mode < limits.MAX_MODES:
            raise error_at(token, f"the modes of {token} must be integers from 0 to {limits.MAX_MODES - 1}")
        return mode

    # ---- values

    def _value(self, raw: Raw, token: Token) -> Operand:
        if not isinstance(raw, Code):
            return raw
        self.token = token
        return run(raw, self._lookup, self._spend_elements)

    def _lookup(self, step: Step) -> Operand:
        name = str(step.token)
        if step.kind == "measured":
            mode = step.token.value
            return Symbolic(f"q{mode}", modes=frozenset({mode}))
        if step.kind == "free":
            self.free.setdefault(name)
            return Symbolic(f"{{{name}}}", names=frozenset({name}))
        value = self.variables.get(name)
        if value is None:
            raise error_at(step.token, f"the name {name} is not defined")
        if self.is_tdm and step.kind == "name" and isinstance(value, np.ndarray) and _is_time_bin_name(name):
            return ArrayParameter(name)
        return value

    def _typed(self, kind: Token, name: Token, value: Operand) -> Operand:
        """Return ``value`` as the declared type. Raises ``ProgramError`` rather than round a value."""
        if isinstance(value, Symbolic) or (isinstance(value, str) and kind == "str"):
            return value
        if isinstance(value, (int, float, complex)):
            if kind == "complex":
                return complex(value)
            if kind == "bool" and value in {0, 1}:
                return bool(value)
            if not isinstance(value, complex):
                if kind == "float":
                    return float(value)
                if kind == "int" and value == int(value):
                    return int(value)
        raise error_at(name, f"{name} is declared as {kind} and its value {value!r} is not")

    # ---- arrays

    def _array(self, declaration: ArrayDeclaration) -> Array:
        name, rows = declaration.name, declaration.rows
        shape = tuple(_dimension(token) for token in declaration.shape)
        if shape and math.prod(shape) > limits.MAX_ARRAY_ELEMENTS:
            raise error_at(name, f"arrays may have {limits.MAX_ARRAY_ELEMENTS} elements at most")
        columns = {len(row.values) for row in rows}
        if len(columns) > 1:
            raise error_at(name, f"the rows of {name} have different lengths")
        actual = (len(rows), columns.pop())
        values = [self._row(row, name) for row in rows]
        if actual == (1, 1) and isinstance(values[0][0], Symbolic):
            return self._template_array(name, shape, values[0][0])
        if shape and shape != actual:
            raise error_at(name, f"{name} is declared with shape {shape}, but its rows have shape {actual}")
        self._spend_elements(math.prod(actual))
        if any(isinstance(value, Symbolic) for row in values for value in row):
            return _object_array(actual, [finished(value) for row in values for value in row])
        return _numeric_array(declaration, values)

    def _row(self, row: Row, token: Token) -> Sequence[Operand]:
        if row.is_plain:
            return row.values  # type: ignore[return-value]  # plain rows hold numbers only
        self._spend_steps(steps_of(row.values), token)
        values = [self._value(raw, token) for raw in row.values]
        for value in values:
            is_number = isinstance(value, (int, float, complex))
            if not is_number and not (isinstance(value, Symbolic) and not value.modes):
                raise error_at(token, f"the elements of {token} must be numbers")
        return values

    def _template_array(self, name: Token, shape: tuple[int, ...], value: Symbolic) -> Array:
        """Return the array of one free parameter ``{p}``: its elements are the parameters ``p_0_0``, ``p_0_1``, ..."""
        parameter = value.text.strip("{}")
        if len(shape) != 2 or value.modes or value.names != {parameter}:
            raise error_at(name, f"{name} needs two dimensions, such as [1, 4], to be a free parameter")
        self._spend_elements(math.prod(shape))
        self.array_parameters_left -= math.prod(shape)
        if self.array_parameters_left < 0:
            detail = f"arrays of free parameters may have {limits.MAX_ARRAY_PARAMETERS} elements at most"
            raise error_at(name, detail)
        self.free.pop(parameter, None)
        names = [f"{parameter}_{row}_{column}" for row in range(shape[0]) for column in range(shape[1])]
        self.free.update(dict.fromkeys(names))
        elements = [FreeParameter(f"{{{each}}}", (each,)) for each in names]
        return _object_array((shape[0], shape[1]), elements)

    # ---- limits and names

    def _declare(self, name: Token, value: Operand) -> None:
        """Give ``name`` its value. It replaces that of an earlier declaration, as in quantum-blackbird."""
        self.arrays.pop(str(name), None)
        self.variables[str(name)] = value

    def _spend_steps(self, steps: int, token: Token) -> None:
        self.steps_left -= steps
        if self.steps_left < 0:
            raise error_at(token, f"a program may take {limits.MAX_STEPS} steps of calculation at most, loops unrolled")

    def _spend_elements(self, elements: int) -> None:
        self.elements_left -= elements
        if self.elements_left < 0:
            raise error_at(self.token, f"arrays may have {limits.MAX_ARRAY_ELEMENTS} elements at most")


def _version(token: Token) -> str:
    parts = token.split(".")
    if len(parts) > 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise error_at(token, f"the version must be a number such as 1.0, not {str(token)!r}")
    return str(token)


def _is_time_bin_name(name: str) -> bool:
    return name[0] == "p" and name[1:].isdigit()


def _whole(token: Token) -> int:
    if not isinstance(token.value, int):
        raise error_at(token, f"{token} is not an integer")
    return token.value


def _dimension(token: Token) -> int:
    dimension = _whole(token)
    if dimension < 1:
        raise error_at(token, "a dimension must be at least 1")
    return dimension


def _range(loop: Loop) -> range:
    bounds = [_whole(token) for token in loop.bounds]
    if len(bounds) == 3 and bounds[2] == 0:
        raise error_at(loop.bounds[2], "the step of a range cannot be 0")
    values = range(*bounds)
    # len() cannot measure a range this long
    if values and (values[-1] - values[0]) // values.step >= limits.MAX_STATEMENTS:
        raise error_at(loop.bounds[0], f"a loop may run {limits.MAX_STATEMENTS} times at most")
    return values


def _object_array(shape: tuple[int, int], elements: Sequence[object]) -> Array:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(shape)


def _numeric_array(declaration: ArrayDeclaration, values: list[Sequence[Operand]]) -> Array:
    name, kind = declaration.name, str(declaration.type)
    if kind not in _ARRAY_TYPES:
        raise error_at(declaration.type, f"an array of {kind} is not possible")
    try:
        array: Array = np.array(values)
        result: Array = array.astype(_ARRAY_TYPES[kind], casting="unsafe" if kind in {"int", "bool"} else "same_kind")
    except (TypeError, ValueError, OverflowError):
        raise error_at(name, f"{name} is declared as {kind} and its elements are not") from None
    if not bool(np.all(np.isfinite(result))):
        raise error_at(name, f"the elements of {name} must be finite")
    if kind in {"int", "bool"} and not bool(np.all(result == array)):
        raise error_at(name, f"{name} is declared as {kind} and its elements are not")
    return result
