"""
What sfjobs needs to know before it can talk to a platform, and where each value came from. ``Settings.load`` puts it together;
nothing is read at import time. ``file`` reads our own file, ``foreign`` those of other clients, and
``values`` checks what they found.

Every text stays wrapped in a ``Secret`` from the line where it is read to the line where it is checked, urls too (they may
carry a password), so that no traceback with locals shows one.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Literal, Self, TypedDict, Unpack, cast

from . import file, foreign
from .keys import KeyringEntry
from .secret import Secret
from .values import Given, Layer, checked, conceal, problem, suggestion

__all__ = ["Secret", "Settings", "SettingsArguments", "config_path"]

DEFAULT_PROFILE = file.DEFAULT_PROFILE
"""The name of the profile that the top level of the configuration file describes."""

_PREFIX = "SFJOBS_"
_CACHE_BYTES = 2 * 2**30
_WHERE_TO_LOOK = {"profile": "SFJOBS_PROFILE", "file": "SFJOBS_CONFIG"}


class SettingsArguments(TypedDict, total=False):
    """
    What ``Settings`` and ``Settings.load`` take by keyword; each is described at the attribute of the same name. None is the
    same as leaving it out.
    """

    url: str | None
    api_key: str | Secret | None
    access_token: str | Secret | None
    api_version: Literal["0.4.0", "0.2.0"] | None
    ca_file: str | None
    max_result_bytes: int | None
    result_cache: str | bool | None
    result_cache_bytes: int | None
    connect_timeout: float | None
    read_timeout: float | None
    attempt_timeout: float | None
    retries: int | None
    poll_interval_min: float | None
    poll_interval_max: float | None
    journal: str | bool | None


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Settings:
    """
    How to reach a platform, and as whom. ``Settings.load()`` finds the values; ``Settings(url=..., api_key=...)`` takes them
    as given and reads nothing. Either way they are checked: a ``ConfigurationError`` names the setting and its source.
    """

    url: str
    """Where the platform is: ``http(s)://host[:port]``."""
    api_key: Secret | None = None
    """The long-lived key (other clients say refresh token), exchanged for short-lived access tokens."""
    access_token: Secret | None = None
    """A token to use as it is, instead of an API key or until it expires."""
    api_version: Literal["0.4.0", "0.2.0"] = "0.4.0"
    """The version of the protocol that is asked for. ``0.2.0`` has no list of jobs and answers with ``.npy``."""
    ca_file: str | None = None
    """PEM file with the certificate authorities to trust instead of the usual ones, for a platform with its own."""
    max_result_bytes: int = 4 * 2**30
    """Bytes. A larger result is refused before memory is taken for it; one that stays in a file may be larger."""
    result_cache: str | None = None
    """The folder in which results are kept; ``on`` is the usual one of this system, ``off`` (None here) is none."""
    result_cache_bytes: int = _CACHE_BYTES
    """Bytes that the results in it may have together; the one that was used longest ago goes first."""
    connect_timeout: float = 5.0
    """Seconds until a connection must stand."""
    read_timeout: float = 30.0
    """Seconds of silence on the wire after which a request has failed."""
    attempt_timeout: float = 60.0
    """Seconds that one try of one request may take in all; downloads of results are exempt."""
    retries: int = 5
    """How often a request is tried in all; 1 means never again."""
    poll_interval_min: float = 0.5
    """Seconds between two questions about a job that has just been submitted."""
    poll_interval_max: float = 30.0
    """Seconds between two questions about a job that takes long."""
    journal: str | None = None
    """
    Where submissions are written down before they are sent: the path of a file, ``"on"`` for the usual one, ``"off"`` for none.
    None: as ``SFJOBS_JOURNAL`` says when the first job is submitted, else on.
    """
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Where each value came from, by name: "argument", "environment variable SFJOBS_URL", "/etc/config.toml [lab]", "default"."""

    def __init__(self, *, sources: Mapping[str, str] | None = None, **values: Unpack[SettingsArguments]) -> None:
        given = cast("dict[str, object]", values)
        conceal(given)
        # First a whole object, then the checks: a traceback with locals asks a half-built one for its repr and fails.
        for item in fields(self):
            object.__setattr__(self, item.name, "" if item.default is MISSING else item.default)
        object.__setattr__(self, "sources", dict.fromkeys(NAMES, "default"))
        for name in given.keys() - NAMES:
            raise problem(f"There is no setting {name!r}", suggestion(name, NAMES))
        if given.get("url") is None:
            raise problem("The setting url is missing", "Give url=, as in http://127.0.0.1:8080")
        origins = {name: (sources or {}).get(name, "argument") for name, value in given.items() if value is not None}
        for name, source in origins.items():
            object.__setattr__(self, name, checked(name, Given(given[name], source)))
        object.__setattr__(self, "sources", {**self.sources, **origins})
        self._check_together()

    def _check_together(self) -> None:
        if self.api_key is None and self.access_token is None:
            raise problem(
                f"The setting api_key is missing: {self.url} (from {self.sources['url']}) asks for one",
                "Set SFJOBS_API_KEY or SFJOBS_API_KEY_FILE, or write api_key beside url (an access_token does as well)",
            )
        if self.poll_interval_min > self.poll_interval_max:
            raise problem(
                f"poll_interval_min (from {self.sources['poll_interval_min']}) is above"
                f" poll_interval_max (from {self.sources['poll_interval_max']})",
                "Make poll_interval_min the smaller one",
            )

    @classmethod
    def load(
        cls,
        profile: str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        **arguments: Unpack[SettingsArguments],
    ) -> Self:
        """
        The settings from, in this order: ``arguments`` that are not None; ``SFJOBS_*`` in ``environ`` (default
        ``os.environ``); ``profile`` (default ``$SFJOBS_PROFILE``) in the configuration file; the defaults. If none of these
        gives a url or a credential, those of xanadu-cloud-client, else of Strawberry Fields, are taken over.

        Raises ``ConfigurationError`` for anything malformed, and when there is no setting at all.
        """
        conceal(cast("dict[str, object]", arguments))
        variables = _take_variables(environ)
        environ = None
        settings = cls._found(profile, variables, cast("dict[str, object]", arguments))
        if settings is None:
            raise problem(
                "No platform is configured",
                "Start one on this machine with `sfjobs serve`, or set SFJOBS_URL and SFJOBS_API_KEY,"
                f" or write url and api_key to {file.path(variables)}",
            )
        return settings

    @classmethod
    def find(
        cls,
        profile: str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        **arguments: Unpack[SettingsArguments],
    ) -> Self | None:
        """As ``load``, but None when no url and no credential is set anywhere."""
        conceal(cast("dict[str, object]", arguments))
        variables = _take_variables(environ)
        environ = None
        return cls._found(profile, variables, cast("dict[str, object]", arguments))

    @classmethod
    def _found(cls, profile: str | None, variables: Mapping[str, Secret], arguments: dict[str, object]) -> Self | None:
        own: list[Layer] = [
            {name: Given(value, "argument") for name, value in arguments.items() if value is not None},
            _environment_layer(variables),
            file.load(profile, variables, known=NAMES),
        ]
        merged = _merged(own)
        named = profile if profile is not None else _revealed(variables.get("SFJOBS_PROFILE"))
        if not merged.keys() & _IDENTITY:
            if named not in {None, DEFAULT_PROFILE}:
                raise problem(f"The profile {named!r} gives neither url nor api_key", "Write both into it")
            merged = _merged([*own, foreign.load(variables)])
            if not merged.keys() & _IDENTITY:
                return None
        if "url" not in merged:
            name = "api_key" if "api_key" in merged else "access_token"
            raise problem(
                f"The setting url is missing: {name} comes from {merged[name].source}, but nothing says where to send it",
                f"Set SFJOBS_URL, or write url beside {name}",
            )
        key = merged.get("api_key")
        if key is not None and isinstance(key.value, KeyringEntry):
            merged["api_key"] = Given(key.value.fetch(), key.source)
        return cls._of(merged)

    def with_defaults(self, **defaults: Unpack[SettingsArguments]) -> Self:
        """The same settings with other defaults, which hold where nothing was said."""
        settings = copy.copy(self)
        for name, value in defaults.items():
            if self.sources[name] == "default":
                object.__setattr__(settings, name, checked(name, Given(value, "default")))
        return settings

    @classmethod
    def for_login(
        cls,
        profile: str = DEFAULT_PROFILE,
        *,
        url: str,
        api_key: str | Secret,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """
        As ``load``, but with this url and this key alone, whatever credential is set anywhere; the profile need not exist yet.
        For checking a key before it is stored.
        """
        key = Secret.wrap(api_key)
        variables = _take_variables(environ)
        environ = None
        for name in ("API_KEY", "API_KEY_FILE", "ACCESS_TOKEN"):
            variables.pop(_PREFIX + name, None)
        present = file.stored(profile, variables, known=NAMES)
        others = {name: given for name, given in present.items() if name in NAMES - _IDENTITY}
        arguments: Layer = {"url": Given(Secret(url), "argument"), "api_key": Given(key, "argument")}
        return cls._of(_merged([arguments, _environment_layer(variables), others]))

    @classmethod
    def _of(cls, merged: Layer) -> Self:
        values = cast("SettingsArguments", {name: given.value for name, given in merged.items()})
        return cls(sources={name: given.source for name, given in merged.items()}, **values)


NAMES = frozenset(SettingsArguments.__annotations__)
_IDENTITY = frozenset({"url", "api_key", "access_token"})
_CACHE_VARIABLES = frozenset({"SFJOBS_RESULT_CACHE", "SFJOBS_RESULT_CACHE_BYTES"})


def config_path(environ: Mapping[str, str] | None = None) -> str:
    """The configuration file that ``Settings.load`` reads, whether or not it exists."""
    return str(file.path(_take_variables(environ)))


def known_url(profile: str = DEFAULT_PROFILE, environ: Mapping[str, str] | None = None) -> str | None:
    """The url that ``SFJOBS_URL``, else ``profile`` in the configuration file names, whether or not there is a key for it."""
    variables = _take_variables(environ)
    given = _environment_layer({name: value for name, value in variables.items() if name == "SFJOBS_URL"})
    given = given or file.stored(profile, variables, known=NAMES)
    return str(checked("url", given["url"])) if "url" in given else None


def known_cache(profile: str | None = None, environ: Mapping[str, str] | None = None) -> tuple[str | None, int]:
    """``result_cache``, on where nothing is said, and ``result_cache_bytes``: also where no platform is configured."""
    variables = _take_variables(environ)
    layer: Layer = _merged(
        [
            _environment_layer({name: value for name, value in variables.items() if name in _CACHE_VARIABLES}),
            file.stored(
                profile or _revealed(variables.get("SFJOBS_PROFILE")) or DEFAULT_PROFILE, variables, known=NAMES
            ),
            {
                "result_cache": Given(True, "default"),
                "result_cache_bytes": Given(_CACHE_BYTES, "default"),
            },
        ]
    )
    folder, most = (checked(name, layer[name]) for name in ("result_cache", "result_cache_bytes"))
    return cast("tuple[str | None, int]", (folder, most))


def _revealed(text: Secret | None) -> str | None:
    return None if text is None else text.reveal()


def _take_variables(environ: Mapping[str, str] | None) -> dict[str, Secret]:
    wanted = (_PREFIX, *foreign.VARIABLES)
    return {
        name: Secret(value)
        for name, value in (os.environ if environ is None else environ).items()
        if name.startswith(wanted) and value.strip()
    }


def _environment_layer(variables: Mapping[str, Secret]) -> Layer:
    known = {_PREFIX + name.upper(): name for name in {*NAMES, "api_key_file"}}
    layer: Layer = {}
    for variable, value in variables.items():
        if not variable.startswith(_PREFIX) or variable in _WHERE_TO_LOOK.values():
            continue
        if variable not in known:
            candidates = [*known, *_WHERE_TO_LOOK.values()]
            raise problem(f"There is no environment variable {variable}", suggestion(variable, candidates))
        layer[known[variable]] = Given(value, f"environment variable {variable}")
    return file.with_key_from_file(layer)


def _merged(layers: Iterable[Layer]) -> Layer:
    merged: Layer = {}
    for layer in layers:
        for name, given in layer.items():
            merged.setdefault(name, given)
    return merged
