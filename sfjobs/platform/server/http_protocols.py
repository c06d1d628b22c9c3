"""
How bytes become requests: uvicorn's protocols, with a limit on the head of a request, which the faster one lacks, with an end
for connections that bring none, and with a way for the application to close a connection at once.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from ..api.abort import ABORT
from ..errors import ApiError
from ..jobs.representation import compact_json

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send
    from uvicorn.protocols.http.h11_impl import H11Protocol
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle as H11Cycle
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle as HttpToolsCycle

PATIENCE = 30.0
"""Seconds in which a connection must have brought the head of a request; between two of them uvicorn has its own clock."""

_LINGER: Final = "hh" if sys.platform == "win32" else "ii"

_log = logging.getLogger(__name__)


def http_protocol(longest_head: int) -> type[asyncio.Protocol]:
    """
    The fastest protocol that is installed. ``longest_head`` is of request line and headers together, in bytes; h11 has the same
    limit by another way, uvicorn's ``h11_max_incomplete_event_size``.
    """
    too_long = ApiError(431, "head-too-large", f"The request's head is longer than the {longest_head} bytes allowed.")
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:  # on PyPy, and wherever httptools is not installed
        from uvicorn.protocols.http.h11_impl import H11Protocol

        class PatientH11(H11Protocol):
            """Waits for a request as long as ``PATIENCE``, and lets the application close a connection at once."""

            def connection_made(self, transport: Any) -> None:  # uvicorn's own signature narrows asyncio's
                super().connection_made(transport)
                self.app = _abortable(self.app, transport)
                self._patience = _Patience(self)

            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                self._patience.look()

            def connection_lost(self, exc: Exception | None) -> None:
                self._patience.end()
                super().connection_lost(exc)

            def send_400_response(self, msg: str) -> None:
                _refuse(self, ApiError(400, "invalid-request", msg))

        return PatientH11

    class LimitedHttpTools(HttpToolsProtocol):
        """
        Gives up a connection whose head is too long or does not end; without this the parser would collect it for ever, and what
        may follow the last chunk of a body as well. What has come without getting any further is counted by pieces, what was in
        one piece with its end by fields.
        """

        _unfinished = 0
        _fields = 0
        _in_head = False

        def connection_made(self, transport: Any) -> None:  # uvicorn's own signature narrows asyncio's
            super().connection_made(transport)
            self.app = _abortable(self.app, transport)
            self._patience = _Patience(self)

        def data_received(self, data: bytes) -> None:
            self._unfinished += len(data)
            super().data_received(data)
            if self._unfinished > longest_head and not self.transport.is_closing():
                self._refuse(too_long)
            self._patience.look()

        def connection_lost(self, exc: Exception | None) -> None:
            self._patience.end()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            self._refuse(too_long if self._fields > longest_head else ApiError(400, "invalid-request", msg))

        def _refuse(self, error: ApiError) -> None:
            # Where requests wait their turn, ``cycle`` is the last of them, and the first is being answered.
            _refuse(self, error, is_answering=bool(self.pipeline))

        def on_message_begin(self) -> None:
            self._in_head, self._fields = True, 0
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            self._count(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._count(len(name) + len(value))
            if self._in_head:  # else it follows the body, where no proxy looks for a header
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._in_head, self._unfinished = False, 0
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._unfinished = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._unfinished = 0
            super().on_message_complete()

        def _count(self, size: int) -> None:
            self._fields += size
            if self._fields > longest_head:  # what is raised here ends in ``send_400_response``
                raise ValueError(too_long.detail)

    return LimitedHttpTools


class _Patience:
    """Closes a connection that has not brought a request to be answered for ``PATIENCE`` seconds, however busily it does so."""

    def __init__(self, protocol: HttpToolsProtocol | H11Protocol) -> None:
        self._protocol = protocol
        self._clock: asyncio.TimerHandle | None = protocol.loop.call_later(PATIENCE, self._lose)

    def look(self) -> None:
        """To be called when something has come. The clock is not set back by that."""
        if _is_under_way(self._protocol.cycle):
            self.end()
        elif self._clock is None:
            self._clock = self._protocol.loop.call_later(PATIENCE, self._lose)

    def end(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _lose(self) -> None:
        self._clock = None
        if not self._protocol.transport.is_closing():
            _refuse(self._protocol, ApiError(408, "request-timeout", f"No request has come for {PATIENCE:g} seconds."))


def _refuse(protocol: HttpToolsProtocol | H11Protocol, error: ApiError, *, is_answering: bool = False) -> None:
    """
    Answer what is no HTTP, and close. In the middle of another answer that can only be broken off: a reader would take the
    error for a part of it.
    """
    if not is_answering and not _is_answering(protocol.cycle):
        body = compact_json(error.content())
        phrase = HTTPStatus(error.status_code).phrase
        head = (
            f"HTTP/1.1 {error.status_code} {phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        protocol.transport.write(head.encode() + body)
    protocol.transport.close()


def _is_answering(cycle: HttpToolsCycle | H11Cycle | None) -> bool:
    return cycle is not None and cycle.response_started and not cycle.response_complete


def _is_under_way(cycle: HttpToolsCycle | H11Cycle | None) -> bool:
    return cycle is not None and not cycle.response_complete


def _abortable(app: ASGIApp, transport: asyncio.Transport) -> ASGIApp:
    async def abortable(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"] = {**scope.get("extensions", {}), ABORT: {"call": abort}}
        try:
            await app(scope, receive, send)
        except (
            asyncio.CancelledError
        ):  # the server is being stopped, and would log the traceback of every request under way
            _log.debug("%s %s was interrupted by the end of the platform", scope["method"], scope["path"])

    def abort() -> None:
        # Without this the system would go on keeping, and offering, up to some megabytes that nobody reads.
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER, 1, 0))
        transport.abort()

    return abortable
