"""Read the body of a request with limits of size and time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio
from starlette.requests import Request

from ..errors import ApiError, too_large
from .budgets import BodyShare

BODY_TIMEOUT_SECONDS = 30.0
"""Extended by the time that a body takes at ``MIN_BYTES_PER_SECOND``."""
MIN_BYTES_PER_SECOND: Final = 1000
"""As slow as a modem."""


EARLY_BYTES: Final = 256 << 10
"""What has come by then shows what a large body has."""


async def read_body(
    request: Request, limit: int, option: str | None = None, *, early_check: Callable[[bytes], None] | None = None
) -> bytes:
    """
    Return the whole body. ``option`` is that of ``sfjobs serve`` for this limit. ``early_check`` looks at the beginning of a
    large body, so that one which will be refused is not received.

    Raises:
        ApiError: that of ``early_check``, 413 as soon as the body exceeds ``limit`` bytes, 408 as soon as it is too slow, 429 or
            503 as soon as bodies hold too much memory; ``RequestGuard`` gives it back.
    """
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:19]) > limit:
        raise too_large("The request's body", limit, option)
    body = bytearray()
    share: BodyShare = request.state.body_share
    with anyio.move_on_after(BODY_TIMEOUT_SECONDS) as scope:
        async for chunk in request.stream():
            share.grow(len(chunk))
            is_early = len(body) < EARLY_BYTES <= len(body) + len(chunk)
            body += chunk
            if is_early and early_check is not None:
                early_check(bytes(body))
            if len(body) > limit:
                raise too_large("The request's body", limit, option)
            scope.deadline += len(chunk) / MIN_BYTES_PER_SECOND
    if scope.cancelled_caught:
        detail = f"The body of the request is incomplete: {len(body)} bytes were received in the allowed time."
        raise ApiError(408, "request-timeout", detail, headers={"connection": "close"})
    return bytes(body)
