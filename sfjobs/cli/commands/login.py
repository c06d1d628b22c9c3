"""``sfjobs login``: asks for an API key, tries it and keeps it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, stderr, stdout
from ..errors import CommandError, ExitCode, printable
from ..output.json import write_json

if TYPE_CHECKING:
    from ...config import Secret, Settings

_LONGEST_KEY = 64 * 1024
_OTHER_CREDENTIALS = ("api_key", "api_key_file", "api_key_keyring", "access_token")
_STRONGER = ("SFJOBS_URL", "SFJOBS_API_KEY", "SFJOBS_API_KEY_FILE", "SFJOBS_ACCESS_TOKEN")


def login(
    context: typer.Context,
    *,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Platform; by default the one that is configured, or asked for.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="Profile to keep it in; by default the top of the file.")
    ] = None,
    key_stdin: Annotated[
        bool, typer.Option("--key-stdin", help="Read the key from standard input instead of asking for it.")
    ] = False,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Try the key before it is kept.")] = True,
    keyring: Annotated[
        bool, typer.Option("--keyring", help="Keep the key in the keyring of this system, not in the file.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """
    Ask for an API key, try it and keep it.

    It is kept in the configuration file, which you alone can read then. The rest of the file stays as it is.
    """
    from ...config import DEFAULT_PROFILE, KeyringEntry, Settings, check_keyring, config_path, known_url, store_profile

    scope = CommandContext.of(context)
    profile = profile or scope.profile or os.environ.get("SFJOBS_PROFILE", "").strip() or DEFAULT_PROFILE
    if keyring:
        check_keyring()
    url = url or scope.url or known_url(profile) or _ask_for_url(may_ask=not key_stdin)
    key = _key_from_stdin() if key_stdin else _ask_for_key(url)
    settings = Settings.for_login(profile, url=url, api_key=key)
    if check:
        _try(settings)
    path = config_path()
    if keyring:
        KeyringEntry(settings.url, profile).store(key)
        credential: dict[str, Secret | bool] = {"api_key_keyring": True}
    else:
        credential = {"api_key": key}
    store_profile(path, profile, {"url": settings.url, **credential}, without=_OTHER_CREDENTIALS)
    _warn_of_stronger_settings()
    if as_json:
        kept_in = "keyring" if keyring else "file"
        write_json({"url": settings.url, "profile": profile, "file": path, "key_in": kept_in, "checked": check})
        return ExitCode.OK
    console = stdout()
    accepted = "accepts the key." if check else "was not asked whether it accepts the key."
    named = "" if profile == DEFAULT_PROFILE else f" as profile {profile}"
    console.print(printable(f"{settings.url} {accepted}"), soft_wrap=True)
    place = f"It is in the keyring, and the url{named} in" if keyring else f"It is kept{named} in"
    console.print(printable(f"{place} {path}"), soft_wrap=True)
    return ExitCode.OK


def _ask_for_url(*, may_ask: bool) -> str:
    if not may_ask or not sys.stdin.isatty():
        raise CommandError("Nothing says which platform the key is for.", "Give --url http(s)://host[:port].")
    sys.stderr.write("URL of the platform, http(s)://host[:port]: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _ask_for_key(url: str) -> Secret:
    from getpass import getpass

    from ...config import Secret

    if not sys.stdin.isatty():
        raise CommandError("There is no terminal to ask for the key.", "Pipe it in and give --key-stdin.")
    return _checked(Secret(getpass(f"API key for {printable(url)} (not shown): ", stream=sys.stderr).strip()))


def _key_from_stdin() -> Secret:
    from ...config import Secret

    return _checked(Secret(sys.stdin.read(_LONGEST_KEY).strip()))


def _checked(key: Secret) -> Secret:
    if not key.reveal():
        raise CommandError("The key is empty; nothing was kept.", "Paste the key of your account on the platform.")
    return key


def _try(settings: Settings) -> None:
    import anyio

    from ..._client.connection import Connection
    from ...errors import AuthenticationError

    async def ask() -> None:
        async with Connection(settings=settings) as connection:
            await connection.ping()

    try:
        anyio.run(ask)
    except AuthenticationError as error:
        what = f"{settings.url} does not accept this key; nothing was kept."
        raise CommandError(what, "Copy the whole key again, or look at the url.", ExitCode.AUTHENTICATION) from error


def _warn_of_stronger_settings() -> None:
    stronger = [name for name in _STRONGER if os.environ.get(name, "").strip()]
    if stronger:
        line = f"{' and '.join(stronger)} in the environment still win over the file."
        stderr().print(line, soft_wrap=True)
