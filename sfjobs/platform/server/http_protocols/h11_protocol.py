"""The HTTP protocol on h11, which limits the size of a request head by itself."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from ...errors import ApiError
from .connection import HeadTimer, abortable, refuse


class TimedH11Protocol(H11Protocol):
    """Closes a connection without a request, and lets the application close one at once."""

    def connection_made(self, transport: Any) -> None:  # uvicorn's own signature narrows asyncio's
        super().connection_made(transport)
        self.app = abortable(self.app, transport)
        self._head_timer = HeadTimer(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._head_timer.update()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_timer.stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        refuse(self, ApiError(400, "invalid-request", msg))
