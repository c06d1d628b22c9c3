"""What takes the body of an answer off the wire; the transport hands it to whoever wants the bytes in memory of their own."""

from __future__ import annotations

from typing import Protocol


class ByteSource(Protocol):
    """The bytes of one body, into memory that the reader chooses."""

    @property
    def length(self) -> int | None:
        """Bytes of the whole body, where that was declared."""
        ...

    async def read_into(self, room: memoryview) -> int:
        """Fills some of ``room``, which is never empty, and says how much; 0 at the end of the body, and from then on."""
        ...
