"""Functions that make parts of the document. In keyword arguments for headers, an underscore stands for a hyphen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

_ERRORS: Final = {
    400: "InvalidRequest",
    401: "Unauthenticated",
    404: "NotFound",
    408: "RequestTimeout",
    410: "CursorExpired",
    413: "PayloadTooLarge",
    414: "UriTooLong",
    429: "TooMuchAtOnce",
    431: "HeadTooLarge",
    500: "ServerError",
    503: "Unavailable",
}
_ERRORS_OF_ALL: Final = (408, 414, 429, 431, 500, 503)


STRING: Final = {"type": "string"}


def ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def open_object(properties: Mapping[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    """Return the schema of an object with these keys, of which some are required, and maybe others."""
    return {"type": "object", "properties": properties, "required": list(required), **more}


def closed(properties: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return the schema of an object that always has exactly these keys."""
    return open_object(properties, *properties, additionalProperties=False, **more)


def listed(schema: dict[str, Any]) -> dict[str, Any]:
    return closed({"data": {"type": "array", "items": schema}})


def headers_of(headers: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        name.replace("_", "-"): {"required": True, "schema": {**STRING, **schema}} for name, schema in headers.items()
    }


def response(description: str, schema: dict[str, Any], **headers: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {"description": description, "headers": headers_of(headers), "content": content}


def parameter(place: str, name: str, description: str, **schema: Any) -> dict[str, Any]:
    schema = {**STRING, **schema}
    return {"in": place, "name": name, "schema": schema, "description": description, "required": place == "path"}


query = partial(parameter, "query")
header = partial(parameter, "header")


def operation(
    name: str,
    summary: str,
    *errors: int,
    responses: Mapping[str, Any],
    public: bool = False,
    parameters: list[dict[str, Any]] | None = None,
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """
    Return an operation. ``body`` has schemas by media type. ``errors`` are statuses with shared responses; the errors
    of all operations are added, and 401 unless the operation is public.
    """
    shared = (*errors, *_ERRORS_OF_ALL) if public else (401, *errors, *_ERRORS_OF_ALL)
    all_responses = {**{str(status): ref("responses", _ERRORS[status]) for status in shared}, **responses}
    made: dict[str, Any] = {"operationId": name, "summary": summary, "responses": dict(sorted(all_responses.items()))}
    if public:
        made["security"] = []
    if parameters:
        made["parameters"] = parameters
    if body:
        content = {media_type: {"schema": schema} for media_type, schema in body.items()}
        made["requestBody"] = {"required": True, "content": content}
    return made


def get(name: str, summary: str, success: dict[str, Any], *errors: int, public: bool = False) -> dict[str, Any]:
    """Return an operation whose successful response is JSON of this schema, or this response."""
    found = success if "description" in success else response("success", success)
    return operation(name, summary, *errors, public=public, responses={"200": found})
