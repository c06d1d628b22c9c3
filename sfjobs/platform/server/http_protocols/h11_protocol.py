"""The HTTP protocol on h11, which limits the size of a request head by itself."""

from __future__ import annotations

from uvicorn.protocols.http.h11_impl import H11Protocol

from .connection import ConnectionLimits


class TimedH11Protocol(ConnectionLimits, H11Protocol):
    """Closes a connection without a request, and lets the application close one at once."""
