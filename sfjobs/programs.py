"""
Whatever a caller has for a program, as the Blackbird text that is sent. Objects of ``blackbird`` and ``strawberryfields`` are
recognised by what they can do, so that neither package is imported here.
"""

from __future__ import annotations

import operator
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, cast, runtime_checkable

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_CODE = re.compile(r'(?:[^"#\r\n]|"[^"\r\n]*"?)*')
_HEADER = re.compile(r"[ \t]*(name|version|target|type)[ \t]+(.*)")
_TARGET = re.compile(r"(?P<name>[0-9A-Za-z_.\-]+)[ \t]*(?:\((?P<options>.*)\))?$")
_DEVICE = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.\-]*\Z")
_NAME = re.compile(r"[A-Za-z]\w*\Z", re.ASCII)
_SHOTS = re.compile(r"[0-9]{1,18}\Z")


@runtime_checkable
class Serializable(Protocol):
    """A ``blackbird.BlackbirdProgram``, or anything else that can write itself as Blackbird."""

    def serialize(self) -> str: ...


@runtime_checkable
class Compilable(Protocol):
    """A ``strawberryfields.Program``."""

    @property
    def circuit(self) -> object: ...

    @property
    def run_options(self) -> object: ...

    def compile(self) -> object: ...


ProgramLike: TypeAlias = str | os.PathLike[str] | Serializable | Compilable
"""Blackbird text, the path of an ``.xbb`` file, a ``BlackbirdProgram`` or a ``strawberryfields.Program``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a script says of itself: None where it says nothing."""

    name: str | None = None
    target: str | None = None
    shots: int | None = None


def program_text(program: ProgramLike) -> str:
    """
    The Blackbird text of ``program``. A text of one line that ends in ``.xbb`` is taken as a path. Raises TypeError for
    anything that is no program, OSError for a file that cannot be read, ValueError for one that is not UTF-8.
    """
    if isinstance(program, str):
        is_path = program.endswith(".xbb") and "\n" not in program
        return _file_text(program) if is_path else program
    if isinstance(program, os.PathLike):
        return _file_text(program)
    if isinstance(program, Serializable) and not isinstance(program, type):
        return _serialized(program)
    if isinstance(program, Compilable) and not isinstance(program, type):
        return _serialized(_strawberryfields_to_blackbird(program))
    raise TypeError(
        "a program is Blackbird text, a path to an .xbb file, a BlackbirdProgram or a strawberryfields.Program, "
        f"not {type(program).__name__}"
    )


def _file_text(path: str | os.PathLike[str]) -> str:
    # Some editors begin a file with a byte order mark, which is no part of a program.
    return Path(path).read_text(encoding="utf-8-sig")


def _serialized(program: Serializable) -> str:
    text: object = program.serialize()
    if not isinstance(text, str):
        raise TypeError(f"{type(program).__name__}.serialize() gave no text but {type(text).__name__}")
    return text


def _strawberryfields_to_blackbird(program: Compilable) -> Serializable:
    # Whoever holds one of its programs has imported the package.
    converter = sys.modules.get("strawberryfields.io")
    if converter is None:
        raise TypeError(f"strawberryfields, which knows how to write a {type(program).__name__}, is not imported")
    return cast("Serializable", converter.to_blackbird(program))


def read_header(text: str) -> Header:
    """Name, target and shots from the header of a script; nothing is checked beyond their form."""
    header = _header_lines(_LINE.findall(text))
    name = header["name"].value if "name" in header else None
    parts = _TARGET.match(header["target"].value) if "target" in header else None
    if parts is None:
        return Header(name=None if name == "None" else name)
    shots = dict(_split_options(parts["options"] or "")).get("shots", "")
    return Header(
        name=None if name == "None" else name,
        target=parts["name"],
        shots=int(shots) if _SHOTS.match(shots) else None,
    )


def with_header(text: str, *, target: str, shots: int | None = None, name: str | None = None) -> str:
    """
    The script with ``target`` in its header and, where given, ``shots`` among the target's options and ``name`` as its name.
    Header lines that are missing are added where the grammar wants them; everything else stays as it was, line by line.
    Raises ValueError for a name or target that Blackbird cannot hold.
    """
    if name is not None and not _NAME.match(name):
        raise ValueError(f"the name of a script is letters, digits and _, starting with a letter, not {name[:100]!r}")
    if not _DEVICE.match(target):
        raise ValueError(f"a target is letters, digits, _, . and -, not {target[:100]!r}")
    if shots is not None and (isinstance(shots, bool) or operator.index(shots) < 1):
        raise ValueError(f"shots is a positive number, not {shots!r}")
    lines = _LINE.findall(text)
    header = _header_lines(lines)
    ending = (lines[0][len(lines[0].rstrip("\r\n")) :] if lines else "") or "\n"
    parts = _TARGET.match(header["target"].value) if "target" in header else None
    values = {
        "name": name or (None if "name" in header else "program"),
        "version": None if "version" in header else "1.0",
        "target": _target_value(target, (parts and parts["options"]) or "", shots),
    }
    place, added = min((line.index for line in header.values()), default=0), 0
    for word, value in values.items():  # in the order of the grammar
        here = header.get(word)
        if here is not None:
            place = here.index + added + 1
            if value is not None:
                lines[place - 1] = f"{word} {value}{here.rest or ending}"
        else:
            if place and not lines[place - 1].endswith(("\r", "\n")):
                lines[place - 1] += ending
            lines.insert(place, f"{word} {value}{ending}")
            place, added = place + 1, added + 1
    if not header:
        lines.insert(place, ending)
    return "".join(lines)


def _target_value(target: str, options: str, shots: int | None) -> str:
    kept = _split_options(options)
    if shots is not None:
        kept = [(key, value) for key, value in kept if key != "shots"] + [("shots", str(shots))]
    return target + (f" ({', '.join(f'{key}={value}' for key, value in kept)})" if kept else "")


@dataclass(frozen=True, slots=True)
class _HeaderLine:
    """Where a header line stands, what it says, and what follows: white space, a comment, the end of the line."""

    index: int
    value: str
    rest: str


def _header_lines(lines: Sequence[str]) -> dict[str, _HeaderLine]:
    """The header's lines by their first word, up to the first statement."""
    found: dict[str, _HeaderLine] = {}
    for index, line in enumerate(lines):
        code = _CODE.match(line)
        bare = code[0].rstrip() if code else ""
        match = _HEADER.fullmatch(bare)
        if match is not None:
            found[match[1]] = _HeaderLine(index, match[2], line[len(bare) :])
        elif bare.strip():
            break
    return found


def _split_options(options: str) -> list[tuple[str, str]]:
    """
    ``a=1, b=[1, 2], c="x, y"`` as pairs: commas in brackets and quotes do not separate. What is no pair means nothing in a
    target and is left out.
    """
    found, depth, quoted, start = [], 0, False, 0
    for index, character in enumerate(options + ","):
        if character == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth <= 0:
            key, equals, value = options[start:index].partition("=")
            if equals:
                found.append((key.strip(), value.strip()))
            start = index + 1
    return found
