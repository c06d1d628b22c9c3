"""The result of one job as it arrives, blocking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

from ._iteration import iterate
from ._view import Closeable, View

if TYPE_CHECKING:
    from ..results import Array, Result
    from ..results import ResultStream as AsyncResultStream

_AsyncResultStream: TypeAlias = "AsyncResultStream"  # not imported at run time: that would load numpy


class ResultStream(Closeable, View[_AsyncResultStream]):
    """The download of a result, open for the time of its ``with`` block."""

    def __enter__(self) -> Self:
        self._portal.call(self._async.__aenter__)
        return self

    def close(self) -> None:
        """End the download. Safe to call twice."""
        self._portal.call(self._async.aclose)

    @property
    def length(self) -> int | None:
        """Bytes of the whole body; None if the platform did not declare them."""
        return self._async.length

    def result(self) -> Result:
        """Return the whole result, in memory."""
        return self._portal.call(self._async.result)

    def array(self) -> Array:
        """Return ``result().raw``, of shape (shots, modes) or (shots, spatial modes, timebins)."""
        return self._portal.call(self._async.array)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the body to a file as the platform sends it, and return the path."""
        return self._portal.call(self._async.save, path)

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over chunks of 1 MiB; the last may be shorter. A cancelled step loses no bytes and can be repeated."""
        return iterate(self._portal, aiter(self._async))
