"""
How bytes become requests: uvicorn's protocols, with a limit on the head of a request, which the faster one lacks, and with a
way for the application to close a connection at once.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from .answers import ApiError, compact_json

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send
    from uvicorn.protocols.http.h11_impl import H11Protocol
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle as H11Cycle
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle as HttpToolsCycle

LONGEST_HEAD: Final = 64 << 10
"""Request line and headers together, in bytes; also what uvicorn allows with h11."""

_LINGER: Final = "hh" if sys.platform == "win32" else "ii"

ABORT: Final = "sfjobs.abort"
"""
The extension of the ASGI scope by which a connection is closed although it still has something to send: ``{"call": ...}``. An
answer that only ends would wait, for ever, until a reader who does not read has read the rest.
"""


def http_protocol() -> type[asyncio.Protocol]:
    """The fastest protocol that is installed."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:  # on PyPy, and wherever httptools is not installed
        from uvicorn.protocols.http.h11_impl import H11Protocol

        class AbortableH11(H11Protocol):
            """Lets the application close a connection at once."""

            def send_400_response(self, msg: str) -> None:
                _refuse(self, ApiError(400, "invalid-request", msg))

            def connection_made(self, transport: Any) -> None:  # uvicorn's own signature narrows asyncio's
                super().connection_made(transport)
                self.app = _abortable(self.app, transport)

        return AbortableH11

    class LimitedHttpTools(HttpToolsProtocol):
        """Gives up a connection whose head does not end; without this the parser would collect it for ever."""

        _head = 0
        _in_head = False

        def connection_made(self, transport: Any) -> None:  # uvicorn's own signature narrows asyncio's
            super().connection_made(transport)
            self.app = _abortable(self.app, transport)

        def data_received(self, data: bytes) -> None:
            if self._in_head:
                self._head += len(data)
                if self._head > LONGEST_HEAD:
                    detail = f"The request's head is longer than the {LONGEST_HEAD} bytes allowed."
                    self._refuse(ApiError(431, "head-too-large", detail))
                    return
            super().data_received(data)

        def send_400_response(self, msg: str) -> None:
            self._refuse(ApiError(400, "invalid-request", msg))

        def _refuse(self, error: ApiError) -> None:
            # Where requests wait their turn, ``cycle`` is the last of them, and the first is being answered.
            _refuse(self, error, is_answering=bool(self.pipeline))

        def on_message_begin(self) -> None:
            self._in_head, self._head = True, 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_head = False
            super().on_headers_complete()

    return LimitedHttpTools


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


def abort_of(scope: Scope) -> Callable[[], None] | None:
    """What closes the connection of this request at once; None where the server has no such thing."""
    abort: Callable[[], None] | None = scope.get("extensions", {}).get(ABORT, {}).get("call")
    return abort


def _abortable(app: ASGIApp, transport: asyncio.Transport) -> ASGIApp:
    async def abortable(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"] = {**scope.get("extensions", {}), ABORT: {"call": abort}}
        await app(scope, receive, send)

    def abort() -> None:
        # Without this the system would go on keeping, and offering, up to some megabytes that nobody reads.
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER, 1, 0))
        transport.abort()

    return abortable
