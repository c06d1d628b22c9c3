"""Numbers for free parameters, and gates for inverses, with fakes of sympy; ``tests/interop`` has the real one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from sfjobs._submission.free_parameters import with_numbers
from sfjobs._submission.inverses import without_inverses


class Symbol:
    """A fake of a ``FreeParameter``, or of another symbol without ``val``."""

    def __init__(self, name: str, val: object = None, default: object = None) -> None:
        self.name, self.val, self.default = name, val, default
        self.free_symbols = {self}


class Multiple:
    """A fake of a sympy expression: a number times symbols."""

    def __init__(self, factor: complex, *symbols: Symbol) -> None:
        self.factor, self.free_symbols = factor, set(symbols)

    def subs(self, values: Mapping[object, Any]) -> Multiple:
        left, factor = [], self.factor
        for symbol in self.free_symbols:
            if symbol in values:
                factor *= values[symbol]
            else:
                left.append(symbol)
        return Multiple(factor, *left)

    def __complex__(self) -> complex:
        return complex(self.factor)


class BSgate:
    """A fake of an operation with parts."""

    def __init__(self, *p: object, dagger: bool = False) -> None:
        self.p, self.dagger = list(p), dagger

    def decompose(self, reg: object) -> Iterable[object]:
        return [command(BSgate(0.5, dagger=self.dagger), reg), command(MZgate(), reg)]


class MZgate(BSgate):
    """One whose inverse is not that of a negated parameter."""


def command(op: object, reg: object = (0, 1)) -> SimpleNamespace:
    return SimpleNamespace(op=op, reg=reg)


def program(*operations: object, **attributes: object) -> Any:
    return SimpleNamespace(circuit=[command(operation) for operation in operations], **attributes)


def arguments(changed: Any) -> list[list[object]]:
    return [each.op.p for each in changed.circuit]


A, B, Q0 = Symbol("a"), Symbol("b", val=0.75, default=0.25), Symbol("q0")
C = Symbol("c", default=0.125)
FREE = {"free_params": {"a": A, "b": B, "c": C}}


def test_numbers_come_from_params_then_values_then_defaults() -> None:
    given = program(BSgate(A, 3, Multiple(2, A)), BSgate(Multiple(1j, B)), BSgate(C), BSgate(0.1), **FREE)
    assert arguments(with_numbers(given, {"a": 0.5})) == [[0.5, 3, 1.0], [0.75j], [0.125], [0.1]]
    assert arguments(with_numbers(given, {"a": 0.5, "b": 2, "c": 1}))[1:3] == [[2j], [1]]
    assert given.circuit[0].op.p[0] is A
    assert B.val == 0.75


def test_other_symbols_stay() -> None:
    loop = Symbol("p0")
    given = program(
        BSgate(loop, Multiple(2, A, loop), Multiple(3, A, Q0)), free_params={"a": A, "p0": loop}, loop_vars=[loop]
    )
    [[first, second, third]] = arguments(with_numbers(given, {"a": 0.5}))
    assert first is loop
    assert [(each.factor, each.free_symbols) for each in (second, third)] == [(1.0, {loop}), (1.5, {Q0})]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (None, ValueError, "no value is given for the free parameter a of the program"),
        ({"a": 1, "d": 1}, ValueError, "does not have: the free parameter d$"),
        ({"a": float("inf")}, ValueError, "free parameter a must be finite"),
        ({"a": True}, TypeError, "free parameter a must be a number, not of type bool"),
        ({"a": [1.0]}, TypeError, "free parameter a must be a number, not of type list"),
        ({"a": 1e300}, ValueError, "of BSgate is not finite"),
    ],
)
def test_params_that_do_not_fit_are_refused(params: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        with_numbers(program(BSgate(Multiple(1e300, A)), **FREE), params)


def test_a_program_without_free_parameters_is_itself() -> None:
    given = program(BSgate(0.5))
    assert with_numbers(given, None) is given
    assert without_inverses(given) is given
    with pytest.raises(ValueError, match=r"does not have: the free parameter a$"):
        with_numbers(given, {"a": 1})


def test_inverses_become_gates() -> None:
    given = program(BSgate(0.25, 1, dagger=True), BSgate(0.75), MZgate(dagger=True))
    changed = without_inverses(given)
    assert arguments(changed) == [[-0.25, 1], [0.75], [-0.5], []]
    assert [each.op.dagger for each in changed.circuit] == [False] * 4
    assert [each.op.dagger for each in given.circuit] == [True, False, True]
    assert given.circuit[0].op.p == [0.25, 1]
