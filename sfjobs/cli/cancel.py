"""``sfjobs cancel``: ends jobs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from . import ids
from .documents import about_job, write_json
from .failures import ExitCode, explain, printable
from .scope import Scope, report

if TYPE_CHECKING:
    from ..connection import Connection
    from ..errors import SFJobsError
    from ..job import Job


def cancel(
    context: typer.Context,
    job_ids: ids.IdsArgument,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the final word on each.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> int:
    """
    Cancel jobs; print id and status of each.

    A job may be faster and end `complete` all the same; --wait tells.
    """
    words = ids.given(job_ids)
    jobs: list[Job] = []
    failures: list[SFJobsError] = []

    async def work(connection: Connection) -> None:
        from ..errors import SFJobsError
        from ..groups import wait_all
        from ..job import Job

        for job_id in await ids.resolve(connection, words):
            job = Job(job_id, "open", connection)
            try:
                await job.cancel()
            except SFJobsError as error:
                failures.append(error)
            else:
                jobs.append(job)
        if wait:
            await wait_all(jobs, fetch_results=False)

    try:
        Scope.of(context).ask(work)
    finally:
        if as_json and (jobs or failures):
            write_json({"jobs": [about_job(job) for job in jobs]})
        elif not as_json:
            sys.stdout.write("".join(f"{printable(job.id)} {printable(job.status.value)}\n" for job in jobs))
    for failure in failures[1:]:
        report(explain(failure))
    if failures:
        raise failures[0]
    return ExitCode.OK
