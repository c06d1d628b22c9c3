"""Where the journal is, and what to say when it cannot be there."""

from __future__ import annotations

import errno
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ..config import Settings, own_folder
from ..errors import JournalError

_OFF = "off"
_ON = "on"
_MOUNTS = Path("/proc/self/mountinfo")
_NETWORKS = frozenset(
    {
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.sshfs",
        "gpfs",
        "lustre",
        "nfs",
        "nfs4",
        "panfs",
        "smb3",
    }
)


@dataclass(frozen=True, slots=True)
class JournalLocation:
    """The file of a journal."""

    path: Path

    @classmethod
    def of(cls, settings: Settings) -> JournalLocation | None:
        """
        Where the settings have the journal; None where there is to be none. What they leave open is looked up now, in
        ``SFJOBS_JOURNAL``, since ``Settings(...)`` reads nothing by itself. Raises JournalError where nobody knows the user's
        home.
        """
        word = settings.journal or os.environ.get("SFJOBS_JOURNAL", "").strip() or _ON
        if word == _OFF:
            return None
        if word != _ON:
            return cls(Path(word).expanduser().absolute())
        folder = own_folder(platformdirs.user_state_dir)
        if folder is None:
            raise JournalError(
                "The journal of submissions has no place: this system does not say where your home is. Nothing was sent.\n"
                "Set SFJOBS_JOURNAL to a path in a folder that can be written, or to off to go without."
            )
        return cls(folder / "submissions.db")

    def make(self) -> None:
        """The folder, for this user alone, and an empty file of the same kind; both stay as they are where they exist."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))

    @property
    def is_on_a_network(self) -> bool:
        """Whether other machines may have the file open, too; as far as this system says."""
        try:
            device, mounts = self.path.stat().st_dev, _MOUNTS.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        return file_system(f"{os.major(device)}:{os.minor(device)}", mounts) in _NETWORKS

    def failure(self, error: Exception, consequence: str = "Nothing was sent.") -> JournalError:
        """The error for a journal that cannot be used: what is wrong, what comes of it, and what to do."""
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return JournalError(
            f"The journal of submissions cannot be written: {self.path}: {reason}. {consequence}\n{_remedy(error)}"
        )


def file_system(device: str, mounts: str) -> str | None:
    """What kind is on this device, as in 0:42, by the lines of Linux's mountinfo."""
    for line in mounts.splitlines():
        place, _, kind = line.partition(" - ")
        if device in place.split(" ")[2:3]:
            return kind.partition(" ")[0]
    return None


def _remedy(error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return "Make room on that disk, or set SFJOBS_JOURNAL to a path on another one, or to off to go without."
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "Another process holds it for long: look for that one, or set SFJOBS_JOURNAL to a path of your own."
    return "Set SFJOBS_JOURNAL to a path in a folder that can be written, or to off to go without."
