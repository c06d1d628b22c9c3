"""What can be left by ``with``."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closeable:
    """``with`` closes it, however it is left."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
