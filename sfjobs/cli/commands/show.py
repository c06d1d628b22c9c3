"""``sfjobs show``: what there is to know of one job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .. import job_ids as ids
from ..context import CommandContext, stdout
from ..errors import ExitCode, printable
from ..output.json import about_job, compact, write_json

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ..._jobs.job import Job


def show(
    context: typer.Context,
    job_id: ids.IdArgument,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Show one job: status, times, and what the platform says of it."""
    [word] = ids.given([job_id])

    async def ask(connection: Connection) -> Job:
        return await ids.find(connection, word)

    job = CommandContext.of(context).ask(ask)
    if as_json:
        write_json(about_job(job))
    else:
        _show(job)
    return ExitCode.OK


def _show(job: Job) -> None:
    from ..output.tables import duration, facts, moment, standing_text

    console = stdout()
    facts(
        console,
        {
            "job": job.id,
            "name": job.name,
            "status": standing_text(job),
            "target": job.target,
            "language": job.snapshot.language,
            "created": moment(job.created_at) or None,
            "started": moment(job.started_at) or None,
            "finished": moment(job.finished_at) or None,
            "running time": None if job.running_time is None else duration(job.running_time),
            **{printable(key): value if isinstance(value, str) else compact(value) for key, value in job.meta.items()},
        },
    )
