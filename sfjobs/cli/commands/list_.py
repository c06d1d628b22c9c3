"""``sfjobs list``: jobs, newest first, once or until Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, JSONOption, finite, stdout
from ..errors import CommandError, ExitCode, printable
from ..output.json import about_job, write_json

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ..._jobs.job import Job

_PAGE_SIZE = 100
"""Jobs in the response to one list request."""


def list_jobs(
    context: typer.Context,
    *,
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATUS",
            help="Only these: open, queued (running ones too), cancel_pending, cancelled, complete or failed;"
            " may be given many times for any of them.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many to show.")] = 20,
    ids: Annotated[bool, typer.Option("--ids", help="Print whole ids and nothing else.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Update the table until Ctrl-C.")] = False,
    interval: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, callback=finite, help="Time between two requests of --watch."),
    ] = 2.0,
    as_json: JSONOption = False,
) -> int:
    """List jobs, newest first."""
    statuses = list(dict.fromkeys(word.strip().lower() for word in status or ()))
    _check(statuses, limit, ids=ids, watch=watch, as_json=as_json)

    async def fetch(connection: Connection) -> list[Job]:
        return await _fetch(connection, statuses, limit)

    command = CommandContext.of(context)
    if watch:
        from ..output.live_table import keep_showing

        try:
            command.run(lambda connection: keep_showing(lambda: fetch(connection), interval, statuses))
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED
    jobs = command.run(fetch)
    if as_json:
        write_json({"jobs": [about_job(job) for job in jobs]})
    elif ids:
        sys.stdout.write("".join(f"{printable(job.id)}\n" for job in jobs))
    else:
        from ..output.tables import indented, job_table, no_jobs

        if jobs:
            indented(stdout(), job_table(stdout(), jobs))
        else:
            typer.echo(no_jobs(statuses))
    return ExitCode.OK


async def _fetch(connection: Connection, statuses: Sequence[str], limit: int) -> list[Job]:
    """Return the newest jobs with any of these statuses, for which the platform has a list each; of all without one."""
    if len(statuses) < 2:
        status = statuses[0] if statuses else None
        return [job async for job in connection.list_jobs(status=status, limit=limit)]
    found: dict[str, Job] = {}
    for status in statuses:
        # A job may pass from one list to the next in between: what was read last counts.
        found.update({job.id: job async for job in connection.list_jobs(status=status, limit=limit)})
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(found.values(), key=lambda job: job.created_at or oldest, reverse=True)[:limit]


def _check(statuses: Sequence[str], limit: int, *, ids: bool, watch: bool, as_json: bool) -> None:
    from ...models import JobStatus

    for status in statuses:
        if not status or not JobStatus(status).is_known:
            known = ", ".join(JobStatus)
            raise CommandError(f"There is no status {printable(status)!r}.", f"Give one of {known}.")
    if watch and (ids or as_json):
        raise CommandError("--watch does not end: no program can read its --ids or --json.", "Leave one of them out.")
    if watch and limit > _PAGE_SIZE:
        raise CommandError(f"--watch shows {_PAGE_SIZE} jobs at most.", f"Give --limit {_PAGE_SIZE} or less.")
