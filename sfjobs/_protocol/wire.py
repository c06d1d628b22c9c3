"""
JSON to models and back: the only client file that knows the platform's field names. Pure functions. JSON that breaks the protocol
raises ``MalformedResponse``; ``Response.parse`` turns it into a ``ProtocolError`` that names the request.

One odd field does not cost the record, and one odd record does not cost the list. A field that cannot be read is None, or empty,
and is noted with a ``Note``; a record of a list that cannot be read is a ``MalformedRecord``. Only the id and the status of a job
are required, and the target of a device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, time
from typing import NamedTuple, TypeAlias, cast
from urllib.parse import parse_qsl, urlsplit

from ..models import Cursor, Device, DeviceSpecification, JobSnapshot, JSONValue
from .fields import (
    MAX_WORD_LENGTH,
    MalformedResponse,
    data,
    excerpt,
    mapping,
    moment,
    optional_mapping,
    required_text,
    seconds,
    status,
    text,
    times,
)
from .salvage import UnparsableItem

__all__ = ["MalformedResponse"]

LANGUAGE = "blackbird:1.0"
_JOB_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:~-]{0,199}\Z")
_TARGET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\Z")
_EVENT_ID = re.compile(r"(?P<epoch>[!-~]{1,200})\.(?P<number>[0-9]{1,18})\Z")
_MAX_DETAIL_LENGTH = 2000

Known: TypeAlias = Callable[[str], JobSnapshot | None]
"""Returns the last known snapshot of the job with this id."""

ErrorFields: TypeAlias = tuple[str, str, Mapping[str, JSONValue]]
"""``code``, ``detail`` and ``meta`` of an error response."""


Note: TypeAlias = Callable[[str, str], None]
"""Is called with the name of a field that cannot be read, such as ``job.meta``, and what is wrong with it."""


def ignore(field: str, reason: str) -> None:
    """Note nothing."""


class MalformedRecord(NamedTuple):
    """A job of a response that cannot be read; ``id`` is None where that cannot be read, either."""

    id: str | None
    reason: str


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


def submission(*, name: str | None, target: str, circuit: str, priority: int | None = None) -> dict[str, JSONValue]:
    """Return the body of ``POST /jobs`` in version 0.4.0. ``priority`` is an extension of it."""
    fields: dict[str, JSONValue] = {"name": name, "target": target, "circuit": circuit, "language": LANGUAGE}
    return fields if priority is None else {**fields, "priority": priority}


def legacy_submission(*, circuit: str) -> dict[str, JSONValue]:
    """Return the body of ``POST /jobs`` in version 0.2.0: the script's header has all else."""
    return {"circuit": circuit}


CANCELLATION: Mapping[str, JSONValue] = {"status": "cancelled"}


def cursor(path: str) -> Cursor:
    """Return the place in the change feed that a link to it names: ``since`` is an epoch, a dot and a number."""
    return cursor_of_event(path, dict(parse_qsl(urlsplit(path).query)).get("since", ""))


def cursor_of_event(path: str, event_id: str) -> Cursor:
    """Return the place after an event, in the feed at ``path``. An id that could not be sent back in a header is none."""
    found = _EVENT_ID.match(event_id)
    return Cursor(path) if found is None else Cursor(path, found["epoch"], int(found["number"]))


def job_snapshot(
    response: object, *, cursor: Cursor | None = None, known: Known | None = None, note: Note = ignore
) -> JobSnapshot:
    """
    Return the snapshot of a job object. Only ``id`` and ``status`` are required, as in version 0.2.0. Where nothing has changed,
    as in most responses, return the ``known`` snapshot itself.
    """
    fields = mapping(response, "the job")
    id_ = job_id(fields)
    before = None if known is None else known(id_)
    if before is not None and _is_same(fields, before):
        return before
    try:
        return _read_job(fields, id_, cursor)
    except MalformedResponse:
        status(fields.get("status"))
        return _read_job(_without_odd_fields(fields, "job", _JOB_FIELDS, note), id_, cursor)


def _read_job(fields: Mapping[str, JSONValue], id_: str, cursor: Cursor | None) -> JobSnapshot:
    return JobSnapshot(
        id=id_,
        status=status(fields.get("status")),
        name=text(fields, "name"),
        target=text(fields, "target"),
        language=text(fields, "language"),
        created_at=moment(fields, "created_at"),
        started_at=moment(fields, "started_at"),
        finished_at=moment(fields, "finished_at"),
        running_time=seconds(fields, "running_time"),
        meta=optional_mapping(fields, "meta"),
        cursor=cursor,
    )


_Readers: TypeAlias = Mapping[str, Callable[[Mapping[str, JSONValue], str], object]]

_JOB_FIELDS: _Readers = {
    "name": text,
    "target": text,
    "language": text,
    "created_at": moment,
    "started_at": moment,
    "finished_at": moment,
    "running_time": seconds,
    "meta": optional_mapping,
}


def _without_odd_fields(
    fields: Mapping[str, JSONValue], kind: str, readers: _Readers, note: Note
) -> Mapping[str, JSONValue]:
    """Return the fields of which those that cannot be read are None, and note these."""
    odd: dict[str, JSONValue] = {}
    for key, read in readers.items():
        try:
            read(fields, key)
        except MalformedResponse as error:
            odd[key] = None
            note(f"{kind}.{key}", str(error))
    return {**fields, **odd}


def job_id(response: object) -> str:
    """Return the id of a job object."""
    found = mapping(response, "the job").get("id")
    if not isinstance(found, str) or not _JOB_ID.match(found):
        raise MalformedResponse(f"the job's id is invalid: {excerpt(found)}")
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


def job_records(
    response: object, *, cursor: Cursor | None = None, known: Known | None = None, note: Note = ignore
) -> list[JobSnapshot | MalformedRecord]:
    """Return the jobs of a list response, in its order."""
    return [_job_record(item, cursor, known, note) for item in data(response)]


def _job_record(item: object, cursor: Cursor | None, known: Known | None, note: Note) -> JobSnapshot | MalformedRecord:
    try:
        return job_snapshot(item, cursor=cursor, known=known, note=note)
    except MalformedResponse as error:
        note("job", str(error))
        return MalformedRecord(readable_id(item), str(error))


def readable_id(item: object) -> str | None:
    """Return the id of a record that cannot be read otherwise, None where it has none."""
    found = item.id if isinstance(item, UnparsableItem) else item.get("id") if isinstance(item, dict) else None
    return found if isinstance(found, str) and _JOB_ID.match(found) else None


class RefusedItem(NamedTuple):
    """An item of a batch that did not become a job."""

    status_code: int
    error: ErrorFields


def batch(
    response: object, size: int, *, cursor: Cursor | None = None, note: Note = ignore
) -> list[JobSnapshot | RefusedItem | MalformedResponse]:
    """
    Return the outcome of each item of a batch of ``size``, in order; fewer where the response has fewer. A malformed item
    concerns that item only. A response with more than ``size`` items is malformed as a whole.
    """
    items = data(response)
    if len(items) > size:
        raise MalformedResponse(f"it has {len(items)} outcomes for {size} submissions")
    return [_batch_item(item, cursor, note) for item in items]


def _batch_item(item: object, cursor: Cursor | None, note: Note) -> JobSnapshot | RefusedItem | MalformedResponse:
    try:
        fields = mapping(item, "the submission's outcome")
        code = fields.get("status")
        if isinstance(code, int) and 200 <= code < 300:
            return job_snapshot(fields.get("job"), cursor=cursor, note=note)
        if isinstance(code, int) and 400 <= code < 600:
            return RefusedItem(code, error_fields(fields.get("error")))
        raise MalformedResponse(f"the submission's status is invalid: {excerpt(code)}")
    except MalformedResponse as error:
        return MalformedResponse(str(error))  # a new one, without frames that hold the response


def circuit(response: object) -> str:
    """Return the text of a job's program, exactly as it was submitted."""
    found = mapping(response, "the circuit").get("circuit")
    if not isinstance(found, str):
        raise MalformedResponse(f"circuit is not a text: {excerpt(found)}")
    return found


def devices(response: object, *, note: Note = ignore) -> list[Device]:
    """Return the devices of a list response, without those whose target cannot be read."""
    found: list[Device] = []
    for item in data(response):
        try:
            found.append(device(item, note=note))
        except MalformedResponse as error:
            note("device", str(error))
    return found


def device(response: object, *, note: Note = ignore) -> Device:
    """Return a device, as lists and ``GET /devices/{target}`` show it. Only ``target`` is required."""
    fields = mapping(response, "the device")
    target = required_text(fields, "target")
    fields = _without_odd_fields(fields, "device", _DEVICE_FIELDS, note)
    uptime: dict[str, tuple[time, time]] = {}
    for day, span in optional_mapping(fields, "expected_uptime").items():
        try:
            uptime.update({day: times(day, span)} if span else {})
        except MalformedResponse as error:
            note("device.expected_uptime", str(error))
    pause = _without_odd_fields(optional_mapping(fields, "pause"), "device.pause", _PAUSE_FIELDS, note)
    return Device(
        target=target,
        status=text(fields, "status"),
        expected_uptime=uptime,
        created_at=moment(fields, "created_at"),
        pause_reason=(text(pause, "reason") or "") if fields.get("pause") is not None else None,
        paused_until=moment(pause, "until"),
    )


_DEVICE_FIELDS: _Readers = {
    "status": text,
    "expected_uptime": optional_mapping,
    "created_at": moment,
    "pause": optional_mapping,
}
_PAUSE_FIELDS: _Readers = {"reason": text, "until": moment}


def specification(response: object, *, target: str, note: Note | None = None) -> DeviceSpecification:
    """
    Return a device's specification. Version 0.2.0 may leave ``target`` out. A field that cannot be read is noted and left out;
    without ``note`` it raises MalformedResponse, since a program must not be compiled for what the device is not.
    """
    fields = mapping(response, "the specification")
    if note is not None:
        fields = _without_odd_fields(fields, "specification", _SPECIFICATION_FIELDS, note)
    return DeviceSpecification(
        target=text(fields, "target") or target,
        layout=text(fields, "layout") or "",
        modes=_modes(fields, "modes"),
        compiler=_compilers(fields, "compiler"),
        gate_parameters=optional_mapping(fields, "gate_parameters"),
    )


def _modes(fields: Mapping[str, JSONValue], key: str) -> int | Mapping[str, JSONValue]:
    modes = fields.get(key)
    if modes is None:
        return 0
    if isinstance(modes, bool) or not isinstance(modes, (int, Mapping)):
        raise MalformedResponse(f"{key} is neither a number nor an object: {excerpt(modes)}")
    return modes


def _compilers(fields: Mapping[str, JSONValue], key: str) -> tuple[str, ...]:
    compilers = fields.get(key) or []
    if not isinstance(compilers, list) or not all(isinstance(name, str) for name in compilers):
        raise MalformedResponse(f"{key} is not a list of names: {excerpt(compilers)}")
    return tuple(compilers)


_SPECIFICATION_FIELDS: _Readers = {
    "target": text,
    "layout": text,
    "modes": _modes,
    "compiler": _compilers,
    "gate_parameters": optional_mapping,
}


def certificate(response: object, *, note: Note = ignore) -> Mapping[str, JSONValue] | None:
    """Return a device's certificate: any JSON object. None for other JSON."""
    try:
        return mapping(response, "the certificate")
    except MalformedResponse as error:
        note("certificate", str(error))
        return None


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
    return code[:MAX_WORD_LENGTH], detail[:_MAX_DETAIL_LENGTH], meta


def _validation_messages(meta: Mapping[str, JSONValue]) -> list[str]:
    found: list[str] = []
    for field, value in meta.items():
        lists = value.values() if isinstance(value, Mapping) else [value]
        for messages in lists:
            texts = [str(text) for text in messages] if isinstance(messages, list) else [str(messages)]
            found += texts if field == "_schema" else [f"{field}: {text}" for text in texts]
    return found
