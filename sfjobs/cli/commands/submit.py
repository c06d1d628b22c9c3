"""``sfjobs submit``: submit programs and print the ids of their jobs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, JSONOption, raise_first
from ..errors import CommandError, explain, printable
from ..output.json import about_job, answer, write_json
from ..program_files import NameOption, ParamOption, PriorityOption, Script, ShotsOption, TargetOption

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ..._jobs.job import Job
    from ...errors import ResponseError, SFJobsError


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
    priority: PriorityOption = None,
    as_json: JSONOption = False,
) -> None:
    """
    Submit Blackbird scripts and print the ids of the jobs.

    One line a job, in the order of the scripts: id=$(sfjobs submit x.xbb). Those after a script that is refused are
    submitted all the same.
    """
    scripts = [
        Script.read(program, target=target, shots=shots, name=name, params=param, priority=priority)
        for program in programs
    ]
    command = CommandContext.of(context)
    jobs: list[Job] = []
    refusals: dict[int, SFJobsError | CommandError] = {}

    async def work(connection: Connection) -> None:
        kinds: tuple[type[CommandError | ResponseError], ...] = (CommandError, *_refusals())
        for number, script in enumerate(scripts):
            try:
                job = await script.submit(connection)
            except kinds as error:
                refusals[number] = error
                continue
            jobs.append(job)
            if not as_json:
                # At once: an id must not be lost when a later submission fails or is interrupted.
                typer.echo(printable(job.id))

    from ..waiting.notices import waits_shown

    try:
        with waits_shown():
            command.run(work)
    finally:
        errors = [{"program": scripts[number].source, **explain(error).as_json()} for number, error in refusals.items()]
        answer.so_far = {"jobs": [about_job(job) for job in jobs], "errors": errors}
        done = len(jobs) + len(refusals)
        if len(jobs) < len(scripts) > 1:
            rest = (
                f" {printable(scripts[done].source)} and those after it were not tried." if done < len(scripts) else ""
            )
            typer.echo(f"Submitted {len(jobs)} of {len(scripts)} programs.{rest}", err=True)
    raise_first([_named(scripts[number], error) for number, error in refusals.items()])
    if as_json:
        write_json(answer.so_far)
    elif sys.stdout.isatty():
        next_command = command.command_line("wait", jobs[0].id) if len(jobs) == 1 else command.command_line("list")
        typer.echo(f"Come back with {printable(next_command)}", err=True)


def _refusals() -> tuple[type[ResponseError], ...]:
    """Return the errors that concern one program: the platform may accept the others."""
    from ... import errors

    return (errors.InvalidRequestError, errors.ConflictError, errors.NotFoundError, errors.PermissionDeniedError)


def _named(script: Script, error: SFJobsError | CommandError) -> CommandError:
    """Return the error with the program that it is about in front of its message."""
    failure = explain(error)
    return CommandError(f"{script.source}: {failure.what}", failure.remedy, failure.code)
