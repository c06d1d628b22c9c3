"""Responses of JSON and of errors, and the JSON of request bodies."""

from __future__ import annotations

import json
from typing import TypeVar

from starlette.responses import Response

from ..errors import ApiError, invalid
from ..jobs.representation import compact_json

T = TypeVar("T")


class CompactJSONResponse(Response):
    """A response with a body of compact JSON."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return compact_json(content)


def error_response(error: ApiError) -> CompactJSONResponse:
    """Return the response to an error, in the shape that all errors have."""
    return CompactJSONResponse(error.content(), status_code=error.status_code, headers=error.headers)


def request_json(body: bytes, kind: type[T]) -> T:
    """Return the JSON of a body, an object (``dict``) or a list. Raises ``ApiError``."""
    if not body:
        raise ApiError(400, "invalid-request", "The request has no body.")
    try:
        content: object = json.loads(body)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ApiError(400, "invalid-request", f"The request's body is not JSON: {error.msg} ({where}).") from error
    except (ValueError, RecursionError) as error:  # not Unicode, or more digits or brackets than Python reads
        raise ApiError(400, "invalid-request", "The request's body is not JSON that can be read.") from error
    if not isinstance(content, kind):
        raise invalid({"_schema": ["Invalid input type."]})
    return content
