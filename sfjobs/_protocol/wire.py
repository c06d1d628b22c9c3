"""
JSON to models and back: the only client file that knows the platform's field names. Pure functions. JSON that breaks the protocol
raises ``MalformedResponse``; ``Response.parse`` turns it into a ``ProtocolError`` that names the request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time
from typing import NamedTuple, TypeAlias, cast
from urllib.parse import parse_qsl, urlsplit

from ..models import Cursor, Device, DeviceSpecification, JobSnapshot, JobStatus, JSONValue

LANGUAGE = "blackbird:1.0"
_JOB_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:~-]{0,199}\Z")
_TARGET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\Z")
_NUMBER = re.compile(r"[0-9]{1,18}\Z")
_MAX_WORD_LENGTH = 100
_MAX_DETAIL_LENGTH = 2000
_MAX_RUNNING_TIME_SECONDS = 1e12

Known: TypeAlias = Callable[[str], JobSnapshot | None]
"""Returns the last known snapshot of the job with this id."""

ErrorFields: TypeAlias = tuple[str, str, Mapping[str, JSONValue]]
"""``code``, ``detail`` and ``meta`` of an error response."""


class MalformedResponse(ValueError):
    """A response that is JSON but breaks the protocol. The message names the field."""


def job_path(job_id: str, tail: str = "") -> str:
    """Return ``/jobs/{id}``. Raises ValueError for a text that is no id, so that no text can reach another path."""
    if not _JOB_ID.match(job_id):
        raise ValueError(f"not a job id: {job_id[:100]!r}")
    return f"/jobs/{job_id}{tail}"


def device_path(target: str, tail: str = "") -> str:
    """Return ``/devices/{target}``. Raises ValueError for a text that cannot be the name of a target."""
    if not _TARGET.match(target):
        raise ValueError(f"not the name of a target: {target[:100]!r}")
    return f"/devices/{target}{tail}"


def submission(*, name: str | None, target: str, circuit: str) -> dict[str, JSONValue]:
    """Return the body of ``POST /jobs`` in version 0.4.0."""
    return {"name": name, "target": target, "circuit": circuit, "language": LANGUAGE}


def legacy_submission(*, circuit: str) -> dict[str, JSONValue]:
    """Return the body of ``POST /jobs`` in version 0.2.0: the script's header has all else."""
    return {"circuit": circuit}


CANCELLATION: Mapping[str, JSONValue] = {"status": "cancelled"}


def cursor(path: str) -> Cursor:
    """Return the place in the change feed that a link to it names: ``since`` is an epoch, a dot and a number."""
    return cursor_of_event(path, dict(parse_qsl(urlsplit(path).query)).get("since", ""))


def cursor_of_event(path: str, event_id: str) -> Cursor:
    """Return the place after an event, in the feed at ``path``."""
    epoch, _, number = event_id.rpartition(".")
    return Cursor(path, epoch, int(number)) if epoch and _NUMBER.match(number) else Cursor(path)


def job_snapshot(response: object, *, cursor: Cursor | None = None, known: Known | None = None) -> JobSnapshot:
    """
    Return the snapshot of a job object. Only ``id`` and ``status`` are required, as in version 0.2.0. Where nothing has changed,
    as in most responses, return the ``known`` snapshot itself.
    """
    fields = _mapping(response, "the job")
    id_ = job_id(fields)
    before = None if known is None else known(id_)
    if before is not None and _is_same(fields, before):
        return before
    return JobSnapshot(
        id=id_,
        status=_status(fields.get("status")),
        name=_text(fields, "name"),
        target=_text(fields, "target"),
        language=_text(fields, "language"),
        created_at=_datetime(fields, "created_at"),
        started_at=_datetime(fields, "started_at"),
        finished_at=_datetime(fields, "finished_at"),
        running_time=_seconds(fields, "running_time"),
        meta=_optional_mapping(fields, "meta"),
        cursor=cursor,
    )


def job_id(response: object) -> str:
    """Return the id of a job object."""
    found = _mapping(response, "the job").get("id")
    if not isinstance(found, str) or not _JOB_ID.match(found):
        raise MalformedResponse(f"the job's id is invalid: {_excerpt(found)}")
    return found


def _is_same(fields: Mapping[str, JSONValue], before: JobSnapshot) -> bool:
    """Whether reading the fields would make an equal snapshot. Changed fields are validated when they are read."""
    return (
        fields.get("status") == before.status.value
        and fields.get("name") == before.name
        and fields.get("target") == before.target
        and fields.get("language") == before.language
        and fields.get("running_time") == before.running_time
        and fields.get("meta") == before.meta
        and _is_same_time(fields.get("created_at"), before.created_at)
        and _is_same_time(fields.get("started_at"), before.started_at)
        and _is_same_time(fields.get("finished_at"), before.finished_at)
    )


def _is_same_time(value: JSONValue, before: datetime | None) -> bool:
    if value is None or before is None:
        return value is None and before is None
    try:
        return isinstance(value, str) and datetime.fromisoformat(value) == before
    except (ValueError, TypeError):
        return False


def job_snapshots(response: object, *, cursor: Cursor | None = None, known: Known | None = None) -> list[JobSnapshot]:
    """Return the jobs of a list response, in its order."""
    return [job_snapshot(item, cursor=cursor, known=known) for item in _data(response)]


class RefusedItem(NamedTuple):
    """An item of a batch that did not become a job."""

    status_code: int
    error: ErrorFields


def batch(
    response: object, size: int, *, cursor: Cursor | None = None
) -> list[JobSnapshot | RefusedItem | MalformedResponse]:
    """
    Return the outcome of each item of a batch of ``size``, in order; fewer where the response has fewer. A malformed item
    concerns that item only. A response with more than ``size`` items is malformed as a whole.
    """
    items = _data(response)
    if len(items) > size:
        raise MalformedResponse(f"it has {len(items)} outcomes for {size} submissions")
    return [_batch_item(item, cursor) for item in items]


def _batch_item(item: object, cursor: Cursor | None) -> JobSnapshot | RefusedItem | MalformedResponse:
    try:
        fields = _mapping(item, "the submission's outcome")
        status = fields.get("status")
        if isinstance(status, int) and 200 <= status < 300:
            return job_snapshot(fields.get("job"), cursor=cursor)
        if isinstance(status, int) and 400 <= status < 600:
            return RefusedItem(status, error_fields(fields.get("error")))
        raise MalformedResponse(f"the submission's status is invalid: {_excerpt(status)}")
    except MalformedResponse as error:
        return MalformedResponse(str(error))  # a new one, without frames that hold the response


def circuit(response: object) -> str:
    """Return the text of a job's program, exactly as it was submitted."""
    text = _mapping(response, "the circuit").get("circuit")
    if not isinstance(text, str):
        raise MalformedResponse(f"circuit is not a text: {_excerpt(text)}")
    return text


def devices(response: object) -> list[Device]:
    """Return the devices of a list response."""
    return [device(item) for item in _data(response)]


def device(response: object) -> Device:
    """Return a device, as lists and ``GET /devices/{target}`` show it."""
    fields = _mapping(response, "the device")
    return Device(
        target=_required_text(fields, "target"),
        status=_text(fields, "status"),
        expected_uptime={
            day: _times(day, span) for day, span in _optional_mapping(fields, "expected_uptime").items() if span
        },
        created_at=_datetime(fields, "created_at"),
    )


def specification(response: object, *, target: str) -> DeviceSpecification:
    """Return a device's specification. Version 0.2.0 may leave ``target`` out."""
    fields = _mapping(response, "the specification")
    modes = fields.get("modes", 0)
    if isinstance(modes, bool) or not isinstance(modes, (int, Mapping)):
        raise MalformedResponse(f"modes is neither a number nor an object: {_excerpt(modes)}")
    compilers = fields.get("compiler") or []
    if not isinstance(compilers, list) or not all(isinstance(name, str) for name in compilers):
        raise MalformedResponse(f"compiler is not a list of names: {_excerpt(compilers)}")
    return DeviceSpecification(
        target=_text(fields, "target") or target,
        layout=_text(fields, "layout") or "",
        modes=modes,
        compiler=tuple(compilers),
        gate_parameters=_optional_mapping(fields, "gate_parameters"),
    )


def certificate(response: object) -> Mapping[str, JSONValue]:
    """Return a device's certificate: any JSON object."""
    return _mapping(response, "the certificate")


def access_token(response: object) -> tuple[str, float | None]:
    """Return an access token and its lifetime in seconds, None where the response has no plausible one."""
    # Not by _mapping, whose message would quote a bare token.
    if not isinstance(response, Mapping):
        raise MalformedResponse("the token is not an object")
    fields = cast("Mapping[str, JSONValue]", response)
    token = fields.get("access_token")
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise MalformedResponse("access_token is not a token")
    lifetime = fields.get("expires_in")
    if isinstance(lifetime, bool) or not isinstance(lifetime, (int, float)) or not 0 < lifetime < 1e9:
        return token, None
    return token, float(lifetime)


def error_fields(response: object) -> ErrorFields:
    """
    Return ``code``, ``detail`` and ``meta`` of an error response, empty where it has none. Never raises, since error responses
    are malformed most often. Validation messages stand in ``meta`` by field; joined, they replace the platform's general
    ``detail``.
    """
    if not isinstance(response, Mapping):
        return "", "", {}
    code, detail, meta = response.get("code"), response.get("detail"), response.get("meta")
    code = code if isinstance(code, str) else ""
    meta = cast("Mapping[str, JSONValue]", meta) if isinstance(meta, Mapping) else {}
    detail = detail if isinstance(detail, str) else ""
    if code == "validation-error":
        detail = "; ".join(_validation_messages(meta)) or detail
    return code[:_MAX_WORD_LENGTH], detail[:_MAX_DETAIL_LENGTH], meta


def _validation_messages(meta: Mapping[str, JSONValue]) -> list[str]:
    found: list[str] = []
    for field, value in meta.items():
        lists = value.values() if isinstance(value, Mapping) else [value]
        for messages in lists:
            texts = [str(text) for text in messages] if isinstance(messages, list) else [str(messages)]
            found += texts if field == "_schema" else [f"{field}: {text}" for text in texts]
    return found


def _mapping(value: object, what: str) -> Mapping[str, JSONValue]:
    if not isinstance(value, dict):  # the only mapping that JSON makes; checking for Mapping is slower
        raise MalformedResponse(f"{what} is not an object: {_excerpt(value)}")
    return cast("Mapping[str, JSONValue]", value)


def _optional_mapping(fields: Mapping[str, JSONValue], key: str) -> Mapping[str, JSONValue]:
    value = fields.get(key)
    return {} if value is None else _mapping(value, key)


def _data(response: object) -> Sequence[JSONValue]:
    data = _mapping(response, "the list").get("data")
    if not isinstance(data, list):
        raise MalformedResponse(f"data is not a list: {_excerpt(data)}")
    return data


def _status(word: object) -> JobStatus:
    if not isinstance(word, str) or not word or len(word) > _MAX_WORD_LENGTH or not word.isprintable():
        raise MalformedResponse(f"the job's status is not a word: {_excerpt(word)}")
    return JobStatus(word)


def _text(fields: Mapping[str, JSONValue], key: str) -> str | None:
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise MalformedResponse(f"{key} is not a text: {_excerpt(value)}")
    return value


def _required_text(fields: Mapping[str, JSONValue], key: str) -> str:
    value = _text(fields, key)
    if not value:
        raise MalformedResponse(f"{key} is missing")
    return value


def _datetime(fields: Mapping[str, JSONValue], key: str) -> datetime | None:
    text = _text(fields, key)
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise MalformedResponse(f"{key} is not an ISO 8601 time: {_excerpt(text)}") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _seconds(fields: Mapping[str, JSONValue], key: str) -> float | None:
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _MAX_RUNNING_TIME_SECONDS:
        raise MalformedResponse(f"{key} is not a number of seconds: {_excerpt(value)}")
    return float(value)


def _times(day: str, span: JSONValue) -> tuple[time, time]:
    try:
        start, end = cast("Sequence[str]", span)
        return time.fromisoformat(start), time.fromisoformat(end)
    except (TypeError, ValueError):
        raise MalformedResponse(f"expected_uptime of {day[:20]} is not two times: {_excerpt(span)}") from None


def _excerpt(value: object) -> str:
    """What the platform sent, short enough for a message."""
    if isinstance(value, str):
        return repr(value[:60])
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    return f"a JSON {'object' if isinstance(value, Mapping) else 'list' if isinstance(value, list) else 'number'}"
