"""What both HTTP protocols add to a connection: a timeout for request heads, early error responses, and an immediate close."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ...api.abort import ABORT
from ...errors import ApiError
from ...jobs.representation import compact_json
from ..connections import MAX_REFUSED, ConnectionCount
from ..tls import address_of

REQUEST_HEAD_TIMEOUT_SECONDS = 30.0
"""
For a new connection, and from the first byte of a further request; the pause between two requests has uvicorn's own timeout.
"""

REFUSED_SECONDS: Final = 1.0

_LINGER_FORMAT: Final = "hh" if sys.platform == "win32" else "ii"
_log = logging.getLogger(__name__)


class ConnectionLimits(asyncio.Protocol):
    """
    A base for the protocols of uvicorn. It closes a connection without a complete request head for
    ``REQUEST_HEAD_TIMEOUT_SECONDS``, which received bytes do not extend, and lets the application close a connection at once.
    It is counted by ``count``, unless it has been counted before its handshake: then ``leave`` is set.
    """

    count: ConnectionCount
    leave: Callable[[], None] | None = None
    _is_refused = False

    app: ASGIApp
    cycle: Any
    loop: asyncio.AbstractEventLoop
    transport: Any
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # uvicorn's own signature narrows asyncio's
        super().connection_made(transport)
        if self.leave is None:
            address = address_of(transport)
            error = self.count.enter(address)
            if error is not None:
                self._refuse_connection(error)
                return
            self.leave = partial(self.count.leave, address)
        self.app = _abortable(self.app, transport)
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_head_timer()
        elif self._head_timer is None:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        if self.leave is not None:
            self.leave()
        elif self._is_refused:
            self.count.refused -= 1
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._refuse(ApiError(400, "invalid-request", msg))

    def _refuse_connection(self, error: ApiError) -> None:
        """Send an error response, and close a moment later: a close before the request has come would destroy the response."""
        self._is_refused = True
        self.count.refused += 1
        if self.count.refused > MAX_REFUSED:
            self.transport.abort()
            return
        self.transport.write(_response(error))
        self.loop.call_later(REFUSED_SECONDS, self.transport.close)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(REQUEST_HEAD_TIMEOUT_SECONDS, self._expire)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _expire(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            detail = f"No complete request was received within {REQUEST_HEAD_TIMEOUT_SECONDS:g} seconds."
            self._refuse(ApiError(408, "request-timeout", detail))

    def _refuse(self, error: ApiError) -> None:
        """
        Send an error response and close. In the middle of another response, only close: the client would read it as a part of
        that.
        """
        if not self._is_responding():
            self.transport.write(_response(error))
        self.transport.close()

    def _is_responding(self) -> bool:
        return self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete


def _response(error: ApiError) -> bytes:
    body = compact_json(error.content())
    headers = {
        "content-type": "application/json",
        "content-length": len(body),
        **(error.headers or {}),
        "connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {error.status_code} {HTTPStatus(error.status_code).phrase}\r\n{lines}\r\n".encode() + body


def _abortable(app: ASGIApp, transport: asyncio.Transport) -> ASGIApp:
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
