"""
Removes inverses from a ``strawberryfields.Program`` before it is compiled: the compilers of Strawberry Fields read the parameters
of a gate and not whether it is an inverse, so that another program comes out (checked with 0.23).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, cast

from .blackbird_writer import INVERTED_BY_SIGN
from .programs import Compilable


class _Negatable(Protocol):
    def __neg__(self) -> object: ...


class _InvertibleGate(Protocol):
    p: Sequence[_Negatable]
    dagger: bool

    def decompose(self, reg: object) -> Iterable[_InvertibleCommand]: ...


class _InvertibleCommand(Protocol):
    op: _InvertibleGate

    @property
    def reg(self) -> object: ...


def without_inverses(program: Compilable) -> Compilable:
    """
    Return ``program`` with gates in the place of inverses: with a negated parameter where that is the inverse, otherwise the
    inverses of the gate's parts. The caller's program stays as it is.
    """
    if not any(map(_is_inverse, cast("Sequence[_InvertibleCommand]", program.circuit))):
        return program
    changed = copy.copy(program)
    for attribute in ("circuit", "rolled_circuit"):
        if commands := getattr(program, attribute, None):
            setattr(changed, attribute, [part for command in commands for part in _without_inverse(command)])
    return changed


def _is_inverse(command: _InvertibleCommand) -> bool:
    return bool(getattr(command.op, "dagger", False))


def _without_inverse(command: _InvertibleCommand) -> Iterator[_InvertibleCommand]:
    if not _is_inverse(command):
        yield command
    elif type(command.op).__name__ in INVERTED_BY_SIGN:
        changed, operation = copy.copy(command), copy.copy(command.op)
        first, *rest = operation.p
        operation.p, operation.dagger = [cast("_Negatable", -first), *rest], False
        changed.op = operation
        yield changed
    else:
        for part in command.op.decompose(command.reg):
            yield from _without_inverse(part)
