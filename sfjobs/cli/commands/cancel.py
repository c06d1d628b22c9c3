"""``sfjobs cancel``: cancel jobs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .. import job_ids as ids
from ..context import CommandContext, JSONOption, raise_first
from ..errors import explain, printable
from ..output.json import about_job, answer, write_json

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ..._jobs.job import Job
    from ...errors import SFJobsError


def cancel(
    context: typer.Context,
    job_ids: ids.IdsArgument,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the final status of each.")] = False,
    as_json: JSONOption = False,
) -> None:
    """
    Cancel jobs; print id and status of each.

    A job may complete before the platform cancels it: --wait shows which.
    """
    shortened = ids.given(job_ids)
    if not shortened:  # an empty standard input
        if as_json:
            write_json({"jobs": [], "errors": []})
        return
    jobs: list[Job] = []
    failures: dict[str, SFJobsError] = {}

    async def work(connection: Connection) -> None:
        from ..._jobs.job import Job
        from ..._jobs.waiting import wait_all
        from ...errors import SFJobsError

        for job_id in await ids.resolve(connection, shortened):
            job = Job(job_id, "open", connection)
            try:
                await job.cancel()
            except SFJobsError as error:
                failures[job_id] = error
            else:
                jobs.append(job)
        if wait:
            await wait_all(jobs, fetch_results=False)

    try:
        CommandContext.of(context).run(work)
    finally:
        errors = [{"id": job_id, **explain(error).as_json()} for job_id, error in failures.items()]
        answer.so_far = {"jobs": [about_job(job) for job in jobs], "errors": errors}
        if not as_json:
            sys.stdout.write("".join(f"{printable(job.id)} {printable(job.status.value)}\n" for job in jobs))
    raise_first([*failures.values()])
    if as_json:
        write_json(answer.so_far)
