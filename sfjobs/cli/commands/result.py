"""``sfjobs result``: what a job measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .. import job_ids as ids
from ..context import CommandContext
from ..errors import CommandError, ExitCode, printable
from ..output.json import about_job, write_json
from ..output.results import OutputOption, PlotOption, about_result, check_files, show_result, write_files

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ..._jobs.job import Job


def result(
    context: typer.Context,
    job_id: ids.IdArgument,
    *,
    output: OutputOption = None,
    plot: PlotOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> int:
    """Show what a job measured, once it is complete."""
    [word] = ids.given([job_id])
    check_files(output, plot)
    scope = CommandContext.of(context)

    async def fetch(connection: Connection) -> Job:
        job = await ids.find(connection, word)
        job.raise_for_status()
        if not job.status.is_final:
            what = f"Job {printable(job.id)} is {job.status.value}: there is no result yet."
            raise CommandError(what, f"Wait for it: {scope.command('wait', job.id)}")
        await job.fetch_result()
        return job

    job = scope.ask(fetch)
    write_files(job.result, output, plot)
    if as_json:
        write_json({**about_job(job), **about_result(job.result, output, plot)})
    else:
        show_result(job.result, job.target)
    return ExitCode.OK
