"""
HTTP/1.1 on a connection: the protocols of uvicorn, with a limit on the size of a request head, a timeout for it, and a way for
the application to close the connection at once.

    httptools_protocol  the fast one
    h11_protocol        the one for PyPy, and for wherever httptools is not installed
    connection          what both have in common
"""

from __future__ import annotations

import asyncio


def http_protocol() -> type[asyncio.Protocol]:
    """
    Return the fastest protocol that is installed. Both limit the request head by uvicorn's ``h11_max_incomplete_event_size``.
    """
    try:
        from .httptools_protocol import LimitedHttpToolsProtocol
    except ImportError:
        from .h11_protocol import TimedH11Protocol

        return TimedH11Protocol
    return LimitedHttpToolsProtocol
