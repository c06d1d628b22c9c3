"""``sfjobs ping``: is the platform there, and does it let us in?"""

from __future__ import annotations

import typer

from .failures import ExitCode
from .scope import Scope, answers


def ping(context: typer.Context) -> int:
    """Ask the platform whether it answers and accepts the credentials."""
    import anyio

    from ..connection import Connection

    settings = Scope.of(context).settings()

    async def ask() -> None:
        async with Connection(settings=settings) as connection:
            await connection.ping()

    anyio.run(ask)
    credential = "api_key" if settings.api_key is not None else "access_token"
    answers().print(
        f"{settings.url} answers and accepts the {credential} (from {settings.sources[credential]}).", soft_wrap=True
    )
    return ExitCode.OK
