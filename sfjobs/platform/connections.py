"""
How bytes become requests: uvicorn's protocols, with a limit on the head of a request, which the faster one lacks, and with a
way for the application to close a connection at once.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_LINGER: Final = "hh" if sys.platform == "win32" else "ii"

ABORT: Final = "sfjobs.abort"
"""
The extension of the ASGI scope by which a connection is closed although it still has something to send: ``{"call": ...}``. An
answer that only ends would wait, for ever, until a reader who does not read has read the rest.
"""


def http_protocol(longest_head: int) -> type[asyncio.Protocol]:
    """
    The fastest protocol that is installed. ``longest_head`` is of request line and headers together, in bytes; h11 has the same
    limit by another way, uvicorn's ``h11_max_incomplete_event_size``.
    """
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:  # on PyPy, and wherever httptools is not installed
        from uvicorn.protocols.http.h11_impl import H11Protocol

        class AbortableH11(H11Protocol):
            """Lets the application close a connection at once."""

            def connection_made(self, transport: Any) -> None:  # uvicorn's own signature narrows asyncio's
                super().connection_made(transport)
                self.app = _abortable(self.app, transport)

        return AbortableH11

    class LimitedHttpTools(HttpToolsProtocol):
        """
        Gives up a connection whose head is too long or does not end; without this the parser would collect it for ever. What has
        come of an unfinished head is counted by pieces, what was in one piece with its end by fields.
        """

        _head = 0
        _fields = 0
        _in_head = False

        def connection_made(self, transport: Any) -> None:  # uvicorn's own signature narrows asyncio's
            super().connection_made(transport)
            self.app = _abortable(self.app, transport)

        def data_received(self, data: bytes) -> None:
            if self._in_head:
                self._head += len(data)
                if self._head > longest_head:
                    self.send_400_response("The request's head is too long.")
                    return
            super().data_received(data)

        def on_message_begin(self) -> None:
            self._in_head, self._head, self._fields = True, 0, 0
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            self._count(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._count(len(name) + len(value))
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._in_head = False
            super().on_headers_complete()

        def _count(self, size: int) -> None:
            self._fields += size
            if self._fields > longest_head:  # what is raised here is answered with 400 by who called the parser
                raise ValueError("the request's head is too long")

    return LimitedHttpTools


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
