"""Folders that only this user may open (0700) and files that only this user may read (0600), new ones and old ones."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_log = logging.getLogger(__name__)


def make_folder(folder: Path) -> None:
    """Create a folder for this user only. The mode of one that exists is set by ``make_private``."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def create_private(path: str, flags: int) -> int:
    """Open a file, and create it for this user only: an ``opener`` of ``open``."""
    return os.open(path, flags, 0o600)


def make_private(*folders: Path) -> None:
    """
    Take all rights of other users on existing folders and the files in them, which an earlier version or a copied backup may have
    left. What belongs to another user stays as it is, with a warning.
    """
    if os.name == "nt":  # modes mean nothing there
        return
    for folder in folders:
        _restrict(folder, folder.lstat())
        for entry in _files(folder):
            _restrict(Path(entry.path), entry.stat(follow_symlinks=False))


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if entry.is_file(follow_symlinks=False))


def _restrict(path: Path, status: os.stat_result) -> None:
    if not status.st_mode & 0o077:
        return
    try:
        path.chmod(stat.S_IMODE(status.st_mode) & 0o700)
    except FileNotFoundError:
        return  # SQLite removes its files beside the database
    except OSError as error:
        _log.warning("other users may read %s, since its mode cannot be changed: %s", path, error)
