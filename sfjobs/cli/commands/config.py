"""``sfjobs config show``: what is set, and where each value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, stdout
from ..errors import ExitCode, printable
from ..output.json import write_json

if TYPE_CHECKING:
    from ...config import Settings
    from ...models import JSONValue

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Look at the settings.")


@app.callback()
def _config() -> None:  # a group of commands, also as long as there is one
    pass


@app.command("show")
def show(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Show each setting and where it comes from. Keys and tokens are masked."""
    from dataclasses import fields

    from ...config import Secret, config_path

    settings = CommandContext.of(context).settings()
    values: dict[str, JSONValue] = {}
    for field in fields(settings):
        if field.name != "sources":
            value = getattr(settings, field.name)
            values[field.name] = str(value) if isinstance(value, Secret) else value
    values["journal"] = _journal(settings)
    if as_json:
        described: dict[str, JSONValue] = {
            name: {"value": value, "source": settings.sources[name]} for name, value in values.items()
        }
        write_json({"file": config_path(), "settings": described})
        return ExitCode.OK
    _show(values, settings.sources, config_path())
    return ExitCode.OK


def _journal(settings: Settings) -> str | None:
    """The file that it is in; None where it has no place."""
    from ..._journal import JournalLocation
    from ...errors import JournalError

    try:
        place = JournalLocation.of(settings)
    except JournalError:
        return None
    return "off" if place is None else str(place.path)


def _show(values: dict[str, JSONValue], sources: Mapping[str, str], path: str) -> None:
    from ..output.tables import indented, table

    console = stdout()
    grid = table("setting")
    grid.add_column("value", overflow="fold")
    grid.add_column("from", overflow="fold")
    for name, value in values.items():
        if value is not None:
            grid.add_row(
                name,
                printable(str(value)),
                printable(sources[name].replace(path, "the file")),
                style="dim" * (sources[name] == "default"),
            )
    indented(console, grid)
    console.print()
    console.print(f"The file: {printable(path)}", soft_wrap=True)
