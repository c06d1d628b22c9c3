"""``sfjobs result``: what a job measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .. import job_ids as ids
from ..context import CommandContext, JSONOption
from ..errors import CommandError, ExitCode, printable
from ..output.json import about_job, answer, write_json
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
    as_json: JSONOption = False,
) -> None:
    """Show what a job measured, once it is complete."""
    shortened = ids.one(job_id)
    check_files(output, plot)
    command = CommandContext.of(context)

    async def fetch(connection: Connection) -> Job:
        job = await ids.find(connection, shortened)
        answer.so_far = {**about_job(job), "result": None}
        job.raise_for_status()
        if not job.status.is_final:
            what = f"Job {printable(job.id)} is {printable(job.status.value)}: it has no result yet."
            raise CommandError(what, f"Wait for it: {command.command_line('wait', job.id)}", ExitCode.NOT_READY)
        await job.fetch_result()
        return job

    job = command.run(fetch)
    write_files(job.result, output, plot)
    if as_json:
        write_json({**about_job(job), **about_result(job.result, output, plot)})
    else:
        show_result(job.result, job.target)
