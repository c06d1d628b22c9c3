"""
Writes one profile into the configuration file and leaves the rest, including comments, unchanged. The lines are edited, and the
outcome is parsed and compared with the expected values; if they differ, as with unusual spellings of tables, the whole file is
written from its values. It appears complete or not at all, and only the user can read it.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from .._util.atomic_file import AtomicFile
from . import file
from .secret import Secret
from .values import problem

Value: TypeAlias = str | int | float | bool | Secret

_KEY = re.compile(r"[ \t]*(?:([A-Za-z0-9_-]+)|\"([^\"\\\n]*)\"|'([^'\n]*)')[ \t]*=")
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def store_profile(
    path: str | os.PathLike[str], profile: str, values: Mapping[str, Value], *, without: Iterable[str] = ()
) -> None:
    """
    Write ``values`` into ``profile`` of the file at ``path``, and remove the keys ``without`` from it.

    The file and its folder are created if they do not exist.

    Raises:
        ConfigurationError: the file is not TOML or cannot be written.
    """
    # A symbolic link stays one: some users link to settings that they keep elsewhere.
    target = Path(os.path.realpath(path))
    text = file.read(target, what="the configuration of sfjobs") if target.exists() else Secret("")
    expected = file.parsed(target, text)
    removed = set(without) - values.keys()
    wrapped = {name: Secret(value) if isinstance(value, str) else value for name, value in values.items()}
    _update(expected, profile, wrapped, removed)
    edited = _edited(text, profile, values, removed)
    if file.parse_toml(edited) != (expected, ""):
        edited = _emitted(expected)
        if file.parse_toml(edited) != (expected, ""):
            raise problem(f"{target} holds values that sfjobs cannot write", "Write url and api_key into it by hand")
    failure = _try_to_write(target, edited)
    if failure:
        raise problem(f"{target} cannot be written: {failure}", "Set SFJOBS_CONFIG to a writable file")


def _update(document: dict[str, object], profile: str, values: Mapping[str, object], removed: set[str]) -> None:
    table: object = document
    if profile != file.DEFAULT_PROFILE:
        profiles = document.setdefault("profiles", {})
        table = profiles.setdefault(profile, {}) if isinstance(profiles, dict) else None
    if not isinstance(table, dict):
        raise problem(f"The profile {profile!r} is not a table", f"Write it as [profiles.{_name(profile)}]")
    table.update(values)
    for name in removed:
        table.pop(name, None)


def _edited(text: Secret, profile: str, values: Mapping[str, Value], removed: set[str]) -> Secret:
    """Return the text with the lines of the profile replaced, removed and added."""
    lines = text.reveal().splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    start, end = _region(lines, profile)
    if start < 0:
        lines += [*(["\n"] if lines else []), f"[profiles.{_name(profile)}]\n"]
        start = end = len(lines)
    unwritten = dict(values)
    kept: list[str] = []
    position = 0
    for line in lines[start:end]:
        match = _KEY.match(line)
        key = next((group for group in match.groups() if group is not None), "") if match else ""
        if key in unwritten:
            kept.append(f"{key} = {_literal(unwritten.pop(key))}{_comment(line)}\n")
        elif key not in removed or not match:
            kept.append(line)
        if match and kept:
            position = len(kept)
    added = [f"{key} = {_literal(value)}\n" for key, value in unwritten.items()]
    following = kept[position:] + lines[end:]
    if added and following and following[0].strip():
        added.append("\n")
    return Secret("".join([*lines[:start], *kept[:position], *added, *following]))


def _region(lines: list[str], profile: str) -> tuple[int, int]:
    """Return the first and last line of the profile, below its header; -1 if it has no header."""
    headers = [(index, _table_of(line)) for index, line in enumerate(lines) if line.lstrip().startswith("[")]
    ends = [index for index, _ in headers] + [len(lines)]
    if profile == file.DEFAULT_PROFILE:
        return 0, ends[0]
    for number, (index, table) in enumerate(headers):
        if table == {"profiles": {profile: {}}}:
            return index + 1, ends[number + 1]
    return -1, -1


def _table_of(header: str) -> dict[str, object]:
    try:
        return tomllib.loads(header)
    except ValueError:
        return {}


def _comment(line: str) -> str:
    """Return the comment at the end of a line, with the space before it: all behind the shortest complete assignment."""
    for position in (index for index, character in enumerate(line) if character == "#"):
        if _table_of(line[:position]):
            return line[len(line[:position].rstrip()) :].rstrip()
    return ""


def _emitted(document: Mapping[str, object]) -> Secret:
    profiles = document.get("profiles")
    blocks = ["".join(_assignments(document))]
    for name, table in (profiles if isinstance(profiles, dict) else {}).items():
        blocks.append(f"[profiles.{_name(name)}]\n" + "".join(_assignments(table)))
    return Secret("\n".join(block for block in blocks if block))


def _assignments(table: Mapping[str, object]) -> Iterable[str]:
    return (
        f"{_name(key)} = {_literal(value)}\n" for key, value in table.items() if isinstance(value, Secret | int | float)
    )


def _name(key: str) -> str:
    return key if _BARE.match(key) else _quoted(key)


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Secret):
        return _quoted(value.reveal())
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\u{ord(match[0]):04x}", escaped) + '"'


def _try_to_write(target: Path, text: Secret) -> str:
    """Return why the file could not be written; empty on success."""
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with AtomicFile(target, mode=0o600) as file:
            # Encoded in this expression: a variable with the text would show in a traceback's locals.
            file.use(lambda stream: stream.write(text.reveal().encode()))
            file.commit()
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""
