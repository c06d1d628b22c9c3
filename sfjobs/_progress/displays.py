"""
Where the live line goes: a terminal, where it is rewritten in place, a log, which gets a line now and then, or a notebook,
where the output of the cell is. ``fitting_display`` finds out which.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Protocol, TextIO

from .._util.html import Tone, progress_html
from .tally import Progress
from .text import COMMA, DOT, Occasions, last_line, line


class Display(Protocol):
    """What shows progress. It may raise whatever it likes: nobody shows it anything then, and the waiting goes on."""

    def show(self, progress: Progress) -> None:
        """How far they are now; called several times a second."""

    def conclude(self, progress: Progress) -> None:
        """How far they came, called once at the end: also when the waiting was given up or went wrong."""


class Publish(Protocol):
    """As ``IPython.display.display`` and ``update_display`` are called here: data by MIME type, shown or put in the place."""

    def __call__(self, data: Mapping[str, str], /, *, raw: bool, display_id: str) -> object: ...


def fitting_display() -> Display:
    """The one for this place: the notebook's cell where IPython's kernel runs this program, else stderr."""
    if _is_notebook():
        ipython = import_module("IPython.display")
        return NotebookDisplay(ipython.display, ipython.update_display)
    # Without a console, as under pythonw, there is no stderr.
    stream: TextIO | None = sys.stderr
    if stream is None:
        return NoDisplay()
    is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    return TerminalDisplay(stream) if is_terminal else LogDisplay(stream)


class TerminalDisplay:
    """
    One line, rewritten in place. No colours and no escape sequences: spaces rub out what was longer, which every terminal
    understands.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._separator = _separator(stream)
        self._shown = ""

    def show(self, progress: Progress) -> None:
        text = line(progress, self._width(), separator=self._separator)
        if text != self._shown:
            padding = self._padding(text)
            # Back to the end of the text, so that whatever else is written there stands beside it and not on it.
            self._write(f"\r{text}{padding}" + "\b" * len(padding))
            self._shown = text

    def conclude(self, progress: Progress) -> None:
        self._shown += "^C"  # which the terminal may have put there
        text = last_line(progress, self._width(), separator=self._separator)
        self._write(f"\r{text}{self._padding(text)}\n")

    def _padding(self, text: str) -> str:
        return " " * (min(len(self._shown), self._width()) - len(text))

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _width(self) -> int:
        """One column less than there are: some terminals go to the next line at the last one."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        return max((columns or shutil.get_terminal_size().columns) - 1, 1)


class LogDisplay:
    """Plain lines, for files and pipes: few, and fewer as time goes by."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._separator = _separator(stream)
        self._occasions = Occasions()

    def show(self, progress: Progress) -> None:
        if self._occasions.is_one(progress):
            self._write(line(progress, separator=self._separator))

    def conclude(self, progress: Progress) -> None:
        self._write(last_line(progress, separator=self._separator))

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


class NotebookDisplay:
    """A line and a bar in the output of the cell, as HTML without script, updated in place."""

    def __init__(self, publish: Publish, update: Publish) -> None:
        self._publish = publish
        self._update = update
        self._display_id = secrets.token_hex(8)
        self._shown: Mapping[str, str] = {}

    def show(self, progress: Progress) -> None:
        self._put(line(progress), progress)

    def conclude(self, progress: Progress) -> None:
        self._put(last_line(progress), progress)

    def _put(self, text: str, progress: Progress) -> None:
        data = {"text/html": progress_html(text, _shares(progress)), "text/plain": text}
        if data != self._shown:
            put = self._update if self._shown else self._publish
            put(data, raw=True, display_id=self._display_id)
            self._shown = data


class NoDisplay:
    """For where nothing can be seen."""

    def show(self, progress: Progress) -> None:
        pass

    def conclude(self, progress: Progress) -> None:
        pass


def _is_notebook() -> bool:
    # Whoever runs in a kernel has imported IPython; to find out by importing it would cost everybody else a second.
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def _separator(stream: TextIO) -> str:
    try:
        DOT.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return COMMA
    return DOT


def _shares(progress: Progress) -> Mapping[Tone, float]:
    """What the bar is made of; the rest of it is empty."""
    counts: Mapping[Tone, int] = {
        "good": progress.complete,
        "bad": progress.failed,
        "calm": progress.cancelled,
        "busy": progress.running,
    }
    return {mood: number / progress.total for mood, number in counts.items()}
