"""Responses of JSON and of errors, and the JSON of request bodies."""

from __future__ import annotations

import json
import re
from typing import Final, TypeVar

from starlette.responses import Response

from ..errors import ApiError, invalid
from ..jobs.representation import compact_json

T = TypeVar("T")

_SMALL_BYTES: Final = 64 << 10
"""A body up to this size is read in 3 ms, whatever it has."""

_MAX_PIECES: Final = 10_000
"""Strings and brackets, commas and colons outside of them. A batch of 100 jobs with all fields has 2200."""

_BACKSLASH: Final = 0x5C
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


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
    if len(body) > _SMALL_BYTES:
        check_pieces(body)
    try:
        content: object = json.loads(body, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ApiError(400, "invalid-request", f"The request's body is not JSON: {error.msg} ({where}).") from error
    except (ValueError, RecursionError) as error:  # not Unicode, or more digits or brackets than Python reads
        raise ApiError(400, "invalid-request", "The request's body is not JSON that can be read.") from error
    if not isinstance(content, kind):
        raise invalid({"_schema": ["Invalid input type."]})
    return content


def check_pieces(body: bytes) -> None:
    """
    Refuse a body, or its beginning, with more values than any request has, before all of them are made: 8 MB of ``[],[],`` are
    2.7 million lists, which take half a second and 150 MB. Most of a large body is the text of programs, which is passed over.
    """
    if body[:1] in {b"\xff", b"\xfe", b"\x00"} or b"\x00" in body[:4]:
        raise ApiError(400, "invalid-request", "The request's body is not JSON in UTF-8.")
    if _count_pieces(body) > _MAX_PIECES:
        detail = f"The request's body has more than {_MAX_PIECES} values and brackets."
        # Perhaps the rest of the body has not been received.
        raise ApiError(400, "invalid-request", detail, headers={"connection": "close"})


def _count_pieces(body: bytes) -> int:
    """
    Return the number of strings, and of brackets, commas and colons outside of them, or some number above the limit. It jumps
    from quote to quote, since most of a body is few long strings: 1 ms for 5 MB, where an expression takes 30.
    """
    pieces = position = 0
    for _ in range(_MAX_PIECES):
        start = body.find(b'"', position)
        between = body[position : len(body) if start < 0 else start]
        pieces += len(between) - len(between.translate(None, b"[]{},:"))
        if start < 0 or pieces > _MAX_PIECES:
            return pieces
        end = body.find(b'"', start + 1)
        if end < 0 or body[end - 1] == _BACKSLASH:  # escaped, perhaps: rare
            match = _STRING.match(body, start)
            end = match.end() - 1 if match else len(body)
        position = end + 1
        pieces += 1
    return _MAX_PIECES + 1


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
