"""``sfjobs platform keys``: who may use the platform of this machine. It works on the data directory, also while that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import stderr, stdout
from ..errors import CommandError, ExitCode, printable
from ..output.json import write_json

if TYPE_CHECKING:
    from ...models import JSONValue
    from ...platform.records import KeyRecord
    from ...platform.store.interface import AccountStore

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Look after the platform of this machine.")
keys = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Say who may use it: make, list and revoke API keys."
)
app.add_typer(keys, name="keys")

DataDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The platform's data; by default where `sfjobs serve` keeps it.")
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.callback()
def _platform() -> None:  # a group of groups, also as long as there is one
    pass


@keys.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the key.")],
    *,
    account: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Whose jobs it sees; by default an account of the key's name, `local` is yours."
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJSON = False,
) -> int:
    """Make an API key and print it, this once."""
    from ...platform.store.api_keys import create_key

    with _accounts(data_dir, make=True) as accounts:
        api_key = create_key(accounts, name, account or name)
    if as_json:
        write_json({"name": name, "account": account or name, "api_key": api_key})
        return ExitCode.OK
    stdout().print(api_key, soft_wrap=True)
    stderr().print(
        f"That is the key '{name}' of the account '{account or name}'. It is not shown again.", soft_wrap=True
    )
    return ExitCode.OK


@keys.command("list")
def list_keys(*, data_dir: DataDir = None, as_json: AsJSON = False) -> int:
    """List the API keys. When one was last used is known to the hour; the keys themselves nobody can read."""
    with _accounts(data_dir) as accounts:
        found = accounts.api_keys()
    if as_json:
        write_json({"keys": [_about(key) for key in found]})
    else:
        _show(found)
    return ExitCode.OK


@keys.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The key's name.")],
    *,
    data_dir: DataDir = None,
    as_json: AsJSON = False,
) -> int:
    """Let an API key in no more; its access tokens are void at once. Jobs that it has submitted stay."""
    with _accounts(data_dir) as accounts:
        revoked = accounts.revoke_key(name)
    if not revoked:
        raise CommandError(f"There is no key '{name}' that could be revoked.", "See `sfjobs platform keys list`.")
    if as_json:
        write_json({"name": name, "revoked": True})
    else:
        stdout().print(f"The key '{printable(name)}' is revoked.", soft_wrap=True)
    return ExitCode.OK


@contextmanager
def _accounts(data_dir: Path | None, *, make: bool = False) -> Iterator[AccountStore]:
    from ...platform.settings import default_data_dir
    from ...platform.store.sqlite.accounts import open_accounts

    with open_accounts(data_dir or default_data_dir(), create=make) as accounts:
        yield accounts


def _about(key: KeyRecord) -> dict[str, JSONValue]:
    times = {"created_at": key.created, "last_used_at": key.used, "revoked_at": key.revoked}
    moments = {name: None if (moment := _moment(time)) is None else moment.isoformat() for name, time in times.items()}
    return {"name": key.name, "account": key.account_name, **moments}


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else datetime.fromtimestamp(microseconds // 1_000_000, UTC)


def _show(found: list[KeyRecord]) -> None:
    from ..output.tables import indented, moment, table

    console = stdout()
    grid = table("key", "account", "created", "last used", "revoked")
    for key in found:
        times = [moment(_moment(time)) for time in (key.created, key.used, key.revoked)]
        grid.add_row(printable(key.name), printable(key.account_name), *times, style="dim" * (key.revoked is not None))
    if found:
        indented(console, grid)
    else:
        console.print("No keys yet.", soft_wrap=True)
