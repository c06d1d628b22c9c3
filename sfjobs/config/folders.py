"""Where this user's files are, on a system that may not say, as in a container without a home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

NOWHERE = Path("/nonexistent").absolute()
"""The home of users without one, as Debian has it."""


def home_folder() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        return NOWHERE


def own_folder(find: Callable[..., str]) -> Path | None:
    """The folder that one of platformdirs' functions finds; None where nobody knows the user's home."""
    try:
        folder = Path(find("sfjobs", appauthor=False))
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None  # as older versions have it: ~ stays ~
