"""What can be left by ``async with``; the blocking twin is ``sync.closing``."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closeable:
    """``async with`` closes it, however it is left."""

    async def aclose(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
