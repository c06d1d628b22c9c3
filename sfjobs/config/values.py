"""
The value of one setting: ``SourcedValue`` is the value as it was written, with its source; ``checked`` converts it or raises.
Called by ``settings`` and by the readers of files.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

import platformdirs

from ..errors import ConfigurationError
from .folders import expanded, own_folder
from .secret import Secret


@dataclass(frozen=True, slots=True)
class SourcedValue:
    """A value as it was written at ``source``. Texts are ``Secret`` until they are checked."""

    value: object
    source: str


Layer: TypeAlias = dict[str, SourcedValue]
"""The values from one source, by the names of the settings."""


def problem(what: str, remedy: str) -> ConfigurationError:
    """Return the error for a bad setting: one line says what is wrong and where, the next what to do."""
    return ConfigurationError(f"{what}.\n{remedy}{'' if remedy.endswith('?') else '.'}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a remedy for an unknown ``word``: the most similar known one, or all of them."""
    words = sorted(known)
    alike = difflib.get_close_matches(word, words, n=1)
    return f"Did you mean {alike[0]}?" if alike else f"Known are {', '.join(words)}"


def conceal(values: dict[str, object]) -> None:
    """Wrap every text in ``values`` and its tables: a misspelt ``api_kye`` holds a secret, too."""
    for name, value in values.items():
        if isinstance(value, dict):
            conceal(value)
        elif isinstance(value, str):
            values[name] = Secret(value)
        elif isinstance(value, (list, tuple, bytes)):
            values[name] = _WrongType(type(value).__name__)


@dataclass(frozen=True, slots=True)
class _WrongType:
    """A placeholder for a value of a type that no setting has, which may hold a secret."""

    kind: str


def checked(name: str, setting: SourcedValue) -> object:
    """Return the value as the type of the setting ``name``. Raises ConfigurationError if it is not valid."""
    return _CHECKS[name](name, setting)


def _invalid(name: str, setting: SourcedValue, what: str, remedy: str) -> ConfigurationError:
    return problem(f"The setting {name} (from {setting.source}) {what}", remedy)


def _text(name: str, setting: SourcedValue) -> Secret:
    if not isinstance(setting.value, Secret):
        raise _invalid(name, setting, "is not a text", "Write it in quotes")
    text = Secret(setting.value.reveal().strip())
    if not text.reveal():
        raise _invalid(name, setting, "is empty", "Give it a value, or leave it out")
    return text


_PATH = re.compile(r"(/(?:[\w.~!$&'()*+,;=:-]|%[0-9a-f]{2})+)*", re.IGNORECASE | re.ASCII)
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?\.?", re.IGNORECASE | re.ASCII)


def _url(name: str, setting: SourcedValue) -> str:
    text = _text(name, setting)
    form = "Write http(s)://host[:port][/path] and nothing else"
    # Checked before any part of it is in a variable: it may hold a password or a token.
    if "@" in text.reveal():
        raise _invalid(name, setting, "holds a user name or a password", f"{form}; credentials belong in api_key")
    if set(text.reveal()) & set("?#"):
        raise _invalid(name, setting, "holds a query or a fragment", form)
    url = text.reveal()
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
    except ValueError:
        raise _invalid(name, setting, f"is not a URL: {_shown(url)}", form) from None
    if "://" not in url or scheme not in {"http", "https"}:
        raise _invalid(name, setting, f"does not begin with http:// or https://: {_shown(url)}", form)
    if not _is_host(host, bracketed="[" in parts.netloc) or port == 0 or parts.netloc.endswith(":"):
        raise _invalid(name, setting, f"names no usable host and port: {_shown(url)}", form)
    path = parts.path.removesuffix("/")
    if not _PATH.fullmatch(path) or {".", ".."} & set(unquote(path).split("/")):
        raise _invalid(name, setting, f"has a path that is not valid: {_shown(url)}", form)
    return f"{scheme}://{parts.netloc.lower()}{path}"


def _is_host(host: str, *, bracketed: bool) -> bool:
    if not bracketed:
        return _HOST.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _credential(name: str, setting: SourcedValue) -> Secret:
    text = _text(name, setting)
    if text.reveal() == str(text):
        raise _invalid(
            name, setting, f"is {text}, which stands for a secret that is not shown", "Give the secret itself"
        )
    if not re.fullmatch(r"[!-~]+", text.reveal()):
        raise _invalid(
            name, setting, "holds white space or a character that is not ASCII", "Copy it again, without line breaks"
        )
    return text


def _authorities(name: str, setting: SourcedValue) -> str:
    import ssl  # by far the slowest import here, and needed by few

    path = expanded(_text(name, setting).reveal())
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError as error:  # ssl.SSLError is an OSError
        reason = "holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise _invalid(
            name,
            setting,
            f"cannot be used: {_shown(str(path))}: {reason}",
            "Give the path of a PEM file of certificates",
        ) from None
    return str(path)


_YES, _NO = {"on", "yes", "true", "1"}, {"off", "no", "false", "0"}


def _cache(name: str, setting: SourcedValue) -> str | None:
    """Return a folder, or None for no cache."""
    word = setting.value if isinstance(setting.value, bool) else _text(name, setting).reveal()
    if word is False or str(word).lower() in _NO:
        return None
    if word is True or str(word).lower() in _YES:
        own = own_folder(platformdirs.user_cache_dir)
        return None if own is None else str(own)
    folder = expanded(str(word))
    # A misspelt word would become a folder in the current one.
    if not folder.is_absolute():
        raise _invalid(name, setting, f"is {_shown(str(word))}", "Write on, off, or the absolute path of a folder")
    return str(folder)


def _version(name: str, setting: SourcedValue) -> str:
    version = _text(name, setting).reveal()
    if version not in {"0.4.0", "0.2.0"}:
        raise _invalid(name, setting, f"is {_shown(version)}", "Write 0.4.0, or 0.2.0 for an old platform")
    return version


def _http(name: str, setting: SourcedValue) -> str:
    word = _text(name, setting).reveal().lower()
    if word not in {"auto", "httpx"}:
        raise _invalid(name, setting, f"is {_shown(word)}", "Write auto, or httpx for httpx's own transport")
    return word


def _journal(name: str, setting: SourcedValue) -> str:
    """Return the path of a file, ``on``, ``off`` or ``auto``."""
    if isinstance(setting.value, bool):
        return "on" if setting.value else "off"
    text = _text(name, setting).reveal()
    if text.lower() in _NO | _YES:
        return "on" if text.lower() in _YES else "off"
    if text.lower() == "auto":
        return "auto"
    if not set(text) & set("/\\"):
        # A misspelt word would become a file in the current folder.
        raise _invalid(name, setting, f"is {_shown(text)}", "Write auto, on, off, or a path such as ./submissions.db")
    return text


def _whole_number(name: str, setting: SourcedValue) -> int:
    number = _number(name, setting, int, "whole number")
    if not isinstance(number, int) or number < 1:
        raise _invalid(name, setting, f"is {_shown(str(number))}", "Write a whole number from 1 up")
    return number


def _seconds(name: str, setting: SourcedValue) -> float:
    number = float(_number(name, setting, float, "number of seconds"))
    if not 0 < number < math.inf:
        raise _invalid(name, setting, f"is {number}", "Write a number of seconds above 0")
    return number


def _number(name: str, setting: SourcedValue, parse: Callable[[str], float], kind: str) -> float:
    if isinstance(setting.value, (int, float)) and not isinstance(setting.value, bool):
        return setting.value
    text = _text(name, setting).reveal() if isinstance(setting.value, Secret) else str(setting.value)
    try:
        return parse(text)
    except ValueError:
        raise _invalid(name, setting, f"is not a {kind}: {_shown(text)}", f"Write a {kind}") from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


_SECONDS = ("connect_timeout", "read_timeout", "attempt_timeout", "poll_interval_min", "poll_interval_max")
_CHECKS: Mapping[str, Callable[[str, SourcedValue], object]] = {
    "url": _url,
    "api_version": _version,
    "ca_file": _authorities,
    "http": _http,
    "result_cache": _cache,
    "journal": _journal,
    **dict.fromkeys(("api_key", "access_token"), _credential),
    **dict.fromkeys(("max_result_bytes", "result_cache_bytes", "retries"), _whole_number),
    **dict.fromkeys(_SECONDS, _seconds),
}
