"""
Writes one profile into the configuration file and leaves the rest, including comments, unchanged. The outcome is parsed and
compared with the expected values; if they differ, as with unusual spellings of tables, the whole file is written from its values.
It appears complete or not at all, and only the user can read it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias

from .._util.atomic_file import AtomicFile
from . import file
from .folders import is_there
from .secret import Secret
from .values import problem

Value: TypeAlias = str | int | float | bool | Secret


def store_profile(
    path: str | os.PathLike[str], profile: str, values: Mapping[str, Value], *, without: Iterable[str] = ()
) -> None:
    """
    Write ``values`` into ``profile`` of the file at ``path``, and remove the keys ``without`` from it.

    The file and its folder are created if they do not exist. Needs the extra ``cli``.

    Raises:
        ConfigurationError: the file is not TOML or cannot be written.
    """
    import tomlkit

    # A symbolic link stays one: some users link to settings that they keep elsewhere.
    target = Path(os.path.realpath(path))
    text = file.read(target, what="the configuration of sfjobs") if is_there(target) else Secret("")
    expected = file.parsed(target, text)
    removed = set(without) - values.keys()
    wrapped = {name: Secret(value) if isinstance(value, str) else value for name, value in values.items()}
    table = _table(expected, profile)
    if not isinstance(table, dict):
        raise problem(f"The profile {profile!r} is not a table", "Write it as a table below [profiles]")
    table.update(wrapped)
    for key in removed & table.keys():
        del table[key]
    # What the standard library has read loses its comments, but not its values.
    for parse in (tomlkit.parse, tomllib.loads):
        edited = _edited(parse, text, profile, wrapped, removed)
        if file.parse_toml(edited) == (expected, ""):
            break
    else:
        raise problem(f"{target} holds values that sfjobs cannot write", "Write url and api_key into it by hand")
    failure = _try_to_write(target, edited)
    if failure:
        raise problem(f"{target} cannot be written: {failure}", "Set SFJOBS_CONFIG to a writable file")


def _edited(
    parse: Callable[[str], dict[str, Any]], text: Secret, profile: str, values: Mapping[str, object], removed: set[str]
) -> Secret:
    """Return the text with the values of the profile replaced, removed and added; empty if tomlkit cannot do that."""
    import tomlkit

    try:
        document = parse(f"{text.reveal()}\n" if text.reveal()[-1:] not in {"", "\n"} else text.reveal())
        table = _table(document, profile)
        body = table.value.body if isinstance(table, tomlkit.items.Table) else getattr(table, "body", [])
        # Behind the last key: tomlkit would add keys below a comment that belongs to the next table.
        end = max((i for i, (key, item) in enumerate(body, 1) if key and not isinstance(item, (dict, list))), default=0)
        added: list[tuple[Any, Any]] = []
        for key, value in values.items():
            plain = value.reveal() if isinstance(value, Secret) else value
            if key in table or not hasattr(document, "body") or isinstance(table, tomlkit.items.InlineTable):
                table[key] = plain
            else:
                added.append((tomlkit.key(key), tomlkit.item(plain)))
        if added and body[end:] and (body[end][0] or body[end][1].as_string().strip()):
            added.append((None, tomlkit.nl()))
        body[end:end] = added
        for key in removed & table.keys():
            del table[key]
        return Secret(tomlkit.dumps(document))
    except Exception:  # noqa: BLE001 - an error of tomlkit would quote the key, and its frames hold it
        return Secret("")


def _table(document: MutableMapping[str, Any], profile: str) -> Any:
    """Return the table of the profile, created if it is missing."""
    if profile == file.DEFAULT_PROFILE:
        return document
    profiles = document.setdefault("profiles", {})
    return profiles.setdefault(profile, {}) if isinstance(profiles, dict) else None


def _try_to_write(target: Path, text: Secret) -> str:
    """Return why the file could not be written; empty on success."""
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with AtomicFile(target, mode=0o600) as file:
            # Encoded in this expression: a variable with the text would show in a traceback's locals.
            file.use(lambda stream: stream.write(text.reveal().encode()))
            file.commit()
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""
