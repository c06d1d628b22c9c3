"""The JSON and the error responses that several operations share: ``components`` of the document."""

from __future__ import annotations

from typing import Any, Final

from ....models import JobStatus
from ...records import LANGUAGE, MAX_PRIORITY
from .building import STRING, closed, open_object, ref, response

_TIME: Final = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$",
    "description": "ISO 8601, UTC, with microseconds",
}
_TIME_OR_NULL: Final = {**_TIME, "type": ["string", "null"]}
_UPTIME_TIME: Final = {"type": "string", "pattern": r"^\d\d:\d\d:\d\d\+00:00$"}
_UPTIME: Final = {"type": "array", "minItems": 2, "maxItems": 2, "items": _UPTIME_TIME}
_DATE_TIME: Final = {"type": "string", "format": "date-time"}
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _error(description: str, **headers: dict[str, Any]) -> dict[str, Any]:
    return response(description, ref("schemas", "Error"), **headers)


_ERROR: Final = {
    "status_code": {"type": "integer", "minimum": 400, "maximum": 599},
    "code": {"type": "string", "pattern": "^[a-z]+(-[a-z]+)*$"},
    "detail": STRING,
    "meta": {
        "type": "object",
        "description": "of a `validation-error`: field -> list of messages, or field -> index -> list of messages",
    },
}
_NULLABLE_STRING: Final = {"type": ["string", "null"]}

SCHEMAS: Final[dict[str, Any]] = {
    "Error": closed(_ERROR),
    "OAuthError": closed(
        {**_ERROR, "error": STRING, "error_description": STRING},
        description="RFC 6749, section 5.2, with the fields of the platform's own errors",
    ),
    "AccessToken": closed(
        {
            "access_token": STRING,
            "token_type": {"const": "Bearer"},
            "expires_in": {"type": "integer", "description": "seconds"},
            "refresh_expires_in": {"type": "integer", "description": "0: an API key does not expire"},
            "scope": STRING,
        }
    ),
    "Device": open_object(
        {
            "target": STRING,
            "status": {"enum": ["online", "offline"]},
            "expected_uptime": {
                "type": "object",
                "properties": dict.fromkeys(_DAYS, _UPTIME),
                "additionalProperties": False,
            },
            "created_at": _DATE_TIME,
            "pause": closed({"reason": STRING, "since": _TIME, "until": _TIME_OR_NULL}),
        },
        "target",
        "status",
        "expected_uptime",
        "created_at",
        additionalProperties=False,
    ),
    "Specification": open_object(
        {
            "target": STRING,
            "layout": {**STRING, "description": "Blackbird with `{parameter}` placeholders, or empty"},
            "modes": {"type": ["integer", "object"]},
            "compiler": {"type": "array", "items": STRING},
            "gate_parameters": {"type": "object", "additionalProperties": {"type": "array"}},
        },
        *("target", "layout", "modes", "compiler", "gate_parameters"),
    ),
    "Certificate": open_object(
        {"target": STRING, "finished_at": _DATE_TIME},
        *("target", "finished_at"),
        description="further keys depend on the device",
    ),
    "NewJob": open_object(
        {
            "circuit": {**STRING, "description": "a Blackbird program with the number of shots in the target line"},
            "target": {**_NULLABLE_STRING, "description": "by default the target of the target line"},
            "name": {**_NULLABLE_STRING, "maxLength": 255},
            "language": {"enum": [LANGUAGE, "", None]},
            "priority": {
                "type": ["integer", "null"],
                "minimum": -MAX_PRIORITY,
                "maximum": MAX_PRIORITY,
                "description": "among the waiting jobs of the account; higher ones run earlier; 0 by default",
            },
        },
        "circuit",
        additionalProperties=False,
    ),
    "Job": closed(
        {
            "id": {"type": "string", "format": "uuid"},
            "name": _NULLABLE_STRING,
            "status": {"enum": [status.value for status in JobStatus]},
            "target": STRING,
            "language": {"const": LANGUAGE},
            "created_at": _TIME,
            "started_at": {**_TIME_OR_NULL, "description": "set when a queued job runs"},
            "finished_at": _TIME_OR_NULL,
            "running_time": {"type": ["number", "null"], "minimum": 0, "description": "seconds"},
            "meta": {
                "type": "object",
                "properties": {
                    "queue_position": {"type": "integer", "minimum": 1, "description": "while the job waits"},
                    "queue_reason": {**STRING, "description": "what it waits for, if not the jobs before it"},
                    "result_deleted_at": {**_TIME, "description": "of a complete job whose result is kept no more"},
                    "error-code": {**STRING, "description": "of a failed job"},
                    "error-detail": {**STRING, "description": "of a failed job"},
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
    "InvalidRequest": _error("`invalid-request`: the body cannot be read; `validation-error`: `meta` has the reasons"),
    "Unauthenticated": _error("`unauthenticated`", WWW_Authenticate={"const": "Bearer"}),
    "NotFound": _error("`not-found`: it does not exist, or belongs to another account"),
    "CursorExpired": _error(
        "`cursor-expired`: the cursor is not known, or too old; list the jobs again, then open the feed without one"
    ),
    "RequestTimeout": _error("`request-timeout`: the head or body was not received in time"),
    "PayloadTooLarge": _error("`payload-too-large`"),
    "UriTooLong": _error("`uri-too-long`"),
    "HeadTooLarge": _error("`head-too-large`"),
    "ServerError": _error("`server-error`: a failure of the platform; its log has the cause"),
    "TooMuchAtOnce": _error(
        "`too-much-at-once`: the account, or without a token the address, has too many requests, streams or downloads, or its"
        " bodies hold too much memory; of submissions also `quota-exceeded`: the account has the most unfinished jobs that it may"
        " have, and `too-many-checks`: too many of its programs wait for their check",
        Retry_After=_RETRY_AFTER,
    ),
    "Unavailable": _error(
        "`stopping`: the request may or may not have been carried out; `store-unavailable`, `overloaded`, `too-many-checks` and"
        " `check-unavailable`: it was not",
        Retry_After=_RETRY_AFTER,
    ),
}
