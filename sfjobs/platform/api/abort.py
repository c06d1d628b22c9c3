"""
The end of a connection during its request: it is awaited, or made at once by an extension of the ASGI scope that
``server/http_protocols`` offers.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import anyio
from starlette.requests import Request
from starlette.types import Receive, Scope

_log = logging.getLogger(__name__)

ABORT: Final = "sfjobs.abort"
"""
The name of the extension, ``{"call": ...}``. It closes a connection that still has something to send. A response that only ended
would wait for ever for a client that does not read the rest.
"""


def until_gone(request: Request) -> Callable[[], Awaitable[None]]:
    """Return a function that returns when the client of a request, whose body has been read, disconnects."""
    return partial(_wait_for_disconnect, request.receive)


async def send_while_connected(scope: Scope, receive: Receive, send_all: Callable[[], Awaitable[bool]]) -> None:
    """
    Run ``send_all`` until the client disconnects. If it returns False, because the client does not read, close the connection at
    once.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_at_disconnect, receive, tasks.cancel_scope)
        if not await send_all() and (abort := scope.get("extensions", {}).get(ABORT)) is not None:
            _log.debug("%s %s: disconnecting a client that does not read", scope["method"], scope["path"])
            abort["call"]()  # the end of the connection ends the task group
        else:
            tasks.cancel_scope.cancel()


async def _cancel_at_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    await _wait_for_disconnect(receive)
    scope.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
