"""
What commands print for programs: with ``--json`` one document on one line of stdout, also when they fail, and texts unchanged.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from ..errors import visible

if TYPE_CHECKING:
    from ..._jobs.job import Job
    from ...models import Device, JSONValue
    from ..errors import Failure


class CommandDocument:
    """
    The one document of a command line with ``--json``. A command puts what it has in ``so_far`` before it raises; a failure adds
    its ``error``.
    """

    def __init__(self) -> None:
        self.begin(is_wanted=False)

    def begin(self, *, is_wanted: bool) -> None:
        """Start a command line, with or without ``--json``."""
        self.is_wanted = is_wanted
        self.is_written = False
        self.so_far: dict[str, object] = {}

    def fail(self, failure: Failure) -> None:
        """Print the document of a failure, unless the command has printed its own."""
        if self.is_wanted and not self.is_written:
            write_json({**self.so_far, "error": failure.as_json()})


answer = CommandDocument()
"""Of this process, which runs one command line at a time."""


def write_json(document: Mapping[str, object]) -> None:
    """Print a document; times become ISO 8601, paths become strings."""
    import json

    answer.is_written = True
    try:
        text = json.dumps(document, default=_encode, allow_nan=False)
    except ValueError:  # a platform's NaN or infinity, which no other program reads
        text = json.dumps(json.loads(json.dumps(document, default=_encode), parse_constant=lambda _: None))
    typer.echo(text)


def _encode(value: object) -> object:
    from datetime import datetime

    if isinstance(value, datetime):
        return value.isoformat()
    return dict(value) if isinstance(value, Mapping) else str(value)


def compact(value: JSONValue) -> str:
    """Return a value for people, on one line."""
    import json

    return json.dumps(value, ensure_ascii=False)


def write_text(text: str) -> None:
    """Print a text of the platform unchanged; on a terminal without control characters, which could steer it."""
    if sys.stdout.isatty():
        text = "\n".join(visible(line.expandtabs(4)) for line in text.splitlines())
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def pick(item: object, *names: str) -> dict[str, object]:
    """Return the attributes of ``item`` with these names."""
    return {name: getattr(item, name) for name in names}


def about_job(job: Job) -> dict[str, object]:
    """Return all fields of a job. ``running_time`` is in seconds."""
    times = pick(job, "created_at", "started_at", "finished_at", "running_time")
    return {**pick(job, "id", "status", "target", "name"), "language": job.snapshot.language, **times, "meta": job.meta}


def about_device(device: Device) -> dict[str, object]:
    """Return the fields of a device that lists have, and its specification and certificate if it has them."""
    uptime = {day: [begin.isoformat(), end.isoformat()] for day, (begin, end) in device.expected_uptime.items()}
    about = {**pick(device, "target", "status"), "expected_uptime": uptime, "created_at": device.created_at}
    if device.pause_reason is not None:
        about["pause"] = {"reason": device.pause_reason, "until": device.paused_until}
    if device.specification is not None:
        about["specification"] = pick(device.specification, "layout", "modes", "compiler", "gate_parameters")
        about["certificate"] = device.certificate
    return about
