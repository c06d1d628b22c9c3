"""``sfjobs show``: all fields of one job."""

from __future__ import annotations

import typer

from .. import job_ids as ids
from ..context import CommandContext, JSONOption, stdout
from ..errors import printable
from ..output.json import about_job, compact, write_json


def show(context: typer.Context, job_id: ids.IdArgument, *, as_json: JSONOption = False) -> None:
    """Show one job: status, times, and the platform's messages."""
    shortened = ids.one(job_id)
    job = CommandContext.of(context).run(lambda connection: ids.find(connection, shortened))
    if as_json:
        write_json(about_job(job))
        return
    from ..output.tables import duration, fields, moment, status_text

    fields(
        stdout(),
        {
            "job": job.id,
            "name": job.name,
            "status": status_text(job),
            "target": job.target,
            "language": job.snapshot.language,
            "created": moment(job.created_at) or None,
            "started": moment(job.started_at) or None,
            "finished": moment(job.finished_at) or None,
            "running time": None if job.running_time is None else duration(job.running_time),
            **{printable(key): value if isinstance(value, str) else compact(value) for key, value in job.meta.items()},
        },
    )
