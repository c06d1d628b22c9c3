"""What the platform says, as ASGI responses: JSON, errors in their one shape, and job objects."""

from __future__ import annotations

import json
from typing import Any

import anyio
from starlette.responses import Response
from starlette.types import Receive

from ..errors import ApiError, invalid
from ..jobs.representation import compact_json


class CompactJSONResponse(Response):
    """A body of compact JSON."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return compact_json(content)


def error_response(error: ApiError) -> CompactJSONResponse:
    """The error in the one shape that all errors have."""
    return CompactJSONResponse(error.content(), status_code=error.status_code, headers=error.headers)


async def until_disconnected(receive: Receive, scope: anyio.CancelScope) -> None:
    """Cancels ``scope`` when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def request_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a request's body must be."""
    content = _request_json(body)
    if not isinstance(content, dict):
        raise invalid({"_schema": ["Invalid input type."]})
    return content


def request_list(body: bytes, longest: int) -> list[Any]:
    """The JSON list, of at most ``longest`` items, that a request's body must be."""
    content = _request_json(body)
    if not isinstance(content, list):
        raise invalid({"_schema": ["Invalid input type."]})
    if len(content) > longest:
        raise invalid({"_schema": [f"Longer than maximum length {longest}."]})
    return content


def _request_json(body: bytes) -> object:
    if not body:
        raise ApiError(400, "invalid-request", "The request has no body.")
    try:
        content: object = json.loads(body)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ApiError(400, "invalid-request", f"The request's body is not JSON: {error.msg} ({where}).") from error
    except (ValueError, RecursionError) as error:  # not Unicode, or more digits or brackets than Python reads
        raise ApiError(400, "invalid-request", "The request's body is not JSON that can be read.") from error
    return content
