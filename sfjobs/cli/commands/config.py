"""``sfjobs config show``: the settings, and the source of each value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ..context import CommandContext, JSONOption, stdout
from ..errors import printable
from ..output.json import write_json

if TYPE_CHECKING:
    from ...config import Settings

app = typer.Typer()


@app.callback()
def _config() -> None:  # typer makes no group of one command without it
    pass


@app.command("show")
def show(context: typer.Context, *, as_json: JSONOption = False) -> None:
    """Show each setting and its source. Keys and tokens are masked."""
    from dataclasses import fields

    from ...config import config_path

    settings = CommandContext.of(context).settings()
    values = {field.name: getattr(settings, field.name) for field in fields(settings) if field.name != "sources"}
    values["journal"] = _journal(settings)
    if as_json:
        described = {name: {"value": value, "source": settings.sources[name]} for name, value in values.items()}
        write_json({"file": config_path(), "settings": described})
        return

    from ..output.tables import cell, indented, table

    grid = table("setting")
    grid.add_column("value", overflow="fold")
    grid.add_column("from", overflow="fold")
    for name, value in values.items():
        if value is not None:
            source = settings.sources[name]
            shown = cell(source.replace(config_path(), "the file"))
            grid.add_row(name, cell(value), shown, style="dim" * (source == "default"))
    indented(stdout(), grid)
    typer.echo(f"\nThe file: {printable(config_path())}")


def _journal(settings: Settings) -> str | None:
    """Return the journal's path, or ``off``; None where this system has no folder for it."""
    from ..._journal import JournalLocation
    from ...errors import JournalError

    try:
        location = JournalLocation.of(settings)
    except JournalError:
        return None
    return "off" if location is None else str(location.path)
