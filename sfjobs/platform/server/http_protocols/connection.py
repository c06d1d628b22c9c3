"""What both HTTP protocols add to a connection: a timeout for request heads, early error responses, and an immediate close."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from ...api.abort import ABORT
from ...errors import ApiError
from ...jobs.representation import compact_json

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send
    from uvicorn.protocols.http.h11_impl import H11Protocol
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle as H11Cycle
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle as HttpToolsCycle

REQUEST_HEAD_TIMEOUT_SECONDS = 30.0
"""
For a new connection, and from the first byte of a further request; the pause between two requests has uvicorn's own timeout.
"""

_LINGER_FORMAT: Final = "hh" if sys.platform == "win32" else "ii"
_log = logging.getLogger(__name__)


class HeadTimer:
    """
    Closes a connection without a complete request head for ``REQUEST_HEAD_TIMEOUT_SECONDS``. Received bytes do not extend it.
    """

    def __init__(self, protocol: HttpToolsProtocol | H11Protocol) -> None:
        self._protocol = protocol
        self._timer: asyncio.TimerHandle | None = None
        self._start()

    def update(self) -> None:
        """Stop the timer during a request, and start it otherwise. Call this after data was received."""
        cycle: H11Cycle | HttpToolsCycle | None = self._protocol.cycle
        if cycle is not None and not cycle.response_complete:
            self.stop()
        elif self._timer is None:
            self._start()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        self._timer = self._protocol.loop.call_later(REQUEST_HEAD_TIMEOUT_SECONDS, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if not self._protocol.transport.is_closing():
            detail = f"No complete request was received within {REQUEST_HEAD_TIMEOUT_SECONDS:g} seconds."
            refuse(self._protocol, ApiError(408, "request-timeout", detail))


def refuse(protocol: HttpToolsProtocol | H11Protocol, error: ApiError, *, is_responding: bool = False) -> None:
    """
    Send an error response and close. In the middle of another response, only close: the client would read it as a part of that.
    """
    cycle: H11Cycle | HttpToolsCycle | None = protocol.cycle
    is_responding |= cycle is not None and cycle.response_started and not cycle.response_complete
    if not is_responding:
        body = compact_json(error.content())
        phrase = HTTPStatus(error.status_code).phrase
        head = (
            f"HTTP/1.1 {error.status_code} {phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        protocol.transport.write(head.encode() + body)
    protocol.transport.close()


def abortable(app: ASGIApp, transport: asyncio.Transport) -> ASGIApp:
    """Return an application that finds a function in its scope to close the connection at once; see ``api/abort``."""

    async def abortable_app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"] = {**scope.get("extensions", {}), ABORT: {"call": abort}}
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            # The server is stopping. Without this it would log a traceback for each unfinished request.
            _log.debug("%s %s was interrupted because the platform stops", scope["method"], scope["path"])

    def abort() -> None:
        # Without this the system would keep some megabytes, and offer them to a client that does not read.
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER_FORMAT, 1, 0))
        transport.abort()

    return abortable_app
