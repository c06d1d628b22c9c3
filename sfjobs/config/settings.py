"""
``Settings``: how to reach a platform, and where each value came from. ``Settings.load`` merges all sources; nothing is read at
import. ``file`` reads our configuration file, ``foreign`` those of other clients, ``values`` checks the values.

Every text, also a url (it may contain a password), is a ``Secret`` from the line that reads it to the line that checks it: no
traceback with locals shows one.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, Self, TypedDict, Unpack, cast

from .._util import pydantic_schemas
from . import file, foreign
from .keys import KeyringEntry
from .secret import Secret
from .values import Layer, SourcedValue, checked, conceal, problem, suggestion

__all__ = ["Secret", "Settings", "SettingsArguments", "config_path"]

DEFAULT_PROFILE = file.DEFAULT_PROFILE
"""Name of the profile at the top level of the configuration file."""

_PREFIX = "SFJOBS_"
_DEFAULT_CACHE_BYTES = 2 * 2**30
_LOCATION_VARIABLES = {"profile": "SFJOBS_PROFILE", "file": "SFJOBS_CONFIG"}


class SettingsArguments(TypedDict, total=False):
    """
    Keyword arguments of ``Settings`` and ``Settings.load``; the attributes of ``Settings`` describe them. None counts as not
    given.
    """

    url: str | None
    api_key: str | Secret | None
    access_token: str | Secret | None
    api_version: Literal["0.4.0", "0.2.0"] | None
    ca_file: str | None
    http: Literal["auto", "httpx"] | None
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
    The settings of a connection: address, credentials, timeouts and limits.

    ``Settings.load()`` reads environment and files; ``Settings(url=..., api_key=...)`` reads nothing.

    Raises:
        ConfigurationError: a value is missing or not valid; the message names the setting and its source.
    """

    url: str
    """Address of the platform: ``http(s)://host[:port][/path]``. A path is the base path of every request."""
    api_key: Secret | None = None
    """Long-lived key (refresh token in other clients), exchanged for short-lived access tokens."""
    access_token: Secret | None = None
    """Token to use instead of an API key, or until it expires."""
    api_version: Literal["0.4.0", "0.2.0"] = "0.4.0"
    """Version of the protocol. ``0.2.0`` has no list of jobs and sends results as ``.npy``."""
    ca_file: str | None = None
    """PEM file with the certificate authorities to trust instead of the usual ones."""
    http: Literal["auto", "httpx"] = "auto"
    """
    ``auto``: connections of our own (``DirectTransport``), and httpx's where a proxy, a test or an instrumentation needs it.
    ``httpx``: always httpx's own transport.
    """
    max_result_bytes: int = 4 * 2**30
    """Bytes. A larger result is refused before memory is allocated; a result that stays in a file may be larger."""
    result_cache: str | None = None
    """Folder of cached results. ``"on"`` means the user's cache folder, ``"off"`` (None here) disables the cache."""
    result_cache_bytes: int = _DEFAULT_CACHE_BYTES
    """Bytes. Limit of the cache; the least recently used results are deleted first."""
    connect_timeout: float = 5.0
    """Seconds to establish a connection."""
    read_timeout: float = 30.0
    """Seconds without a byte received after which a request fails."""
    attempt_timeout: float = 60.0
    """Seconds for one attempt of a request; downloads of results are exempt."""
    retries: int = 5
    """Number of attempts of a request, the first included; 1 disables retries."""
    poll_interval_min: float = 0.5
    """Seconds between two polls of a job that was just submitted."""
    poll_interval_max: float = 30.0
    """Seconds between two polls of a job that takes long."""
    journal: str | None = None
    """
    Journal of submissions: the path of a file, ``"on"`` for the user's own, ``"off"`` for none. ``"auto"`` is ``"on"`` where it
    can be written; elsewhere, as in a container without a home, submissions go on without it after one warning. None means the
    value of ``SFJOBS_JOURNAL`` when the first job is submitted, else ``"auto"``.
    """
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Source of each value, such as "argument", "environment variable SFJOBS_URL", "/etc/config.toml [lab]", "default"."""

    def __init__(self, *, sources: Mapping[str, str] | None = None, **values: Unpack[SettingsArguments]) -> None:
        given = cast("dict[str, object]", values)
        conceal(given)
        # First all attributes, then the checks: a traceback with locals calls repr, which fails on a partial object.
        for item in fields(self):
            object.__setattr__(self, item.name, "" if item.default is MISSING else item.default)
        object.__setattr__(self, "sources", dict.fromkeys(NAMES, "default"))
        for name in given.keys() - NAMES:
            raise problem(f"There is no setting {name!r}", suggestion(name, NAMES))
        if given.get("url") is None:
            raise problem("The setting url is missing", "Give url=, as in http://127.0.0.1:8080")
        origins = {name: (sources or {}).get(name, "argument") for name, value in given.items() if value is not None}
        for name, source in origins.items():
            object.__setattr__(self, name, checked(name, SourcedValue(given[name], source)))
        object.__setattr__(self, "sources", {**self.sources, **origins})
        self._check_together()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: pydantic_schemas.Handler) -> Any:
        return pydantic_schemas.made_by(cls, handler(source))

    def _check_together(self) -> None:
        if self.api_key is None and self.access_token is None:
            raise problem(
                f"The setting api_key is missing: {self.url} (from {self.sources['url']}) requires one",
                "Set SFJOBS_API_KEY or SFJOBS_API_KEY_FILE, or write api_key (or access_token) beside url",
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
        Merge the settings from all sources.

        In this order: ``arguments`` that are not None; ``SFJOBS_*`` in ``environ`` (default ``os.environ``); ``profile``
        (default ``$SFJOBS_PROFILE``) in the configuration file; the defaults. If none of these gives a url or a credential,
        those of xanadu-cloud-client, else of Strawberry Fields, are used.

        Raises:
            ConfigurationError: a value is not valid, or no platform is configured.
        """
        conceal(cast("dict[str, object]", arguments))
        variables = _relevant_variables(environ)
        environ = None
        settings = cls._merge_sources(profile, variables, cast("dict[str, object]", arguments))
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
        """Return what ``load`` returns, but None if no platform is configured."""
        conceal(cast("dict[str, object]", arguments))
        variables = _relevant_variables(environ)
        environ = None
        return cls._merge_sources(profile, variables, cast("dict[str, object]", arguments))

    @classmethod
    def _merge_sources(
        cls, profile: str | None, variables: Mapping[str, Secret], arguments: dict[str, object]
    ) -> Self | None:
        own: list[Layer] = [
            {name: SourcedValue(value, "argument") for name, value in arguments.items() if value is not None},
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
            merged["api_key"] = SourcedValue(key.value.fetch(), key.source)
        return cls._of(merged)

    def with_defaults(self, **defaults: Unpack[SettingsArguments]) -> Self:
        """Return a copy with other defaults: they replace values whose source is "default"."""
        settings = copy.copy(self)
        for name, value in defaults.items():
            if self.sources[name] == "default":
                object.__setattr__(settings, name, checked(name, SourcedValue(value, "default")))
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
        Return the settings to check a key before it is stored: those of ``load``, but with this url and no other credential.

        The profile need not exist yet.
        """
        key = Secret.wrap(api_key)
        variables = _relevant_variables(environ)
        environ = None
        for name in ("API_KEY", "API_KEY_FILE", "ACCESS_TOKEN"):
            variables.pop(_PREFIX + name, None)
        present = file.stored(profile, variables, known=NAMES)
        others = {name: value for name, value in present.items() if name in NAMES - _IDENTITY}
        arguments: Layer = {"url": SourcedValue(Secret(url), "argument"), "api_key": SourcedValue(key, "argument")}
        return cls._of(_merged([arguments, _environment_layer(variables), others]))

    @classmethod
    def _of(cls, merged: Layer) -> Self:
        values = cast("SettingsArguments", {name: given.value for name, given in merged.items()})
        return cls(sources={name: given.source for name, given in merged.items()}, **values)


NAMES = frozenset(SettingsArguments.__annotations__)
_IDENTITY = frozenset({"url", "api_key", "access_token"})
_CACHE_VARIABLES = frozenset({"SFJOBS_RESULT_CACHE", "SFJOBS_RESULT_CACHE_BYTES"})


def config_path(environ: Mapping[str, str] | None = None) -> str:
    """Return the path of the configuration file that ``Settings.load`` reads, which need not exist."""
    return str(file.path(_relevant_variables(environ)))


def known_url(profile: str = DEFAULT_PROFILE, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the url of ``SFJOBS_URL``, else of ``profile``, also without a key for it."""
    variables = _relevant_variables(environ)
    given = _environment_layer({name: value for name, value in variables.items() if name == "SFJOBS_URL"})
    given = given or file.stored(profile, variables, known=NAMES)
    return str(checked("url", given["url"])) if "url" in given else None


def known_cache(profile: str | None = None, environ: Mapping[str, str] | None = None) -> tuple[str | None, int]:
    """Return ``result_cache`` (on by default) and ``result_cache_bytes``, also if no platform is configured."""
    variables = _relevant_variables(environ)
    profile = profile or _revealed(variables.get("SFJOBS_PROFILE")) or DEFAULT_PROFILE
    own = _environment_layer({name: value for name, value in variables.items() if name in _CACHE_VARIABLES})
    layer = _merged([own, file.stored(profile, variables, known=NAMES)])
    folder = checked("result_cache", layer.get("result_cache", SourcedValue(True, "default")))
    max_bytes = checked(
        "result_cache_bytes", layer.get("result_cache_bytes", SourcedValue(_DEFAULT_CACHE_BYTES, "default"))
    )
    return cast("tuple[str | None, int]", (folder, max_bytes))


def journal_word(text: str) -> str | None:
    """Return the setting ``journal`` as ``SFJOBS_JOURNAL`` gives it, None where that is empty. Raises ConfigurationError."""
    variable = "environment variable SFJOBS_JOURNAL"
    return str(checked("journal", SourcedValue(Secret(text), variable))) if text.strip() else None


def _revealed(text: Secret | None) -> str | None:
    return None if text is None else text.reveal()


def _relevant_variables(environ: Mapping[str, str] | None) -> dict[str, Secret]:
    prefixes = (_PREFIX, *foreign.VARIABLES)
    return {
        name: Secret(value)
        for name, value in (os.environ if environ is None else environ).items()
        if name.startswith(prefixes) and value.strip()
    }


def _environment_layer(variables: Mapping[str, Secret]) -> Layer:
    known = {_PREFIX + name.upper(): name for name in {*NAMES, "api_key_file"}}
    layer: Layer = {}
    for variable, value in variables.items():
        if not variable.startswith(_PREFIX) or variable in _LOCATION_VARIABLES.values():
            continue
        if variable not in known:
            candidates = [*known, *_LOCATION_VARIABLES.values()]
            raise problem(f"There is no environment variable {variable}", suggestion(variable, candidates))
        layer[known[variable]] = SourcedValue(value, f"environment variable {variable}")
    return file.with_key_from_file(layer)


def _merged(layers: Iterable[Layer]) -> Layer:
    merged: Layer = {}
    for layer in layers:
        for name, given in layer.items():
            merged.setdefault(name, given)
    return merged
