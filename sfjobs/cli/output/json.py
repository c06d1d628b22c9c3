"""What commands write for other programs: with ``--json`` one document on one line of stdout, and texts as they are."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import visible

if TYPE_CHECKING:
    from datetime import datetime

    from ..._jobs.job import Job
    from ...models import Device, JSONValue


def write_json(document: Mapping[str, JSONValue]) -> None:
    import json

    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def compact(value: JSONValue) -> str:
    """A value for people, on one line."""
    import json

    return json.dumps(value, ensure_ascii=False)


def write_text(text: str) -> None:
    """A program of the platform's as it is; on a terminal without the characters that would steer it."""
    if sys.stdout.isatty():
        text = "\n".join(visible(line.expandtabs(4)) for line in text.splitlines())
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def about_job(job: Job) -> dict[str, JSONValue]:
    """All that is known of a job. Times are ISO 8601, ``running_time`` is in seconds."""
    return {
        "id": job.id,
        "status": job.status.value,
        "target": job.target,
        "name": job.name,
        "language": job.snapshot.language,
        "created_at": _moment(job.created_at),
        "started_at": _moment(job.started_at),
        "finished_at": _moment(job.finished_at),
        "running_time": job.running_time,
        "meta": dict(job.meta),
    }


def about_device(device: Device) -> dict[str, JSONValue]:
    """A device as lists show it, with specification and certificate where they were asked for."""
    about: dict[str, JSONValue] = {
        "target": device.target,
        "status": device.status,
        "expected_uptime": {
            day: [begin.isoformat(), end.isoformat()] for day, (begin, end) in device.expected_uptime.items()
        },
        "created_at": _moment(device.created_at),
    }
    if device.specification is not None:
        specification = device.specification
        about["specification"] = {
            "layout": specification.layout,
            "modes": specification.modes,
            "compiler": list(specification.compiler),
            "gate_parameters": specification.gate_parameters,
        }
        about["certificate"] = device.certificate
    return about


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
