"""``sfjobs submit``: programs in, ids out; nothing is waited for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, stderr
from ..errors import CommandError, ExitCode, printable
from ..output.json import about_job, write_json
from ..program_files import Script, read

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ..._jobs.job import Job


def submit(
    context: typer.Context,
    programs: Annotated[
        list[str], typer.Argument(metavar="PROGRAM", help="Blackbird scripts, or - for one on standard input.")
    ],
    *,
    target: Annotated[
        str | None, typer.Option(metavar="TARGET", help="Device to run on; by default the one that a script names.")
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="How often to measure; by default as often as a script says."),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the jobs, to find them again.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of ids.")] = False,
) -> int:
    """
    Submit Blackbird scripts and print the ids of the jobs.

    One line a job, in the order of the scripts: id=$(sfjobs submit x.xbb)
    """
    scripts = [read(program, target) for program in programs]
    scope = CommandContext.of(context)
    jobs: list[Job] = []

    async def work(connection: Connection) -> None:
        for script in scripts:
            jobs.append(await _submit(connection, script, shots=shots, name=name))
            if not as_json:
                # At once: whatever stops us next, nobody loses a job that the platform has.
                sys.stdout.write(f"{jobs[-1].id}\n")
                sys.stdout.flush()

    try:
        scope.ask(work)
    finally:
        if jobs and as_json:
            write_json({"jobs": [about_job(job) for job in jobs]})
        if len(jobs) < len(scripts) > 1:
            stopped_at = printable(scripts[len(jobs)].source)
            stderr().print(f"Submitted {len(jobs)} of {len(scripts)} programs, up to {stopped_at}.", soft_wrap=True)
    if sys.stdout.isatty() and not as_json:
        come_back = scope.command("wait", jobs[0].id) if len(jobs) == 1 else scope.command("list")
        stderr().print(f"Come back with {come_back}", soft_wrap=True)
    return ExitCode.OK


async def _submit(connection: Connection, script: Script, *, shots: int | None, name: str | None) -> Job:
    try:
        return await connection.create_job(script.target, script.text, shots=shots, name=name)
    except ValueError as error:
        raise CommandError(f"The job cannot be written down: {error}", "Mend the option that this names.") from error
