"""``sfjobs submit``: submit programs and print the ids of their jobs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, JSONOption
from ..errors import printable
from ..output.json import about_job, write_json
from ..program_files import NameOption, ParamOption, Script, ShotsOption, TargetOption

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ..._jobs.job import Job


def submit(
    context: typer.Context,
    programs: Annotated[
        list[str], typer.Argument(metavar="PROGRAM", help="Blackbird scripts, or - for one on standard input.")
    ],
    *,
    target: TargetOption = None,
    shots: ShotsOption = None,
    name: NameOption = None,
    param: ParamOption = None,
    as_json: JSONOption = False,
) -> None:
    """
    Submit Blackbird scripts and print the ids of the jobs.

    One line a job, in the order of the scripts: id=$(sfjobs submit x.xbb)
    """
    scripts = [Script.read(program, target=target, shots=shots, name=name, params=param) for program in programs]
    command = CommandContext.of(context)
    jobs: list[Job] = []

    async def work(connection: Connection) -> None:
        for script in scripts:
            jobs.append(await script.submit(connection))
            if not as_json:
                # At once: an id must not be lost when a later submission fails or is interrupted.
                typer.echo(jobs[-1].id)

    from ..waiting.notices import waits_shown

    try:
        with waits_shown():
            command.run(work)
    finally:
        if jobs and as_json:
            write_json({"jobs": [about_job(job) for job in jobs]})
        if len(jobs) < len(scripts) > 1:
            next_source = printable(scripts[len(jobs)].source)
            typer.echo(f"Submitted {len(jobs)} of {len(scripts)} programs, up to {next_source}.", err=True)
    if sys.stdout.isatty() and not as_json:
        next_command = command.command_line("wait", jobs[0].id) if len(jobs) == 1 else command.command_line("list")
        typer.echo(f"Come back with {next_command}", err=True)
