"""
Whatever a caller has for a program, as the Blackbird text that is sent. Objects of ``blackbird`` and ``strawberryfields`` are
recognised by what they can do, so that neither package is imported here.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, cast, runtime_checkable

_HEADER_LINE = re.compile(r"[ \t]*(name|version|target|type)[ \t]+(.*?)[ \t]*(?:#.*)?\r?$")
_TARGET = re.compile(r"(?P<name>[A-Za-z_]\w*)[ \t]*(?:\((?P<options>.*)\))?$")
_NAME = re.compile(r"[A-Za-z]\w*\Z", re.ASCII)
_SHOTS = re.compile(r"\d+\Z")


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
    anything that is no program, OSError for a file that cannot be read.
    """
    if isinstance(program, str):
        is_path = program.endswith(".xbb") and "\n" not in program
        return Path(program).read_text(encoding="utf-8") if is_path else program
    if isinstance(program, os.PathLike):
        return Path(program).read_text(encoding="utf-8")
    if isinstance(program, Serializable):
        return str(program.serialize())
    if isinstance(program, Compilable):
        return str(_strawberryfields_to_blackbird(program).serialize())
    raise TypeError(
        "a program is Blackbird text, a path to an .xbb file, a BlackbirdProgram or a strawberryfields.Program, "
        f"not {type(program).__name__}"
    )


def _strawberryfields_to_blackbird(program: Compilable) -> Serializable:
    # Whoever holds one of its programs has imported the package.
    converter = sys.modules.get("strawberryfields.io")
    if converter is None:
        raise TypeError(f"strawberryfields, which knows how to write a {type(program).__name__}, is not imported")
    return cast("Serializable", converter.to_blackbird(program))


def read_header(text: str) -> Header:
    """Name, target and shots from the header of a script; nothing is checked beyond their form."""
    name = target = None
    shots = None
    for line in _header_lines(text):
        match = _HEADER_LINE.match(line)
        if match is None:
            continue
        word, value = match.groups()
        if word == "name" and value != "None":
            name = value
        elif word == "target" and (parts := _TARGET.match(value)):
            target = parts["name"]
            found = dict(_split_options(parts["options"] or "")).get("shots", "")
            shots = int(found[:18]) if _SHOTS.match(found) else None
    return Header(name=name, target=target, shots=shots)


def with_header(text: str, *, target: str, shots: int | None = None, name: str | None = None) -> str:
    """
    The script with ``target`` in its header and, where given, ``shots`` among the target's options and ``name`` as its name.
    Everything else stays as it was, line by line. Raises ValueError for a name that Blackbird cannot hold.
    """
    if name is not None and not _NAME.match(name):
        raise ValueError(f"the name of a script is letters, digits and _, starting with a letter, not {name[:100]!r}")
    if shots is not None and (isinstance(shots, bool) or shots < 1):
        raise ValueError(f"shots is a positive number, not {shots!r}")
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.split("\n")
    places = {}
    for index, line in enumerate(_header_lines(text)):
        match = _HEADER_LINE.match(line)
        if match is not None:
            places[match[1]] = (index, match[2])
    index, value = places.get("target", (-1, ""))
    parts = _TARGET.match(value)
    target_line = _target_line(target, parts["options"] if parts and parts["options"] else "", shots)
    ending = newline[:-1]
    if "target" in places:
        lines[index] = target_line + ending
    if "name" in places and name is not None:
        lines[places["name"][0]] = f"name {name}{ending}"
    missing = [
        *([] if "name" in places else [f"name {name or 'program'}"]),
        *([] if "version" in places else ["version 1.0"]),
    ]
    if "target" not in places:
        after = max((place for place, _ in places.values()), default=-1) + 1
        lines[after:after] = [line + ending for line in [*missing, target_line, *([] if places else [""])]]
    return "\n".join(lines)


def _target_line(target: str, options: str, shots: int | None) -> str:
    kept = _split_options(options)
    if shots is not None:
        kept = [(key, value) for key, value in kept if key != "shots"] + [("shots", str(shots))]
    return f"target {target}" + (f" ({', '.join(f'{key}={value}' for key, value in kept)})" if kept else "")


def _split_options(options: str) -> list[tuple[str, str]]:
    """``a=1, b=[1, 2], c="x, y"`` as pairs: commas in brackets and quotes do not separate."""
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


def _header_lines(text: str) -> list[str]:
    """The lines before the first statement."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        bare = line.split("#", 1)[0].strip()
        if bare and not _HEADER_LINE.match(line):
            return lines[:index]
    return lines
