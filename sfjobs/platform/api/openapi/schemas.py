"""The JSON and the answers that several operations share: ``components`` of the document."""

from __future__ import annotations

from typing import Any, Final

from ....models import JobStatus
from ...records import LANGUAGE

_TIME: Final = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$",
    "description": "ISO 8601, UTC, with microseconds",
}
_TIME_OR_NULL: Final = {**_TIME, "type": ["string", "null"]}
_UPTIME: Final = {
    "type": "array",
    "minItems": 2,
    "maxItems": 2,
    "items": {"type": "string", "pattern": r"^\d\d:\d\d:\d\d\+00:00$"},
}
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def closed(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An object with these keys, all of them always, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **more,
    }


def ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def listed(schema: dict[str, Any]) -> dict[str, Any]:
    return closed({"data": {"type": "array", "items": schema}})


def _error(description: str, **headers: dict[str, Any]) -> dict[str, Any]:
    shown = {name.replace("_", "-"): {"required": True, "schema": schema} for name, schema in headers.items()}
    return {"description": description, "headers": shown, "content": json_body(ref("schemas", "Error"))}


_ERROR: Final = {
    "status_code": {"type": "integer", "minimum": 400, "maximum": 599},
    "code": {"type": "string", "pattern": "^[a-z]+(-[a-z]+)*$"},
    "detail": {"type": "string"},
    "meta": {
        "type": "object",
        "description": "of a `validation-error`: field -> list of messages, or field -> index -> list of messages",
    },
}
_NULLABLE_STRING: Final = {"type": ["string", "null"]}

SCHEMAS: Final[dict[str, Any]] = {
    "Error": closed(_ERROR),
    "OAuthError": closed(
        {**_ERROR, "error": {"type": "string"}, "error_description": {"type": "string"}},
        description="RFC 6749, section 5.2, and the platform's own error in one",
    ),
    "AccessToken": closed(
        {
            "access_token": {"type": "string"},
            "token_type": {"const": "Bearer"},
            "expires_in": {"type": "integer", "description": "seconds"},
            "refresh_expires_in": {"type": "integer", "description": "0: an API key does not expire by itself"},
            "scope": {"type": "string"},
        }
    ),
    "Device": closed(
        {
            "target": {"type": "string"},
            "status": {"enum": ["online", "offline"]},
            "expected_uptime": {
                "type": "object",
                "properties": dict.fromkeys(_DAYS, _UPTIME),
                "additionalProperties": False,
            },
            "created_at": {"type": "string", "format": "date-time"},
        }
    ),
    "Specification": {
        "type": "object",
        "properties": {
            "target": {"type": "string"},
            "layout": {"type": "string", "description": "Blackbird with `{parameter}` placeholders, or nothing"},
            "modes": {"type": ["integer", "object"]},
            "compiler": {"type": "array", "items": {"type": "string"}},
            "gate_parameters": {"type": "object", "additionalProperties": {"type": "array"}},
        },
        "required": ["target", "layout", "modes", "compiler", "gate_parameters"],
    },
    "Certificate": {
        "type": "object",
        "properties": {"target": {"type": "string"}, "finished_at": {"type": "string", "format": "date-time"}},
        "required": ["target", "finished_at"],
        "description": "what else it says depends on the device",
    },
    "NewJob": {
        "type": "object",
        "properties": {
            "circuit": {"type": "string", "description": "a Blackbird program, with its shots in the target line"},
            "target": {**_NULLABLE_STRING, "description": "by default that of the target line"},
            "name": {**_NULLABLE_STRING, "maxLength": 255},
            "language": {"enum": [LANGUAGE, "", None]},
        },
        "required": ["circuit"],
        "additionalProperties": False,
    },
    "Job": closed(
        {
            "id": {"type": "string", "format": "uuid"},
            "name": _NULLABLE_STRING,
            "status": {"enum": [status.value for status in JobStatus]},
            "target": {"type": "string"},
            "language": {"const": LANGUAGE},
            "created_at": _TIME,
            "started_at": {**_TIME_OR_NULL, "description": "the only sign that a queued job runs"},
            "finished_at": _TIME_OR_NULL,
            "running_time": {"type": ["number", "null"], "minimum": 0, "description": "seconds"},
            "meta": {
                "type": "object",
                "properties": {
                    "queue_position": {"type": "integer", "minimum": 1, "description": "while it waits"},
                    "error-code": {"type": "string", "description": "of a failed job"},
                    "error-detail": {"type": "string", "description": "of a failed job"},
                },
            },
        }
    ),
    "Outcome": {
        "oneOf": [
            closed({"status": {"const": 201}, "job": ref("schemas", "Job")}),
            closed({"status": {"type": "integer", "minimum": 400}, "error": ref("schemas", "Error")}),
        ],
    },
}

_RETRY_AFTER: Final = {"type": "integer", "description": "seconds"}

RESPONSES: Final[dict[str, Any]] = {
    "InvalidRequest": _error("`invalid-request`: not what this operation reads; `validation-error`: `meta` says why"),
    "Unauthenticated": _error("`unauthenticated`", WWW_Authenticate={"const": "Bearer"}),
    "NotFound": _error("`not-found`: it does not exist, or is another account's"),
    "CursorExpired": _error("`cursor-expired`: list the jobs again, then ask without a cursor"),
    "RequestTimeout": _error("`request-timeout`: its head or body did not come in time"),
    "PayloadTooLarge": _error("`payload-too-large`"),
    "UriTooLong": _error("`uri-too-long`"),
    "HeadTooLarge": _error("`head-too-large`"),
    "ServerError": _error("`server-error`: a failure of the platform; its log says more"),
    "QuotaExceeded": _error(
        "`quota-exceeded`: the account has as many unfinished jobs as it may", Retry_After=_RETRY_AFTER
    ),
    "Unavailable": _error(
        "`stopping`: what was asked for may or may not have been done; `store-unavailable`: it has not been done",
        Retry_After=_RETRY_AFTER,
    ),
}
