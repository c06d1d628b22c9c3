"""A job as a dictionary of plain values, which goes through JSON into a file, a database or another process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from .._http.masking import masked_json
from .._protocol.wire import MalformedResponse, job_snapshot
from ..config import Secret
from ..models import JobSnapshot, JobStatus, JSONValue

URL = "url"
"""The entry that names the platform; the others are those of the protocol."""


def as_dict(snapshot: JobSnapshot, url: str, secrets: Iterable[Secret]) -> dict[str, JSONValue]:
    """Return the snapshot as plain values, without the secrets of its connection, which a platform may repeat."""
    times = {
        "created_at": snapshot.created_at,
        "started_at": snapshot.started_at,
        "finished_at": snapshot.finished_at,
    }
    fields: dict[str, JSONValue] = {
        "status": snapshot.status.value,
        "name": snapshot.name,
        "target": snapshot.target,
        "language": snapshot.language,
        **{name: None if time is None else time.isoformat() for name, time in times.items()},
        "running_time": snapshot.running_time,
        "meta": _plain(snapshot.meta),
    }
    masked = cast("dict[str, JSONValue]", masked_json(fields, secrets))
    return {"id": snapshot.id, URL: url, **masked}


def snapshot_of(data: Mapping[str, JSONValue], url: str) -> JobSnapshot:
    """
    Return the snapshot in what ``as_dict`` returned. Only the id is required.

    Raises:
        TypeError: it is no dictionary.
        ValueError: it has no id, or is of another platform than ``url``.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"a job is a dictionary, as Job.to_dict returns it, not a {type(data).__name__}")
    origin = data.get(URL, url)
    if origin != url:
        raise ValueError(f"the job is of {origin}, and the connection goes to {url}: use a connection to {origin}")
    try:
        return job_snapshot({"status": JobStatus.OPEN.value, **data})
    except MalformedResponse as error:
        raise ValueError(f"this is not what Job.to_dict returned: {error}") from None


def _plain(value: JSONValue) -> JSONValue:
    """Return mappings and sequences of any kind as those that ``json`` writes."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
