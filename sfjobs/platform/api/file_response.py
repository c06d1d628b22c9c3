"""
Bytes of a file as an answer: the whole, or the range that was asked for, with what a client needs to go on after a break and
to check what it has (``ETag``, RFC 9110; ``Repr-Digest``, RFC 9530). Never held as a whole.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import ApiError
from .abort import abort_of
from .byte_ranges import UnsatisfiableRangeError, is_known, requested_range
from .responses import until_disconnected

PIECE: Final = 256 << 10
"""
Bytes read and sent at a time. A reader, however slow, makes the platform hold two: one is read when no more than 64 KiB of
the one before are left. Larger ones are no faster (over the loopback 4.4 GB/s; of 512 KiB 4.1, of 1 MiB 3.5).
"""

PATIENCE = 60.0
"""Seconds in which a reader must have taken one piece; then it is dropped. It may come back for the rest."""

_TURN: Final = 4 * PIECE  # then others have theirs, even where a server can send at once and never waits
_NO_WAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)  # Linux
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """
    ``size`` bytes from ``offset`` on of a file of ``file_size`` bytes, which are a document by themselves: their SHA-256, in
    hexadecimal, and their media type.
    """

    path: Path
    file_size: int
    offset: int
    size: int
    digest: str
    media_type: str


def file_answer(request: Request, part: FilePart, headers: Mapping[str, str]) -> Response:
    """
    200, 206 or 304, as the request's headers ask; ``headers`` are those that hold for each of these. Raises ``ApiError`` 416.
    """
    etag = f'"{part.digest}"'
    headers = {**headers, "etag": etag}
    if is_known(request.headers, etag):
        return Response(status_code=304, headers=headers)
    digest = base64.b64encode(bytes.fromhex(part.digest)).decode()
    headers |= {"accept-ranges": "bytes", "repr-digest": f"sha-256=:{digest}:"}
    if request.method != "GET":  # the only one for which ranges are defined
        return FileResponse(part, range(part.size), headers)
    try:
        asked = requested_range(request.headers, etag, part.size)
    except UnsatisfiableRangeError as error:
        detail = f"The range has none of the {part.size} bytes."
        raise ApiError(
            416, "range-not-satisfiable", detail, headers={"content-range": f"bytes */{part.size}"}
        ) from error
    if asked is None:
        return FileResponse(part, range(part.size), headers)
    headers["content-range"] = f"bytes {asked.start}-{asked.stop - 1}/{part.size}"
    return FileResponse(part, asked, headers, status_code=206)


class FileResponse(Response):
    """
    The bytes ``asked`` of a part of a file, piece by piece: the next is read when the one before is on its way. Reading stops
    when the client has gone. Raises ``OSError`` if the file is not what it was: before anything is sent if that can be seen
    then, else in the middle, so that the connection breaks.
    """

    def __init__(self, part: FilePart, asked: range, headers: Mapping[str, str], status_code: int = 200) -> None:
        super().__init__(
            status_code=status_code,
            media_type=part.media_type,
            headers={**headers, "content-length": str(len(asked))},
        )
        self._part = part
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Opened inline: like a read of the database, it takes microseconds, and a thread would take a hundred.
        with FileIO(self._part.path) as file:
            if os.fstat(file.fileno()).st_size < self._part.file_size:
                raise self._shorter()
            if scope["method"] == "HEAD":
                await self._send_at_once(b"", send)
            elif len(self._asked) <= PIECE:
                await self._send_at_once(await self._read(file, self._asked), send)
            else:
                await self._send_while_read(file, scope, receive, send)

    async def _send_at_once(self, body: bytes | bytearray, send: Send) -> None:
        await self._start(send)
        await send({"type": "http.response.body", "body": body})

    async def _send_while_read(self, file: FileIO, scope: Scope, receive: Receive, send: Send) -> None:
        failure: OSError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_disconnected, receive, tasks.cancel_scope)
            try:
                all_taken = await self._send_pieces(file, send)
            except OSError as error:
                all_taken, failure = True, error
            if not all_taken and (abort := abort_of(scope)) is not None:
                _log.debug("a reader of %s is dropped: it does not read", self._part.path.name)
                abort()  # the connection's end ends the task group
            else:
                tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _send_pieces(self, file: FileIO, send: Send) -> bool:
        """Returns whether the reader has taken them all."""
        with anyio.CancelScope() as patience:
            for start in range(0, len(self._asked), PIECE):
                piece = await self._read(file, self._asked[start : start + PIECE])
                if not start:
                    await self._start(send)
                if not start % _TURN:
                    await anyio.lowlevel.checkpoint()
                patience.deadline = anyio.current_time() + PATIENCE
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                del piece  # it is the server's now
                # A server waits before it sends, not after: without this the next piece would be read, and held, too early.
                await send({"type": "http.response.body", "body": b"", "more_body": True})
        if patience.cancelled_caught:
            return False
        await send({"type": "http.response.body", "body": b""})
        return True

    async def _start(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    async def _read(self, file: FileIO, where: range) -> bytes | bytearray:
        offset, size = self._part.offset + where.start, len(where)
        piece: bytes | bytearray | None = _read_cached(file, offset, size)
        if piece is None:
            piece = await anyio.to_thread.run_sync(_read, file, offset, size)
        if len(piece) < size:
            raise self._shorter()
        return piece

    def _shorter(self) -> OSError:
        return OSError(f"{self._part.path} is shorter than when it was written")


def _read_cached(file: FileIO, offset: int, size: int) -> bytearray | None:
    """The bytes if the system has them in memory, else None. This is twice as fast as a thread that does the same."""
    if _NO_WAIT is None:
        return None
    piece = bytearray(size)
    try:
        return piece if os.preadv(file.fileno(), [piece], offset, _NO_WAIT) == size else None
    except OSError:  # it would have to wait, or the file system does not know
        return None


def _read(file: FileIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
