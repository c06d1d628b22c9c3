"""``sfjobs cache``: the results that were fetched before, how much room they take, and away with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from ..context import CommandContext, stdout
from ..errors import CommandError, ExitCode, printable
from ..output.json import write_json

if TYPE_CHECKING:
    from ...models import JSONValue
    from ...results.download.cache import CacheUsage

JSONOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

_UNITS = ("bytes", "KiB", "MiB", "GiB")

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Look at the results kept from before, or remove them."
)


@app.command("show")
def show(context: typer.Context, *, as_json: JSONOption = False) -> int:
    """Show where results are kept, how many, and how much room they take."""
    folder, most_bytes = _configured(context)
    usage = _usage(folder, most_bytes, clears=False)
    if as_json:
        write_json({**_about(folder, usage), "max_bytes": most_bytes})
    elif folder is None:
        stdout().print("The cache is off.")
    else:
        stdout().print(f"{_in_words(usage)} of at most {_bytes(most_bytes)}", soft_wrap=True)
        stdout().print(f"in {printable(folder)}", soft_wrap=True)
    return ExitCode.OK


@app.command("clear")
def clear(context: typer.Context, *, as_json: JSONOption = False) -> int:
    """Remove all results that are kept. They are fetched again when they are wanted."""
    folder, most_bytes = _configured(context)
    usage = _usage(folder, most_bytes, clears=True)
    if as_json:
        write_json(_about(folder, usage))
    elif folder is None:
        stdout().print("The cache is off: there is nothing to remove.")
    else:
        stdout().print(f"Removed {_in_words(usage)} from {printable(folder)}.", soft_wrap=True)
    return ExitCode.OK


def _configured(context: typer.Context) -> tuple[str | None, int]:
    from ...config import known_cache

    return known_cache(CommandContext.of(context).profile)


def _usage(folder: str | None, most_bytes: int, *, clears: bool) -> CacheUsage:
    from pathlib import Path

    from ...results.download.cache import CacheUsage, ResultCache

    if folder is None:
        return CacheUsage(0, 0)
    cache = ResultCache(Path(folder), most_bytes)
    try:
        return cache.clear() if clears else cache.usage()
    except OSError as error:
        raise CommandError(
            f"The cache in {folder} cannot be read: {error.strerror}.", "Look at the folder, or name another one."
        ) from error


def _about(folder: str | None, usage: CacheUsage) -> dict[str, JSONValue]:
    return {"folder": folder, "results": usage.results, "bytes": usage.size}


def _in_words(usage: CacheUsage) -> str:
    return f"{usage.results} result{'' if usage.results == 1 else 's'}, {_bytes(usage.size)}"


def _bytes(count: int) -> str:
    amount, power = float(count), 0
    while amount >= 1024 and power < len(_UNITS) - 1:
        amount, power = amount / 1024, power + 1
    return f"{amount:.1f} {_UNITS[power]}" if power else f"{count} bytes"
