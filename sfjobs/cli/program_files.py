"""Blackbird scripts as they are named on the command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import CommandError, printable


@dataclass(frozen=True, slots=True)
class Script:
    """A program's text, where it came from, and the target that it is meant for."""

    source: str
    text: str
    target: str


def read(source: str, target: str | None) -> Script:
    """The script at the path ``source``, or from standard input for ``-``. Raises CommandError for what is no script."""
    from .._protocol.blackbird_header import read_header

    text = _text(source)
    target = target or read_header(text).target
    if target is None:
        raise CommandError(f"{printable(source)} names no target to run on.", "Give one: --target simulon_gaussian")
    return Script(source, text, target)


def _text(source: str) -> str:
    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        what = f"{source} cannot be read: {error.strerror or error}."
        raise CommandError(what, "Give the path of a Blackbird script, or - for standard input.") from error
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{source} is not text in UTF-8 (byte {error.start}).", "Give a Blackbird script."
        ) from error
