"""``sfjobs ping``: is the platform there, and does it let us in?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, stdout
from ..errors import ExitCode
from ..output.json import write_json

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ...config import Settings


def ping(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Ask the platform whether it answers and accepts the credentials."""

    async def ask(connection: Connection) -> Settings:
        await connection.ping()
        return connection.settings

    settings = CommandContext.of(context).ask(ask)
    credential = "api_key" if settings.api_key is not None else "access_token"
    source = settings.sources[credential]
    if as_json:
        write_json({"url": settings.url, "credential": credential, "source": source})
    else:
        console = stdout()
        console.print(f"{settings.url} answers and accepts the {credential}.", soft_wrap=True)
        console.print(f"  from {source}", soft_wrap=True)
    return ExitCode.OK
