"""Results as files in a folder."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..records import ResultFile

if TYPE_CHECKING:
    import numpy.typing as npt

SET_ASIDE: Final = "set-aside"
"""The folder, in the folder of results, with a folder for each start that found results of no job."""

_RESULT: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9]+\.npz")
_UNFINISHED: Final = ".part"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """A ``ResultStore`` in an existing folder. Other files, and subfolders such as ``lost+found`` of a disk, are left alone."""

    folder: Path

    def write(self, name: str, samples: npt.NDArray[Any]) -> ResultFile:
        from .npz_file import write_npz  # loads numpy, which only workers need

        return write_npz(self.folder / name, samples)

    def path(self, result: ResultFile) -> Path:
        return self.folder / result.name

    def delete(self, name: str) -> None:
        for path in (self.folder / name, self.folder / f"{name}{_UNFINISHED}"):
            path.unlink(missing_ok=True)

    def reconcile(self, names: Collection[str]) -> None:
        with os.scandir(self.folder) as entries:
            found = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
        for name in found:
            if name.endswith(_UNFINISHED) and _RESULT.fullmatch(name.removesuffix(_UNFINISHED)):
                (self.folder / name).unlink()
        self._set_aside({name for name in found if _RESULT.fullmatch(name)}.difference(names))
        missing = set(names) - found
        if missing:
            self._bring_back(missing)
        if missing:
            what = f"the results of {len(missing)} complete jobs are not in {self.folder}, such as {min(missing)}"
            _log.error("%s: requests for them get 410. Restore the folder from the time of the database.", what)

    def _set_aside(self, unknown: Collection[str]) -> None:
        if not unknown:
            return
        aside = self.folder / SET_ASIDE / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        for folder in (aside.parent, aside):
            folder.mkdir(mode=0o700, exist_ok=True)
        for name in unknown:
            (self.folder / name).rename(aside / name)
        what = f"{len(unknown)} results that no job in the database has were moved to {aside}"
        _log.warning("%s. A restored database or a crash can leave them; delete the folder if it is not needed.", what)

    def _bring_back(self, missing: set[str]) -> None:
        """Take back the results that an earlier start has set aside, and remove them from ``missing``."""
        aside = self.folder / SET_ASIDE
        for folder in sorted(aside.iterdir(), reverse=True) if aside.is_dir() else []:
            for name in [name for name in missing if (folder / name).is_file()]:
                (folder / name).rename(self.folder / name)
                missing.remove(name)
                _log.warning("the result %s was set aside, and is one of a job again: moved back", name)
