"""
The cache's side of a body on its way: one that is written down while somebody else takes it, and one that comes from there. The
event loop waits for no disk. Called by ``fetching``.
"""

from __future__ import annotations

import anyio
import anyio.from_thread
import anyio.to_thread

from ..._http.download import Download
from ..._util.aio import plain_task_group
from .cache import Kept, Recording, ResultCache

_PIECE_BYTES = 1 << 20
_READ_BYTES = 8 << 20


class RecordedSource:
    """A download that is recorded while it is taken."""

    def __init__(self, download: Download, recording: Recording) -> None:
        self._download = download
        self._recording = recording
        self._waiting = bytearray()

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
        if not self._recording.is_over:
            self._waiting += room[:count]
            if len(self._waiting) >= _PIECE_BYTES:
                waiting, self._waiting = self._waiting, bytearray()
                await anyio.to_thread.run_sync(self._recording.write, waiting)
        return count

    async def complete(self) -> None:
        """After the body has turned out to be a result."""
        if not self._recording.is_over:
            await anyio.to_thread.run_sync(self._recording.complete, self._waiting)

    async def aclose(self) -> None:
        """Leaves nothing that is not complete."""
        if not self._recording.is_over:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._recording.discard)


async def find(cache: ResultCache, name: str) -> Kept | None:
    """As ``cache.find``. Whoever is cancelled does not wait until gigabytes are hashed, and leaves no file open."""
    found: list[Kept | None] = []
    try:
        # In a task, whose thread ends with it: asyncio's own cancelling would leave one behind.
        async with plain_task_group() as group:
            group.start_soon(
                anyio.to_thread.run_sync, lambda: found.append(cache.find(name, anyio.from_thread.check_cancelled))
            )
    except BaseException:
        for kept in found:
            if kept is not None:
                kept.file.close()
        raise
    return found[0]


class KeptSource:
    """A body from the cache."""

    def __init__(self, kept: Kept) -> None:
        self.length = kept.entry.size
        self.file = kept.file

    async def read_into(self, room: memoryview) -> int:
        return await anyio.to_thread.run_sync(self.file.readinto, room[:_READ_BYTES])
