"""
Writes the circuit of a ``strawberryfields.Program`` as Blackbird text. ``strawberryfields.io.to_blackbird`` is not used: it
loses inverses, and writes sympy numbers as quoted text, so that other programs arrive (checked with 0.23).
"""

from __future__ import annotations

import cmath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, cast

from .._protocol.blackbird_template import complex_text

# The inverse of these is the same operation with its first argument negated.
INVERTED_BY_SIGN = frozenset(
    {
        "BSgate",
        "CKgate",
        "CXgate",
        "CZgate",
        "Dgate",
        "Kgate",
        "Pgate",
        "Rgate",
        "S2gate",
        "Sgate",
        "Vgate",
        "Xgate",
        "Zgate",
    }
)
# A deleted mode is not measured, and a new mode begins in the vacuum: neither needs a statement.
_WITHOUT_STATEMENT = frozenset({"_Delete", "_New_modes"})
# Graphs are scaled when they are made, by an option that they do not keep; Fouriergate keeps an argument that it does not take.
_WRITTEN_AS_PARTS = frozenset({"BipartiteGraphEmbed", "Fouriergate", "GraphEmbed"})
_FUNCTIONS = {
    "acos": "arccos",
    "acosh": "arccosh",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atanh": "arctanh",
    **{name: name for name in ("cos", "cosh", "exp", "log", "sin", "sinh", "tan", "tanh")},
    # Blackbird itself has no functions of complex numbers; the platform adds them, for heterodyne readings.
    "Abs": "abs",
    **{name: name for name in ("arg", "conjugate", "im", "re")},
}
_PLAIN = re.compile(r"[\w.{}]+")
_OPERATORS = {"Add": " + ", "Mul": " * "}
_SYMBOL = re.compile(r"q\d+\Z|\{[A-Za-z_]\w*\}\Z")


class _Mode(Protocol):
    """A ``RegRef`` of Strawberry Fields."""

    @property
    def ind(self) -> int: ...


class _Operation(Protocol):
    @property
    def p(self) -> Sequence[object]: ...

    def decompose(self, reg: Sequence[_Mode]) -> Iterable[_Command]: ...


class _Command(Protocol):
    """An operation and the modes that it acts on."""

    @property
    def op(self) -> _Operation: ...

    @property
    def reg(self) -> Sequence[_Mode]: ...


class _Array(Protocol):
    """The part of ``numpy.ndarray`` that is read here; numpy itself is not imported."""

    @property
    def ndim(self) -> int: ...

    def tolist(self) -> list[object]: ...


class _Symbolic(Protocol):
    """A sympy expression."""

    @property
    def args(self) -> Sequence[_Symbolic]: ...

    @property
    def is_Integer(self) -> bool: ...  # noqa: N802 - its name in sympy

    @property
    def free_symbols(self) -> Iterable[object]: ...

    def subs(self, values: Mapping[object, object]) -> _Symbolic: ...

    def __complex__(self) -> complex: ...


def written(program: object, *, name: str, target: str, options: Mapping[str, object]) -> str:
    """
    Return the Blackbird text of ``program`` for ``target``. Bound parameters become their values, free ones ``{name}``.

    Raises:
        ValueError: Blackbird cannot express an operation or one of its arguments. The message names the operation.
    """
    writer = _Writer(program)
    statements = [line for command in program.circuit for line in writer.statements(command)]  # type: ignore[attr-defined]  # a Program
    shown = ", ".join(f"{key}={_option(value)}" for key, value in options.items())
    header = [f"name {name}", "version 1.0", f"target {target} ({shown})" if shown else f"target {target}"]
    if writer.loop_arrays:
        bands = f", N={writer.bands}" if len(writer.bands) > 1 else ""
        header.append(f"type tdm (temporal_modes={writer.timebins}{bands})")
    return "\n".join([*header, "", *writer.declarations(), *statements, ""])


class _Writer:
    """The statements of one program, and the arrays that they need."""

    def __init__(self, program: object) -> None:
        self._parameters: Mapping[str, object] = getattr(program, "free_params", {})
        self._arrays: list[str] = []
        self.loop_arrays: dict[str, list[object]] = {}
        self.timebins = 0
        self.bands: list[int] = []
        self._loops: dict[str, str] = {}
        if hasattr(program, "tdm_params") and not getattr(program, "is_unrolled", False):
            self.timebins = int(program.timebins)  # type: ignore[attr-defined]  # a TDMProgram
            self.bands = [int(size) for size in program.N]  # type: ignore[attr-defined]
            pairs = zip(program.loop_vars, program.tdm_params, strict=True)  # type: ignore[attr-defined]
            self.loop_arrays = {variable.name: list(values) for variable, values in pairs}

    def declarations(self) -> Iterator[str]:
        for name, values in self.loop_arrays.items():
            yield _declaration(name, [values])
        yield from self._arrays

    def statements(self, command: _Command) -> Iterator[str]:
        operation, name = command.op, type(command.op).__name__
        if name in _WITHOUT_STATEMENT:
            return
        try:
            is_inverse = getattr(operation, "dagger", False)
            if name in _WRITTEN_AS_PARTS or (is_inverse and name not in INVERTED_BY_SIGN):
                for part in operation.decompose(command.reg):
                    yield from self.statements(part)
            elif name == "Gaussian" and len(operation.p) > 1:
                yield from self._gaussian(operation, command.reg)
            else:
                yield _statement(name, self._arguments(operation), [mode.ind for mode in command.reg])
        except (TypeError, NotImplementedError) as error:
            raise ValueError(f"Blackbird cannot express {name}: {error}") from error

    def _arguments(self, operation: _Operation) -> Iterator[str]:
        for position, value in enumerate(operation.p):
            negated = position == 0 and getattr(operation, "dagger", False)
            yield self._argument(value, negated=bool(negated))
        for keyword in ("select", "dark_counts"):
            value = getattr(operation, keyword, None)
            if value is not None:
                yield f"{keyword}={_option(_plain(value))}"

    def _gaussian(self, operation: _Operation, modes: Sequence[_Mode]) -> Iterator[str]:
        """Blackbird has no vectors among positional arguments, so the displacement follows the covariance matrix."""
        covariance, means = operation.p[0], cast("list[float]", _plain(operation.p[1]))
        yield _statement("Gaussian", [self._argument(covariance)], [mode.ind for mode in modes])
        for gate, shifts in (("Xgate", means[: len(modes)]), ("Zgate", means[len(modes) :])):
            for mode, shift in zip(modes, shifts, strict=True):
                if shift != 0:
                    yield _statement(gate, [_number(shift)], [mode.ind])

    def _argument(self, value: object, *, negated: bool = False) -> str:
        if hasattr(value, "ndim") and cast("_Array", value).ndim:
            array = cast("_Array", value)
            if array.ndim != 2:
                raise TypeError(f"an array with {array.ndim} dimensions is not an argument of Blackbird")
            name = f"A{len(self._arrays)}"
            self._arrays.append(_declaration(name, cast("list[list[object]]", array.tolist())))
            return f"-{name}" if negated else name
        if hasattr(value, "free_symbols"):
            return self._expression(cast("_Symbolic", value), negated=negated)
        if isinstance(value, str):
            # Strawberry Fields puts the name of a loop array into measurements when it validates a program for a device.
            return value if value in self.loop_arrays else f'"{value}"'
        return _number(value, negated=negated)

    def _expression(self, value: _Symbolic, *, negated: bool) -> str:
        # Equal expressions are one object in sympy's cache, so a symbol may be that of another program with the same names.
        own = {symbol: self._parameters.get(getattr(symbol, "name", ""), symbol) for symbol in value.free_symbols}
        values = {symbol: getattr(parameter, "val", None) for symbol, parameter in own.items()}
        value = value.subs({symbol: bound for symbol, bound in values.items() if bound is not None})
        symbols = list(value.free_symbols)
        if not symbols:
            return _number(complex(value), negated=negated)
        loops = [symbol for symbol in symbols if getattr(symbol, "name", None) in self.loop_arrays]
        if loops:
            return self._loop_variable(value, loops, negated=negated)
        text = _formula(value)
        return f"-({text})" if negated else text

    def _loop_variable(self, value: _Symbolic, loops: Sequence[object], *, negated: bool) -> str:
        """Return the name of the loop array for an expression of loop variables: the array itself, or one made for it."""
        text = f"-({value})" if negated else str(value)
        for name in self.loop_arrays:
            if text == f"{{{name}}}":
                return name
        if text not in self._loops:
            columns = [self.loop_arrays[symbol.name] for symbol in loops]  # type: ignore[attr-defined]  # FreeParameter
            points = [complex(value.subs(dict(zip(loops, point, strict=True)))) for point in zip(*columns, strict=True)]
            self._loops[text] = f"p{len(self.loop_arrays)}"
            self.loop_arrays[self._loops[text]] = [_real(-point if negated else point) for point in points]
        return self._loops[text]


def _statement(name: str, arguments: Iterable[str], modes: Sequence[int]) -> str:
    shown = ", ".join(arguments)
    place = str(modes[0]) if len(modes) == 1 else f"[{', '.join(map(str, modes))}]"
    return f"{name}({shown}) | {place}"


def _declaration(name: str, rows: Sequence[Sequence[object]]) -> str:
    is_complex = any(isinstance(_plain(value), complex) for row in rows for value in row)
    write = _complex if is_complex else _number
    lines = "\n".join("    " + ", ".join(write(value) for value in row) for row in rows)
    return f"{'complex' if is_complex else 'float'} array {name}[{len(rows)}, {len(rows[0])}] =\n{lines}\n"


def _plain(value: object) -> object:
    """Return a number or an array of numpy as a plain number or list."""
    value = cast("_Array", value).tolist() if hasattr(value, "tolist") else value
    # numpy.longdouble and numpy.clongdouble stay themselves in tolist().
    kind = {"longdouble": float, "clongdouble": complex}.get(type(value).__name__)
    return value if kind is None else kind(cast("float", value))


def _number(value: object, *, negated: bool = False) -> str:
    value = _finite(value)
    if isinstance(value, bool):
        return str(value)
    value = _real(-value if negated else value)
    return repr(value) if isinstance(value, int | float) else complex_text(value)


def _finite(value: object) -> complex:
    """Return a plain number. Raises TypeError for what is not a finite number."""
    value = _plain(value)
    if not isinstance(value, int | float | complex):
        raise TypeError(f"its argument {value!r} is not a number")
    if not cmath.isfinite(value):
        raise TypeError(f"its argument {value!r} is not finite")
    return value


def _real(value: complex) -> complex:
    return value if value.imag else value.real


def _complex(value: object) -> str:
    return complex_text(complex(_finite(value)))


def _option(value: object) -> str:
    value = _plain(value)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_option(item) for item in value)}]"
    return str(value) if value is None else _number(value)


def _formula(node: _Symbolic) -> str:
    """
    Return an expression as Blackbird. The text that sympy prints has 15 digits, and ``-q0**2`` means ``(-q0)**2`` in Blackbird.

    Raises TypeError for a function or a name that Blackbird does not have.
    """
    name = type(node).__name__
    if not node.free_symbols:
        return repr(int(complex(node).real)) if node.is_Integer else _number(complex(node))
    if not node.args:
        if not _SYMBOL.match(str(node)):
            raise TypeError(f"its argument has {node}")
        return str(node)
    if name in _OPERATORS:
        return _OPERATORS[name].join(_operand(each) for each in node.args)
    if name == "Pow":
        base, exponent = node.args
        if not exponent.free_symbols and complex(exponent) in {0.5, -1}:
            return f"sqrt({_formula(base)})" if complex(exponent) == 0.5 else f"1 / {_operand(base)}"
        return f"{_operand(base)} ** {_operand(exponent)}"
    if name not in _FUNCTIONS or len(node.args) != 1:
        raise TypeError(f"its argument has the function {name}")
    return f"{_FUNCTIONS[name]}({_formula(node.args[0])})"


def _operand(node: _Symbolic) -> str:
    """Return a part of an expression, in parentheses unless it is a name, a call or a plain number."""
    text = _formula(node)
    is_plain = _PLAIN.fullmatch(text) if not node.args or not node.free_symbols else type(node).__name__ in _FUNCTIONS
    return text if is_plain else f"({text})"
