"""Results as files in a folder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..records import ResultFile

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """A ``ResultStore`` in an existing folder. Subfolders, such as ``lost+found`` of a disk, are left alone."""

    folder: Path

    def write(self, name: str, samples: npt.NDArray[Any]) -> ResultFile:
        from .npz_file import write_npz  # loads numpy, which only workers need

        return write_npz(self.folder / name, samples)

    def path(self, result: ResultFile) -> Path:
        return self.folder / result.name

    def delete(self, name: str) -> None:
        for path in self.folder.glob(f"{name}*"):
            path.unlink()

    def delete_all_but(self, names: Collection[str]) -> None:
        for path in self.folder.iterdir():
            if path.name not in names and path.is_file():
                path.unlink()
