"""The settings of a platform, and its data directory with the lock."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import platformdirs

from ..errors import ConfigurationError
from .execution.process_executor import SIMULATE
from .limits import DEFAULTS, KEEP_ALL, Limits, Retention
from .private_files import make_folder

_STALE_LOCK_TIMEOUT_SECONDS: Final = 5.0
"""For the release of a lock whose holder has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformSettings:
    """
    The settings of a platform.

    ``workers`` is the number of jobs that run at the same time. ``access_token_lifetime`` is in seconds. ``test_targets`` adds
    the devices ``never`` and ``always_fails``. ``runner`` names the function with which workers run jobs, as ``module:name``.

    Raises:
        ConfigurationError: ``workers`` is less than 1.
    """

    data_dir: Path
    workers: int = 1
    test_targets: bool = False
    access_token_lifetime: float = 300.0
    limits: Limits = DEFAULTS
    retention: Retention = KEEP_ALL
    runner: str = SIMULATE

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigurationError(f"workers must be at least 1, not {self.workers}")

    @property
    def database(self) -> Path:
        """The file of jobs, accounts and hashes of keys."""
        return self.data_dir / "platform.sqlite3"

    @property
    def results(self) -> Path:
        """The folder of result files."""
        return self.data_dir / "results"

    @property
    def api_key(self) -> Path:
        """The file with the API key of the first start."""
        return self.data_dir / "api_key"


def default_data_dir() -> Path:
    """
    Return the default data directory of ``sfjobs serve``, in the data directory of this user.

    Raises:
        ConfigurationError: the user has no home, as in a container.
    """
    try:
        folder = Path(platformdirs.user_data_dir("sfjobs"))
    except RuntimeError:
        folder = Path("~")
    # Older versions of platformdirs leave ~ as it is; /nonexistent is the home of users without one.
    if not folder.is_absolute() or folder.is_relative_to("/nonexistent"):
        raise ConfigurationError(
            "The platform has no data directory: this system does not say where your home is.\nName one with --data-dir."
        )
    return folder


@contextlib.contextmanager
def locked_data_dir(settings: PlatformSettings) -> Iterator[None]:
    """
    Create the folders, readable by this user only, and lock them: two platforms on one store would
    both run its jobs. The lock ends with the process, but a moment later if the process was killed while it forked a worker,
    which shares the lock until it has started its own program.

    Raises:
        ConfigurationError: another platform has the lock, or the directory cannot be used.
    """
    try:
        for folder in (settings.data_dir, settings.results):
            make_folder(folder)
        lock = os.fdopen(os.open(settings.data_dir / "lock", os.O_CREAT | os.O_RDWR, 0o600), "r+")
    except OSError as error:
        raise ConfigurationError(f"the data directory {settings.data_dir} cannot be used: {error}") from error
    with lock:
        deadline = time.monotonic() + _STALE_LOCK_TIMEOUT_SECONDS
        while True:
            try:
                _lock(lock)
                break
            except OSError as error:
                lock.seek(0)
                holder = lock.read(20).strip() or "unknown"
                if _may_be_running(holder) or time.monotonic() > deadline:
                    message = f"another platform (process {holder}) uses the data directory {settings.data_dir}"
                    raise ConfigurationError(f"{message}: stop it or choose another directory") from error
                time.sleep(0.01)
        lock.seek(0)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        file.seek(4096)  # beyond the text, since other processes cannot read a locked range on Windows
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

    def _may_be_running(_: str) -> bool:
        return True  # there is no fork
else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _may_be_running(holder: str) -> bool:
        try:
            with contextlib.suppress(PermissionError):  # a process of another user
                os.kill(int(holder), 0)
        except (ValueError, OverflowError, ProcessLookupError):
            return False
        return True
