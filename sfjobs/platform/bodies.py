"""Reading a request's body with a limit, so that nobody can make the platform hold more."""

from __future__ import annotations

from starlette.requests import Request

from .answers import too_large


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body; 413 as soon as it is known to be longer than ``limit`` bytes, whatever its length header says."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:19]) > limit:
        raise too_large("The request's body", limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large("The request's body", limit)
    return bytes(body)
