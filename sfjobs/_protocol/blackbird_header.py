"""
The header of a Blackbird script: the lines ``name``, ``version``, ``target`` and ``type`` before the first statement. Reads and
edits them as text, without a parser of the language. No I/O.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from functools import lru_cache

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_CODE = re.compile(r'(?:[^"#\r\n]|"[^"\r\n]*"?)*')
_HEADER_LINE = re.compile(r"[ \t]*(name|version|target|type)[ \t]+(.*)")
_PLAIN_HEADER = re.compile(r'(?:(?:name|version|target|type)[ \t]+[^\s"#][^"#\r\n]{0,200}\n|\n){1,20}(?=[A-Z])')
_TARGET = re.compile(r"(?P<name>[0-9A-Za-z_.\-]+)[ \t]*(?:\((?P<options>.*)\))?$")
_OPTION_TOKEN = re.compile(r'"[^"]*"?|[(){},]|\[|\]')
_TARGET_NAME = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.\-]*\Z")
_SCRIPT_NAME = re.compile(r"[A-Za-z]\w*\Z", re.ASCII)
_SHOTS = re.compile(r"[0-9]{1,18}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The name, target and shots that a script states. A field is None where the script does not state it."""

    name: str | None = None
    target: str | None = None
    shots: int | None = None


def read_header(text: str) -> Header:
    """Read name, target and shots from the header of a script. Only their form is checked."""
    _, header, _ = _split_header(text)
    name = header["name"].value if "name" in header else None
    target = _TARGET.match(header["target"].value) if "target" in header else None
    shots = dict(_split_options(target["options"] or "")).get("shots", "") if target else ""
    return Header(
        name=None if name == "None" else name,
        target=target["name"] if target else None,
        shots=int(shots) if _SHOTS.match(shots) else None,
    )


def with_header(text: str, *, target: str, shots: int | None = None, name: str | None = None) -> str:
    """
    Return the script with ``target`` in its header and, where given, ``shots`` in the target's options and ``name`` as its name.

    Missing header lines are added in the order of the grammar. All other lines stay as they were.

    Raises:
        ValueError: Blackbird cannot hold this name or target, or ``shots`` is below 1.
        TypeError: ``shots`` is not an integer.
    """
    plain = _PLAIN_HEADER.match(text)
    if plain is None:
        return _with_header(text, target, shots, name)
    # Most of many programs have the same header, and reading it is a quarter of the cost of a submission.
    return _with_plain_header(plain[0], target, shots, name) + text[plain.end() :]


def is_script_name(name: str) -> bool:
    """Return whether Blackbird can hold ``name``."""
    return _SCRIPT_NAME.match(name) is not None


def _with_header(text: str, target: str, shots: int | None, name: str | None) -> str:
    if name is not None and not is_script_name(name):
        raise ValueError(f"the name of a script is letters, digits and _, starting with a letter, not {name[:100]!r}")
    if not _TARGET_NAME.match(target):
        raise ValueError(f"a target is letters, digits, _, . and -, not {target[:100]!r}")
    if shots is not None and (isinstance(shots, bool) or operator.index(shots) < 1):
        raise ValueError(f"shots is a positive number, not {shots!r}")
    editor = _HeaderEditor(text)
    editor.write("name", name, default="None")
    editor.write("version", None, default="1.0")
    editor.write_target(target, shots)
    return editor.text()


_with_plain_header = lru_cache(maxsize=64, typed=True)(_with_header)


class _HeaderEditor:
    """
    Writes header lines, in the order of the grammar. A line that is missing goes behind the one written before it.

    ``_lines`` begins with an empty line, so that every added line has one to go behind, and the others keep their indices.
    """

    def __init__(self, text: str) -> None:
        lines, self._header, self._rest = _split_header(text)
        self._lines = ["", *lines]
        self._last = min((line.index for line in self._header.values()), default=0)
        first = _LINE.match(text)
        self._line_end = (first[0][len(first[0].rstrip("\r\n")) :] if first else "") or "\n"

    def write(self, word: str, value: str | None, *, default: str) -> None:
        """Set ``word`` to ``value``. Without ``value`` an existing line stays, and a missing one gets ``default``."""
        line = self._header.get(word)
        if line is None:
            self._append(f"{word} {value or default}")
            return
        self._last = line.index + 1
        if value is not None:
            self._lines[self._last] = f"{word} {value}{line.rest or self._line_end}"

    def write_target(self, target: str, shots: int | None) -> None:
        """Set the target and its shots. Other options stay."""
        old = _TARGET.match(self._header["target"].value) if "target" in self._header else None
        options = _split_options(old["options"] or "") if old else []
        if shots is not None:
            options = [(key, value) for key, value in options if key != "shots"] + [("shots", str(shots))]
        value = target + (f" ({', '.join(f'{key}={value}' for key, value in options)})" if options else "")
        self.write("target", value, default=value)

    def text(self) -> str:
        if not self._header:
            self._append("")
        return "".join(self._lines) + self._rest

    def _append(self, line: str) -> None:
        before = self._lines[self._last]
        if before and not before.endswith(("\r", "\n")):
            before += self._line_end
        self._lines[self._last] = before + line + self._line_end


@dataclass(frozen=True, slots=True)
class _HeaderLine:
    """Index and value of a header line, and the rest of the line: white space, a comment, the line end."""

    index: int
    value: str
    rest: str


def _split_header(text: str) -> tuple[list[str], dict[str, _HeaderLine], str]:
    """Split a script into the lines before the first statement, the header lines by their first word, and the remaining text."""
    lines: list[str] = []
    header: dict[str, _HeaderLine] = {}
    for line in _LINE.finditer(text):
        code = _CODE.match(line[0])
        bare = code[0].rstrip() if code else ""
        match = _HEADER_LINE.fullmatch(bare)
        if match is not None:
            header[match[1]] = _HeaderLine(len(lines), match[2], line[0][len(bare) :])
        elif bare.strip():
            return lines, header, text[line.start() :]
        lines.append(line[0])
    return lines, header, ""


def _split_options(options: str) -> list[tuple[str, str]]:
    """
    Split ``a=1, b=[1, 2], c="x, y"`` into pairs. Commas in brackets and quotes do not separate. A part without ``=`` means
    nothing in a target and is left out.
    """
    found, depth, start = [], 0, 0
    for token in _OPTION_TOKEN.finditer(options + ","):
        if token[0] in "([{":
            depth += 1
        elif token[0] in ")]}":
            depth -= 1
        elif token[0] == "," and depth <= 0:
            key, equals, value = options[start : token.start()].partition("=")
            if equals:
                found.append((key.strip(), value.strip()))
            start = token.end()
    return found
