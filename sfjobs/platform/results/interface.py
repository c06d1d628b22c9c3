"""What a store of results offers to the rest of the platform."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..records import ResultFile

if TYPE_CHECKING:
    import numpy.typing as npt


class ResultStore(Protocol):
    """Results by name. Each attempt at a job writes its own."""

    def write(self, name: str, samples: npt.NDArray[Any]) -> ResultFile:
        """
        Store the samples durably: after a crash the result is complete or absent.

        Raises:
            ValueError: the samples are Python objects, which could only be stored as pickles.
            OSError: the samples could not be written; nothing of them is left.
        """

    def path(self, result: ResultFile) -> Path:
        """Return the file of a stored result."""

    def delete(self, name: str) -> None:
        """Delete the result with this name, complete or not, if it exists. Raises ``OSError``."""

    def reconcile(self, names: Collection[str]) -> None:
        """
        Compare the results with ``names``, those that the jobs have. Called at the start, while no job runs. Other results are
        set aside, never deleted: the jobs may be those of an older backup. Incomplete ones are deleted, missing ones logged.
        Raises ``OSError``.
        """
