"""The folders of the user, who may have no home, as in a container."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

NOWHERE = Path("/nonexistent").absolute()
"""The home of users without one, as on Debian."""


def home_folder() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        return NOWHERE


def own_folder(find: Callable[..., str]) -> Path | None:
    """Return the folder that ``find``, a function of platformdirs, names; None if the user has no home."""
    try:
        folder = Path(find("sfjobs", appauthor=False))
    except RuntimeError:
        return None
    # Older versions of platformdirs leave ~ as it is.
    return folder if folder.is_absolute() and not folder.is_relative_to(NOWHERE) else None


def expanded(text: str) -> Path:
    """Return a path with the user's home in the place of ``~``; below ``NOWHERE`` if there is no such home."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return NOWHERE.joinpath(*Path(text).parts[1:])


def is_there(path: Path) -> bool:
    """Return whether there is a file or a folder; False where this user may not look, as in the home of another one."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def is_file(path: Path) -> bool:
    """Return whether there is a file; False where this user may not look."""
    return is_there(path) and path.is_file()


def working_folder() -> Path:
    """Return the current folder; ``NOWHERE`` after it was removed."""
    try:
        return Path.cwd()
    except OSError:
        return NOWHERE
