"""The progress line on stderr: of one job or of many, in place on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Self, TypeVar

import anyio
from rich.console import Console
from rich.text import Text

from ..._jobs.job import Job
from ..._progress import Progress
from ..._progress.text import COMMA, DOT, LogSchedule, last_line, line
from ..._util.aio import plain_task_group
from ...models import JobStatus
from ..context import can_draw, can_move
from ..errors import printable
from ..output.tables import MIN_ID_LENGTH, status_word

T = TypeVar("T")

_REDRAW_SECONDS = 0.1
"""Interval of the line's updates, which send no request."""
_WIDTH_OF_A_LINE = 70
"""Columns of the line of one job with a whole id and the elapsed time."""


class WaitProgress:
    """One line on stderr that is updated in place; where that is no terminal, one more line for each change."""

    def __init__(self, console: Console) -> None:
        self.console = console
        spinner = "dots" if can_draw(console) else "line"
        self._status = console.status("", spinner=spinner) if can_move(console) else None
        self._is_paused = False
        self._line = ""
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def show(self, text: str) -> None:
        if self._status is not None:
            self._status.update(Text(f"{text} ({self.elapsed:.1f} s)"))
            if not self._is_paused:
                self._status.start()
        elif text != self._line:
            self.console.print(text, soft_wrap=True)
        self._line = text

    @contextmanager
    def paused(self) -> Iterator[None]:
        """
        Take the line off the terminal while other lines are printed: rich would send their stdout to stderr. The next ``show``
        brings it back, so that many jobs that end together cost one stop and start.
        """
        self._is_paused = True
        if self._status is not None:
            self._status.stop()
        try:
            yield
        finally:
            self._is_paused = False

    def conclude(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(f"{text} after {self.elapsed:.1f} s.", soft_wrap=True)


class MultiJobDisplay:
    """The progress of many jobs on the line of a ``WaitProgress``: a display of ``sfjobs._progress``."""

    def __init__(self, progress: WaitProgress) -> None:
        self._progress = progress
        self._separator = DOT if can_draw(progress.console) else COMMA
        self._schedule = LogSchedule()

    def show(self, jobs: Progress) -> None:
        console = self._progress.console
        if can_move(console):
            # The spinner and the elapsed time need 15 columns.
            self._progress.show(line(jobs, max(console.width - 15, 1), separator=self._separator))
        elif self._schedule.is_due(jobs):
            self._progress.show(line(jobs, separator=self._separator))

    def conclude(self, jobs: Progress) -> None:
        # When the wait ends before the jobs, the command says why.
        if jobs.ended == jobs.total:
            with self._progress.paused():
                self._progress.console.print(last_line(jobs, separator=self._separator), soft_wrap=True)


async def while_showing(progress: WaitProgress, text: Callable[[], str], work: Callable[[], Awaitable[T]]) -> T:
    """Return what ``work`` returns; show what ``text`` returns meanwhile."""
    async with plain_task_group() as group:
        group.start_soon(_redraw, progress, text)
        result = await work()
        group.cancel_scope.cancel()
    return result


async def _redraw(progress: WaitProgress, text: Callable[[], str]) -> None:
    while True:
        progress.show(text())
        await anyio.sleep(_REDRAW_SECONDS)


def job_line(job: Job, console: Console, *, with_result: bool = False) -> str:
    """
    Return id, shortened on a narrow terminal, and status of a job and the error of its last poll. ``with_result`` says that its
    result is fetched as well.
    """
    job_id = job.id[:MIN_ID_LENGTH] if can_move(console) and console.width < _WIDTH_OF_A_LINE else job.id
    is_fetching = with_result and job.status == JobStatus.COMPLETED and not job.has_result
    error = job.why().last_error
    retrying = "" if error is None else f", retrying after {printable(error)}"
    return f"Job {printable(job_id)}: {status_word(job)}{', fetching the result' if is_fetching else ''}{retrying}"


def print_lines(*lines: str) -> None:
    """Print lines on stderr after Ctrl-C."""
    # Not with rich: when it is interrupted while it prints, it prints the same text again with the next line.
    sys.stderr.write("".join(f"{line[:2] if line.startswith('  ') else ''}{printable(line)}\n" for line in lines))
    sys.stderr.flush()
