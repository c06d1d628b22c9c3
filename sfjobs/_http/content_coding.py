"""
Bodies that a server or proxy compressed although ``identity`` was requested (RFC 9110, 8.4): decoded in bounded pieces, so that
a small body cannot fill the memory. ``adapter`` reads them like any others.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NoReturn, Protocol

PIECE_BYTES = 64 * 1024
"""Limit of one decoded piece."""

_FED_BYTES = 4 * 1024
"""Decoded at a time: zlib copies what it has no room for, again and again where little becomes much."""

ABOUT_THE_CODED_BODY = frozenset(
    {"content-length", "content-encoding", "accept-ranges", "repr-digest", "content-digest"}
)
"""Headers that say nothing of a decoded body: it has another length and digest, and no part of it can be requested."""

_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class Body(Protocol):
    async def read(self) -> bytes: ...

    async def read_into(self, buffer: memoryview) -> int: ...

    async def aclose(self) -> None: ...


def codings(header: str | None) -> list[str]:
    """Return the codings of a ``Content-Encoding``, in lower case and without ``identity``."""
    words = [word.strip().lower() for word in (header or "").split(",")]
    return [word for word in words if word not in ("", "identity")]


def can_decode(names: list[str]) -> bool:
    return len(names) == 1 and names[0] in _WINDOW_BITS


class PieceBody:
    """A body that is received in pieces of any size."""

    _rest = memoryview(b"")

    async def read(self) -> bytes:
        """Return the next piece, ``b""`` at the end."""
        raise NotImplementedError

    async def read_into(self, buffer: memoryview) -> int:
        """Read into the start of ``buffer``. Returns the number of bytes, 0 at the end."""
        if not self._rest:
            self._rest = memoryview(await self.read())
        count = min(len(self._rest), len(buffer))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class DecodedBody(PieceBody):
    """
    A body without its coding. ``reject`` raises the error of one that cannot be decoded. A cancelled ``read`` loses no bytes
    where one of ``body`` does not.
    """

    def __init__(self, body: Body, coding: str, reject: Callable[[str], NoReturn]) -> None:
        self._body = body
        self._coding = coding
        self._reject = reject
        self._inflater: zlib._Decompress | None = None
        self._waiting = memoryview(b"")  # received, and not decoded yet
        self._has_ended = False

    async def read(self) -> bytes:
        """Return the next decoded bytes, ``b""`` at the end."""
        while True:
            if piece := self._decoded():
                return piece
            if self._has_ended:
                if self._inflater is not None and not self._inflater.eof:
                    self._reject(f"its {self._coding} body ends too early")
                return b""
            received = await self._body.read()
            self._waiting = memoryview(bytes(self._waiting) + received)
            self._has_ended = not received

    async def aclose(self) -> None:
        await self._body.aclose()

    def _decoded(self) -> bytes:
        while self._waiting:
            if (self._inflater is None or self._inflater.eof) and not self._begin():
                return b""
            assert self._inflater is not None
            fed = self._waiting[:_FED_BYTES]
            piece = self._inflated(fed)
            left = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            self._waiting = self._waiting[len(fed) - len(left) :]
            if piece:
                return piece
        return b"" if self._inflater is None or self._inflater.eof else self._inflated(b"")

    def _inflated(self, data: memoryview | bytes) -> bytes:
        assert self._inflater is not None
        try:
            return self._inflater.decompress(data, PIECE_BYTES)
        except zlib.error:
            self._reject(f"its {self._coding} body is damaged")

    def _begin(self) -> bool:
        """Begin with a member of gzip, of which a body may have several. Returns whether there are enough bytes to begin."""
        bits = _WINDOW_BITS[self._coding]
        if self._inflater is not None:
            self._waiting = memoryview(bytes(self._waiting).lstrip(b"\0"))  # padding, as of tapes
        if not self._waiting or (self._coding == "deflate" and len(self._waiting) < 2 and not self._has_ended):
            return False
        if self._coding == "deflate" and not _has_zlib_header(self._waiting):
            bits = -zlib.MAX_WBITS  # many servers send deflate without the header of zlib that RFC 9110 requires
        self._inflater = zlib.decompressobj(bits)
        return True


def _has_zlib_header(start: memoryview) -> bool:
    return len(start) >= 2 and start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0
