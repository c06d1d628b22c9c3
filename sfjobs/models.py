"""
Jobs and devices as the platform describes them: frozen snapshots, without I/O and without numpy. ``_protocol.wire`` makes them
from JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Self, TypeAlias, Union

from ._util.pydantic_schemas import AnyJSON

JSONValue: TypeAlias = Union[  # noqa: UP007 - `|` cannot hold forward references at run time
    str, int, float, bool, Sequence["JSONValue"], Mapping[str, "JSONValue"], None
]
"""A JSON value."""

if not TYPE_CHECKING:
    # Programs that read annotations, such as pydantic, follow a type that contains itself until the stack is full.
    JSONValue = Annotated[object, AnyJSON()]


class JobStatus(StrEnum):
    """
    The status of a job. ``open`` and ``queued`` jobs wait or run (``Job.started_at`` tells which), ``cancel_pending`` jobs are
    being cancelled, the other three are final.

    An unknown word is kept: ``JobStatus("paused")`` is a status that is not final.
    """

    OPEN = "open"
    QUEUED = "queued"
    CANCEL_PENDING = "cancel_pending"
    CANCELLED = "cancelled"
    COMPLETED = "complete"
    FAILED = "failed"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = value
        unknown._value_ = value
        return unknown

    @property
    def is_final(self) -> bool:
        """Whether the job has ended: complete, failed or cancelled."""
        return self in _FINAL

    @property
    def is_known(self) -> bool:
        """Whether this is one of the six statuses of the protocol."""
        return self in _KNOWN

    def __repr__(self) -> str:
        return f"<JobStatus: {self.value}>"


_FINAL = frozenset({JobStatus.CANCELLED, JobStatus.COMPLETED, JobStatus.FAILED})
_KNOWN = frozenset(JobStatus)
_STAGES = {JobStatus.OPEN: 0, JobStatus.QUEUED: 1, JobStatus.CANCEL_PENDING: 2}


@dataclass(frozen=True, slots=True)
class Cursor:
    """
    A position in the change feed, as a response gave it: the response is current up to it, and ``path`` reads all later changes.

    Numbers increase within one ``epoch``; a platform need not give any.
    """

    path: str
    epoch: str = ""
    number: int | None = None

    def covers(self, other: Cursor) -> bool:
        """Whether this position is at or after ``other`` in the feed; False if that cannot be known."""
        if self.number is None or other.number is None or self.epoch != other.epoch:
            return False
        return self.number >= other.number


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSnapshot:
    """
    One job as one response describes it. Times are aware datetimes, ``running_time`` is in seconds, ``cursor`` is the position
    in the change feed up to which the snapshot is current.
    """

    id: str
    status: JobStatus
    name: str | None = None
    target: str | None = None
    language: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    running_time: float | None = None
    meta: Mapping[str, JSONValue] = field(default_factory=dict)
    cursor: Cursor | None = field(default=None, compare=False, repr=False)

    def is_behind(self, other: JobSnapshot) -> bool:
        """Whether this shows an earlier stage of the job than ``other``, as a delayed response does."""
        if self.status.is_final or other.status.is_final:
            return not self.status.is_final
        own, others = _STAGES.get(self.status), _STAGES.get(other.status)
        return own is not None and others is not None and own < others

    def is_news_after(self, other: JobSnapshot) -> bool:
        """Whether the job has changed since ``other``: another status, or it has started."""
        return self.status != other.status or (self.started_at is not None and other.started_at is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutlook:
    """
    Why a job is not done yet, as far as this program knows; ``print`` it. Times are in seconds.

    queue_reason: what the job waits for, in the platform's words, where that is not the jobs before it.
    age: since the job was first seen.
    last_check: since the last poll.
    last_error: error of the last poll; None if it succeeded.
    next_check: until the next poll; 0 during one, None if no call waits for the job.
    is_told: whether the change feed reports changes of the job. Polls then only verify it.
    failing_for: how long all polls have failed.
    resting_for: until the connection sends requests again, after a 429 response.
    rate: requests a second that the connection sends at most, after a 429 response.

    ``age``, ``last_check`` and ``next_check`` are None for a job that was never polled, and outside a running event loop, whose
    clock measures them.
    """

    job_id: str
    status: JobStatus
    started_at: datetime | None = None
    queue_position: int | None = None
    queue_reason: str | None = None
    age: float | None = None
    last_check: float | None = None
    last_error: str | None = None
    next_check: float | None = None
    is_told: bool = False
    failing_for: float | None = None
    resting_for: float | None = None
    rate: float | None = None

    def __str__(self) -> str:
        return " ".join([f"Job {self.job_id} {self._standing()}.", *self._checks()])

    def _standing(self) -> str:
        if self.status.is_final:
            return f"is {self.status.value}: it has ended"
        if self.status == JobStatus.CANCEL_PENDING:
            return "is being cancelled"
        if self.started_at is not None:
            return f"has been running since {self.started_at.isoformat(' ', 'seconds')} ({self.status.value})"
        place = "" if self.queue_position is None else f", number {self.queue_position} in the queue"
        reason = "" if self.queue_reason is None else f": {' '.join(self.queue_reason.split())}"
        return f"is {self.status.value} and has not started{place}{reason}"

    def _checks(self) -> Iterator[str]:
        if self.age is not None and self.last_check is not None:
            yield f"It was first seen {in_seconds(self.age)} ago and last polled {in_seconds(self.last_check)} ago."
        if self.last_error is not None:
            since = "" if self.failing_for is None else f", for {in_seconds(self.failing_for)} now"
            yield f"The last poll failed{since}: {self.last_error.rstrip('.')}."
        if self.status.is_final:
            return
        if self.next_check is None:
            yield "It is not polled, because no call waits for it."
        elif self.is_told:
            yield "The change feed reports its changes."
        else:
            due = "under way" if self.next_check == 0 else f"due in {in_seconds(self.next_check)}"
            yield f"The next poll is {due}."
        if self.resting_for is not None:
            yield f"The platform accepts no requests for another {in_seconds(self.resting_for)}."
        if self.rate is not None:
            yield f"It accepts {self.rate:.3g} requests a second."


def in_seconds(seconds: float) -> str:
    """Format a duration for a reader: ``0.3 s``, ``14 s``, ``2 h 5 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 2:
        return f"{round(seconds)} s"
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpecification:
    """The circuits that a device accepts: its layout and the allowed values of each gate parameter."""

    target: str
    layout: str = ""
    modes: int | Mapping[str, JSONValue] = 0
    compiler: tuple[str, ...] = ()
    gate_parameters: Mapping[str, JSONValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """
    A target that runs jobs. ``expected_uptime`` maps lower-case English weekdays to the (start, end) of that day.
    ``specification`` and ``certificate`` are None in a list of devices, which does not contain them. A paused device is offline;
    ``pause_reason`` is why, "" if no reason was given, and ``paused_until`` is None if no end is known.
    """

    target: str
    status: str | None = None
    expected_uptime: Mapping[str, tuple[time, time]] = field(default_factory=dict)
    created_at: datetime | None = None
    specification: DeviceSpecification | None = None
    certificate: Mapping[str, JSONValue] | None = None
    pause_reason: str | None = None
    paused_until: datetime | None = None

    @property
    def is_online(self) -> bool:
        """Whether the device runs jobs now; an offline device accepts and queues them."""
        return self.status == "online"

    def _repr_html_(self) -> str:
        return _device_html(self)


def _device_html(device: Device) -> str:
    """Return a device as an HTML fragment; long parts, such as the layout and the certificate, are folded."""
    from ._util import html  # takes 7 ms, and is needed in notebooks only

    specification = device.specification or DeviceSpecification(target=device.target)
    uptime = "<br/>".join(
        html.escaped(line) for line in _uptime(list(device.expected_uptime.items())[: html.MAX_ENTRIES])
    )
    rows = [*html.time_row("created", device.created_at), *([("expected uptime", uptime)] if uptime else [])]
    if isinstance(specification.modes, Mapping):
        modes = specification.modes.items()
        rows += [(f"modes, {kind}", html.escaped(html.json_text(number))) for kind, number in modes]
    elif device.specification is not None:
        rows.append(("modes", f"{specification.modes:,}"))
    rows += html.text_row("compilers", ", ".join(specification.compiler))
    gates = specification.gate_parameters.items()
    allowed = "\n".join(f"{name}: {_allowed(values, html.json_text)}" for name, values in gates)
    certificate = "" if device.certificate is None else html.json_text(device.certificate, indent=2)
    below = [("gate parameters", allowed), ("layout", specification.layout), ("certificate", certificate)]
    folded = "".join(html.folded(title, text) for title, text in below)
    return html.card("Device", device.target, device.status, rows, below=folded)


def _uptime(days: Sequence[tuple[str, tuple[time, time]]]) -> Iterator[str]:
    """Yield one line for each run of days with the same hours."""
    for (start, end), run in groupby(days, key=lambda day: day[1]):
        names = [day.capitalize() for day, _ in run]
        which = "every day" if len(names) == 7 else ", ".join(names)
        yield f"{which}: {start:%H:%M} to {end:%H:%M} {start.tzname() or ''}".rstrip()


def _allowed(values: JSONValue, json_text: Callable[[JSONValue], str]) -> str:
    """Write ``[0, [0.5, 1]]``, the number 0 and a range, as ``0 or 0.5 to 1``; other values as JSON."""

    def number(value: JSONValue) -> str:
        return f"{value:.5g}" if isinstance(value, float) else json_text(value)

    if not isinstance(values, list):
        return json_text(values)
    return " or ".join(
        " to ".join(map(number, value)) if isinstance(value, list) and len(value) == 2 else number(value)
        for value in values
    )
