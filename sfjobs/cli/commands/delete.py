"""``sfjobs delete``: delete jobs that have ended."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from .. import job_ids as ids
from ..context import CommandContext, JSONOption, raise_first
from ..errors import explain, printable
from ..output.json import answer, write_json

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ...errors import SFJobsError


def delete(context: typer.Context, job_ids: ids.IdsArgument, *, as_json: JSONOption = False) -> None:
    """
    Delete jobs that have ended, with their programs and results.

    Prints the id of each. They cannot be restored. Cancel a job that has not ended first.
    """
    shortened = ids.given(job_ids)
    if not shortened:  # an empty standard input
        if as_json:
            write_json({"deleted": [], "errors": []})
        return
    deleted: list[str] = []
    failures: dict[str, SFJobsError] = {}

    async def work(connection: Connection) -> None:
        from ...errors import SFJobsError

        for job_id in await ids.resolve(connection, shortened):
            try:
                await connection.delete_job(job_id)
            except SFJobsError as error:
                failures[job_id] = error
            else:
                deleted.append(job_id)

    try:
        CommandContext.of(context).run(work)
    finally:
        errors = [{"id": job_id, **explain(error).as_json()} for job_id, error in failures.items()]
        answer.so_far = {"deleted": deleted, "errors": errors}
        if not as_json:
            sys.stdout.write("".join(f"{printable(job_id)} deleted\n" for job_id in deleted))
    raise_first([*failures.values()])
    if as_json:
        write_json(answer.so_far)
