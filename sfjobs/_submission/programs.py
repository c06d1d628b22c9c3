"""
Whatever a caller has for a program, as the Blackbird text that is sent. Objects of ``blackbird`` and ``strawberryfields`` are
recognised by what they can do, so that neither package is imported here. ``Connection.program_text`` calls ``program_text`` for
what is written already, and ``compiled_text``, in a worker thread, for what has to be compiled for its target.
"""

from __future__ import annotations

import operator
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeAlias, TypeGuard, cast, runtime_checkable

from ..models import Device

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_CODE = re.compile(r'(?:[^"#\r\n]|"[^"\r\n]*"?)*')
_HEADER = re.compile(r"[ \t]*(name|version|target|type)[ \t]+(.*)")
_PLAIN_HEADER = re.compile(r'(?:(?:name|version|target|type)[ \t]+[^\s"#][^"#\r\n]{0,200}\n|\n){1,20}(?=[A-Z])')
_TARGET = re.compile(r"(?P<name>[0-9A-Za-z_.\-]+)[ \t]*(?:\((?P<options>.*)\))?$")
_DEVICE = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.\-]*\Z")
_NAME = re.compile(r"[A-Za-z]\w*\Z", re.ASCII)
_SHOTS = re.compile(r"[0-9]{1,18}\Z")
_NUMPY_REPR = re.compile(r'"[^"\r\n]*"|\bnp\.(?:[a-z]+[0-9]*\((?P<number>[-+.\w]*)\)|(?P<truth>True|False)_)')

# Compilers parse the device's layout with quantum-blackbird, whose parser fails when two threads use it.
_compiler = threading.Lock()


@runtime_checkable
class Serializable(Protocol):
    """A ``blackbird.BlackbirdProgram``, or anything else that can write itself as Blackbird."""

    def serialize(self) -> str: ...


@runtime_checkable
class Compilable(Protocol):
    """A ``strawberryfields.Program``, compiled or not."""

    @property
    def circuit(self) -> object: ...

    @property
    def run_options(self) -> Mapping[str, object]: ...

    def compile(self, *, device: object) -> Compilable: ...


class _Script(Serializable, Protocol):
    """What Strawberry Fields makes of a program on its way to a text: a ``BlackbirdProgram``."""

    @property
    def target(self) -> MutableMapping[str, object]: ...


class _Compiler(Protocol):
    """A compiler class of Strawberry Fields."""

    def reset_circuit(self) -> None: ...


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
    The Blackbird text of ``program``. A text of one line that ends in ``.xbb`` is taken as a path. Raises OSError for a file
    that cannot be read, ValueError for one that is not UTF-8, TypeError for anything that is no program and for a
    ``strawberryfields.Program``, whose text depends on the target.
    """
    if isinstance(program, str):
        is_path = program.endswith(".xbb") and "\n" not in program
        return _file_text(program) if is_path else program
    if isinstance(program, os.PathLike):
        return _file_text(program)
    if isinstance(program, Serializable) and not isinstance(program, type):
        return _serialized(program)
    if is_compilable(program):
        raise TypeError(f"a {type(program).__name__} has no text of its own, only one for a target: see compiled_text")
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
    return _NUMPY_REPR.sub(_plain, text)


def _plain(match: re.Match[str]) -> str:
    """``np.float64(0.5)``, which numpy 2 writes for a number in a list, as ``0.5``; quoted text stays as it is."""
    number: str | None = match["number"] or match["truth"]
    return number or match[0]


def is_compilable(program: ProgramLike) -> TypeGuard[Compilable]:
    """Whether ``program`` is a ``strawberryfields.Program``, which ``compiled_text`` takes and ``program_text`` does not."""
    return isinstance(program, Compilable) and not isinstance(program, type)


def needs_compiling(program: Compilable, target: str) -> bool:
    """
    Whether ``program`` has yet to be compiled for ``target``. One that was compiled with a compiler alone is compiled again,
    for the device; one that was compiled for another device is a ValueError.
    """
    info = getattr(program, "compile_info", None)
    device = info[0] if info else None
    if device is None:
        return True
    if device.target != target:
        raise ValueError(
            f"the program was compiled for {device.target}, not for {target}: give the program that it was compiled from"
        )
    return False


def compiled_text(program: Compilable, *, target: str, device: Device | None, shots: int | None = None) -> str:
    """
    The Blackbird text of a ``strawberryfields.Program``, compiled for ``device`` by the first compiler that its specification
    names, as Strawberry Fields' own RemoteEngine compiles; without ``device`` as it is. Without ``shots`` those of the
    program's ``run_options`` count.

    Takes a processor for up to seconds. Raises ValueError when nothing says how many shots, and when the program does not
    compile for the device, with the compiler's own words.
    """
    options = {key: value for key, value in program.run_options.items() if key != "crop" and value is not None}
    if shots is not None:
        options["shots"] = shots
    if "shots" not in options:
        raise ValueError("neither shots= nor the program's run_options say how many shots")
    with _compiler:
        if device is not None and _has_compiler(program, device):
            program = _compiled(program, device)
        script = cast("_Script", _strawberryfields("strawberryfields.io", program).to_blackbird(program))
        script.target.update(name=target, options=options)
        text = _serialized(script)
    name = getattr(program, "name", None)
    return text if name is None or _NAME.match(name) else with_header(text, target=target, name=_as_name(name))


def _as_name(name: str) -> str:
    """Strawberry Fields takes any text for a name, and Blackbird does not."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)
    return word if _NAME.match(word) else f"program_{word}"


def _has_compiler(program: Compilable, device: Device) -> bool:
    """No compiler of Strawberry Fields brings a time-domain program to a simulator, and a simulator needs none."""
    modes = device.specification.modes if device.specification else None
    return not (hasattr(program, "timebins") and isinstance(modes, Mapping) and "temporal_max" not in modes)


def _compiled(program: Compilable, device: Device) -> Compilable:
    specification = device.specification
    if specification is None:
        raise ValueError(f"{device.target} shows no specification to compile for")
    described = {
        "target": specification.target,
        "layout": specification.layout,
        "modes": specification.modes or None,
        "compiler": list(specification.compiler),
        "gate_parameters": specification.gate_parameters,
    }
    package = _strawberryfields("strawberryfields", program)
    if not hasattr(package, "Device"):
        raise TypeError(f"compiling a {type(program).__name__} takes strawberryfields 0.22 or later")
    try:
        theirs = package.Device(spec=described, cert=device.certificate)
        with _without_layout(package.compilers.compiler_db.get(theirs.default_compiler)):
            return program.compile(device=theirs)
    except Warning:
        raise  # whoever makes errors of warnings wants to see them
    except Exception as error:
        # Its compilers raise at least six kinds of errors, and all of them mean that the program does not fit.
        words = f"{type(error).__name__}: {error}"
        raise ValueError(f"the program cannot be compiled for {device.target}: {words}") from error


@contextmanager
def _without_layout(compiler: _Compiler | None) -> Iterator[None]:
    """A compiler keeps the first layout that it was given, for the whole process, and refuses those of other devices."""
    if compiler is None:  # not known, which the package says better itself
        yield
        return
    compiler.reset_circuit()
    try:
        yield
    finally:
        compiler.reset_circuit()


def _strawberryfields(module: str, program: Compilable) -> ModuleType:
    # Whoever holds one of its programs has imported the package.
    found = sys.modules.get(module)
    if found is None:
        raise TypeError(f"{module}, which knows how to compile a {type(program).__name__}, is not imported")
    return found


def read_header(text: str) -> Header:
    """Name, target and shots from the header of a script; nothing is checked beyond their form."""
    _, header, _ = _split_header(text)
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
    plain = _PLAIN_HEADER.match(text)
    if plain is None:
        return _with_header(text, target, shots, name)
    # Most of many programs begin alike, and reading what they begin with is a quarter of what submitting one costs.
    return _with_plain_header(plain[0], target, shots, name) + text[plain.end() :]


def _with_header(text: str, target: str, shots: int | None, name: str | None) -> str:
    if name is not None and not _NAME.match(name):
        raise ValueError(f"the name of a script is letters, digits and _, starting with a letter, not {name[:100]!r}")
    if not _DEVICE.match(target):
        raise ValueError(f"a target is letters, digits, _, . and -, not {target[:100]!r}")
    if shots is not None and (isinstance(shots, bool) or operator.index(shots) < 1):
        raise ValueError(f"shots is a positive number, not {shots!r}")
    lines, header, rest = _split_header(text)
    first = _LINE.match(text)
    ending = (first[0][len(first[0].rstrip("\r\n")) :] if first else "") or "\n"
    parts = _TARGET.match(header["target"].value) if "target" in header else None
    values = {
        "name": name or (None if "name" in header else "None"),
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
    return "".join(lines) + rest


_with_plain_header = lru_cache(maxsize=64, typed=True)(_with_header)


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


def _split_header(text: str) -> tuple[list[str], dict[str, _HeaderLine], str]:
    """The lines before the first statement, the header's among them by their first word, and the rest of the text as it is."""
    lines: list[str] = []
    found: dict[str, _HeaderLine] = {}
    for line in _LINE.finditer(text):
        code = _CODE.match(line[0])
        bare = code[0].rstrip() if code else ""
        match = _HEADER.fullmatch(bare)
        if match is not None:
            found[match[1]] = _HeaderLine(len(lines), match[2], line[0][len(bare) :])
        elif bare.strip():
            return lines, found, text[line.start() :]
        lines.append(line[0])
    return lines, found, ""


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
