"""``sfjobs platform keys``: the API keys of the platform on this machine. Works on the data directory, also of a running one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import JSONOption, stdout
from ..errors import CommandError, printable
from ..output.json import write_json
from .serve import DataDirOption

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ...platform.records import KeyRecord
    from ...platform.store.interface import AccountStore

app = typer.Typer()
keys = typer.Typer()
app.add_typer(keys, name="keys", help="Make, list and revoke API keys.", no_args_is_help=True)


@keys.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key.")],
    *,
    account: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Whose jobs it sees; by default an account of the key's name, `local` is yours."
        ),
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JSONOption = False,
) -> None:
    """Make an API key and print it, this once."""
    from ...platform.store.api_keys import create_key

    account = account or name
    with _accounts(data_dir, create=True) as accounts:
        api_key = create_key(accounts, name, account)
    if as_json:
        write_json({"name": name, "account": account, "api_key": api_key})
        return
    typer.echo(api_key)
    typer.echo(f"This is the key '{name}' of the account '{account}'. It is not shown again.", err=True)


@keys.command("list")
def list_keys(*, data_dir: DataDirOption = None, as_json: JSONOption = False) -> None:
    """List the API keys. Their last use is known to the hour; the platform stores no readable keys."""
    with _accounts(data_dir) as accounts:
        found = accounts.api_keys()
    if as_json:
        write_json({"keys": [_about(key) for key in found]})
    elif found:
        _show(found)
    else:
        typer.echo("No keys yet.")


@keys.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key.")],
    *,
    data_dir: DataDirOption = None,
    as_json: JSONOption = False,
) -> None:
    """Revoke an API key and its access tokens at once. Jobs that were submitted with it stay."""
    with _accounts(data_dir) as accounts:
        revoked = accounts.revoke_key(name)
    if not revoked:
        raise CommandError(f"There is no key '{name}' to revoke.", "See `sfjobs platform keys list`.")
    if as_json:
        write_json({"name": name, "revoked": True})
    else:
        typer.echo(f"The key '{printable(name)}' is revoked.")


def _accounts(data_dir: Path | None, *, create: bool = False) -> AbstractContextManager[AccountStore]:
    from ...platform.settings import default_data_dir
    from ...platform.store.sqlite.accounts import open_accounts

    return open_accounts(data_dir or default_data_dir(), create=create)


def _about(key: KeyRecord) -> dict[str, object]:
    times = {"created_at": key.created, "last_used_at": key.used, "revoked_at": key.revoked}
    return {"name": key.name, "account": key.account_name, **{name: _time(value) for name, value in times.items()}}


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else datetime.fromtimestamp(microseconds // 1_000_000, UTC)


def _show(found: list[KeyRecord]) -> None:
    from ..output.tables import indented, moment, table

    grid = table("key", "account", "created", "last used", "revoked")
    for key in found:
        times = [moment(_time(value)) for value in (key.created, key.used, key.revoked)]
        grid.add_row(printable(key.name), printable(key.account_name), *times, style="dim" * (key.revoked is not None))
    indented(stdout(), grid)
