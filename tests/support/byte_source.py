"""A response body in memory, read in chunks like a download."""

from __future__ import annotations

from collections.abc import Iterable

import anyio.lowlevel


class ChunkedSource:
    """A ``ByteSource`` of chunks. ``taken`` counts the bytes read. With ``digest`` it can be a resumed one."""

    def __init__(
        self,
        chunks: Iterable[bytes],
        *,
        length: int | None = None,
        digest: bytes | None = None,
        is_resumed: bool = False,
    ) -> None:
        self.length = length
        self.digest = digest
        self.is_resumed = is_resumed
        self.taken = 0
        self._chunks = iter(chunks)
        self._chunk = memoryview(b"")

    async def read_into(self, room: memoryview) -> int:
        assert room, "there is always room"
        await anyio.lowlevel.checkpoint()
        while not self._chunk:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._chunk = memoryview(chunk)
        count = min(len(room), len(self._chunk))
        room[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        self.taken += count
        return count


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))
