"""
Where the live line is written: to a terminal, where it changes in place, to a log, which gets a line now and then, or to the
output of a notebook's cell.
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
from .text import COMMA, DOT, LogSchedule, last_line, line


class Display(Protocol):
    """Shows progress. After an exception it is not used again, and the wait goes on."""

    def show(self, progress: Progress) -> None:
        """Show the present progress; called several times a second."""

    def conclude(self, progress: Progress) -> None:
        """Show the last progress; called once, also after a timeout, a cancellation or an error."""


class Publish(Protocol):
    """``IPython.display.display`` or ``update_display``, as they are called here: data by MIME type."""

    def __call__(self, data: Mapping[str, str], /, *, raw: bool, display_id: str) -> object: ...


def fitting_display() -> Display | None:
    """Return a display for the notebook's cell where IPython's kernel runs this program, else for stderr, if there is one."""
    if _is_notebook():
        ipython = import_module("IPython.display")
        return NotebookDisplay(ipython.display, ipython.update_display)
    stream: TextIO | None = sys.stderr
    if stream is None:  # as under pythonw, which has no console
        return None
    is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    return TerminalDisplay(stream) if is_terminal else LogDisplay(stream)


class _StreamDisplay:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        try:
            DOT.encode(stream.encoding or "ascii")
            self._separator = DOT
        except (UnicodeEncodeError, LookupError):
            self._separator = COMMA

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class TerminalDisplay(_StreamDisplay):
    """One line that changes in place. Uses no colours and no escape sequences: spaces erase the rest of a longer line."""

    _shown = ""

    def show(self, progress: Progress) -> None:
        text = line(progress, self._width(), separator=self._separator)
        if text != self._shown:
            padding = self._padding(text)
            # Back to the end of the text, so that other output stands beside it and not on it.
            self._write(f"\r{text}{padding}" + "\b" * len(padding))
            self._shown = text

    def conclude(self, progress: Progress) -> None:
        self._shown += "^C"  # which the terminal may have put there
        text = last_line(progress, self._width(), separator=self._separator)
        self._write(f"\r{text}{self._padding(text)}\n")

    def _padding(self, text: str) -> str:
        return " " * (min(len(self._shown), self._width()) - len(text))

    def _width(self) -> int:
        """Return one column less than the terminal has: some terminals begin a new line after the last one."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        return max((columns or shutil.get_terminal_size().columns) - 1, 1)


class LogDisplay(_StreamDisplay):
    """Whole lines for files and pipes, at growing intervals."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._schedule = LogSchedule()

    def show(self, progress: Progress) -> None:
        if self._schedule.is_due(progress):
            self._write(f"{line(progress, separator=self._separator)}\n")

    def conclude(self, progress: Progress) -> None:
        self._write(f"{last_line(progress, separator=self._separator)}\n")


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


def _is_notebook() -> bool:
    # A program in a kernel has imported IPython; an import here would cost every other program a second.
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def _shares(progress: Progress) -> Mapping[Tone, float]:
    """Return the parts of the bar; the rest of it is empty."""
    return {
        "good": progress.complete / progress.total,
        "bad": progress.failed / progress.total,
        "calm": progress.cancelled / progress.total,
        "busy": progress.running / progress.total,
    }
