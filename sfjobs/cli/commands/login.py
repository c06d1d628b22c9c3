"""``sfjobs login``: check an API key and store it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, JSONOption, run_with_connection
from ..errors import CommandError, ExitCode, printable
from ..output.json import write_json

if TYPE_CHECKING:
    from ...config import Secret, Settings

_MAX_KEY_CHARACTERS = 64 * 1024
_OTHER_CREDENTIALS = ("api_key", "api_key_file", "api_key_keyring", "access_token")
_OVERRIDING_VARIABLES = ("SFJOBS_URL", "SFJOBS_API_KEY", "SFJOBS_API_KEY_FILE", "SFJOBS_ACCESS_TOKEN")


def login(
    context: typer.Context,
    *,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Platform; by default the configured one, or the one you type in.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="Profile to store it in; by default the top of the file.")
    ] = None,
    key_stdin: Annotated[
        bool, typer.Option("--key-stdin", help="Read the key from standard input instead of the terminal.")
    ] = False,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Try the key before it is stored.")] = True,
    keyring: Annotated[
        bool, typer.Option("--keyring", help="Store the key in the keyring of this system, not in the file.")
    ] = False,
    as_json: JSONOption = False,
) -> None:
    """
    Check an API key and store it.

    The key goes into the configuration file, which only you can read then. The rest of the file stays unchanged.
    """
    from ...config import DEFAULT_PROFILE, KeyringEntry, Settings, check_keyring, config_path, known_url, store_profile

    command = CommandContext.of(context)
    profile = profile or command.profile or os.environ.get("SFJOBS_PROFILE", "").strip() or DEFAULT_PROFILE
    if keyring:
        check_keyring()
    url = url or command.url or known_url(profile) or _read_url(is_interactive=not key_stdin)
    settings = Settings.for_login(profile, url=url, api_key=(key := _read_key(url, from_stdin=key_stdin)))
    if check:
        _check(settings)
    path = config_path()
    if keyring:
        KeyringEntry(settings.url, profile).store(key)
    credential: dict[str, Secret | bool] = {"api_key_keyring": True} if keyring else {"api_key": key}
    store_profile(path, profile, {"url": settings.url, **credential}, without=_OTHER_CREDENTIALS)
    overriding = [name for name in _OVERRIDING_VARIABLES if os.environ.get(name, "").strip()]
    if overriding:
        typer.echo(f"{' and '.join(overriding)} in the environment still win over the file.", err=True)
    if as_json:
        key_in = "keyring" if keyring else "file"
        write_json({"url": settings.url, "profile": profile, "file": path, "key_in": key_in, "checked": check})
        return
    result = "accepts the key." if check else "was not asked whether it accepts the key."
    named = "" if profile == DEFAULT_PROFILE else f" as profile {profile}"
    place = f"It is in the keyring, and the url{named} in" if keyring else f"It is stored{named} in"
    typer.echo(printable(f"{settings.url} {result}"))
    typer.echo(printable(f"{place} {path}"))


def _read_url(*, is_interactive: bool) -> str:
    if not is_interactive or not sys.stdin.isatty():
        raise CommandError("The platform of the key is unknown.", "Give --url http(s)://host[:port][/path].")
    typer.echo("URL of the platform, http(s)://host[:port][/path]: ", nl=False, err=True)
    return sys.stdin.readline().strip()


def _read_key(url: str, *, from_stdin: bool) -> Secret:
    from getpass import getpass

    from ...config import Secret

    if from_stdin:
        text = sys.stdin.read(_MAX_KEY_CHARACTERS)
    elif sys.stdin.isatty():
        text = getpass(f"API key for {printable(url)} (not shown): ", stream=sys.stderr)
    else:
        raise CommandError("Standard input is no terminal to type the key in.", "Pipe the key in, with --key-stdin.")
    if not text.strip():
        raise CommandError("The key is empty; nothing was stored.", "Paste the key of your account on the platform.")
    return Secret(text.strip())


def _check(settings: Settings) -> None:
    from ...errors import AuthenticationError

    try:
        run_with_connection(settings, lambda connection: connection.ping())
    except AuthenticationError as error:
        what = f"{settings.url} does not accept this key; nothing was stored."
        raise CommandError(what, "Copy the whole key again, or check the url.", ExitCode.AUTHENTICATION) from error
