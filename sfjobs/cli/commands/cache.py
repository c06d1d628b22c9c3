"""``sfjobs cache``: the cached results, their size on disk, and their removal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ..context import CommandContext, JSONOption
from ..errors import CommandError, printable
from ..output.json import write_json

if TYPE_CHECKING:
    from ...results.download.cache import CacheUsage

_UNITS = ("bytes", "KiB", "MiB", "GiB")

app = typer.Typer()


@app.command("show")
def show(context: typer.Context, *, as_json: JSONOption = False) -> None:
    """Show where results are cached, how many, and their size."""
    folder, max_bytes, usage = _usage(context, clear=False)
    if as_json:
        write_json({"folder": folder, "results": usage.results, "bytes": usage.size, "max_bytes": max_bytes})
    elif folder is None:
        typer.echo("The cache is off.")
    else:
        typer.echo(f"{_description(usage)} of at most {_size(max_bytes)}\nin {printable(folder)}")


@app.command("clear")
def clear(context: typer.Context, *, as_json: JSONOption = False) -> None:
    """Remove all cached results. Later commands download them again."""
    folder, _, usage = _usage(context, clear=True)
    if as_json:
        write_json({"folder": folder, "results": usage.results, "bytes": usage.size})
    elif folder is None:
        typer.echo("The cache is off: there is nothing to remove.")
    else:
        typer.echo(f"Removed {_description(usage)} from {printable(folder)}.")


def _usage(context: typer.Context, *, clear: bool) -> tuple[str | None, int, CacheUsage]:
    """Return the cache's folder, None where it is off, its limit and what it has, or had before it was cleared."""
    from pathlib import Path

    from ...config import known_cache
    from ...results.download.cache import CacheUsage, ResultCache

    folder, max_bytes = known_cache(CommandContext.of(context).profile)
    if folder is None:
        return None, max_bytes, CacheUsage(0, 0)
    cache = ResultCache(Path(folder), max_bytes)
    try:
        return folder, max_bytes, cache.clear() if clear else cache.usage()
    except OSError as error:
        raise CommandError(
            f"The cache in {folder} cannot be read: {error.strerror}.", "Check the folder, or configure another one."
        ) from error


def _description(usage: CacheUsage) -> str:
    from ..output.tables import counted

    return f"{counted(usage.results, 'result')}, {_size(usage.size)}"


def _size(count: int) -> str:
    amount, power = float(count), 0
    while amount >= 1024 and power < len(_UNITS) - 1:
        amount, power = amount / 1024, power + 1
    return f"{amount:.1f} {_UNITS[power]}" if power else f"{count} bytes"
