"""
One job from its submission to its result, with a line that says how far it is, and what Ctrl-C means meanwhile. Uses the async
API; ``run`` calls it.
"""

from __future__ import annotations

import signal
import sys
import time
from types import TracebackType
from typing import Self

import anyio
from rich.console import Console
from rich.text import Text

from ..config import Settings
from ..connection import Connection
from ..errors import InvalidJobOperationError, SFJobsError
from ..job import Job
from ..models import JobStatus
from ..results import Result
from .failures import CommandError, ExitCode, explain, printable
from .scope import can_draw, remarks

GRACE = 3.0
"""Seconds after Ctrl-C in which a second one cancels the job."""
_REDRAW = 0.1
"""Seconds between two looks at what the waiting has heard of the job; costs no request."""


class Progress:
    """One line on stderr that changes in place; where that is no terminal, a line for each change of phase."""

    def __init__(self, console: Console) -> None:
        self._console = console
        spinner = "dots" if can_draw(console) else "line"
        self._status = console.status("", spinner=spinner) if console.is_terminal else None
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
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def show(self, phase: str) -> None:
        if self._status is not None:
            self._status.update(Text(f"{phase} ({self.elapsed:.1f} s)"))
        elif phase != self._phase:
            self._console.print(phase, soft_wrap=True)
        self._phase = phase

    def conclude(self, line: str) -> None:
        """A line that stays."""
        self._console.print(f"{line} after {self.elapsed:.1f} s.", soft_wrap=True)


class Pursuit:
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
        with Progress(remarks()) as progress:
            async with Connection(settings=self._settings) as connection:
                self.job = await self._submit(connection, progress)
                await self._wait(self.job, timeout, progress)
                progress.conclude(_phase(self.job))
                self.job.raise_for_status()
                return self.job.result

    async def _submit(self, connection: Connection, progress: Progress) -> Job:
        progress.show(f"Submitting to {printable(self.target)}")
        self.has_begun = True
        try:
            return await connection.create_job(self.target, self._program, shots=self._shots, name=self._name)
        except ValueError as error:
            raise CommandError(
                f"The job cannot be written down: {error}", "Mend the option that this names."
            ) from error

    async def _wait(self, job: Job, timeout: float | None, progress: Progress) -> None:
        failure: SFJobsError | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(_redraw, job, progress)
            try:
                await job.wait(timeout=timeout)
            except SFJobsError as error:
                failure = error  # raised outside the group, which would wrap it in one of its own
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def cancel(self) -> JobStatus:
        assert self.job is not None, "only a job that was submitted can be cancelled"
        async with Connection(settings=self._settings) as connection:
            return await connection.cancel_job(self.job.id)


async def _redraw(job: Job, progress: Progress) -> None:
    while True:
        progress.show(_phase(job))
        await anyio.sleep(_REDRAW)


def _phase(job: Job) -> str:
    match job.status:
        case JobStatus.OPEN | JobStatus.QUEUED:
            word = "queued" if job.started_at is None else "running"
        case JobStatus.CANCEL_PENDING:
            word = "being cancelled"
        case JobStatus.COMPLETED if not job.has_result:
            word = "complete, fetching the result"
        case other:
            word = other.value
    return f"Job {printable(job.id)}: {printable(word)}"


def interrupted(pursuit: Pursuit, *, ends_with_us: bool) -> ExitCode:
    """
    After Ctrl-C: says what becomes of the job and how to come back to it. A second Ctrl-C within ``GRACE`` seconds cancels it.
    """
    try:
        if pursuit.job is None:
            when = "while submitting: the platform may have the job" if pursuit.has_begun else "before submitting"
            _tell(f"Interrupted {when}.")
        elif ends_with_us:
            # Ctrl-C reaches the platform's stopping as well, and a second one would only leave its pieces behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _tell(
                f"Interrupted: job {pursuit.job.id} ends with its platform.",
                "  To keep jobs alive, start `sfjobs serve` and follow what it prints.",
            )
        else:
            _tell(
                f"Job {pursuit.job.id} goes on; Ctrl-C within {GRACE:g} s cancels it.",
                f"  Come back with connection.get_job({pursuit.job.id!r})",
            )
            time.sleep(GRACE)
    except KeyboardInterrupt:
        if pursuit.job is not None and not ends_with_us:
            _cancel(pursuit)
    return ExitCode.INTERRUPTED


def _cancel(pursuit: Pursuit) -> None:
    try:
        status = anyio.run(pursuit.cancel)
    except KeyboardInterrupt:
        _tell("Interrupted while cancelling: the job may go on.")
    except InvalidJobOperationError:
        _tell("The job has ended already.")
    except SFJobsError as error:
        failure = explain(error)
        _tell(f"The job could not be cancelled: {failure.what}", f"  {failure.remedy}")
    else:
        _tell(f"Cancelling: the job is {status.value}.")


def _tell(*lines: str) -> None:
    # Not through rich: interrupted while it prints, it would print the same again with the next line.
    sys.stderr.write("".join(f"{line[:2] if line.startswith('  ') else ''}{printable(line)}\n" for line in lines))
    sys.stderr.flush()
