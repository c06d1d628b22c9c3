"""
One setting's value on its way from where it was written to where it is used: ``Given`` says what stood where, ``checked`` makes
it what it should be or says what is wrong with it. Pure functions; ``config`` and the readers of files use them.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import platformdirs

from ..errors import ConfigurationError
from .folders import own_folder
from .secret import Secret


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it stood at ``source``. Texts are wrapped until they are checked."""

    value: object
    source: str


Layer: TypeAlias = dict[str, Given]
"""What one place gives: the values by the names of the settings."""


def problem(what: str, remedy: str) -> ConfigurationError:
    """The error for a bad setting: a line that says what is wrong and where, and one that says what to do."""
    return ConfigurationError(f"{what}.\n{remedy}{'' if remedy.endswith('?') else '.'}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """The known word most like ``word``, or all of them when none is like it: for the end of an error message."""
    words = sorted(known)
    alike = difflib.get_close_matches(word, words, n=1)
    return f"Did you mean {alike[0]}?" if alike else f"Known are {', '.join(words)}"


def conceal(values: dict[str, object]) -> None:
    """Wraps every text in ``values`` and the tables within. What is called ``api_kye`` by mistake is a secret all the same."""
    for name, value in values.items():
        if isinstance(value, dict):
            conceal(value)
        elif isinstance(value, str):
            values[name] = Secret(value)
        elif isinstance(value, (list, tuple, bytes)):
            values[name] = _Unusable(type(value).__name__)


@dataclass(frozen=True, slots=True)
class _Unusable:
    """Stands for a value of a type that no setting has, which may hold a secret."""

    kind: str


def checked(name: str, given: Given) -> object:
    """``given`` as the type that the setting ``name`` has. Raises ConfigurationError if it cannot be that."""
    return _CHECKS[name](name, given)


def _refused(name: str, given: Given, what: str, remedy: str) -> ConfigurationError:
    return problem(f"The setting {name} (from {given.source}) {what}", remedy)


def _text(name: str, given: Given) -> Secret:
    if not isinstance(given.value, Secret):
        raise _refused(name, given, "is not a text", "Write it in quotes")
    text = Secret(given.value.reveal().strip())
    if not text.reveal():
        raise _refused(name, given, "is empty", "Give it a value, or leave it out")
    return text


_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?\.?", re.IGNORECASE | re.ASCII)


def _url(name: str, given: Given) -> str:
    text = _text(name, given)
    form = "Write http(s)://host[:port] and nothing else"
    # Looked at before any part of it is in a variable: it may hold a password or a token.
    if "@" in text.reveal():
        raise _refused(name, given, "holds a user name or a password", f"{form}; credentials belong in api_key")
    if set(text.reveal()) & set("?#"):
        raise _refused(name, given, "holds a query or a fragment", form)
    url = text.reveal()
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
    except ValueError:
        raise _refused(name, given, f"is not a URL: {_shown(url)}", form) from None
    if "://" not in url or scheme not in {"http", "https"}:
        raise _refused(name, given, f"does not begin with http:// or https://: {_shown(url)}", form)
    if parts.path not in {"", "/"}:
        raise _refused(name, given, f"has a path: {_shown(url)}", form)
    if not _is_host(host, bracketed="[" in parts.netloc) or port == 0 or parts.netloc.endswith(":"):
        raise _refused(name, given, f"names no usable host and port: {_shown(url)}", form)
    return f"{scheme}://{parts.netloc.lower()}"


def _is_host(host: str, *, bracketed: bool) -> bool:
    if not bracketed:
        return _HOST.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _credential(name: str, given: Given) -> Secret:
    text = _text(name, given)
    if not re.fullmatch(r"[!-~]+", text.reveal()):
        raise _refused(
            name, given, "holds white space or a character that is not ASCII", "Copy it again, without line breaks"
        )
    return text


def _authorities(name: str, given: Given) -> str:
    import ssl  # by far the slowest import here, and few settings need it

    path = Path(_text(name, given).reveal()).expanduser()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        reason = "holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise _refused(
            name, given, f"cannot be used: {_shown(str(path))}: {reason}", "Give the path of a PEM file of certificates"
        ) from None
    return str(path)


_YES, _NO = {"on", "yes", "true", "1"}, {"off", "no", "false", "0"}


def _cache(name: str, given: Given) -> str | None:
    """A folder, or None for no cache."""
    word = given.value if isinstance(given.value, bool) else _text(name, given).reveal()
    if word is False or str(word).lower() in _NO:
        return None
    if word is True or str(word).lower() in _YES:
        own = own_folder(platformdirs.user_cache_dir)
        return None if own is None else str(own)
    folder = Path(str(word)).expanduser()
    # A mistyped word would otherwise become a folder wherever one happens to be.
    if not folder.is_absolute():
        raise _refused(name, given, f"is {_shown(str(word))}", "Write on, off, or a folder's whole path")
    return str(folder)


def _version(name: str, given: Given) -> str:
    version = _text(name, given).reveal()
    if version not in {"0.4.0", "0.2.0"}:
        raise _refused(name, given, f"is {_shown(version)}", "Write 0.4.0, or 0.2.0 for an old platform")
    return version


def _journal(name: str, given: Given) -> str:
    """A file's path, ``on`` or ``off``."""
    if isinstance(given.value, bool):
        return "on" if given.value else "off"
    text = _text(name, given).reveal()
    if text.lower() in _NO | _YES:
        return "on" if text.lower() in _YES else "off"
    if not set(text) & set("/\\"):
        # A misspelt word would become a file in whatever folder happens to be the present one.
        raise _refused(name, given, f"is {_shown(text)}", "Write on, off, or a path such as ./submissions.db")
    return text


def _whole_number(name: str, given: Given) -> int:
    number = _number(name, given, int, "whole number")
    if not isinstance(number, int) or number < 1:
        raise _refused(name, given, f"is {_shown(str(number))}", "Write a whole number from 1 up")
    return number


def _seconds(name: str, given: Given) -> float:
    number = float(_number(name, given, float, "number of seconds"))
    if not 0 < number < math.inf:
        raise _refused(name, given, f"is {number}", "Write a number of seconds above 0")
    return number


def _number(name: str, given: Given, parse: Callable[[str], float], kind: str) -> float:
    if isinstance(given.value, (int, float)) and not isinstance(given.value, bool):
        return given.value
    text = _text(name, given).reveal() if isinstance(given.value, Secret) else str(given.value)
    try:
        return parse(text)
    except ValueError:
        raise _refused(name, given, f"is not a {kind}: {_shown(text)}", f"Write a {kind}") from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


_CHECKS: Mapping[str, Callable[[str, Given], object]] = {
    "url": _url,
    "api_key": _credential,
    "access_token": _credential,
    "api_version": _version,
    "ca_file": _authorities,
    "max_result_bytes": _whole_number,
    "result_cache": _cache,
    "result_cache_bytes": _whole_number,
    "connect_timeout": _seconds,
    "read_timeout": _seconds,
    "attempt_timeout": _seconds,
    "retries": _whole_number,
    "poll_interval_min": _seconds,
    "poll_interval_max": _seconds,
    "journal": _journal,
}
