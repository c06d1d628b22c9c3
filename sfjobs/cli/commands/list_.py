"""``sfjobs list``: jobs, newest first, once or until Ctrl-C."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, stdout
from ..errors import CommandError, ExitCode, printable
from ..output.json import about_job, write_json

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ..._jobs.job import Job

_ONE_REQUEST = 100
"""Jobs that one list request brings."""


def list_jobs(
    context: typer.Context,
    *,
    status: Annotated[
        str | None,
        typer.Option(
            metavar="STATUS",
            help="Only these: open, queued (running ones too), cancel_pending, cancelled, complete or failed.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many to show.")] = 20,
    ids: Annotated[bool, typer.Option("--ids", help="Print whole ids and nothing else.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again until Ctrl-C.")] = False,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Between two looks of --watch; each is one request.")
    ] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """List jobs, newest first."""
    _check(status, limit, ids=ids, watch=watch, as_json=as_json)

    async def ask(connection: Connection) -> list[Job]:
        return [job async for job in connection.list_jobs(status=status, limit=limit)]

    async def watch_them(connection: Connection) -> None:
        await keep_showing(lambda: ask(connection), interval, status)

    scope = CommandContext.of(context)
    if watch:
        from ..output.live_table import keep_showing

        try:
            scope.ask(watch_them)
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED
    jobs = scope.ask(ask)
    if as_json:
        write_json({"jobs": [about_job(job) for job in jobs]})
    elif ids:
        sys.stdout.write("".join(f"{printable(job.id)}\n" for job in jobs))
    else:
        _show(jobs, status)
    return ExitCode.OK


def _check(status: str | None, limit: int, *, ids: bool, watch: bool, as_json: bool) -> None:
    from ...models import JobStatus

    if status is not None and not JobStatus(status).is_known:
        known = ", ".join(JobStatus)
        raise CommandError(f"There is no status {printable(status)!r}.", f"Give one of {known}.")
    if watch and (ids or as_json):
        raise CommandError(
            "--watch has no end, so that nothing can read its --ids or --json.", "Leave one of them out."
        )
    if watch and limit > _ONE_REQUEST:
        raise CommandError(f"--watch shows {_ONE_REQUEST} jobs at most.", f"Give --limit {_ONE_REQUEST} or less.")


def _show(jobs: list[Job], status: str | None) -> None:
    from ..output.tables import indented, job_table, no_jobs

    console = stdout()
    if jobs:
        indented(console, job_table(console, jobs))
    else:
        console.print(no_jobs(status))
