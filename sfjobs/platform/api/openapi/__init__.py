"""
The platform in OpenAPI 3.1, kept by hand and served at ``/openapi.json``. Tests hold it against the routes, and what the
routes answer against it.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ...._version import __version__
from ....models import JobStatus
from ..responses import CompactJSONResponse
from .schemas import RESPONSES, SCHEMAS, json_body, listed, ref

OPENAPI_PATH: Final = "/openapi.json"

_DESCRIPTION: Final = """\
Jobs on a photonic quantum platform: the protocol that Strawberry Fields (`sf.api`) and xanadu-cloud-client speak, and a few
extensions, each offered in a header before it is used. An API key is exchanged for an access token of minutes; a 401 asks for
a fresh one. Another account's jobs do not exist. Every `GET` may also be a `HEAD`."""

_JOB: Final = ref("schemas", "Job")
_COMMON: Final = {
    "408": ref("responses", "RequestTimeout"),
    "414": ref("responses", "UriTooLong"),
    "431": ref("responses", "HeadTooLarge"),
    "500": ref("responses", "ServerError"),
    "503": ref("responses", "Unavailable"),
}
_ERRORS: Final = {
    400: "InvalidRequest",
    401: "Unauthenticated",
    404: "NotFound",
    410: "CursorExpired",
    413: "PayloadTooLarge",
    429: "QuotaExceeded",
}


def _operation(name: str, summary: str, *errors: int, public: bool = False, **details: Any) -> dict[str, Any]:
    """``errors`` are those without a word of their own; what holds for all, and 401 for all that are not public, is added."""
    responses = dict(details.pop("responses"))
    responses |= {str(status): ref("responses", _ERRORS[status]) for status in errors}
    if not public:
        responses["401"] = ref("responses", "Unauthenticated")
    security: dict[str, Any] = {"security": []} if public else {}
    return {
        "operationId": name,
        "summary": summary,
        **security,
        **details,
        "responses": dict(sorted((responses | _COMMON).items())),
    }


def _answer(description: str, schema: dict[str, Any], **headers: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "headers": _headers(headers), "content": json_body(schema)}


def _headers(headers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        name.replace("_", "-"): {"required": True, "schema": {"type": "string", **schema}}
        for name, schema in headers.items()
    }


def _parameter(place: str, name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"in": place, "name": name, "schema": schema, "description": description, "required": place == "path"}


_MONITOR: Final = {
    "pattern": '<[^>]*/jobs/changes[^>]*>; rel="monitor"; type="text/event-stream"',
    "description": 'RFC 8288: the change feed, from what this answer knows; of lists also `rel="next"`, the next page',
}
_OFFERS: Final = {"Link": _MONITOR, "Accept_Post": {"const": "application/json, application/jobs+json"}}
_ENTITY_TAG: Final = {"pattern": '^"[0-9a-f]{64}"$', "description": "strong, and of these bytes for ever"}
_BYTES: Final = {
    "ETag": _ENTITY_TAG,
    "Repr_Digest": {"pattern": "^sha-256=:[A-Za-z0-9+/]{43}=:$", "description": "RFC 9530, of the whole result"},
    "Accept_Ranges": {"const": "bytes"},
    "Content_Length": {"pattern": "^[0-9]+$"},
    "Vary": {"const": "accept, accept-version"},
    "Cache_Control": {"const": "private"},
}
_FORMATS: Final[dict[str, Any]] = {
    "application/zip": {"schema": {}},
    "application/x-numpy": {"schema": {}},
}
_TARGET: Final = _parameter("path", "target", {"type": "string"}, "of a device")
_ID: Final = _parameter("path", "id", {"type": "string"}, "of a job of this account, a UUID in lower case")

_TOKEN: Final = _operation(
    "getAccessToken",
    "An access token for an API key (RFC 6749, section 6, where the key is the refresh token)",
    413,
    public=True,
    requestBody={
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "grant_type": {"const": "refresh_token"},
                        "refresh_token": {"type": "string", "description": "the API key"},
                        "client_id": {"type": "string"},
                    },
                    "required": ["grant_type", "refresh_token"],
                }
            }
        },
    },
    responses={
        "200": _answer("the token", ref("schemas", "AccessToken"), Cache_Control={"const": "no-store"}),
        "400": _answer("the key is not good, or the form", ref("schemas", "OAuthError")),
    },
)

_SUBMIT: Final = _operation(
    "createJob",
    "Submit a job, or up to 100",
    400,
    413,
    429,
    parameters=[
        _parameter(
            "header",
            "Idempotency-Key",
            {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
            "The first answer to a key is given again, byte for byte, for at least 24 hours. Ignored with a list, whose items"
            " have an `idempotency_key` each.",
        )
    ],
    requestBody={
        "required": True,
        "content": {
            "application/json": {"schema": ref("schemas", "NewJob")},
            "application/jobs+json": {
                "schema": {
                    "type": "array",
                    "maxItems": 100,
                    "items": {
                        "type": "object",
                        "properties": {
                            **SCHEMAS["NewJob"]["properties"],
                            "idempotency_key": {"type": ["string", "null"]},
                        },
                        "required": ["circuit"],
                    },
                }
            },
        },
    },
    responses={
        "201": {
            **_answer("the job; it outlives the platform's process", _JOB, Location={"pattern": "^/jobs/"}, **_OFFERS),
        },
        "207": _answer("what became of each, in order", listed(ref("schemas", "Outcome")), **_OFFERS),
        "409": {
            "description": "`unsupported-circuit`: the device cannot run it; `idempotency-key-in-use`: ask again",
            "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "of `idempotency-key-in-use`"}},
            "content": json_body(ref("schemas", "Error")),
        },
        "422": _answer("`idempotency-key-reused`: the key came with another body", ref("schemas", "Error")),
    },
)

_LIST: Final = _operation(
    "listJobs",
    "Jobs of this account, newest first",
    400,
    parameters=[
        _parameter(
            "query",
            "size",
            {"type": "integer", "minimum": 1, "maximum": 100},
            "of a page; by default 5, or one for each id",
        ),
        _parameter(
            "query",
            "id",
            {"type": "array", "maxItems": 100, "items": {"type": "string", "format": "uuid"}},
            "only these",
        ),
        _parameter("query", "status", {"type": "array", "items": {"enum": list(JobStatus)}}, "only in one of these"),
        _parameter(
            "query", "before", {"type": "string"}, "only older than this job; what the link to the next page says"
        ),
    ],
    responses={"200": _answer("a page of them", listed(_JOB), **_OFFERS)},
)

_EVENT: Final = {
    "type": "object",
    "properties": {
        "event": {"enum": ["hello", "job", "bye"]},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}

_CHANGES: Final = _operation(
    "watchJobs",
    "What changes, as server-sent events, until the access token ends",
    410,
    parameters=[
        _parameter("header", "Last-Event-ID", {"type": "string"}, "a cursor: go on after it"),
        _parameter("query", "since", {"type": "string"}, "the same; what a link to the feed says"),
    ],
    responses={
        "200": {
            "description": "events `hello`, `job` (its data are a job), `bye`; each `id` is a cursor",
            "content": {"text/event-stream": {"schema": _EVENT}},
        }
    },
)

_CANCEL: Final = _operation(
    "cancelJob",
    "Cancel a job",
    400,
    404,
    413,
    requestBody={
        "required": True,
        "content": json_body(
            {
                "type": "object",
                "properties": {"status": {"const": "cancelled"}},
                "required": ["status"],
                "additionalProperties": False,
            }
        ),
    },
    responses={
        "204": {"description": "it is `cancelled`, or `cancel_pending` while it still runs"},
        "409": _answer("`invalid-job-operation`: it has ended", ref("schemas", "Error")),
    },
)

_RESULT: Final = _operation(
    "getResult",
    "The result: `.npz` since protocol 0.4, before that `.npy`",
    404,
    parameters=[
        _parameter("header", "Accept-Version", {"type": "string"}, "the protocol's, as in `0.4.0`"),
        _parameter(
            "header", "Accept", {"type": "string"}, "`application/x-numpy` asks for `.npy` whatever the version"
        ),
        _parameter(
            "header", "Range", {"type": "string"}, "one range of bytes (RFC 9110); several, or nonsense, get the whole"
        ),
        _parameter("header", "If-Range", {"type": "string"}, "an `ETag`: for other bytes than these, send the whole"),
        _parameter("header", "If-None-Match", {"type": "string"}, "an `ETag`: send nothing if these are the bytes"),
    ],
    responses={
        "200": {"description": "the whole", "headers": _headers(_BYTES), "content": _FORMATS},
        "206": {
            "description": "the range",
            "headers": _headers({**_BYTES, "Content_Range": {"pattern": r"^bytes \d+-\d+/\d+$"}}),
            "content": _FORMATS,
        },
        "304": {"description": "the client has it", "headers": _headers({"ETag": _ENTITY_TAG})},
        "416": _answer(
            "`range-not-satisfiable`: none of its bytes exist",
            ref("schemas", "Error"),
            Content_Range={"pattern": r"^bytes \*/\d+$"},
        ),
    },
)

DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "sfjobs platform", "version": __version__, "description": _DESCRIPTION},
    "security": [{"accessToken": []}],
    "paths": {
        "/auth/realms/platform/protocol/openid-connect/token": {"post": _TOKEN},
        OPENAPI_PATH: {
            "get": _operation(
                "getDocument", "This document", public=True, responses={"200": _answer("this", {"type": "object"})}
            )
        },
        "/healthz": {
            "get": _operation(
                "ping", "Is the access token good?", responses={"200": _answer("it is", {"type": "object"})}
            )
        },
        "/devices": {
            "get": _operation(
                "listDevices", "All devices", responses={"200": _answer("them", listed(ref("schemas", "Device")))}
            )
        },
        "/devices/{target}": {
            "parameters": [_TARGET],
            "get": _operation("getDevice", "A device", 404, responses={"200": _answer("it", ref("schemas", "Device"))}),
        },
        "/devices/{target}/specifications": {
            "parameters": [_TARGET],
            "get": _operation(
                "getSpecification",
                "What programs a device runs",
                404,
                responses={"200": _answer("its specification", ref("schemas", "Specification"))},
            ),
        },
        "/devices/{target}/certificate": {
            "parameters": [_TARGET],
            "get": _operation(
                "getCertificate",
                "What was measured of a device",
                404,
                responses={"200": _answer("its certificate", ref("schemas", "Certificate"))},
            ),
        },
        "/jobs": {"get": _LIST, "post": _SUBMIT},
        "/jobs/changes": {"get": _CHANGES},
        "/jobs/{id}": {
            "parameters": [_ID],
            "get": _operation("getJob", "A job", 404, responses={"200": _answer("it", _JOB, **_OFFERS)}),
            "patch": _CANCEL,
        },
        "/jobs/{id}/circuit": {
            "parameters": [_ID],
            "get": _operation(
                "getCircuit",
                "A job's program, as it was submitted",
                404,
                responses={
                    "200": _answer(
                        "it", {"type": "object", "properties": {"circuit": {"type": "string"}}, "required": ["circuit"]}
                    )
                },
            ),
        },
        "/jobs/{id}/result": {"parameters": [_ID], "get": _RESULT},
    },
    "components": {
        "securitySchemes": {"accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        "schemas": SCHEMAS,
        "responses": RESPONSES,
    },
}


async def show_document(_: Request) -> Response:
    """To anybody, without a token."""
    return CompactJSONResponse(DOCUMENT)
