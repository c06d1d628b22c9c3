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

IS_REVOKED: Final = "is_revoked"
"""The name in the state of a request's scope: a function that says whether the API key behind its token has been revoked."""

REVOCATION_CHECK_SECONDS: Final = 1.0
"""Between two looks at the key of a response that takes long. A look takes some 10 us."""


def until_gone(request: Request) -> Callable[[], Awaitable[None]]:
    """Return a function that returns when the client of a request, whose body has been read, disconnects."""
    return partial(_wait_for_disconnect, request.receive)


async def send_while_connected(scope: Scope, receive: Receive, send_all: Callable[[], Awaitable[bool]]) -> bool:
    """
    Run ``send_all`` until the client disconnects or its key is revoked. If it returns False, because the client does not read,
    close the connection at once. Return whether the key was revoked; the caller then ends the response or calls ``abort``.
    """
    is_revoked: Callable[[], bool] | None = scope.get("state", {}).get(IS_REVOKED)
    revoked = False

    async def watch_key(is_revoked: Callable[[], bool]) -> None:
        nonlocal revoked
        while not revoked:
            await anyio.sleep(REVOCATION_CHECK_SECONDS)
            revoked = is_revoked()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_at_disconnect, receive, tasks.cancel_scope)
        if is_revoked is not None:
            tasks.start_soon(watch_key, is_revoked)
        if not await send_all() and abort(scope):
            _log.debug("%s %s: disconnecting a client that does not read", scope["method"], scope["path"])
            await anyio.sleep_forever()  # the end of the connection ends the task group
        tasks.cancel_scope.cancel()
    if revoked:
        _log.info("%s %s was ended, since its key has been revoked", scope["method"], scope["path"])
    return revoked


def abort(scope: Scope) -> bool:
    """Close the connection of a request at once. Return False if the server does not offer it."""
    extension = scope.get("extensions", {}).get(ABORT)
    if extension is not None:
        extension["call"]()
    return extension is not None


async def _cancel_at_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    await _wait_for_disconnect(receive)
    scope.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
