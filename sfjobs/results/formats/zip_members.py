"""
The members of a ``.npz`` archive while their bytes arrive: stored ones go into the array's memory as they are, deflated ones
through zlib, a bounded piece at a time. Called by ``npz``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ...errors import ResultCorruptError
from .npy import NpyDecoder

STORED_PIECE_BYTES = 1 << 20
"""The most of a stored member that is taken at once: its CRC-32 takes 0.2 ms."""

INFLATED_PIECE_BYTES = 1 << 18
_DEFLATED_PIECE_BYTES = 1 << 16  # zlib copies what it has not used of a piece, each time


class StoredMember:
    """A member whose bytes are the ``.npy`` file itself."""

    def __init__(self, npy: NpyDecoder) -> None:
        self._npy = npy
        self._room = memoryview(b"")
        self.crc = 0
        self.size = 0

    @property
    def compressed(self) -> int:
        return self.size

    @property
    def left(self) -> int:
        """How much of the array is still to come; 0 before that is known."""
        return self._npy.missing or 0

    @property
    def is_whole(self) -> bool:
        return not self._npy.room()

    def room(self) -> memoryview:
        """Where the next bytes belong. It never reaches beyond the member's end."""
        self._room = self._npy.room()[:STORED_PIECE_BYTES]
        return self._room

    def wrote(self, count: int) -> None:
        self.crc = zlib.crc32(self._room[:count], self.crc)
        self.size += count
        self._npy.wrote(count)

    def take(self, view: memoryview, checkpoint: Callable[[], None]) -> memoryview:
        """Copy what belongs to the member and give back the rest."""
        while view and (room := self.room()):
            count = min(len(room), len(view))
            room[:count] = view[:count]
            self.wrote(count)
            view = view[count:]
            checkpoint()
        return view

    def kept(self) -> tuple[bytes, memoryview]:
        return self._npy.kept()

    def finish(self) -> npt.NDArray[np.generic]:
        return self._npy.finish()


class DeflatedMember:
    """
    A member whose bytes are a raw deflate stream of the ``.npy`` file, ``compressed_bytes`` of them where that is known. The
    stream itself says where it ends.
    """

    def __init__(self, npy: NpyDecoder, *, compressed_bytes: int | None) -> None:
        self._npy = npy
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._compressed_bytes = compressed_bytes
        self.crc = 0
        self.size = 0
        self.compressed = 0

    @property
    def left(self) -> int:
        """How much of the array is still to come; 0 before that is known."""
        return self._npy.missing or 0

    @property
    def is_whole(self) -> bool:
        return self._inflater.eof or self.compressed == self._compressed_bytes

    def take(self, view: memoryview, checkpoint: Callable[[], None]) -> memoryview:
        """Inflate what belongs to the member and give back the rest."""
        while view and not self.is_whole:
            piece = view[:_DEFLATED_PIECE_BYTES]
            if self._compressed_bytes is not None:
                piece = piece[: self._compressed_bytes - self.compressed]
            self._inflate(piece, checkpoint)
            used = len(piece) - len(self._inflater.unused_data)
            self.compressed += used
            view = view[used:]
        return view

    def finish(self) -> npt.NDArray[np.generic]:
        array = self._npy.finish()
        if not self._inflater.eof:
            raise ResultCorruptError("it is damaged: its compressed bytes end too early")
        if self._compressed_bytes not in {None, self.compressed}:
            raise ResultCorruptError("it is damaged: its compressed bytes end before they should")
        return array

    def _inflate(self, piece: memoryview, checkpoint: Callable[[], None]) -> None:
        """Never more than a piece at a time, whatever the stream would unpack to: what the array has no room for is refused."""
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
