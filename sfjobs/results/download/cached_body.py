"""
Bodies to and from the cache, without blocking the event loop: a download that is also written to the cache, and a body that is
read from it. Called by ``fetcher``.
"""

from __future__ import annotations

import anyio
import anyio.from_thread

from ..._http.download import Download
from ..._util.aio import in_thread, plain_task_group
from .cache import CachedBody, CacheWriter, ResultCache

_PIECE_BYTES = 1 << 20
_READ_BYTES = 8 << 20


class WriteThroughSource:
    """A download that is written to the cache while it is read."""

    def __init__(self, download: Download, writer: CacheWriter) -> None:
        self._download = download
        self._writer = writer
        self._unwritten = bytearray()

    @property
    def length(self) -> int | None:
        return self._download.length

    @property
    def digest(self) -> bytes | None:
        return self._download.digest

    @property
    def is_resumed(self) -> bool:
        return self._download.is_resumed

    async def read_into(self, room: memoryview) -> int:
        count = await self._download.read_into(room)
        if not self._writer.is_over:
            self._unwritten += room[:count]
            if len(self._unwritten) >= _PIECE_BYTES:
                piece, self._unwritten = self._unwritten, bytearray()
                await in_thread(self._writer.write, piece)
        return count

    async def complete(self) -> None:
        """Add the body to the cache, after it was decoded without an error."""
        if not self._writer.is_over:
            await in_thread(self._writer.complete, self._unwritten)

    async def aclose(self) -> None:
        """Delete an incomplete body."""
        if not self._writer.is_over:
            with anyio.CancelScope(shield=True):
                await in_thread(self._writer.discard)


async def find(cache: ResultCache, key: str) -> CachedBody | None:
    """Call ``cache.find`` in a thread. A cancelled caller does not wait until gigabytes are hashed, and leaves no file open."""
    found: list[CachedBody | None] = []
    try:
        # In a task, whose thread ends with it: asyncio's own cancellation would leave the thread running.
        async with plain_task_group() as group:
            group.start_soon(in_thread, lambda: found.append(cache.find(key, anyio.from_thread.check_cancelled)))
    except BaseException:
        for body in found:
            if body is not None:
                body.file.close()
        raise
    return found[0]


class CachedSource:
    """A body that is read from the cache."""

    def __init__(self, body: CachedBody) -> None:
        self.length = body.entry.size
        self.file = body.file

    async def read_into(self, room: memoryview) -> int:
        return await in_thread(self.file.readinto, room[:_READ_BYTES])
