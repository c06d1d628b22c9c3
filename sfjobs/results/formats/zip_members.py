"""
Decoders for the members of a ``.npz`` archive: stored bytes go straight into the array's memory, deflated ones through zlib in
steps of bounded size. Called by ``npz``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from ...errors import ResultCorruptError
from .npy import Array, NpyDecoder

STORED_PIECE_BYTES = 1 << 20  # checked at once: its CRC-32 takes 0.2 ms
INFLATED_PIECE_BYTES = 1 << 18
_DEFLATED_PIECE_BYTES = 1 << 16  # zlib copies the unused rest of a piece, each time


class Member:
    """The common part of the two kinds: the array, and its CRC-32 and size so far."""

    def __init__(self, npy: NpyDecoder) -> None:
        self._npy = npy
        self.crc = 0
        self.size = 0

    @property
    def left(self) -> int:
        """How many bytes of the array are missing; 0 until its header is complete."""
        return self._npy.missing or 0

    def content(self) -> tuple[bytes, memoryview]:
        return self._npy.content()

    def finish(self) -> Array:
        return self._npy.finish_array()


class StoredMember(Member):
    """A member whose bytes are the ``.npy`` file itself."""

    def __init__(self, npy: NpyDecoder) -> None:
        super().__init__(npy)
        self._room = memoryview(b"")

    @property
    def compressed(self) -> int:
        return self.size

    @property
    def is_complete(self) -> bool:
        return not self._npy.room()

    def room(self) -> memoryview:
        """Return the memory for the next bytes. It never reaches beyond the member's end."""
        self._room = self._npy.room()[:STORED_PIECE_BYTES]
        return self._room

    def wrote(self, count: int) -> None:
        self.crc = zlib.crc32(self._room[:count], self.crc)
        self.size += count
        self._npy.wrote(count)

    def feed(self, view: memoryview, checkpoint: Callable[[], None]) -> memoryview:
        """Copy the bytes of the member and return the rest."""
        while view and (room := self.room()):
            count = min(len(room), len(view))
            room[:count] = view[:count]
            self.wrote(count)
            view = view[count:]
            checkpoint()
        return view


class DeflatedMember(Member):
    """
    A member whose bytes are a raw deflate stream of the ``.npy`` file; ``compressed_bytes`` is its length where that is known.
    The stream marks its own end.
    """

    def __init__(self, npy: NpyDecoder, *, compressed_bytes: int | None) -> None:
        super().__init__(npy)
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._compressed_bytes = compressed_bytes
        self.compressed = 0

    @property
    def is_complete(self) -> bool:
        return self._inflater.eof or self.compressed == self._compressed_bytes

    def feed(self, view: memoryview, checkpoint: Callable[[], None]) -> memoryview:
        """Inflate the bytes of the member and return the rest."""
        while view and not self.is_complete:
            piece = view[:_DEFLATED_PIECE_BYTES]
            if self._compressed_bytes is not None:
                piece = piece[: self._compressed_bytes - self.compressed]
            self._inflate(piece, checkpoint)
            used = len(piece) - len(self._inflater.unused_data)
            self.compressed += used
            view = view[used:]
        return view

    def finish(self) -> Array:
        array = super().finish()
        if not self._inflater.eof:
            raise ResultCorruptError("it is damaged: its compressed bytes end too early")
        if self._compressed_bytes not in {None, self.compressed}:
            raise ResultCorruptError("it is damaged: its compressed bytes end before they should")
        return array

    def _inflate(self, piece: memoryview, checkpoint: Callable[[], None]) -> None:
        """Inflate in bounded steps, however far the stream would unpack: bytes beyond the array's end are rejected at once."""
        data: bytes | memoryview = piece
        while True:
            try:
                inflated = self._inflater.decompress(data, INFLATED_PIECE_BYTES)
            except zlib.error as error:
                raise ResultCorruptError(f"it is damaged: {error}") from error
            self.crc = zlib.crc32(inflated, self.crc)
            self.size += len(inflated)
            self._npy.feed(inflated)
            checkpoint()
            if len(inflated) < INFLATED_PIECE_BYTES:
                return
            data = self._inflater.unconsumed_tail
