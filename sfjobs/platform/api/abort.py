"""How the application closes a connection at once. The server offers it in the ASGI scope, in ``server/http_protocols``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.types import Scope

ABORT: Final = "sfjobs.abort"
"""
The extension of the ASGI scope by which a connection is closed although it still has something to send: ``{"call": ...}``. An
answer that only ends would wait, for ever, until a reader who does not read has read the rest.
"""


def abort_of(scope: Scope) -> Callable[[], None] | None:
    """What closes the connection of this request at once; None where the server has no such thing."""
    abort: Callable[[], None] | None = scope.get("extensions", {}).get(ABORT, {}).get("call")
    return abort
