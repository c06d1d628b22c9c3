"""
Reads the configuration file, TOML. The keys at the top level are the default profile; each table ``[profiles.NAME]`` is another
profile. It inherits nothing from the top level, so that no key reaches another profile's host:

    url = "https://platform.example"
    api_key_file = "key"                # or api_key = "..."; a relative path is relative to this file's folder

    [profiles.lab]
    url = "http://10.0.0.7:8080"
    api_key_keyring = true              # the key is in the system's keyring; `sfjobs login --keyring` stores it there

The file is ``$SFJOBS_CONFIG``, else ``config.toml`` in the folder ``sfjobs`` of the user's configuration folder.
"""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import platformdirs

from .folders import NOWHERE, expanded, is_there, own_folder
from .keys import KeyringEntry
from .secret import Secret
from .values import Layer, SourcedValue, checked, conceal, problem, suggestion

logger = logging.getLogger("sfjobs")

DEFAULT_PROFILE = "default"
_KEY_REFERENCES = ("api_key_file", "api_key_keyring")  # written in place of ``api_key``
_MAX_FILE_BYTES = 256 * 1024  # a larger file is not a configuration


def path(variables: Mapping[str, Secret]) -> Path:
    """Return the path of the file, which need not exist."""
    named = variables.get("SFJOBS_CONFIG")
    if named is not None:
        return expanded(named.reveal())
    return (own_folder(platformdirs.user_config_dir) or NOWHERE) / "config.toml"


def load(profile: str | None, variables: Mapping[str, Secret], *, known: Iterable[str]) -> Layer:
    """Return the values of ``profile``, else of ``$SFJOBS_PROFILE``, else of the default profile."""
    file = path(variables)
    named_by = "argument"
    if profile is None and "SFJOBS_PROFILE" in variables:
        profile, named_by = variables["SFJOBS_PROFILE"].reveal(), "environment variable SFJOBS_PROFILE"
    if not is_there(file):
        if "SFJOBS_CONFIG" in variables:
            raise problem(
                f"There is no file {file} (from environment variable SFJOBS_CONFIG)", "Write it, or unset the variable"
            )
        if profile not in {None, DEFAULT_PROFILE}:
            raise problem(
                f"There is no profile {profile!r} (from {named_by}): there is no file {file}", "Write the file"
            )
        return {}
    profiles = _profiles(file, known)
    name = profile or DEFAULT_PROFILE
    if name not in profiles:
        raise problem(f"{file} has no profile {name!r} (from {named_by})", f"It has {', '.join(sorted(profiles))}")
    _warn_if_open(file, profiles)
    layer = {key: SourcedValue(value, _source(file, name)) for key, value in profiles[name].items()}
    return _with_key_from_keyring(with_key_from_file(layer, folder=file.parent), name)


def stored(profile: str, variables: Mapping[str, Secret], *, known: Iterable[str]) -> Layer:
    """Return the values of ``profile`` without fetching a key; none if the profile or the file does not exist."""
    file = path(variables)
    if not is_there(file):
        return {}
    return {key: SourcedValue(value, str(file)) for key, value in _profiles(file, known).get(profile, {}).items()}


def read(file: Path, *, what: str) -> Secret:
    """Return the text of a small file. Raises ConfigurationError if it cannot be read; ``what`` says what the file is."""
    text, reason = _try_to_read(file)
    if text is None:
        raise problem(f"{file} ({what}) cannot be read: {reason}", "Check the file, or name another one")
    return text


def _try_to_read(file: Path) -> tuple[Secret | None, str]:
    # Errors are returned as words: an exception would carry the bytes in its attributes.
    try:
        with file.open("rb") as stream:
            content = Secret(stream.read(_MAX_FILE_BYTES + 1).decode("latin-1"))
    except OSError as error:
        return None, error.strerror or type(error).__name__
    if len(content.reveal()) > _MAX_FILE_BYTES:
        return None, f"it is larger than {_MAX_FILE_BYTES // 1024} KiB"
    try:
        return Secret(content.reveal().encode("latin-1").decode("utf-8-sig")), ""
    except UnicodeDecodeError as error:
        return None, f"it is not UTF-8 at byte {error.start}"


def with_key_from_file(layer: Layer, *, folder: Path | None = None) -> Layer:
    """Replace ``api_key_file`` by the ``api_key`` in that file."""
    named = layer.get("api_key_file")
    if named is None:
        return layer
    if "api_key" in layer:
        raise problem(f"Both api_key and api_key_file are set (from {named.source})", "Keep one of them")
    if not isinstance(named.value, Secret) or not named.value.reveal().strip():
        raise problem(
            f"The setting api_key_file (from {named.source}) is not a path", "Write the path of a file in quotes"
        )
    file = (folder or Path()) / expanded(named.value.reveal().strip())
    key = read(file, what=f"api_key_file from {named.source}")
    _warn_if_open(file, {"": {"api_key": key}})
    rest = {name: given for name, given in layer.items() if name != "api_key_file"}
    return {**rest, "api_key": SourcedValue(key, f"{file} (named by {named.source})")}


def _with_key_from_keyring(layer: Layer, profile: str) -> Layer:
    """Replace ``api_key_keyring`` by an ``api_key`` that is a ``KeyringEntry``."""
    named = layer.get("api_key_keyring")
    if named is None:
        return layer
    if not isinstance(named.value, bool):
        raise problem(f"The setting api_key_keyring (from {named.source}) is not true or false", "Write true or false")
    rest = {name: given for name, given in layer.items() if name != "api_key_keyring"}
    if not named.value:
        return rest
    if "api_key" in rest:
        raise problem(f"Both api_key and api_key_keyring are set (from {named.source})", "Keep one of them")
    if "url" not in rest:
        raise problem(
            f"api_key_keyring (from {named.source}) needs a url beside it", "Write the url that the key is for"
        )
    entry = KeyringEntry(url=str(checked("url", rest["url"])), profile=profile)
    return {**rest, "api_key": SourcedValue(entry, f"the keyring (named by {named.source})")}


def parse_toml(text: Secret) -> tuple[dict[str, object], str]:
    """Return the document, with every text as a ``Secret``, and what is wrong with it; one of the two is empty."""
    try:
        document: dict[str, object] = tomllib.loads(text.reveal())
    except (ValueError, RecursionError) as error:
        return {}, str(error) or "it is nested too deeply"
    conceal(document)
    return document, ""


def parsed(file: Path, text: Secret) -> dict[str, object]:
    """Return the document in ``text``, the content of ``file``. Raises ConfigurationError."""
    document, reason = parse_toml(text)
    if reason:
        raise problem(f"{file} is not TOML: {reason}", 'Correct it; texts are in quotes, as in url = "https://host"')
    return document


def _profiles(file: Path, settings: Iterable[str]) -> dict[str, dict[str, object]]:
    known = {*settings, *_KEY_REFERENCES}
    document = parsed(file, read(file, what="the configuration of sfjobs"))
    named = document.pop("profiles", {})
    if not isinstance(named, dict) or not all(isinstance(table, dict) for table in named.values()):
        raise problem(f"profiles in {file} is not a table of tables", "Begin each profile with [profiles.NAME]")
    if DEFAULT_PROFILE in named:
        raise problem(
            f"{file} has [profiles.{DEFAULT_PROFILE}], but the default profile is the top level",
            "Move its keys to the top of the file, or give it another name",
        )
    profiles: dict[str, dict[str, object]] = {DEFAULT_PROFILE: document, **named}
    for name, table in profiles.items():
        for key in table:
            if key not in known:
                candidates = {*known, "profiles"} if name == DEFAULT_PROFILE else known
                raise problem(
                    f"There is no setting {key[:80]!r} (in {_source(file, name)})", suggestion(key, candidates)
                )
    return profiles


def _source(file: Path, profile: str) -> str:
    return str(file) if profile == DEFAULT_PROFILE else f"{file} [{profile}]"


def _warn_if_open(file: Path, profiles: Mapping[str, Mapping[str, object]]) -> None:
    holds_a_secret = any({"api_key", "access_token"} & table.keys() for table in profiles.values())
    if holds_a_secret and os.name == "posix" and file.stat().st_mode & 0o077:
        logger.warning("%s holds a key and others can read it: chmod 600 %s", file, file)
