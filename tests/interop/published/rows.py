"""A row of the table of published programs, and the list in which the modules of rows enter theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Make = Callable[[], Any]
"""Makes a program: Blackbird text, or a program of Strawberry Fields."""

SEED = 20


@dataclass(frozen=True, kw_only=True)
class Row:
    """
    One program and what is right for it: its samples follow the exact state of ``meaning``, which is the program itself by
    default, or, where ``refused`` is given, its submission is refused with a message that ``refused`` matches.
    """

    name: str
    make: Make
    target: str = "simulon_gaussian"
    shots: int = 4000
    params: Mapping[str, float] | None = None
    meaning: Make | None = None
    check: Callable[[Any], None] | None = None
    refused: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def program(self) -> Any:
        """Return the program with its seed: in the ``target`` line of a text, in the run options of an object."""
        program = self.make()
        if not isinstance(program, str):
            program.run_options = {"shots": self.shots, "seed": SEED, **self.options}
        return program


ROWS: dict[str, Row] = {}


def published(name: str, **options: Any) -> Callable[[Make], Make]:
    """Enter the function as the row ``name``; ``options`` are fields of the row."""

    def enter(make: Make) -> Make:
        if name in ROWS:
            raise ValueError(f"two rows are called {name!r}")
        ROWS[name] = Row(name=name, make=make, **options)
        return make

    return enter


def script(name: str, body: str, **options: Any) -> None:
    """Enter the Blackbird statements of ``body`` as the row ``name``, below a header with target and seed."""
    row = Row(name=name, make=lambda: headed(body, row.target, row.shots, **row.options), **options)
    if name in ROWS:
        raise ValueError(f"two rows are called {name!r}")
    ROWS[name] = row


def meaning_of(name: str) -> Callable[[Make], Make]:
    """Give the row ``name`` the program that the function makes as its meaning."""

    def enter(make: Make) -> Make:
        ROWS[name] = replace(ROWS[name], meaning=make)
        return make

    return enter


def check_of(name: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Let the function check the samples of the row ``name``, in place of the exact state."""

    def enter(check: Callable[[Any], None]) -> Callable[[Any], None]:
        ROWS[name] = replace(ROWS[name], check=check)
        return check

    return enter


def headed(body: str, target: str, shots: int, *, header: str = "", seed: int = SEED) -> str:
    """Return a script for ``target``; ``header`` has further lines of the header."""
    lines = ["name demo", "version 1.0", f"target {target} (shots={shots}, seed={seed})"]
    return "\n".join([*lines, *([header] if header else []), "", body.strip(), ""])


def haar(modes: int, seed: int) -> Any:
    """Return a random unitary matrix: the unitary factor of normally distributed numbers, with positive diagonal of the other."""
    rng = np.random.default_rng(seed)
    q, r = np.linalg.qr(rng.normal(size=(modes, modes)) + 1j * rng.normal(size=(modes, modes)))
    diagonal = np.diag(r)
    return q * (diagonal / np.abs(diagonal))


def array_text(name: str, matrix: Any, digits: int | None = None) -> str:
    """Return the declaration of an array in Blackbird, with all digits by default."""
    matrix = np.atleast_2d(np.asarray(matrix))
    kind = "complex" if np.iscomplexobj(matrix) else "float"
    rows = [", ".join(_number(value, digits) for value in row) for row in matrix]
    shape = ", ".join(map(str, matrix.shape))
    return f"{kind} array {name}[{shape}] =\n" + "\n".join(f"    {row}" for row in rows)


def _number(value: Any, digits: int | None) -> str:
    def text(part: float) -> str:
        return repr(float(part)) if digits is None else f"{part:.{digits}f}"

    if not np.iscomplexobj(value):
        return text(value)
    return f"{text(value.real)}{'' if text(value.imag).startswith('-') else '+'}{text(value.imag)}j"
