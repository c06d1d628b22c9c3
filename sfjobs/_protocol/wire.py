"""
JSON <-> models: the only client file that knows the platform's field names. Pure functions; what does not speak the
platform's language raises ``MalformedResponse``, which whoever sent the request turns into a ``ProtocolError`` that names it.
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
_LONGEST_WORD = 100
_LONGEST_RUN = 1e12


Known: TypeAlias = Callable[[str], JobSnapshot | None]
"""What was last heard of the job with this id."""


class MalformedResponse(ValueError):
    """An answer that is JSON but not what the protocol says; the message names the field."""


def job_path(job_id: str, tail: str = "") -> str:
    """``/jobs/{id}``; ValueError for a text that cannot be an id, so that none can reach another path."""
    if not _JOB_ID.match(job_id):
        raise ValueError(f"not a job id: {job_id[:100]!r}")
    return f"/jobs/{job_id}{tail}"


def device_path(target: str, tail: str = "") -> str:
    """``/devices/{target}``; ValueError for a text that cannot be the name of a target."""
    if not _TARGET.match(target):
        raise ValueError(f"not the name of a target: {target[:100]!r}")
    return f"/devices/{target}{tail}"


def submission(*, name: str | None, target: str, circuit: str) -> dict[str, JSONValue]:
    """The body of ``POST /jobs`` in version 0.4.0."""
    return {"name": name, "target": target, "circuit": circuit, "language": LANGUAGE}


def legacy_submission(*, circuit: str) -> dict[str, JSONValue]:
    """The body of ``POST /jobs`` in version 0.2.0: everything else stands in the script's header."""
    return {"circuit": circuit}


CANCELLATION: Mapping[str, JSONValue] = {"status": "cancelled"}


def cursor(path: str) -> Cursor:
    """The place in the change feed that a link to it names, if it does: ``since``, an epoch and a number behind its last dot."""
    return cursor_of_event(path, dict(parse_qsl(urlsplit(path).query)).get("since", ""))


def cursor_of_event(path: str, event_id: str) -> Cursor:
    """The place after an event, in the feed that ``path`` leads to."""
    epoch, _, number = event_id.rpartition(".")
    return Cursor(path, epoch, int(number)) if epoch and _NUMBER.match(number) else Cursor(path)


def job_snapshot(answer: object, *, cursor: Cursor | None = None, known: Known | None = None) -> JobSnapshot:
    """
    A job object. Only ``id`` and ``status`` are required, so that version 0.2.0 is served by the same function. Where it says
    nothing new of a job that is ``known``, that snapshot is given back itself: most answers about most jobs say nothing new.
    """
    fields = _mapping(answer, "the job")
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


def job_id(answer: object) -> str:
    """The id of a job object."""
    found = _mapping(answer, "the job").get("id")
    if not isinstance(found, str) or not _JOB_ID.match(found):
        raise MalformedResponse(f"the job's id is not an id: {_excerpt(found)}")
    return found


def _is_same(fields: Mapping[str, JSONValue], before: JobSnapshot) -> bool:
    """Whether reading the fields would make an equal snapshot. What is not as it was, is left to that reading to judge."""
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


def job_snapshots(answer: object, *, cursor: Cursor | None = None, known: Known | None = None) -> list[JobSnapshot]:
    """The jobs of a list answer, in its order."""
    return [job_snapshot(item, cursor=cursor, known=known) for item in _data(answer)]


class Refused(NamedTuple):
    """What the answer to a batch says of an item that did not become a job."""

    status_code: int
    words: tuple[str, str, Mapping[str, JSONValue]]


def batch(
    answer: object, size: int, *, cursor: Cursor | None = None
) -> list[JobSnapshot | Refused | MalformedResponse]:
    """
    What became of each item of a batch of ``size``, in order: only as many as the answer tells of. An item's malformed
    answer is about that item alone; an answer about more items than there were is malformed as a whole.
    """
    items = _data(answer)
    if len(items) > size:
        raise MalformedResponse(f"it is about {len(items)} submissions, and there were {size}")
    return [_batch_item(item, cursor) for item in items]


def _batch_item(item: object, cursor: Cursor | None) -> JobSnapshot | Refused | MalformedResponse:
    try:
        fields = _mapping(item, "what became of the submission")
        status = fields.get("status")
        if isinstance(status, int) and 200 <= status < 300:
            return job_snapshot(fields.get("job"), cursor=cursor)
        if isinstance(status, int) and 400 <= status < 600:
            return Refused(status, error_words(fields.get("error")))
        raise MalformedResponse(f"the submission's status is none: {_excerpt(status)}")
    except MalformedResponse as error:
        return MalformedResponse(str(error))  # another one, without frames that hold the answer


def circuit(answer: object) -> str:
    """The text of a job's program, exactly as it was submitted."""
    text = _mapping(answer, "the circuit").get("circuit")
    if not isinstance(text, str):
        raise MalformedResponse(f"circuit is not a text: {_excerpt(text)}")
    return text


def devices(answer: object) -> list[Device]:
    """The devices of a list answer."""
    return [device(item) for item in _data(answer)]


def device(answer: object) -> Device:
    """A device as lists and ``GET /devices/{target}`` show it."""
    fields = _mapping(answer, "the device")
    return Device(
        target=_required_text(fields, "target"),
        status=_text(fields, "status"),
        expected_uptime={
            day: _times(day, span) for day, span in _optional_mapping(fields, "expected_uptime").items() if span
        },
        created_at=_datetime(fields, "created_at"),
    )


def specification(answer: object, *, target: str) -> DeviceSpecification:
    """A device's specification; version 0.2.0 may leave ``target`` out."""
    fields = _mapping(answer, "the specification")
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


def certificate(answer: object) -> Mapping[str, JSONValue]:
    """A device's certificate: any JSON object."""
    return _mapping(answer, "the certificate")


def access_token(answer: object) -> tuple[str, float | None]:
    """The access token of a token answer and its life in seconds, when it says so."""
    # Not through _mapping, which would quote a text: a bare token.
    if not isinstance(answer, Mapping):
        raise MalformedResponse("the token is not an object")
    fields = cast("Mapping[str, JSONValue]", answer)
    token = fields.get("access_token")
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise MalformedResponse("access_token is not a token")
    lifetime = fields.get("expires_in")
    if isinstance(lifetime, bool) or not isinstance(lifetime, (int, float)) or not 0 < lifetime < 1e9:
        return token, None
    return token, float(lifetime)


def error_words(answer: object) -> tuple[str, str, Mapping[str, JSONValue]]:
    """
    ``code``, ``detail`` and ``meta`` of an error answer, empty where it has none. Never raises: errors are when an answer is
    least likely to be well-formed. Validation messages stand in ``meta`` by field; joined, they are the detail, and the
    platform's own general remark is one only without them.
    """
    if not isinstance(answer, Mapping):
        return "", "", {}
    code, detail, meta = answer.get("code"), answer.get("detail"), answer.get("meta")
    code = code if isinstance(code, str) else ""
    meta = cast("Mapping[str, JSONValue]", meta) if isinstance(meta, Mapping) else {}
    detail = detail if isinstance(detail, str) else ""
    if code == "validation-error":
        detail = "; ".join(_validation_messages(meta)) or detail
    return code[:_LONGEST_WORD], detail[:2000], meta


def _validation_messages(meta: Mapping[str, JSONValue]) -> list[str]:
    found: list[str] = []
    for field, value in meta.items():
        lists = value.values() if isinstance(value, Mapping) else [value]
        for messages in lists:
            texts = [str(text) for text in messages] if isinstance(messages, list) else [str(messages)]
            found += texts if field == "_schema" else [f"{field}: {text}" for text in texts]
    return found


def _mapping(value: object, what: str) -> Mapping[str, JSONValue]:
    if not isinstance(value, dict):  # the one kind of mapping that JSON makes, and asking for that one is quick
        raise MalformedResponse(f"{what} is not an object: {_excerpt(value)}")
    return cast("Mapping[str, JSONValue]", value)


def _optional_mapping(fields: Mapping[str, JSONValue], key: str) -> Mapping[str, JSONValue]:
    value = fields.get(key)
    return {} if value is None else _mapping(value, key)


def _data(answer: object) -> Sequence[JSONValue]:
    data = _mapping(answer, "the list").get("data")
    if not isinstance(data, list):
        raise MalformedResponse(f"data is not a list: {_excerpt(data)}")
    return data


def _status(word: object) -> JobStatus:
    if not isinstance(word, str) or not word or len(word) > _LONGEST_WORD or not word.isprintable():
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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LONGEST_RUN:
        raise MalformedResponse(f"{key} is not a number of seconds: {_excerpt(value)}")
    return float(value)


def _times(day: str, span: JSONValue) -> tuple[time, time]:
    try:
        start, end = cast("Sequence[str]", span)
        return time.fromisoformat(start), time.fromisoformat(end)
    except (TypeError, ValueError):
        raise MalformedResponse(f"expected_uptime of {day[:20]} is not two times: {_excerpt(span)}") from None


def _excerpt(value: object) -> str:
    """What the platform sent, short enough for a message, whatever its size."""
    if isinstance(value, str):
        return repr(value[:60])
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    return f"a JSON {'object' if isinstance(value, Mapping) else 'list' if isinstance(value, list) else 'number'}"
