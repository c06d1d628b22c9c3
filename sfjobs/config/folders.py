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
    return folder if folder.is_absolute() else None  # older versions leave ~ as it is
