"""
A minimal decoder that fetches a result without a second copy: the bytes of a ``.npy`` file, or of a ``.npz`` file with one stored
member, go into the array as they arrive. It has none of the checks of a library; the benchmarks of results compare with it.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np

from .fetching import Array

# Larger than the heads of both formats, and smaller than the smallest result.
_HEAD_BYTES = 512


class Placed:
    """A decoder of chunks of the body. With ``checked``, it checks the CRC-32 of a member of an archive."""

    def __init__(self, *, checked: bool) -> None:
        self._checked = checked
        self._head = b""
        self._array: Array = np.empty(0)
        self._room = memoryview(b"")
        self._filled = 0
        self._crc: int | None = None
        self._wanted: int | None = None

    def feed(self, chunk: bytes) -> None:
        if not self._room:
            self._head += chunk
            if len(self._head) < _HEAD_BYTES:
                return
            chunk = self._begin(self._head)
        piece = memoryview(chunk)[: len(self._room) - self._filled]  # the directory of an archive follows
        self._room[self._filled : self._filled + len(piece)] = piece
        self._filled += len(piece)
        if self._crc is not None:
            self._crc = zlib.crc32(piece, self._crc)

    def finish(self) -> Array:
        assert 0 < self._filled == len(self._room)
        assert self._crc == self._wanted
        return self._array

    def _begin(self, head: bytes) -> bytes:
        """Allocate the array from the head, and return the bytes of it that have arrived."""
        start = 0
        if head.startswith(b"PK"):
            crc, name, extra = struct.unpack_from("<14xI8xHH", head)
            start = 30 + name + extra
            if self._checked:
                self._wanted = crc
        file = io.BytesIO(head[start:])
        np.lib.format.read_magic(file)
        shape, is_fortran, kind = np.lib.format.read_array_header_1_0(file)
        self._array = np.empty(shape, kind, order="F" if is_fortran else "C")
        self._room = memoryview(self._array).cast("B")
        if self._checked and start:
            self._crc = zlib.crc32(head[start : start + file.tell()])
        return head[start + file.tell() :]
