"""``sfjobs ping``: check url and credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ..context import CommandContext, JSONOption
from ..output.json import write_json

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ...config import Settings


def ping(context: typer.Context, *, as_json: JSONOption = False) -> None:
    """Check that the platform responds and accepts the credentials."""

    async def check(connection: Connection) -> Settings:
        await connection.ping()
        return connection.settings

    settings = CommandContext.of(context).run(check)
    credential = "api_key" if settings.api_key is not None else "access_token"
    source = settings.sources[credential]
    if as_json:
        write_json({"url": settings.url, "credential": credential, "source": source})
    else:
        typer.echo(f"{settings.url} responds and accepts the {credential}.\n  from {source}")
