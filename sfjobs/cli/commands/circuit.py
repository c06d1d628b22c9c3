"""``sfjobs circuit``: the program of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .. import job_ids as ids
from ..context import CommandContext, JSONOption
from ..output.json import write_json, write_text

if TYPE_CHECKING:
    from ..._client.connection import Connection


def circuit(context: typer.Context, job_id: ids.IdArgument, *, as_json: JSONOption = False) -> None:
    """Print the program of a job, exactly as it was submitted."""
    shortened = ids.one(job_id)

    async def fetch(connection: Connection) -> tuple[str, str]:
        [whole] = await ids.resolve(connection, [shortened])
        return whole, await connection.get_job_circuit(whole)

    whole, text = CommandContext.of(context).run(fetch)
    if as_json:
        write_json({"id": whole, "circuit": text})
    else:
        write_text(text)
