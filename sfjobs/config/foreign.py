"""
Reads the settings of xanadu-cloud-client (``.env`` and ``XANADU_CLOUD_*``) and of Strawberry Fields up to 0.19 (``config.toml``
and ``SF_API_*``) as those programs read them, so that their users need no further configuration. Used only if sfjobs has no
settings of its own. Unknown lines and keys are ignored.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from .file import parse_toml, read
from .folders import home_folder, is_file, working_folder
from .secret import Secret
from .values import Layer, SourcedValue, problem

VARIABLES = ("XANADU_CLOUD_", "SF_API_", "SF_CONF", "XDG_CONFIG_HOME", "LOCALAPPDATA", "HOME")
"""Prefixes of the environment variables that are read here."""

_XCC_PREFIX = "XANADU_CLOUD_"
_SF_PREFIX = "SF_API_"
_YES = frozenset({"true", "1", "yes", "on", "t", "y"})
_NO = frozenset({"false", "0", "no", "off", "f", "n"})


def load(variables: Mapping[str, Secret]) -> Layer:
    """Return a url with its credentials from the first of the two programs that has a credential, else nothing."""
    return _xanadu_cloud_client(variables) or _strawberry_fields(variables)


def user_config_folder(program: str, variables: Mapping[str, Secret], system: str = sys.platform) -> Path:
    """Return the folder that the package appdirs, which both programs use, names for the author "Xanadu"."""
    home = Path(variables["HOME"].reveal()) if "HOME" in variables and system != "win32" else home_folder()
    if system == "win32":
        local = variables.get("LOCALAPPDATA")
        return (Path(local.reveal()) if local else home / "AppData" / "Local") / "Xanadu" / program
    if system == "darwin":
        return home / "Library" / "Application Support" / program
    base = variables.get("XDG_CONFIG_HOME")
    return (Path(base.reveal()) if base else home / ".config") / program


def _xanadu_cloud_client(variables: Mapping[str, Secret]) -> Layer:
    file = user_config_folder("xanadu-cloud", variables) / ".env"
    found: Layer = {}
    if is_file(file):
        text = read(file, what="the settings of xanadu-cloud-client")
        found = {name: SourcedValue(value, str(file)) for name, value in _assignments(text, _XCC_PREFIX)}
    found |= _from_environment(variables, _XCC_PREFIX)
    if not found.keys() & {"REFRESH_TOKEN", "ACCESS_TOKEN"}:
        return {}
    names = {"REFRESH_TOKEN": "api_key", "ACCESS_TOKEN": "access_token"}
    credentials = {names[name]: given for name, given in found.items() if name in names}
    origin = "default of xanadu-cloud-client"
    host = found.get("HOST", SourcedValue(Secret("platform.xanadu.ai"), origin))
    return {**credentials, "url": _url(host, found.get("PORT"), found.get("TLS"))}


def _strawberry_fields(variables: Mapping[str, Secret]) -> Layer:
    found: Layer = {}
    for file, is_local in _strawberry_fields_files(variables):
        text = read(file, what="the settings of Strawberry Fields")
        document, reason = parse_toml(text)
        api = document.get("api")
        if is_local and (not isinstance(api, dict) or "authentication_token" not in api):
            # Many programs have a file config.toml. And a file in the current folder must not choose the host that a token
            # from elsewhere is sent to.
            continue
        if reason or not isinstance(api, dict):
            raise problem(
                f"{file} (the settings of Strawberry Fields) {f'is not TOML: {reason}' if reason else 'has no table [api]'}",
                "Correct it, or set SFJOBS_URL and SFJOBS_API_KEY instead",
            )
        found = {name.upper(): SourcedValue(value, f"{file} [api]") for name, value in api.items()}
        break
    found |= _from_environment(variables, _SF_PREFIX)
    token = found.get("AUTHENTICATION_TOKEN")
    if token is None or (isinstance(token.value, Secret) and not token.value.reveal().strip()):
        return {}
    host = found.get("HOSTNAME", SourcedValue(Secret("platform.strawberryfields.ai"), "default of Strawberry Fields"))
    return {"api_key": token, "url": _url(host, found.get("PORT"), found.get("USE_SSL"))}


def _strawberry_fields_files(variables: Mapping[str, Secret]) -> Iterator[tuple[Path, bool]]:
    folders = [(working_folder(), True)]
    if "SF_CONF" in variables:
        folders.append((Path(variables["SF_CONF"].reveal()), False))
    folders.append((user_config_folder("strawberryfields", variables), False))
    for folder, is_local in folders:
        if is_file(folder / "config.toml"):
            yield folder / "config.toml", is_local


def _from_environment(variables: Mapping[str, Secret], prefix: str) -> Layer:
    return {
        name.removeprefix(prefix): SourcedValue(value, f"environment variable {name}")
        for name, value in variables.items()
        if name.startswith(prefix)
    }


_ASSIGNMENT = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*
        (?:'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^\r\n]*?))
        [ \t]*(?:(?<=[ \t'"=])\#[^\r\n]*)?\r?$""",
    re.MULTILINE | re.VERBOSE | re.DOTALL,
)


def _assignments(text: Secret, prefix: str) -> Iterator[tuple[str, Secret]]:
    """Yield the lines ``NAME=value`` of a ``.env`` file as python-dotenv reads them: bare, quoted, exported, commented."""
    for match in _ASSIGNMENT.finditer(text.reveal()):
        if match["name"].startswith(prefix):
            value = Secret(re.sub(r"\\(['\"\\])", r"\1", match[match.lastgroup or ""] or ""))
            if value.reveal():
                yield match["name"].removeprefix(prefix), value


def _url(host: SourcedValue, port: SourcedValue | None, tls: SourcedValue | None) -> SourcedValue:
    """Join three settings of the other program into our ``url``, whose source names the sources of all."""
    sources = list(dict.fromkeys(given.source for given in (host, port, tls) if given is not None))
    scheme = "https" if tls is None or _is_yes(tls) else "http"
    name = host.value.reveal().strip() if isinstance(host.value, Secret) else ""
    number = "443" if port is None else _plain(port)
    if not number.isascii() or not number.isdigit():
        raise problem(f"The port (from {port.source if port else ''}) is not a number", "Write one from 1 to 65535")
    return SourcedValue(
        Secret(f"{scheme}://{f'[{name}]' if name.count(':') > 1 else name}:{number}"), ", ".join(sources)
    )


def _is_yes(given: SourcedValue) -> bool:
    word = _plain(given).lower()
    if word not in _YES | _NO:
        raise problem(f"Whether to use TLS (from {given.source}) is neither true nor false", "Write true or false")
    return word in _YES


def _plain(given: SourcedValue) -> str:
    return given.value.reveal().strip() if isinstance(given.value, Secret) else str(given.value)
