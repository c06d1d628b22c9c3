"""What ``sfjobs wait`` does: jobs that are waited for together, told of and acted upon one by one as they end."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import TypeAlias

import anyio

from ..._client.connection import Connection
from ..._jobs.job import Job, state_of
from ..._jobs.waiting import as_completed
from ..._progress import shown
from ...errors import JobError, SFJobsError
from ...models import JobStatus, JSONValue
from .. import job_ids as ids
from ..context import CommandContext, report, stderr
from ..errors import CommandError, ExitCode, explain, printable
from ..output.json import about_job, write_json
from ..output.tables import counted, standing
from .progress import MultiJobDisplay, WaitProgress, tell, waiting_out, while_showing

Advance: TypeAlias = Callable[[], Awaitable[tuple[Job, SFJobsError | None] | None]]


class WaitSession:
    """One call of the command: what it was asked for, and how far it has come."""

    def __init__(
        self, words: Sequence[str], *, first: bool, timeout: float | None, then: str | None, as_json: bool
    ) -> None:
        self._words = words
        self._first = first
        self._timeout = timeout
        self._then = then
        self._as_json = as_json
        # Progress may put a proxy in the place of sys.stdout.
        self._stdout = sys.stdout
        self._jobs: list[Job] = []
        self._ended: list[Job] = []
        self._failures: list[SFJobsError] = []
        self._exit_codes: dict[str, int] = {}

    async def keep(self, connection: Connection) -> None:
        """Waits. Raises what the SDK raises; that a job failed is for ``raise_for_jobs`` to say."""
        with WaitProgress(stderr()) as progress:
            # From here on weather is waited out, so this is where a wrong address shows.
            await connection.ping()
            whole = await ids.resolve(connection, self._words)
            self._jobs = [Job(job_id, JobStatus.OPEN, connection) for job_id in whole]
            async with as_completed(self._jobs, self._timeout, fetch_results=False) as completions:
                if len(self._jobs) == 1:
                    while await self._step(lambda: while_showing(progress, self._line, completions.advance), progress):
                        pass
                    return
                async with shown(map(state_of, self._jobs), display=MultiJobDisplay(progress)):
                    while await self._step(completions.advance, progress):
                        pass

    async def _step(self, advance: Advance, progress: WaitProgress) -> bool:
        """Until the next job ends; whether there is more to wait for."""
        completion = await advance()
        if completion is None:
            return False
        job, failure = completion
        if failure is not None:
            self._failures.append(failure)
            return True
        self._ended.append(job)
        await self._tell_of(job, progress)
        return not self._first

    def _line(self) -> str:
        return f"Job {printable(self._jobs[0].id)}: {standing(self._jobs[0])}{waiting_out(self._jobs[0])}"

    async def _tell_of(self, job: Job, progress: WaitProgress) -> None:
        if not self._as_json:
            with progress.paused() if self._stdout.isatty() else nullcontext():
                self._stdout.write(f"{printable(job.id)} {printable(job.status.value)}\n")
                self._stdout.flush()
        if self._then is not None:
            with progress.paused():
                await self._act_upon(job, self._then)

    async def _act_upon(self, job: Job, command: str) -> None:
        environment = {**os.environ, "SFJOBS_JOB_ID": job.id, "SFJOBS_JOB_STATUS": job.status.value}
        # stdout is for the document alone when there is one.
        stdout = sys.stderr if self._as_json else self._stdout
        done = await anyio.run_process(command, env=environment, stdout=stdout, stderr=None, check=False)
        self._exit_codes[job.id] = done.returncode

    def conclude(self) -> None:
        """The document, whatever ended the waiting."""
        if not self._as_json or not self._jobs:
            return
        about: list[JSONValue] = [
            {**about_job(job), **({"then_exit_code": self._exit_codes[job.id]} if job.id in self._exit_codes else {})}
            for job in self._ended
        ]
        pending: list[JSONValue] = [job.id for job in self._jobs if not job.status.is_final]
        write_json({"jobs": about, "pending": pending})

    def raise_for_jobs(self) -> None:
        """Raises what a script has to know: a job that nobody knows, that failed or was cancelled, a command that failed."""
        for failure in self._failures[1:]:
            report(explain(failure))
        if self._failures:
            raise self._failures[0]
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
            raise CommandError(f"The command of --then exited with {', '.join(failed)}.", "The jobs are complete.")

    def interrupted(self, scope: CommandContext) -> ExitCode:
        """After Ctrl-C: what becomes of the jobs."""
        pending = [job.id for job in self._jobs if not job.status.is_final]
        if pending:
            tell(
                f"Interrupted: {counted(len(pending), 'job')} of {len(self._jobs)} {'goes' if len(pending) == 1 else 'go'} on.",
                f"  Come back with {scope.command('wait', *pending)}",
            )
        return ExitCode.INTERRUPTED
