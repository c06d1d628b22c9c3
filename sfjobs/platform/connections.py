"""How bytes become requests: uvicorn's protocols, with a limit on the head of a request, which the faster one lacks."""

from __future__ import annotations

import asyncio
from typing import Final

LONGEST_HEAD: Final = 64 << 10
"""Request line and headers together, in bytes; also what uvicorn allows with h11."""


def http_protocol() -> type[asyncio.Protocol]:
    """The fastest protocol that is installed."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:  # on PyPy, and wherever httptools is not installed
        from uvicorn.protocols.http.h11_impl import H11Protocol

        return H11Protocol

    class LimitedHttpTools(HttpToolsProtocol):
        """Gives up a connection whose head does not end; without this the parser would collect it for ever."""

        _head = 0
        _in_head = False

        def data_received(self, data: bytes) -> None:
            if self._in_head:
                self._head += len(data)
                if self._head > LONGEST_HEAD:
                    self.send_400_response("The request's head is too long.")
                    return
            super().data_received(data)

        def on_message_begin(self) -> None:
            self._in_head, self._head = True, 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_head = False
            super().on_headers_complete()

    return LimitedHttpTools
