"""What the platform says, as ASGI responses: JSON, errors in their one shape, and job objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import anyio
from starlette.responses import Response
from starlette.types import Receive

from ..records import JobRecord

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC; written as Z, for which an aware one has no format


class CompactJSONResponse(Response):
    """A body of compact JSON."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return compact_json(content)


def compact_json(content: object) -> bytes:
    # ASCII: what a client sent may hold half of a surrogate pair, which has no UTF-8, and may be quoted in an error.
    return json.dumps(content, separators=(",", ":")).encode()


class ApiError(Exception):
    """A request that is answered with an error: ``meta`` of a ``validation-error`` maps fields to lists of messages."""

    def __init__(
        self,
        status_code: int,
        code: str,
        detail: str,
        meta: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status_code = status_code
        self.code = code
        self.detail = detail
        self.meta = meta or {}
        self.headers = headers
        self.extra = extra or {}

    def content(self) -> dict[str, object]:
        """What the answer's JSON says."""
        return {
            "status_code": self.status_code,
            "code": self.code,
            "detail": self.detail,
            "meta": self.meta,
            **self.extra,
        }

    def answer(self) -> CompactJSONResponse:
        return CompactJSONResponse(self.content(), status_code=self.status_code, headers=self.headers)


def invalid(errors: Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]]) -> ApiError:
    """400: ``errors`` are messages by field, or by field and index, as the public clients expect them."""
    return ApiError(400, "validation-error", "The request is not valid.", errors)


def not_found(what: str) -> ApiError:
    """404, worded."""
    return ApiError(404, "not-found", what)


def too_large(what: str, limit: int) -> ApiError:
    """413, which ends the connection: the rest of the body is not read."""
    return ApiError(
        413, "payload-too-large", f"{what} is larger than the {limit} bytes allowed", headers={"connection": "close"}
    )


def server_error() -> ApiError:
    """500, which tells nothing of the inside."""
    return ApiError(500, "server-error", "The platform failed at this request; its log says more.")


def job_object(record: JobRecord, position: int | None) -> dict[str, object]:
    """A job as every answer shows it, with all keys always. ``position`` is its place in the queue while it waits."""
    meta = dict(record.meta)
    if position is not None:
        meta["queue_position"] = position
    return {
        "id": record.id,
        "name": record.name,
        "status": record.status.value,
        "target": record.target,
        "language": record.language,
        "created_at": iso_time(record.created),
        "started_at": iso_time(record.started),
        "finished_at": iso_time(record.finished),
        "running_time": record.running_time,
        "meta": meta,
    }


def iso_time(microseconds: int | None) -> str | None:
    """``2021-01-27T15:15:25.801308Z``: always with microseconds and Z, which every client can read."""
    if microseconds is None:
        return None
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds") + "Z"


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
