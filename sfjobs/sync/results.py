"""The result of one job as it comes, blocking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ._closeable import Closeable
from ._iteration import each

if TYPE_CHECKING:
    from ..results import Array, Result
    from ..results import ResultStream as AsyncResultStream
    from .connection import Connection


class ResultStream(Closeable):
    """The result of a job on its way, between ``with`` and the end of its block."""

    def __init__(self, connection: Connection, stream: AsyncResultStream) -> None:
        self._connection = connection
        self._async = stream

    def __enter__(self) -> Self:
        self._connection.call(self._async.__aenter__)
        return self

    def close(self) -> None:
        """Ends the download. Safe to call twice."""
        self._connection.call(self._async.aclose)

    @property
    def length(self) -> int | None:
        """Bytes of the whole body, None where the platform does not say."""
        return self._async.length

    def result(self) -> Result:
        """The whole result, in memory."""
        return self._connection.call(self._async.result)

    def array(self) -> Array:
        """The samples, as ``result().samples``: of shape (shots, modes), or (shots, spatial modes, timebins)."""
        return self._connection.call(self._async.array)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the result to a file as the platform sends it, and returns the file's path."""
        return self._connection.call(self._async.save, path)

    def __iter__(self) -> Iterator[bytes]:
        """Chunks of a MiB; the last may be shorter. A step that was cancelled has lost nothing, and may be made again."""
        return each(self._connection, aiter(self._async))

    def __repr__(self) -> str:
        return repr(self._async)
