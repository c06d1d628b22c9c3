"""The path of the journal, and the error for a journal that cannot be written."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ..config import Settings, own_folder
from ..config.folders import expanded
from ..config.settings import journal_word
from ..errors import JournalError

_OFF = "off"
_ON = "on"
_AUTO = "auto"
_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK_FILE_SYSTEMS = re.compile(r"afs|beegfs|ceph|cifs|fuse\.(ceph|glusterfs|sshfs)|gpfs|lustre|nfs4?|panfs|smb3")


@dataclass(frozen=True, slots=True)
class JournalLocation:
    """The path of a journal."""

    path: Path

    @classmethod
    def of(cls, settings: Settings) -> JournalLocation | None:
        """
        Return the location that the settings choose, or None where the journal is off. Where they choose nothing,
        ``SFJOBS_JOURNAL`` is read now, since ``Settings(...)`` reads no environment.

        Raises:
            JournalError: the user's home folder is unknown.
        """
        word = _word(settings)
        if word == _OFF:
            return None
        if word not in (_ON, _AUTO):
            return cls(expanded(word).absolute())
        folder = own_folder(platformdirs.user_state_dir)
        if folder is None:
            raise JournalError(
                "The journal of submissions has no path: this system does not say where your home is. Nothing was sent.\n"
                "Set SFJOBS_JOURNAL to a path in a writable folder, or to off."
            ) from RuntimeError("no home")
        return cls(folder / "submissions.db")

    @staticmethod
    def is_optional(settings: Settings) -> bool:
        """Whether submissions go on without a journal where none can be written."""
        return _word(settings) == _AUTO

    @property
    def real_path(self) -> Path:
        """The path without symbolic links, as it is now."""
        return Path(os.path.realpath(self.path))

    def is_same(self, other: JournalLocation) -> bool:
        """Whether both are one file, however their paths are spelled. It may not exist yet."""
        if self.path == other.path or self.real_path == other.real_path:
            return True
        with suppress(OSError):
            return self.path.samefile(other.path)
        with suppress(OSError):
            return self.path.name == other.path.name and self.real_path.parent.samefile(other.real_path.parent)
        return False

    def make(self) -> None:
        """Create the folder and an empty file, for this user alone, unless they exist."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))

    @property
    def is_on_a_network(self) -> bool:
        """Whether other machines may have the file open, as far as Linux's mountinfo tells."""
        try:
            device, mounts = self.path.stat().st_dev, _MOUNTS.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        for line in mounts.splitlines():
            mount, _, file_system = line.partition(" - ")
            if f"{os.major(device)}:{os.minor(device)}" in mount.split(" ")[2:3]:
                return _NETWORK_FILE_SYSTEMS.fullmatch(file_system.partition(" ")[0]) is not None
        return False

    def failure(self, error: Exception, consequence: str = "Nothing was sent.") -> JournalError:
        """Return the error for a journal that cannot be written: the reason, the consequence and the remedy."""
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        failure = JournalError(
            f"The journal of submissions cannot be written: {self.path}: {reason}. {consequence}\n{_remedy(error)}"
        )
        failure.__cause__ = error.with_traceback(None)
        return failure


def is_without_a_place(error: JournalError) -> bool:
    """
    Whether this machine has no place for the journal: no home, a read-only folder, a full disk. A journal that another process
    has locked, or a later version has written, has one.
    """
    cause = error.__cause__
    if isinstance(cause, OSError):
        return cause.errno not in (None, errno.EBUSY)
    return isinstance(cause, RuntimeError) or (isinstance(cause, sqlite3.Error) and not _is_locked(cause))


def _word(settings: Settings) -> str:
    """Return ``off``, ``on``, ``auto`` or a path."""
    return settings.journal or journal_word(os.environ.get("SFJOBS_JOURNAL", "")) or _AUTO


def _is_locked(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _remedy(error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return "Make room on that disk, set SFJOBS_JOURNAL to a path on another one, or set it to off."
    is_busy = isinstance(error, OSError) and error.errno == errno.EBUSY
    if is_busy or _is_locked(error):
        return "Another process has locked it for long: find that process, or set SFJOBS_JOURNAL to a path of your own."
    return "Set SFJOBS_JOURNAL to a path in a writable folder, or to off."
