"""Reading a request's body with a limit, so that nobody can make the platform hold more, or hold it for long."""

from __future__ import annotations

from typing import Final

import anyio
from starlette.requests import Request

from ..errors import ApiError, too_large

PATIENCE = 30.0
"""Seconds that a body may take, and those on top that it needs at ``SLOWEST``."""
SLOWEST: Final = 1000
"""Bytes a second that a body must have on average, as slow as a modem."""


async def read_body(request: Request, limit: int) -> bytes:
    """
    The whole body; 413 as soon as it is known to be longer than ``limit`` bytes, whatever its length header says, and 408 as soon
    as it is too slow.
    """
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:19]) > limit:
        raise too_large("The request's body", limit)
    body = bytearray()
    with anyio.move_on_after(PATIENCE) as scope:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise too_large("The request's body", limit)
            scope.deadline += len(chunk) / SLOWEST
    if scope.cancelled_caught:
        detail = f"The request's body did not come: {len(body)} bytes of it in the time allowed."
        raise ApiError(408, "request-timeout", detail, headers={"connection": "close"})
    return bytes(body)
