"""
Turns any program that a caller has into Blackbird text. Objects of ``blackbird`` and ``strawberryfields`` are recognised by their
methods, so neither package is imported. A program that has to be compiled first goes to ``strawberryfields``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Protocol, TypeAlias, TypeGuard, runtime_checkable

from .._util.pydantic_schemas import WrittenBy

_NUMPY_REPR = re.compile(r'"[^"\r\n]*"|\bnp\.(?:[a-z]+[0-9]*\((?P<number>[-+.\w]*)\)|(?P<truth>True|False)_)')


@runtime_checkable
class Serializable(Protocol):
    """An object that writes itself as Blackbird, such as a ``blackbird.BlackbirdProgram``."""

    def serialize(self) -> str: ...


@runtime_checkable
class Compilable(Protocol):
    """A ``strawberryfields.Program``, compiled or not."""

    @property
    def circuit(self) -> object: ...

    @property
    def run_options(self) -> Mapping[str, object]: ...

    def compile(self, *, device: object) -> Compilable: ...


ProgramLike: TypeAlias = (
    str
    | os.PathLike[str]
    | Annotated[Serializable, WrittenBy(lambda program: program.serialize())]
    | Annotated[Compilable, WrittenBy(str)]
)
"""Blackbird text, the path of an ``.xbb`` file, a ``BlackbirdProgram`` or a ``strawberryfields.Program``."""


def program_text(program: ProgramLike) -> str:
    """
    Return the Blackbird text of ``program``. A text of one line that ends in ``.xbb`` is a path.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not UTF-8.
        TypeError: this is not a program, or a ``strawberryfields.Program``, whose text depends on the target.
    """
    if isinstance(program, str):
        is_path = program.endswith(".xbb") and "\n" not in program
        return _file_text(program) if is_path else program
    if isinstance(program, os.PathLike):
        return _file_text(program)
    if isinstance(program, Serializable) and not isinstance(program, type):
        return serialized(program)
    if is_compilable(program):
        raise TypeError(f"a {type(program).__name__} has no text of its own, only one for a target: see compiled_text")
    raise TypeError(
        "a program is Blackbird text, a path to an .xbb file, a BlackbirdProgram or a strawberryfields.Program, "
        f"not {type(program).__name__}"
    )


def is_compilable(program: ProgramLike) -> TypeGuard[Compilable]:
    """Return whether ``program`` is a ``strawberryfields.Program``."""
    return isinstance(program, Compilable) and not isinstance(program, type)


def serialized(program: Serializable) -> str:
    """Return the text that ``program`` writes, with plain numbers."""
    text: object = program.serialize()
    if not isinstance(text, str):
        raise TypeError(f"{type(program).__name__}.serialize() returned {type(text).__name__}, not text")
    return _NUMPY_REPR.sub(_plain, text)


def _file_text(path: str | os.PathLike[str]) -> str:
    # Some editors begin a file with a byte order mark, which is not part of the program.
    return Path(path).read_text(encoding="utf-8-sig")


def _plain(match: re.Match[str]) -> str:
    """Replace ``np.float64(0.5)``, which numpy 2 writes for a number in a list, by ``0.5``. Quoted text stays."""
    number: str | None = match["number"] or match["truth"]
    return number or match[0]


def crop_of(program: object) -> int | None:
    """
    Return the number of time bins without a pulse at the start of each shot of a ``TDMProgram``, None for other programs.

    Raises:
        ValueError: Strawberry Fields does not know it for this program.
    """
    if not hasattr(program, "get_crop_value"):
        return None
    try:
        return int(program.get_crop_value())
    except NotImplementedError as error:
        raise ValueError(f"crop=True is not possible for this program: {error}") from error
