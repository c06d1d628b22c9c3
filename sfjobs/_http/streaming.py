"""
A response whose body is read piece by piece: from our own connections, or from any stream of httpx. ``adapter`` makes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import cast

import anyio
import httpx

from .._util.aio import most_urgent
from ..config import Secret
from ..errors import ProtocolError, TransportError
from .content_coding import ABOUT_THE_CODED_BODY, DecodedBody, PieceBody, can_decode, codings
from .failures import ErrorTranslation, is_of_the_network
from .http11 import ResponseBody
from .messages import Response

MAX_RESPONSE_BYTES = 16 * 2**20
"""No JSON response of the protocol comes near it. Results are streamed and have a limit of their own."""

ERROR_BODY_SECONDS = 5.0
"""Time for the body of an error response, which only adds details to its status."""


class StreamingResponse:
    """A response whose head has arrived. Where it ``is_resumable``, a cancelled ``read`` loses no bytes."""

    attempts = 1
    """The attempts that it took to get the response."""
    on_close: Callable[[], None] | None = None

    def __init__(
        self,
        translation: ErrorTranslation,
        url: str,
        token: Secret | None,
        response: httpx.Response,
        until_closed: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._translation = translation
        self._until_closed = until_closed
        self.url = url
        self.secrets = [secret for secret in (translation.adapter.settings.api_key, token) if secret is not None]
        """The secrets that were sent, which the response should not repeat."""
        self.status_code = response.status_code
        self._response = response
        stream = _unwrapped(response.stream)
        self._stream = stream
        self._direct_body = stream if isinstance(stream, ResponseBody) and not response.is_stream_consumed else None
        self._body: ResponseBody | _HTTPXBody | DecodedBody | None = None

    @property
    def location(self) -> str | None:
        """Where a redirect leads, as the server wrote it."""
        return cast("str | None", self._response.headers.get("location"))

    @property
    def is_resumable(self) -> bool:
        return self._direct_body is not None

    @cached_property
    def response(self) -> Response:
        """The head of the response, without a body."""
        return self._with_body(b"")

    def _with_body(self, body: bytes) -> Response:
        response = self._response
        links = response.links if "link" in response.headers else {}
        headers = response.headers
        if codings(headers.get("content-encoding")):
            headers = httpx.Headers(
                [(name, value) for name, value in headers.multi_items() if name not in ABOUT_THE_CODED_BODY]
            )
        return Response(
            request=self._translation.request,
            url=self.url,
            status_code=response.status_code,
            headers=headers,
            body=body,
            next_link=links.get("next", {}).get("url"),
            monitor_link=links.get("monitor", {}).get("url"),
            # A platform or proxy may repeat the request in an error. Errors quote bodies and end in logs.
            secrets=self.secrets,
            base_path=self._translation.adapter.base_path,
        )

    async def read(self) -> bytes:
        """
        Return the next bytes of the body, ``b""`` at its end. A cancelled read ends it, unless it ``is_resumable``. Raises
        TransportError, ConnectionClosedError, ProtocolError.
        """
        with self._translation:
            return await self._opened().read()

    async def read_into(self, buffer: memoryview) -> int:
        """Read into the start of ``buffer``. Returns the number of bytes, 0 at the end. Not to be mixed with ``read``."""
        with self._translation:
            return await self._opened().read_into(buffer)

    def _opened(self) -> ResponseBody | _HTTPXBody | DecodedBody:
        if self._body is None:
            body = self._direct_body or _HTTPXBody(self._response, self._stream, self._until_closed)
            coded = [] if body.is_decoded else codings(self._response.headers.get("content-encoding"))
            if coded and not can_decode(coded):
                self.response.reject("it is compressed, which was not requested")
            self._body = DecodedBody(body, coded[0], self.response.reject) if coded else body
        return self._body

    async def read_whole(self) -> Response:
        """
        Return the response with its whole body. Raises ProtocolError for a body over ``MAX_RESPONSE_BYTES``. Where the body of an
        error cannot be read, its status counts without it.
        """
        if self.status_code < 400:
            return await self._with_whole_body()
        with anyio.move_on_after(ERROR_BODY_SECONDS), contextlib.suppress(TransportError, ProtocolError):
            return await self._with_whole_body()
        return self.response

    async def _with_whole_body(self) -> Response:
        body, piece = bytearray(), b""
        try:
            while piece := await self.read():
                body += piece
                if len(body) > MAX_RESPONSE_BYTES:
                    self.response.reject(f"more than {MAX_RESPONSE_BYTES} bytes")
            return self._with_body(bytes(body))
        finally:
            # A traceback would keep, and show, the bytes so far: half a token, or a repeated request.
            body, piece = bytearray(), b""

    async def aclose(self) -> None:
        """Close the connection too, unless the whole body has been read. Idempotent."""
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()
        if self._response.stream is self._direct_body:
            self._direct_body.close()
            return
        with anyio.CancelScope(shield=True):
            try:
                if self._body is not None:
                    await self._body.aclose()
                await self._response.aclose()
            except Exception as error:
                if not is_of_the_network(most_urgent(error)):
                    raise


def _unwrapped(stream: object) -> object:
    """Return the transport's own stream. httpx's client puts one of its own around it."""
    return getattr(stream, "_stream", stream) if type(stream).__name__ == "BoundAsyncStream" else stream


class _HTTPXBody(PieceBody):
    """
    A body from another stream. A cancelled read ends it. One that a hook or a wrapper of the transport has read whole is in the
    response already, decoded.
    """

    def __init__(
        self, response: httpx.Response, stream: object, until_closed: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._until_closed = until_closed
        self.is_decoded = response.is_stream_consumed and not isinstance(stream, httpx.ByteStream)
        # Not through the response's own iterators, which drop this one when they are left half-way.
        pieces = _once(response.content) if self.is_decoded else aiter(cast("AsyncIterable[bytes]", response.stream))
        self._pieces = cast("AsyncGenerator[bytes, None]", pieces)
        self._is_broken = False

    async def read(self) -> bytes:
        if self._is_broken:
            raise httpx.StreamClosed  # the generator would report the end of the body
        try:
            with self._until_closed():
                async for piece in self._pieces:
                    if piece:
                        return piece
        except BaseException:
            self._is_broken = True
            raise
        return b""

    async def aclose(self) -> None:
        await self._pieces.aclose()


async def _once(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content
