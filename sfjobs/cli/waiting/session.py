"""What ``run`` and ``wait`` do between the command line and its outcome: submit, wait, report each job, react to Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TextIO

import anyio
import typer

from ..._client.connection import Connection
from ..._jobs.job import Job, state_of
from ..._jobs.waiting import as_completed
from ..._progress import shown
from ...config import Settings
from ...errors import InvalidJobOperationError, JobError, SFJobsError
from ...models import JobStatus
from ...results import Result
from .. import job_ids as ids
from ..context import CommandContext, raise_first, run_with_connection, stderr
from ..errors import CommandError, ExitCode, explain, printable
from ..output.json import about_job
from ..output.tables import counted
from ..program_files import Script
from ..signals import received
from .notices import waits_shown
from .progress import MultiJobDisplay, WaitProgress, job_line, print_lines, while_showing

CANCEL_SECONDS = 3.0
"""How long after Ctrl-C a second one cancels the job."""


class TimeLimit:
    """``--timeout``, from the start of a command: the look-up of names and ids and the token count, too."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._deadline = None if timeout is None else anyio.current_time() + timeout

    @property
    def left(self) -> float | None:
        """Seconds that are left, as messages show them; None without a limit."""
        return None if self._deadline is None else max(round(self._deadline - anyio.current_time(), 1), 0.0)

    @contextmanager
    def before_waiting(self, what: str, remedy: str) -> Iterator[None]:
        """Bound what comes before the wait. With a timeout of 0, which asks once, only the connection's timeouts bound it."""
        with anyio.move_on_after(self.left if self._timeout else None) as scope:
            yield
        if scope.cancelled_caught:
            more = "Give --timeout a larger number, or leave it out."
            raise CommandError(f"{what} after {self._timeout:g} s.", f"{more} {remedy}", ExitCode.TIMEOUT)


@dataclass
class RunSession:
    """One call of ``sfjobs run``. ``job`` is the job once it is submitted, also after Ctrl-C."""

    settings: Settings
    script: Script
    is_embedded: bool
    is_submitting: bool = False
    job: Job | None = None

    async def run(self, timeout: float | None) -> Result:
        """Submit, wait and fetch the result, all within ``timeout``. Raises FailedJobError and CancelledJobError, too."""
        limit = TimeLimit(timeout)
        with WaitProgress(stderr()) as progress:
            async with Connection(settings=self.settings) as connection:
                progress.show(f"Submitting to {printable(self.script.target)}")
                self.is_submitting = True
                remedy = "`sfjobs recover` shows if it has it."
                with waits_shown(), limit.before_waiting("The platform had not accepted the job", remedy):
                    self.job = await self.script.submit(connection)
                job = self.job
                line = partial(job_line, job, progress.console, with_result=True)
                await while_showing(progress, line, lambda: job.wait(timeout=limit.left))
                progress.conclude(line())
                job.raise_for_status()
                return job.result

    def interrupted(self, command: CommandContext) -> ExitCode:
        """After Ctrl-C: say that the job goes on and how to come back to it; cancel it after a second Ctrl-C."""
        try:
            if self.job is None:
                when = "while submitting: the platform may have the job" if self.is_submitting else "before submitting"
                print_lines(f"Interrupted {when}.")
            elif self.is_embedded:
                # Another Ctrl-C would interrupt the platform while it stops, and leave its processes and files behind.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                print_lines(
                    f"Interrupted: job {self.job.id} ends with its platform.",
                    "  To keep jobs alive, start `sfjobs serve` and follow what it prints.",
                )
            else:
                more = f"; Ctrl-C within {CANCEL_SECONDS:g} s cancels it" if received() is None else ""
                print_lines(
                    f"Job {self.job.id} goes on{more}.",
                    f"  Come back with {command.command_line('wait', self.job.id)}",
                    f"  and then with  {command.command_line('result', self.job.id)}",
                )
                if received() is None:
                    time.sleep(CANCEL_SECONDS)
        except KeyboardInterrupt:
            if self.job is not None and not self.is_embedded:
                self._cancel(self.job.id)
        return ExitCode.INTERRUPTED

    def _cancel(self, job_id: str) -> None:
        try:
            status = run_with_connection(self.settings, lambda connection: connection.cancel_job(job_id))
        except KeyboardInterrupt:
            print_lines("Interrupted while cancelling: the job may go on.")
        except InvalidJobOperationError:
            print_lines("The job has ended already.")
        except SFJobsError as error:
            failure = explain(error)
            print_lines(f"The job could not be cancelled: {failure.what}", f"  {failure.remedy}")
        else:
            print_lines(f"Cancelling: the job is {status.value}.")


@dataclass
class WaitSession:
    """One call of ``sfjobs wait``: its options, and the jobs that have ended."""

    shortened_ids: Sequence[str]
    first: bool
    timeout: float | None
    then: str | None
    as_json: bool
    _stdout: TextIO = field(default_factory=lambda: sys.stdout)  # rich may replace sys.stdout for the progress line
    _jobs: list[Job] = field(default_factory=list)
    _ended: list[Job] = field(default_factory=list)
    _failures: dict[str, SFJobsError] = field(default_factory=dict)
    _exit_codes: dict[str, int] = field(default_factory=dict)

    async def wait(self, connection: Connection) -> None:
        """Wait and report each job. Does not raise for jobs that fail: see ``raise_for_jobs``."""
        limit = TimeLimit(self.timeout)
        with WaitProgress(stderr()) as progress:
            with limit.before_waiting("The platform had not responded", "The jobs go on."):
                # Waiting retries until the platform responds, so that a wrong url must be found before.
                await connection.ping()
                job_ids = await ids.resolve(connection, self.shortened_ids)
            self._jobs = [Job(job_id, JobStatus.OPEN, connection) for job_id in job_ids]
            async with as_completed(self._jobs, limit.left, fetch_results=False) as completions:
                if len(self._jobs) == 1:
                    line = partial(job_line, self._jobs[0], progress.console)
                    await self._report_each(lambda: while_showing(progress, line, completions.advance), progress)
                else:
                    async with shown(map(state_of, self._jobs), display=MultiJobDisplay(progress)):
                        await self._report_each(completions.advance, progress)

    async def _report_each(
        self, advance: Callable[[], Awaitable[tuple[Job, SFJobsError | None] | None]], progress: WaitProgress
    ) -> None:
        """Report jobs as they end, only the first one with ``--any``."""
        while completion := await advance():
            job, failure = completion
            if failure is not None:
                self._failures[job.id] = failure
                continue
            self._ended.append(job)
            if not self.as_json:
                with progress.paused() if self._stdout.isatty() else nullcontext():
                    typer.echo(f"{printable(job.id)} {printable(job.status.value)}", file=self._stdout)
            if self.then is not None:
                with progress.paused():
                    await self._run_command(self.then, job)
            if self.first:
                return

    async def _run_command(self, command: str, job: Job) -> None:
        environment = {**os.environ, "SFJOBS_JOB_ID": job.id, "SFJOBS_JOB_STATUS": job.status.value}
        # With --json, stdout is for the document alone.
        stdout = sys.stderr if self.as_json else self._stdout
        done = await anyio.run_process(command, env=environment, stdout=stdout, stderr=None, check=False)
        self._exit_codes[job.id] = done.returncode

    def document(self) -> dict[str, object]:
        """Return the document of ``--json``, also after a timeout or Ctrl-C."""
        about = [
            {**about_job(job), **({"then_exit_code": self._exit_codes[job.id]} if job.id in self._exit_codes else {})}
            for job in self._ended
        ]
        errors = [{"id": job_id, **explain(error).as_json()} for job_id, error in self._failures.items()]
        return {"jobs": about, "pending": self._pending(), "errors": errors}

    def raise_for_jobs(self) -> None:
        """Raise for jobs that are unknown, failed or were cancelled, and for commands of ``--then`` that failed."""
        raise_first([*self._failures.values()])
        errors: list[JobError] = []
        for job in self._ended:
            try:
                job.raise_for_status()
            except JobError as error:
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            what = f"{len(errors)} of {counted(len(self._ended), 'job')} did not complete."
            raise CommandError(what, "`sfjobs show ID` gives the platform's reason for each.", ExitCode.JOB)
        failed = [f"{code} for job {job_id}" for job_id, code in self._exit_codes.items() if code]
        if failed:
            what = f"The command of --then exited with {', '.join(failed)}."
            raise CommandError(what, "The jobs are complete.", ExitCode.FOLLOW_UP)

    def interrupted(self, command: CommandContext) -> ExitCode:
        """After Ctrl-C: say that the jobs go on and how to come back to them."""
        if pending := self._pending():
            go_on = "goes on" if len(pending) == 1 else "go on"
            print_lines(
                f"Interrupted: {counted(len(pending), 'job')} of {len(self._jobs)} {go_on}.",
                f"  Come back with {command.command_line('wait', *pending)}",
            )
        return ExitCode.INTERRUPTED

    def _pending(self) -> list[str]:
        known = {job.id for job in self._ended} | self._failures.keys()
        return [job.id for job in self._jobs if job.id not in known and not job.status.is_final]
