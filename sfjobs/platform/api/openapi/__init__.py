"""
The platform in OpenAPI 3.1, kept by hand and served at ``/openapi.json``. Tests compare it with the routes, and the responses of
the routes with it.

    building  functions that make parts of the document
    schemas   the JSON and the error responses that several operations share
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ...._version import __version__
from ....models import JobStatus
from ..extensions import EXTENSIONS
from ..responses import CompactJSONResponse
from ..routes.health import LIVE_PATH, READY_PATH
from .building import (
    STRING,
    closed,
    get,
    header,
    headers_of,
    listed,
    open_object,
    operation,
    parameter,
    query,
    ref,
    response,
)
from .schemas import RESPONSES, SCHEMAS

OPENAPI_PATH: Final = "/openapi.json"

_DESCRIPTION: Final = """\
Jobs on a photonic quantum platform: the protocol that Strawberry Fields (`sf.api`) and xanadu-cloud-client use, with a few
extensions. A response header offers each extension before a client uses it. An API key is exchanged for an access token that is
valid for minutes; after a 401, get a new one. The jobs of other accounts do not exist. Every `GET` may also be a `HEAD`."""

_JOB: Final = ref("schemas", "Job")
_ERROR: Final = ref("schemas", "Error")
_MONITOR: Final = {
    "pattern": '<[^>]*/jobs/changes[^>]*>; rel="monitor"; type="text/event-stream"',
    "description": 'RFC 8288: the change feed from the state of this response; for lists also `rel="next"`, the next page',
}
_EXTENSIONS: Final = {
    "Sfjobs_Extensions": {
        "const": EXTENSIONS["sfjobs-extensions"],
        "description": "extensions that are offered by name: with `delete`, `DELETE /jobs/{id}`; with `priority`, that field",
    }
}
_OFFERS: Final = {"Link": _MONITOR, "Accept_Post": {"const": "application/json, application/jobs+json"}, **_EXTENSIONS}

_ONE_JOB: Final = response("the job", _JOB, **_OFFERS)

_TOKEN: Final = operation(
    "getAccessToken",
    "Exchange an API key for an access token (RFC 6749, section 6; the key is the refresh token)",
    413,
    public=True,
    body={
        "application/x-www-form-urlencoded": open_object(
            {
                "grant_type": {"const": "refresh_token"},
                "refresh_token": {**STRING, "description": "the API key"},
                "client_id": STRING,
            },
            *("grant_type", "refresh_token"),
        )
    },
    responses={
        "200": response("the token", ref("schemas", "AccessToken"), Cache_Control={"const": "no-store"}),
        "400": response("the key or the form is not valid", ref("schemas", "OAuthError")),
    },
)

_BATCH_ITEM: Final = open_object(
    {**SCHEMAS["NewJob"]["properties"], "idempotency_key": {"type": ["string", "null"]}}, "circuit"
)
_SUBMIT: Final = operation(
    "createJob",
    "Submit a job, or up to 100",
    400,
    413,
    parameters=[
        header(
            "Idempotency-Key",
            "The first response to a key is given again, byte for byte, for at least 24 hours. Ignored for a list, whose items"
            " have an `idempotency_key` each.",
            pattern=r"^[\x21-\x7e]{1,255}$",
        )
    ],
    body={
        "application/json": ref("schemas", "NewJob"),
        "application/jobs+json": {"type": "array", "maxItems": 100, "items": _BATCH_ITEM},
    },
    responses={
        "201": response("the job, durably stored", _JOB, Location={"pattern": "^/jobs/"}, **_OFFERS),
        "207": response("the outcome of each submission, in order", listed(ref("schemas", "Outcome")), **_OFFERS),
        "409": {
            **response(
                "`unsupported-circuit`: the device cannot run it; `idempotency-key-in-use`: repeat it later", _ERROR
            ),
            "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "with `idempotency-key-in-use`"}},
        },
        "403": response("`storage-quota-exceeded`: delete jobs first", _ERROR),
        "422": response("`idempotency-key-reused`: the key was used for a different submission", _ERROR),
    },
)

_LIST: Final = operation(
    "listJobs",
    "List the jobs of this account, newest first",
    400,
    parameters=[
        query("size", "jobs on a page; by default 5, or one for each id", type="integer", minimum=1, maximum=100),
        query("id", "only these", type="array", maxItems=100, items={"type": "string", "format": "uuid"}),
        query("status", "only with one of these", type="array", items={"enum": list(JobStatus)}),
        query("before", "only older than this job, as in the link to the next page"),
    ],
    responses={"200": response("a page of jobs", listed(_JOB), **_OFFERS)},
)

_EVENT: Final = open_object(
    {
        "event": {"enum": ["hello", "job", "deleted", "bye"]},
        "id": STRING,
        "data": {**STRING, "contentMediaType": "application/json"},
    },
    *("event", "data"),
)
_CHANGES: Final = operation(
    "watchJobs",
    "Stream changes of jobs as server-sent events, until the access token ends",
    410,
    parameters=[
        header("Last-Event-ID", "a cursor: continue after it"),
        query("since", "the same, as in a link to the feed"),
    ],
    responses={
        "200": {
            "description": "events `hello`, `job` (with a job as data), `deleted` (with the `id` of a job), `bye`; each `id` is a"
            " cursor",
            "content": {"text/event-stream": {"schema": _EVENT}},
        }
    },
)

_CANCEL: Final = operation(
    "cancelJob",
    "Cancel a job",
    400,
    404,
    413,
    body={"application/json": closed({"status": {"const": "cancelled"}})},
    responses={
        "204": {"description": "the job is `cancelled`, or `cancel_pending` while it still runs"},
        "409": response("`invalid-job-operation`: the job has ended", _ERROR),
    },
)

_DELETE: Final = operation(
    "deleteJob",
    "Delete a job that has ended, with its program and its result; an extension, offered as `delete`",
    404,
    responses={
        "204": {
            "description": "the job is deleted; a repeated submission with its idempotency key does not run it again"
        },
        "409": response("`invalid-job-operation`: the job has not ended; cancel it first", _ERROR),
    },
)

_FORMATS: Final[dict[str, Any]] = {"application/zip": {"schema": {}}, "application/x-numpy": {"schema": {}}}
_ENTITY_TAG: Final = {"pattern": '^"[0-9a-f]{64}"$', "description": "strong; these bytes never change"}
_BYTES: Final = {
    "ETag": _ENTITY_TAG,
    "Repr_Digest": {"pattern": "^sha-256=:[A-Za-z0-9+/]{43}=:$", "description": "RFC 9530, of the whole result"},
    "Accept_Ranges": {"const": "bytes"},
    "Content_Length": {"pattern": "^[0-9]+$"},
    "Vary": {"const": "accept, accept-version"},
    "Cache_Control": {"const": "private"},
}
_PART: Final = {**_BYTES, "Content_Range": {"pattern": r"^bytes \d+-\d+/\d+$"}}
_RESULT: Final = operation(
    "getResult",
    "Get the result: `.npz` since protocol 0.4, `.npy` before",
    404,
    parameters=[
        header("Accept-Version", "of the protocol, as in `0.4.0`"),
        header("Accept", "`application/x-numpy` requests `.npy` with any version"),
        header("Range", "one range of bytes (RFC 9110); several, or a malformed one, return the whole"),
        header("If-Range", "an `ETag`: return the whole if the bytes are different ones"),
        header("If-None-Match", "an `ETag`: return nothing if these are the bytes"),
    ],
    responses={
        "200": {"description": "the whole", "headers": headers_of(_BYTES), "content": _FORMATS},
        "206": {"description": "the range", "headers": headers_of(_PART), "content": _FORMATS},
        "304": {"description": "the client has the bytes", "headers": headers_of({"ETag": _ENTITY_TAG})},
        "410": response(
            "`result-deleted`: after the time that results are kept; `result-missing`: the file is lost", _ERROR
        ),
        "416": response(
            "`range-not-satisfiable`: the range has none of the bytes",
            _ERROR,
            Content_Range={"pattern": r"^bytes \*/\d+$"},
        ),
    },
)

_DEVICES: Final = response("the devices", listed(ref("schemas", "Device")), **_EXTENSIONS)
_ID: Final = [parameter("path", "id", "of a job of this account, a UUID in lower case")]
_CIRCUIT: Final = open_object({"circuit": STRING}, "circuit")


def _of_device(name: str, summary: str, schema: str) -> dict[str, Any]:
    target = parameter("path", "target", "of a device")
    return {"parameters": [target], "get": get(name, summary, ref("schemas", schema), 404)}


_READINESS: Final = closed(
    {
        "status": {"enum": ["ready", "not ready"]},
        "draining": {"type": "boolean", "description": "the platform stops"},
        "disk": {**STRING, "description": "for results: `ok`, or what is wrong"},
        "database": {**STRING, "description": "of jobs: `ok`, or what is wrong"},
        "workers": {**STRING, "description": "`ok`, or what is wrong"},
    }
)
_READY: Final = operation(
    "isReady",
    "Check that jobs can be accepted and run now",
    public=True,
    responses={
        "200": response("they can", _READINESS),
        "503": response("they cannot, or the platform is stopping", {"anyOf": [_READINESS, _ERROR]}),
    },
)


DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "sfjobs platform", "version": __version__, "description": _DESCRIPTION},
    "security": [{"accessToken": []}],
    "paths": {
        "/auth/realms/platform/protocol/openid-connect/token": {"post": _TOKEN},
        OPENAPI_PATH: {"get": get("getDocument", "Get this document", {"type": "object"}, public=True)},
        LIVE_PATH: {
            "get": get("isAlive", "Check that the platform answers", closed({"status": {"const": "ok"}}), public=True)
        },
        READY_PATH: {"get": _READY},
        "/healthz": {"get": get("ping", "Check the access token", {"type": "object"})},
        "/devices": {"get": get("listDevices", "List all devices", _DEVICES)},
        "/devices/{target}": _of_device("getDevice", "Get a device", "Device"),
        "/devices/{target}/specifications": _of_device(
            "getSpecification", "Get what programs a device runs", "Specification"
        ),
        "/devices/{target}/certificate": _of_device(
            "getCertificate", "Get the measured properties of a device", "Certificate"
        ),
        "/jobs": {"get": _LIST, "post": _SUBMIT},
        "/jobs/changes": {"get": _CHANGES},
        "/jobs/{id}": {
            "parameters": _ID,
            "get": get("getJob", "Get a job", _ONE_JOB, 404),
            "patch": _CANCEL,
            "delete": _DELETE,
        },
        "/jobs/{id}/circuit": {
            "parameters": _ID,
            "get": get("getCircuit", "Get the program of a job, as it was submitted", _CIRCUIT, 404),
        },
        "/jobs/{id}/result": {"parameters": _ID, "get": _RESULT},
    },
    "components": {
        "securitySchemes": {"accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        "schemas": SCHEMAS,
        "responses": RESPONSES,
    },
}


async def show_document(_: Request) -> Response:
    """Return the document; no token is needed."""
    return CompactJSONResponse(DOCUMENT)
