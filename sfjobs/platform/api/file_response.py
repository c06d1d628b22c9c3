"""
Respond with bytes of a file, all or a requested range, and with the headers that a client needs to resume and verify a download
(``ETag``, RFC 9110; ``Repr-Digest``, RFC 9530). The file is never held as a whole.
"""

from __future__ import annotations

import base64
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
from .abort import abort, send_while_connected
from .byte_ranges import is_cached, requested_range

CHUNK_BYTES: Final = 256 << 10
"""
Bytes read and sent at a time. The platform holds two chunks for each client, however slow: one is read when at most 64 KiB of the
one before are left. Larger ones are no faster (over the loopback 4.4 GB/s; of 512 KiB 4.1, of 1 MiB 3.5).
"""

CHUNK_SEND_TIMEOUT_SECONDS = 60.0
"""A client that has not read a chunk in this time is disconnected. It may come back for the rest."""

_YIELD_EVERY_BYTES: Final = 4 * CHUNK_BYTES  # to other tasks, also where the server can send at once and never waits
_NO_WAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)  # Linux


@dataclass(frozen=True, slots=True)
class FilePart:
    """
    A document inside a file: ``size`` bytes from ``offset`` on of ``file_size`` bytes, with their SHA-256 in hexadecimal and
    their media type.
    """

    path: Path
    file_size: int
    offset: int
    size: int
    digest: str
    media_type: str


def file_response(request: Request, part: FilePart, headers: Mapping[str, str]) -> Response:
    """
    Return 200, 206 or 304, as the headers of the request demand. ``headers`` go with each of these.

    Raises:
        ApiError: 416, the range has none of the bytes.
    """
    etag = f'"{part.digest}"'
    headers = {**headers, "etag": etag}
    if is_cached(request.headers, etag):
        return Response(status_code=304, headers=headers)
    digest = base64.b64encode(bytes.fromhex(part.digest)).decode()
    headers |= {"accept-ranges": "bytes", "repr-digest": f"sha-256=:{digest}:"}
    # Ranges are defined for GET only.
    requested = requested_range(request.headers, etag, part.size) if request.method == "GET" else None
    if requested is None:
        return FileResponse(part, range(part.size), headers)
    if not requested:
        content_range = {"content-range": f"bytes */{part.size}"}
        detail = f"The range has none of the {part.size} bytes."
        raise ApiError(416, "range-not-satisfiable", detail, headers=content_range)
    headers["content-range"] = f"bytes {requested.start}-{requested.stop - 1}/{part.size}"
    return FileResponse(part, requested, headers, status_code=206)


class FileResponse(Response):
    """
    The bytes ``requested`` of a part of a file, in chunks. A chunk is read when the one before is on its way. Reading stops when
    the client disconnects. Raises ``OSError`` for a file that is too short, before anything is sent if possible, else in the
    middle, so that the connection breaks.
    """

    def __init__(self, part: FilePart, requested: range, headers: Mapping[str, str], status_code: int = 200) -> None:
        super().__init__(
            status_code=status_code,
            media_type=part.media_type,
            headers={**headers, "content-length": str(len(requested))},
        )
        self._part = part
        self._requested = requested

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Opened inline: this takes some microseconds, a thread a hundred.
        with FileIO(self._part.path) as file:
            if os.fstat(file.fileno()).st_size < self._part.file_size:
                raise self._too_short()
            if scope["method"] == "HEAD":
                await self._send_whole(b"", send)
            elif len(self._requested) <= CHUNK_BYTES:
                await self._send_whole(await self._read(file, self._requested), send)
            else:
                await self._send_in_chunks(file, scope, receive, send)

    async def _send_whole(self, body: bytes | bytearray, send: Send) -> None:
        await self._start(send)
        await send({"type": "http.response.body", "body": body})

    async def _send_in_chunks(self, file: FileIO, scope: Scope, receive: Receive, send: Send) -> None:
        failure: OSError | None = None  # raised here, since a task group would wrap it

        async def send_all() -> bool:
            nonlocal failure
            try:
                return await self._send_chunks(file, send)
            except OSError as error:
                failure = error
                return True

        if await send_while_connected(scope, receive, send_all):
            abort(scope)
        if failure is not None:
            raise failure

    async def _send_chunks(self, file: FileIO, send: Send) -> bool:
        """Return whether the client has read them all."""
        with anyio.CancelScope() as timeout:
            for start in range(0, len(self._requested), CHUNK_BYTES):
                chunk = await self._read(file, self._requested[start : start + CHUNK_BYTES])
                if not start:
                    await self._start(send)
                if not start % _YIELD_EVERY_BYTES:
                    await anyio.lowlevel.checkpoint()
                timeout.deadline = anyio.current_time() + CHUNK_SEND_TIMEOUT_SECONDS
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                del chunk  # the server holds it now
                # A server waits before it sends, not after: without this message the next chunk would be read, and held, too
                # early.
                await send({"type": "http.response.body", "body": b"", "more_body": True})
        if timeout.cancelled_caught:
            return False
        await send({"type": "http.response.body", "body": b""})
        return True

    async def _start(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    async def _read(self, file: FileIO, span: range) -> bytes | bytearray:
        offset, size = self._part.offset + span.start, len(span)
        chunk: bytes | bytearray | None = _read_cached(file, offset, size)
        if chunk is None:
            chunk = await anyio.to_thread.run_sync(_read, file, offset, size)
        if len(chunk) < size:
            raise self._too_short()
        return chunk

    def _too_short(self) -> OSError:
        return OSError(f"{self._part.path} is shorter than when it was written")


def _read_cached(file: FileIO, offset: int, size: int) -> bytearray | None:
    """Return the bytes if the system has them in memory, else None. This is twice as fast as a thread that does the same."""
    if _NO_WAIT is None:
        return None
    chunk = bytearray(size)
    try:
        return chunk if os.preadv(file.fileno(), [chunk], offset, _NO_WAIT) == size else None
    except OSError:  # the bytes are not in memory, or the file system cannot tell
        return None


def _read(file: FileIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
