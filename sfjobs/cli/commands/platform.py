"""
``sfjobs platform``: API keys, the secret of access tokens, and paused targets of the platform on this machine. Works on the
data directory, also of a running platform, which notices a change within a second.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import JSONOption, stdout
from ..errors import CommandError, ExitCode, printable
from ..output.json import write_json
from .serve import DataDirOption

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ...platform.records import KeyRecord
    from ...platform.store.interface import OperatorStore

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

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
    typer.echo(printable(f"This is the key '{name}' of the account '{account}'. It is not shown again."), err=True)


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
        what = f"There is no key '{name}' to revoke."
        raise CommandError(what, "See `sfjobs platform keys list`.", ExitCode.NOT_FOUND)
    if as_json:
        write_json({"name": name, "revoked": True})
    else:
        typer.echo(f"The key '{printable(name)}' is revoked.")


@app.command("rotate-secret")
def rotate_secret(
    *,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="End all access tokens now, as after a leak; clients get new ones.")
    ] = False,
    data_dir: DataDirOption = None,
    as_json: JSONOption = False,
) -> None:
    """Sign access tokens with a new secret. A running platform uses it within a second; API keys stay as they are."""
    with _accounts(data_dir) as accounts:
        secret = accounts.replace_signing_secret(at_once=at_once)
    if as_json:
        write_json({"kid": secret.id, "at_once": at_once})
    else:
        rest = "All earlier ones have ended." if at_once else "Earlier ones stay valid until they expire."
        typer.echo(f"Access tokens are signed with the new secret {secret.id}. {rest}")


@app.command("pause")
def pause(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The target whose jobs shall wait.")],
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; the owners of waiting jobs see it.")] = "",
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When it ends: 2h, 3d, or 2027-01-31T08:00, in this machine's time zone."),
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JSONOption = False,
) -> None:
    """Let the jobs of a target wait. Running ones go on, and new ones are accepted."""
    from ...platform.devices import build_devices
    from ...platform.records import Pause

    known = build_devices(test_targets=True)
    if target not in known:
        raise CommandError(f"There is no target {printable(target)}.", f"The targets are: {', '.join(known)}.")
    begin = datetime.now(UTC)
    end = None if until is None else _end_of_pause(until, begin)
    with _accounts(data_dir) as store:
        store.pause(Pause(target, printable(reason), _microseconds(begin), None if end is None else _microseconds(end)))
    if as_json:
        write_json({"target": target, "reason": reason, "since": begin, "until": end})
    else:
        from ..output.tables import moment

        typer.echo(f"{target} is paused" + ("." if end is None else f" until {moment(end)}."))


@app.command("resume")
def resume(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The paused target.")],
    *,
    data_dir: DataDirOption = None,
    as_json: JSONOption = False,
) -> None:
    """Let the jobs of a paused target run again."""
    with _accounts(data_dir) as store:
        was_paused = store.resume(target)
    if not was_paused:
        raise CommandError(f"{printable(target)} is not paused.", "`sfjobs devices` shows which targets are.")
    if as_json:
        write_json({"target": target, "resumed": True})
    else:
        typer.echo(f"{target} runs jobs again.")


def _end_of_pause(text: str, begin: datetime) -> datetime:
    match = re.fullmatch(r"([0-9]{1,4})([mhd])", text)
    try:
        if match is not None:
            end = begin + timedelta(minutes=int(match[1]) * {"m": 1, "h": 60, "d": 1440}[match[2]])
        else:
            end = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise CommandError(f"{printable(text)} is not a time.", "Write 30m, 2h, 3d, or 2027-01-31T08:00.") from error
    if end <= begin:
        raise CommandError(f"{printable(text)} has passed.", "Give a time that is to come.")
    return end


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def _accounts(data_dir: Path | None, *, create: bool = False) -> AbstractContextManager[OperatorStore]:
    from ...platform.settings import default_data_dir
    from ...platform.store.sqlite.accounts import open_accounts

    return open_accounts(data_dir or default_data_dir(), create=create)


def _about(key: KeyRecord) -> dict[str, object]:
    times = {"created_at": key.created, "last_used_at": key.used, "revoked_at": key.revoked}
    return {"name": key.name, "account": key.account_name, **{name: _time(value) for name, value in times.items()}}


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else datetime.fromtimestamp(microseconds // 1_000_000, UTC)


def _show(found: list[KeyRecord]) -> None:
    from ..output.tables import cell, indented, moment, table

    grid = table("key", "account", "created", "last used", "revoked")
    for key in found:
        times = [moment(_time(value)) for value in (key.created, key.used, key.revoked)]
        grid.add_row(cell(key.name), cell(key.account_name), *times, style="dim" * (key.revoked is not None))
    indented(stdout(), grid)
