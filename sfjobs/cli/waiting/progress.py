"""
Jobs that are waited for, with a line that says how far they are, and what Ctrl-C means meanwhile. Uses the async API; ``run``
and the commands that wait call it.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

import anyio
from rich.console import Console
from rich.text import Text

from ..._client.connection import Connection
from ..._jobs.job import Job
from ..._progress import Progress as Standing
from ..._progress.text import COMMA, DOT, LogSchedule, last_line, line
from ...config import Settings
from ...errors import InvalidJobOperationError, SFJobsError
from ...models import JobStatus
from ...results import Result
from ..context import CommandContext, can_draw, stderr
from ..errors import CommandError, ExitCode, explain, printable
from ..output.tables import standing

T = TypeVar("T")

GRACE = 3.0
"""Seconds after Ctrl-C in which a second one cancels the job."""
_REDRAW = 0.1
"""Seconds between two looks at what the waiting has heard of the job; costs no request."""


class WaitProgress:
    """One line on stderr that changes in place; where that is no terminal, a line for each change of phase."""

    def __init__(self, console: Console) -> None:
        self._console = console
        spinner = "dots" if can_draw(console) else "line"
        self._status = console.status("", spinner=spinner) if console.is_terminal else None
        self._is_paused = False
        self._phase = ""
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    @property
    def console(self) -> Console:
        return self._console

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def show(self, phase: str) -> None:
        if self._status is not None:
            self._status.update(Text(f"{phase} ({self.elapsed:.1f} s)"))
            if not self._is_paused:
                self._status.start()
        elif phase != self._phase:
            self._console.print(phase, soft_wrap=True)
        self._phase = phase

    @contextmanager
    def paused(self) -> Iterator[None]:
        """
        Out of the way, for what others print meanwhile: rich would send their stdout to stderr. Comes back when there is
        something to show again, which spares a crowd of jobs that end together a start and a stop for each.
        """
        self._is_paused = True
        if self._status is not None:
            self._status.stop()
        try:
            yield
        finally:
            self._is_paused = False

    def conclude(self, line: str) -> None:
        """A line that stays."""
        self._console.print(f"{line} after {self.elapsed:.1f} s.", soft_wrap=True)


class MultiJobDisplay:
    """How far many jobs are, on the line of ``progress``: the display for ``sfjobs._progress``."""

    def __init__(self, progress: WaitProgress) -> None:
        self._progress = progress
        self._separator = DOT if can_draw(progress.console) else COMMA
        self._schedule = LogSchedule()

    def show(self, standing: Standing) -> None:
        console = self._progress.console
        if console.is_terminal:
            # Beside the line there are the spinner and the time.
            self._progress.show(line(standing, max(console.width - 15, 1), separator=self._separator))
        elif self._schedule.is_due(standing):
            self._progress.show(line(standing, separator=self._separator))

    def conclude(self, standing: Standing) -> None:
        # Whatever ended the waiting before all jobs had ended is told by the command.
        if standing.ended == standing.total:
            with self._progress.paused():
                self._progress.console.print(last_line(standing, separator=self._separator), soft_wrap=True)


class RunSession:
    """The job, as far as it has come: what an interrupted command still knows of it."""

    def __init__(self, settings: Settings, *, target: str, program: str, shots: int | None, name: str | None) -> None:
        self._settings = settings
        self.target = target
        self._program = program
        self._shots = shots
        self._name = name
        self.has_begun = False
        self.job: Job | None = None

    async def follow(self, timeout: float | None) -> Result:
        """Submits, waits and fetches. Raises what the SDK raises, FailedJobError and CancelledJobError among it."""
        with WaitProgress(stderr()) as progress:
            async with Connection(settings=self._settings) as connection:
                self.job = await self._submit(connection, progress)
                job = self.job
                await while_showing(progress, lambda: phase(job), lambda: job.wait(timeout=timeout))
                progress.conclude(phase(self.job))
                self.job.raise_for_status()
                return self.job.result

    async def _submit(self, connection: Connection, progress: WaitProgress) -> Job:
        progress.show(f"Submitting to {printable(self.target)}")
        self.has_begun = True
        try:
            return await connection.create_job(self.target, self._program, shots=self._shots, name=self._name)
        except ValueError as error:
            raise CommandError(
                f"The job cannot be written down: {error}", "Mend the option that this names."
            ) from error

    async def cancel(self) -> JobStatus:
        assert self.job is not None, "only a job that was submitted can be cancelled"
        async with Connection(settings=self._settings) as connection:
            return await connection.cancel_job(self.job.id)


async def while_showing(progress: WaitProgress, line: Callable[[], str], work: Callable[[], Awaitable[T]]) -> T:
    """What ``work`` returns or raises; meanwhile ``progress`` shows what ``line`` says."""
    outcome: list[T] = []
    failure: SFJobsError | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_redraw, progress, line)
        try:
            outcome.append(await work())
        except SFJobsError as error:
            failure = error  # raised outside the group, which would wrap it in one of its own
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return outcome[0]


async def _redraw(progress: WaitProgress, line: Callable[[], str]) -> None:
    while True:
        progress.show(line())
        await anyio.sleep(_REDRAW)


def phase(job: Job) -> str:
    """The job and where it stands, on one line."""
    fetches = job.status == JobStatus.COMPLETED and not job.has_result
    return f"Job {printable(job.id)}: {standing(job)}{', fetching the result' if fetches else ''}{waiting_out(job)}"


def waiting_out(job: Job) -> str:
    """What went wrong with the last question about the job, to follow where it stands."""
    trouble = job.why().last_error
    return "" if trouble is None else f", waiting out {printable(trouble)}"


def interrupted(pursuit: RunSession, scope: CommandContext, *, ends_with_us: bool) -> ExitCode:
    """
    After Ctrl-C: says what becomes of the job and how to come back to it. A second Ctrl-C within ``GRACE`` seconds cancels it.
    """
    try:
        if pursuit.job is None:
            when = "while submitting: the platform may have the job" if pursuit.has_begun else "before submitting"
            tell(f"Interrupted {when}.")
        elif ends_with_us:
            # Ctrl-C reaches the platform's stopping as well, and a second one would only leave its pieces behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            tell(
                f"Interrupted: job {pursuit.job.id} ends with its platform.",
                "  To keep jobs alive, start `sfjobs serve` and follow what it prints.",
            )
        else:
            tell(
                f"Job {pursuit.job.id} goes on; Ctrl-C within {GRACE:g} s cancels it.",
                f"  Come back with {scope.command('wait', pursuit.job.id)}",
                f"  and then with  {scope.command('result', pursuit.job.id)}",
            )
            time.sleep(GRACE)
    except KeyboardInterrupt:
        if pursuit.job is not None and not ends_with_us:
            _cancel(pursuit)
    return ExitCode.INTERRUPTED


def _cancel(pursuit: RunSession) -> None:
    try:
        status = anyio.run(pursuit.cancel)
    except KeyboardInterrupt:
        tell("Interrupted while cancelling: the job may go on.")
    except InvalidJobOperationError:
        tell("The job has ended already.")
    except SFJobsError as error:
        failure = explain(error)
        tell(f"The job could not be cancelled: {failure.what}", f"  {failure.remedy}")
    else:
        tell(f"Cancelling: the job is {status.value}.")


def tell(*lines: str) -> None:
    """Lines on stderr, for the moments after Ctrl-C."""
    # Not through rich: interrupted while it prints, it would print the same again with the next line.
    sys.stderr.write("".join(f"{line[:2] if line.startswith('  ') else ''}{printable(line)}\n" for line in lines))
    sys.stderr.flush()
