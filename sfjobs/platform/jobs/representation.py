"""Jobs as JSON: the object that every response and every event of the change feed shows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from ..records import JobRecord

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC; written as Z, for which an aware one has no format


def job_object(record: JobRecord, position: int | None, reason: str | None = None) -> dict[str, object]:
    """
    Return a job as every response shows it, always with all keys. ``position`` is its place in the queue while it waits,
    ``reason`` why it waits where that is not for the jobs before it.
    """
    meta = dict(record.meta)
    if position is not None:
        meta["queue_position"] = position
    if reason is not None:
        meta["queue_reason"] = reason
    if record.result_deleted is not None:
        meta["result_deleted_at"] = iso_time(record.result_deleted)
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
    """Return a time as in ``2021-01-27T15:15:25.801308Z``: always with microseconds and Z, which every client can read."""
    if microseconds is None:
        return None
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds") + "Z"


def compact_json(content: object) -> bytes:
    """Return JSON. Numbers that JSON does not have, NaN and infinity, become null."""
    # ASCII: an error may quote text of a client with half of a surrogate pair, which has no UTF-8.
    try:
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:  # rare, so that the search for them costs nothing otherwise
        return json.dumps(_finite(content), separators=(",", ":"), allow_nan=False).encode()


def _finite(content: object) -> object:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content
