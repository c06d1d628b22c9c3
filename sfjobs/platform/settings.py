"""What can be chosen about a platform, and the folder it keeps everything in."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import platformdirs

from ..errors import ConfigurationError
from .execution.process_executor import SIMULATE
from .limits import DEFAULTS, Limits

_PATIENCE_WITH_THE_DEAD: Final = 5.0
"""Seconds that a lock is waited for whose holder has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformSettings:
    """
    ``workers`` jobs run at the same time. ``limits`` say how much a request, an account and a job may take.
    ``access_token_lifetime`` is in seconds. ``test_targets`` adds the devices ``never`` and ``always_fails``. ``runner`` names
    the function that workers run jobs with.
    """

    data_dir: Path
    workers: int = 1
    test_targets: bool = False
    access_token_lifetime: float = 300.0
    limits: Limits = DEFAULTS
    runner: str = SIMULATE

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigurationError(f"workers must be at least 1, not {self.workers}")

    @property
    def database(self) -> Path:
        """Jobs, accounts, hashes of keys."""
        return self.data_dir / "platform.sqlite3"

    @property
    def results(self) -> Path:
        """The folder of result files."""
        return self.data_dir / "results"

    @property
    def api_key(self) -> Path:
        """The file with the API key that was made at first start."""
        return self.data_dir / "api_key"


def default_data_dir() -> Path:
    """Where ``sfjobs serve`` keeps its data if nothing else is said: this user's data directory."""
    return Path(platformdirs.user_data_dir("sfjobs"))


def make_folder(folder: Path) -> None:
    """A folder for this user only, if it is not there yet."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextmanager
def locked_data_dir(settings: PlatformSettings) -> Iterator[None]:
    """
    Make the folders, readable by this user only, and hold them for this process: two platforms on one store would both run
    its jobs. The lock ends with the process, however that ends, though a moment later if it was killed just when it forked a
    worker: that has a share in the lock until it is a program of its own. Raises ``ConfigurationError`` if another has it.
    """
    try:
        for folder in (settings.data_dir, settings.results):
            make_folder(folder)
        lock = os.fdopen(os.open(settings.data_dir / "lock", os.O_CREAT | os.O_RDWR, 0o600), "r+")
    except OSError as error:
        raise ConfigurationError(f"the data directory {settings.data_dir} cannot be used: {error}") from error
    with lock:
        patience = time.monotonic() + _PATIENCE_WITH_THE_DEAD
        while True:
            try:
                _lock(lock)
                break
            except OSError as error:
                lock.seek(0)
                holder = lock.read(20).strip() or "unknown"
                if _may_live(holder) or time.monotonic() > patience:
                    message = f"another platform (process {holder}) uses the data directory {settings.data_dir}"
                    raise ConfigurationError(f"{message}: stop it or take another") from error
                time.sleep(0.01)
        lock.seek(0)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        file.seek(4096)  # beyond the text: a locked range cannot be read by others on Windows
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

    def _may_live(_: str) -> bool:
        return True  # there is no fork
else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _may_live(holder: str) -> bool:
        try:
            os.kill(int(holder), 0)
        except (ValueError, OverflowError, ProcessLookupError):
            return False
        except PermissionError:  # it is somebody else's
            return True
        return True
